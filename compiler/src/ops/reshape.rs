//! The same elements in row-major order with another shape.

use super::Primitive;
use crate::diag::Message;
use crate::ensure;
use crate::graph::{Value, Var};
use crate::interp::{Scope, Tensor};
use crate::kernel::{Expr, Int};
use crate::schedule::Lowering;
use crate::types::{Dim, TensorType, product, show_shape};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reshape {
    pub to: Vec<Dim>,
}

impl Primitive for Reshape {
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        let from = args[0];
        let (n, to) = (from.n_elements(), product(&self.to));
        let shape = || show_shape(&self.to);
        ensure!(
            n == to,
            ShapeMismatch,
            "cannot reshape {from}, which has {n} elements, to {}, which has {to}",
            shape()
        );
        Ok(from.with_shape(self.to.clone()))
    }

    fn eval(&self, args: &[&Tensor], shape: &[usize], _: &Scope) -> Tensor {
        Tensor::new(args[0].element, shape, args[0].data.clone())
    }

    fn vjp<'b>(&self, _: usize, x: &[Var<'b>], _: Var<'b>, ct: Var<'b>) -> Option<Var<'b>> {
        Some(ct.reshape(&x[0].shape()))
    }

    fn element(&self, cx: &mut Lowering<'_>, args: &[Value], index: &[Int]) -> Option<Expr> {
        let from = cx.shape(args[0]);
        let mut at = vec![cx.int_const(0); from.len()];
        if product(from).as_fixed() != Some(0) {
            for group in groups(from, &self.to) {
                let position = linear(cx, &self.to[group.to.clone()], &index[group.to]);
                spread(cx, position, &from[group.from.clone()], &mut at[group.from]);
            }
        }
        Some(cx.element(args[0], &at))
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        let (b, t, one) = (Dim::batch(), Dim::axis("T"), Dim::ONE);
        let bt = b.times(&t);
        let n = Dim::fixed;
        let cases: [(Vec<Dim>, Vec<Dim>); 10] = [
            (vec![b.clone(), n(6)], vec![b.clone(), n(2), n(3)]),
            (vec![b.clone(), n(2), n(3)], vec![b.clone(), n(6)]),
            (vec![b.clone(), t.clone(), n(3)], vec![bt.clone(), n(3)]),
            (vec![bt, n(3)], vec![b.clone(), t.clone(), n(3)]),
            (vec![b.clone(), n(4), n(3)], vec![b.clone(), n(6), n(2)]),
            (vec![b.clone(), n(3)], vec![one.clone(), b.clone(), one.clone(), n(3), one.clone()]),
            (vec![one.clone(), b.clone(), n(3), one], vec![b.clone(), n(3)]),
            (vec![b.clone(), t.clone(), n(2)], vec![t.times(&n(2)), b]),
            (vec![n(1), n(1)], vec![]),
            (vec![n(0), n(3)], vec![n(2), n(0)]),
        ];
        cases.map(|(from, to)| (Reshape { to }, vec![TensorType::f32(from)])).to_vec()
    }
}

/// Adjacent axes of both shapes with the same number of elements.
struct Group {
    from: std::ops::Range<usize>,
    to: std::ops::Range<usize>,
}

/// Splits two shapes of the same size into groups as small as can be seen, from the last axes to the first,
/// so that an index needs a division only where axes really are cut up.
fn groups(from: &[Dim], to: &[Dim]) -> Vec<Group> {
    let mut groups = Vec::new();
    let (mut from_end, mut to_end) = (from.len(), to.len());
    while from_end > 0 || to_end > 0 {
        let (mut f, mut t) = (from_end, to_end);
        let (mut from_size, mut to_size) = (Dim::ONE, Dim::ONE);
        loop {
            // The first step takes an axis of each, if there is one; later ones extend the smaller side.
            let extend_from = f > 0 && (f == from_end || t == 0 || to_size.divided_by(&from_size).is_some());
            if extend_from {
                f -= 1;
                from_size = from_size.times(&from[f]);
            } else if t > 0 {
                t -= 1;
                to_size = to_size.times(&to[t]);
            } else {
                break;
            }
            if from_size == to_size {
                break;
            }
        }
        groups.push(Group { from: f..from_end, to: t..to_end });
        (from_end, to_end) = (f, t);
    }
    groups
}

/// The row-major position of `index` within `shape`.
pub(super) fn linear(cx: &mut Lowering<'_>, shape: &[Dim], index: &[Int]) -> Int {
    let mut position = cx.int_const(0);
    let mut stride = Dim::ONE;
    for (dim, &index) in shape.iter().zip(index).rev() {
        if !dim.is_one() {
            let term = cx.int_mul_size(index, &stride);
            position = cx.int_add(term, position);
        }
        stride = stride.times(dim);
    }
    position
}

/// The index within `shape` at a row-major position: the inverse of [`linear`].
fn spread(cx: &mut Lowering<'_>, position: Int, shape: &[Dim], index: &mut [Int]) {
    let mut rest = position;
    let first = shape.iter().position(|dim| !dim.is_one());
    for (axis, dim) in shape.iter().enumerate().rev() {
        if dim.is_one() {
            continue;
        }
        if Some(axis) == first {
            index[axis] = rest;
        } else {
            index[axis] = cx.int_rem_size(rest, dim);
            rest = cx.int_div_size(rest, dim);
        }
    }
}
