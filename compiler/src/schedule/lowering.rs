//! What an `element` rule may use: builds the expressions of one kernel.

use std::collections::BTreeMap;

use super::storage::Storage;
use crate::graph::{Graph, Value};
use crate::kernel::{
    Address, Axis, BinaryFn, Combine, CompareFn, Condition, Expr, Int, IntExpr, Kernel, Scalar, UnaryFn, View,
};
use crate::types::Dim;

/// A kernel under construction. Integers and expressions that are equal are one.
#[derive(Debug)]
pub struct Lowering<'g> {
    pub(super) graph: &'g Graph,
    pub(super) storage: &'g Storage,
    pub(super) kernel: Kernel,
    /// Elements already lowered, so that a value used twice is computed once.
    memo: BTreeMap<(Value, Vec<Int>), Expr>,
}

impl<'g> Lowering<'g> {
    pub(super) fn new(graph: &'g Graph, storage: &'g Storage, name: impl Into<String>) -> Self {
        let kernel = Kernel { name: name.into(), ..Kernel::default() };
        Lowering { graph, storage, kernel, memo: BTreeMap::new() }
    }

    /// The element of `value` at `index`: a load if it is stored, else its own rule, inlined.
    pub fn element(&mut self, value: Value, index: &[Int]) -> Expr {
        let key = (value, index.to_vec());
        if let Some(&expr) = self.memo.get(&key) {
            return expr;
        }
        let expr = match self.storage.view(value) {
            Some(view) => self.element_of(view, index),
            None => {
                let node = self.graph.node(value);
                let expr = node.op.element(self, &node.args, index);
                expr.unwrap_or_else(|| panic!("{value} is computed by a library call and must be stored: {node:?}"))
            }
        };
        self.memo.insert(key, expr);
        expr
    }
    pub fn shape(&self, value: Value) -> &'g [Dim] {
        &self.graph.ty(value).shape
    }

    // Integers.

    /// A new loop; bind it with [`Lowering::reduce`].
    pub fn axis(&mut self, extent: Dim) -> Axis {
        self.kernel.axes.push(extent)
    }
    pub fn int_axis(&mut self, axis: Axis) -> Int {
        self.int(IntExpr::Axis(axis))
    }
    pub fn int_const(&mut self, value: i64) -> Int {
        self.int(IntExpr::Const(value))
    }
    /// A size as an integer.
    pub fn int_size(&mut self, dim: &Dim) -> Int {
        match dim.as_fixed() {
            Some(n) => self.int_const(n as i64),
            None => self.int(IntExpr::Size(dim.clone())),
        }
    }
    pub fn int_add(&mut self, a: Int, b: Int) -> Int {
        match (self.const_of(a), self.const_of(b)) {
            (Some(a), Some(b)) => self.int_const(a + b),
            (Some(0), _) => b,
            (_, Some(0)) => a,
            _ => self.int(IntExpr::Add(a, b)),
        }
    }
    pub fn int_mul(&mut self, a: Int, factor: i64) -> Int {
        match (self.const_of(a), factor) {
            (Some(a), _) => self.int_const(a * factor),
            (_, 0) => self.int_const(0),
            (_, 1) => a,
            _ => self.int(IntExpr::Mul(a, factor)),
        }
    }
    /// Rounds towards minus infinity.
    pub fn int_div(&mut self, a: Int, divisor: i64) -> Int {
        assert!(divisor > 0, "a divisor is positive, not {divisor}");
        match (self.const_of(a), divisor) {
            (Some(a), _) => self.int_const(a.div_euclid(divisor)),
            (_, 1) => a,
            _ => self.int(IntExpr::Div(a, divisor)),
        }
    }
    /// Never negative.
    pub fn int_rem(&mut self, a: Int, divisor: i64) -> Int {
        assert!(divisor > 0, "a divisor is positive, not {divisor}");
        match (self.const_of(a), divisor) {
            (Some(a), _) => self.int_const(a.rem_euclid(divisor)),
            (_, 1) => self.int_const(0),
            _ => self.int(IntExpr::Rem(a, divisor)),
        }
    }
    pub fn int_mul_size(&mut self, a: Int, size: &Dim) -> Int {
        match (size.as_fixed(), self.const_of(a)) {
            (Some(n), _) => self.int_mul(a, n as i64),
            (None, Some(0)) => a,
            (None, _) => self.int(IntExpr::MulSize(a, size.clone())),
        }
    }
    /// `a / size`, where `a` is not negative and the size not 0.
    pub fn int_div_size(&mut self, a: Int, size: &Dim) -> Int {
        match (size.as_fixed(), self.const_of(a)) {
            (Some(n), _) => self.int_div(a, n as i64),
            (None, Some(0)) => a,
            (None, _) => self.int(IntExpr::DivSize(a, size.clone())),
        }
    }
    pub fn int_rem_size(&mut self, a: Int, size: &Dim) -> Int {
        match (size.as_fixed(), self.const_of(a)) {
            (Some(n), _) => self.int_rem(a, n as i64),
            (None, Some(0)) => a,
            (None, _) => self.int(IntExpr::RemSize(a, size.clone())),
        }
    }
    /// The nearest number of `0..limit`.
    pub fn int_clamp(&mut self, a: Int, limit: usize) -> Int {
        assert!(limit > 0, "nothing to clamp {a} to");
        match self.const_of(a) {
            Some(a) => self.int_const(a.clamp(0, limit as i64 - 1)),
            None => self.int(IntExpr::Clamp(a, limit as i64)),
        }
    }
    /// The value of an `i32` scalar as an integer.
    pub fn int_value(&mut self, expr: Expr) -> Int {
        self.int(IntExpr::Value(expr))
    }
    fn const_of(&self, int: Int) -> Option<i64> {
        match self.kernel.ints[int] {
            IntExpr::Const(value) => Some(value),
            _ => None,
        }
    }
    fn int(&mut self, int: IntExpr) -> Int {
        let known = self.kernel.ints.iter().find(|(_, known)| **known == int).map(|(id, _)| id);
        known.unwrap_or_else(|| self.kernel.ints.push(int))
    }

    // Scalars.

    pub fn constant(&mut self, value: f64) -> Expr {
        self.push(Scalar::Const(value))
    }
    pub fn unary(&mut self, function: UnaryFn, x: Expr) -> Expr {
        self.push(Scalar::Unary(function, x))
    }
    pub fn binary(&mut self, function: BinaryFn, a: Expr, b: Expr) -> Expr {
        self.push(Scalar::Binary(function, a, b))
    }
    pub fn compare(&mut self, function: CompareFn, a: Expr, b: Expr) -> Expr {
        self.push(Scalar::Compare(function, a, b))
    }
    pub fn select(&mut self, condition: Expr, then: Expr, otherwise: Expr) -> Expr {
        self.push(Scalar::Select(condition, then, otherwise))
    }
    /// An `i32` as an `f32`.
    pub fn convert(&mut self, x: Expr) -> Expr {
        self.push(Scalar::Convert(x))
    }
    /// An integer as an `i32`.
    pub fn position(&mut self, int: Int) -> Expr {
        self.push(Scalar::Position(int))
    }
    pub fn reduce(&mut self, combine: Combine, axis: Axis, body: Expr) -> Expr {
        // Not shared with an equal one: each axis is bound exactly once.
        self.kernel.exprs.push(Scalar::Reduce { combine, axis, body })
    }
    /// `body` where all conditions hold, else `otherwise`.
    pub fn guard(&mut self, conditions: Vec<Condition>, body: Expr, otherwise: f64) -> Expr {
        if conditions.is_empty() { body } else { self.push(Scalar::Guard { conditions, body, otherwise }) }
    }
    pub fn random(&mut self, key: [Expr; 2], stream: u32, index: Int) -> Expr {
        self.push(Scalar::Random { key, stream, index })
    }
    /// The element at an index of what lies in memory as a view says.
    pub(super) fn element_of(&mut self, view: &View, index: &[Int]) -> Expr {
        let terms = index.iter().copied().zip(view.strides.iter().cloned()).collect();
        self.load(view.buffer, view.offset.clone(), terms)
    }
    pub(super) fn load(&mut self, buffer: crate::kernel::Buffer, offset: Dim, terms: Vec<(Int, Dim)>) -> Expr {
        let terms = terms
            .into_iter()
            .filter(|(int, stride)| stride.as_fixed() != Some(0) && self.const_of(*int) != Some(0))
            .collect();
        self.push(Scalar::Load { buffer, at: Address { offset, terms } })
    }
    fn push(&mut self, scalar: Scalar) -> Expr {
        let known = self.kernel.exprs.iter().find(|(_, known)| **known == scalar).map(|(id, _)| id);
        known.unwrap_or_else(|| self.kernel.exprs.push(scalar))
    }
}
