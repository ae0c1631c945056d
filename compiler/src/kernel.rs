//! Program: how a network is computed. Loop nests of scalar expressions and library calls over buffers.
//!
//! The only form a back end sees. Nothing here knows layers, primitives or gradients.

mod access;
mod beside;
mod calls;
pub mod cost;
pub mod depends;
mod edit;
pub mod import;
mod joined;
mod members;
mod print;
mod slices;
mod sums;
mod verify;

pub use access::{Access, Mode};
pub use calls::{
    Algorithm, Along, ConvCall, Direction, Geometry, MatMulCall, PackCall, PackMatrixCall, ScatterAddCall, Shortcuts,
};
pub use slices::{Slice, Turns};
pub use sums::{ColumnSums, MOST_PRODUCTS, MoreSums, ProductSum};

use crate::index::{Id, IndexVec};
use crate::types::{Dim, ElementType, Symbol};

crate::new_id! {
    /// A buffer of the program.
    Buffer, "b"
}
crate::new_id! {
    /// A loop of one kernel.
    Axis, "i"
}
crate::new_id! {
    /// An integer expression of one kernel.
    Int, "n"
}
crate::new_id! {
    /// A scalar expression of one kernel.
    Expr, "e"
}

/// One entry point: `prepare` runs when parameters have changed, `steps` at every call, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Program {
    /// The sizes known at run time only, in the order of the frame; a derived one comes after what it derives from.
    pub symbols: Vec<Symbol>,
    pub buffers: IndexVec<Buffer, BufferInfo>,
    pub prepare: Vec<Step>,
    pub steps: Vec<Step>,
}

/// A run of elements in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct BufferInfo {
    /// For printing: the source, layer or value it holds.
    pub name: String,
    pub element: ElementType,
    /// Number of elements.
    pub len: Dim,
    pub home: Home,
}

/// Who owns a buffer's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// The caller: the slot of an input, parameter, state or output in the entry's interface.
    External(usize),
    /// The session's workspace, for one call.
    Workspace,
    /// The session's, written by `prepare` and kept until parameters change.
    Prepared,
    /// A part of another buffer, which moves from step to step of the scan that lists it in [`Scan::slices`].
    Slice { of: Buffer },
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Loop(Kernel),
    MatMul(MatMulCall),
    Conv(ConvCall),
    Pack(PackCall),
    PackMatrix(PackMatrixCall),
    ScatterAdd(ScatterAddCall),
    Scan(Scan),
}

/// A part of a buffer: the element at an index lies at `offset + sum(index * stride)`.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    pub buffer: Buffer,
    pub offset: Dim,
    pub strides: Vec<Dim>,
}

/// `body` once for each step `0..length`, from the last to the first when `reverse`.
///
/// Before and after it all slices stand as at step `-1` or `length`: `start` runs at the step that would come before the
/// first, `finish` at the one that would come after the last. No slice that they touch leaves its buffer there.
///
/// `ahead` are matrix products that no step of the body has a part in, carried out before it at each step. They may be
/// carried out for several steps at once, a *round*: rows of all these steps lie behind one another, in what is read and in
/// slices that take [`Turns::Round`]; or at once with the step's product that is added to them, as [`Scan::joined`] says.
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    pub length: Dim,
    pub reverse: bool,
    pub slices: Vec<Slice>,
    pub start: Vec<Step>,
    pub ahead: Vec<Step>,
    pub body: Vec<Step>,
    pub finish: Vec<Step>,
    /// Whether `ahead` and `body` may be carried out for some members of a batch by themselves, over all steps.
    pub members: Option<Members>,
    /// Whether it [follows](Scan::follows) the scan before it among the program's steps, so that the two may go side by side.
    pub beside: bool,
}

/// Members of a batch that the steps of a scan treat alike, each with elements of its own.
///
/// What is done for `n` members from the number `first` on is what is done for all, with `n` in the place of `size`, and
/// with each of these buffers, slices among them, moved by `first` strides.
#[derive(Debug, Clone, PartialEq)]
pub struct Members {
    pub size: Symbol,
    /// From a member to the next. Buffers that are not listed are only read.
    pub strides: Vec<(Buffer, Dim)>,
}

/// A loop nest: for every point of `domain`, every store takes place.
///
/// At one point all values are computed before any is stored, so that a load sees what was there before. A store whose address
/// does not move along the innermost loops stands outside of them ([`Kernel::depths`]): it takes place once for each point of the
/// loops that it is in, as the sum of a row does whose elements are stored, too.
///
/// Reductions along one axis are independent of each other and may be computed in one loop; so may those along the domain's
/// innermost axis, which nothing reads that is stored within.
///
/// Invariants, checked by [`Kernel::verify`]: ids refer to earlier entries; every axis is in `domain` or bound by a `Reduce` (or
/// was merged away, and has one step), and by none within itself; a buffer that is both read and stored is read at the index
/// of its store alone (so that points may run in any order).
///
/// As the epilogue of a library call, `domain` is `[row, col]` of the call's result, and loading the
/// result's buffer at the point gives what the call computed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kernel {
    /// For printing and profiles.
    pub name: String,
    /// The extent of every loop.
    pub axes: IndexVec<Axis, Dim>,
    /// Outermost first.
    pub domain: Vec<Axis>,
    /// How many leading axes of `domain` are one flat range that threads share.
    pub parallel: usize,
    pub ints: IndexVec<Int, IntExpr>,
    pub exprs: IndexVec<Expr, Scalar>,
    pub stores: Vec<Store>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    pub buffer: Buffer,
    pub at: Address,
    pub value: Expr,
    /// Where nothing reads what is stored until long after: how many elements all such stores write, one call's with the
    /// others'. Where these are many, they go past the caches.
    pub streamed: Option<Dim>,
}

/// The element at `offset + sum(int * stride)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Address {
    pub offset: Dim,
    pub terms: Vec<(Int, Dim)>,
}

/// Integers of a kernel: 64 bits wide, computed outside of vectors.
#[derive(Debug, Clone, PartialEq)]
pub enum IntExpr {
    Const(i64),
    Axis(Axis),
    Add(Int, Int),
    Mul(Int, i64),
    /// Rounds towards minus infinity; the divisor is positive.
    Div(Int, i64),
    /// Never negative; the divisor is positive.
    Rem(Int, i64),
    /// A size known at run time only.
    Size(Dim),
    /// The product with a size known at run time only.
    MulSize(Int, Dim),
    /// The quotient by a size known at run time only; never evaluated where that is 0, or the dividend negative.
    DivSize(Int, Dim),
    /// The remainder that goes with `DivSize`.
    RemSize(Int, Dim),
    /// The nearest number of `0..limit`; the limit is positive.
    Clamp(Int, i64),
    /// The value of an `i32` scalar: a token that is used as an index, through `Clamp`.
    Value(Expr),
}

/// Scalars of a kernel. `f32` but for `Position` and loads from buffers of `i32`.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    Const(f64),
    Load {
        buffer: Buffer,
        at: Address,
    },
    /// An integer as an `i32`.
    Position(Int),
    /// An `i32` as an `f32`.
    Convert(Expr),
    Unary(UnaryFn, Expr),
    Binary(BinaryFn, Expr, Expr),
    /// 1 where it holds, else 0; of two `f32` or two `i32`.
    Compare(CompareFn, Expr, Expr),
    /// The first branch where the condition is not 0.
    Select(Expr, Expr, Expr),
    /// `combine` over all values of `axis`, starting from its neutral element.
    Reduce {
        combine: Combine,
        axis: Axis,
        body: Expr,
    },
    /// `body` where every condition holds, else `otherwise`; `body` is not evaluated elsewhere.
    Guard {
        conditions: Vec<Condition>,
        body: Expr,
        otherwise: f64,
    },
    /// Uniform in [0, 1): `netc_runtime::rng` of two key words (`i32`), a stream and an index.
    Random {
        key: [Expr; 2],
        stream: u32,
        index: Int,
    },
}

/// Comparisons of integers that guard a load.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// `0 <= int < limit`.
    InRange(Int, Dim),
    /// `int` is a multiple of the number.
    Multiple(Int, i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnaryFn {
    Neg,
    Abs,
    Exp,
    Log,
    Tanh,
    Sigmoid,
    Erf,
    Sqrt,
    Floor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BinaryFn {
    Add,
    Sub,
    Mul,
    Div,
    /// `b > a ? b : a`, so that a NaN that comes first stays.
    Max,
    /// `b < a ? b : a`.
    Min,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CompareFn {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// How a reduction combines. All are associative up to rounding; Max and Min pass over NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Combine {
    Sum,
    Max,
    Min,
}

impl Combine {
    /// The value that changes nothing.
    pub fn neutral(self) -> f64 {
        match self {
            Combine::Sum => 0.0,
            Combine::Max => f64::NEG_INFINITY,
            Combine::Min => f64::INFINITY,
        }
    }
    /// `sum = function(sum, value)`.
    pub fn function(self) -> BinaryFn {
        match self {
            Combine::Sum => BinaryFn::Add,
            Combine::Max => BinaryFn::Max,
            Combine::Min => BinaryFn::Min,
        }
    }
}

impl Program {
    /// All steps, with those of `prepare` first.
    pub fn all_steps(&self) -> impl Iterator<Item = &Step> {
        self.prepare.iter().chain(&self.steps)
    }
}

impl View {
    /// The whole of a contiguous buffer with these strides.
    pub fn whole(buffer: Buffer, strides: Vec<Dim>) -> Self {
        View { buffer, offset: Dim::fixed(0), strides }
    }
}

/// The frame: an array of 64-bit words through which generated code finds everything that is known at run
/// time only. Word 0 is the thread pool, then the values of the symbols, then the buffers' addresses.
impl Program {
    pub const POOL_WORD: usize = 0;

    pub fn symbol_word(&self, symbol: &Symbol) -> usize {
        let at = self.symbols.iter().position(|known| known == symbol);
        1 + at.unwrap_or_else(|| panic!("the program does not declare the size `{symbol}`"))
    }
    pub fn buffer_word(&self, buffer: Buffer) -> usize {
        1 + self.symbols.len() + buffer.index()
    }
    pub fn frame_words(&self) -> usize {
        1 + self.symbols.len() + self.buffers.len()
    }
}
