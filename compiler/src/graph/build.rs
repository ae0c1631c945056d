//! Builds a graph with expressions that read like the mathematics.

use std::cell::{Cell, RefCell};
use std::ops::{Add, Div, Mul, Neg, Sub};

use super::{Graph, Node, Origin, Output, Value};
use crate::diag::Message;
use crate::ensure;
use crate::kernel::{BinaryFn, Combine, CompareFn, UnaryFn};
use crate::ops::{
    Binary, Broadcast, Compare, Concat, Constant, Convert, Iota, Op, Pad, Reduce, Reshape, Role, Select, Slice, Source,
    StopGradient, Transpose, Unary,
};
use crate::types::{Dim, ElementType, TensorType};

/// A graph under construction.
#[derive(Debug, Default)]
pub struct Builder {
    graph: RefCell<Graph>,
    origin: Cell<Option<Origin>>,
}

/// A value being built. `Copy`, so that rules can use it twice.
#[derive(Debug, Clone, Copy)]
pub struct Var<'b> {
    pub builder: &'b Builder,
    pub id: Value,
}

impl Builder {
    /// Goes on with a graph that exists.
    pub fn from_graph(graph: Graph) -> Self {
        Builder { graph: RefCell::new(graph), origin: Cell::new(None) }
    }
    /// Applies a primitive.
    ///
    /// # Errors
    /// When its type rule refuses the arguments.
    pub fn apply<'b>(&'b self, op: impl Into<Op>, args: &[Var<'b>]) -> Result<Var<'b>, Message> {
        let ids: Vec<Value> = args.iter().map(|arg| arg.id).collect();
        let id = self.graph.borrow_mut().push(op.into(), &ids, self.origin.get())?;
        Ok(Var { builder: self, id })
    }
    /// For expressions that the compiler itself composes: a type error here is our bug.
    pub fn emit<'b>(&'b self, op: impl Into<Op>, args: &[Var<'b>]) -> Var<'b> {
        self.apply(op, args).unwrap_or_else(|message| panic!("ill-typed expression: {message}"))
    }
    pub fn source(&self, role: Role, name: &str, ty: TensorType) -> Var<'_> {
        self.emit(Source { role, name: name.to_owned(), ty }, &[])
    }
    /// `value` everywhere.
    pub fn constant(&self, value: f64, ty: TensorType) -> Var<'_> {
        self.emit(Constant { value, ty }, &[])
    }
    pub fn scalar(&self, value: f64) -> Var<'_> {
        self.constant(value, TensorType::scalar())
    }
    /// The position along `axis`, as `i32`, in a value of `shape`.
    pub fn iota(&self, axis: usize, shape: Vec<Dim>) -> Var<'_> {
        self.emit(Iota { axis, shape }, &[])
    }
    pub fn var(&self, id: Value) -> Var<'_> {
        Var { builder: self, id }
    }
    pub fn node(&self, id: Value) -> Node {
        self.graph.borrow().node(id).clone()
    }
    /// What `read` finds in a node, without a copy of the node.
    pub fn with_node<T>(&self, id: Value, read: impl FnOnce(&Node) -> T) -> T {
        read(self.graph.borrow().node(id))
    }
    /// What `read` finds in the graph as it is now.
    pub fn with_graph<T>(&self, read: impl FnOnce(&Graph) -> T) -> T {
        read(&self.graph.borrow())
    }
    pub fn len(&self) -> usize {
        self.graph.borrow().len()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    pub fn add_origin(&self, path: impl Into<String>) -> Origin {
        self.graph.borrow_mut().add_origin(path)
    }
    /// Every node pushed from now on carries `origin`; returns the one before.
    pub fn set_origin(&self, origin: Option<Origin>) -> Option<Origin> {
        self.origin.replace(origin)
    }
    pub fn add_output(&self, output: Output) {
        self.graph.borrow_mut().outputs.push(output);
    }
    /// The graph as it is now.
    pub fn snapshot(&self) -> Graph {
        self.graph.borrow().clone()
    }
    pub fn finish(self) -> Graph {
        self.graph.into_inner()
    }
}

impl<'b> Var<'b> {
    pub fn ty(self) -> TensorType {
        self.builder.with_node(self.id, |node| node.ty.clone())
    }
    pub fn shape(self) -> Vec<Dim> {
        self.ty().shape
    }
    pub fn rank(self) -> usize {
        self.ty().rank()
    }
    pub fn unary(self, function: UnaryFn) -> Self {
        self.builder.emit(Unary(function), &[self])
    }
    pub fn exp(self) -> Self {
        self.unary(UnaryFn::Exp)
    }
    pub fn log(self) -> Self {
        self.unary(UnaryFn::Log)
    }
    pub fn tanh(self) -> Self {
        self.unary(UnaryFn::Tanh)
    }
    pub fn sigmoid(self) -> Self {
        self.unary(UnaryFn::Sigmoid)
    }
    pub fn sqrt(self) -> Self {
        self.unary(UnaryFn::Sqrt)
    }
    pub fn abs(self) -> Self {
        self.unary(UnaryFn::Abs)
    }
    pub fn maximum(self, other: Self) -> Self {
        self.binary(BinaryFn::Max, other)
    }
    pub fn minimum(self, other: Self) -> Self {
        self.binary(BinaryFn::Min, other)
    }
    /// 1 where the comparison holds, else 0, as `f32`.
    pub fn compare(self, function: CompareFn, other: Self) -> Self {
        let (a, b) = self.broadcast_both(other);
        self.builder.emit(Compare(function), &[a, b])
    }
    /// `then` where `self` is not 0, else `otherwise`.
    pub fn select(self, then: Self, otherwise: Self) -> Self {
        let (a, b) = then.broadcast_both(otherwise);
        let (condition, a) = self.broadcast_both(a);
        let b = b.broadcast_to(&a.shape());
        self.builder.emit(Select, &[condition, a, b])
    }
    /// An `i32` as an `f32`.
    pub fn to_f32(self) -> Self {
        self.builder.emit(Convert, &[self])
    }
    /// The same value, through which no gradient flows.
    pub fn stop_gradient(self) -> Self {
        self.builder.emit(StopGradient, &[self])
    }
    /// Sums over `axes`, which stay with length one.
    pub fn sum(self, axes: &[usize]) -> Self {
        self.reduce(Combine::Sum, axes)
    }
    pub fn max(self, axes: &[usize]) -> Self {
        self.reduce(Combine::Max, axes)
    }
    pub fn min(self, axes: &[usize]) -> Self {
        self.reduce(Combine::Min, axes)
    }
    pub fn reduce(self, combine: Combine, axes: &[usize]) -> Self {
        if axes.is_empty() { self } else { self.builder.emit(Reduce { combine, axes: axes.to_vec() }, &[self]) }
    }
    /// The mean over `axes`, which stay with length one.
    pub fn mean(self, axes: &[usize]) -> Self {
        let shape = self.shape();
        let n = self
            .builder
            .size(&crate::types::product(&axes.iter().map(|&axis| shape[axis].clone()).collect::<Vec<_>>()));
        self.sum(axes) / n
    }
    /// Repeats axes of length one, and missing leading axes.
    pub fn broadcast_to(self, shape: &[Dim]) -> Self {
        let from = self.shape();
        if from == shape {
            return self;
        }
        assert!(from.len() <= shape.len(), "cannot broadcast {from:?} to {shape:?}");
        let mut padded = vec![Dim::ONE; shape.len() - from.len()];
        padded.extend(from);
        self.reshape(&padded).broadcast_same_rank(shape)
    }
    fn broadcast_same_rank(self, shape: &[Dim]) -> Self {
        if self.shape() == shape { self } else { self.builder.emit(Broadcast { to: shape.to_vec() }, &[self]) }
    }
    /// The same elements in row-major order with another shape.
    pub fn reshape(self, shape: &[Dim]) -> Self {
        if self.shape() == shape { self } else { self.builder.emit(Reshape { to: shape.to_vec() }, &[self]) }
    }
    /// Axis `i` of the result is axis `order[i]` of `self`.
    pub fn transpose(self, order: &[usize]) -> Self {
        if order.iter().copied().eq(0..order.len()) {
            return self;
        }
        self.builder.emit(Transpose { order: order.to_vec() }, &[self])
    }
    /// Elements `start..start + len` along `axis`.
    pub fn slice(self, axis: usize, start: usize, len: Dim) -> Self {
        if start == 0 && self.shape()[axis] == len {
            return self;
        }
        self.builder.emit(Slice { axis, start, len }, &[self])
    }
    /// `before` zeros ahead of the elements along `axis` and as many after as make its length `len`.
    pub fn pad(self, axis: usize, before: usize, len: Dim) -> Self {
        if before == 0 && self.shape()[axis] == len {
            return self;
        }
        self.builder.emit(Pad { axis, before, len }, &[self])
    }
    /// Joins values along `axis`.
    ///
    /// # Errors
    /// When the other sizes differ, or a size along the axis is named.
    pub fn concat(parts: &[Self], axis: usize) -> Result<Self, Message> {
        ensure!(!parts.is_empty(), ShapeMismatch, "nothing to join");
        if let [only] = parts {
            return Ok(*only);
        }
        parts[0].builder.apply(Concat { axis }, parts)
    }
    /// An elementwise function of two values, broadcast to a common shape.
    pub fn binary(self, function: BinaryFn, other: Self) -> Self {
        let (a, b) = self.broadcast_both(other);
        self.builder.emit(Binary(function), &[a, b])
    }
    fn broadcast_both(self, other: Self) -> (Self, Self) {
        let shape = common_shape(&self.shape(), &other.shape());
        (self.broadcast_to(&shape), other.broadcast_to(&shape))
    }
}

impl Builder {
    /// A size as an `f32` scalar: a constant, or computed at run time when it is named.
    pub fn size(&self, dim: &Dim) -> Var<'_> {
        match dim.as_fixed() {
            Some(n) => self.scalar(n as f64),
            None => self.emit(crate::ops::SizeOf { dim: dim.clone() }, &[]),
        }
    }
    /// A constant with the type of `like`.
    pub fn full_like<'b>(&'b self, like: Var<'b>, value: f64) -> Var<'b> {
        let ty = like.ty();
        assert_eq!(ty.element, ElementType::F32, "constants are f32");
        self.constant(value, ty)
    }
}

/// The one place that decides implicit broadcasting: sizes are aligned at the end, and one stretches.
pub fn common_shape(lhs: &[Dim], rhs: &[Dim]) -> Vec<Dim> {
    let rank = lhs.len().max(rhs.len());
    let dim = |shape: &[Dim], i: usize| match (i + shape.len()).checked_sub(rank) {
        Some(axis) => shape[axis].clone(),
        None => Dim::ONE,
    };
    let common = |i| match (dim(lhs, i), dim(rhs, i)) {
        (a, b) if a.is_one() => b,
        (a, _) => a,
    };
    (0..rank).map(common).collect()
}

macro_rules! operator {
    ($Trait:ident, $method:ident, $function:expr) => {
        impl<'b> $Trait for Var<'b> {
            type Output = Var<'b>;
            fn $method(self, rhs: Self) -> Self {
                self.binary($function, rhs)
            }
        }
        impl<'b> $Trait<Var<'b>> for f64 {
            type Output = Var<'b>;
            fn $method(self, rhs: Var<'b>) -> Var<'b> {
                rhs.builder.scalar(self).binary($function, rhs)
            }
        }
        impl<'b> $Trait<f64> for Var<'b> {
            type Output = Var<'b>;
            fn $method(self, rhs: f64) -> Var<'b> {
                self.binary($function, self.builder.scalar(rhs))
            }
        }
    };
}
operator!(Add, add, BinaryFn::Add);
operator!(Sub, sub, BinaryFn::Sub);
operator!(Mul, mul, BinaryFn::Mul);
operator!(Div, div, BinaryFn::Div);

impl Neg for Var<'_> {
    type Output = Self;
    fn neg(self) -> Self {
        self.unary(UnaryFn::Neg)
    }
}
