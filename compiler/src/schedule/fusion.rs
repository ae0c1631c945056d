//! Epilogues: which contraction carries which elementwise tail.
//!
//! A root that is elementwise in a contraction's result, and reads it nowhere but at its own index, is
//! computed on each finished tile of the contraction while the tile is in cache, in the same memory.

use super::order::Order;
use super::roots::{Roots, is_contraction};
use super::view;
use crate::graph::{Graph, Node, OutputRole, Value};
use crate::index::IndexVec;
use crate::kernel::View;
use crate::ops::{Direction, Op};

/// Pairs of a contraction and the root that its epilogue computes.
#[derive(Debug)]
pub(super) struct Fusion {
    root_of: IndexVec<Value, Option<Value>>,
    contraction_of: IndexVec<Value, Option<Value>>,
}

impl Fusion {
    /// The root whose memory this contraction writes, when another computes on in it.
    pub(super) fn root_of(&self, contraction: Value) -> Option<Value> {
        self.root_of[contraction]
    }
    /// The contraction that carries this root as its epilogue.
    pub(super) fn contraction_of(&self, root: Value) -> Option<Value> {
        self.contraction_of[root]
    }
    /// Whether what computes `root` can write it through `view`, a part of a larger value.
    pub(super) fn accepts(&self, graph: &Graph, root: Value, view: &View) -> bool {
        match self.contraction_of[root] {
            Some(contraction) => {
                let path = path_to(graph, root, contraction).expect("chosen because there is one");
                back(graph, &path, view).is_some_and(|view| fits(graph, contraction, &view))
            }
            None if is_contraction(&graph.node(root).op) => fits(graph, root, view),
            None => !matches!(graph.node(root).op, Op::ScatterAdd(_)),
        }
    }
    /// The contraction's view of its root's memory: back through the reshapes and transposes between them.
    pub(super) fn view_back(&self, graph: &Graph, root: Value, contraction: Value, target: &View) -> View {
        let path = path_to(graph, root, contraction).expect("chosen because there is one");
        back(graph, &path, target).expect("chosen because the views fit")
    }
}

pub(super) fn choose(graph: &Graph, roots: &Roots, orders: &IndexVec<Value, Order>) -> Fusion {
    let n = graph.len();
    let users = users(graph, roots);
    let mut updates = IndexVec::filled(false, n);
    let mut leaves = IndexVec::filled(false, n);
    for output in &graph.outputs {
        leaves[output.value] = true;
        updates[output.value] |= output.role == OutputRole::Update;
    }
    let mut fusion = Fusion { root_of: IndexVec::filled(None, n), contraction_of: IndexVec::filled(None, n) };
    // The last contraction that can carry a root does: what the others computed is then in memory.
    for (value, node) in graph.nodes().rev() {
        if !roots.live[value] || !is_contraction(&node.op) || is_weight_gradient(&node.op) || is_batch(node) {
            continue;
        }
        let Some(root) = sole_root(roots, &users[value]).filter(|_| !leaves[value]) else { continue };
        if fusion.contraction_of[root].is_some() || !is_elementwise(&graph.node(root).op) {
            continue;
        }
        if roots.prepared[value] != roots.prepared[root] || updates[root] {
            continue;
        }
        let Some(path) = path_to(graph, root, value) else { continue };
        let shape = &graph.ty(root).shape;
        // The tile's columns are the root's innermost axis.
        let columns = &graph.ty(value).shape[1];
        if shape.len() < 2 || orders[root].last().is_none_or(|&axis| shape[axis] != *columns) {
            continue;
        }
        let buffer = crate::index::Id::new(0);
        let target = View::whole(buffer, view::strides(shape, &orders[root]));
        if back(graph, &path, &target).is_some_and(|view| fits(graph, value, &view)) {
            fusion.root_of[value] = Some(root);
            fusion.contraction_of[root] = Some(value);
        }
    }
    fusion
}

/// The live nodes that read each value.
fn users(graph: &Graph, roots: &Roots) -> IndexVec<Value, Vec<Value>> {
    let mut users = IndexVec::filled(Vec::new(), graph.len());
    for (user, node) in graph.nodes().filter(|(user, _)| roots.live[*user]) {
        for &arg in &node.args {
            users[arg].push(user);
        }
    }
    users
}

/// The root that all these users end in.
fn sole_root(roots: &Roots, users: &[Value]) -> Option<Value> {
    let mut sole = None;
    for &user in users {
        let root = if roots.is_root[user] { user } else { roots.home[user]? };
        if sole.is_some_and(|sole| sole != root) {
            return None;
        }
        sole = Some(root);
    }
    sole
}

/// The values between a root and a contraction, the contraction last: elementwise ones, then reshapes and
/// transposes. Every way from the root to the contraction must be of this kind, with the same views.
fn path_to(graph: &Graph, root: Value, contraction: Value) -> Option<Vec<Value>> {
    let mut found: Option<Vec<Value>> = None;
    // Pairs of a value and the views passed on the way to it.
    let mut open: Vec<(Value, Vec<Value>)> = vec![(root, Vec::new())];
    let mut seen: Vec<Value> = Vec::new();
    while let Some((value, views)) = open.pop() {
        let node = graph.node(value);
        if value == contraction {
            let mut path = views;
            path.push(value);
            match &found {
                Some(known) if *known != path => return None,
                _ => found = Some(path),
            }
            continue;
        }
        if value < contraction || seen.contains(&value) && views.is_empty() {
            continue;
        }
        seen.push(value);
        match &node.op {
            op if is_elementwise(op) && views.is_empty() => {
                open.extend(node.args.iter().map(|&arg| (arg, Vec::new())));
            }
            Op::Reshape(_) | Op::Transpose(_) => {
                let views = [views, vec![value]].concat();
                open.push((node.args[0], views));
            }
            // The contraction's result at another index, or in a reduction: no epilogue can say so.
            _ if depends_on(graph, value, contraction) => return None,
            _ => {}
        }
    }
    found
}

/// Whether the inlined expression of `value` may read `contraction`; walks back to the contraction's position.
fn depends_on(graph: &Graph, value: Value, contraction: Value) -> bool {
    let mut open = vec![value];
    let mut seen = Vec::new();
    while let Some(value) = open.pop() {
        if value == contraction {
            return true;
        }
        if contraction < value && !seen.contains(&value) && (seen.is_empty() || !is_contraction(&graph.node(value).op))
        {
            seen.push(value);
            open.extend(&graph.node(value).args);
        }
    }
    false
}

fn back(graph: &Graph, path: &[Value], target: &View) -> Option<View> {
    let mut view = target.clone();
    for &value in path {
        let node = graph.node(value);
        match &node.op {
            Op::Reshape(_) => view = view::reshape(&view, &node.ty.shape, &graph.ty(node.args[0]).shape)?,
            Op::Transpose(transpose) => view = view::untranspose(&view, &transpose.order),
            _ => {}
        }
    }
    Some(view)
}

/// Whether the call can write through this view: contiguous columns or channels, rows one after the other.
fn fits(graph: &Graph, contraction: Value, view: &View) -> bool {
    let shape = &graph.ty(contraction).shape;
    let channel = 1;
    let is_one = |axis: usize| view.strides[axis].is_one() || shape[axis].is_one();
    match &graph.node(contraction).op {
        Op::MatMul(_) => is_one(shape.len() - 1),
        Op::Convolution(_) => {
            let rows: Vec<usize> = [0, 2, 3].into_iter().filter(|&axis| !shape[axis].is_one()).collect();
            let dense =
                rows.windows(2).all(|pair| view.strides[pair[0]] == view.strides[pair[1]].times(&shape[pair[1]]));
            is_one(channel) && dense
        }
        op => unreachable!("not a contraction: {op:?}"),
    }
}

fn is_weight_gradient(op: &Op) -> bool {
    matches!(op, Op::Convolution(convolution) if convolution.direction == Direction::WeightGrad)
}

/// Whether these are several products, which take no epilogue.
fn is_batch(node: &Node) -> bool {
    matches!(&node.op, Op::MatMul(_) if node.ty.rank() == 3)
}

pub(super) fn is_elementwise(op: &Op) -> bool {
    matches!(op, Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select(_) | Op::Convert(_))
}
