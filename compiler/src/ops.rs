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
mod stop_gradient;
mod transpose;
mod unary;
mod window;

use crate::diag::Message;
use crate::ensure;
use crate::graph::{Value, Var};
use crate::interp::{Scope, Tensor};
use crate::kernel::{Expr, Int};
use crate::schedule::Lowering;
use crate::types::{ElementType, TensorType};

/// Everything the compiler knows about a primitive. One implementation (or family) a file.
pub trait Primitive {
    /// The result's type, or why the arguments do not fit. Says *what*; the caller adds *where*.
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message>;

    /// Reference semantics: slow, obvious, the oracle of every test. `shape` is the result's.
    fn eval(&self, args: &[&Tensor], shape: &[usize], scope: &Scope) -> Tensor;

    /// The vector-Jacobian product: the cotangent of argument number `arg`, from the arguments `x`,
    /// the result `y` and its cotangent `ct`. `None` where no gradient flows.
    fn vjp<'b>(&self, arg: usize, x: &[Var<'b>], y: Var<'b>, ct: Var<'b>) -> Option<Var<'b>>;

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
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
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
    stop_gradient::StopGradient,
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
pub use crate::kernel::Direction;
pub use convolution::{Kept, POOL};
pub use scan::ScanResult;
pub use source::Role;
pub use window::Window;

impl Op {
    pub fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        self.primitive().infer(args)
    }
    pub fn eval(&self, args: &[&Tensor], shape: &[usize], scope: &Scope) -> Tensor {
        self.primitive().eval(args, shape, scope)
    }
    pub fn vjp<'b>(&self, arg: usize, x: &[Var<'b>], y: Var<'b>, ct: Var<'b>) -> Option<Var<'b>> {
        self.primitive().vjp(arg, x, y, ct)
    }
    pub fn element(&self, cx: &mut Lowering<'_>, args: &[Value], index: &[Int]) -> Option<Expr> {
        self.primitive().element(cx, args, index)
    }
}

/// Refuses tokens and other integers where numbers are computed.
fn require_f32(args: &[&TensorType]) -> Result<(), Message> {
    let integers = args.iter().find(|ty| ty.element == ElementType::I32);
    let shown = integers.map(|ty| ty.to_string()).unwrap_or_default();
    ensure!(integers.is_none(), WrongKind, "numbers are expected, not integers of type {shown}");
    Ok(())
}

/// Refuses an axis that `ty` does not have.
fn require_axis(axis: usize, ty: &TensorType) -> Result<(), Message> {
    ensure!(axis < ty.rank(), AxisOutOfRange, "there is no axis {axis} in {ty}");
    Ok(())
}
