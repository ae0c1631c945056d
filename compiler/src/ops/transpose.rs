//! Reorders axes.

use super::Primitive;
use crate::diag::Message;
use crate::ensure;
use crate::graph::{Value, Var};
use crate::interp::{Offsets, Scope, Tensor};
use crate::kernel::{Expr, Int};
use crate::schedule::Lowering;
use crate::types::{Dim, TensorType};

/// Axis `i` of the result is axis `order[i]` of the argument.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Transpose {
    pub order: Vec<usize>,
}

impl Transpose {
    pub fn inverse(&self) -> Vec<usize> {
        let mut inverse = vec![0; self.order.len()];
        for (to, &from) in self.order.iter().enumerate() {
            inverse[from] = to;
        }
        inverse
    }
}

impl Primitive for Transpose {
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        let x = args[0];
        let mut sorted = self.order.clone();
        sorted.sort_unstable();
        let complete = sorted.into_iter().eq(0..x.rank());
        ensure!(complete, AxisOutOfRange, "{:?} does not name each axis of {x} once", self.order);
        Ok(x.with_shape(self.order.iter().map(|&axis| x.shape[axis].clone()).collect()))
    }

    fn eval(&self, args: &[&Tensor], shape: &[usize], _: &Scope) -> Tensor {
        let strides = args[0].strides();
        let strides: Vec<usize> = self.order.iter().map(|&axis| strides[axis]).collect();
        args[0].pick(shape, Offsets::new(shape, &strides, 0))
    }

    fn vjp<'b>(&self, _: usize, _: &[Var<'b>], _: Var<'b>, ct: Var<'b>) -> Option<Var<'b>> {
        Some(ct.transpose(&self.inverse()))
    }

    fn element(&self, cx: &mut Lowering<'_>, args: &[Value], index: &[Int]) -> Option<Expr> {
        let at: Vec<Int> = self.inverse().into_iter().map(|axis| index[axis]).collect();
        Some(cx.element(args[0], &at))
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        let ty = TensorType::f32([Dim::batch(), Dim::fixed(3), Dim::axis("T")]);
        [[1, 2, 0], [0, 2, 1], [0, 1, 2]].map(|order| (Transpose { order: order.to_vec() }, vec![ty.clone()])).to_vec()
    }
}
