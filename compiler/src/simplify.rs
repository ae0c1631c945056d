//! Graph to Graph with the same meaning and less work: algebra, folding, common subexpressions, dead code.
//!
//! The laws of real numbers hold, not quite those of floats: zeros lose their sign, and sums may be
//! reassociated where that saves work. NaN and infinities stay.

mod algebra;
mod folding;
pub mod recurrence;
mod shapes;
pub mod tables;

use std::collections::BTreeMap;

use crate::graph::{Arguments, Graph, Node, Origin, Output, Value};
use crate::index::IndexVec;
use crate::ops::{Broadcast, Constant, Op, Reshape, SizeOf};
use crate::types::{Dim, TensorType};

/// Rewriting again after this many rounds has never paid.
const MAX_ROUNDS: usize = 4;

/// The same outputs from fewer nodes. Sources that nothing needs are gone.
pub fn simplify(graph: &Graph) -> Graph {
    simplify_for(graph, Gradients::Derived)
}

/// Whether gradients have been derived: what keeps them from flowing matters until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gradients {
    Ahead,
    Derived,
}

fn simplify_for(graph: &Graph, gradients: Gradients) -> Graph {
    let (mut simple, mut changed) = rebuild(graph, gradients);
    for _ in 1..MAX_ROUNDS {
        if !changed {
            break;
        }
        (simple, changed) = rebuild(&simple, gradients);
    }
    if cfg!(debug_assertions) {
        simple.verify();
    }
    simple
}

/// One pass: what is live, rewritten, arguments before users. Also whether a rule applied: a pass in which none
/// did has left nothing to do, not even dead code.
fn rebuild(graph: &Graph, gradients: Gradients) -> (Graph, bool) {
    let live = live(graph);
    let mut cx = Rewriter { graph: graph.successor(), gradients, known: BTreeMap::new(), origin: None, changed: false };
    let mut new: IndexVec<Value, Option<Value>> = IndexVec::filled(None, graph.len());
    let renamed =
        |new: &IndexVec<Value, Option<Value>>, old: Value| new[old].expect("arguments of live nodes are live");
    for (value, node) in graph.nodes().filter(|(value, _)| live[*value]) {
        let args: Arguments = node.args.iter().map(|&arg| renamed(&new, arg)).collect();
        cx.origin = node.origin;
        new[value] = Some(cx.apply(node.op.clone(), args));
    }
    let rename = |output: &Output| Output { value: renamed(&new, output.value), ..output.clone() };
    cx.graph.outputs = graph.outputs.iter().map(rename).collect();
    (cx.graph, cx.changed)
}

/// Which values an output needs.
fn live(graph: &Graph) -> IndexVec<Value, bool> {
    let mut live = IndexVec::filled(false, graph.len());
    for output in &graph.outputs {
        live[output.value] = true;
    }
    for (value, node) in graph.nodes().rev() {
        if live[value] {
            node.args.iter().for_each(|&arg| live[arg] = true);
        }
    }
    live
}

/// The graph under construction. Its nodes differ from each other and no rule applies to them.
struct Rewriter {
    graph: Graph,
    gradients: Gradients,
    known: BTreeMap<(Arguments, Op), Value>,
    /// What the node being rewritten was made for.
    origin: Option<Origin>,
    /// Whether a rule applied, or two nodes became one.
    changed: bool,
}

impl Rewriter {
    /// The value of `op` of `args`, by the fewest nodes that a rule knows.
    fn apply(&mut self, op: impl Into<Op>, args: impl AsRef<[Value]>) -> Value {
        let (op, mut args) = (op.into(), Arguments::from(args.as_ref()));
        algebra::order(self, &op, &mut args);
        let rules = [folding::fold, algebra::rewrite, shapes::rewrite];
        if let Some(value) = rules.iter().find_map(|rule| rule(self, &op, &args)) {
            self.changed = true;
            return value;
        }
        let key = (args, op);
        if let Some(&value) = self.known.get(&key) {
            self.changed = true;
            return value;
        }
        let pushed = self.graph.push(key.1.clone(), &key.0, self.origin);
        let value = pushed.unwrap_or_else(|message| panic!("a rule broke a type: {message}: {key:?}"));
        self.known.insert(key, value);
        value
    }
    fn node(&self, value: Value) -> &Node {
        self.graph.node(value)
    }
    fn ty(&self, value: Value) -> &TensorType {
        self.graph.ty(value)
    }
    /// The number that `value` is everywhere.
    fn constant_of(&self, value: Value) -> Option<f64> {
        match &self.node(value).op {
            Op::Constant(constant) => Some(constant.value),
            _ => None,
        }
    }
    fn constant(&mut self, value: f64, ty: TensorType) -> Value {
        self.apply(Constant { value, ty }, Vec::new())
    }
    /// The number of elements in `dims`, as a value of this shape.
    fn size(&mut self, dim: &Dim, shape: &[Dim]) -> Value {
        if let Some(n) = dim.as_fixed() {
            return self.constant(n as f64, TensorType::f32(shape.to_vec()));
        }
        let scalar = self.apply(SizeOf { dim: dim.clone() }, Vec::new());
        let single = self.apply(Reshape { to: vec![Dim::ONE; shape.len()] }, [scalar]);
        self.apply(Broadcast { to: shape.to_vec() }, [single])
    }
}
