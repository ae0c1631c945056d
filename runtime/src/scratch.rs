//! Scratch memory of each thread, which grows on demand and is used again by later calls.
#![expect(unsafe_code, reason = "cache lines are viewed as floats")]

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

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
    /// Results of one chunk on their way to memory.
    Result,
}

const PURPOSES: usize = 7;

/// One cache line, so that every piece of scratch memory starts on one.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

thread_local! {
    static LINES: RefCell<[Vec<Line>; PURPOSES]> = const { RefCell::new([const { Vec::new() }; PURPOSES]) };
}

/// Lends `len` floats of unspecified content, aligned to 64 bytes, until the result is dropped.
pub(crate) fn lend(purpose: Purpose, len: usize) -> Lent {
    // A nested use of the same purpose finds an empty vector and grows its own.
    let mut lines = LINES.with(|all| std::mem::take(&mut all.borrow_mut()[purpose as usize]));
    let needed = len.div_ceil(16);
    if lines.len() < needed {
        lines.clear();
        lines.reserve_exact(needed);
        lines.resize(needed, Line([0.0; 16]));
    }
    Lent { purpose, lines, len }
}

/// A piece of scratch memory.
///
/// A value and not an argument of a closure, since closures are not compiled with the instructions of the kernel
/// that they stand in.
pub(crate) struct Lent {
    purpose: Purpose,
    lines: Vec<Line>,
    len: usize,
}

impl Deref for Lent {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: a line is sixteen floats without padding, and the lines hold at least `len` floats.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        LINES.with(|all| {
            let place = &mut all.borrow_mut()[self.purpose as usize];
            if place.len() < lines.len() {
                *place = lines;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_used_again() {
        let first = lend(Purpose::Left, 100);
        assert_eq!(first.len(), 100);
        let address = first.as_ptr() as usize;
        assert_eq!(address % 64, 0);
        drop(first);
        assert_eq!(lend(Purpose::Left, 50).as_ptr() as usize, address);
    }

    #[test]
    fn nested_uses_do_not_overlap() {
        let mut outer = lend(Purpose::Right, 64);
        outer.fill(1.0);
        lend(Purpose::Right, 64).fill(2.0);
        assert!(outer.iter().all(|&x| x == 1.0));
    }
}
