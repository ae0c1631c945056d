//! A right operand whose numbers are rounded to 24 bits, fixed point, with a scale for each column.
//!
//! A product of a single row takes as long as reading its right operand, which so has three quarters of the bytes. What a number
//! loses is at most 2⁻²³ of the largest of its column, as much as an `f32` of that size may be off, and 2⁻¹⁵ of the largest of its
//! row: so a product loses little, whatever the left operand holds. A matrix of which that does not hold, because rows or
//! numbers are of very different sizes or not finite, stays as it is. Sums that overflow on the way are computed again, of the
//! `f32` if these are there, and else of what the words stand for, where one that may stand for zero does: infinite times such
//! a number is no number.
//!
//! Three vectors of words hold four vectors of numbers: the upper 24 bits of each word belong to one of the first three, the
//! lower 8 bits of all three words to the fourth. A number's own bits are chosen so that those that it lends change it least,
//! and a word is converted as it is.
#![expect(unsafe_code, reason = "raw matrices")]

mod round;

pub(crate) use round::{pack, round};

use super::cpu::{self, Cpu};
use super::largest::COLS;
use super::micro::{self, Block, ColumnRuns};
use super::packed::Layout;
use super::simd::{LONGEST, Simd};

/// Words of a row of a panel.
const WORDS: usize = 3 * LONGEST;
/// Floats before all others: the first says whether the matrix is rounded, in one of three numbers.
const HEADER: usize = LONGEST;
/// It is not, but packed as it is.
const PLAIN: f32 = 0.0;
/// It is, and packed as it is, too.
const BOTH: f32 = 1.0;
/// It is, and of what is packed as it is there are the last panels alone, which are not whole.
const ALONE: f32 = 2.0;
/// The fewest numbers of a matrix that is worth it: a first cache holds smaller ones.
const LEAST: usize = 32 << 10;

/// Whether such a matrix is large enough, with columns in runs of `run`.
fn suits(k: usize, run: usize, groups: usize) -> bool {
    run >= COLS && k.saturating_mul(run).saturating_mul(groups) >= LEAST
}

/// Floats that a rounded matrix takes beside the one that it is made of.
pub(crate) fn len(k: usize, n: usize, groups: usize) -> usize {
    let run = n / groups;
    if suits(k, run, groups) { Place::new(k, run, groups).data + k * groups * (run / COLS) * WORDS } else { 0 }
}

/// Whether reading a rounded matrix takes less time than reading it as it is: where a vector's operations take half as long as
/// the second cache takes to bring one.
fn pays(cpu: Cpu) -> bool {
    cpu::is_amd_with_avx512(cpu)
}

/// Where the parts of a rounded matrix lie.
struct Place {
    /// Whole panels of all runs: what remains of a run is not rounded.
    panels: usize,
    /// The largest number of each row.
    rows: usize,
    data: usize,
}

impl Place {
    /// In the order of a step of a packed operand, the scales lie between the header and the rows.
    fn new(k: usize, run: usize, groups: usize) -> Place {
        let panels = groups * (run / COLS);
        let rows = HEADER + panels * COLS;
        Place { panels, rows, data: rows + k.next_multiple_of(LONGEST) }
    }
}

/// A matrix that is rounded.
#[derive(Clone, Copy)]
pub(crate) struct Rounded {
    start: *const f32,
    is_alone: bool,
}

/// A block of the K loop of one.
pub(super) struct Columns {
    data: *const f32,
    scales: *const f32,
    is_alone: bool,
}

impl Rounded {
    /// The matrix that [`round`] or [`pack`] made.
    ///
    /// # Safety
    /// It was called for the matrix.
    pub(crate) unsafe fn of(cpu: Cpu, [k, n]: [usize; 2], groups: usize, start: *const f32) -> Option<Rounded> {
        if !pays(cpu) || !suits(k, n / groups, groups) {
            return None;
        }
        // SAFETY: a matrix that suits has a header.
        let header = unsafe { *start };
        (header != PLAIN).then_some(Rounded { start, is_alone: header == ALONE })
    }
    pub(super) fn columns(&self, layout: &Layout, block: usize) -> Columns {
        let place = Place::new(layout.k, layout.run, layout.groups);
        let data = place.data + layout.steps(block)[0] * place.panels * WORDS;
        let scales = self.start.wrapping_add(HEADER);
        Columns { data: self.start.wrapping_add(data), scales, is_alone: self.is_alone }
    }
}

/// As [`micro::panels_of_runs`], of a single row and a block that is rounded.
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn panels_of_runs<S: Simd>(
    columns: &Columns,
    block: &Block,
    runs: ColumnRuns,
    [first, last]: [usize; 2],
    turned: bool,
) {
    if S::NR != COLS {
        return;
    }
    let turns = (last - first).div_ceil(micro::AT_ONCE);
    for turn in 0..turns {
        let mut panel = first + micro::AT_ONCE * if turned { turns - 1 - turn } else { turn };
        let until = last.min(panel + micro::AT_ONCE);
        while panel < until {
            // SAFETY: promised by the caller.
            unsafe {
                // Sums of one panel would wait for each other.
                let (done, is_finite) = match until - panel {
                    micro::AT_ONCE => {
                        (micro::AT_ONCE, tiles::<S, { micro::AT_ONCE }, false>(columns, block, runs, panel))
                    }
                    _ => (1, tiles::<S, 1, false>(columns, block, runs, panel)),
                };
                if !is_finite && columns.is_alone {
                    (panel..panel + done).for_each(|panel| _ = tiles::<S, 1, true>(columns, block, runs, panel));
                } else if !is_finite {
                    micro::panels_of_runs::<S>(block, runs, [panel, panel + done], false);
                }
                panel += done;
            }
        }
    }
}

/// What remains of a number in units to which this is added and from which it is then taken away: multiples of 256 at least, and
/// zero of a word that stands for zero, which [`round`](round::round) makes to within half of that.
const COARSE: f32 = 3.0 * (1_u32 << 30) as f32;

/// A row in `P` panels at once; nothing is stored unless all sums are finite. In units of the words, of which sums may overflow, or
/// `SCALED`, where each number is what it stands for.
#[inline(always)]
unsafe fn tiles<S: Simd, const P: usize, const SCALED: bool>(
    columns: &Columns,
    block: &Block,
    runs: ColumnRuns,
    panel: usize,
) -> bool {
    // SAFETY: the block's pointers are valid for its sizes.
    unsafe {
        let mut sums = [[S::splat(0.0); 4]; P];
        let left = (*block.left).wrapping_add(block.left_offset);
        let scale = |q: usize, j: usize| S::load(columns.scales.wrapping_add((panel + q) * COLS + j * S::LANES));
        let data: [*const f32; P] = std::array::from_fn(|q| columns.data.wrapping_add((panel + q) * block.len * WORDS));
        for at in 0..block.len {
            let a = S::splat(*left.offset(at as isize * block.left_step));
            for (q, (data, sums)) in data.iter().zip(&mut sums).enumerate() {
                for (j, (sum, number)) in sums.iter_mut().zip(S::widen(data.add(at * WORDS))).enumerate() {
                    let number = if SCALED {
                        let coarse = S::sub(S::add(number, S::splat(COARSE)), S::splat(COARSE));
                        S::mul(coarse, scale(q, j))
                    } else {
                        number
                    };
                    *sum = S::mul_add(a, number, *sum);
                }
            }
        }
        // Zero times what is finite is zero.
        let mut zero = S::splat(0.0);
        for (q, sums) in sums.iter_mut().enumerate() {
            for (j, sum) in sums.iter_mut().enumerate() {
                *sum = if SCALED { *sum } else { S::mul(*sum, scale(q, j)) };
                zero = S::mul_add(*sum, S::splat(0.0), zero);
            }
        }
        if S::sum(zero) != 0.0 && !SCALED {
            return false;
        }
        let result = (*block.result).wrapping_add(block.result_offset);
        for (sums, column) in sums.iter().zip(runs.columns::<S, P>(panel)) {
            for (j, &sum) in sums.iter().enumerate() {
                let to = result.wrapping_add(column + j * S::LANES);
                let before = if block.accumulate { S::load(to) } else { S::splat(0.0) };
                S::store(to, S::add(before, sum));
            }
        }
        true
    }
}
