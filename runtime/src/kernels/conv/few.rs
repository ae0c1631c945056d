//! Convolutions of many channels into a few, such as a picture's: vectors run along the channels that are summed up, and a pixel's
//! sums are those of their lanes.
#![expect(unsafe_code, reason = "vector instructions on raw images")]

use super::super::cpu::{self, Cpu};
use super::super::simd::{LONGEST, Simd};
use super::geometry::Correlation;
use super::rows::{Pixels, Rows, Sums};

/// Most channels of a result.
const MOST: usize = 4;
/// Least length of a sum, for each channel of the result: adding up lanes takes its time.
const DEPTH: usize = 32;
/// Fewer channels are copied side by side instead.
const CHANNELS: usize = LONGEST;

/// Whether so few channels are made of so many.
pub(crate) fn are_few([from, to]: [usize; 2], taps: usize) -> bool {
    from >= CHANNELS && (1..=MOST).contains(&to) && from.saturating_mul(taps) >= DEPTH * to
}

pub(crate) fn suits(g: &Correlation<'_>) -> bool {
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
pub(crate) unsafe fn pack(g: &Correlation<'_>, packed: *mut f32) {
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

/// Into `N` channels.
#[derive(Clone, Copy)]
struct ToFew<const N: usize>;

/// Computes what [`suits`].
pub(crate) fn correlate(cpu: Cpu, rows: Rows<'_, ()>) {
    macro_rules! run {
        ($few:literal) => {{
            let Rows { team, g, packed, finish, .. } = rows;
            cpu::run_on(cpu, Rows { team, g, packed, finish, sums: ToFew::<$few> });
        }};
    }
    match rows.g.to.channels {
        1 => run!(1),
        2 => run!(2),
        3 => run!(3),
        _ => run!(4),
    }
}

impl<const N: usize> Sums for ToFew<N> {
    #[inline(always)]
    fn most<S: Simd>() -> usize {
        match (N, S::MANY_REGISTERS) {
            (1, _) | (2, true) => 8,
            (2, false) | (_, true) => 4,
            _ => 2,
        }
    }
    #[inline(always)]
    fn weights(g: &Correlation<'_>) -> usize {
        N * stride(g)
    }
    #[inline(always)]
    unsafe fn sum<S: Simd, const P: usize>(g: &Correlation<'_>, pixels: Pixels<'_>) {
        let Pixels { places, packed, from, to, adds } = pixels;
        let (from_step, to_step) = (g.scale[1] as isize * g.from.col, g.step[1] as isize * g.to.col);
        let whole = g.from.channels - g.from.channels % S::LANES;
        // SAFETY: promised by the caller; no more than the channels that exist.
        unsafe {
            let mut sums = [[S::splat(0.0); N]; P];
            for place in places {
                let (from, weights) = (from.wrapping_offset(place.offset), packed.wrapping_add(place.weights));
                let weight = |to: usize, channel: usize| S::load(weights.add(to * stride(g) + channel));
                for channel in (0..whole).step_by(S::LANES) {
                    let weights: [S::V; N] = std::array::from_fn(|to| weight(to, channel));
                    for (i, sums) in sums.iter_mut().enumerate() {
                        let x = S::load(from.offset(i as isize * from_step).add(channel));
                        for (sum, &weight) in sums.iter_mut().zip(&weights) {
                            *sum = S::mul_add(x, weight, *sum);
                        }
                    }
                }
                if whole < g.from.channels {
                    let weights: [S::V; N] = std::array::from_fn(|to| weight(to, whole));
                    for (i, sums) in sums.iter_mut().enumerate() {
                        let x = from.offset(i as isize * from_step).add(whole);
                        let x = S::load_first(x, g.from.channels - whole);
                        for (sum, &weight) in sums.iter_mut().zip(&weights) {
                            *sum = S::mul_add(x, weight, *sum);
                        }
                    }
                }
            }
            for (i, sums) in sums.into_iter().enumerate() {
                let to = to.offset(i as isize * to_step);
                for (channel, sum) in sums.into_iter().enumerate() {
                    let to = to.offset(channel as isize * g.to.channel);
                    *to = if adds { *to } else { 0.0 } + S::sum(sum);
                }
            }
        }
    }
}
