//! Repeats axes of length one. No other primitive broadcasts.

use super::Primitive;
use crate::diag::Message;
use crate::ensure;
use crate::graph::{Value, Var};
use crate::interp::{Offsets, Scope, Tensor};
use crate::kernel::{Expr, Int};
use crate::schedule::Lowering;
use crate::types::{Dim, TensorType, show_shape};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Broadcast {
    pub to: Vec<Dim>,
}

impl Broadcast {
    /// The axes that are repeated.
    pub fn stretched(&self, from: &[Dim]) -> Vec<usize> {
        (0..from.len()).filter(|&axis| from[axis] != self.to[axis]).collect()
    }
}

impl Primitive for Broadcast {
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        let from = &args[0].shape;
        let fits =
            from.len() == self.to.len() && from.iter().zip(&self.to).all(|(from, to)| from == to || from.is_one());
        ensure!(fits, ShapeMismatch, "cannot broadcast {} to {}", show_shape(from), show_shape(&self.to));
        Ok(args[0].with_shape(self.to.clone()))
    }

    fn eval(&self, args: &[&Tensor], shape: &[usize], _: &Scope) -> Tensor {
        let x = args[0];
        let strides = x.strides().into_iter().zip(&x.shape);
        let strides: Vec<usize> = strides.map(|(stride, &len)| if len == 1 { 0 } else { stride }).collect();
        x.pick(shape, Offsets::new(shape, &strides, 0))
    }

    fn vjp<'b>(&self, _: usize, x: &[Var<'b>], _: Var<'b>, ct: Var<'b>) -> Option<Var<'b>> {
        Some(ct.sum(&self.stretched(&x[0].shape())))
    }

    fn element(&self, cx: &mut Lowering<'_>, args: &[Value], index: &[Int]) -> Option<Expr> {
        let mut at = index.to_vec();
        for axis in self.stretched(cx.shape(args[0])) {
            at[axis] = cx.int_const(0);
        }
        Some(cx.element(args[0], &at))
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        let (b, t, one, three) = (Dim::batch(), Dim::axis("T"), Dim::ONE, Dim::fixed(3));
        let to = vec![b.clone(), three.clone(), t.clone()];
        let from = [[one.clone(), three, one.clone()], [b, one.clone(), t], [one.clone(), one.clone(), one]];
        from.map(|shape| (Broadcast { to: to.clone() }, vec![TensorType::f32(shape)])).to_vec()
    }
}
