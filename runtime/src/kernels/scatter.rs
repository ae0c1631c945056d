//! Adds rows to the rows of a table that an index names: the gradient of a gather.
#![expect(unsafe_code, reason = "raw matrices of generated code")]

use crate::abi::ScatterAdd;
use crate::threads::Team;

/// Columns of one chunk: a few cache lines, and enough chunks for common widths.
const COLUMNS: usize = 64;

// SAFETY: chunks read shared rows and write to disjoint columns.
unsafe impl Sync for ScatterAdd {}

/// # Safety
/// The descriptor's pointers are valid for its sizes, and the table is not otherwise in use.
pub(crate) unsafe fn scatter_add_rows(team: Team<'_>, d: &ScatterAdd) {
    let [rows, cols, table_rows] = [d.rows, d.cols, d.table_rows].map(|x| x.max(0) as usize);
    if table_rows == 0 {
        return;
    }
    team.run(cols.div_ceil(COLUMNS), |_, chunk| {
        let first = chunk * COLUMNS;
        let width = COLUMNS.min(cols - first);
        for row in 0..table_rows {
            // SAFETY: a part of a row of the table, which belongs to this chunk.
            unsafe { std::slice::from_raw_parts_mut(d.table.add(row * cols + first), width) }.fill(0.0);
        }
        for row in 0..rows {
            // SAFETY: the index has `rows` elements.
            let index = unsafe { *d.index.offset(row as isize * d.index_stride as isize) };
            let index = (index.max(0) as usize).min(table_rows - 1);
            // SAFETY: the source has `rows` rows of `cols` elements.
            let source = unsafe { d.source.offset(row as isize * d.source_rs as isize).add(first) };
            // SAFETY: as above; source and table do not overlap.
            let source = unsafe { std::slice::from_raw_parts(source, width) };
            // SAFETY: a part of a row of the table, which belongs to this chunk.
            let target = unsafe { std::slice::from_raw_parts_mut(d.table.add(index * cols + first), width) };
            for (sum, x) in target.iter_mut().zip(source) {
                *sum += x;
            }
        }
    });
}
