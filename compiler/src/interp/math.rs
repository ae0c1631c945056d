//! The scalar functions: what each means for one element.

use netc_runtime::math::scalar;

use super::{Precision, Scope};
use crate::kernel::{BinaryFn, Combine, CompareFn, UnaryFn};

pub fn unary(function: UnaryFn, x: f64, scope: &Scope) -> f64 {
    match function {
        UnaryFn::Neg => -x,
        UnaryFn::Abs => x.abs(),
        UnaryFn::Floor => x.floor(),
        UnaryFn::Sqrt => scope.round(x.sqrt()),
        UnaryFn::Exp | UnaryFn::Log | UnaryFn::Tanh | UnaryFn::Sigmoid | UnaryFn::Erf => match scope.precision {
            Precision::F32 => f64::from(transcendental_f32(function, x as f32)),
            Precision::F64 => transcendental_f64(function, x),
        },
    }
}

pub fn binary(function: BinaryFn, a: f64, b: f64, scope: &Scope) -> f64 {
    match function {
        BinaryFn::Add => scope.round(a + b),
        BinaryFn::Sub => scope.round(a - b),
        BinaryFn::Mul => scope.round(a * b),
        BinaryFn::Div => scope.round(a / b),
        BinaryFn::Max => {
            if b > a {
                b
            } else {
                a
            }
        }
        BinaryFn::Min => {
            if b < a {
                b
            } else {
                a
            }
        }
    }
}

/// 1 where the comparison holds, else 0.
pub fn compare(function: CompareFn, a: f64, b: f64) -> f64 {
    let holds = match function {
        CompareFn::Eq => a == b,
        CompareFn::Ne => a != b,
        CompareFn::Lt => a < b,
        CompareFn::Le => a <= b,
        CompareFn::Gt => a > b,
        CompareFn::Ge => a >= b,
    };
    f64::from(u8::from(holds))
}

/// One step of a reduction; not rounded.
pub fn combine(combine: Combine, so_far: f64, x: f64) -> f64 {
    match combine {
        Combine::Sum => so_far + x,
        Combine::Max => {
            if x > so_far {
                x
            } else {
                so_far
            }
        }
        Combine::Min => {
            if x < so_far {
                x
            } else {
                so_far
            }
        }
    }
}

/// What generated code computes, bit for bit.
fn transcendental_f32(function: UnaryFn, x: f32) -> f32 {
    match function {
        UnaryFn::Exp => scalar::exp(x),
        UnaryFn::Log => scalar::log(x),
        UnaryFn::Tanh => scalar::tanh(x),
        UnaryFn::Sigmoid => scalar::sigmoid(x),
        UnaryFn::Erf => scalar::erf(x),
        UnaryFn::Neg | UnaryFn::Abs | UnaryFn::Floor | UnaryFn::Sqrt => unreachable!("{function:?} is exact"),
    }
}

fn transcendental_f64(function: UnaryFn, x: f64) -> f64 {
    match function {
        UnaryFn::Exp => x.exp(),
        UnaryFn::Log => x.ln(),
        UnaryFn::Tanh => x.tanh(),
        UnaryFn::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        UnaryFn::Erf => erf(x),
        UnaryFn::Neg | UnaryFn::Abs | UnaryFn::Floor | UnaryFn::Sqrt => unreachable!("{function:?} is exact"),
    }
}

/// erf(x) = 2/sqrt(pi) e^(-x^2) sum over n of 2^n x^(2n+1) / (1*3*...*(2n+1)) (DLMF 7.6.2): no term cancels another.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term.abs() > 1e-17 * sum.abs() {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

#[cfg(test)]
mod tests {
    use super::erf;

    #[test]
    fn erf_has_its_values() {
        // DLMF table 7.23 and the limits.
        for (x, y) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (-2.0, -0.995_322_265_018_952_7),
            (9.0, 1.0),
        ] {
            assert!((erf(x) - y).abs() < 1e-15, "erf({x}) = {}", erf(x));
        }
        assert!(erf(f64::NAN).is_nan());
    }
}
