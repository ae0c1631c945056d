//! The transforms of Winograd's F(4x4, 3x3) and F(2x2, 3x3), one dimension at a time.
//!
//! A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks". The products that they surround,
//! `y = Aᵀ·(G·w ⊙ Bᵀ·x)`, are linear in the weights; so the weights' gradient is `Gᵀ·(A·ct ⊙ Bᵀ·x)`.
#![expect(unsafe_code, reason = "vector instructions")]

use super::super::super::simd::Simd;

/// Most points of a dimension.
pub(crate) const MOST: usize = 6;

/// Where the polynomials of a tile and of the weights are evaluated. Elements of arrays beyond [`Points::SIDE`] and
/// [`Points::TILE`] are unspecified.
pub(crate) trait Points: Copy + Send + Sync + 'static {
    /// Pixels of a result's tile on each side.
    const TILE: usize;
    /// Pixels of an image's tile on each side, and points of a dimension.
    const SIDE: usize = Self::TILE + 2;
    /// Elements of a transformed tile.
    const ALL: usize = Self::SIDE * Self::SIDE;

    /// `Bᵀ·x` of a tile of the image: a row for each point is the product of `x - q` over all other finite points q.
    unsafe fn image<S: Simd>(x: [S::V; MOST]) -> [S::V; MOST];
    /// `Aᵀ·m` of the products: row i weighs each point by its i-th power.
    unsafe fn result<S: Simd>(m: [S::V; MOST]) -> [S::V; 4];
    /// `A·y`, the transpose of `result`.
    unsafe fn cotangent<S: Simd>(y: [S::V; 4]) -> [S::V; MOST];
    /// `G·w` of the weights: powers of each point over the product of its differences.
    unsafe fn weights<S: Simd>(w: [S::V; 3]) -> [S::V; MOST];
    /// `Gᵀ·m`, the transpose of `weights`.
    unsafe fn weights_grad<S: Simd>(m: [S::V; MOST]) -> [S::V; 3];
}

/// Tiles of 4 by 4 pixels, at the points 0, ±5/8, ±3/2 and infinity.
///
/// They lose less precision than 0, ±1, ±2: B. Barabasz et al., "Error analysis and improving the accuracy of Winograd
/// convolution".
#[derive(Clone, Copy)]
pub(crate) struct Four;

const A: f32 = 0.625;
const B: f32 = 1.5;
/// `1 / (a²·b²)`, and for ±a and ±b one over the product of the differences.
const SCALE: f32 = 1.0 / (A * A * B * B);
const SCALE_A: f32 = 1.0 / (2.0 * A * A * (A * A - B * B));
const SCALE_B: f32 = 1.0 / (2.0 * B * B * (B * B - A * A));

impl Points for Four {
    const TILE: usize = 4;

    #[inline(always)]
    unsafe fn image<S: Simd>(x: [S::V; MOST]) -> [S::V; MOST] {
        // SAFETY: the instructions are those of the caller.
        unsafe {
            let minus_a2 = S::splat(-A * A);
            let minus_b2 = S::splat(-B * B);
            let minus_sum = S::splat(-(A * A + B * B));
            let product = S::splat(A * A * B * B);
            // x⁴ - (a² + b²)·x² + a²·b², and the same times x.
            let first = S::mul_add(product, x[0], S::mul_add(minus_sum, x[2], x[4]));
            let last = S::mul_add(product, x[1], S::mul_add(minus_sum, x[3], x[5]));
            // x⁴ ± a·x³ - b²·x² ∓ a·b²·x
            let even_a = S::mul_add(minus_b2, x[2], x[4]);
            let odd_a = S::mul_add(minus_b2, x[1], x[3]);
            let even_b = S::mul_add(minus_a2, x[2], x[4]);
            let odd_b = S::mul_add(minus_a2, x[1], x[3]);
            let pair = |point: f32, even: S::V, odd: S::V| {
                [S::mul_add(S::splat(point), odd, even), S::mul_add(S::splat(-point), odd, even)]
            };
            let ([plus_a, minus_a], [plus_b, minus_b]) = (pair(A, even_a, odd_a), pair(B, even_b, odd_b));
            [first, plus_a, minus_a, plus_b, minus_b, last]
        }
    }

    #[inline(always)]
    unsafe fn result<S: Simd>(m: [S::V; MOST]) -> [S::V; 4] {
        // SAFETY: the instructions are those of the caller.
        unsafe {
            let (sum_a, difference_a) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
            let (sum_b, difference_b) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
            let weigh = |power: i32, a: S::V, b: S::V| {
                S::mul_add(S::splat(A.powi(power)), a, S::mul(S::splat(B.powi(power)), b))
            };
            let last = S::mul_add(S::splat(B * B * B), difference_b, m[5]);
            [
                S::add(m[0], S::add(sum_a, sum_b)),
                weigh(1, difference_a, difference_b),
                weigh(2, sum_a, sum_b),
                S::mul_add(S::splat(A * A * A), difference_a, last),
            ]
        }
    }

    #[inline(always)]
    unsafe fn cotangent<S: Simd>(y: [S::V; 4]) -> [S::V; MOST] {
        // SAFETY: the instructions are those of the caller.
        unsafe {
            let pair = |point: f32| {
                let square = S::splat(point * point);
                let even = S::mul_add(square, y[2], y[0]);
                let odd = S::mul_add(square, y[3], y[1]);
                [S::mul_add(S::splat(point), odd, even), S::mul_add(S::splat(-point), odd, even)]
            };
            let ([plus_a, minus_a], [plus_b, minus_b]) = (pair(A), pair(B));
            [y[0], plus_a, minus_a, plus_b, minus_b, y[3]]
        }
    }

    #[inline(always)]
    unsafe fn weights<S: Simd>(w: [S::V; 3]) -> [S::V; MOST] {
        // SAFETY: the instructions are those of the caller.
        unsafe {
            let pair = |point: f32, scale: f32| {
                let even = S::mul_add(S::splat(point * point * scale), w[2], S::mul(S::splat(scale), w[0]));
                let odd = S::mul(S::splat(point * scale), w[1]);
                [S::add(even, odd), S::sub(even, odd)]
            };
            let ([plus_a, minus_a], [plus_b, minus_b]) = (pair(A, SCALE_A), pair(B, SCALE_B));
            [S::mul(S::splat(SCALE), w[0]), plus_a, minus_a, plus_b, minus_b, w[2]]
        }
    }

    #[inline(always)]
    unsafe fn weights_grad<S: Simd>(m: [S::V; MOST]) -> [S::V; 3] {
        // SAFETY: the instructions are those of the caller.
        unsafe {
            let (sum_a, difference_a) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
            let (sum_b, difference_b) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
            let weigh = |power: i32, a: S::V, b: S::V| {
                let b = S::mul(S::splat(SCALE_B * B.powi(power)), b);
                S::mul_add(S::splat(SCALE_A * A.powi(power)), a, b)
            };
            [
                S::mul_add(S::splat(SCALE), m[0], weigh(0, sum_a, sum_b)),
                weigh(1, difference_a, difference_b),
                S::add(m[5], weigh(2, sum_a, sum_b)),
            ]
        }
    }
}

/// Tiles of 2 by 2 pixels, at the points 0, ±1 and infinity: for maps so small that weights four times as large take
/// longer to read than they save.
#[derive(Clone, Copy)]
pub(crate) struct Two;

impl Points for Two {
    const TILE: usize = 2;

    #[inline(always)]
    unsafe fn image<S: Simd>(x: [S::V; MOST]) -> [S::V; MOST] {
        // SAFETY: the instructions are those of the caller.
        unsafe {
            // x² - 1, x² + x, x² - x, x³ - x
            let [x0, x1, x2, x3, ..] = x;
            [S::sub(x2, x0), S::add(x2, x1), S::sub(x2, x1), S::sub(x3, x1), x0, x0]
        }
    }

    #[inline(always)]
    unsafe fn result<S: Simd>(m: [S::V; MOST]) -> [S::V; 4] {
        // SAFETY: the instructions are those of the caller.
        unsafe {
            let [m0, m1, m2, m3, ..] = m;
            [S::add(m0, S::add(m1, m2)), S::add(m3, S::sub(m1, m2)), m0, m0]
        }
    }

    #[inline(always)]
    unsafe fn cotangent<S: Simd>(y: [S::V; 4]) -> [S::V; MOST] {
        // SAFETY: the instructions are those of the caller.
        unsafe {
            let [y0, y1, ..] = y;
            [y0, S::add(y0, y1), S::sub(y0, y1), y1, y0, y0]
        }
    }

    #[inline(always)]
    unsafe fn weights<S: Simd>(w: [S::V; 3]) -> [S::V; MOST] {
        // SAFETY: the instructions are those of the caller.
        unsafe {
            let half = S::splat(0.5);
            let even = S::mul(half, S::add(w[0], w[2]));
            let odd = S::mul(half, w[1]);
            [S::sub(S::splat(0.0), w[0]), S::add(even, odd), S::sub(even, odd), w[2], even, odd]
        }
    }

    #[inline(always)]
    unsafe fn weights_grad<S: Simd>(m: [S::V; MOST]) -> [S::V; 3] {
        // SAFETY: the instructions are those of the caller.
        unsafe {
            let half = S::splat(0.5);
            let even = S::mul(half, S::add(m[1], m[2]));
            [S::sub(even, m[0]), S::mul(half, S::sub(m[1], m[2])), S::add(even, m[3])]
        }
    }
}
