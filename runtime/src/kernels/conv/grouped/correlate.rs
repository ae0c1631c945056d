//! Forward and data gradient.
#![expect(unsafe_code, reason = "vector instructions on raw images")]

use super::super::super::simd::{LONGEST, Simd, Task};
use super::super::geometry::Correlation;
use super::super::rows::{Pixels, Sums};
use super::{all_channels, load, turned};

/// Of groups of `K` channels.
#[derive(Clone, Copy)]
pub(crate) struct Turned<const K: usize>;

impl<const K: usize> Sums for Turned<K> {
    #[inline(always)]
    fn most<S: Simd>() -> usize {
        // Portable code is small rather than fast.
        let sums = if S::COMPACT {
            1
        } else if S::MANY_REGISTERS {
            16
        } else {
            8
        };
        (sums / K).clamp(1, 8)
    }
    #[inline(always)]
    fn weights(g: &Correlation<'_>) -> usize {
        K * all_channels(g)
    }
    #[inline(always)]
    unsafe fn sum<S: Simd, const P: usize>(g: &Correlation<'_>, pixels: Pixels<'_>) {
        let turns = std::array::from_fn(|turn| turned::<K>(K - turn));
        let channels = all_channels(g);
        let whole = channels - channels % S::LANES;
        // SAFETY: promised by the caller; no more than the channels that exist.
        unsafe {
            for channel in (0..whole).step_by(S::LANES) {
                Self::vectors::<S, P, true>(g, pixels, channel, &turns, S::LANES);
            }
            if whole < channels {
                for pixel in 0..P {
                    S::vectorize(Rest::<K> { g, pixels: pixels.from(g, pixel), channel: whole, turns: &turns });
                }
            }
        }
    }
}

/// What is left of the channels of a pixel, from one on. A task, so that it is compiled once.
struct Rest<'a, const K: usize> {
    g: &'a Correlation<'a>,
    pixels: Pixels<'a>,
    channel: usize,
    turns: &'a [[u32; LONGEST]; K],
}

impl<const K: usize> Task for Rest<'_, K> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Rest { g, pixels, channel, turns } = self;
        // SAFETY: promised by the maker.
        unsafe { Turned::<K>::vectors::<S, 1, false>(g, pixels, channel, turns, all_channels(g) - channel) };
    }
}

impl<const K: usize> Turned<K> {
    /// A vector of channels.
    #[inline(always)]
    unsafe fn vectors<S: Simd, const P: usize, const WHOLE: bool>(
        g: &Correlation<'_>,
        pixels: Pixels<'_>,
        channel: usize,
        turns: &[[u32; LONGEST]; K],
        lanes: usize,
    ) {
        let (from_step, to_step) = (g.scale[1] as isize * g.from.col, g.step[1] as isize * g.to.col);
        // SAFETY: promised by the caller.
        unsafe {
            let mut sums = [[S::splat(0.0); K]; P];
            for place in pixels.places {
                let from = pixels.from.wrapping_add(channel).wrapping_offset(place.offset);
                let weights = pixels.packed.wrapping_add(channel + place.weights);
                let weights: [S::V; K] =
                    std::array::from_fn(|turn| load::<S, WHOLE>(weights.wrapping_add(turn * all_channels(g)), lanes));
                for (i, sums) in sums.iter_mut().enumerate() {
                    let x = load::<S, WHOLE>(from.wrapping_offset(i as isize * from_step), lanes);
                    for (sum, &weight) in sums.iter_mut().zip(&weights) {
                        *sum = S::mul_add(x, weight, *sum);
                    }
                }
            }
            for (i, sums) in sums.iter().enumerate() {
                let to = pixels.to.offset(i as isize * to_step).add(channel);
                let mut sum = sums[0];
                for (&other, lanes) in sums.iter().zip(turns).skip(1) {
                    sum = S::add(sum, S::permute(other, lanes));
                }
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
}
