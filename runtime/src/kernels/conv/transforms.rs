//! The transforms of Winograd's F(4x4, 3x3) at the points 0, ±5/8, ±3/2 and infinity.
//!
//! A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks"; the points lose less precision than
//! 0, ±1, ±2: B. Barabasz et al., "Error analysis and improving the accuracy of Winograd convolution".
#![expect(unsafe_code, reason = "vector instructions")]

use super::super::simd::Simd;

const A: f32 = 0.625;
const B: f32 = 1.5;

/// One dimension of the transform of a tile of the image, `Bᵀ·x`: a row for each point is the product of `x - q` over
/// all other finite points q.
#[inline(always)]
pub(crate) unsafe fn image<S: Simd>(x: [S::V; 6]) -> [S::V; 6] {
    // SAFETY: the instructions are those of the caller.
    unsafe {
        let minus_a2 = S::splat(-A * A);
        let minus_b2 = S::splat(-B * B);
        let minus_sum = S::splat(-(A * A + B * B));
        let product = S::splat(A * A * B * B);
        // x⁴ - (a² + b²)·x² + a²·b², and the same times x.
        let first = S::add(S::mul_add(minus_sum, x[2], S::mul(product, x[0])), x[4]);
        let last = S::add(S::mul_add(minus_sum, x[3], S::mul(product, x[1])), x[5]);
        // x⁴ ± a·x³ - b²·x² ∓ a·b²·x
        let even_a = S::mul_add(minus_b2, x[2], x[4]);
        let odd_a = S::mul(S::splat(A), S::mul_add(minus_b2, x[1], x[3]));
        let even_b = S::mul_add(minus_a2, x[2], x[4]);
        let odd_b = S::mul(S::splat(B), S::mul_add(minus_a2, x[1], x[3]));
        [first, S::add(even_a, odd_a), S::sub(even_a, odd_a), S::add(even_b, odd_b), S::sub(even_b, odd_b), last]
    }
}

/// One dimension of the transform of the products, `Aᵀ·m`: row i weighs each point by its i-th power.
#[inline(always)]
pub(crate) unsafe fn result<S: Simd>(m: [S::V; 6]) -> [S::V; 4] {
    // SAFETY: the instructions are those of the caller.
    unsafe {
        let (sum_a, difference_a) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
        let (sum_b, difference_b) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
        let weigh =
            |power: i32, a: S::V, b: S::V| S::mul_add(S::splat(A.powi(power)), a, S::mul(S::splat(B.powi(power)), b));
        [
            S::add(m[0], S::add(sum_a, sum_b)),
            weigh(1, difference_a, difference_b),
            weigh(2, sum_a, sum_b),
            S::add(m[5], weigh(3, difference_a, difference_b)),
        ]
    }
}

/// One dimension of the transform of the weights, `G·w`: powers of each point over the product of its differences.
#[inline(always)]
pub(crate) unsafe fn weights<S: Simd>(w: [S::V; 3]) -> [S::V; 6] {
    let zero = 1.0 / (A * A * B * B);
    let a = 1.0 / (2.0 * A * A * (A * A - B * B));
    let b = 1.0 / (2.0 * B * B * (B * B - A * A));
    // SAFETY: the instructions are those of the caller.
    unsafe {
        let pair = |point: f32, scale: f32| {
            let even = S::mul_add(S::splat(point * point * scale), w[2], S::mul(S::splat(scale), w[0]));
            let odd = S::mul(S::splat(point * scale), w[1]);
            [S::add(even, odd), S::sub(even, odd)]
        };
        let ([plus_a, minus_a], [plus_b, minus_b]) = (pair(A, a), pair(B, b));
        [S::mul(S::splat(zero), w[0]), plus_a, minus_a, plus_b, minus_b, w[2]]
    }
}
