//! The state while one kernel's function is emitted: which loops are open, and what has been computed in each.

use std::collections::BTreeMap;

use cranelift_codegen::ir::{BlockArg, InstBuilder, Type, Value, condcodes::IntCC, types};
use cranelift_frontend::FunctionBuilder;

use super::facts::{AxisSet, Facts};
use super::lanes::{Lanes, WIDTH, memory};
use crate::kernel::{Address, Axis, Expr, Int, IntExpr, Kernel, Program};
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
struct Scope {
    bound: AxisSet,
    exprs: BTreeMap<(Expr, Slot), Value>,
    ints: BTreeMap<(Int, Slot), Value>,
    /// The sum of an address's terms so far, and which terms those are.
    addresses: BTreeMap<(Access, Slot), (Value, u64)>,
    axes: BTreeMap<Axis, Value>,
    sizes: BTreeMap<Symbol, Value>,
}

pub(super) struct Cx<'a, 'f> {
    pub(super) builder: FunctionBuilder<'f>,
    pub(super) program: &'a Program,
    pub(super) kernel: &'a Kernel,
    pub(super) facts: Facts<'a>,
    pub(super) frame: Value,
    scopes: Vec<Scope>,
    pub(super) vector: Option<Vector>,
    /// Set while one lane of a block is computed by itself.
    pub(super) lane: Option<usize>,
}

/// A range of a loop; the numbers, when they are known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) from: Value,
    pub(super) to: Value,
    pub(super) known: Option<(i64, i64)>,
}

impl<'a, 'f> Cx<'a, 'f> {
    pub(super) fn new(builder: FunctionBuilder<'f>, program: &'a Program, kernel: &'a Kernel, frame: Value) -> Self {
        let facts = Facts::of(program, kernel);
        let scopes = vec![Scope::default()];
        Cx { builder, program, kernel, facts, frame, scopes, vector: None, lane: None }
    }
    pub(super) fn lanes(&mut self) -> Lanes<'_, 'f> {
        Lanes(&mut self.builder)
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
    fn top(&mut self) -> &mut Scope {
        self.scopes.last_mut().expect("the function's own scope stays")
    }
    fn find<T>(&self, look: impl Fn(&Scope) -> Option<T>) -> Option<T> {
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

    fn varies(&self, axes: AxisSet) -> bool {
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
    fn frame_word(&mut self, word: usize) -> Value {
        self.builder.ins().load(types::I64, memory().with_readonly().with_can_move(), self.frame, 8 * word as i32)
    }

    // Addresses.

    fn address_of(&self, access: Access) -> (crate::kernel::Buffer, &'a Address) {
        match access {
            Access::Load(expr) => match &self.kernel.exprs[expr] {
                crate::kernel::Scalar::Load { buffer, at } => (*buffer, at),
                other => panic!("{expr} is no load: {other:?}"),
            },
            Access::Store(number) => (self.kernel.stores[number].buffer, &self.kernel.stores[number].at),
        }
    }
    /// Adds up the terms of an address that are known in this scope, so that inner loops need not.
    pub(super) fn hoist_address(&mut self, access: Access, may_read: bool) {
        let (_, at) = self.address_of(access);
        let (_, done) = self.partial_address(access);
        let ready = |cx: &Self, int: Int| {
            let axes = cx.facts.ints[int];
            axes.is_subset_of(cx.bound()) && !cx.varies(axes) && (may_read || !cx.facts.reads[int])
        };
        let terms = at.terms.iter().enumerate();
        let new =
            terms.filter(|(i, (int, _))| done >> i & 1 == 0 && ready(self, *int)).fold(0, |set, (i, _)| set | 1 << i);
        if new != 0 {
            self.add_terms(access, Slot::Uniform, new);
        }
    }
    fn partial_address(&mut self, access: Access) -> (Value, u64) {
        if let Some(known) = self.find(|scope| scope.addresses.get(&(access, Slot::Uniform)).copied()) {
            return known;
        }
        let (buffer, at) = self.address_of(access);
        assert!(at.terms.len() < 64, "an address of {} terms:\n{}", at.terms.len(), self.kernel);
        let base = self.frame_word(self.program.buffer_word(buffer));
        let base = match at.offset.as_fixed() {
            Some(n) => self.plus(base, 4 * n as i64),
            None => {
                let offset = self.size(&at.offset);
                let bytes = self.times(offset, 4);
                self.builder.ins().iadd(base, bytes)
            }
        };
        self.top().addresses.insert((access, Slot::Uniform), (base, 0));
        (base, 0)
    }
    fn add_terms(&mut self, access: Access, slot: Slot, terms: u64) -> Value {
        let (_, at) = self.address_of(access);
        let (mut address, done) = self.partial_address(access);
        for (i, (int, stride)) in at.terms.iter().enumerate() {
            if terms >> i & 1 == 0 {
                continue;
            }
            let int = self.int(*int, slot);
            let bytes = match stride.as_fixed() {
                Some(stride) => self.times(int, 4 * stride as i64),
                None => {
                    let stride = self.size(stride);
                    let elements = self.builder.ins().imul(int, stride);
                    self.times(elements, 4)
                }
            };
            address = self.builder.ins().iadd(address, bytes);
        }
        self.top().addresses.insert((access, slot), (address, done | terms));
        address
    }
    /// Where an access takes place: an address and bytes to add to it.
    pub(super) fn address(&mut self, access: Access, slot: Slot) -> (Value, i32) {
        let (_, at) = self.address_of(access);
        let slope = self.vector.map_or(Some(0), |vector| self.facts.address_slope(at, vector.axis));
        // Where neighbors are a constant apart, so are vectors and lanes: one address serves all.
        let (slot, elements) = match (slot, slope) {
            (Slot::Uniform, _) => (Slot::Uniform, 0),
            (_, Some(0)) => (Slot::Uniform, 0),
            (Slot::Chain(chain), Some(slope)) => (Slot::Chain(0), slope * (WIDTH * chain) as i64),
            (Slot::Lane(lane), Some(slope)) => (Slot::Chain(0), slope * lane as i64),
            (slot, None) => (slot, 0),
        };
        let offset = i32::try_from(4 * elements).expect("neighbors in one vector are less than 2 GiB apart");
        let all = (1 << at.terms.len()) - 1;
        let known = self.find(|scope| scope.addresses.get(&(access, slot)).copied());
        if let Some((address, done)) = known
            && done == all
        {
            return (address, offset);
        }
        let (_, done) = self.partial_address(access);
        (self.add_terms(access, slot, all & !done), offset)
    }

    // Loops.

    /// The range of a whole loop.
    pub(super) fn whole(&mut self, extent: &Dim) -> Span {
        let (from, to) = (self.number(0), self.size(extent));
        Span { from, to, known: extent.as_fixed().map(|n| (0, n as i64)) }
    }
    /// Runs `body` for as many whole steps as the span holds, passing values from one round to the next. Returns what
    /// is left of the span and the values after the last round.
    pub(super) fn count(
        &mut self,
        span: Span,
        step: usize,
        carried: Vec<Value>,
        body: impl FnOnce(&mut Self, Value, &[Value]) -> Vec<Value>,
    ) -> (Span, Vec<Value>) {
        let step = step as i64;
        let rounds = span.known.map(|(from, to)| (to - from).max(0) / step);
        let known = span.known.zip(rounds).map(|((from, to), rounds)| (from + rounds * step, to));
        match rounds {
            Some(0) => return (span, carried),
            Some(1) => {
                let carried = body(self, span.from, &carried);
                let from = self.plus(span.from, step);
                return (Span { from, known, ..span }, carried);
            }
            _ => {}
        }
        let tys: Vec<Type> = carried.iter().map(|&value| self.builder.func.dfg.value_type(value)).collect();
        let [head, done] = [(); 2].map(|()| self.block(&[&[types::I64], tys.as_slice()].concat()));
        let limit = self.plus(span.to, 1 - step);
        let first = [&[span.from], carried.as_slice()].concat();
        if rounds.is_some() {
            self.jump(head, &first);
        } else {
            let some = self.builder.ins().icmp(IntCC::SignedLessThan, span.from, limit);
            self.branch(some, (head, &first), (done, &first));
        }
        self.builder.switch_to_block(head);
        let params = self.builder.block_params(head).to_vec();
        let carried = body(self, params[0], &params[1..]);
        let next = self.plus(params[0], step);
        let next = [&[next], carried.as_slice()].concat();
        let more = self.builder.ins().icmp(IntCC::SignedLessThan, next[0], limit);
        self.branch(more, (head, &next), (done, &next));
        self.builder.switch_to_block(done);
        let params = self.builder.block_params(done).to_vec();
        (Span { from: params[0], known, ..span }, params[1..].to_vec())
    }
    pub(super) fn block(&mut self, params: &[Type]) -> cranelift_codegen::ir::Block {
        let block = self.builder.create_block();
        for &ty in params {
            self.builder.append_block_param(block, ty);
        }
        block
    }
    pub(super) fn jump(&mut self, to: cranelift_codegen::ir::Block, values: &[Value]) {
        let values: Vec<BlockArg> = values.iter().map(|&value| value.into()).collect();
        self.builder.ins().jump(to, &values);
    }
    pub(super) fn branch(
        &mut self,
        condition: Value,
        then: (cranelift_codegen::ir::Block, &[Value]),
        other: (cranelift_codegen::ir::Block, &[Value]),
    ) {
        let [then_values, other_values] =
            [then.1, other.1].map(|values| values.iter().map(|&value| value.into()).collect::<Vec<BlockArg>>());
        self.builder.ins().brif(condition, then.0, &then_values, other.0, &other_values);
    }
}
