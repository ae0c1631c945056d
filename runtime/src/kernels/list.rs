//! A list on the stack.
#![expect(unsafe_code, reason = "memory that is not written is not cleared")]

use std::mem::MaybeUninit;
use std::ops::Deref;

/// Up to `N` items; the memory of those that are not there is not cleared.
pub(crate) struct List<T, const N: usize> {
    items: [MaybeUninit<T>; N],
    len: usize,
}

impl<T: Copy, const N: usize> List<T, N> {
    #[inline(always)]
    pub(crate) fn new() -> List<T, N> {
        List { items: [const { MaybeUninit::uninit() }; N], len: 0 }
    }

    /// Adds an item, of `N` at most.
    #[inline(always)]
    pub(crate) fn push(&mut self, item: T) {
        self.items[self.len].write(item);
        self.len += 1;
    }
    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }
}

impl<T, const N: usize> Deref for List<T, N> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: so many items were written.
        unsafe { self.items[..self.len].assume_init_ref() }
    }
}
