//! Comparisons, which yield 1 or 0, and choices between two values.

use super::Primitive;
use crate::diag::Message;
use crate::ensure;
use crate::graph::{Value, Var};
use crate::interp::{self, Scope, Tensor};
use crate::kernel::{CompareFn, Expr, Int};
use crate::schedule::Lowering;
use crate::types::{Dim, ElementType, TensorType};

/// 1 where the comparison holds, else 0; of two values of the same type, `f32` or `i32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Compare(pub CompareFn);

/// The second argument where the first is not 0, else the third.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Select;

impl Primitive for Compare {
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        let [lhs, rhs] = args else { panic!("two arguments, not {args:?}") };
        ensure!(lhs == rhs, ShapeMismatch, "cannot compare {lhs} with {rhs}");
        Ok(TensorType::f32(lhs.shape.clone()))
    }

    fn eval(&self, args: &[&Tensor], _: &[usize], _: &Scope) -> Tensor {
        args[0].zip(args[1], |a, b| interp::compare(self.0, a, b))
    }

    fn vjp<'b>(&self, _: usize, _: &[Var<'b>], _: Var<'b>, _: Var<'b>) -> Option<Var<'b>> {
        None
    }

    fn element(&self, cx: &mut Lowering<'_>, args: &[Value], index: &[Int]) -> Option<Expr> {
        let (a, b) = (cx.element(args[0], index), cx.element(args[1], index));
        Some(cx.compare(self.0, a, b))
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        use CompareFn::{Eq, Ge, Gt, Le, Lt, Ne};
        let shape = [Dim::batch(), Dim::fixed(3)];
        let types = [TensorType::f32(shape.clone()), TensorType::i32(shape)];
        let all = |ty: &TensorType| [Eq, Ne, Lt, Le, Gt, Ge].map(|f| (Compare(f), vec![ty.clone(), ty.clone()]));
        types.iter().flat_map(all).collect()
    }
}

impl Primitive for Select {
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        let [condition, then, otherwise] = args else { panic!("three arguments, not {args:?}") };
        let numbers = args.iter().all(|ty| ty.element == ElementType::F32);
        ensure!(numbers, WrongKind, "cannot choose by {condition} between {then} and {otherwise}: all must be numbers");
        let same = condition == then && then == otherwise;
        ensure!(same, ShapeMismatch, "cannot choose by {condition} between {then} and {otherwise}");
        Ok((*then).clone())
    }

    fn eval(&self, args: &[&Tensor], shape: &[usize], _: &Scope) -> Tensor {
        let choices = args[1].data.iter().zip(&args[2].data);
        let choose = |(&condition, (&then, &otherwise)): (&f64, _)| if condition != 0.0 { then } else { otherwise };
        Tensor::f32(shape, args[0].data.iter().zip(choices).map(choose).collect())
    }

    fn vjp<'b>(&self, arg: usize, x: &[Var<'b>], _: Var<'b>, ct: Var<'b>) -> Option<Var<'b>> {
        let zero = ct.builder.full_like(ct, 0.0);
        match arg {
            0 => None,
            1 => Some(x[0].select(ct, zero)),
            _ => Some(x[0].select(zero, ct)),
        }
    }

    fn element(&self, cx: &mut Lowering<'_>, args: &[Value], index: &[Int]) -> Option<Expr> {
        let [condition, then, otherwise] = [0, 1, 2].map(|arg| cx.element(args[arg], index));
        Some(cx.select(condition, then, otherwise))
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        let ty = TensorType::f32([Dim::batch(), Dim::fixed(3)]);
        vec![(Select, vec![ty.clone(), ty.clone(), ty])]
    }
}
