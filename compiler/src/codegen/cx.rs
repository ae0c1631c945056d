//! The state while one kernel's function is emitted: which loops are open, and what has been computed in each.

use std::collections::BTreeMap;

use cranelift_codegen::ir::{InstBuilder, Value, types};
use cranelift_frontend::FunctionBuilder;

use super::facts::Facts;
use super::lanes::{Fuses, Lanes, WIDTH, memory};
use crate::kernel::depends::AxisSet;
use crate::kernel::{Axis, Expr, Int, IntExpr, Kernel, Program};
use crate::types::{Dim, Symbol};

/// Which of an expression's values: one for each vector of a block, unless it does not vary along the vector axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    Uniform,
    /// The vector of this number; of an integer or address, that of its first lane.
    Chain(usize),
    /// One lane of all chains, by itself.
    Lane(usize),
}

/// The loop along which lanes lie at present: the block starts at the axis's value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vector {
    pub(super) axis: Axis,
    pub(super) chains: usize,
}

/// A load or a store, as the owner of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    Load(Expr),
    Store(usize),
}

/// What was computed since a loop or a guard was entered; it goes when that is left.
#[derive(Debug, Default)]
pub(super) struct Scope {
    bound: AxisSet,
    exprs: BTreeMap<(Expr, Slot), Value>,
    ints: BTreeMap<(Int, Slot), Value>,
    /// The sum of an address's terms so far, and which terms those are.
    pub(super) addresses: BTreeMap<(Access, Slot), (Value, u64)>,
    axes: BTreeMap<Axis, Value>,
    sizes: BTreeMap<Symbol, Value>,
}

pub(super) struct Cx<'a, 'f> {
    pub(super) builder: FunctionBuilder<'f>,
    pub(super) program: &'a Program,
    pub(super) kernel: &'a Kernel,
    pub(super) facts: Facts<'a>,
    pub(super) frame: Value,
    fuses: Fuses,
    scopes: Vec<Scope>,
    pub(super) vector: Option<Vector>,
    /// Set while one lane of a block is computed by itself.
    pub(super) lane: Option<usize>,
}

impl<'a, 'f> Cx<'a, 'f> {
    pub(super) fn new(
        builder: FunctionBuilder<'f>,
        program: &'a Program,
        kernel: &'a Kernel,
        frame: Value,
        fuses: Fuses,
    ) -> Self {
        let facts = Facts::of(program, kernel);
        let scopes = vec![Scope::default()];
        Cx { builder, program, kernel, facts, frame, fuses, scopes, vector: None, lane: None }
    }
    pub(super) fn lanes(&mut self) -> Lanes<'_, 'f> {
        Lanes(&mut self.builder, self.fuses)
    }

    // Scopes.

    /// Opens a scope in which `axes` have these values.
    pub(super) fn enter(&mut self, axes: &[(Axis, Value)]) {
        let bound = axes.iter().fold(self.bound(), |bound, (axis, _)| bound.with(*axis));
        self.scopes.push(Scope { bound, axes: axes.iter().copied().collect(), ..Scope::default() });
    }
    pub(super) fn leave(&mut self) {
        self.scopes.pop().expect("a scope was entered");
    }
    pub(super) fn top(&mut self) -> &mut Scope {
        self.scopes.last_mut().expect("the function's own scope stays")
    }
    pub(super) fn find<T>(&self, look: impl Fn(&Scope) -> Option<T>) -> Option<T> {
        self.scopes.iter().rev().find_map(look)
    }
    /// The loops that are open.
    pub(super) fn bound(&self) -> AxisSet {
        self.scopes.last().expect("the function's own scope stays").bound
    }
    pub(super) fn known(&self, expr: Expr, slot: Slot) -> Option<Value> {
        self.find(|scope| scope.exprs.get(&(expr, slot)).copied())
    }
    pub(super) fn remember(&mut self, expr: Expr, slot: Slot, value: Value) {
        self.top().exprs.insert((expr, slot), value);
    }

    // Slots.

    pub(super) fn varies(&self, axes: AxisSet) -> bool {
        self.vector.is_some_and(|vector| axes.contains(vector.axis))
    }
    /// All slots of an expression where it is used at present.
    pub(super) fn slots(&self, expr: Expr) -> Vec<Slot> {
        match (self.vector, self.lane) {
            (Some(vector), None) if self.varies(self.facts.exprs[expr]) => {
                (0..vector.chains).map(Slot::Chain).collect()
            }
            (Some(_), Some(lane)) if self.varies(self.facts.exprs[expr]) => vec![Slot::Lane(lane)],
            _ => vec![Slot::Uniform],
        }
    }
    /// The slot of an expression that a value at `slot` is computed from.
    pub(super) fn slot_of(&self, expr: Expr, slot: Slot) -> Slot {
        if self.varies(self.facts.exprs[expr]) { slot } else { Slot::Uniform }
    }

    // Integers.

    /// The value of an integer at `slot`; what control flow it needs has been emitted.
    pub(super) fn int(&mut self, int: Int, slot: Slot) -> Value {
        let slot = if self.varies(self.facts.ints[int]) { slot } else { Slot::Uniform };
        if let Some(value) = self.find(|scope| scope.ints.get(&(int, slot)).copied()) {
            return value;
        }
        let value = match &self.kernel.ints[int] {
            IntExpr::Const(value) => self.number(*value),
            IntExpr::Axis(axis) => self.axis_value(*axis, slot),
            IntExpr::Add(a, b) => {
                let (a, b) = (self.int(*a, slot), self.int(*b, slot));
                self.builder.ins().iadd(a, b)
            }
            IntExpr::Mul(a, factor) => {
                let a = self.int(*a, slot);
                self.times(a, *factor)
            }
            IntExpr::Div(a, divisor) => {
                let a = self.int(*a, slot);
                self.floor_div(a, *divisor).0
            }
            IntExpr::Rem(a, divisor) => {
                let a = self.int(*a, slot);
                self.floor_div(a, *divisor).1
            }
            IntExpr::Size(dim) => self.size(dim),
            IntExpr::MulSize(a, size) => {
                let (a, size) = (self.int(*a, slot), self.size(size));
                self.builder.ins().imul(a, size)
            }
            IntExpr::DivSize(a, size) => {
                let (a, size) = (self.int(*a, slot), self.size(size));
                self.builder.ins().udiv(a, size)
            }
            IntExpr::RemSize(a, size) => {
                let (a, size) = (self.int(*a, slot), self.size(size));
                self.builder.ins().urem(a, size)
            }
            IntExpr::Clamp(a, limit) => {
                let a = self.int(*a, slot);
                let [zero, last] = [0, limit - 1].map(|bound| self.number(bound));
                let a = self.builder.ins().smax(a, zero);
                self.builder.ins().smin(a, last)
            }
            IntExpr::Value(expr) => self.value_as_int(*expr, slot),
        };
        self.top().ints.insert((int, slot), value);
        value
    }
    fn axis_value(&mut self, axis: Axis, slot: Slot) -> Value {
        let base = self.find(|scope| scope.axes.get(&axis).copied());
        let base = base.unwrap_or_else(|| panic!("the loop {axis} is not open:\n{}", self.kernel));
        match slot {
            Slot::Uniform => base,
            Slot::Chain(chain) => self.plus(base, (WIDTH * chain) as i64),
            Slot::Lane(lane) => self.plus(base, lane as i64),
        }
    }
    fn value_as_int(&mut self, expr: Expr, slot: Slot) -> Value {
        match (self.slot_of(expr, slot), self.lane) {
            // A lane of a block that is computed in vectors.
            (Slot::Lane(lane), None) => {
                let vector = self.value(expr, Slot::Chain(lane / WIDTH));
                self.lanes().lane_as_int(vector, lane % WIDTH)
            }
            (slot, _) => {
                let vector = self.value(expr, slot);
                self.lanes().lane_as_int(vector, 0)
            }
        }
    }
    pub(super) fn number(&mut self, value: i64) -> Value {
        self.builder.ins().iconst(types::I64, value)
    }
    pub(super) fn plus(&mut self, value: Value, amount: i64) -> Value {
        if amount == 0 { value } else { self.builder.ins().iadd_imm_s(value, amount) }
    }
    pub(super) fn times(&mut self, value: Value, factor: i64) -> Value {
        if factor == 1 { value } else { self.builder.ins().imul_imm_s(value, factor) }
    }
    /// Quotient and remainder, the quotient rounded towards minus infinity.
    fn floor_div(&mut self, a: Value, divisor: i64) -> (Value, Value) {
        if divisor.count_ones() == 1 {
            let quotient = self.builder.ins().sshr_imm_u(a, i64::from(divisor.trailing_zeros()));
            return (quotient, self.builder.ins().band_imm_s(a, divisor - 1));
        }
        let by = self.number(divisor);
        let quotient = self.builder.ins().sdiv(a, by);
        let product = self.times(quotient, divisor);
        let rest = self.builder.ins().isub(a, product);
        // A negative rest means that the quotient was rounded up: its sign, -1 or 0, corrects both.
        let sign = self.builder.ins().sshr_imm_u(rest, 63);
        let correction = self.builder.ins().band(sign, by);
        (self.builder.ins().iadd(quotient, sign), self.builder.ins().iadd(rest, correction))
    }
    /// A size, as a constant where it is one.
    pub(super) fn size(&mut self, dim: &Dim) -> Value {
        if let Some(n) = dim.as_fixed() {
            return self.number(n as i64);
        }
        let mut product = None;
        for symbol in dim.symbols() {
            let value = self.symbol(symbol);
            product = Some(match product {
                None => self.times(value, dim.factor() as i64),
                Some(product) => self.builder.ins().imul(product, value),
            });
        }
        product.expect("a size that is not fixed has symbols")
    }
    fn symbol(&mut self, symbol: &Symbol) -> Value {
        if let Some(value) = self.find(|scope| scope.sizes.get(symbol).copied()) {
            return value;
        }
        let value = self.frame_word(self.program.symbol_word(symbol));
        self.top().sizes.insert(symbol.clone(), value);
        value
    }
    pub(super) fn frame_word(&mut self, word: usize) -> Value {
        self.builder.ins().load(types::I64, memory().with_readonly().with_can_move(), self.frame, 8 * word as i32)
    }
}
