//! Integers as numbers.

use super::Primitive;
use crate::diag::Message;
use crate::ensure;
use crate::graph::{Value, Var};
use crate::interp::{Scope, Tensor};
use crate::kernel::{Expr, Int};
use crate::schedule::Lowering;
use crate::types::{Dim, ElementType, TensorType};

/// The `f32` nearest to each `i32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Convert;

impl Primitive for Convert {
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        let x = args[0];
        ensure!(x.element == ElementType::I32, WrongKind, "only integers can be converted, not {x}");
        Ok(TensorType::f32(x.shape.clone()))
    }

    fn eval(&self, args: &[&Tensor], shape: &[usize], scope: &Scope) -> Tensor {
        Tensor::f32(shape, args[0].data.iter().map(|&x| scope.round(x)).collect())
    }

    fn vjp<'b>(&self, _: usize, _: &[Var<'b>], _: Var<'b>, _: Var<'b>) -> Option<Var<'b>> {
        None
    }

    fn element(&self, cx: &mut Lowering<'_>, args: &[Value], index: &[Int]) -> Option<Expr> {
        let x = cx.element(args[0], index);
        Some(cx.convert(x))
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        vec![(Convert, vec![TensorType::i32([Dim::batch(), Dim::fixed(3)])])]
    }
}
