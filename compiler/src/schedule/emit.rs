//! One step for each root: a loop nest, or a library call with its epilogue.

use super::Manner;
use super::algorithm::Algorithms;
use super::call;
use super::collapse::{collapse, collapse_all, share};
use super::fusion::Fusion;
use super::lowering::Lowering;
use super::order::Order;
use super::roots::{Roots, is_position};
use super::storage::{Storage, Target};
use super::view;
use crate::graph::{Graph, Node, Value};
use crate::index::IndexVec;
use crate::kernel::{Address, BufferInfo, Expr, Home, Int, Kernel, Program, Step, Store, View};
use crate::ops::{Convolution, Kept, Op};
use crate::types::{Dim, Symbol};

pub(super) fn steps(
    graph: &Graph,
    roots: &Roots,
    orders: &IndexVec<Value, Order>,
    fusion: &Fusion,
    storage: &Storage,
    manner: Manner<'_>,
    program: &mut Program,
) -> Vec<Step> {
    let Manner { algorithms, collapses } = manner;
    let cx = Cx { collapses, algorithms, graph, roots, orders, fusion, storage };
    let mut all = Vec::new();
    for (&index, view) in &storage.kept {
        let output = &graph.outputs[index];
        let (shape, order) = (&graph.ty(output.value).shape, &orders[output.value]);
        let name = format!("{} (kept)", output.name);
        let kernel = cx.loops(&name, shape, order, view, |cx, index| cx.element(output.value, index));
        all.push(Step::Loop(kernel));
    }
    for (value, _) in graph.nodes() {
        // A contraction that carries a root's expression is emitted at the root, when all it reads is there.
        if !roots.live[value] || !roots.is_root[value] || fusion.root_of(value).is_some() {
            continue;
        }
        let steps = cx.root(value, program, roots.prepared[value]);
        let list = if roots.prepared[value] { &mut program.prepare } else { &mut all };
        list.extend(steps);
    }
    for (index, target) in &storage.copies {
        let output = &graph.outputs[*index];
        let shape = &graph.ty(output.value).shape;
        let name = format!("{} (copy)", output.name);
        let Target { view, order } = target;
        let kernel = cx.loops(&name, shape, order, view, |cx, at| match storage.kept.get(index) {
            Some(kept) => cx.element_of(kept, at),
            None => cx.element(output.value, at),
        });
        all.push(Step::Loop(kernel));
    }
    all
}

pub(super) struct Cx<'a> {
    /// Whether loops over memory that lies together become one.
    collapses: bool,
    pub(super) algorithms: &'a Algorithms,
    pub(super) graph: &'a Graph,
    pub(super) roots: &'a Roots,
    orders: &'a IndexVec<Value, Order>,
    fusion: &'a Fusion,
    pub(super) storage: &'a Storage,
}

impl Cx<'_> {
    fn root(&self, value: Value, program: &mut Program, prepared: bool) -> Vec<Step> {
        let node = self.graph.node(value);
        let name = self.name(value);
        match &node.op {
            // With the convolution that keeps the largest.
            op if is_position(op) => Vec::new(),
            op if call::layouts(op).is_some() => self.call(value, None, prepared, program),
            Op::Concat(concat) => self.parts(value, concat.axis, &name),
            Op::Scan(_) => match self.storage.recurrence(value) {
                Some(placed) => vec![self.recurrence(value, placed, &name, program)],
                // With the first result of its recurrence.
                None => Vec::new(),
            },
            _ => {
                let target = self.storage.operand(value);
                let mut steps = Vec::new();
                if let Some(contraction) = self.fusion.contraction_of(value) {
                    let epilogue = self.epilogue(value, target, &name);
                    let is_fused = epilogue.is_some();
                    steps = self.call(contraction, epilogue, prepared, program);
                    if is_fused {
                        return steps;
                    }
                }
                let kernel = self.loops(&name, &node.ty.shape, &self.orders[value], target, rule(node));
                steps.push(Step::Loop(kernel));
                steps
            }
        }
    }

    /// A library call, after copies of what it cannot read as it lies.
    fn call(&self, value: Value, epilogue: Option<Kernel>, prepared: bool, program: &mut Program) -> Vec<Step> {
        let node = self.graph.node(value);
        let layouts = call::layouts(&node.op).unwrap_or_else(|| panic!("no library call: {node:?}"));
        let mut steps = Vec::new();
        let operands = [0, 1].map(|i| {
            let (arg, layout) = (node.args[i], layouts[i]);
            let ty = self.graph.ty(arg);
            let view = self.storage.operand(arg);
            if layout.accepts(&ty.shape, view) {
                return view.clone();
            }
            let name = format!("{} (copy)", self.name(arg));
            let home = if prepared { Home::Prepared } else { Home::Workspace };
            let info = BufferInfo { name: name.clone(), element: ty.element, len: ty.n_elements(), home };
            let order = layout.order(ty.rank());
            let copy = View::whole(program.buffers.push(info), view::strides(&ty.shape, &order));
            let kernel = self.loops(&name, &ty.shape, &order, &copy, |cx, index| cx.element(arg, index));
            steps.push(Step::Loop(kernel));
            copy
        });
        let result = self.storage.operand(value).clone();
        let mut call = call::call(self.graph, value, operands, result, epilogue, self.algorithms, program);
        if let Step::Conv(call) = &mut call {
            call.positions = self.positions(value).map(|positions| self.storage.operand(positions).clone());
        }
        steps.push(call);
        steps
    }

    /// What says which neighbors a convolution keeps, where it keeps the largest.
    fn positions(&self, largest: Value) -> Option<Value> {
        let node = self.graph.node(largest);
        let Op::Convolution(convolution) = &node.op else { return None };
        let op: Op = Convolution { keeps: Kept::Position, ..convolution.clone() }.into();
        let is_it = |value: Value, other: &Node| self.roots.live[value] && other.op == op && other.args == node.args;
        let mut others = self.graph.nodes().filter(|_| convolution.keeps == Kept::Largest);
        others.find(|&(value, other)| is_it(value, other)).map(|(value, _)| value)
    }

    /// Copies the parts of a join that were not written in place.
    fn parts(&self, whole: Value, axis: usize, name: &str) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut start = 0;
        for &part in &self.graph.node(whole).args {
            let shape = &self.graph.ty(part).shape;
            let target = view::slice(self.storage.operand(whole), axis, start);
            let target = target.expect("joins along an axis of fixed sizes");
            if self.storage.view(part) != Some(&target) {
                let rule = |cx: &mut Lowering<'_>, index: &[Int]| cx.element(part, index);
                steps.push(Step::Loop(self.loops(name, shape, &self.orders[whole], &target, rule)));
            }
            start += shape[axis].factor();
        }
        steps
    }

    /// A loop nest over `shape`, axes in `order`, that stores what `element` says.
    pub(super) fn loops(
        &self,
        name: &str,
        shape: &[Dim],
        order: &[usize],
        target: &View,
        element: impl Fn(&mut Lowering<'_>, &[Int]) -> Expr,
    ) -> Kernel {
        let mut kernel = self.nest(name, shape, order, target, false, element);
        match self.collapses {
            true => collapse_all(&mut kernel),
            false => share(&mut kernel),
        }
        kernel
    }

    /// The elementwise tail of a contraction, over its rows and columns; `None` when something that it reads
    /// does not lie in the same rows (it then follows the call, in place).
    fn epilogue(&self, root: Value, target: &View, name: &str) -> Option<Kernel> {
        let node = self.graph.node(root);
        let mut kernel = self.nest(name, &node.ty.shape, &self.orders[root], target, true, rule(node));
        let rows = kernel.domain.len() - 1;
        collapse(&mut kernel, 0..rows);
        (kernel.domain.len() == 2).then_some(kernel)
    }

    fn nest(
        &self,
        name: &str,
        shape: &[Dim],
        order: &[usize],
        target: &View,
        keep_ones: bool,
        element: impl Fn(&mut Lowering<'_>, &[Int]) -> Expr,
    ) -> Kernel {
        let mut cx = Lowering::new(self.graph, self.storage, name);
        let zero = cx.int_const(0);
        let mut index = vec![zero; shape.len()];
        for &axis in order {
            if keep_ones || !shape[axis].is_one() {
                let at = cx.axis(shape[axis].clone());
                cx.kernel.domain.push(at);
                index[axis] = cx.int_axis(at);
            }
        }
        let value = element(&mut cx, &index);
        let terms = index.iter().copied().zip(target.strides.iter().cloned()).filter(|(int, _)| *int != zero);
        let at = Address { offset: target.offset.clone(), terms: terms.collect() };
        cx.kernel.stores.push(Store { buffer: target.buffer, at, value, streamed: None });
        cx.kernel
    }

    fn name(&self, value: Value) -> String {
        let node = self.graph.node(value);
        node.origin.map_or_else(|| value.to_string(), |origin| self.graph.origin_path(origin).to_owned())
    }
}

/// The element rule of a node that has one.
fn rule(node: &Node) -> impl Fn(&mut Lowering<'_>, &[Int]) -> Expr {
    move |cx, index| {
        let element = node.op.element(cx, &node.args, index);
        element.unwrap_or_else(|| panic!("no element rule: {node:?}"))
    }
}

/// Declares every named size that a step mentions, those that others derive from first.
pub(super) fn declare_symbols(program: &mut Program) {
    let mut symbols: Vec<Symbol> = Vec::new();
    for (_, buffer) in program.buffers.iter() {
        declare(&buffer.len, &mut symbols);
    }
    for step in program.all_steps() {
        step.for_each_dim(&mut |dim| declare(dim, &mut symbols));
    }
    program.symbols = symbols;
}

fn declare(dim: &Dim, symbols: &mut Vec<Symbol>) {
    for symbol in dim.symbols() {
        if symbols.contains(symbol) {
            continue;
        }
        if let Symbol::Derived(derived) = symbol {
            declare(&derived.of, symbols);
        }
        symbols.push(symbol.clone());
    }
}
