//! Scratch memory of each thread of a pool, used again by later calls.
#![expect(unsafe_code, reason = "cache lines are viewed as floats")]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::pages;

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
    /// The taps of a convolution.
    Taps,
    /// The phases of a convolution.
    Phases,
}

impl Purpose {
    /// In the order of their numbers.
    pub(crate) const ALL: [Purpose; PURPOSES] = [
        Purpose::Shared,
        Purpose::Partial,
        Purpose::Left,
        Purpose::Right,
        Purpose::Weights,
        Purpose::Table,
        Purpose::Result,
        Purpose::Taps,
        Purpose::Phases,
    ];
}

/// How many purposes there are.
pub(crate) const PURPOSES: usize = 9;

/// One cache line, so that every piece of scratch memory starts on one.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Floats of a line.
const LINE: usize = 16;

/// The scratch memory of one thread: a piece for each purpose, which grows when a larger one is asked for.
pub(crate) struct Scratch([Cell<Lines>; PURPOSES]);

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

impl Scratch {
    pub(crate) fn new() -> Scratch {
        Scratch([const { Cell::new(Lines::EMPTY) }; PURPOSES])
    }

    /// Lends `len` floats of unspecified content, aligned to 64 bytes, until the result is dropped.
    #[inline]
    pub(crate) fn lend(&self, purpose: Purpose, len: usize) -> Lent<'_> {
        let place = &self.0[purpose as usize];
        // A nested use of the same purpose finds nothing and makes its own.
        let mut lines = place.replace(Lines::EMPTY);
        let needed = len.div_ceil(LINE);
        if lines.count < needed {
            lines = Lines::zeroed(needed);
        }
        Lent { place, lines, len }
    }

    /// Lends memory that holds these items.
    pub(crate) fn lend_items<T: Copy>(
        &self,
        purpose: Purpose,
        items: impl ExactSizeIterator<Item = T>,
    ) -> Items<'_, T> {
        const { assert!(align_of::<T>() <= align_of::<Line>()) };
        let len = items.len();
        let lent = self.lend(purpose, floats_of::<T>(len));
        let first = lent.lines.first.cast::<T>();
        let mut written = 0;
        for item in items.take(len) {
            // SAFETY: room for `len` items, aligned as lines are.
            unsafe { first.add(written).write(item) };
            written += 1;
        }
        Items { lent, len: written, of: PhantomData }
    }

    /// Gives a purpose memory of its own for so many floats.
    ///
    /// # Safety
    /// The memory is aligned to 64 bytes, holds `len` initialized floats rounded up to whole lines, outlives the scratch
    /// memory and is not otherwise in use.
    pub(crate) unsafe fn give(&self, purpose: Purpose, memory: NonNull<f32>, len: usize) {
        self.0[purpose as usize].set(Lines { first: memory.cast(), count: len.div_ceil(LINE), is_owned: false });
    }

    /// How many floats each purpose has at present.
    #[cfg(test)]
    pub(crate) fn lens(&self) -> [usize; PURPOSES] {
        std::array::from_fn(|purpose| {
            let lines = self.0[purpose].replace(Lines::EMPTY);
            let len = lines.count * LINE;
            self.0[purpose].set(lines);
            len
        })
    }
}

/// How many floats of scratch memory a library call takes at most for each purpose: on the thread that makes the call,
/// and on each that works on its chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) caller: [usize; PURPOSES],
    pub(crate) chunk: [usize; PURPOSES],
}

impl Needs {
    /// Also what the caller lends.
    pub(crate) fn caller(mut self, purpose: Purpose, len: usize) -> Needs {
        self.caller[purpose as usize] = self.caller[purpose as usize].max(len);
        self
    }
    /// Also what each chunk lends.
    pub(crate) fn chunk(mut self, purpose: Purpose, len: usize) -> Needs {
        self.chunk[purpose as usize] = self.chunk[purpose as usize].max(len);
        self
    }
    /// What both calls take, one after the other.
    pub(crate) fn max(self, other: Needs) -> Needs {
        let max = |a: [usize; PURPOSES], b: [usize; PURPOSES]| std::array::from_fn(|i| a[i].max(b[i]));
        Needs { caller: max(self.caller, other.caller), chunk: max(self.chunk, other.chunk) }
    }
    /// What a call within a chunk takes.
    pub(crate) fn within_a_chunk(self) -> Needs {
        Needs { caller: [0; PURPOSES], chunk: self.max(Needs { caller: self.chunk, chunk: self.caller }).chunk }
    }
    /// What the scratch memory of a thread must have: the first makes the calls.
    pub(crate) fn of_thread(&self, thread: usize) -> [usize; PURPOSES] {
        let caller = if thread == 0 { self.caller } else { [0; PURPOSES] };
        std::array::from_fn(|i| caller[i].max(self.chunk[i]))
    }
}

/// How many floats have room for `len` items.
pub(crate) const fn floats_of<T>(len: usize) -> usize {
    (len * size_of::<T>()).div_ceil(size_of::<f32>())
}

/// A run of cache lines.
struct Lines {
    first: NonNull<Line>,
    count: usize,
    /// Whether they were allocated here.
    is_owned: bool,
}

// SAFETY: a run of lines is plain memory, and has one owner.
unsafe impl Send for Lines {}

impl Lines {
    const EMPTY: Lines = Lines { first: NonNull::dangling(), count: 0, is_owned: false };

    fn zeroed(count: usize) -> Lines {
        if count == 0 {
            return Lines::EMPTY;
        }
        let layout = Lines::layout(count);
        // SAFETY: the layout's size is not 0.
        let Some(first) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        pages::advise(first.as_ptr(), layout.size());
        // SAFETY: just allocated.
        unsafe { first.write_bytes(0, layout.size()) };
        Lines { first: first.cast(), count, is_owned: true }
    }

    fn layout(count: usize) -> Layout {
        let lines = Layout::array::<Line>(count).expect("scratch memory is for what memory holds");
        lines.align_to(pages::alignment(lines.size())).expect("a power of two")
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if self.is_owned {
            // SAFETY: allocated by `zeroed` with the same layout.
            unsafe { dealloc(self.first.as_ptr().cast(), Lines::layout(self.count)) };
        }
    }
}

/// A piece of scratch memory.
///
/// A value and not an argument of a closure, since closures are not compiled with the instructions of the kernel
/// that they stand in.
pub(crate) struct Lent<'a> {
    place: &'a Cell<Lines>,
    lines: Lines,
    len: usize,
}

impl Deref for Lent<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: a line is sixteen floats without padding, and the lines hold at least `len` floats.
        unsafe { std::slice::from_raw_parts(self.lines.first.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Lent<'_> {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.lines.first.as_ptr().cast(), self.len) }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let lines = std::mem::replace(&mut self.lines, Lines::EMPTY);
        let other = self.place.replace(Lines::EMPTY);
        // After a nested use the larger one is kept.
        self.place.set(if other.count > lines.count { other } else { lines });
    }
}

/// Items in scratch memory.
pub(crate) struct Items<'a, T> {
    lent: Lent<'a>,
    len: usize,
    of: PhantomData<T>,
}

impl<T> Deref for Items<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: so many items were written.
        unsafe { std::slice::from_raw_parts(self.lent.lines.first.as_ptr().cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_used_again() {
        let scratch = Scratch::new();
        let first = scratch.lend(Purpose::Left, 100);
        assert_eq!(first.len(), 100);
        let address = first.as_ptr() as usize;
        assert_eq!(address % 64, 0);
        drop(first);
        assert_eq!(scratch.lend(Purpose::Left, 50).as_ptr() as usize, address);
        assert_eq!(scratch.lens()[Purpose::Left as usize], 112);
    }

    #[test]
    fn nested_uses_do_not_overlap() {
        let scratch = Scratch::new();
        let mut outer = scratch.lend(Purpose::Right, 64);
        outer.fill(1.0);
        scratch.lend(Purpose::Right, 64).fill(2.0);
        assert!(outer.iter().all(|&x| x == 1.0));
    }

    #[test]
    fn given_memory_is_used_and_not_freed() {
        let mut memory = [Line([3.0; LINE]); 4];
        let scratch = Scratch::new();
        let address = NonNull::from(&mut memory).cast();
        // SAFETY: four lines, declared before the scratch memory and so dropped after it.
        unsafe { scratch.give(Purpose::Left, address, 64) };
        assert_eq!(scratch.lend(Purpose::Left, 64)[63], 3.0);
        assert_eq!(scratch.lend(Purpose::Left, 64).as_ptr(), address.as_ptr());
        assert_ne!(scratch.lend(Purpose::Left, 65).as_ptr(), address.as_ptr());
    }

    #[test]
    fn items_are_kept_as_they_are() {
        let scratch = Scratch::new();
        let items = scratch.lend_items(Purpose::Taps, (0..5_usize).map(|i| (i, -1_isize)));
        assert_eq!(items[..], [(0, -1), (1, -1), (2, -1), (3, -1), (4, -1)]);
    }
}
