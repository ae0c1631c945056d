//! Where each value lies: its buffer and strides, or nothing when it is inlined.

use std::collections::BTreeMap;

use super::fusion::Fusion;
use super::order::Order;
use super::recurrence::{self, Placed};
use super::roots::{Roots, is_leaf, is_view};
use super::{Slot, SlotKind, in_place, view};
use crate::graph::{Graph, Node, OutputRole, Value};
use crate::index::IndexVec;
use crate::kernel::{Buffer, BufferInfo, Home, Program, View};
use crate::ops::{Op, Role};
use crate::types::Dim;

/// Where sources and outputs of a graph lie.
#[derive(Debug, Default)]
pub(super) struct Interface {
    pub(super) sources: BTreeMap<Value, View>,
    /// In the order of the graph's outputs.
    pub(super) outputs: Vec<Target>,
}

/// Where a value is to be written.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) view: View,
    pub(super) order: Order,
}

impl Target {
    /// The whole of a buffer.
    pub(super) fn whole(buffer: Buffer, shape: &[Dim], order: Order) -> Self {
        Target { view: View::whole(buffer, view::strides(shape, &order)), order }
    }
}

/// Every value's view of memory.
#[derive(Debug)]
pub(super) struct Storage {
    views: IndexVec<Value, Option<View>>,
    /// By the first result of each.
    recurrences: BTreeMap<Value, Placed>,
    /// Outputs, by their index, that are not written where they belong and must be copied there.
    pub(super) copies: Vec<(usize, Target)>,
    /// Those of them that are sources as they were, of which copies are made before anything is written.
    pub(super) kept: BTreeMap<usize, View>,
}

impl Storage {
    pub(super) fn view(&self, value: Value) -> Option<&View> {
        self.views[value].as_ref()
    }
    /// The view of a library call's operand or result.
    pub(super) fn operand(&self, value: Value) -> &View {
        self.views[value].as_ref().unwrap_or_else(|| panic!("{value} is read by a library call and is not stored"))
    }
    /// The recurrence whose first result this is.
    pub(super) fn recurrence(&self, value: Value) -> Option<&Placed> {
        self.recurrences.get(&value)
    }
}

/// The interface of an entry: sources in the order of the graph, then outputs. An update shares its source's slot.
pub(super) fn external(graph: &Graph, roots: &Roots, program: &mut Program) -> (Interface, Vec<Slot>) {
    let mut slots: Vec<Slot> = Vec::new();
    let mut add = |kind: SlotKind, name: &str, node: &Node| {
        let home = Home::External(slots.len());
        let buffer = program.buffers.push(BufferInfo {
            name: name.to_owned(),
            element: node.ty.element,
            len: node.ty.n_elements(),
            home,
        });
        slots.push(Slot { kind, name: name.to_owned(), ty: node.ty.clone(), buffer });
        buffer
    };
    let row_major = |node: &Node| (0..node.ty.rank()).collect::<Order>();
    let mut interface = Interface::default();
    let mut known: BTreeMap<&str, Buffer> = BTreeMap::new();
    for (value, node) in graph.nodes() {
        let Op::Source(source) = &node.op else { continue };
        if !roots.live[value] {
            continue;
        }
        let buffer = add(SlotKind::Source(source.role), &source.name, node);
        known.insert(&source.name, buffer);
        interface.sources.insert(value, Target::whole(buffer, &node.ty.shape, row_major(node)).view);
    }
    for output in &graph.outputs {
        let node = graph.node(output.value);
        let buffer = match known.get(output.name.as_str()) {
            _ if output.role != OutputRole::Update => add(SlotKind::Output(output.role), &output.name, node),
            Some(&source) => source,
            // An update of what nothing reads still needs its memory.
            None => add(SlotKind::Source(Role::State), &output.name, node),
        };
        interface.outputs.push(Target::whole(buffer, &node.ty.shape, row_major(node)));
    }
    (interface, slots)
}

/// Gives every root a buffer and every view of one its strides. May add roots: views that a library call
/// reads and strides cannot express.
pub(super) fn assign(
    graph: &Graph,
    roots: &mut Roots,
    orders: &IndexVec<Value, Order>,
    fusion: &Fusion,
    interface: Interface,
    program: &mut Program,
) -> Storage {
    let mut views = IndexVec::filled(None, graph.len());
    for (value, view) in interface.sources {
        views[value] = Some(view);
    }
    let mut cx = Cx { graph, roots, orders, fusion, program, views, recurrences: BTreeMap::new() };
    let mut homes: IndexVec<Value, Option<View>> = IndexVec::filled(None, graph.len());
    let fits = |roots: &Roots, index: usize, target: &Target| {
        let value = graph.outputs[index].value;
        let is_first = graph.outputs[..index].iter().all(|other| other.value != value);
        let is_alike = target.order == orders[value] && !matches!(graph.node(value).op, Op::Scan(_));
        is_alike && is_first && roots.is_root[value]
    };
    let is_placed = |index: usize| fits(cx.roots, index, &interface.outputs[index]);
    let apart = in_place::too_early(graph, cx.roots, fusion, is_placed);
    // Copies of what is stored come last: others may read what they write.
    let (mut copies, mut last, mut kept) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (index, target) in interface.outputs.into_iter().enumerate() {
        let value = graph.outputs[index].value;
        if apart[index] {
            match &graph.node(value).op {
                Op::Source(_) => _ = kept.insert(index, cx.memory(value, Home::Workspace)),
                op => cx.roots.is_root[value] = !is_leaf(op),
            }
            last.push((index, target));
        } else if fits(cx.roots, index, &target) {
            homes[value] = Some(target.view);
        } else {
            copies.push((index, target));
        }
    }
    copies.append(&mut last);
    let operands = operands(graph, &cx.roots.live);
    // Joined values first: their parts may be written in place. Then from the arguments to the users.
    for (value, node) in graph.nodes().rev() {
        if cx.roots.live[value] && matches!(node.op, Op::Concat(_)) {
            cx.place_root(value, homes[value].clone());
            cx.place_parts(value, node, &homes);
        }
    }
    for (value, node) in graph.nodes() {
        if !cx.roots.live[value] || cx.views[value].is_some() {
            continue;
        }
        if let Op::Scan(scan) = &node.op {
            let (placed, results) = recurrence::place(graph, &cx.roots.live, value, scan, cx.program);
            cx.recurrences.insert(value, placed);
            results.into_iter().for_each(|(result, view)| cx.views[result] = Some(view));
        } else if let Some(root) = cx.fusion.root_of(value) {
            // Computed into the memory of the root whose epilogue it carries.
            if cx.views[root].is_none() {
                cx.place_root(root, homes[root].clone());
            }
            let target = cx.views[root].clone().expect("roots are stored");
            cx.views[value] = Some(cx.fusion.view_back(graph, root, value, &target));
        } else if cx.roots.is_root[value] {
            cx.place_root(value, homes[value].clone());
        } else if let Some(view) = cx.derived_view(node) {
            cx.views[value] = Some(view);
        } else if operands[value] {
            cx.roots.is_root[value] = true;
            cx.place_root(value, homes[value].clone());
        }
    }
    Storage { views: cx.views, recurrences: cx.recurrences, copies, kept }
}

struct Cx<'a> {
    graph: &'a Graph,
    roots: &'a mut Roots,
    orders: &'a IndexVec<Value, Order>,
    fusion: &'a Fusion,
    program: &'a mut Program,
    views: IndexVec<Value, Option<View>>,
    recurrences: BTreeMap<Value, Placed>,
}

impl Cx<'_> {
    fn place_root(&mut self, value: Value, home: Option<View>) {
        let own = if self.roots.prepared[value] { Home::Prepared } else { Home::Workspace };
        self.views[value] = Some(home.unwrap_or_else(|| self.memory(value, own)));
    }
    fn memory(&mut self, value: Value, home: Home) -> View {
        let node = self.graph.node(value);
        let name = node.origin.map_or(String::new(), |origin| self.graph.origin_path(origin).to_owned());
        let info = BufferInfo { name, element: node.ty.element, len: node.ty.n_elements(), home };
        Target::whole(self.program.buffers.push(info), &node.ty.shape, self.orders[value].clone()).view
    }
    /// Parts that are stored for this join alone are written straight into it.
    fn place_parts(&mut self, whole: Value, node: &Node, homes: &IndexVec<Value, Option<View>>) {
        let Op::Concat(concat) = &node.op else { unreachable!("only joins have parts") };
        let target = self.views[whole].clone().expect("placed before its parts");
        let mut start = 0;
        for &part in &node.args {
            let uses = self.graph.nodes().filter(|(user, _)| self.roots.live[*user]);
            let n_uses = uses.flat_map(|(_, node)| &node.args).filter(|&&arg| arg == part).count();
            let is_output = self.graph.outputs.iter().any(|output| output.value == part);
            let is_scan = matches!(self.graph.node(part).op, Op::Scan(_));
            let alone = n_uses == 1 && !is_output && !is_scan && self.roots.is_root[part] && homes[part].is_none();
            if alone && self.views[part].is_none() && self.orders[part] == self.orders[whole] {
                self.views[part] =
                    view::slice(&target, concat.axis, start).filter(|view| self.fusion.accepts(self.graph, part, view));
            }
            start += self.graph.ty(part).shape[concat.axis].factor();
        }
    }
    /// The view that a reshape, transpose, slice or broadcast is of its argument's memory.
    fn derived_view(&self, node: &Node) -> Option<View> {
        if !is_view(&node.op) && !matches!(node.op, Op::Broadcast(_)) {
            return None;
        }
        let of = self.views[node.args[0]].as_ref()?;
        let from = &self.graph.ty(node.args[0]).shape;
        match &node.op {
            Op::Reshape(_) => view::reshape(of, from, &node.ty.shape),
            Op::Transpose(transpose) => Some(view::transpose(of, &transpose.order)),
            Op::Slice(slice) => view::slice(of, slice.axis, slice.start),
            Op::Broadcast(_) => Some(view::broadcast(of, from, &node.ty.shape)),
            _ => unreachable!("checked above"),
        }
    }
}

/// What library calls read.
fn operands(graph: &Graph, live: &IndexVec<Value, bool>) -> IndexVec<Value, bool> {
    let mut operands = IndexVec::filled(false, graph.len());
    for (_, node) in graph.nodes().filter(|(value, _)| live[*value]) {
        if matches!(node.op, Op::MatMul(_) | Op::Convolution(_) | Op::ScatterAdd(_) | Op::Scan(_)) {
            let n_states = if let Op::Scan(scan) = &node.op { scan.states } else { 0 };
            for &arg in &node.args[n_states..] {
                operands[arg] = true;
            }
        }
    }
    operands
}
