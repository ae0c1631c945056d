//! A packed operand whose numbers are rounded to 24 bits, fixed point, with a scale for each column.
//!
//! A product of a single row takes as long as reading its right operand, which so has three quarters of the bytes. What a number
//! loses is at most 2⁻²³ of the largest of its column, as much as an `f32` of that size may be off, and 2⁻¹⁵ of the largest of its
//! row: so a product loses little, whatever the left operand holds. A matrix of which that does not hold, because rows or
//! numbers are of very different sizes or not finite, stays as it is. So do sums that overflow on the way: they are computed
//! again, of the `f32`.
//!
//! Three vectors of words hold four vectors of numbers: the upper 24 bits of each word belong to one of the first three, the
//! lower 8 bits of all three words to the fourth. A number's own bits are chosen so that those that it lends change it least,
//! and a word is converted as it is.
#![expect(unsafe_code, reason = "raw matrices")]

use crate::threads::Team;

use super::cpu::{self, Cpu};
use super::gemm::Output;
use super::largest::{self, COLS, INFINITE, exp2, power};
use super::micro::{self, Block, ColumnRuns};
use super::packed::Layout;
use super::simd::{LONGEST, Simd, Task};

/// Words of a row of a panel.
const WORDS: usize = 3 * LONGEST;
/// Floats before all others: the first says whether the matrix is rounded.
const HEADER: usize = LONGEST;
/// The fewest numbers of a matrix that is worth it: a first cache holds smaller ones.
const LEAST: usize = 32 << 10;
/// The largest number of each column, unless it is zero, lies between these powers of two, so that no scale overflows.
const POWERS: [i32; 2] = [-90, 120];
/// The largest number of a row is at least this part of the power of two above the largest of all.
const SMALLEST_ROW: i32 = -9;

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
}

/// A block of the K loop of one.
pub(super) struct Columns {
    data: *const f32,
    scales: *const f32,
}

impl Rounded {
    /// The matrix that [`round`] made.
    ///
    /// # Safety
    /// It was called for the matrix.
    pub(crate) unsafe fn of(cpu: Cpu, [k, n]: [usize; 2], groups: usize, start: *const f32) -> Option<Rounded> {
        // SAFETY: a matrix that suits has a header.
        (pays(cpu) && suits(k, n / groups, groups) && unsafe { *start } != 0.0).then_some(Rounded { start })
    }
    pub(super) fn columns(&self, layout: &Layout, block: usize) -> Columns {
        let place = Place::new(layout.k, layout.run, layout.groups);
        let data = place.data + layout.steps(block)[0] * place.panels * WORDS;
        Columns { data: self.start.wrapping_add(data), scales: self.start.wrapping_add(HEADER) }
    }
}

/// Rounds a packed operand where that pays and little is lost; the header says whether it did.
///
/// # Safety
/// `packed` holds the operand, and `to` has room for [`len`] floats.
pub(crate) unsafe fn round(
    cpu: Cpu,
    team: Team<'_>,
    [k, n]: [usize; 2],
    groups: usize,
    packed: *const f32,
    to: *mut f32,
) {
    if pays(cpu) && suits(k, n / groups, groups) {
        cpu::run_on(cpu, Round { team, size: [k, n], groups, packed: Output(packed.cast_mut()), to: Output(to) });
    }
}

struct Round<'a> {
    team: Team<'a>,
    size: [usize; 2],
    groups: usize,
    packed: Output,
    to: Output,
}

impl Task for Round<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Round { team, size, groups, packed, to } = self;
        if S::NR != COLS {
            return;
        }
        let layout = Layout::new::<S>(size, groups);
        let place = Place::new(layout.k, layout.run, groups);
        // SAFETY: there is room for the sizes, and nobody else knows of it.
        unsafe {
            let room = [HEADER, place.rows].map(|at| to.get().add(at));
            let [columns, rows] = largest::measure::<S>(team, &layout, packed, room);
            let loses_little = loses_little(columns, rows);
            *to.get() = f32::from(u8::from(loses_little));
            if !loses_little {
                return;
            }
        }
        team.run(place.panels, |_, number| {
            for block in 0..layout.blocks {
                let [first, last] = layout.steps(block);
                let from = packed.get().wrapping_add(layout.at::<S>(block, number % groups, number / groups));
                let data = place.data + (first * place.panels + number * (last - first)) * WORDS;
                let largest = to.get().wrapping_add(HEADER + number * COLS);
                let panel = Panel { from, rows: last - first, largest, data: to.get().wrapping_add(data) };
                // SAFETY: each panel has its own place.
                unsafe { S::vectorize(panel) };
            }
        });
        for scale in 0..place.panels * COLS {
            // SAFETY: as above.
            unsafe {
                let scale = to.get().add(HEADER + scale);
                *scale = power((*scale).to_bits()).map_or(0.0, |above| exp2(above - 31));
            }
        }
    }
}

/// Whether rounding loses little, given the largest number of each column and of each row.
fn loses_little(columns: &[u32], rows: &[u32]) -> bool {
    let largest = columns.iter().copied().max().unwrap_or(0);
    let Some(above) = power(largest) else { return true };
    let smallest = columns.iter().copied().filter(|&bits| bits > 0).min().and_then(power).unwrap_or(above);
    if largest >= INFINITE || smallest < POWERS[0] || above > POWERS[1] {
        return false;
    }
    let least = exp2(above + SMALLEST_ROW).to_bits();
    rows.iter().all(|&row| row == 0 || row >= least)
}

/// The rows of a panel in a block of the K loop.
struct Panel {
    from: *const f32,
    rows: usize,
    /// The largest numbers of its columns.
    largest: *const f32,
    data: *mut f32,
}

impl Task for Panel {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Panel { from, rows, largest, data } = self;
        // SAFETY: promised by the maker; a row of a panel is one of the operand's.
        unsafe {
            let numbers = std::slice::from_raw_parts(from.cast::<[f32; COLS]>(), rows);
            let unit = (*largest.cast::<[u32; COLS]>()).map(|bits| power(bits).map_or(0.0, |above| exp2(31 - above)));
            let data = std::slice::from_raw_parts_mut(data.cast::<[u32; WORDS]>(), rows);
            for (numbers, words) in numbers.iter().zip(data) {
                round_row(numbers, &unit, words);
            }
        }
    }
}

/// The words of a row of a panel, of which each column has a unit, the inverse of its last bit.
#[inline(always)]
fn round_row(numbers: &[f32; COLS], unit: &[f32; COLS], words: &mut [u32; WORDS]) {
    const LARGEST: i32 = (1 << 23) - 1;
    for lane in 0..LONGEST {
        // SAFETY: each number is less than the power of two that its unit makes 2³¹.
        let fixed =
            |j: usize| unsafe { (numbers[j * LONGEST + lane] * unit[j * LONGEST + lane]).to_int_unchecked::<i32>() };
        let lent = ((fixed(3) >> 8) + ((fixed(3) >> 7) & 1)).min(LARGEST);
        for j in 0..3 {
            let byte = (lent >> (16 - 8 * j)) & 0xff;
            let x = fixed(j);
            let far = (x & 0xff) - byte;
            let own = (x >> 8) + i32::from(far > 128) - i32::from(far < -128);
            words[j * LONGEST + lane] = ((own.clamp(-LARGEST - 1, LARGEST) << 8) | byte) as u32;
        }
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
                    micro::AT_ONCE => (micro::AT_ONCE, tiles::<S, { micro::AT_ONCE }>(columns, block, runs, panel)),
                    _ => (1, tiles::<S, 1>(columns, block, runs, panel)),
                };
                if !is_finite {
                    micro::panels_of_runs::<S>(block, runs, [panel, panel + done], false);
                }
                panel += done;
            }
        }
    }
}

/// A row in `P` panels at once; nothing is stored unless all sums are finite.
#[inline(always)]
unsafe fn tiles<S: Simd, const P: usize>(columns: &Columns, block: &Block, runs: ColumnRuns, panel: usize) -> bool {
    // SAFETY: the block's pointers are valid for its sizes.
    unsafe {
        let mut sums = [[S::splat(0.0); 4]; P];
        let left = (*block.left).wrapping_add(block.left_offset);
        let data: [*const f32; P] = std::array::from_fn(|q| columns.data.wrapping_add((panel + q) * block.len * WORDS));
        for at in 0..block.len {
            let a = S::splat(*left.offset(at as isize * block.left_step));
            for (data, sums) in data.iter().zip(&mut sums) {
                for (sum, number) in sums.iter_mut().zip(S::widen(data.add(at * WORDS))) {
                    *sum = S::mul_add(a, number, *sum);
                }
            }
        }
        // Zero times what is finite is zero.
        let mut zero = S::splat(0.0);
        for (q, sums) in sums.iter_mut().enumerate() {
            let scales = columns.scales.add((panel + q) * COLS);
            for (j, sum) in sums.iter_mut().enumerate() {
                *sum = S::mul(*sum, S::load(scales.add(j * S::LANES)));
                zero = S::mul_add(*sum, S::splat(0.0), zero);
            }
        }
        if S::sum(zero) != 0.0 {
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
