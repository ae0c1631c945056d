//! A right operand whose numbers are rounded to 21 bits, fixed point, with a scale for each column.
//!
//! A product of a single row takes as long as reading its right operand, which so has two thirds of the bytes. What a number loses
//! is at most 2⁻²⁰ of the largest of its column, and 2⁻¹⁴ of the largest of its row: so a product loses little, whatever the left
//! operand holds. A matrix of which that does not hold, because rows or numbers are of very different sizes or not finite, stays
//! as it is. Sums that overflow on the way are computed again, of the `f32` if these are there, and else of what the words stand
//! for, where one that may stand for zero does: infinite times such a number is no number.
//!
//! Two words hold a column's numbers of three steps, a triple. The upper 21 bits of the first word belong to the first step, the
//! lower 21 bits of the second word to the second; the 11 others of both are the upper 22 bits of the third, and the bits that
//! follow those in the second word are taken for its lower ones. A number's own bits are chosen so that the others change it least,
//! and that converting it takes one operation, or two.
#![expect(unsafe_code, reason = "raw matrices")]

mod round;

pub(crate) use round::{pack, round};

use super::cpu::{self, Cpu};
use super::largest::COLS;
use super::micro::{self, Block, ColumnRuns};
use super::packed::{self, Layout};
use super::simd::{LONGEST, Simd};

/// Steps whose numbers are rounded together.
const TRIPLE: usize = 3;
/// Words of a triple of a panel.
const WORDS: usize = 2 * COLS;
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
    if suits(k, run, groups) { Place::new(k, run, groups).len() } else { 0 }
}

/// Whether reading a rounded matrix takes less time than reading it as it is: where a vector's operations take half as long as
/// the second cache takes to bring one.
pub(crate) fn pays(cpu: Cpu) -> bool {
    cpu::is_amd_with_avx512(cpu) && cpu::has_vbmi2()
}

/// Where the parts of a rounded matrix lie.
struct Place {
    /// Whole panels of all runs: what remains of a run is not rounded.
    panels: usize,
    /// The largest number of each row.
    rows: usize,
    data: usize,
    /// Triples of a block of the K loop, of which the last may have fewer steps, and the last block fewer triples.
    triples: usize,
    blocks: usize,
}

impl Place {
    /// In the order of a step of a packed operand, the scales lie between the header and the rows.
    fn new(k: usize, run: usize, groups: usize) -> Place {
        let panels = groups * (run / COLS);
        let rows = HEADER + panels * COLS;
        let [steps, blocks] = packed::blocks(k);
        let data = rows + k.next_multiple_of(LONGEST);
        Place { panels, rows, data, triples: steps.div_ceil(TRIPLE), blocks }
    }
    /// Where a panel begins in a block of so many steps.
    fn panel(&self, block: usize, steps: usize, panel: usize) -> usize {
        self.data + (block * self.triples * self.panels + panel * steps.div_ceil(TRIPLE)) * WORDS
    }
    fn len(&self) -> usize {
        self.data + self.blocks * self.triples * self.panels * WORDS
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
        let data = self.start.wrapping_add(place.panel(block, 0, 0));
        Columns { data, scales: self.start.wrapping_add(HEADER), is_alone: self.is_alone }
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
                    2.. => (2, tiles::<S, 2, false>(columns, block, runs, panel)),
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

/// What remains of a number in units to which this is added and from which it is then taken away: multiples of 2048, and
/// zero of a word that stands for zero, which [`round`](round::round) makes to within half of that.
const COARSE: f32 = 3.0 * (1_u64 << 33) as f32;

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
        let (mut sums, triples) = ([[S::splat(0.0); 4]; P], block.len.div_ceil(TRIPLE));
        let left = (*block.left).wrapping_add(block.left_offset);
        let scale = |q: usize, j: usize| S::load(columns.scales.wrapping_add((panel + q) * COLS + j * S::LANES));
        let data: [*const f32; P] = std::array::from_fn(|q| columns.data.wrapping_add((panel + q) * triples * WORDS));
        for triple in 0..triples {
            let step = |at: usize| S::splat(*left.offset((triple * TRIPLE + at) as isize * block.left_step));
            let left = match block.len - triple * TRIPLE {
                1 => [step(0), S::splat(0.0), S::splat(0.0)],
                2 => [step(0), step(1), S::splat(0.0)],
                _ => [step(0), step(1), step(2)],
            };
            for (q, (data, sums)) in data.iter().zip(&mut sums).enumerate() {
                for (j, sum) in sums.iter_mut().enumerate() {
                    let numbers = S::widen(data.add(triple * WORDS + 2 * j * LONGEST));
                    for (a, number) in left.into_iter().zip(numbers) {
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
