//! Patches of a result: 16 rows and 32 columns, of which fewer may be there.
#![expect(unsafe_code, reason = "raw matrices")]

use super::tile::{self, Sums};
use super::{COLS, ROWS};

/// A piece of the result that two tiles cover.
#[derive(Clone, Copy)]
pub(super) struct Patch {
    pub(super) to: *mut f32,
    /// Bits of the rows that are wanted.
    pub(super) rows: u16,
    pub(super) cols: usize,
}

/// Bits of so many rows.
pub(super) fn rows(count: usize) -> u16 {
    ((1_u32 << count.min(ROWS)) - 1) as u16
}

/// What two patches are products of.
#[derive(Clone, Copy)]
pub(super) enum Operands {
    /// Two tiles of rows, by one panel.
    Below([*const f32; 2], *const f32),
    /// One tile of rows, by two panels.
    Beside(*const f32, [*const f32; 2]),
}

/// Computes the first `count` of two patches, `tiles` along the K loop; rows of the result are `stride` floats apart.
///
/// # Safety
/// The unit is in use on this thread; the operands and the patches are there.
pub(super) unsafe fn multiply(
    operands: Operands,
    patches: [Patch; 2],
    count: usize,
    stride: isize,
    tiles: usize,
    accumulate: bool,
) {
    #[repr(align(64))]
    struct Copies([[f32; ROWS * COLS]; 2]);
    let multiply = |sums: Sums| {
        // SAFETY: promised by the caller.
        unsafe {
            match operands {
                Operands::Below(a, b) => tile::below(a, b, sums),
                Operands::Beside(a, b) => tile::beside(a, b, sums),
            }
        }
    };
    if count == 2 && patches.iter().all(|patch| patch.rows == u16::MAX && patch.cols == COLS) {
        multiply(Sums { patches: patches.map(|patch| patch.to), stride: stride as usize * 4, tiles, accumulate });
        return;
    }
    let mut copies = Copies([[0.0; ROWS * COLS]; 2]);
    let places = copies.0.each_mut().map(|copy| copy.as_mut_ptr());
    // SAFETY: promised by the caller.
    unsafe {
        if accumulate {
            (0..count).for_each(|at| patches[at].copy(stride, places[at], false));
        }
        multiply(Sums { patches: places, stride: COLS * 4, tiles, accumulate });
        (0..count).for_each(|at| patches[at].copy(stride, places[at], true));
    }
}

impl Patch {
    /// Copies the rows and columns that are wanted to a patch by itself, or back.
    unsafe fn copy(&self, stride: isize, other: *mut f32, back: bool) {
        for row in (0..ROWS).filter(|row| self.rows >> row & 1 != 0) {
            let (here, there) = (self.to.wrapping_offset(row as isize * stride), other.wrapping_add(row * COLS));
            let (from, to) = if back { (there, here) } else { (here, there) };
            // SAFETY: promised by the caller.
            unsafe { std::ptr::copy_nonoverlapping(from, to, self.cols) };
        }
    }
}
