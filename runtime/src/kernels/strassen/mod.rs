//! One level of Strassen's algorithm, in Winograd's form, for products of many rows with a packed operand: seven products of halves
//! in place of eight.
//!
//! V. Strassen, "Gaussian elimination is not optimal", Numerische Mathematik 13 (1969); the form with the fewest additions is that of
//! S. Winograd (1971), see N. J. Higham, "Accuracy and Stability of Numerical Algorithms", chapter 23.
//!
//! ```text
//! S1 = A21 + A22   T1 = B12 - B11   P1 = A11 B11   P5 = S1 T1   C11 = P1 + P2
//! S2 = S1 - A11    T2 = B22 - T1    P2 = A12 B21   P6 = S2 T2   C12 = P1 + P6 + P5 + P3
//! S3 = A11 - A21   T3 = B22 - B12   P3 = S4 B22    P7 = S3 T3   C21 = P1 + P6 + P7 + P4
//! S4 = A12 - S2    T4 = B21 - T2    P4 = A22 T4                 C22 = P1 + P6 + P5 + P7
//! ```
//!
//! The halves of the rows are the even and the odd ones, so that a pair is the same in any part of the rows that begins with an
//! even one; those of the columns are panels, of one run each or neighbors in one; those of the K loop halves of each of its
//! blocks. Sums of the right operand are made where it is packed, those of the left one for each block. Products are added up and
//! to the result in registers, in four chains, so that each part of the result is touched twice; without copies of parts, as in
//! Huang, Smith, Henry and van de Geijn, "Strassen's algorithm reloaded" (SC 2016).
//!
//! A sum is about as exact as others, but for the larger of two rows, of two columns or of two steps, not for each: so a right
//! operand has no sums whose rows or columns are of very different sizes, and rows of the left one that are go by themselves, as do
//! those with numbers that are not finite.

mod chains;
mod left;
mod right;

use super::cpu::{self, Cpu};
use super::largest::COLS;
use super::packed::Layout;
use super::simd::STEPS;

pub(super) use left::{Left, left_len};
pub(crate) use right::{Sums, add_up, len};

/// The fewest steps of the K loop: tiles of fewer are stored too often.
const SHORTEST: usize = 128;
/// The most numbers of an operand that gets sums beside: memory for time.
const LARGEST: usize = 4 << 20;
/// Sums of the halves of an operand.
const SUMS: usize = 4;

/// The pairs of panels of a packed operand.
#[derive(Clone, Copy)]
struct Pairs {
    /// Whether a pair's panels belong to two runs, and not to one.
    is_across: bool,
    /// Pairs in the order in which parts of the columns are complete in all runs, and how many follow one panel of each.
    count: usize,
    at_once: usize,
}

impl Pairs {
    fn new(run: usize, groups: usize) -> Pairs {
        let (panels, is_across) = (run / COLS, groups.is_multiple_of(2));
        let (steps, at_once) = if is_across { (panels, groups / 2) } else { (panels / 2, groups) };
        Pairs { is_across, count: steps * at_once, at_once }
    }
    /// The pairs in panels `first..last` of all runs, and the first panel that has none.
    fn within(&self, [first, last]: [usize; 2]) -> ([usize; 2], usize) {
        let panels = if self.is_across { 1 } else { 2 };
        let last = self.count.min(last / panels * self.at_once).max(first / panels * self.at_once);
        ([first / panels * self.at_once, last], last / self.at_once * panels)
    }
    /// The runs and panels of a pair.
    fn panels(&self, pair: usize) -> [[usize; 2]; 2] {
        let (step, number) = (pair / self.at_once, pair % self.at_once);
        match self.is_across {
            true => [0, 1].map(|half| [2 * number + half, step]),
            false => [0, 1].map(|half| [number, 2 * step + half]),
        }
    }
}

/// How many panels of a run are to be in a part of the columns, for no pair to be divided.
pub(super) fn panels_at_once(groups: usize) -> usize {
    if groups.is_multiple_of(2) { 1 } else { 2 }
}

fn suits([k, n]: [usize; 2], groups: usize) -> bool {
    let is_fit = k >= SHORTEST && k.is_multiple_of(2 * STEPS) && k.saturating_mul(n) <= LARGEST;
    is_fit && Pairs::new(n / groups, groups).count > 0
}

/// Whether sums pay: of multiply-adds at half the rate at which vectors are loaded and stored.
fn pays(cpu: Cpu) -> bool {
    cpu::is_amd_with_avx512(cpu)
}

/// Steps of half a block of the K loop.
fn halves(layout: &Layout, block: usize) -> usize {
    let [first, last] = layout.steps(block);
    (last - first) / 2
}
