//! Convolutions of many channels into a few, such as a picture's: vectors run along the channels that are summed up, and a pixel's
//! sums are those of their lanes.
#![expect(unsafe_code, reason = "vector instructions on raw images")]

use super::super::simd::{LONGEST, Simd};
use super::geometry::Correlation;
use super::rows::{Pixels, Sums};

/// Most channels of a result.
const MOST: usize = 4;
/// Least length of a sum: adding up lanes takes its time.
const DEPTH: usize = 64;
/// Fewer channels are copied side by side instead.
const CHANNELS: usize = LONGEST;

/// Whether so few channels are made of so many.
pub(super) fn are_few([from, to]: [usize; 2], taps: usize) -> bool {
    from >= CHANNELS && (1..=MOST).contains(&to) && from.saturating_mul(taps) >= DEPTH
}

pub(super) fn applies(g: &Correlation<'_>) -> bool {
    g.groups == 1 && g.from.channel == 1 && are_few([g.from.channels, g.to.channels], g.taps)
}

/// Packed channels of a weight: whole vectors.
fn stride(g: &Correlation<'_>) -> usize {
    g.from.channels.next_multiple_of(LONGEST)
}

/// Packs weights as `[tap][channel of to][channel of from]`, taps in the order of the kernel.
///
/// # Safety
/// The weights are valid, and `packed` has room for as many, of whole vectors.
pub(super) unsafe fn pack(g: &Correlation<'_>, packed: *mut f32) {
    for (tap, to) in (0..g.taps).flat_map(|tap| (0..g.to.channels).map(move |to| (tap, to))) {
        for from in 0..stride(g) {
            // SAFETY: promised by the caller.
            unsafe {
                let weight = from * g.weight_from + to * g.weight_to + tap;
                let weight = if from < g.from.channels { *g.weight.add(weight) } else { 0.0 };
                *packed.add((tap * g.to.channels + to) * stride(g) + from) = weight;
            }
        }
    }
}

/// Sums of lanes.
pub(super) struct Lanes;

impl Sums for Lanes {
    fn weights(g: &Correlation<'_>) -> usize {
        g.to.channels * stride(g)
    }

    #[inline(always)]
    unsafe fn sum<S: Simd, const P: usize>(g: &Correlation<'_>, pixels: Pixels<'_>) {
        let (from_step, to_step) = (g.scale[1] as isize * g.from.col, g.step[1] as isize * g.to.col);
        let whole = g.from.channels - g.from.channels % S::LANES;
        for channel in 0..g.to.channels {
            // SAFETY: promised by the caller; no more than the channels that exist.
            unsafe {
                let mut sums = [S::splat(0.0); P];
                for place in pixels.places {
                    let from = pixels.from.wrapping_offset(place.offset);
                    let weights = pixels.packed.add(place.weights + channel * stride(g));
                    for at in (0..whole).step_by(S::LANES) {
                        let weight = S::load(weights.add(at));
                        for (i, sum) in sums.iter_mut().enumerate() {
                            let x = S::load(from.wrapping_offset(i as isize * from_step).wrapping_add(at));
                            *sum = S::mul_add(x, weight, *sum);
                        }
                    }
                    if whole < g.from.channels {
                        let weight = S::load(weights.add(whole));
                        for (i, sum) in sums.iter_mut().enumerate() {
                            let x = from.wrapping_offset(i as isize * from_step).wrapping_add(whole);
                            *sum = S::mul_add(S::load_first(x, g.from.channels - whole), weight, *sum);
                        }
                    }
                }
                for (i, sum) in sums.into_iter().enumerate() {
                    let to = pixels.to.offset(i as isize * to_step + channel as isize * g.to.channel);
                    *to = if pixels.adds { *to } else { 0.0 } + S::sum(sum);
                }
            }
        }
    }
}
