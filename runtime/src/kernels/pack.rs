//! Copies operands into the order in which micro-kernels read them.
#![expect(unsafe_code, reason = "raw matrices")]

use super::simd::{Simd, TALLEST};

/// A matrix in memory with any strides.
#[derive(Clone, Copy)]
pub(crate) struct Matrix {
    pub(crate) data: *const f32,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) row_stride: isize,
    pub(crate) col_stride: isize,
}

// SAFETY: chunks only read through it.
unsafe impl Sync for Matrix {}

impl Matrix {
    /// The address of an element, which may lie one past the end.
    pub(crate) fn at(&self, row: usize, col: usize) -> *const f32 {
        self.data.wrapping_offset(row as isize * self.row_stride + col as isize * self.col_stride)
    }

    /// So many columns, from the one with this number on, whether there are such or not.
    pub(crate) fn columns_from(&self, first: isize, cols: usize) -> Matrix {
        Matrix { data: self.data.wrapping_offset(first * self.col_stride), cols, ..*self }
    }

    /// The stride of an axis of one element means nothing; 1 lets the faster kernels take it.
    pub(crate) fn with_units(self) -> Matrix {
        let unit = |len: usize, stride: isize| if len == 1 { 1 } else { stride };
        let Matrix { rows, cols, row_stride, col_stride, .. } = self;
        Matrix { row_stride: unit(rows, row_stride), col_stride: unit(cols, col_stride), ..self }
    }

    /// The same matrix with rows and columns exchanged.
    pub(crate) fn transposed(self) -> Matrix {
        Matrix { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }
}

/// Packs rows `first..last` of panel `panel` of a right operand: [`panel_width`] adjacent columns, zeros beyond the last one.
///
/// # Safety
/// `to` has room for `last - first` rows of so many floats; called with the instructions of `S` enabled.
#[inline(always)]
pub(crate) unsafe fn panel<S: Simd>(b: &Matrix, panel: usize, first: usize, last: usize, to: *mut f32) {
    let col = panel * S::NR;
    let cols = S::NR.min(b.cols - col);
    let width = panel_width::<S>(b.cols, panel);
    // SAFETY: indices within the matrix, and the caller's room.
    unsafe {
        if b.col_stride == 1 && cols == S::NR {
            for row in first..last {
                let (from, to) = (b.at(row, col), to.add((row - first) * S::NR));
                for j in 0..S::WIDTH {
                    S::store(to.add(j * S::LANES), S::load(from.add(j * S::LANES)));
                }
            }
            return;
        }
        let mut row = first;
        if b.row_stride == 1 && cols == S::NR && S::NR.is_multiple_of(8) {
            while row + 8 <= last {
                for j in (0..S::NR).step_by(8) {
                    let to = to.add((row - first) * S::NR + j);
                    S::transpose_8x8(b.at(row, col + j), b.col_stride, to, S::NR);
                }
                row += 8;
            }
        }
        for row in row..last {
            let to = to.add((row - first) * width);
            for j in 0..cols {
                *to.add(j) = *b.at(row, col + j);
            }
            for j in cols..width {
                *to.add(j) = 0.0;
            }
        }
    }
}

/// Columns of a packed panel of a matrix of so many columns: whole vectors.
pub(crate) fn panel_width<S: Simd>(cols: usize, panel: usize) -> usize {
    S::NR.min((cols - panel * S::NR).next_multiple_of(S::LANES))
}

/// Packs a block of a left operand and fills the table of its rows; returns the step from a column to the next.
///
/// # Safety
/// `to` has room for [`left_len`] floats and `table` for the block's rows; called with the instructions of `S` enabled.
#[inline(always)]
pub(crate) unsafe fn left<S: Simd>(a: &Matrix, to: *mut f32, table: &mut [*const f32]) -> isize {
    let table = &mut table[..a.rows];
    // SAFETY: indices within the matrix, and the caller's room.
    unsafe {
        if a.row_stride == 1 && a.col_stride != 1 {
            return left_adjacent::<S>(a, to, table);
        }
        for (row, entry) in table.iter_mut().enumerate() {
            *entry = a.at(row, 0);
        }
        left_rows(table, a.cols, a.col_stride, to)
    }
}

/// As [`left`], of a block whose rows are adjacent.
///
/// # Safety
/// As there.
#[inline(always)]
pub(crate) unsafe fn left_adjacent<S: Simd>(a: &Matrix, to: *mut f32, table: &mut [*const f32]) -> isize {
    // SAFETY: promised by the caller.
    unsafe { adjacent::<S>(a, 0, a.cols, to) };
    for (row, entry) in table[..a.rows].iter_mut().enumerate() {
        *entry = adjacent_row::<S>(a, to, row);
    }
    S::MR as isize
}

/// Packs rows of `cols` elements, `col_stride` floats apart, that begin where the table says; it then says where they are
/// now. Returns the step from a column to the next.
///
/// # Safety
/// The rows are valid, and `to` has room for [`left_len`] floats.
#[inline(always)]
pub(crate) unsafe fn left_rows(table: &mut [*const f32], cols: usize, col_stride: isize, to: *mut f32) -> isize {
    for (row, entry) in table.iter_mut().enumerate() {
        let (from, to) = (*entry, to.wrapping_add(row * padded(cols)));
        *entry = to;
        // SAFETY: promised by the caller.
        unsafe {
            if col_stride == 1 {
                std::ptr::copy_nonoverlapping(from, to, cols);
            } else {
                for col in 0..cols {
                    *to.add(col) = *from.offset(col as isize * col_stride);
                }
            }
        }
    }
    1
}

/// Packs columns `first..last` of a left operand whose rows are adjacent: groups of MR rows, one group after the other.
///
/// Columns may be so far apart that they exclude each other from the caches, so that one is read for all groups.
///
/// # Safety
/// `to` has room for [`adjacent_len`] floats; called with the instructions of `S` enabled.
#[inline(always)]
pub(crate) unsafe fn adjacent<S: Simd>(a: &Matrix, first: usize, last: usize, to: *mut f32) {
    let apart = padded(S::MR * a.cols);
    for col in first..last {
        for group in 0..a.rows.div_ceil(S::MR) {
            let row = group * S::MR;
            // SAFETY: indices within the matrix, and the caller's room.
            unsafe {
                let (from, to) = (a.at(row, col), to.add(group * apart + col * S::MR));
                // Whole vectors are stored: what is too much is overwritten by the next columns, which belong to this call.
                for at in (0..S::MR).step_by(S::LANES) {
                    let left = a.rows.saturating_sub(row + at);
                    let x = if left >= S::LANES { S::load(from.add(at)) } else { S::load_first(from.add(at), left) };
                    if (last - col) * S::MR - at >= S::LANES {
                        S::store(to.add(at), x);
                    } else {
                        S::store_first(to.add(at), x, S::MR - at);
                    }
                }
            }
        }
    }
}

/// The room that [`adjacent`] needs.
pub(crate) fn adjacent_len<S: Simd>(a: &Matrix) -> usize {
    a.rows.div_ceil(S::MR) * padded(S::MR * a.cols)
}

/// [`adjacent_len`] at most, on any CPU.
pub(crate) fn most_adjacent(rows: usize, cols: usize) -> usize {
    // A group's padding is less than 32 floats.
    rows.saturating_add(TALLEST).saturating_mul(cols.saturating_add(8))
}

/// Where a row begins in what [`adjacent`] packed to `packed`.
pub(crate) fn adjacent_row<S: Simd>(a: &Matrix, packed: *const f32, row: usize) -> *const f32 {
    packed.wrapping_add(row / S::MR * padded(S::MR * a.cols) + row % S::MR)
}

/// Floats from a packed row to the next: not a multiple of the distance at which cache lines exclude each other.
fn padded(cols: usize) -> usize {
    cols.next_multiple_of(16) + 16
}

/// [`left_len`] at most, on any CPU.
pub(crate) fn most_left(rows: usize, cols: usize) -> usize {
    rows.saturating_add(TALLEST) * padded(cols)
}

/// The room that [`left`] needs.
pub(crate) fn left_len<S: Simd>(rows: usize, cols: usize) -> usize {
    rows.next_multiple_of(S::MR) * padded(cols)
}
