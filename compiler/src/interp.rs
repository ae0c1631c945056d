//! The reference interpreter: the meaning of a graph, with no cleverness, in f32 and in f64.

mod math;
pub mod program;
mod tensor;

pub use math::{binary, combine, compare, unary};
pub use tensor::{Offsets, Tensor, strides};

use crate::graph::{Graph, Value};
use crate::index::IndexVec;
use crate::ops::{Op, Source};
use crate::types::Extents;

/// What numbers are rounded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// As generated code computes, but that sums are rounded once, at the end.
    F32,
    /// For finite differences.
    F64,
}

/// What holds for a whole evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Scope {
    pub extents: Extents,
    pub precision: Precision,
}

impl Scope {
    pub fn new(extents: Extents, precision: Precision) -> Self {
        Scope { extents, precision }
    }
    /// The nearest number of the precision. For one sum, product, quotient or root of numbers of `f32`,
    /// rounding the result in `f64` once more gives the correctly rounded one (Figueroa 1995).
    pub fn round(&self, x: f64) -> f64 {
        match self.precision {
            Precision::F32 => f64::from(x as f32),
            Precision::F64 => x,
        }
    }
}

/// Evaluates every value of the graph, in order.
///
/// # Panics
/// When a tensor that `sources` returns has another type than its source.
pub fn eval(graph: &Graph, sources: &dyn Fn(&Source) -> Tensor, scope: &Scope) -> IndexVec<Value, Tensor> {
    let mut values: IndexVec<Value, Tensor> = IndexVec::new();
    for (value, node) in graph.nodes() {
        let shape = node.ty.eval(&scope.extents);
        let tensor = match &node.op {
            Op::Source(source) => sources(source),
            op => {
                let args: Vec<&Tensor> = node.args.iter().map(|&arg| &values[arg]).collect();
                op.eval(&args, &shape, scope)
            }
        };
        assert_eq!((tensor.element, &tensor.shape), (node.ty.element, &shape), "{value}: {node:?}");
        assert_eq!(tensor.data.len(), shape.iter().product::<usize>(), "{value}: {node:?}");
        values.push(tensor);
    }
    values
}
