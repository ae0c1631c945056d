//! Surrounds a value with zeros along one axis.

use super::{Primitive, require_axis, require_f32};
use crate::diag::Message;
use crate::ensure;
use crate::graph::{Value, Var};
use crate::interp::{Offsets, Scope, Tensor, strides};
use crate::kernel::{Condition, Expr, Int};
use crate::schedule::Lowering;
use crate::types::{Dim, TensorType};

/// `before` zeros ahead of the elements along `axis`, and as many after as make its length `len`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pad {
    pub axis: usize,
    pub before: usize,
    pub len: Dim,
}

impl Primitive for Pad {
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        let x = args[0];
        require_f32(args)?;
        require_axis(self.axis, x)?;
        let Pad { axis, before, len } = self;
        let fits = len.holds(*before, &x.shape[*axis]);
        ensure!(fits, ShapeMismatch, "axis {axis} of {x} with {before} zeros before it is longer than {len}");
        let mut ty = x.clone();
        ty.shape[*axis] = len.clone();
        Ok(ty)
    }

    fn eval(&self, args: &[&Tensor], shape: &[usize], _: &Scope) -> Tensor {
        let x = args[0];
        let mut y = Tensor::filled(shape, 0.0);
        let strides = strides(shape);
        let to = Offsets::new(&x.shape, &strides, self.before * strides[self.axis]);
        for (&x, to) in x.data.iter().zip(to) {
            y.data[to] = x;
        }
        y
    }

    fn vjp<'b>(&self, _: usize, x: &[Var<'b>], _: Var<'b>, ct: Var<'b>) -> Option<Var<'b>> {
        Some(ct.slice(self.axis, self.before, x[0].shape()[self.axis].clone()))
    }

    fn element(&self, cx: &mut Lowering<'_>, args: &[Value], index: &[Int]) -> Option<Expr> {
        let len = cx.shape(args[0])[self.axis].clone();
        let mut at = index.to_vec();
        let back = cx.int_const(-(self.before as i64));
        at[self.axis] = cx.int_add(at[self.axis], back);
        let x = cx.element(args[0], &at);
        Some(cx.guard(vec![Condition::InRange(at[self.axis], len)], x, 0.0))
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        let t = Dim::axis("T");
        let ty = TensorType::f32([Dim::batch(), Dim::fixed(3), t.clone()]);
        let pad = |axis, before, len: Dim| (Pad { axis, before, len }, vec![ty.clone()]);
        vec![pad(1, 2, Dim::fixed(6)), pad(1, 0, Dim::fixed(4)), pad(2, 2, t.window(2, 1)), pad(2, 1, t.window(3, 1))]
    }
}
