//! Random numbers, as a pure function of a key and a position.

use super::Primitive;
use super::reshape::linear;
use crate::diag::Message;
use crate::ensure;
use crate::graph::{Value, Var};
use crate::interp::{Scope, Tensor};
use crate::kernel::{Expr, Int};
use crate::schedule::Lowering;
use crate::types::{Dim, TensorType};

/// Uniform in [0, 1). The argument is the key, `i32[2]`; each user of random numbers has a stream of its own.
/// The number of an element is that of its row-major position modulo 2^32.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Random {
    pub stream: u32,
    pub shape: Vec<Dim>,
}

impl Primitive for Random {
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        let key = args[0];
        ensure!(*key == TensorType::i32([2]), WrongKind, "the key of random numbers is i32[2], not {key}");
        Ok(TensorType::f32(self.shape.clone()))
    }

    fn eval(&self, args: &[&Tensor], shape: &[usize], _: &Scope) -> Tensor {
        let key = netc_runtime::rng::Key([0, 1].map(|word| (args[0].data[word] as i32).cast_unsigned()));
        let n: usize = shape.iter().product();
        Tensor::f32(shape, (0..n).map(|index| f64::from(key.uniform(self.stream, index as u32))).collect())
    }

    fn vjp<'b>(&self, _: usize, _: &[Var<'b>], _: Var<'b>, _: Var<'b>) -> Option<Var<'b>> {
        None
    }

    fn element(&self, cx: &mut Lowering<'_>, args: &[Value], index: &[Int]) -> Option<Expr> {
        let key = [0, 1].map(|word| {
            let word = cx.int_const(word);
            cx.element(args[0], &[word])
        });
        let position = linear(cx, &self.shape, index);
        Some(cx.random(key, self.stream, position))
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        let shape = vec![Dim::batch(), Dim::axis("T"), Dim::fixed(3)];
        let key = TensorType::i32([2]);
        vec![(Random { stream: 0, shape: shape.clone() }, vec![key.clone()]), (Random { stream: 7, shape }, vec![key])]
    }
}
