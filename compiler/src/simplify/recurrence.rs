//! Recurrences with the same meaning and less work a step. In the order in which they run:
//!
//! - `split`: the product of a join, `[x, h] @ W`, becomes the sum of the parts' products;
//! - `merge`: products of one operand become one product: an LSTM's four gates are one matrix;
//! - `hoist`: what depends on no state is computed before the loop, for all steps at once;
//! - `sink` (after differentiation): what no state depends on is computed after the loop, for all steps at once; a sum
//!   over steps, such as a weight's gradient, becomes one product;
//! - `rotate`: a step that would end with a product begins with it, so that the rest can be its epilogue.

mod hoist;
mod lift;
mod merge;
mod rotate;
mod sink;
mod split;

use std::collections::{BTreeMap, BTreeSet};

use super::Gradients;
use crate::graph::{Builder, Graph, Output, OutputRole, Recurrence, Value, Var};
use crate::index::{Id, IndexVec};
use crate::ops::{Constant, Op, Scan, ScanResult};
use crate::types::Dim;

pub use hoist::hoist;
use lift::Lifted;
pub use merge::merge;
pub use rotate::rotate;
pub use sink::sink;
pub use split::split;

/// All that is done to recurrences before they are differentiated.
pub fn before_gradient(graph: &Graph) -> Graph {
    if !has_recurrence(graph) {
        return graph.clone();
    }
    let simple = |graph: &Graph| {
        let all = super::simplify_for(graph, Gradients::Ahead);
        super::simplify_for(&bodies_for(&all, Gradients::Ahead), Gradients::Ahead)
    };
    let graph = simple(graph);
    let graph = simple(&split(&graph));
    let graph = simple(&merge(&graph));
    simple(&sink(&hoist(&graph)))
}

/// All that is done to them afterwards.
pub fn after_gradient(graph: &Graph) -> Graph {
    if !has_recurrence(graph) {
        return graph.clone();
    }
    let simple = |graph: &Graph| super::simplify(&bodies(&super::simplify(graph)));
    simple(&rotate(&simple(&sink(&simple(graph)))))
}

fn has_recurrence(graph: &Graph) -> bool {
    graph.nodes().any(|(_, node)| matches!(node.op, Op::Scan(_)))
}

/// Simplifies the bodies, and drops states and arguments that no result needs.
pub fn bodies(graph: &Graph) -> Graph {
    bodies_for(graph, Gradients::Derived)
}

fn bodies_for(graph: &Graph, gradients: Gradients) -> Graph {
    rewrite(graph, |mut parts| {
        parts.body = super::simplify_for(&parts.with_constants(), gradients);
        parts.build(&BTreeMap::new())
    })
}

/// A recurrence taken apart, in a graph that is being rebuilt.
#[derive(Clone)]
struct Loop<'b> {
    builder: &'b Builder,
    steps: Dim,
    reverse: bool,
    /// Its outputs are the next states, then what is wanted at every step.
    body: Graph,
    /// The arguments, each by the name of its source in the body.
    states: Vec<(String, Var<'b>)>,
    sequences: Vec<(String, Var<'b>)>,
    invariants: Vec<(String, Var<'b>)>,
    results: Vec<Wanted>,
}

/// A result that the graph reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// The state of this number after all steps.
    Final(usize),
    /// The output of the body of this number at every step.
    Each(usize),
}

/// What a value of a body depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// The same at every step.
    Invariant,
    /// On sequences, but on no state.
    Sequence,
    Stateful,
}

/// Rebuilds a graph; `pass` makes each recurrence anew, and returns its results in their order.
fn rewrite(graph: &Graph, pass: impl for<'b> Fn(Loop<'b>) -> Vec<Var<'b>>) -> Graph {
    let builder = Builder::from_graph(graph.successor());
    let mut new: IndexVec<Value, Option<Value>> = IndexVec::filled(None, graph.len());
    for (value, node) in graph.nodes() {
        if new[value].is_some() {
            continue;
        }
        builder.set_origin(node.origin);
        let args: Vec<Var<'_>> =
            node.args.iter().map(|&arg| builder.var(new[arg].expect("arguments come first"))).collect();
        let Op::Scan(scan) = &node.op else {
            new[value] = Some(builder.emit(node.op.clone(), &args).id);
            continue;
        };
        let results: Vec<(Value, ScanResult)> = graph
            .nodes()
            .skip(value.index())
            .filter(|(_, other)| other.args == node.args)
            .filter_map(|(value, other)| match &other.op {
                Op::Scan(other) if other.is_same_recurrence(scan) => Some((value, other.result)),
                _ => None,
            })
            .collect();
        let vars = pass(Loop::new(&builder, scan, &args, &results));
        for ((value, _), var) in results.iter().zip(vars) {
            new[*value] = Some(var.id);
        }
    }
    builder.set_origin(None);
    for output in &graph.outputs {
        builder.add_output(Output { value: new[output.value].expect("all are rebuilt"), ..output.clone() });
    }
    builder.finish()
}

impl<'b> Loop<'b> {
    fn new(builder: &'b Builder, scan: &Scan, args: &[Var<'b>], results: &[(Value, ScanResult)]) -> Self {
        let mut body = Graph::clone(&scan.body);
        let mut outputs: BTreeMap<Value, usize> = BTreeMap::new();
        let results = results
            .iter()
            .map(|(_, result)| match *result {
                ScanResult::Final(state) => Wanted::Final(state),
                ScanResult::Each(value) => Wanted::Each(*outputs.entry(value).or_insert_with(|| {
                    body.outputs.push(Output { role: OutputRole::Output, name: value.to_string(), value });
                    body.outputs.len() - 1
                })),
            })
            .collect();
        let mut named = scan.sources().map(|(_, source)| source.name.clone()).zip(args.iter().copied());
        Loop {
            builder,
            steps: scan.steps.clone(),
            reverse: scan.reverse,
            states: named.by_ref().take(scan.states).collect(),
            sequences: named.by_ref().take(scan.sequences).collect(),
            invariants: named.collect(),
            body,
            results,
        }
    }

    /// What each value of the body depends on.
    fn classes(&self) -> IndexVec<Value, Class> {
        let mut classes: IndexVec<Value, Class> = IndexVec::new();
        for (_, node) in self.body.nodes() {
            let class = match &node.op {
                Op::Source(source) if position(&self.states, &source.name).is_some() => Class::Stateful,
                Op::Source(source) if position(&self.sequences, &source.name).is_some() => Class::Sequence,
                _ => node.args.iter().map(|&arg| classes[arg]).max().unwrap_or(Class::Invariant),
            };
            classes.push(class);
        }
        classes
    }
    /// The body, in which arguments that are one number everywhere are that number.
    fn with_constants(&self) -> Graph {
        let number = |name: &str| {
            let named = self.sequences.iter().chain(&self.invariants).find(|(known, _)| known == name)?;
            self.builder.with_node(named.1.id, |node| match &node.op {
                Op::Constant(constant) => Some(constant.value),
                _ => None,
            })
        };
        let mut body = self.body.successor();
        for (_, node) in self.body.nodes() {
            let op = match &node.op {
                Op::Source(source) => match number(&source.name) {
                    Some(value) => Constant { value, ty: source.ty.clone() }.into(),
                    None => node.op.clone(),
                },
                op => op.clone(),
            };
            body.push(op, &node.args, node.origin).expect("of the same types as before");
        }
        body.outputs.clone_from(&self.body.outputs);
        body
    }
    /// The same recurrence, of which less is wanted.
    fn with_results(&self, results: Vec<Wanted>) -> Self {
        Loop { results, ..self.clone() }
    }
    /// What the source of that name stands for, outside of the loop.
    fn argument(&self, name: &str) -> Lifted<'b> {
        let find = |named: &[(String, Var<'b>)]| position(named, name).map(|at| named[at].1);
        let same = find(&self.invariants).map(Lifted::Same);
        let argument = find(&self.sequences).map(Lifted::Each).or(same);
        argument.unwrap_or_else(|| panic!("`{name}` is no argument that is known before the loop"))
    }
    fn next(&self, state: usize) -> Value {
        self.body.outputs[state].value
    }
    /// The body's source for a state, unless nothing reads it.
    fn source(&self, name: &str) -> Option<Value> {
        let mut nodes = self.body.nodes();
        nodes.find(|(_, node)| matches!(&node.op, Op::Source(source) if source.name == name)).map(|(value, _)| value)
    }
    /// The states and values that the results at hand need; what was computed outside needs nothing.
    fn needed(&self, wanted: &[Wanted], outside: &BTreeMap<Value, Var<'b>>) -> (BTreeSet<usize>, BTreeSet<Value>) {
        let (mut states, mut values) = (BTreeSet::new(), BTreeSet::new());
        let mut open: Vec<Value> = Vec::new();
        for wanted in wanted {
            match *wanted {
                Wanted::Final(state) => {
                    states.insert(state);
                    open.push(self.next(state));
                }
                Wanted::Each(output) => open.push(self.body.outputs[output].value),
            }
        }
        while let Some(value) = open.pop() {
            if !values.insert(value) || outside.contains_key(&value) {
                continue;
            }
            let node = self.body.node(value);
            open.extend(&node.args);
            if let Op::Source(source) = &node.op
                && let Some(state) = position(&self.states, &source.name)
                && states.insert(state)
            {
                open.push(self.next(state));
            }
        }
        (states, values)
    }

    /// The recurrence as it is, but that the values of `outside` are elements of sequences. Its results, in order.
    fn build(&self, outside: &BTreeMap<Value, Var<'b>>) -> Vec<Var<'b>> {
        let builder = self.builder;
        let (states, values) = self.needed(&self.results, outside);
        let outer = builder.set_origin(None);
        let mut recurrence = Recurrence::new(builder, self.steps.clone(), self.reverse);
        let mut new: BTreeMap<Value, Var<'b>> = BTreeMap::new();
        for &state in &states {
            let (name, initial) = &self.states[state];
            let previous = recurrence.state(name, *initial);
            if let Some(source) = self.source(name) {
                new.insert(source, previous);
            }
        }
        for (value, node) in self.body.nodes().filter(|(value, _)| values.contains(value)) {
            if let Some(&sequence) = outside.get(&value) {
                new.insert(value, recurrence.element("x", sequence));
                continue;
            }
            let var = match &node.op {
                Op::Source(source) => match position(&self.sequences, &source.name) {
                    Some(at) => recurrence.element(&source.name, self.sequences[at].1),
                    None if new.contains_key(&value) => continue,
                    None => self.argument(&source.name).var(),
                },
                op => {
                    let args: Vec<Var<'b>> = node.args.iter().map(|arg| new[arg]).collect();
                    builder.set_origin(node.origin);
                    builder.emit(op.clone(), &args)
                }
            };
            new.insert(value, var);
        }
        for (number, &state) in states.iter().enumerate() {
            recurrence.set_next(number, new[&self.next(state)]);
        }
        let each: Vec<Value> = (self.results.iter())
            .filter_map(|wanted| match *wanted {
                Wanted::Each(output) => Some(self.body.outputs[output].value),
                Wanted::Final(_) => None,
            })
            .collect();
        builder.set_origin(outer);
        let results = recurrence.finish(&each.iter().map(|value| new[value]).collect::<Vec<_>>());
        let mut each = results.each.into_iter();
        let number = |state: usize| states.iter().position(|&known| known == state).expect("a wanted state is needed");
        (self.results.iter())
            .map(|wanted| match *wanted {
                Wanted::Final(state) => results.last[number(state)],
                Wanted::Each(_) => each.next().expect("one for each"),
            })
            .collect()
    }
}

fn position(named: &[(String, Var<'_>)], name: &str) -> Option<usize> {
    named.iter().position(|(known, _)| known == name)
}
