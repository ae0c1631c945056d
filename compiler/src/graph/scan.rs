//! Builds recurrences: the body is built beside all else, then cut out of the graph.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Builder, Graph, Output, OutputRole, Value, Var};
use crate::index::{Id, IndexVec};
use crate::ops::{Op, Role, Scan, ScanResult, Source};
use crate::types::Dim;

/// A recurrence under construction, on a builder.
///
/// [`Recurrence::state`] and [`Recurrence::element`] give the values that one step computes with; whatever is built
/// from them is the body. What does not depend on them is computed once, outside.
///
/// ```
/// # #[cfg(feature = "internals")] {
/// use netc::graph::{Builder, Recurrence};
/// use netc::ops::Role;
/// use netc::types::{Dim, TensorType};
///
/// let builder = Builder::default();
/// let xs = builder.source(Role::Input, "xs", TensorType::f32([Dim::axis("T"), Dim::batch()]));
/// let zero = builder.constant(0.0, TensorType::f32([Dim::batch()]));
/// let mut sum = Recurrence::new(&builder, Dim::axis("T"), false);
/// let (before, x) = (sum.state("sum", zero), sum.element("x", xs));
/// sum.set_next(0, before + x);
/// let results = sum.finish(&[before + x]);
/// assert_eq!(results.last[0].ty().to_string(), "f32[B]");
/// assert_eq!(results.each[0].ty().to_string(), "f32[T, B]");
/// # }
/// ```
#[derive(Debug)]
pub struct Recurrence<'b> {
    builder: &'b Builder,
    steps: Dim,
    reverse: bool,
    states: Vec<Carried<'b>>,
    elements: Vec<(Var<'b>, Var<'b>)>,
}

#[derive(Debug)]
struct Carried<'b> {
    previous: Var<'b>,
    next: Option<Var<'b>>,
    initial: Var<'b>,
}

/// What a recurrence gives.
#[derive(Debug, Clone)]
pub struct Results<'b> {
    /// Each state after all steps.
    pub last: Vec<Var<'b>>,
    /// Each value asked for at every step, `[steps, …]`.
    pub each: Vec<Var<'b>>,
}

impl<'b> Recurrence<'b> {
    pub fn new(builder: &'b Builder, steps: Dim, reverse: bool) -> Self {
        Recurrence { builder, steps, reverse, states: Vec::new(), elements: Vec::new() }
    }
    /// A state that begins as `initial`: its value before the step. Says its next one with [`Recurrence::set_next`].
    pub fn state(&mut self, name: &str, initial: Var<'b>) -> Var<'b> {
        let previous = self.builder.source(Role::Local, name, initial.ty());
        self.states.push(Carried { previous, next: None, initial });
        previous
    }
    /// The element of `sequence`, whose first axis are the steps, at the present step.
    pub fn element(&mut self, name: &str, sequence: Var<'b>) -> Var<'b> {
        let ty = sequence.ty();
        assert_eq!(ty.shape.first(), Some(&self.steps), "`{name}` has no element for each step: {ty}");
        let element = self.builder.source(Role::Local, name, ty.with_shape(ty.shape[1..].to_vec()));
        self.cut(element, sequence);
        element
    }
    /// Whether `value` depends on a state or an element.
    pub fn varies(&self, value: Var<'b>) -> bool {
        let own: Vec<Value> = (self.states.iter().map(|state| state.previous.id))
            .chain(self.elements.iter().map(|(element, _)| element.id))
            .collect();
        depends_on(self.builder, value.id, &own)
    }
    /// Whether `value` depends on a state.
    pub fn recurs(&self, value: Var<'b>) -> bool {
        let own: Vec<Value> = self.states.iter().map(|state| state.previous.id).collect();
        depends_on(self.builder, value.id, &own)
    }
    /// Takes the element of `sequence` for `value`, instead of computing it in the body.
    pub fn cut(&mut self, value: Var<'b>, sequence: Var<'b>) {
        self.elements.push((value, sequence));
    }
    /// The value of a state, by its number, after the step.
    pub fn set_next(&mut self, state: usize, next: Var<'b>) {
        self.states[state].next = Some(next);
    }
    /// Cuts the body out. A state without a next value stays as it is.
    pub fn finish(mut self, each: &[Var<'b>]) -> Results<'b> {
        let next = |state: &Carried<'b>| state.next.unwrap_or(state.previous).id;
        let nexts: Vec<Value> = self.states.iter().map(next).collect();
        let wanted: Vec<Value> = each.iter().map(|var| var.id).chain(nexts.iter().copied()).collect();
        let previous: Vec<Value> = self.states.iter().map(|state| state.previous.id).collect();
        let elements: Vec<Value> = self.elements.iter().map(|(element, _)| element.id).collect();
        let Body { mut graph, new, elements, invariants } =
            self.builder.with_graph(|graph| Body::cut(graph, &previous, elements, &wanted));
        self.elements.retain(|(element, _)| elements.contains(&element.id));
        for (at, next) in nexts.iter().enumerate() {
            let name = source_name(&graph, at);
            graph.outputs.push(Output { role: OutputRole::Update, name, value: new[next] });
        }
        let args: Vec<Var<'b>> = (self.states.iter().map(|state| state.initial))
            .chain(self.elements.iter().map(|(_, sequence)| *sequence))
            .chain(invariants.into_iter().map(|value| self.builder.var(value)))
            .collect();
        let body = Arc::new(graph);
        let scan = |result| Scan {
            body: body.clone(),
            steps: self.steps.clone(),
            states: self.states.len(),
            sequences: self.elements.len(),
            reverse: self.reverse,
            result,
        };
        let last = (0..self.states.len()).map(|state| self.builder.emit(scan(ScanResult::Final(state)), &args));
        let last = last.collect();
        let each = each.iter().map(|var| self.builder.emit(scan(ScanResult::Each(new[&var.id])), &args)).collect();
        Results { last, each }
    }
}

/// The graph without what the bodies of its recurrences were cut out of.
pub fn without_bodies(graph: Graph) -> Graph {
    let is_local = |op: &Op| matches!(op, Op::Source(source) if source.role == Role::Local);
    let mut is_body = IndexVec::filled(false, graph.len());
    for (value, node) in graph.nodes() {
        is_body[value] = is_local(&node.op) || node.args.iter().any(|&arg| is_body[arg]);
    }
    if !is_body.values().any(|&body| body) {
        return graph;
    }
    let mut rest = graph.successor();
    let mut new = BTreeMap::new();
    for (value, node) in graph.nodes().filter(|(value, _)| !is_body[*value]) {
        let args: Vec<Value> = node.args.iter().map(|arg| new[arg]).collect();
        let pushed = rest.push(node.op.clone(), &args, node.origin);
        new.insert(value, pushed.unwrap_or_else(|message| panic!("as well-typed as before: {message}")));
    }
    rest.outputs = graph.outputs.iter().map(|output| Output { value: new[&output.value], ..output.clone() }).collect();
    rest
}

/// Whether `value` is computed from one of `sources`.
fn depends_on(builder: &Builder, value: Value, sources: &[Value]) -> bool {
    let Some(first) = sources.iter().min() else { return false };
    builder.with_graph(|graph| {
        let mut open = vec![value];
        let mut seen = BTreeSet::new();
        while let Some(value) = open.pop() {
            if sources.contains(&value) {
                return true;
            }
            if value > *first && seen.insert(value) {
                open.extend(&graph.node(value).args);
            }
        }
        false
    })
}

fn source_name(body: &Graph, at: usize) -> String {
    let mut sources = body.nodes().filter_map(|(_, node)| match &node.op {
        Op::Source(source) => Some(&source.name),
        _ => None,
    });
    sources.nth(at).expect("a source for each state").clone()
}

/// A part of a graph as a graph of its own.
struct Body {
    graph: Graph,
    /// The values that were asked for, and all in between, in the new graph.
    new: BTreeMap<Value, Value>,
    /// Those of the elements that it reads.
    elements: Vec<Value>,
    /// What the part reads from outside, in the order of its last sources.
    invariants: Vec<Value>,
}

impl Body {
    fn cut(graph: &Graph, states: &[Value], mut elements: Vec<Value>, wanted: &[Value]) -> Body {
        let given: Vec<Value> = states.iter().chain(&elements).copied().collect();
        let mut varies = IndexVec::filled(false, graph.len());
        let first = given.iter().copied().min().map_or(graph.len(), Id::index);
        for &value in &given {
            varies[value] = true;
        }
        for (value, node) in graph.nodes().skip(first) {
            varies[value] |= node.args.iter().any(|&arg| varies[arg]);
        }
        let mut needed = IndexVec::filled(false, graph.len());
        wanted.iter().for_each(|&value| needed[value] = true);
        let mut invariants = Vec::new();
        for (value, node) in graph.nodes().rev() {
            if !needed[value] || given.contains(&value) {
                continue;
            }
            if varies[value] || costs_nothing(&node.op) {
                node.args.iter().for_each(|&arg| needed[arg] = true);
            } else {
                invariants.push(value);
            }
        }
        invariants.reverse();
        elements.retain(|&element| needed[element]);

        let mut body = graph.successor();
        let mut new = BTreeMap::new();
        let mut names: Vec<String> = Vec::new();
        for &value in states.iter().chain(&elements).chain(&invariants) {
            let node = graph.node(value);
            let base = match &node.op {
                Op::Source(source) => source.name.clone(),
                _ => node.origin.map_or_else(|| "value".to_owned(), |origin| graph.origin_path(origin).to_owned()),
            };
            let mut numbered = (2..).map(|number| format!("{base}.{number}"));
            let free = |name: &String| !names.contains(name);
            let name = Some(base.clone()).filter(free).or_else(|| numbered.find(free)).expect("numbers do not end");
            names.push(name.clone());
            let source = Source { role: Role::Local, name, ty: node.ty.clone() };
            let source = body.push(source.into(), &[], None).expect("a source is well-typed");
            new.entry(value).or_insert(source);
        }
        for (value, node) in graph.nodes().filter(|(value, _)| needed[*value]) {
            if new.contains_key(&value) {
                continue;
            }
            let args: Vec<Value> = node.args.iter().map(|arg| new[arg]).collect();
            let pushed = body.push(node.op.clone(), &args, node.origin);
            new.insert(
                value,
                pushed.unwrap_or_else(|message| panic!("a body is as well-typed as its graph: {message}")),
            );
        }
        Body { graph: body, new, elements, invariants }
    }
}

/// Made again in the body rather than handed in.
fn costs_nothing(op: &Op) -> bool {
    matches!(
        op,
        Op::Constant(_)
            | Op::Iota(_)
            | Op::SizeOf(_)
            | Op::Broadcast(_)
            | Op::Reshape(_)
            | Op::Transpose(_)
            | Op::Slice(_)
    )
}
