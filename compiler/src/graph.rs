//! Graph: what is computed. A typed graph of primitives in topological order, and its builder.

pub mod build;
mod print;
mod scan;

pub use build::{Builder, Var};
pub use scan::{Recurrence, Results, without_bodies};

use std::sync::Arc;

use crate::diag::Message;
use crate::ensure;
use crate::index::{Few, IndexVec};
use crate::ops::Op;
use crate::types::{Dim, MAX_ELEMENTS, TensorType};

crate::new_id! {
    /// One node and its result; printed as `%7`.
    Value, "%"
}
crate::new_id! {
    /// What a node was made for: an entry of [`Graph::origins`], a layer's path.
    Origin, "@"
}

/// Invariants: arguments precede users; `ty` is what the type rule returned.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Graph {
    nodes: IndexVec<Value, Node>,
    /// Shared by the graphs that are rebuilt from each other.
    origins: Arc<IndexVec<Origin, String>>,
    /// What the caller receives, in the order of the entry's interface.
    pub outputs: Vec<Output>,
}

/// Most primitives have at most three arguments.
pub type Arguments = Few<Value>;

/// A primitive applied to earlier values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    pub op: Op,
    pub args: Arguments,
    pub ty: TensorType,
    /// The layer that asked for it; its gradient carries the same.
    pub origin: Option<Origin>,
}

/// A value that leaves the graph.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Output {
    pub role: OutputRole,
    /// The output's, metric's or parameter's name.
    pub name: String,
    pub value: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutputRole {
    /// A named output of the network.
    Output,
    Loss,
    Metric,
    /// The loss's gradient with respect to the parameter of that name.
    Gradient,
    /// The new value of the source of that name (a parameter, a state, an optimizer's moment).
    Update,
}

impl Graph {
    /// Appends a node. The only way in, so that every graph is well-typed.
    ///
    /// # Errors
    /// What the primitive's type rule refuses, and values too large to be addressed.
    pub fn push(&mut self, op: Op, args: &[Value], origin: Option<Origin>) -> Result<Value, Message> {
        let ty = {
            let types: Few<&TensorType> = args.iter().map(|&arg| &self.nodes[arg].ty).collect();
            op.infer(&types)?
        };
        check_size(&ty)?;
        Ok(self.nodes.push(Node { op, args: args.into(), ty, origin }))
    }
    pub fn node(&self, value: Value) -> &Node {
        &self.nodes[value]
    }
    pub fn ty(&self, value: Value) -> &TensorType {
        &self.nodes[value].ty
    }
    /// Every node, arguments before users.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = (Value, &Node)> + ExactSizeIterator {
        self.nodes.iter()
    }
    pub fn len(&self) -> usize {
        self.nodes.len()
    }
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
    pub fn add_origin(&mut self, path: impl Into<String>) -> Origin {
        Arc::make_mut(&mut self.origins).push(path.into())
    }
    pub fn origin_path(&self, origin: Origin) -> &str {
        &self.origins[origin]
    }
    /// The origins' paths, for a graph that is rebuilt from this one.
    pub fn origins(&self) -> &IndexVec<Origin, String> {
        &self.origins
    }
    /// An empty graph whose nodes may carry the origins of this one.
    pub fn successor(&self) -> Graph {
        Graph { origins: Arc::clone(&self.origins), ..Graph::default() }
    }
    /// How often each value is an argument or an output.
    pub fn use_counts(&self) -> IndexVec<Value, usize> {
        let mut counts = IndexVec::filled(0, self.nodes.len());
        let args = self.nodes.values().flat_map(|node| &node.args);
        for &value in args.chain(self.outputs.iter().map(|output| &output.value)) {
            counts[value] += 1;
        }
        counts
    }
    /// Checks the invariants; for debug builds and tests.
    ///
    /// # Panics
    /// With the offending node, when a pass has broken one: that is our bug.
    pub fn verify(&self) {
        for (value, node) in self.nodes() {
            assert!(node.args.iter().all(|&arg| arg < value), "{value}: an argument follows its user: {node:?}");
            let types: Vec<&TensorType> = node.args.iter().map(|&arg| self.ty(arg)).collect();
            match node.op.infer(&types) {
                Ok(ty) => assert_eq!(ty, node.ty, "{value}: {node:?}"),
                Err(message) => panic!("{value}: {message}: {node:?}"),
            }
        }
        for output in &self.outputs {
            assert!(self.nodes.get(output.value).is_some(), "no such value: {output:?}");
        }
    }
}

/// Refuses shapes whose fixed part no machine can address.
pub fn check_size(ty: &TensorType) -> Result<(), Message> {
    let n = ty.shape.iter().map(Dim::factor).try_fold(1usize, usize::checked_mul);
    ensure!(n.is_some_and(|n| n <= MAX_ELEMENTS), TooLarge, "a value of {ty} is too large to be addressed");
    Ok(())
}
