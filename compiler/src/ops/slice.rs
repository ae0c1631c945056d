//! A part of a value along one axis.

use super::{Primitive, require_axis};
use crate::diag::Message;
use crate::ensure;
use crate::graph::{Value, Var};
use crate::interp::{Offsets, Scope, Tensor};
use crate::kernel::{Expr, Int};
use crate::schedule::Lowering;
use crate::types::{Dim, TensorType};

/// Elements `start..start + len` along `axis`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slice {
    pub axis: usize,
    pub start: usize,
    pub len: Dim,
}

impl Primitive for Slice {
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        let x = args[0];
        require_axis(self.axis, x)?;
        let Slice { axis, start, len } = self;
        let size = &x.shape[*axis];
        ensure!(size.holds(*start, len), ShapeMismatch, "axis {axis} of {x} has no {len} elements from {start} on");
        let mut ty = x.clone();
        ty.shape[*axis] = len.clone();
        Ok(ty)
    }

    fn eval(&self, args: &[&Tensor], shape: &[usize], _: &Scope) -> Tensor {
        let strides = args[0].strides();
        args[0].pick(shape, Offsets::new(shape, &strides, self.start * strides[self.axis]))
    }

    fn vjp<'b>(&self, _: usize, x: &[Var<'b>], _: Var<'b>, ct: Var<'b>) -> Option<Var<'b>> {
        Some(ct.pad(self.axis, self.start, x[0].shape()[self.axis].clone()))
    }

    fn element(&self, cx: &mut Lowering<'_>, args: &[Value], index: &[Int]) -> Option<Expr> {
        let mut at = index.to_vec();
        let start = cx.int_const(self.start as i64);
        at[self.axis] = cx.int_add(at[self.axis], start);
        Some(cx.element(args[0], &at))
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        let t = Dim::axis("T");
        let ty = TensorType::f32([Dim::batch(), Dim::fixed(5), t.clone()]);
        let slice = |axis, start, len: Dim| (Slice { axis, start, len }, vec![ty.clone()]);
        vec![
            slice(1, 2, Dim::fixed(3)),
            slice(1, 0, Dim::fixed(1)),
            slice(2, 1, t.window(-1, 1)),
            slice(2, 0, t.window(-2, 1)),
        ]
    }
}
