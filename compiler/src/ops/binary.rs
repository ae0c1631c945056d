//! Elementwise functions of two arguments of the same type.

use super::{Primitive, require_f32};
use crate::diag::Message;
use crate::ensure;
use crate::graph::{Value, Var};
use crate::interp::{self, Scope, Tensor};
use crate::kernel::{BinaryFn, CompareFn, Expr, Int};
use crate::schedule::Lowering;
use crate::types::{Dim, TensorType};

/// A function of each pair of elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binary(pub BinaryFn);

impl Primitive for Binary {
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        require_f32(args)?;
        let [lhs, rhs] = args else { panic!("two arguments, not {args:?}") };
        let verb = match self.0 {
            BinaryFn::Add => "add",
            BinaryFn::Sub => "subtract",
            BinaryFn::Mul => "multiply",
            BinaryFn::Div => "divide",
            BinaryFn::Max => "take the maximum of",
            BinaryFn::Min => "take the minimum of",
        };
        ensure!(lhs == rhs, ShapeMismatch, "cannot {verb} {lhs} and {rhs}");
        Ok((*lhs).clone())
    }

    fn eval(&self, args: &[&Tensor], _: &[usize], scope: &Scope) -> Tensor {
        args[0].zip(args[1], |a, b| interp::binary(self.0, a, b, scope))
    }

    fn vjp<'b>(&self, arg: usize, x: &[Var<'b>], y: Var<'b>, ct: Var<'b>) -> Option<Var<'b>> {
        let (a, b) = (x[0], x[1]);
        // a > b == max(a, b) > b, and y is at hand where a seldom is: a relu's argument is never stored.
        // Where both are equal the second has it all, so that the derivative of relu, max(x, 0), is 0 at 0.
        let wins = |strictly, otherwise| y.compare(if arg == 0 { strictly } else { otherwise }, b);
        Some(match (self.0, arg) {
            (BinaryFn::Add, _) | (BinaryFn::Sub, 0) => ct,
            (BinaryFn::Sub, _) => -ct,
            (BinaryFn::Mul, 0) => ct * b,
            (BinaryFn::Mul, _) => ct * a,
            (BinaryFn::Div, 0) => ct / b,
            (BinaryFn::Div, _) => -(ct * a / (b * b)),
            (BinaryFn::Max, _) => ct * wins(CompareFn::Gt, CompareFn::Le),
            (BinaryFn::Min, _) => ct * wins(CompareFn::Lt, CompareFn::Ge),
        })
    }

    fn element(&self, cx: &mut Lowering<'_>, args: &[Value], index: &[Int]) -> Option<Expr> {
        let (a, b) = (cx.element(args[0], index), cx.element(args[1], index));
        Some(cx.binary(self.0, a, b))
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        use BinaryFn::{Add, Div, Max, Min, Mul, Sub};
        let ty = TensorType::f32([Dim::batch(), Dim::fixed(3)]);
        [Add, Sub, Mul, Div, Max, Min].map(|f| (Binary(f), vec![ty.clone(), ty.clone()])).to_vec()
    }
}
