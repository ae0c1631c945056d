//! Patches of a result: 16 rows and 32 columns, of which fewer may be there.
#![expect(unsafe_code, reason = "raw matrices")]

use super::tile::{self, Sums};
use super::{COLS, ROWS};

/// A piece of the result that two tiles cover.
#[derive(Clone, Copy)]
pub(super) struct Patch<'a> {
    /// Where the rows of the result begin, at most 16.
    pub(super) rows: &'a [*mut f32],
    /// Bits of the rows that are not wanted.
    pub(super) odd: u16,
    /// The first column, and how many there are.
    pub(super) col: usize,
    pub(super) cols: usize,
}

/// What two patches are products of.
#[derive(Clone, Copy)]
pub(super) enum Operands {
    /// Two tiles of rows, by one panel.
    Below([*const f32; 2], *const f32),
    /// One tile of rows, by two panels.
    Beside(*const f32, [*const f32; 2]),
}

/// Computes the first `count` of two patches, `tiles` along the K loop.
///
/// # Safety
/// The unit is in use on this thread; the operands and the patches are there.
pub(super) unsafe fn multiply(
    operands: Operands,
    patches: [Patch<'_>; 2],
    count: usize,
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
    if let [Some(stride), Some(other)] = patches.map(|patch| patch.stride())
        && count == 2
        && stride == other
    {
        let patches = patches.map(|patch| patch.rows[0].wrapping_add(patch.col));
        multiply(Sums { patches, stride, tiles, accumulate });
        return;
    }
    let mut copies = Copies([[0.0; ROWS * COLS]; 2]);
    let places = copies.0.each_mut().map(|copy| copy.as_mut_ptr());
    // SAFETY: promised by the caller.
    unsafe {
        if accumulate {
            (0..count).for_each(|at| patches[at].copy(places[at], false));
        }
        multiply(Sums { patches: places, stride: COLS * 4, tiles, accumulate });
        (0..count).for_each(|at| patches[at].copy(places[at], true));
    }
}

impl Patch<'_> {
    /// The bytes from each row to the next, if all of the patch is wanted.
    fn stride(&self) -> Option<usize> {
        let is_whole = self.rows.len() == ROWS && self.odd == 0 && self.cols == COLS;
        is_whole.then(|| self.rows[1].addr().wrapping_sub(self.rows[0].addr()))
    }
    /// Copies the rows and columns that are wanted to a patch by itself, or back.
    unsafe fn copy(&self, other: *mut f32, back: bool) {
        for (row, here) in self.rows.iter().enumerate().filter(|(row, _)| self.odd >> row & 1 == 0) {
            let (here, there) = (here.wrapping_add(self.col), other.wrapping_add(row * COLS));
            let (from, to) = if back { (there, here) } else { (here, there) };
            // SAFETY: promised by the caller.
            unsafe { std::ptr::copy_nonoverlapping(from, to, self.cols) };
        }
    }
}
