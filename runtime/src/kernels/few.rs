//! Few rows of a product with a packed right operand: a single one, above all, of a recurrence's step.
#![expect(unsafe_code, reason = "raw matrices")]

use super::fixed21;
use super::micro::{self, Block, ColumnRuns, FEW};
use super::packed::{Layout, Packed, Parts};
use super::simd::Simd;

/// Floats of the result after which the epilogue is called: few calls, and still in the first cache.
const FEW_RESULTS: usize = 4096;

/// A chunk of few rows, for which reading the right operand is all: its parts one after the other, and the panels of all runs as
/// they lie. The last ones of one call are the first of the next and still in the cache.
///
/// # Safety
/// The product's pointers are valid for its sizes; called with the instructions of `S` enabled.
#[inline(always)]
pub(super) unsafe fn product<S: Simd>(
    all: &Packed<'_>,
    layout: Layout,
    [first_row, rows]: [usize; 2],
    panels: [usize; 2],
) {
    let Packed { g, packed, rounded, .. } = all;
    let runs = ColumnRuns { count: layout.groups, len: layout.run };
    let (mut left, mut results) = ([std::ptr::null(); FEW], [std::ptr::null_mut(); FEW]);
    for (i, result) in results[..rows].iter_mut().enumerate() {
        *result = g.c.wrapping_offset((first_row + i) as isize * g.c_rs);
    }
    // Of several blocks of the K loop, all are done before the next panels.
    let most = if layout.blocks > 1 { micro::AT_ONCE * S::NR } else { FEW_RESULTS / rows };
    let wide = (most / (layout.groups * S::NR)).max(1);
    let parts = Parts::new(panels, [wide, S::NR], layout.run, g.turned);
    // The sum of two is the same in either order.
    let turns_blocks = g.turned && layout.blocks == 2 && !g.accumulate;
    let rows_of_chunk = [first_row, first_row + rows];
    // SAFETY: pointers are valid for the sizes, and the network made the epilogue for this product.
    unsafe {
        parts.begin(g, rows_of_chunk);
        for at in 0..parts.count() {
            let [panel, until] = parts.panels(at);
            let whole = until.min(layout.run / S::NR).max(panel);
            for turn in 0..layout.blocks {
                let index = if turns_blocks { layout.blocks - 1 - turn } else { turn };
                let [step, end] = layout.steps(index);
                for (i, left) in left[..rows].iter_mut().enumerate() {
                    *left = all.left(first_row + i, step);
                }
                let block = Block {
                    segments: 1,
                    len: end - step,
                    left: left.as_ptr(),
                    left_rows: rows,
                    left_offset: 0,
                    left_step: g.a.col_stride,
                    right: packed.wrapping_add(layout.at::<S>(index, 0, 0)),
                    right_step: S::NR as isize,
                    right_segment: 0,
                    right_panel: ((end - step) * S::NR) as isize,
                    right_next: None,
                    right_first: 0,
                    is_tight: true,
                    result: results.as_ptr(),
                    result_offset: 0,
                    rows,
                    cols: layout.run,
                    accumulate: g.accumulate || turn > 0,
                };
                let all_runs = [panel, whole].map(|panel| panel * layout.groups);
                match rounded {
                    Some(rounded) => {
                        let columns = rounded.columns(&layout, index);
                        fixed21::panels_of_runs::<S>(&columns, &block, runs, all_runs, g.turned);
                    }
                    None => micro::panels_of_runs::<S>(&block, runs, all_runs, g.turned),
                }
                // A last panel that is not whole lies by itself.
                for group in 0..if whole < until { layout.groups } else { 0 } {
                    let right = packed.wrapping_add(layout.at::<S>(index, group, whole));
                    let last = Block { right, right_panel: 0, result_offset: group * layout.run, ..block };
                    micro::panels::<S>(&last, whole, until);
                }
            }
            parts.finish(g, rows_of_chunk, at);
        }
    }
}
