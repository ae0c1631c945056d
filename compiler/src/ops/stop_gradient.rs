//! The identity through which no gradient flows.

use super::Primitive;
use crate::diag::Message;
use crate::graph::{Value, Var};
use crate::interp::{Scope, Tensor};
use crate::kernel::{Expr, Int};
use crate::schedule::Lowering;
use crate::types::{Dim, TensorType};

/// Its argument, for terms whose derivative cancels: the maximum that a softmax subtracts. Once gradients are
/// derived, `simplify` takes it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StopGradient;

impl Primitive for StopGradient {
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        Ok(args[0].clone())
    }

    fn eval(&self, args: &[&Tensor], _: &[usize], _: &Scope) -> Tensor {
        args[0].clone()
    }

    fn vjp<'b>(&self, _: usize, _: &[Var<'b>], _: Var<'b>, _: Var<'b>) -> Option<Var<'b>> {
        None
    }

    fn element(&self, cx: &mut Lowering<'_>, args: &[Value], index: &[Int]) -> Option<Expr> {
        Some(cx.element(args[0], index))
    }

    /// Of integers, since its gradient is not its derivative.
    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        vec![(StopGradient, vec![TensorType::i32([Dim::batch(), Dim::fixed(3)])])]
    }
}
