//! Convolutions in groups of few channels, of one each if they are depthwise: vectors run along the channels of neighboring groups.
//!
//! A lane has a channel of `from`. What it gives to the channel of `to` that is `r` further within its group, and around, is summed
//! up over all taps where it is, and brought to the other lane at the end.
#![expect(unsafe_code, reason = "vector instructions on raw images")]

mod correlate;
mod weight_grad;

pub(crate) use correlate::Turned;
pub(crate) use weight_grad::{WeightGrad, needs};

use super::super::cpu::Cpu;
use super::super::simd::{LONGEST, Simd};
use super::geometry::Correlation;

/// As many chunks keep several threads evenly busy.
const CHUNKS: usize = 12;

/// Whether groups have so few channels, as many of both images, that a vector has whole ones: on any CPU if in portable code, which is
/// small rather than fast.
pub(crate) fn are_few(_: Cpu, [from, to]: [usize; 2]) -> bool {
    from == to && from == 1
}

pub(crate) fn suits(cpu: Cpu, g: &Correlation<'_>) -> bool {
    let are_neighbors = g.from.channel == 1 && g.to.channel == 1;
    g.groups > 1 && are_neighbors && are_few(cpu, [g.from.channels, g.to.channels])
}

/// Channels of all groups.
fn all_channels(g: &Correlation<'_>) -> usize {
    g.groups * g.from.channels
}

/// Where the weight is that connects a channel of `from` with the one of `to` that is `turn` further.
fn weight_at(g: &Correlation<'_>, channel: usize, turn: usize, tap: usize) -> usize {
    let (group, from) = (channel / g.from.channels, channel % g.from.channels);
    let to = (from + turn) % g.from.channels;
    group * g.weight_group + from * g.weight_from + to * g.weight_to + tap
}

/// Packs weights as `[tap][turn][channel of from]`, taps in the order of the kernel.
///
/// # Safety
/// The weights are valid, and `packed` has room for as many.
pub(crate) unsafe fn pack(g: &Correlation<'_>, packed: *mut f32) {
    let (channels, turns) = (all_channels(g), g.from.channels);
    for tap in 0..g.taps {
        for turn in 0..turns {
            for channel in 0..channels {
                // SAFETY: promised by the caller.
                unsafe {
                    let to = packed.add((tap * turns + turn) * channels + channel);
                    *to = *g.weight.add(weight_at(g, channel, turn, tap));
                };
            }
        }
    }
}

/// From where each lane reads, of `K` in a group, to have what is `by` further.
fn turned<const K: usize>(by: usize) -> [u32; LONGEST] {
    std::array::from_fn(|lane| (lane / K * K + (lane + by) % K) as u32)
}

/// A vector of channels, or what is left of one.
#[inline(always)]
unsafe fn load<S: Simd, const WHOLE: bool>(from: *const f32, lanes: usize) -> S::V {
    // SAFETY: promised by the caller.
    unsafe { if WHOLE { S::load(from) } else { S::load_first(from, lanes) } }
}
