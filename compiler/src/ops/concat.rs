//! Joins values along one axis.

use super::{Primitive, require_axis, require_f32};
use crate::diag::Message;
use crate::ensure;
use crate::graph::{Value, Var};
use crate::interp::{Offsets, Scope, Tensor, strides};
use crate::kernel::{CompareFn, Condition, Expr, Int};
use crate::schedule::Lowering;
use crate::types::{Dim, TensorType};

/// The parts one after another; their sizes along `axis` are constants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Concat {
    pub axis: usize,
}

impl Concat {
    /// The size of a part along the axis.
    fn len(&self, shape: &[Dim]) -> usize {
        shape[self.axis].as_fixed().expect("the type rule refuses named sizes")
    }
}

impl Primitive for Concat {
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        let axis = self.axis;
        require_f32(args)?;
        require_axis(axis, args[0])?;
        let mut total = 0usize;
        for ty in args {
            let same = ty.rank() == args[0].rank() && ty.reduced(&[axis]) == args[0].reduced(&[axis]);
            ensure!(same, ShapeMismatch, "cannot join {} and {ty} along axis {axis}: the other sizes differ", args[0]);
            let size = &ty.shape[axis];
            ensure!(
                size.as_fixed().is_some(),
                ShapeMismatch,
                "cannot join {ty} along axis {axis}: `{size}` is not constant"
            );
            total = total.saturating_add(self.len(&ty.shape));
        }
        let mut ty = args[0].clone();
        ty.shape[axis] = Dim::fixed(total);
        Ok(ty)
    }

    fn eval(&self, args: &[&Tensor], shape: &[usize], _: &Scope) -> Tensor {
        let mut y = Tensor::filled(shape, 0.0);
        let strides = strides(shape);
        let mut start = 0;
        for x in args {
            for (&x, to) in x.data.iter().zip(Offsets::new(&x.shape, &strides, start)) {
                y.data[to] = x;
            }
            start += x.shape[self.axis] * strides[self.axis];
        }
        y
    }

    fn vjp<'b>(&self, arg: usize, x: &[Var<'b>], _: Var<'b>, ct: Var<'b>) -> Option<Var<'b>> {
        let start = x[..arg].iter().map(|part| self.len(&part.shape())).sum();
        Some(ct.slice(self.axis, start, x[arg].shape()[self.axis].clone()))
    }

    fn element(&self, cx: &mut Lowering<'_>, args: &[Value], index: &[Int]) -> Option<Expr> {
        let position = index[self.axis];
        let total: usize = args.iter().map(|&arg| self.len(cx.shape(arg))).sum();
        let mut end = total as i64;
        let mut result = None;
        // From the last part to the first: each is chosen in front of those after it.
        for &arg in args.iter().rev() {
            let len = self.len(cx.shape(arg));
            let stop = cx.int_const(end);
            end -= len as i64;
            let mut at = index.to_vec();
            let back = cx.int_const(-end);
            at[self.axis] = cx.int_add(position, back);
            let x = cx.element(arg, &at);
            let x = cx.guard(vec![Condition::InRange(at[self.axis], Dim::fixed(len))], x, 0.0);
            result = Some(match result {
                None => x,
                Some(after) => {
                    let (position, stop) = (cx.position(position), cx.position(stop));
                    let here = cx.compare(CompareFn::Lt, position, stop);
                    cx.select(here, x, after)
                }
            });
        }
        result
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        let ty = |n: usize| TensorType::f32([Dim::batch(), Dim::fixed(n), Dim::axis("T")]);
        let square = TensorType::f32([2, 3]);
        vec![
            (Concat { axis: 1 }, vec![ty(2), ty(1), ty(3)]),
            (Concat { axis: 1 }, vec![ty(2), ty(0), ty(2)]),
            (Concat { axis: 0 }, vec![square.clone(), square.clone()]),
            (Concat { axis: 1 }, vec![square]),
        ]
    }
}
