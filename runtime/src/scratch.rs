//! Scratch memory of each thread, which grows on demand and is used again by later calls.
#![expect(unsafe_code, reason = "cache lines are viewed as floats")]

use std::cell::RefCell;

/// What a piece of scratch memory is for. A thread lends each purpose once at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Packed by one call and read by all of its chunks.
    Shared,
    /// Partial sums that a call reduces when all of its chunks are done.
    Partial,
    /// The left operand of one chunk.
    Left,
    /// The right operand of one chunk.
    Right,
    /// The packed weights of a convolution.
    Weights,
    /// Pointers to the pixels that the taps of a convolution read.
    Table,
}

const PURPOSES: usize = 6;

/// One cache line, so that every piece of scratch memory starts on one.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

thread_local! {
    static LINES: RefCell<[Vec<Line>; PURPOSES]> = const { RefCell::new([const { Vec::new() }; PURPOSES]) };
}

/// Lends `len` floats of unspecified content, aligned to 64 bytes, to `body`.
pub(crate) fn with<R>(purpose: Purpose, len: usize, body: impl FnOnce(&mut [f32]) -> R) -> R {
    // Taken out for the time of the call: a nested use of the same purpose finds an empty vector and grows its own.
    let mut lines = LINES.with(|all| std::mem::take(&mut all.borrow_mut()[purpose as usize]));
    let needed = len.div_ceil(16);
    if lines.len() < needed {
        lines.clear();
        lines.reserve_exact(needed);
        lines.resize(needed, Line([0.0; 16]));
    }
    // SAFETY: a line is sixteen floats without padding, and `needed` lines hold at least `len` floats.
    let floats = unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast::<f32>(), len) };
    let result = body(floats);
    LINES.with(|all| {
        let place = &mut all.borrow_mut()[purpose as usize];
        if place.len() < lines.len() {
            *place = lines;
        }
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_used_again() {
        let first = with(Purpose::Left, 100, |floats| {
            assert_eq!(floats.len(), 100);
            assert_eq!(floats.as_ptr() as usize % 64, 0);
            floats.as_ptr() as usize
        });
        assert_eq!(with(Purpose::Left, 50, |floats| floats.as_ptr() as usize), first);
    }

    #[test]
    fn nested_uses_do_not_overlap() {
        with(Purpose::Right, 64, |outer| {
            outer.fill(1.0);
            with(Purpose::Right, 64, |inner| inner.fill(2.0));
            assert!(outer.iter().all(|&x| x == 1.0));
        });
    }
}
