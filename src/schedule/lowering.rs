//! What an `element` rule may use: builds the expressions of one kernel.

use std::collections::BTreeMap;

use super::storage::Storage;
use crate::graph::{Graph, Value};
use crate::kernel::{
    Address, Axis, BinaryFn, Combine, CompareFn, Condition, Expr, Int, IntExpr, Kernel, Scalar, UnaryFn,
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
            Some(view) => {
                let (buffer, offset) = (view.buffer, view.offset.clone());
                let terms = index.iter().copied().zip(view.strides.iter().cloned()).collect();
                self.load(buffer, offset, terms)
            }
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

#[cfg(test)]
mod tests {
    use super::Lowering;
    use crate::graph::{Builder, Value, Var};
    use crate::index::IndexVec;
    use crate::interp::{Memory, Precision, Scope, Tensor, eval, run_kernel};
    use crate::kernel::{Address, Store, View};
    use crate::ops::{Op, Role, Source};
    use crate::schedule::storage::Storage;
    use crate::types::{Dim, ElementType, Extents, Symbol, product};

    /// Row-major strides.
    fn strides(shape: &[Dim]) -> Vec<Dim> {
        (0..shape.len()).map(|axis| product(&shape[axis + 1..])).collect()
    }

    fn sample(source: &Source, scope: &Scope) -> Tensor {
        let shape = source.ty.eval(&scope.extents);
        let n = shape.iter().product();
        let data = match source.ty.element {
            ElementType::F32 => (0..n).map(|i: usize| 0.2 + (i * 37 % 101) as f64 * 0.017).collect(),
            ElementType::I32 => (0..n).map(|i: usize| (i * 3 % 7) as f64 - 2.0).collect(),
        };
        Tensor::new(source.ty.element, &shape, data).map(|x| scope.round(x))
    }

    /// Law: the element rule of every primitive computes what the primitive means.
    #[test]
    fn elements_agree_with_the_interpreter() {
        for (op, types) in Op::samples() {
            let builder = Builder::default();
            let source = |(i, ty): (usize, _)| builder.source(Role::Input, &format!("x{i}"), ty);
            let args: Vec<Var<'_>> = types.into_iter().enumerate().map(source).collect();
            let y = builder.apply(op.clone(), &args).expect("a sample is well-typed").id;
            let graph = builder.finish();

            // The arguments are stored, the result is inlined into a kernel that stores it after them.
            let mut views: IndexVec<Value, Option<View>> = IndexVec::new();
            let mut memory = Memory::new();
            for (value, node) in graph.nodes() {
                let buffer = memory.push(Vec::new());
                views.push((value != y).then(|| View::whole(buffer, strides(&node.ty.shape))));
            }
            let storage = Storage { views };
            let target = memory.ids().next_back().expect("at least the result");
            let mut cx = Lowering::new(&graph, &storage, "sample");
            let shape = &graph.ty(y).shape;
            let axes: Vec<_> = shape.iter().map(|dim| cx.axis(dim.clone())).collect();
            let index: Vec<_> = axes.iter().map(|&axis| cx.int_axis(axis)).collect();
            let node = graph.node(y);
            let Some(value) = node.op.element(&mut cx, &node.args, &index) else { continue };
            let terms = index.into_iter().zip(strides(shape)).collect();
            let mut kernel = cx.kernel;
            kernel.domain = axes;
            kernel.stores.push(Store { buffer: target, at: Address { offset: Dim::fixed(0), terms }, value });

            for (batch, length) in [(3, 5), (1, 5), (2, 4), (1, 3), (0, 5)] {
                let mut extents = Extents::with_batch(batch);
                extents.set(Symbol::Axis("T".into()), length);
                let scope = Scope::new(extents, Precision::F64);
                let values = eval(&graph, &|source| sample(source, &scope), &scope);
                for ((value, _), elements) in graph.nodes().zip(memory.iter_mut().map(|(_, elements)| elements)) {
                    elements.clone_from(&values[value].data);
                }
                memory[target].fill(f64::NAN);
                run_kernel(&kernel, &mut memory, &scope);
                // Sums may be taken in another order.
                let close = |(a, b): (&f64, &f64)| a == b || (a - b).abs() <= 1e-12 * b.abs();
                let (found, expected) = (&memory[target], &values[y].data);
                let equal = found.len() == expected.len() && found.iter().zip(expected).all(close);
                assert!(equal, "{op:?} with B = {batch} and T = {length}: {found:?}, not {expected:?}\n{kernel:?}");
            }
        }
    }
}
