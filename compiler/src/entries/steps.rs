//! One step at a time: a forward graph as what is computed once, and what is computed at each step.
//!
//! A value is *stepped* when it depends on the steps of the axis. In the graph of a step the axis has length 1, and a
//! recurrence along it is its body, in a straight line. What stepped values read of all others is kept between the
//! calls, as the states of the recurrences are; what depends on parameters alone is computed where it is used.

mod last;
mod layout;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::carry::{self, Recurrence};
use super::rebuild::{Names, live, place, pruned, successor};
use crate::error::Error;
use crate::graph::{Builder, Graph, Node, Output, OutputRole, Value, Var};
use crate::index::IndexVec;
use crate::ops::{
    Broadcast, Constant, Convolution, Iota, Op, Pad, Random, Reshape, Role, Scan, ScanResult, SizeOf, Slice,
};
use crate::types::{Dim, TensorType};
use layout::Layout;

/// The two graphs; what [`Stepped::begin`] updates, [`Stepped::step`] has as sources of the role `Carry`.
#[derive(Debug)]
pub(super) struct Stepped {
    pub(super) begin: Graph,
    pub(super) step: Graph,
}

/// Splits a forward graph along an axis.
///
/// # Errors
/// When an output needs more of the sequence than one step and what came before it.
pub(super) fn split(graph: &Graph, axis: &str) -> Result<Stepped, Error> {
    let layouts = layout::of_graph(graph, axis);
    for output in &graph.outputs {
        if let Err(trouble) = &layouts[output.value] {
            let (layer, why) = (place(graph, trouble.at), trouble.why);
            return Err(Error::Unsupported(format!("`{layer}` cannot take one step of `{axis}` at a time: it {why}")));
        }
    }
    let recurrences = carry::recurrences(graph);
    let stepped = |value: Value| matches!(layouts[value], Ok(Layout::Along { .. } | Layout::Ended) | Err(_));
    let kept = kept(graph, &stepped);
    let mut cx = Splitter {
        graph,
        axis: Dim::axis(axis),
        recurrences,
        kept: BTreeMap::new(),
        needed: needed(graph, &Dim::axis(axis), &stepped, &kept),
    };
    cx.name_kept(&kept);
    Ok(Stepped { begin: cx.begin(&stepped), step: cx.step(&stepped) })
}

/// The values that are computed once, when the steps begin, should a step read them: all that depend on an input, but
/// views, which cost nothing.
fn kept(graph: &Graph, stepped: &impl Fn(Value) -> bool) -> IndexVec<Value, bool> {
    let mut depends = IndexVec::filled(false, graph.len());
    let mut kept = IndexVec::filled(false, graph.len());
    for (value, node) in graph.nodes() {
        depends[value] = match &node.op {
            Op::Source(source) => !matches!(source.role, Role::Param | Role::State),
            _ => node.args.iter().any(|&arg| depends[arg]),
        };
        let is_view = matches!(node.op, Op::Broadcast(_) | Op::Reshape(_) | Op::Transpose(_) | Op::StopGradient(_));
        kept[value] = depends[value] && !is_view && !stepped(value);
    }
    kept
}

/// What the graph of a step computes or reads.
fn needed(
    graph: &Graph,
    axis: &Dim,
    stepped: &impl Fn(Value) -> bool,
    kept: &IndexVec<Value, bool>,
) -> IndexVec<Value, bool> {
    let mut needed = IndexVec::filled(false, graph.len());
    for output in graph.outputs.iter().filter(|output| stepped(output.value)) {
        needed[output.value] = true;
    }
    for (value, node) in graph.nodes().rev() {
        if !needed[value] || kept[value] {
            continue;
        }
        match last::of(graph, value) {
            Some(x) => needed[x] = true,
            None => read_at_steps(node, axis).iter().for_each(|&arg| needed[arg] = true),
        }
    }
    needed
}

/// The arguments that each step reads: of a recurrence along the axis, not its first states.
fn read_at_steps<'g>(node: &'g Node, axis: &Dim) -> &'g [Value] {
    match &node.op {
        Op::Scan(scan) if scan.steps == *axis => &node.args[scan.states..],
        _ => &node.args,
    }
}

struct Splitter<'g> {
    graph: &'g Graph,
    axis: Dim,
    recurrences: Vec<Recurrence>,
    /// The names of the values that steps read, by the values.
    kept: BTreeMap<Value, String>,
    needed: IndexVec<Value, bool>,
}

impl Splitter<'_> {
    fn name_kept(&mut self, kept: &IndexVec<Value, bool>) {
        let mut names = Names::beside(self.graph);
        for name in self.recurrences.iter().flat_map(|recurrence| &recurrence.names) {
            names.unique(name);
        }
        let mut read = IndexVec::filled(false, self.graph.len());
        for (value, node) in self.graph.nodes().filter(|(value, _)| self.needed[*value] && !kept[*value]) {
            match last::of(self.graph, value) {
                Some(x) => read[x] = true,
                None => read_at_steps(node, &self.axis).iter().for_each(|&arg| read[arg] = true),
            }
        }
        for value in self.graph.nodes().map(|(value, _)| value).filter(|&value| read[value] && kept[value]) {
            let name = names.unique(&format!("begin.{}", place(self.graph, value)));
            self.kept.insert(value, name);
        }
    }

    fn recurrence(&self, value: Value) -> &Recurrence {
        let found = self.recurrences.iter().find(|recurrence| recurrence.results.contains(&value));
        found.unwrap_or_else(|| panic!("{value} is no recurrence"))
    }

    fn is_stepped_scan(&self, node: &Node) -> bool {
        matches!(&node.op, Op::Scan(scan) if scan.steps == self.axis)
    }

    /// The recurrences whose steps are taken one at a time.
    fn stepped_recurrences(&self) -> impl Iterator<Item = &Recurrence> {
        self.recurrences.iter().filter(|recurrence| {
            recurrence.scan.steps == self.axis && recurrence.results.iter().any(|&result| self.needed[result])
        })
    }

    /// The values that no step changes, the first states, and what steps read.
    fn begin(&self, stepped: &impl Fn(Value) -> bool) -> Graph {
        let mut begin = self.graph.clone();
        begin.outputs.retain(|output| !stepped(output.value));
        let update = |name: &String, value| Output { role: OutputRole::Update, name: name.clone(), value };
        begin.outputs.extend(self.kept.iter().map(|(&value, name)| update(name, value)));
        for recurrence in self.stepped_recurrences() {
            let states = recurrence.names.iter().zip(&recurrence.args);
            begin.outputs.extend(states.map(|(name, &value)| update(name, value)));
        }
        pruned(&begin)
    }

    fn step(&self, stepped: &impl Fn(Value) -> bool) -> Graph {
        let builder = successor(self.graph);
        let mut new: BTreeMap<Value, Var<'_>> = BTreeMap::new();
        let mut bodies: BTreeMap<Value, IndexVec<Value, Var<'_>>> = BTreeMap::new();
        let live = live(self.graph);
        for (value, node) in self.graph.nodes().filter(|(value, _)| self.needed[*value] && live[*value]) {
            builder.set_origin(node.origin);
            let ty = self.fixed_type(&node.ty);
            let var = if let Some(name) = self.kept.get(&value) {
                builder.source(Role::Carry, name, ty)
            } else if let Some(x) = last::of(self.graph, value) {
                new[&x].reshape(&ty.shape)
            } else if let (Op::Scan(scan), true) = (&node.op, self.is_stepped_scan(node)) {
                let recurrence = self.recurrence(value);
                let body = bodies
                    .entry(recurrence.results[0])
                    .or_insert_with(|| inline(&builder, recurrence, |arg| new[&arg]));
                match scan.result {
                    ScanResult::Final(state) => body[scan.body.outputs[state].value],
                    ScanResult::Each(value) => body[value].reshape(&ty.shape),
                }
            } else if let Op::Source(source) = &node.op {
                builder.source(source.role, &source.name, self.one_step(&node.ty)).reshape(&ty.shape)
            } else {
                let args: Vec<Var<'_>> = node.args.iter().map(|arg| new[arg]).collect();
                builder.emit(self.fixed_op(&node.op), &args)
            };
            new.insert(value, var);
        }
        builder.set_origin(None);
        for output in self.graph.outputs.iter().filter(|output| stepped(output.value)) {
            let shape = self.one_step(self.graph.ty(output.value)).shape;
            builder.add_output(Output { value: new[&output.value].reshape(&shape).id, ..output.clone() });
        }
        for recurrence in self.stepped_recurrences() {
            let body = &bodies[&recurrence.results[0]];
            for (name, next) in recurrence.names.iter().zip(&recurrence.scan.body.outputs) {
                let (name, value) = (name.clone(), body[next.value].id);
                builder.add_output(Output { role: OutputRole::Update, name, value });
            }
        }
        builder.finish()
    }

    /// The type of one step, without the axis.
    fn one_step(&self, ty: &TensorType) -> TensorType {
        let rest: Vec<Dim> = ty.shape.iter().filter(|dim| **dim != self.axis).cloned().collect();
        self.fixed_type(&ty.with_shape(rest))
    }

    fn fixed_type(&self, ty: &TensorType) -> TensorType {
        ty.with_shape(self.fixed_shape(&ty.shape))
    }

    fn fixed_shape(&self, shape: &[Dim]) -> Vec<Dim> {
        shape.iter().map(|dim| self.fixed(dim)).collect()
    }

    /// The size when the axis has length 1.
    fn fixed(&self, dim: &Dim) -> Dim {
        dim.divided_by(&self.axis).unwrap_or_else(|| dim.clone())
    }

    /// The operation when the axis has length 1.
    fn fixed_op(&self, op: &Op) -> Op {
        match op.clone() {
            Op::Constant(op) => Constant { ty: self.fixed_type(&op.ty), ..op }.into(),
            Op::Iota(op) => Iota { shape: self.fixed_shape(&op.shape), ..op }.into(),
            Op::SizeOf(op) => SizeOf { dim: self.fixed(&op.dim) }.into(),
            Op::Broadcast(op) => Broadcast { to: self.fixed_shape(&op.to) }.into(),
            Op::Reshape(op) => Reshape { to: self.fixed_shape(&op.to) }.into(),
            Op::Slice(op) => Slice { len: self.fixed(&op.len), ..op }.into(),
            Op::Pad(op) => Pad { len: self.fixed(&op.len), ..op }.into(),
            Op::Random(op) => Random { shape: self.fixed_shape(&op.shape), ..op }.into(),
            Op::Convolution(op) => Convolution { image: op.image.each_ref().map(|dim| self.fixed(dim)), ..op }.into(),
            Op::Scan(op) => {
                Scan { body: Arc::new(self.fixed_body(&op.body)), steps: self.fixed(&op.steps), ..op }.into()
            }
            op @ (Op::Source(_)
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Compare(_)
            | Op::Select(_)
            | Op::Convert(_)
            | Op::StopGradient(_)
            | Op::Reduce(_)
            | Op::Transpose(_)
            | Op::Concat(_)
            | Op::Gather(_)
            | Op::ScatterAdd(_)
            | Op::MatMul(_)
            | Op::WindowReduce(_)
            | Op::WindowArgMax(_)
            | Op::WindowSpread(_)) => op,
        }
    }

    /// The body of a recurrence along another axis, node by node.
    fn fixed_body(&self, body: &Graph) -> Graph {
        let mut fixed = body.successor();
        for (_, node) in body.nodes() {
            let op = match &node.op {
                Op::Source(source) => crate::ops::Source { ty: self.fixed_type(&source.ty), ..source.clone() }.into(),
                op => self.fixed_op(op),
            };
            let pushed = fixed.push(op, &node.args, node.origin);
            pushed.unwrap_or_else(|message| panic!("a fixed size broke a type: {message}: {node:?}"));
        }
        fixed.outputs.clone_from(&body.outputs);
        fixed
    }
}

/// The body of a recurrence as part of the graph: one step of it.
fn inline<'b>(
    builder: &'b Builder,
    recurrence: &Recurrence,
    new: impl Fn(Value) -> Var<'b>,
) -> IndexVec<Value, Var<'b>> {
    let Recurrence { scan, args, names, .. } = recurrence;
    let mut inlined: IndexVec<Value, Var<'b>> = IndexVec::new();
    let mut given =
        names.iter().map(|name| (name, None)).chain(args.iter().skip(names.len()).map(|&arg| (&names[0], Some(arg))));
    for (_, node) in scan.body.nodes() {
        let var = match &node.op {
            Op::Source(source) => match given.next().expect("a source for each argument") {
                (name, None) => builder.source(Role::Carry, name, source.ty.clone()),
                // A sequence has one step.
                (_, Some(arg)) => new(arg).reshape(&source.ty.shape),
            },
            op => {
                let args: Vec<Var<'b>> = node.args.iter().map(|&arg| inlined[arg]).collect();
                builder.emit(op.clone(), &args)
            }
        };
        inlined.push(var);
    }
    inlined
}
