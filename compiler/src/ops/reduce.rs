//! Sums and extremes along axes, which stay as axes of length one.

use super::{Primitive, require_axis, require_f32};
use crate::diag::Message;
use crate::ensure;
use crate::graph::{Value, Var};
use crate::interp::{self, Offsets, Scope, Tensor, strides};
use crate::kernel::{Combine, CompareFn, Expr, Int};
use crate::schedule::Lowering;
use crate::types::{Dim, TensorType};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reduce {
    pub combine: Combine,
    /// In ascending order.
    pub axes: Vec<usize>,
}

impl Primitive for Reduce {
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        let x = args[0];
        require_f32(args)?;
        self.axes.iter().try_for_each(|&axis| require_axis(axis, x))?;
        let ascending = self.axes.is_sorted_by(|a, b| a < b);
        ensure!(ascending, WrongKind, "the axes of a reduction differ and ascend, unlike {:?}", self.axes);
        Ok(x.reduced(&self.axes))
    }

    fn eval(&self, args: &[&Tensor], shape: &[usize], scope: &Scope) -> Tensor {
        let x = args[0];
        let mut y = Tensor::filled(shape, self.combine.neutral());
        let mut to = strides(shape);
        for &axis in &self.axes {
            to[axis] = 0;
        }
        for (&x, to) in x.data.iter().zip(Offsets::new(&x.shape, &to, 0)) {
            y.data[to] = interp::combine(self.combine, y.data[to], x);
        }
        y.map(|y| scope.round(y))
    }

    fn vjp<'b>(&self, _: usize, x: &[Var<'b>], y: Var<'b>, ct: Var<'b>) -> Option<Var<'b>> {
        let shape = x[0].shape();
        Some(match self.combine {
            Combine::Sum => ct.broadcast_to(&shape),
            Combine::Max | Combine::Min => {
                // Elements that tie share the cotangent equally.
                let chosen = x[0].compare(CompareFn::Eq, y);
                chosen * (ct / chosen.sum(&self.axes)).broadcast_to(&shape)
            }
        })
    }

    fn element(&self, cx: &mut Lowering<'_>, args: &[Value], index: &[Int]) -> Option<Expr> {
        let shape = cx.shape(args[0]);
        let mut at = index.to_vec();
        let mut loops = Vec::new();
        for &axis in &self.axes {
            let bound = cx.axis(shape[axis].clone());
            at[axis] = cx.int_axis(bound);
            loops.push(bound);
        }
        let x = cx.element(args[0], &at);
        // One reduction within the other, the last axis innermost: a sum of sums is more accurate than one long sum.
        Some(loops.into_iter().rev().fold(x, |body, axis| cx.reduce(self.combine, axis, body)))
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        let ty = TensorType::f32([Dim::batch(), Dim::fixed(3), Dim::axis("T")]);
        let reduce = |combine, axes: &[usize]| (Reduce { combine, axes: axes.to_vec() }, vec![ty.clone()]);
        vec![
            reduce(Combine::Sum, &[1]),
            reduce(Combine::Sum, &[0, 2]),
            reduce(Combine::Sum, &[0, 1, 2]),
            reduce(Combine::Max, &[2]),
            reduce(Combine::Max, &[0, 1]),
            reduce(Combine::Min, &[1]),
        ]
    }
}
