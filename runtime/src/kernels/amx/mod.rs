//! Products of `f32` matrices on the matrix unit of x86-64, AMX.
//!
//! The unit multiplies numbers of 8 significant bits, `bf16`, sixteen times as many in a cycle as the vector units multiply
//! `f32`, and adds them up in `f32`. An `f32` has 24 bits: it is the sum of three such parts, exactly. Of the nine products
//! of parts the six largest are added up, the largest last, so that what is left out of each product is less than
//! 2⁻²⁵ of it, half the rounding of an `f32`: the result is as exact as a chain of multiply-adds, in less than half the time.
//! Henry, Tang, Heinecke, "Leveraging the bfloat16 artificial intelligence datatype for higher-precision computations".
//!
//! The unit takes denormal numbers for zero, and parts of infinite ones are no numbers. Rows of a left operand in which that
//! matters are left to the vector units, each by itself; so are columns of a right operand that is no parameter.
//!
//! - [`detect`] asks whether the unit is there;
//! - [`split`] cuts operands into parts and packs these as *tiles*;
//! - [`tile`] and [`taps`] multiply tiles, [`patch`] pieces of the result;
//! - [`correlate`] is a convolution, or its data gradient, of a map whose pixels [`planes`] splits;
//! - [`packed`] is the product with a right operand that was packed before, [`long`] that of a left one with adjacent rows.

#[cfg(target_arch = "x86_64")]
pub(super) mod correlate;
#[cfg(target_arch = "x86_64")]
pub(super) mod detect;
#[cfg(target_arch = "x86_64")]
pub(super) mod long;
#[cfg(not(target_arch = "x86_64"))]
mod none;
#[cfg(target_arch = "x86_64")]
pub(super) mod packed;
#[cfg(target_arch = "x86_64")]
mod patch;
#[cfg(target_arch = "x86_64")]
mod planes;
#[cfg(target_arch = "x86_64")]
mod split;
#[cfg(target_arch = "x86_64")]
mod taps;
#[cfg(target_arch = "x86_64")]
pub(super) mod tile;

#[cfg(not(target_arch = "x86_64"))]
pub(super) use none::{correlate, long, packed};

use crate::scratch::{Needs, Purpose};

/// Rows of a tile of the left operand and of the result.
const ROWS: usize = 16;
/// Columns of a panel of the right operand: those of two tiles.
const COLS: usize = 32;
/// Steps of the K loop in a tile of either operand.
const DEPTH: usize = 32;
/// Parts of a number.
const PARTS: usize = 3;
/// Floats of memory that a tile takes.
const TILE: usize = 256;

/// Floats of a panel of the right operand, for each tile along the K loop.
const PANEL: usize = 2 * PARTS * TILE;
/// Most steps of a block of the K loop.
const KC: usize = 512;
/// Most rows of a chunk: their parts stay in the second cache, beside a panel of the right operand.
const MC: usize = 128;

/// Fewer rows leave most of a tile empty.
///
/// Threads that share a recurrence by members have as many each, at least: whether a product is computed here does not
/// depend on the number of threads.
const FEWEST: usize = super::matmul::MANY;

/// Whether products of such a right operand, with columns in runs of `run`, are worth computing here: tiles are filled by
/// two thirds.
pub(super) fn suits(k: usize, run: usize) -> bool {
    let filled = k.next_multiple_of(DEPTH).saturating_mul(run.next_multiple_of(COLS));
    k > 0 && run > 0 && filled.saturating_mul(2) <= k.saturating_mul(run).saturating_mul(3)
}

/// Whether a product of so many rows is computed here, if its right operand [`suits`].
pub(super) fn takes(rows: usize) -> bool {
    rows >= FEWEST
}

/// How far weights of neighboring channels may lie from each other, in floats.
const FARTHEST: usize = 1 << 26;
/// The least tiles of weights that are worth beginning and storing sums for.
const STEPS: usize = 8;

/// Whether a correlation with so many taps, in so many phases, between so many channels is computed here, if images have pixels
/// enough.
pub(super) fn correlates(taps: usize, phases: usize, [from, to]: [usize; 2]) -> bool {
    let are_near = taps.saturating_mul(from.max(to)) <= FARTHEST;
    suits(from, to) && are_near && taps.saturating_mul(from.div_ceil(DEPTH)) >= STEPS * phases
}

/// How many floats weights take that are packed for a correlation in this unit, in tiles but not in parts.
pub(super) fn correlation_len(groups: usize, taps: usize, [from, to]: [usize; 2]) -> usize {
    let rows = groups.saturating_mul(taps).saturating_mul(from.next_multiple_of(DEPTH));
    rows.saturating_mul(to.next_multiple_of(ROWS))
}

/// The least rows, columns and steps of a product that is worth splitting both operands for.
const WORTH: usize = 64;
/// Most elements of a right operand that are split at once.
const SPLIT: usize = 1 << 20;
/// Most rows of a left operand with adjacent rows that one chunk computes, and most steps of a slab: they stay in the second
/// cache.
const LONG_ROWS: usize = 256;
const SLAB: usize = 512;
/// Panels of the right operand that are split together.
const GROUP: usize = 4;

/// Whether a product of such sizes, of which no operand is packed, is computed here: with a right operand that is packed for it,
/// unless the left one has adjacent rows.
pub(super) fn splits([m, n, k]: [usize; 3], is_adjacent: bool) -> bool {
    [m, n, k].into_iter().all(|size| size >= WORTH) && (is_adjacent || (suits(k, n) && k * n <= SPLIT))
}

/// What a product for which [`splits`] holds takes at most, for sizes up to these.
pub(super) fn split_needs(m: usize, n: usize, k: usize) -> Needs {
    let tiles = k.min(SLAB).div_ceil(DEPTH);
    // Of smaller sizes, too, tiles are filled by two thirds.
    let split = packed_len(k, n, 1).min(SPLIT / 4 * 9);
    Needs::default()
        .chunk(Purpose::Left, m.min(LONG_ROWS).div_ceil(ROWS) * tiles * PARTS * TILE)
        .chunk(Purpose::Right, GROUP * tiles * PANEL)
        .caller(Purpose::Shared, split)
        .max(needs(m, k))
}

/// How many floats a right operand takes that is packed for this unit.
pub(super) fn packed_len(k: usize, n: usize, groups: usize) -> usize {
    groups.saturating_mul((n / groups).div_ceil(COLS)).saturating_mul(k.div_ceil(DEPTH)).saturating_mul(PANEL)
}

/// What a product with a packed right operand takes at most, for `m` and `k` up to these.
pub(super) fn needs(m: usize, k: usize) -> Needs {
    Needs::default().chunk(Purpose::Left, m.min(MC).div_ceil(ROWS) * k.min(KC).div_ceil(DEPTH) * PARTS * TILE)
}
