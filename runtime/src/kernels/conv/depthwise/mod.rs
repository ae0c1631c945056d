//! Convolutions in which every channel is a group of its own: vectors run along channels.
#![expect(unsafe_code, reason = "vector instructions on raw images")]

mod correlate;
mod weight_grad;

pub(crate) use correlate::Correlate;
pub(crate) use weight_grad::{WeightGrad, needs};

use super::super::simd::Simd;
use super::geometry::Correlation;

/// As many chunks keep several threads evenly busy.
const CHUNKS: usize = 12;

/// Packs weights as `[tap][channel]`, taps in the order of the kernel.
///
/// # Safety
/// The weights are valid, and `packed` has room for as many.
pub(crate) unsafe fn pack(g: &Correlation<'_>, packed: *mut f32) {
    for channel in 0..g.groups {
        for tap in 0..g.taps {
            // SAFETY: promised by the caller.
            unsafe {
                *packed.add(tap * g.groups + channel) = *g.weight.add(channel * g.taps + tap);
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
