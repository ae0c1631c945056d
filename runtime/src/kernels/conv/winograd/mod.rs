//! Winograd's algorithms: a small matrix product for each point at which tiles and weights are evaluated, in place of one
//! for each tap, with a fraction of the multiplications.

mod correlate;
mod pack;
mod tiles;
mod transforms;
mod weight_grad;

pub(crate) use correlate::{Winograd, most_parts, needs, packs};
pub(crate) use pack::Pack;
pub(crate) use transforms::{Four, Two};
pub(crate) use weight_grad::{WeightGrad, needs as weight_grad_needs, pays as weight_grad_pays};

use super::super::simd::Simd;
use super::geometry::Correlation;

/// With fewer channels the transforms cost more than they save.
const CHANNELS: usize = 16;

/// Channels whose weights lie together, and whose products a chunk keeps.
const COLS: usize = 64;

/// Panels of a group.
const fn per_group<S: Simd>() -> usize {
    if S::NR < COLS { COLS / S::NR } else { 1 }
}

/// Whether nobody asks for these points where few shapes do.
const fn is_left_out<S: Simd, P: transforms::Points>() -> bool {
    S::COMPACT && P::TILE > <Two as transforms::Points>::TILE
}

/// Whether the algorithms are for this convolution.
pub(crate) fn applies(g: &Correlation<'_>) -> bool {
    let [phase] = g.phases else { return false };
    let first = origin(g);
    g.groups == 1
        && g.scale == [1, 1]
        && g.from.channel == 1
        && g.from.channels >= CHANNELS
        && g.to.channels >= CHANNELS
        && phase.taps.len() == 9
        && phase.taps.iter().all(|tap| (0..2).all(|axis| tap.offset[axis] - first[axis] < 3))
}

/// The offset of the tap that reads the first pixel.
fn origin(g: &Correlation<'_>) -> [isize; 2] {
    [0, 1].map(|axis| g.phases[0].taps.iter().map(|tap| tap.offset[axis]).min().unwrap_or(0))
}
