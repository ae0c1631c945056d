//! Elementwise functions of one argument. To add one: a variant of `UnaryFn`, and a row in each `match` that asks for it.

use super::{Primitive, require_f32};
use crate::diag::Message;
use crate::graph::{Value, Var};
use crate::interp::{self, Scope, Tensor};
use crate::kernel::{CompareFn, Expr, Int, UnaryFn};
use crate::schedule::Lowering;
use crate::types::{Dim, TensorType};

/// A function of every element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unary(pub UnaryFn);

impl Primitive for Unary {
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        require_f32(args)?;
        Ok(args[0].clone())
    }

    fn eval(&self, args: &[&Tensor], _: &[usize], scope: &Scope) -> Tensor {
        args[0].map(|x| interp::unary(self.0, x, scope))
    }

    fn vjp<'b>(&self, _: usize, x: &[Var<'b>], y: Var<'b>, ct: Var<'b>) -> Option<Var<'b>> {
        let x = x[0];
        match self.0 {
            UnaryFn::Neg => Some(-ct),
            // The sign of x, which is 0 at 0.
            UnaryFn::Abs => {
                let zero = x.builder.scalar(0.0);
                Some(ct * (x.compare(CompareFn::Gt, zero) - x.compare(CompareFn::Lt, zero)))
            }
            UnaryFn::Exp => Some(ct * y),
            UnaryFn::Log => Some(ct / x),
            UnaryFn::Tanh => Some(ct * (1.0 - y * y)),
            UnaryFn::Sigmoid => Some(ct * (y * (1.0 - y))),
            UnaryFn::Erf => Some(ct * (std::f64::consts::FRAC_2_SQRT_PI * (-(x * x)).exp())),
            UnaryFn::Sqrt => Some(ct * 0.5 / y),
            UnaryFn::Floor => None,
        }
    }

    fn element(&self, cx: &mut Lowering<'_>, args: &[Value], index: &[Int]) -> Option<Expr> {
        let x = cx.element(args[0], index);
        Some(cx.unary(self.0, x))
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        use UnaryFn::{Abs, Erf, Exp, Floor, Log, Neg, Sigmoid, Sqrt, Tanh};
        let ty = TensorType::f32([Dim::batch(), Dim::fixed(3)]);
        [Neg, Abs, Exp, Log, Tanh, Sigmoid, Erf, Sqrt, Floor].map(|f| (Unary(f), vec![ty.clone()])).to_vec()
    }
}
