//! What a graph is given from outside: inputs, parameters, states.

use super::Primitive;
use crate::diag::Message;
use crate::graph::{Value, Var};
use crate::interp::{Scope, Tensor};
use crate::kernel::{Expr, Int};
use crate::schedule::Lowering;
use crate::types::TensorType;

/// A named tensor from outside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    pub role: Role,
    pub name: String,
    pub ty: TensorType,
}

/// Who sets a source, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// An input of the network.
    Input,
    /// What the loss compares with.
    Target,
    /// Learned.
    Param,
    /// Kept between calls, such as a running mean.
    State,
    /// What an optimizer remembers of a parameter.
    Moment,
    /// `i32[2]`, the seed of this call's random numbers.
    Key,
    /// A number set from outside: the learning rate, the count of steps.
    Rate,
    /// `f32[B, T]`, 1 where a member of the batch has a step of the sequence axis of that name, else 0.
    Mask,
    /// A recurrence's state from one call to the next.
    Carry,
    /// In the body of a recurrence, what stands for an argument of it.
    Local,
}

impl Primitive for Source {
    fn infer(&self, _: &[&TensorType]) -> Result<TensorType, Message> {
        Ok(self.ty.clone())
    }

    fn eval(&self, _: &[&Tensor], _: &[usize], _: &Scope) -> Tensor {
        unreachable!("the caller of the interpreter gives `{}`", self.name)
    }

    fn vjp<'b>(&self, _: usize, _: &[Var<'b>], _: Var<'b>, _: Var<'b>) -> Option<Var<'b>> {
        None
    }

    fn element(&self, _: &mut Lowering<'_>, _: &[Value], _: &[Int]) -> Option<Expr> {
        None
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        let source = |role, ty| Source { role, name: "x".to_owned(), ty };
        vec![(source(Role::Input, TensorType::f32([2, 3])), vec![]), (source(Role::Key, TensorType::i32([2])), vec![])]
    }
}
