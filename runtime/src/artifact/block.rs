//! One piece of memory for all arrays of an instance.
#![expect(unsafe_code, reason = "memory is asked for and viewed as floats")]

use std::alloc::{Layout, LayoutError, alloc, dealloc};
use std::ffi::c_void;
use std::ptr::NonNull;

use super::error::{Error, Status, ensure};
use crate::pages;
use crate::place::ALIGNMENT;

/// Zeroed memory, aligned to cache lines: the instance's own, or the caller's.
#[derive(Debug)]
pub(super) struct Block {
    start: NonNull<u8>,
    bytes: usize,
    is_own: bool,
}

// SAFETY: plain memory with one user.
unsafe impl Send for Block {}

impl Block {
    pub(super) fn allocate(bytes: usize) -> Result<Block, Error> {
        let none = || Error::new(Status::NoMemory, format!("there are no {bytes} bytes of memory"));
        let layout = Block::layout(bytes).map_err(|_| none())?;
        // SAFETY: the layout's size is not 0.
        let start = NonNull::new(unsafe { alloc(layout) }).ok_or_else(none)?;
        pages::advise(start.as_ptr(), bytes);
        // Written here, so that no call is the first to touch a page. SAFETY: just allocated.
        unsafe { start.write_bytes(0, bytes) };
        Ok(Block { start, bytes, is_own: true })
    }

    fn layout(bytes: usize) -> Result<Layout, LayoutError> {
        Layout::from_size_align(bytes.max(ALIGNMENT), pages::alignment(bytes))
    }

    /// # Safety
    /// The memory outlives the block and is not otherwise in use.
    pub(super) unsafe fn borrow(memory: *mut c_void, size: usize, bytes: usize) -> Result<Block, Error> {
        ensure!(size >= bytes, NoMemory, "`memory` has {size} bytes, and the instance takes {bytes}");
        ensure!((memory as usize).is_multiple_of(ALIGNMENT), InvalidArgument, "`memory` is not aligned to 64 bytes");
        let start = NonNull::new(memory.cast::<u8>());
        let start = start.ok_or_else(|| Error::new(Status::InvalidArgument, "`memory` is NULL"))?;
        // SAFETY: promised by the caller.
        unsafe { start.write_bytes(0, bytes) };
        Ok(Block { start, bytes, is_own: false })
    }

    /// The floats at a byte offset.
    pub(super) fn floats(&self, offset: usize, len: usize) -> NonNull<[f32]> {
        assert!(
            offset.is_multiple_of(4) && len <= self.bytes / 4 && offset <= self.bytes - 4 * len,
            "beyond the block"
        );
        // SAFETY: within the block.
        NonNull::slice_from_raw_parts(unsafe { self.start.add(offset) }.cast(), len)
    }

    /// The address at a byte offset, for generated code.
    pub(super) fn address(&self, offset: usize) -> u64 {
        self.start.as_ptr().wrapping_add(offset).expose_provenance() as u64
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.is_own {
            let layout = Block::layout(self.bytes);
            // SAFETY: allocated with the same layout.
            unsafe { dealloc(self.start.as_ptr(), layout.expect("as when it was allocated")) };
        }
    }
}
