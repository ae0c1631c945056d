//! Random numbers as a pure function of a key, a stream and an index.
//!
//! There is no state, so any element of a random tensor can be computed by any thread at any time, and again in the
//! backward pass. The mixing function is C. Wellons' `lowbias32`, run twice with a key in between.

use crate::math::{Arith, Scalar};

/// The avalanche function `lowbias32`, a bijection of 32 bits.
fn mix<A: Arith>(a: &mut A, x: A::I) -> A::I {
    let mut x = x;
    for (shift, factor) in [(16, 0x7feb_352d_u32), (15, 0x846c_a68b)] {
        let shifted = a.ushr(x, shift);
        x = a.ixor(x, shifted);
        let factor = a.int(factor.cast_signed());
        x = a.imul(x, factor);
    }
    let shifted = a.ushr(x, 16);
    a.ixor(x, shifted)
}

/// 32 random bits: element `index` of stream `stream` of the generator with this key.
///
/// In vectors of lanes only `index` varies as a rule, and what depends on the key and the stream alone is
/// hoisted out of a loop by whoever emits it.
pub fn bits<A: Arith>(a: &mut A, key: [A::I; 2], stream: A::I, index: A::I) -> A::I {
    // Odd constants without structure keep neighboring streams and keys apart.
    let golden = a.int(0x9e37_79b9_u32.cast_signed());
    let stream = a.imul(stream, golden);
    let first = a.ixor(key[0], stream);
    let first = mix(a, first);
    let offset = a.int(0x6a09_e667);
    let second = a.iadd(first, offset);
    let second = a.ixor(key[1], second);
    let second = mix(a, second);

    let index = a.imul(index, golden);
    let x = a.iadd(index, first);
    let x = mix(a, x);
    let x = a.ixor(x, second);
    mix(a, x)
}

/// A uniform number in `[0, 1)`, a multiple of `2^-24`.
pub fn uniform<A: Arith>(a: &mut A, key: [A::I; 2], stream: A::I, index: A::I) -> A::F {
    let bits = bits(a, key, stream, index);
    let upper = a.ushr(bits, 8);
    let upper = a.to_float(upper);
    let scale = a.float(1.0 / 16_777_216.0);
    a.mul(upper, scale)
}

/// A generator: a key, from which every stream and index has its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(pub [u32; 2]);

impl Key {
    /// The key of a seed.
    pub fn new(seed: u64) -> Key {
        Key([seed as u32, (seed >> 32) as u32])
    }

    /// See [`bits`].
    pub fn bits(self, stream: u32, index: u32) -> u32 {
        bits(&mut Scalar, self.lanes(), stream.cast_signed(), index.cast_signed()).cast_unsigned()
    }

    /// See [`uniform`].
    pub fn uniform(self, stream: u32, index: u32) -> f32 {
        uniform(&mut Scalar, self.lanes(), stream.cast_signed(), index.cast_signed())
    }

    /// A number of the standard normal distribution (Box and Muller).
    pub fn normal(self, stream: u32, index: u32) -> f32 {
        let first = Key([self.0[0] ^ 0x5bd1_e995, self.0[1]]);
        let second = Key([self.0[0] ^ 0xc2b2_ae35, self.0[1]]);
        // 1 - u is in (0, 1], so that its logarithm is finite.
        let radius = (-2.0 * (1.0 - f64::from(first.uniform(stream, index))).ln()).sqrt();
        let angle = std::f64::consts::TAU * f64::from(second.uniform(stream, index));
        (radius * angle.cos()) as f32
    }

    fn lanes(self) -> [i32; 2] {
        self.0.map(u32::cast_signed)
    }
}

/// The numbers `0..n` in the order of this seed and epoch (Fisher and Yates).
pub fn permutation(n: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let key = Key::new(seed ^ 0x7368_7566_666c_6500);
    let mut order: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        let [low, high] = [0, 1].map(|half| u64::from(key.bits(epoch as u32 ^ (half << 31), last as u32)));
        // The upper half of the product of a random number of 64 bits is unbiased for all practical n.
        let random = u128::from(high << 32 | low) * (last as u128 + 1);
        order.swap(last, (random >> 64) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: u32 = 1 << 20;

    fn moments(values: impl Iterator<Item = f32>) -> (f64, f64) {
        let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
        for x in values.map(f64::from) {
            count += 1.0;
            sum += x;
            squares += x * x;
        }
        let mean = sum / count;
        (mean, squares / count - mean * mean)
    }

    #[test]
    fn uniform_has_its_moments_and_range() {
        for seed in [0, 1, 42, u64::MAX] {
            let key = Key::new(seed);
            let (mean, variance) = moments((0..N).map(|i| key.uniform(3, i)));
            assert!((mean - 0.5).abs() < 0.0015, "{mean}");
            assert!((variance - 1.0 / 12.0).abs() < 0.0005, "{variance}");
            assert!((0..N).all(|i| (0.0..1.0).contains(&key.uniform(3, i))));
        }
    }

    #[test]
    fn normal_has_its_moments() {
        let key = Key::new(7);
        let (mean, variance) = moments((0..N).map(|i| key.normal(0, i)));
        assert!(mean.abs() < 0.004 && (variance - 1.0).abs() < 0.006, "{mean} {variance}");
        let fourth: f64 = (0..N).map(|i| f64::from(key.normal(0, i)).powi(4)).sum::<f64>() / f64::from(N);
        assert!((fourth - 3.0).abs() < 0.05, "{fourth}");
    }

    #[test]
    fn neighbors_streams_and_keys_are_uncorrelated() {
        let pairs: [fn(u32) -> (f32, f32); 5] = [
            |i| (Key::new(5).uniform(0, i), Key::new(5).uniform(0, i + 1)),
            |i| (Key::new(5).uniform(0, i), Key::new(5).uniform(1, i)),
            |i| (Key::new(5).uniform(i, 0), Key::new(5).uniform(i + 1, 0)),
            |i| (Key::new(5).uniform(0, i), Key::new(6).uniform(0, i)),
            |i| (Key::new(5).uniform(0, i), Key::new(5 + (1 << 32)).uniform(0, i)),
        ];
        for (index, pair) in pairs.into_iter().enumerate() {
            let sum: f64 = (0..N).map(pair).map(|(x, y)| (f64::from(x) - 0.5) * (f64::from(y) - 0.5)).sum();
            let correlation = sum / f64::from(N) * 12.0;
            assert!(correlation.abs() < 0.005, "pair {index}: {correlation}");
        }
    }

    #[test]
    fn bytes_are_evenly_spread() {
        let key = Key::new(11);
        for shift in [0, 8, 16, 24] {
            let mut counts = [0_u32; 256];
            for i in 0..N {
                counts[(key.bits(9, i) >> shift & 255) as usize] += 1;
            }
            let expected = f64::from(N) / 256.0;
            let chi: f64 = counts.iter().map(|&c| (f64::from(c) - expected).powi(2) / expected).sum();
            // 255 degrees of freedom: mean 255, standard deviation 22.6.
            assert!((150.0..370.0).contains(&chi), "byte at {shift}: {chi}");
        }
    }

    #[test]
    fn permutations_are_permutations() {
        for n in [0, 1, 2, 17, 1000] {
            let mut order = permutation(n, 1, 2);
            order.sort_unstable();
            assert!(order.into_iter().eq(0..n));
        }
        assert_ne!(permutation(100, 1, 2), permutation(100, 1, 3));
        assert_ne!(permutation(100, 1, 2), permutation(100, 2, 2));
        let first: f64 = (0..10_000).map(|epoch| permutation(10, 3, epoch)[0] as f64).sum();
        assert!((first / 10_000.0 - 4.5).abs() < 0.15);
    }

    #[test]
    fn results_are_the_same_tomorrow() {
        let key = Key::new(42);
        let found = [key.bits(0, 0), key.bits(0, 1), key.bits(1, 0), Key::new(43).bits(0, 0), key.bits(7, 1 << 31)];
        assert_eq!(found, [1559555667, 127540854, 3868856154, 3482595147, 3997409891]);
        assert_eq!([key.uniform(0, 0), key.normal(0, 0)].map(f32::to_bits), [1052371420, 1059735324]);
        assert_eq!(permutation(8, 42, 0), [6, 3, 5, 0, 4, 7, 2, 1]);
    }
}
