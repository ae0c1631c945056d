//! Convolutions in groups of few channels, of which each has as many in both images; in depthwise ones, one: vectors run along the
//! channels of all groups. A channel of the result meets those of its group in turn: at turn `t` a lane meets the channel `lane ^ t`.
#![expect(unsafe_code, reason = "vector instructions on raw images")]

mod sums;
mod weight_grad;

pub(crate) use sums::Turns;
pub(crate) use weight_grad::{WeightGrad, needs};

use super::super::cpu::Cpu;
use super::super::simd::{LONGEST, Simd};
use super::geometry::Correlation;

/// The most channels of a group on every CPU: those of its vectors.
const FEW: usize = 4;
/// The most channels of a group.
const MOST: usize = 8;

/// What each lane of a vector meets at each turn.
static TURNS: [[u32; LONGEST]; MOST] = {
    let mut turns = [[0; LONGEST]; MOST];
    let mut at = 0;
    while at < MOST * LONGEST {
        let (turn, lane) = (at / LONGEST, at % LONGEST);
        turns[turn][lane] = (turn ^ lane) as u32;
        at += 1;
    }
    turns
};

/// Whether the channels of a group, in both images, are as few as the vectors of a CPU hold of several groups.
pub(crate) fn are_few(cpu: Cpu, [from, to]: [usize; 2]) -> bool {
    let most = if matches!(cpu, Cpu::Portable | Cpu::Neon) { FEW } else { MOST };
    from == to && from.is_power_of_two() && from <= most
}

/// Whether they are, and channels are neighbors in both images.
pub(crate) fn applies(cpu: Cpu, g: &Correlation<'_>) -> bool {
    let are_neighbors = g.from.channel == 1 && g.to.channel == 1;
    g.groups > 1 && are_neighbors && are_few(cpu, [g.from.channels, g.to.channels])
}

/// Where the weight is that connects a channel of `to` with the one it meets at a turn.
fn weight_at(g: &Correlation<'_>, channel: usize, turn: usize, tap: usize) -> usize {
    let (group, to) = (channel / g.to.channels, channel % g.to.channels);
    group * g.weight_group + to * g.weight_to + (to ^ turn) * g.weight_from + tap
}

/// Packs weights as `[tap][turn][channel]`, taps in the order of the kernel.
///
/// # Safety
/// The weights are valid, and `packed` has room for as many.
pub(crate) unsafe fn pack(g: &Correlation<'_>, packed: *mut f32) {
    let (turns, channels) = (g.from.channels, g.all_channels());
    for channel in 0..channels {
        for at in 0..g.depth() {
            // SAFETY: promised by the caller.
            unsafe {
                *packed.add(at * channels + channel) = *g.weight.add(weight_at(g, channel, at % turns, at / turns));
            };
        }
    }
}

/// A vector of channels, or what is left of one.
#[inline(always)]
unsafe fn load<S: Simd, const WHOLE: bool>(from: *const f32, lanes: usize) -> S::V {
    // SAFETY: promised by the caller.
    unsafe { if WHOLE { S::load(from) } else { S::load_first(from, lanes) } }
}

/// What the lanes of a vector meet at a turn.
#[inline(always)]
unsafe fn turned<S: Simd>(x: S::V, turn: usize) -> S::V {
    // SAFETY: promised by the caller; lanes are those of a vector's group.
    unsafe { S::permute(x, &TURNS[turn]) }
}
