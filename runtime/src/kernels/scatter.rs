//! Adds rows to the rows of a table that an index names: the gradient of a gather.
#![expect(unsafe_code, reason = "raw matrices of generated code")]

use crate::abi::ScatterAdd;
use crate::threads::Team;

use super::cpu;
use super::simd::{Simd, Task};

/// The fewest columns of a chunk: a few cache lines.
const COLUMNS: usize = 64;
/// Chunks for each thread: few, so that parts of rows are long.
const CHUNKS: usize = 2;

// SAFETY: chunks read shared rows and write to disjoint columns.
unsafe impl Sync for ScatterAdd {}

/// # Safety
/// The descriptor's pointers are valid for its sizes, and the table is not otherwise in use.
pub(crate) unsafe fn scatter_add_rows(team: Team<'_>, d: &ScatterAdd) {
    let cols = d.cols.max(0) as usize;
    let chunks = if team.threads() == 1 { 1 } else { CHUNKS * team.threads() };
    let width = cols.div_ceil(chunks).next_multiple_of(COLUMNS).max(COLUMNS);
    team.run(cols.div_ceil(width), |_, chunk| {
        let first = chunk * width;
        cpu::run_on(cpu::cpu(), Columns { d, first, width: width.min(cols - first) });
    });
}

/// Some columns of all rows, which the order of a chunk's rows decides alone.
struct Columns<'a> {
    d: &'a ScatterAdd,
    first: usize,
    width: usize,
}

impl Task for Columns<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Columns { d, first, width } = self;
        let [rows, cols, table_rows] = [d.rows, d.cols, d.table_rows].map(|x| x.max(0) as usize);
        let whole = width - width % S::LANES;
        for row in 0..table_rows {
            // SAFETY: a part of a row of the table, which belongs to this chunk.
            unsafe { d.table.add(row * cols + first).write_bytes(0, width) };
        }
        for row in 0..if table_rows > 0 { rows } else { 0 } {
            // SAFETY: the index has `rows` elements, the source `rows` rows of `cols`; the part of a row of the table belongs to
            // this chunk.
            unsafe {
                let index = *d.index.offset(row as isize * d.index_stride as isize);
                let index = (index.max(0) as usize).min(table_rows - 1);
                let source = d.source.offset(row as isize * d.source_rs as isize).add(first);
                let table = d.table.add(index * cols + first);
                for at in (0..whole).step_by(S::LANES) {
                    S::store(table.add(at), S::add(S::load(table.add(at)), S::load(source.add(at))));
                }
                for at in whole..width {
                    *table.add(at) += *source.add(at);
                }
            }
        }
    }
}
