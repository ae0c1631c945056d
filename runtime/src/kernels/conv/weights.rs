//! Packs the weights of a convolution into panels: `[group][panel][tap][channel of from][NR channels of to]`.
#![expect(unsafe_code, reason = "raw weights")]

use crate::threads::Team;

use super::super::gemm::Output;
use super::super::simd::{Simd, Task};
use super::geometry::Correlation;

/// Channels that are packed for all taps before the next ones: what is written stays in the first cache.
const CHANNELS: usize = 16;

pub(crate) struct Pack<'a> {
    pub(crate) team: Team<'a>,
    pub(crate) g: &'a Correlation<'a>,
    pub(crate) packed: *mut f32,
}

impl Task for Pack<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Pack { team, g, packed } = self;
        let packed = Output(packed);
        let (panels, width) = (g.to.channels.div_ceil(S::NR), g.to.channels.next_multiple_of(S::LANES));
        team.run(g.groups * panels, |_, chunk| {
            let (group, panel) = (chunk / panels, chunk % panels);
            // SAFETY: each chunk has its own place.
            unsafe {
                pack_panel::<S>(g, group, panel, packed.get().add((group * width + panel * S::NR) * g.depth()));
            };
        });
    }
}

unsafe fn pack_panel<S: Simd>(g: &Correlation<'_>, group: usize, panel: usize, to: *mut f32) {
    let first = panel * S::NR;
    let lanes = S::NR.min(g.to.channels - first);
    let width = lanes.next_multiple_of(S::LANES);
    let channels = g.from.channels;
    for block in (0..channels).step_by(CHANNELS) {
        let end = channels.min(block + CHANNELS);
        for lane in 0..lanes {
            for channel in block..end {
                let from = group * g.weight_group + (first + lane) * g.weight_to + channel * g.weight_from;
                for (position, tap) in g.in_order.iter().enumerate() {
                    // SAFETY: indices within the weights and the panel.
                    unsafe {
                        *to.add((position * channels + channel) * width + lane) = *g.weight.add(from + tap.index);
                    };
                }
            }
        }
        for lane in lanes..width {
            for channel in block..end {
                for position in 0..g.in_order.len() {
                    // SAFETY: indices within the panel.
                    unsafe { *to.add((position * channels + channel) * width + lane) = 0.0 };
                }
            }
        }
    }
}
