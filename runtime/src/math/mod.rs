//! Elementary functions, each defined once for constant folding, the interpreter and generated code.
//!
//! A definition is a sequence of operations of [`Arith`]. [`Scalar`] carries them out on `f32`; the compiler
//! implements the same trait by emitting vector instructions. Products and sums are fused where [`Arith::mul_add`] says
//! so and nowhere else, so that the results are the same bits on every CPU that can fuse them.

mod arith;

pub use arith::{Arith, Scalar};

/// The integer nearest to `x·factor`, and an integer whose low bits are its own.
fn nearest<A: Arith>(a: &mut A, x: A::F, factor: f32) -> (A::F, A::I) {
    let factor = a.float(factor);
    // Adding 1.5·2^23 rounds to the nearest integer and leaves it in the low bits.
    let shift = a.float(12_582_912.0);
    let shifted = a.mul_add(x, factor, shift);
    (a.sub(shifted, shift), a.bits(shifted))
}

/// Evaluates a polynomial by Horner's rule, the highest coefficient first.
fn polynomial<A: Arith>(a: &mut A, x: A::F, coefficients: &[f32]) -> A::F {
    let mut sum = a.float(coefficients[0]);
    for &coefficient in &coefficients[1..] {
        let coefficient = a.float(coefficient);
        sum = a.mul_add(sum, x, coefficient);
    }
    sum
}

/// `e^x`, at most 1 ulp from the true value (measured 0.88 over all floats), subnormal results included.
///
/// Cody and Waite: `x = n·ln 2 + r`, `e^r` by a polynomial, then two multiplications by powers of two whose
/// exponents add up to `n`, so that results overflow and underflow as they should.
pub fn exp<A: Arith>(a: &mut A, x: A::F) -> A::F {
    let highest = a.float(89.0);
    // `x` stands second, so that NaN stays.
    let x = a.min(highest, x);
    let lowest = a.float(-105.0);
    let x = a.max(lowest, x);
    let (p, n) = exp_parts(a, x);
    let one = a.float(1.0);
    let p = a.add(p, one);
    // All but the lowest bits of both halves are zero within the nine that count, as in `n` itself.
    let half = a.sshr(n, 1);
    let rest = a.isub(n, half);
    let half = power_of_two(a, half);
    let rest = power_of_two(a, rest);
    let p = a.mul(p, half);
    a.mul(p, rest)
}

/// As [`exp`], for numbers between -87 and 88: one power of two is enough.
fn exp_of_moderate<A: Arith>(a: &mut A, x: A::F) -> A::F {
    let (p, n) = exp_parts(a, x);
    let one = a.float(1.0);
    let p = a.add(p, one);
    let scale = power_of_two(a, n);
    a.mul(p, scale)
}

/// `x = n·ln 2 + r`: `e^r - 1`, and an integer whose lowest nine bits are those of `n`.
fn exp_parts<A: Arith>(a: &mut A, x: A::F) -> (A::F, A::I) {
    let (n, n_bits) = nearest(a, x, std::f32::consts::LOG2_E);

    // ln 2 in two parts, so that r = most + rest: of the result, which is about r, neither part is rounded before the sum.
    let ln2 = a.float(std::f32::consts::LN_2);
    let minus_ln2_rest = a.float(1.904_654_3e-9);
    let most = a.neg_mul_add(n, ln2, x);
    let rest = a.mul(n, minus_ln2_rest);
    let r = a.add(most, rest);

    // e^r = 1 + r + r²·p(r) for |r| <= ln(2)/2, the largest relative error as small as can be: 3.1e-9.
    let p = polynomial(a, r, &[1.381_454e-3, 8.368_745e-3, 4.166_839e-2, 1.666_652_1e-1, 4.999_999_4e-1]);
    let square = a.mul(r, r);
    let p = a.mul_add(p, square, rest);
    (a.add(p, most), n_bits)
}

/// `2^n` for `n` in `-126..=127`, of which only the lowest nine bits are looked at.
fn power_of_two<A: Arith>(a: &mut A, n: A::I) -> A::F {
    let exponent = a.shl(n, 23);
    let one = a.int(1.0_f32.to_bits().cast_signed());
    let bits = a.iadd(exponent, one);
    a.float_of_bits(bits)
}

/// The natural logarithm, at most 1 ulp from the true value (measured 0.83): `-inf` at 0, NaN below.
///
/// FreeBSD's `e_logf.c`: `x = 2^k·m` with `m` in `[√½, √2)`, and `log m` as a series in `s = (m-1)/(m+1)`.
pub fn log<A: Arith>(a: &mut A, x: A::F) -> A::F {
    // A subnormal number is first made normal.
    let smallest = a.float(f32::MIN_POSITIVE);
    let subnormal = a.less(x, smallest);
    let scale = a.float(8_388_608.0);
    let scaled = a.mul(x, scale);
    let normal = a.select(subnormal, scaled, x);

    let root_half = a.int(0x3f35_04f3);
    let bits = a.bits(normal);
    let from_root = a.isub(bits, root_half);
    let k = a.sshr(from_root, 23);
    let k = a.to_float(k);
    let scaled_k = a.float(23.0);
    let less_k = a.sub(k, scaled_k);
    let k = a.select(subnormal, less_k, k);
    let mantissa = a.int(0x007f_ffff);
    let mantissa = a.iand(from_root, mantissa);
    let mantissa = a.iadd(mantissa, root_half);
    let m = a.float_of_bits(mantissa);

    let one = a.float(1.0);
    let two = a.float(2.0);
    let half = a.float(0.5);
    let f = a.sub(m, one);
    let denominator = a.add(two, f);
    let s = a.div(f, denominator);
    let z = a.mul(s, s);
    let series = polynomial(a, z, &[0.242_790_79, 0.284_987_87, 0.400_009_72, 0.666_666_6]);
    let square = a.mul(f, f);
    let half_square = a.mul(half, square);
    // log x = k·ln2_high - ((half_square - (s·(half_square + series) + k·ln2_low)) - f)
    let inner = a.mul_add(series, z, half_square);
    let ln2_low = a.float(9.058_001e-6);
    let low = a.mul(k, ln2_low);
    let inner = a.mul_add(s, inner, low);
    let inner = a.sub(half_square, inner);
    let inner = a.sub(inner, f);
    let ln2_high = a.float(0.693_138_1);
    let high = a.mul(k, ln2_high);
    let result = a.sub(high, inner);

    // 0 -> -inf, below -> NaN; inf and NaN stay as they are.
    let zero = a.float(0.0);
    let infinity = a.float(f32::INFINITY);
    let minus_infinity = a.float(f32::NEG_INFINITY);
    let not_a_number = a.float(f32::NAN);
    let finite = a.less(x, infinity);
    let result = a.select(finite, result, x);
    let negative = a.less(x, zero);
    let result = a.select(negative, not_a_number, result);
    let is_zero = a.equal(x, zero);
    a.select(is_zero, minus_infinity, result)
}

/// The hyperbolic tangent, at most 2 ulp from the true value (measured 1.83 over all floats).
///
/// Of `b = -|x| = n·2·ln 2 + g` it is `1 - 2·e^2b / (1 + e^2b)`, and `e^2b = 16^n·(q + g) / (q - g)` with `q = g·coth(g)`,
/// which is even in `g`. Where `n` is 0 that is `-g / q`, without a difference of what is nearly equal.
pub fn tanh<A: Arith>(a: &mut A, x: A::F) -> A::F {
    let sign = a.int(i32::MIN);
    let bits = a.bits(x);
    let negative = a.ior(bits, sign);
    let b = a.float_of_bits(negative);
    // tanh(10) rounds to 1. The bound stands first, so that NaN stays.
    let lowest = a.float(-10.0);
    let b = a.max(lowest, b);
    let (n, n_bits) = nearest(a, b, 0.5 * std::f32::consts::LOG2_E);
    // One rounding: where `n` is not 0, so small an error in `g` changes nothing.
    let two_ln2 = a.float(2.0 * std::f32::consts::LN_2);
    let g = a.neg_mul_add(n, two_ln2, b);

    // g·coth(g) for |g| <= ln(2), the largest relative error as small as can be: 9.8e-10.
    let square = a.mul(g, g);
    let q = polynomial(a, square, &[-1.886_140_5e-4, 2.107_431_6e-3, -2.222_083_1e-2, 3.333_332_5e-1, 1.0]);
    let [less, more] = [a.sub(q, g), a.add(q, g)];
    let scale = {
        let exponent = a.shl(n_bits, 25);
        let one = a.int(1.0_f32.to_bits().cast_signed());
        let bits = a.iadd(exponent, one);
        a.float_of_bits(bits)
    };
    let power = a.mul(scale, more);
    let denominator = a.add(less, power);

    let [zero, one, two] = [a.float(0.0), a.float(1.0), a.float(2.0)];
    let is_near = a.equal(n, zero);
    let numerator = a.select(is_near, g, power);
    let limit = a.select(is_near, zero, one);
    let quotient = a.div(numerator, denominator);
    let result = a.neg_mul_add(two, quotient, limit);
    a.with_sign(result, x)
}

/// The logistic function `1/(1 + e^-x)`, at most 2 ulp from the true value (measured 1.94 over all floats), subnormal
/// results included.
///
/// With `e^-x = 2^n·(1 + q + h) / (1 + q - h)` it is `(1 + q - h) / ((1 + q - h) + 2^n·(1 + q + h))`, where
/// `-x = n·ln 2 + 2h`, and `1 + q = h·coth(h)` is even in `h`. Both sides are taken
/// times 2^-40, so that nothing overflows where the result is subnormal, and times 1.625: sums that would lie on both sides
/// of 1, where roundings weigh most just above it, then lie between 1.36 and 1.93.
pub fn sigmoid<A: Arith>(a: &mut A, x: A::F) -> A::F {
    let half = a.float(-0.5);
    let x = a.mul(x, half);
    // The bound stands first, so that NaN stays. sigmoid(40) rounds to 1, sigmoid(-105) to 0.
    let highest = a.float(52.5);
    let lowest = a.float(-20.0);
    let x = a.min(highest, x);
    let x = a.max(lowest, x);
    let (n, n_bits) = nearest(a, x, 2.0 * std::f32::consts::LOG2_E);
    let half_ln2 = a.float(0.5 * std::f32::consts::LN_2);
    let half_ln2_rest = a.float(-9.523_271e-10);
    let h = a.neg_mul_add(n, half_ln2, x);
    let h = a.neg_mul_add(n, half_ln2_rest, h);

    // h·coth(h) for |h| <= ln(2)/4, the largest error as small as can be: 2.2e-9.
    let square = a.mul(h, h);
    let q = polynomial(a, square, &[-2.213_396e-2, 3.333_325e-1]);
    // 1.625·2^(n - 40), of which `n` fills the exponent.
    let exponent = a.shl(n_bits, 23);
    let small = 1.625 * (-40.0_f32).exp2();
    let small_bits = a.int(small.to_bits().cast_signed());
    let scale = a.iadd(exponent, small_bits);
    let scale = a.float_of_bits(scale);
    let small = a.float(small);
    let q = a.mul(q, square);
    let [below, above] = [a.sub(q, h), a.add(q, h)];
    let less = a.mul_add(below, small, small);
    // The large term last: one rounding of its size.
    let denominator = a.mul_add(above, scale, less);
    let denominator = a.add(denominator, scale);
    a.div(less, denominator)
}

/// The error function, at most 2 ulp from the true value (measured 1.13).
///
/// N. Juffa's two minimax polynomials: one for `erf` itself near zero, one for `log(1 - erf)` elsewhere.
pub fn erf<A: Arith>(a: &mut A, x: A::F) -> A::F {
    let magnitude = a.abs(x);
    let square = a.mul(x, x);

    // erf(4) rounds to 1.
    let four = a.float(4.0);
    let t = a.min(four, magnitude);
    let p = polynomial(
        a,
        t,
        &[
            -1.728_534_7e-5,
            3.831_971_3e-4,
            -3.883_964_4e-3,
            2.425_462_2e-2,
            -1.067_778_8e-1,
            -6.348_467e-1,
            -1.287_175_1e-1,
        ],
    );
    let p = a.mul(p, t);
    let p = a.sub(p, t);
    // Not below the logarithm of 1 - erf(4), which is -18.
    let power = exp_of_moderate(a, p);
    let one = a.float(1.0);
    let far = a.sub(one, power);

    let p = polynomial(
        a,
        square,
        &[-5.967_617e-4, 4.991_194_2e-3, -2.676_813_5e-2, 1.128_199_25e-1, -3.761_253_4e-1, 1.283_791_7e-1],
    );
    let near = a.mul_add(p, magnitude, magnitude);

    let border = a.float(0.927_734_4);
    let is_near = a.less(magnitude, border);
    let result = a.select(is_near, near, far);
    a.with_sign(result, x)
}

/// The functions of this module on one `f32`.
pub mod scalar {
    use super::Scalar;

    /// See [`super::exp`].
    pub fn exp(x: f32) -> f32 {
        super::exp(&mut Scalar, x)
    }
    /// See [`super::log`].
    pub fn log(x: f32) -> f32 {
        super::log(&mut Scalar, x)
    }
    /// See [`super::tanh`].
    pub fn tanh(x: f32) -> f32 {
        super::tanh(&mut Scalar, x)
    }
    /// See [`super::sigmoid`].
    pub fn sigmoid(x: f32) -> f32 {
        super::sigmoid(&mut Scalar, x)
    }
    /// See [`super::erf`].
    pub fn erf(x: f32) -> f32 {
        super::erf(&mut Scalar, x)
    }
}

#[cfg(test)]
mod tests {
    use super::scalar::{erf, exp, log, sigmoid, tanh};

    /// The distance of `x` from the true value in units of the last place of the latter.
    fn ulps(x: f32, truth: f64) -> f64 {
        let rounded = truth as f32;
        if x == rounded || (x.is_nan() && rounded.is_nan()) {
            return 0.0;
        }
        let exponent = truth.abs().log2().floor().max(-126.0);
        (f64::from(x) - truth).abs() / (exponent - 23.0).exp2()
    }

    /// The largest error over a dense sample of all floats in `[low, high]`.
    fn check(name: &str, f: fn(f32) -> f32, truth: fn(f64) -> f64, low: f32, high: f32, bound: f64) {
        let mut worst = (0.0, 0.0);
        let mut visit = |x: f32| {
            if x >= low && x <= high {
                let error = ulps(f(x), truth(f64::from(x)));
                if error > worst.0 {
                    worst = (error, x);
                }
            }
        };
        // All magnitudes of both signs, and the interval itself evenly.
        for bits in (0..0x7f80_0000_u32).step_by(3001) {
            visit(f32::from_bits(bits));
            visit(-f32::from_bits(bits));
        }
        for i in 0..=400_000 {
            visit(low + (high - low) * (i as f32 / 400_000.0));
        }
        assert!(worst.0 <= bound, "{name}: {} ulp at {:e}", worst.0, worst.1);
    }

    fn erf_f64(x: f64) -> f64 {
        let t = x.abs();
        if t > 6.0 {
            return x.signum();
        }
        if t < 3.0 {
            let (mut term, mut sum) = (x, x);
            for n in 1..100 {
                let n = f64::from(n);
                term *= -x * x / n;
                sum += term / (2.0 * n + 1.0);
            }
            return sum * std::f64::consts::FRAC_2_SQRT_PI;
        }
        // The continued fraction of erfc.
        let mut fraction = t;
        for n in (1..200).rev() {
            fraction = t + f64::from(n) / 2.0 / fraction;
        }
        (1.0 - (-t * t).exp() / (fraction * std::f64::consts::PI.sqrt())).copysign(x)
    }

    #[test]
    fn errors_are_small() {
        check("exp", exp, f64::exp, -106.0, 89.0, 1.0);
        check("log", log, f64::ln, 0.0, f32::MAX, 1.0);
        check("log near one", log, f64::ln, 0.5, 2.0, 1.0);
        check("tanh", tanh, f64::tanh, -12.0, 12.0, 2.0);
        check("sigmoid", sigmoid, |x| 1.0 / (1.0 + (-x).exp()), -105.0, 30.0, 2.0);
        check("erf", erf, erf_f64, -6.0, 6.0, 2.0);
    }

    #[test]
    fn special_values() {
        let infinity = f32::INFINITY;
        let cases: [(f32, f32); 27] = [
            (exp(0.0), 1.0),
            (exp(-0.0), 1.0),
            (exp(infinity), infinity),
            (exp(-infinity), 0.0),
            (exp(1e30), infinity),
            (exp(-1e30), 0.0),
            (exp(88.0), 1.651_636_3e38),
            (exp(f32::NAN), f32::NAN),
            (log(0.0), -infinity),
            (log(-0.0), -infinity),
            (log(1.0), 0.0),
            (log(infinity), infinity),
            (log(-1.0), f32::NAN),
            (log(-infinity), f32::NAN),
            (log(f32::NAN), f32::NAN),
            (tanh(0.0), 0.0),
            (tanh(infinity), 1.0),
            (tanh(-infinity), -1.0),
            (tanh(f32::NAN), f32::NAN),
            (sigmoid(0.0), 0.5),
            (sigmoid(infinity), 1.0),
            (sigmoid(-infinity), 0.0),
            (sigmoid(f32::NAN), f32::NAN),
            (erf(0.0), 0.0),
            (erf(infinity), 1.0),
            (erf(-infinity), -1.0),
            (erf(f32::NAN), f32::NAN),
        ];
        for (index, (found, expected)) in cases.into_iter().enumerate() {
            let both_nan = found.is_nan() && expected.is_nan();
            assert!(both_nan || ulps(found, f64::from(expected)) <= 2.0, "case {index}: {found} is not {expected}");
        }
        assert!(tanh(-0.0).is_sign_negative() && erf(-0.0).is_sign_negative());
    }
}
