//! Primitive operations: the closed set that every pass must know.
//!
//! To add one: write `ops/<name>.rs`, then its two lines below.

mod binary;
mod broadcast;
mod compare;
mod concat;
mod constant;
mod convert;
mod convolution;
mod gather;
mod matmul;
mod pad;
mod random;
mod reduce;
mod reshape;
mod scan;
mod slice;
mod source;
mod transpose;
mod unary;
mod window;

use crate::diag::Message;
use crate::graph::{Value, Var};
use crate::interp::{Scope, Tensor};
use crate::kernel::{Expr, Int};
use crate::schedule::Lowering;
use crate::types::TensorType;

/// Everything the compiler knows about a primitive. One implementation (or family) a file.
pub trait Primitive {
    /// The result's type, or why the arguments do not fit. Says *what*; the caller adds *where*.
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message>;

    /// Reference semantics: slow, obvious, the oracle of every test. `shape` is the result's.
    fn eval(&self, args: &[&Tensor], shape: &[usize], scope: &Scope) -> Tensor;

    /// The vector-Jacobian product: a cotangent for each argument, from the arguments `x`,
    /// the result `y` and its cotangent `ct`. `None` where no gradient flows.
    fn vjp<'b>(&self, x: &[Var<'b>], y: Var<'b>, ct: Var<'b>) -> Vec<Option<Var<'b>>>;

    /// The element of the result at `index`, from elements of the arguments; `None` for what a library
    /// call computes whole (contractions, scatters, scans).
    fn element(&self, cx: &mut Lowering<'_>, args: &[Value], index: &[Int]) -> Option<Expr>;

    /// Small instances with argument types, on which the laws exercise this primitive.
    fn samples() -> Vec<(Self, Vec<TensorType>)>
    where
        Self: Sized;
}

macro_rules! primitives {
    ($($module:ident::$Name:ident),* $(,)?) => {
        $(pub use $module::$Name;)*

        /// A primitive with its attributes.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Op {
            $($Name($Name)),*
        }

        impl Op {
            fn primitive(&self) -> &dyn Primitive {
                match self {
                    $(Op::$Name(op) => op),*
                }
            }
            /// Samples of every primitive, for the laws that hold for all of them.
            pub fn samples() -> Vec<(Op, Vec<TensorType>)> {
                let mut samples = Vec::new();
                $(samples.extend($Name::samples().into_iter().map(|(op, types)| (Op::$Name(op), types)));)*
                samples
            }
        }

        $(impl From<$Name> for Op {
            fn from(op: $Name) -> Op {
                Op::$Name(op)
            }
        })*
    };
}

primitives! {
    source::Source,
    constant::Constant,
    constant::Iota,
    constant::SizeOf,
    unary::Unary,
    binary::Binary,
    compare::Compare,
    compare::Select,
    convert::Convert,
    reduce::Reduce,
    broadcast::Broadcast,
    reshape::Reshape,
    transpose::Transpose,
    slice::Slice,
    pad::Pad,
    concat::Concat,
    gather::Gather,
    gather::ScatterAdd,
    random::Random,
    matmul::MatMul,
    convolution::Convolution,
    window::WindowReduce,
    window::WindowArgMax,
    window::WindowSpread,
    scan::Scan,
}
pub use convolution::Direction;
pub use source::Role;
pub use window::Window;

impl Op {
    pub fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        self.primitive().infer(args)
    }
    pub fn eval(&self, args: &[&Tensor], shape: &[usize], scope: &Scope) -> Tensor {
        self.primitive().eval(args, shape, scope)
    }
    pub fn vjp<'b>(&self, x: &[Var<'b>], y: Var<'b>, ct: Var<'b>) -> Vec<Option<Var<'b>>> {
        self.primitive().vjp(x, y, ct)
    }
    pub fn element(&self, cx: &mut Lowering<'_>, args: &[Value], index: &[Int]) -> Option<Expr> {
        self.primitive().element(cx, args, index)
    }
}
