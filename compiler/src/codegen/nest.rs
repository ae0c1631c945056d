//! One kernel as a function: the loops over its domain.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Function, InstBuilder, Value, types};
use cranelift_codegen::isa::TargetFrontendConfig;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

use super::cx::{Cx, Vector};
use super::lanes::{Fuses, WIDTH};
use super::loops::Span;
use crate::kernel::{Address, Axis, Expr, Kernel, Program, Store};
use crate::types::product;

/// How a kernel's function is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// `(frame, begin, end)`: a part of the flat range of its parallel axes.
    Range,
    /// `(frame, row, rows, col, cols, ahead)`: a part of a library call's result, at whose end what is read `ahead` columns
    /// further may be fetched.
    Tile { fetches: bool },
}

impl Call {
    /// Parameters after the frame.
    pub(super) fn n_params(self) -> usize {
        match self {
            Call::Range => 2,
            Call::Tile { .. } => 5,
        }
    }
}

/// Writes the body of a function whose signature is made already.
pub(super) fn emit_kernel(
    program: &Program,
    kernel: &Kernel,
    call: Call,
    function: &mut Function,
    context: &mut FunctionBuilderContext,
    config: TargetFrontendConfig,
    fuses: Fuses,
) {
    let mut builder = FunctionBuilder::new(function, context);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    let params = builder.block_params(entry).to_vec();
    let mut cx = Cx::new(builder, program, kernel, params[0], fuses);
    match call {
        Call::Range => cx.range(params[1], params[2]),
        Call::Tile { .. } => cx.tile([params[1], params[2]], [params[3], params[4]]),
    }
    cx.builder.ins().return_(&[]);
    cx.builder.seal_all_blocks();
    cx.builder.finalize(config);
}

impl Cx<'_, '_> {
    fn range(&mut self, begin: Value, end: Value) {
        let axes = &self.kernel.axes;
        let extents: Vec<_> = self.kernel.domain.iter().map(|&axis| axes[axis].clone()).collect();
        let inner = product(&extents[self.kernel.parallel..]);
        if product(&extents).as_fixed() == Some(0) {
            return;
        }
        // Nothing at all is read for an empty domain.
        let [work, done] = [self.block(&[]), self.block(&[])];
        let mut some = self.builder.ins().icmp(IntCC::SignedLessThan, begin, end);
        if inner.as_fixed().is_none() {
            let n = self.size(&inner);
            let inner_some = self.builder.ins().icmp_imm_s(IntCC::NotEqual, n, 0);
            some = self.builder.ins().band(some, inner_some);
        }
        self.branch(some, (work, &[]), (done, &[]));
        self.builder.switch_to_block(work);
        self.hoist_all();
        match self.kernel.parallel {
            0 => self.loops(0),
            1 => self.one_loop(0, Span { from: begin, to: end, known: None }),
            parallel => self.segments(begin, end, parallel),
        }
        self.jump(done, &[]);
        self.builder.switch_to_block(done);
    }

    fn tile(&mut self, rows: [Value; 2], cols: [Value; 2]) {
        let [rows, cols] = [rows, cols].map(|[from, n]| {
            let to = self.builder.ins().iadd(from, n);
            Span { from, to, known: None }
        });
        assert_eq!(self.kernel.domain.len(), 2, "an epilogue has rows and columns:\n{}", self.kernel);
        self.hoist_all();
        let row = self.kernel.domain[0];
        self.count(rows, 1, Vec::new(), |cx, i, _| {
            cx.enter(&[(row, i)]);
            cx.hoist_all();
            cx.one_loop(1, cols);
            cx.leave();
            Vec::new()
        });
    }

    /// The flat range of several axes: segments of the last, whose coordinates before it count up with carries.
    fn segments(&mut self, begin: Value, end: Value, parallel: usize) {
        let axes: Vec<Axis> = self.kernel.domain[..parallel].to_vec();
        let extents: Vec<Value> = axes.iter().map(|&axis| self.size(&self.kernel.axes[axis])).collect();
        let mut coordinates = vec![begin; parallel];
        let mut rest = begin;
        for at in (1..parallel).rev() {
            coordinates[at] = self.builder.ins().urem(rest, extents[at]);
            rest = self.builder.ins().udiv(rest, extents[at]);
        }
        coordinates[0] = rest;

        let head = self.block(&vec![types::I64; 1 + parallel]);
        let done = self.block(&[]);
        self.jump(head, &[&[begin], coordinates.as_slice()].concat());
        self.builder.switch_to_block(head);
        let params = self.builder.block_params(head).to_vec();
        let (position, mut coordinates) = (params[0], params[1..].to_vec());
        let last = parallel - 1;
        let in_row = self.builder.ins().isub(extents[last], coordinates[last]);
        let in_range = self.builder.ins().isub(end, position);
        let n = self.builder.ins().smin(in_row, in_range);
        let outer: Vec<(Axis, Value)> = axes[..last].iter().copied().zip(coordinates.iter().copied()).collect();
        self.enter(&outer);
        self.hoist_all();
        let to = self.builder.ins().iadd(coordinates[last], n);
        self.one_loop(last, Span { from: coordinates[last], to, known: None });
        self.leave();

        let position = self.builder.ins().iadd(position, n);
        let zero = self.number(0);
        coordinates[last] = zero;
        let mut carry = self.number(1);
        for at in (0..last).rev() {
            let next = self.builder.ins().iadd(coordinates[at], carry);
            let over = self.builder.ins().icmp(IntCC::Equal, next, extents[at]);
            coordinates[at] = if at == 0 { next } else { self.builder.ins().select(over, zero, next) };
            carry = self.builder.ins().uextend(types::I64, over);
        }
        let more = self.builder.ins().icmp(IntCC::SignedLessThan, position, end);
        self.branch(more, (head, &[&[position], coordinates.as_slice()].concat()), (done, &[]));
        self.builder.switch_to_block(done);
    }

    /// All loops from the `depth`-th on, and the stores outside of them.
    fn loops(&mut self, depth: usize) {
        match self.kernel.domain.get(depth) {
            Some(&axis) => {
                let span = self.whole(&self.kernel.axes[axis]);
                self.one_loop(depth, span);
                self.stores_at(depth);
            }
            None => self.point(),
        }
    }
    /// A part of the `depth`-th loop, with all loops within.
    fn one_loop(&mut self, depth: usize, span: Span) {
        let axis = self.kernel.domain[depth];
        let innermost = depth + 1 == self.kernel.domain.len();
        let (roots, stores): (Vec<Expr>, Vec<&Address>) =
            self.stores_of(depth + 1).map(|(_, store)| (store.value, &store.at)).unzip();
        let mut rest = span;
        if innermost && let Some(chains) = self.facts.vectors_along(axis, &roots, &stores) {
            let blocks: &[usize] = if chains > 1 { &[chains, 1] } else { &[1] };
            for &chains in blocks {
                let block = |cx: &mut Self, i: Value, _: &[Value]| {
                    cx.vector = Some(Vector { axis, chains });
                    cx.enter(&[(axis, i)]);
                    cx.point();
                    cx.leave();
                    cx.vector = None;
                    Vec::new()
                };
                (rest, _) = self.count(rest, chains * WIDTH, Vec::new(), block);
            }
        }
        self.count(rest, 1, Vec::new(), |cx, i, _| {
            cx.enter(&[(axis, i)]);
            if innermost {
                cx.point();
            } else {
                cx.hoist_all();
                cx.loops(depth + 1);
            }
            cx.leave();
            Vec::new()
        });
    }
    /// Computes what the open loops determine.
    fn hoist_all(&mut self) {
        let roots: Vec<Expr> = self.kernel.stores.iter().map(|store| store.value).collect();
        self.hoist_stores();
        self.hoist(&roots);
    }
    /// One point, or one block of vectors: all values, then all stores.
    fn point(&mut self) {
        self.hoist_all();
        self.stores_at(self.kernel.domain.len());
    }
    fn stores_at(&mut self, depth: usize) {
        let numbers: Vec<usize> = self.stores_of(depth).map(|(number, _)| number).collect();
        for &number in &numbers {
            self.force(self.kernel.stores[number].value);
        }
        numbers.into_iter().for_each(|number| self.store(number));
    }
    /// The stores that stand in so many loops, with their numbers.
    fn stores_of(&self, depth: usize) -> impl Iterator<Item = (usize, &Store)> {
        let stores = self.kernel.stores.iter().enumerate();
        stores.zip(&self.facts.depths).filter(move |(_, its)| **its == depth).map(|(store, _)| store)
    }
}
