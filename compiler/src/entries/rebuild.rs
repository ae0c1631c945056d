//! Building a graph anew, with some nodes replaced.

use crate::graph::{Builder, Graph, Node, Output, Value, Var};
use crate::index::IndexVec;
use crate::ops::{Op, Role};

/// The graph built anew on `builder`, and its values there. Where `replace` gives a value for a node, it takes the node's
/// place; it is told the node and its new arguments.
pub(super) fn rebuild<'b>(
    builder: &'b Builder,
    graph: &Graph,
    mut replace: impl FnMut(Value, &Node, &[Var<'b>]) -> Option<Var<'b>>,
) -> IndexVec<Value, Var<'b>> {
    let mut new: IndexVec<Value, Var<'b>> = IndexVec::new();
    for (value, node) in graph.nodes() {
        let args: Vec<Var<'b>> = node.args.iter().map(|&arg| new[arg]).collect();
        builder.set_origin(node.origin);
        let var = replace(value, node, &args).unwrap_or_else(|| builder.emit(node.op.clone(), &args));
        new.push(var);
    }
    builder.set_origin(None);
    new
}

/// The outputs of the old graph, of their new values.
pub(super) fn add_outputs(builder: &Builder, graph: &Graph, new: &IndexVec<Value, Var<'_>>) {
    for output in &graph.outputs {
        builder.add_output(Output { value: new[output.value].id, ..output.clone() });
    }
}

/// A builder whose nodes may carry the origins of `graph`.
pub(super) fn successor(graph: &Graph) -> Builder {
    Builder::from_graph(graph.successor())
}

/// The number that a value is everywhere, as far as its own nodes tell.
pub(super) fn constant_of(graph: &Graph, value: Value) -> Option<f64> {
    let node = graph.node(value);
    match &node.op {
        Op::Constant(constant) => Some(constant.value),
        Op::Broadcast(_) | Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_) | Op::StopGradient(_) => {
            constant_of(graph, node.args[0])
        }
        _ => None,
    }
}

/// Which values an output needs.
pub(super) fn live(graph: &Graph) -> IndexVec<Value, bool> {
    let mut live = IndexVec::filled(false, graph.len());
    graph.outputs.iter().for_each(|output| live[output.value] = true);
    for (value, node) in graph.nodes().rev() {
        if live[value] {
            node.args.iter().for_each(|&arg| live[arg] = true);
        }
    }
    live
}

/// The graph without what no output needs.
pub(super) fn pruned(graph: &Graph) -> Graph {
    let (live, mut pruned) = (live(graph), graph.successor());
    let mut new: IndexVec<Value, Option<Value>> = IndexVec::filled(None, graph.len());
    for (value, node) in graph.nodes().filter(|(value, _)| live[*value]) {
        let args: Vec<Value> =
            node.args.iter().map(|&arg| new[arg].expect("arguments of live nodes are live")).collect();
        let pushed = pruned.push(node.op.clone(), &args, node.origin);
        new[value] = Some(pushed.unwrap_or_else(|message| panic!("well-typed before: {message}: {node:?}")));
    }
    let outputs = graph.outputs.iter();
    pruned.outputs = outputs
        .map(|output| Output { value: new[output.value].expect("outputs are live"), ..output.clone() })
        .collect();
    pruned
}

/// Where a value was made: its layer's path, or what it is.
pub(super) fn place(graph: &Graph, value: Value) -> String {
    let node = graph.node(value);
    match (&node.op, node.origin) {
        (_, Some(origin)) => graph.origin_path(origin).to_owned(),
        (Op::Source(source), None) => source.name.clone(),
        _ => "value".to_owned(),
    }
}

/// Names that differ from each other: a number is added to the later ones.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<String>);

impl Names {
    /// Beside those of all sources that the graph is given from outside.
    pub(super) fn beside(graph: &Graph) -> Self {
        let names = graph.nodes().filter_map(|(_, node)| match &node.op {
            Op::Source(source) if source.role != Role::Local => Some(source.name.clone()),
            _ => None,
        });
        Names(names.collect())
    }
    pub(super) fn unique(&mut self, base: &str) -> String {
        let numbered = (2..).map(|number| format!("{base}.{number}"));
        let mut names = std::iter::once(base.to_owned()).chain(numbered);
        let name = names.find(|name| !self.0.contains(name)).expect("numbers do not end");
        self.0.push(name.clone());
        name
    }
}
