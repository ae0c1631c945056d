//! Values that need no argument: constants, positions, sizes.

use super::{Primitive, require_axis};
use crate::diag::Message;
use crate::graph::{Value, Var};
use crate::interp::{Offsets, Scope, Tensor};
use crate::kernel::{Expr, Int};
use crate::schedule::Lowering;
use crate::types::{Dim, ElementType, TensorType};

/// `value` everywhere.
#[derive(Debug, Clone)]
pub struct Constant {
    pub value: f64,
    pub ty: TensorType,
}

/// The position along `axis`, as `i32`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Iota {
    pub axis: usize,
    pub shape: Vec<Dim>,
}

/// A size that is known at run time only, as an `f32`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SizeOf {
    pub dim: Dim,
}

/// By the bits of the value: `-0` is not `0`, and NaN is itself.
impl Ord for Constant {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.value.to_bits().cmp(&other.value.to_bits()).then_with(|| self.ty.cmp(&other.ty))
    }
}

impl PartialOrd for Constant {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Constant {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Constant {}

impl Primitive for Constant {
    fn infer(&self, _: &[&TensorType]) -> Result<TensorType, Message> {
        Ok(self.ty.clone())
    }

    fn eval(&self, _: &[&Tensor], shape: &[usize], scope: &Scope) -> Tensor {
        let n = shape.iter().product();
        Tensor::new(self.ty.element, shape, vec![scope.round(self.value); n])
    }

    fn vjp<'b>(&self, _: usize, _: &[Var<'b>], _: Var<'b>, _: Var<'b>) -> Option<Var<'b>> {
        None
    }

    fn element(&self, cx: &mut Lowering<'_>, _: &[Value], _: &[Int]) -> Option<Expr> {
        Some(match self.ty.element {
            ElementType::F32 => cx.constant(self.value),
            ElementType::I32 => {
                let value = cx.int_const(self.value as i64);
                cx.position(value)
            }
        })
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        let batch = TensorType::f32([Dim::batch(), Dim::fixed(3)]);
        vec![
            (Constant { value: -1.5, ty: TensorType::scalar() }, vec![]),
            (Constant { value: 0.1, ty: batch }, vec![]),
            (Constant { value: 7.0, ty: TensorType::i32([2]) }, vec![]),
        ]
    }
}

impl Primitive for Iota {
    fn infer(&self, _: &[&TensorType]) -> Result<TensorType, Message> {
        let ty = TensorType::i32(self.shape.clone());
        require_axis(self.axis, &ty)?;
        Ok(ty)
    }

    fn eval(&self, _: &[&Tensor], shape: &[usize], _: &Scope) -> Tensor {
        let mut strides = vec![0; shape.len()];
        strides[self.axis] = 1;
        Tensor::i32(shape, Offsets::new(shape, &strides, 0).map(|position| position as f64).collect())
    }

    fn vjp<'b>(&self, _: usize, _: &[Var<'b>], _: Var<'b>, _: Var<'b>) -> Option<Var<'b>> {
        None
    }

    fn element(&self, cx: &mut Lowering<'_>, _: &[Value], index: &[Int]) -> Option<Expr> {
        Some(cx.position(index[self.axis]))
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        let shape = vec![Dim::batch(), Dim::fixed(3), Dim::axis("T")];
        (0..3).map(|axis| (Iota { axis, shape: shape.clone() }, vec![])).collect()
    }
}

impl Primitive for SizeOf {
    fn infer(&self, _: &[&TensorType]) -> Result<TensorType, Message> {
        Ok(TensorType::scalar())
    }

    fn eval(&self, _: &[&Tensor], _: &[usize], scope: &Scope) -> Tensor {
        Tensor::scalar(scope.round(self.dim.eval(&scope.extents) as f64))
    }

    fn vjp<'b>(&self, _: usize, _: &[Var<'b>], _: Var<'b>, _: Var<'b>) -> Option<Var<'b>> {
        None
    }

    fn element(&self, cx: &mut Lowering<'_>, _: &[Value], _: &[Int]) -> Option<Expr> {
        let size = cx.int_size(&self.dim);
        let size = cx.position(size);
        Some(cx.convert(size))
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        let dim = Dim::batch().times(&Dim::axis("T")).times(&Dim::fixed(2));
        vec![(SizeOf { dim }, vec![]), (SizeOf { dim: Dim::axis("T").window(-1, 2) }, vec![])]
    }
}
