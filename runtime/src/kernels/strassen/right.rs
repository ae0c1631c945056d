//! Sums of the halves of a packed right operand.
#![expect(unsafe_code, reason = "raw matrices")]

use crate::threads::Team;

use super::super::cpu::{self, Cpu};
use super::super::gemm::Output;
use super::super::largest::{self, COLS, exp2, power};
use super::super::packed::Layout;
use super::super::right::Pieces;
use super::super::simd::{LONGEST, Simd, Task};
use super::{Pairs, SUMS, halves, pays, suits};

/// Floats before all others: the first says whether there are sums.
const HEADER: usize = LONGEST;
/// The largest number of each column and of each row is at least this power of two of the largest of all.
const SMALLEST: i32 = -8;
/// That lies between these powers of two, so that nothing overflows.
const POWERS: [i32; 2] = [-60, 60];

/// Floats that the sums of a packed operand take beside it.
pub(crate) fn len(k: usize, n: usize, groups: usize) -> usize {
    if suits([k, n], groups) { HEADER + Pairs::new(n / groups, groups).count * k / 2 * SUMS * COLS } else { 0 }
}

/// Sums of a right operand.
#[derive(Clone, Copy)]
pub(crate) struct Sums {
    start: *const f32,
}

impl Sums {
    /// The sums that [`add_up`] made.
    ///
    /// # Safety
    /// It was called for the operand.
    pub(crate) unsafe fn of(cpu: Cpu, size: [usize; 2], groups: usize, start: *const f32) -> Option<Sums> {
        // SAFETY: an operand that suits has a header.
        (pays(cpu) && suits(size, groups) && unsafe { *start } != 0.0).then_some(Sums { start })
    }

    /// Where those of a pair are, in a block of the K loop: T2, T1, T3 and T4.
    pub(super) fn of_pair(&self, layout: &Layout, pairs: &Pairs, block: usize, pair: usize) -> [*const f32; SUMS] {
        let start = self.start.wrapping_add(place(layout, pairs, block, pair));
        std::array::from_fn(|number| start.wrapping_add(number * halves(layout, block) * COLS))
    }
}

/// Where the sums of a pair begin, in a block of the K loop.
fn place(layout: &Layout, pairs: &Pairs, block: usize, pair: usize) -> usize {
    let [first, last] = layout.steps(block);
    HEADER + (first * pairs.count + pair * (last - first)) / 2 * SUMS * COLS
}

/// Adds up the halves of a packed operand where that pays and little is lost; the header says whether it did.
///
/// # Safety
/// `packed` holds the operand, whose pieces are as they were when it was packed, and `to` has room for [`len`] floats.
pub(crate) unsafe fn add_up(cpu: Cpu, team: Team<'_>, pieces: Pieces<'_>, packed: *const f32, to: *mut f32) {
    if pays(cpu) && suits(pieces.size, pieces.groups) {
        cpu::run_on(cpu, AddUp { team, pieces, packed: Output(packed.cast_mut()), to: Output(to) });
    }
}

struct AddUp<'a> {
    team: Team<'a>,
    pieces: Pieces<'a>,
    packed: Output,
    to: Output,
}

impl Task for AddUp<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let AddUp { team, pieces, packed, to } = self;
        let Pieces { size, groups, .. } = pieces;
        if !S::HAS_SUMS {
            return;
        }
        let layout = Layout::new::<S>(size, groups);
        let pairs = Pairs::new(layout.run, groups);
        // SAFETY: the sums, which come later, take more room than the sizes.
        unsafe {
            let columns = to.get().add(HEADER);
            let rows = columns.add(groups * layout.run);
            let [columns, rows] = largest::measure::<S>(team, &layout, &pieces, [columns, rows]);
            let is_even = is_even(columns, rows);
            *to.get() = f32::from(u8::from(is_even));
            if !is_even {
                return;
            }
        }
        team.run(pairs.count * layout.blocks, |_, chunk| {
            let (pair, block) = (chunk / layout.blocks, chunk % layout.blocks);
            let half = halves(&layout, block) * COLS;
            let panels = pairs.panels(pair).map(|[group, panel]| {
                let panel = packed.get().wrapping_add(layout.at::<S>(block, group, panel));
                [panel, panel.wrapping_add(half)].map(<*mut f32>::cast_const)
            });
            let to = to.get().wrapping_add(place(&layout, &pairs, block, pair));
            // SAFETY: each pair has its own place.
            unsafe { S::vectorize(AddPair { panels, half, to }) };
        });
    }
}

/// Whether all rows and columns are of about one size, given the largest number of each.
fn is_even(columns: &[u32], rows: &[u32]) -> bool {
    let largest = columns.iter().copied().max().and_then(power);
    largest.is_some_and(|above| {
        let least = exp2(above.clamp(POWERS[0], POWERS[1]) + SMALLEST).to_bits();
        (POWERS[0]..POWERS[1]).contains(&above) && columns.iter().chain(rows).all(|&bits| bits >= least)
    })
}

/// Adds up the halves of two panels.
struct AddPair {
    /// `[[B11, B21], [B12, B22]]`
    panels: [[*const f32; 2]; 2],
    /// Floats of each.
    half: usize,
    to: *mut f32,
}

impl Task for AddPair {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let AddPair { panels: [[b11, b21], [b12, b22]], half, to } = self;
        for at in (0..half).step_by(S::LANES) {
            // SAFETY: promised by the maker.
            unsafe {
                let [b11, b21] = [S::load(b11.add(at)), S::load(b21.add(at))];
                let [b12, b22] = [S::load(b12.add(at)), S::load(b22.add(at))];
                let t1 = S::sub(b12, b11);
                let t2 = S::sub(b22, t1);
                let sums = [t2, t1, S::sub(b22, b12), S::sub(b21, t2)];
                for (number, sum) in sums.into_iter().enumerate() {
                    S::store(to.add(number * half + at), sum);
                }
            }
        }
    }
}
