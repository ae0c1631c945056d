//! Forward and data gradient.
#![expect(unsafe_code, reason = "vector instructions on raw images")]

use super::super::super::simd::Simd;
use super::super::geometry::Correlation;
use super::super::rows::{Pixels, Sums};
use super::{load, turned};

/// Sums of the channels that those of the result meet at each turn.
pub(crate) struct Turns;

impl Sums for Turns {
    fn weights(g: &Correlation<'_>) -> usize {
        g.from.channels * g.all_channels()
    }

    #[inline(always)]
    unsafe fn sum<S: Simd, const P: usize>(g: &Correlation<'_>, pixels: Pixels<'_>) {
        let channels = g.all_channels();
        let whole = channels - channels % S::LANES;
        // SAFETY: promised by the caller; no more than the channels that exist.
        unsafe {
            for channel in (0..whole).step_by(S::LANES) {
                vectors::<S, P, true>(g, pixels, channel, S::LANES);
            }
            if whole < channels {
                vectors::<S, P, false>(g, pixels, whole, channels - whole);
            }
        }
    }
}

/// A vector of channels of `P` pixels.
#[inline(always)]
unsafe fn vectors<S: Simd, const P: usize, const WHOLE: bool>(
    g: &Correlation<'_>,
    pixels: Pixels<'_>,
    channel: usize,
    lanes: usize,
) {
    let (from_step, to_step) = (g.scale[1] as isize * g.from.col, g.step[1] as isize * g.to.col);
    // SAFETY: promised by the caller.
    unsafe {
        let mut sums = [S::splat(0.0); P];
        for place in pixels.places {
            let from = pixels.from.wrapping_add(channel).wrapping_offset(place.offset);
            let weights = pixels.packed.add(place.weights + channel);
            let x = |i: usize| load::<S, WHOLE>(from.wrapping_offset(i as isize * from_step), lanes);
            let weight = load::<S, WHOLE>(weights, lanes);
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = S::mul_add(x(i), weight, *sum);
            }
            for turn in 1..g.from.channels {
                let weight = load::<S, WHOLE>(weights.add(turn * g.all_channels()), lanes);
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = S::mul_add(turned::<S>(x(i), turn), weight, *sum);
                }
            }
        }
        for (i, mut sum) in sums.into_iter().enumerate() {
            let to = pixels.to.offset(i as isize * to_step).add(channel);
            if pixels.adds {
                sum = S::add(load::<S, WHOLE>(to, lanes), sum);
            }
            if WHOLE {
                S::store(to, sum);
            } else {
                S::store_first(to, sum, lanes);
            }
        }
    }
}
