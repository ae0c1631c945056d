//! Where each value lies: its buffer and strides, or nothing when it is inlined.

use std::collections::BTreeMap;

use super::fusion::Fusion;
use super::order::Order;
use super::roots::{Roots, is_view};
use super::view;
use super::{Slot, SlotKind};
use crate::graph::{Graph, Node, OutputRole, Value};
use crate::index::IndexVec;
use crate::kernel::{Buffer, BufferInfo, Home, Program, View};
use crate::ops::{Op, Role};

/// Every value's view of memory, and the entry's interface.
#[derive(Debug)]
pub(super) struct Storage {
    views: IndexVec<Value, Option<View>>,
    pub(super) slots: Vec<Slot>,
    /// Outputs, by their index, that are not written where they belong and must be copied there.
    pub(super) copies: Vec<(usize, Buffer)>,
}

impl Storage {
    pub(super) fn view(&self, value: Value) -> Option<&View> {
        self.views[value].as_ref()
    }
    /// The view of a library call's operand or result.
    pub(super) fn operand(&self, value: Value) -> &View {
        self.views[value].as_ref().unwrap_or_else(|| panic!("{value} is read by a library call and is not stored"))
    }
}

/// Gives every root a buffer and every view of one its strides. May add roots: views that a library call
/// reads and strides cannot express.
pub(super) fn assign(
    graph: &Graph,
    roots: &mut Roots,
    orders: &IndexVec<Value, Order>,
    fusion: &Fusion,
    program: &mut Program,
) -> Storage {
    let mut cx = Cx {
        graph,
        roots,
        orders,
        fusion,
        program,
        views: IndexVec::filled(None, graph.len()),
        slots: Vec::new(),
        sources: BTreeMap::new(),
        outputs: Vec::new(),
    };
    cx.add_slots();
    let mut copies = Vec::new();
    let mut homes: IndexVec<Value, Option<Buffer>> = IndexVec::filled(None, graph.len());
    for (index, output) in graph.outputs.iter().enumerate() {
        let buffer = cx.outputs[index];
        let row_major = orders[output.value].is_sorted();
        if row_major && cx.roots.is_root[output.value] && homes[output.value].is_none() {
            homes[output.value] = Some(buffer);
        } else {
            copies.push((index, buffer));
        }
    }
    let operands = operands(graph, &cx.roots.live);
    // Joined values first: their parts may be written in place. Then from the arguments to the users.
    for (value, node) in graph.nodes().rev() {
        if cx.roots.live[value] && matches!(node.op, Op::Concat(_)) {
            cx.place_root(value, homes[value]);
            cx.place_parts(value, node, &homes);
        }
    }
    for (value, node) in graph.nodes() {
        if !cx.roots.live[value] || cx.views[value].is_some() {
            continue;
        }
        if let Some(root) = cx.fusion.root_of(value) {
            // Computed into the memory of the root whose epilogue it carries.
            if cx.views[root].is_none() {
                cx.place_root(root, homes[root]);
            }
            let target = cx.views[root].clone().expect("roots are stored");
            cx.views[value] = Some(cx.fusion.view_back(graph, root, value, &target));
        } else if cx.roots.is_root[value] {
            cx.place_root(value, homes[value]);
        } else if let Some(view) = cx.derived_view(node) {
            cx.views[value] = Some(view);
        } else if operands[value] {
            cx.roots.is_root[value] = true;
            cx.place_root(value, homes[value]);
        }
    }
    Storage { views: cx.views, slots: cx.slots, copies }
}

struct Cx<'a> {
    graph: &'a Graph,
    roots: &'a mut Roots,
    orders: &'a IndexVec<Value, Order>,
    fusion: &'a Fusion,
    program: &'a mut Program,
    views: IndexVec<Value, Option<View>>,
    slots: Vec<Slot>,
    /// The slots of sources, by name.
    sources: BTreeMap<String, Buffer>,
    /// The buffer that the caller reads each output from.
    outputs: Vec<Buffer>,
}

impl Cx<'_> {
    /// The interface: sources in the order of the graph, then outputs. An update shares its source's slot.
    fn add_slots(&mut self) {
        for (value, node) in self.graph.nodes() {
            let Op::Source(source) = &node.op else { continue };
            if !self.roots.live[value] {
                continue;
            }
            let buffer = self.add_slot(SlotKind::Source(source.role), &source.name, node);
            self.sources.insert(source.name.clone(), buffer);
            let order: Vec<usize> = (0..node.ty.rank()).collect();
            self.views[value] = Some(View::whole(buffer, view::strides(&node.ty.shape, &order)));
        }
        for output in &self.graph.outputs {
            let node = self.graph.node(output.value);
            let buffer = match self.sources.get(&output.name) {
                _ if output.role != OutputRole::Update => {
                    self.add_slot(SlotKind::Output(output.role), &output.name, node)
                }
                Some(&source) => source,
                // An update of what nothing reads still needs its memory.
                None => self.add_slot(SlotKind::Source(Role::State), &output.name, node),
            };
            self.outputs.push(buffer);
        }
    }
    fn add_slot(&mut self, kind: SlotKind, name: &str, node: &Node) -> Buffer {
        let buffer = self.program.buffers.push(BufferInfo {
            name: name.to_owned(),
            element: node.ty.element,
            len: node.ty.n_elements(),
            home: Home::External(self.slots.len()),
        });
        self.slots.push(Slot { kind, name: name.to_owned(), ty: node.ty.clone(), buffer });
        buffer
    }
    fn place_root(&mut self, value: Value, home: Option<Buffer>) {
        let node = self.graph.node(value);
        let buffer = home.unwrap_or_else(|| {
            let name = node.origin.map_or(String::new(), |origin| self.graph.origin_path(origin).to_owned());
            let home = if self.roots.prepared[value] { Home::Prepared } else { Home::Workspace };
            let len = node.ty.n_elements();
            self.program.buffers.push(BufferInfo { name, element: node.ty.element, len, home })
        });
        self.views[value] = Some(View::whole(buffer, view::strides(&node.ty.shape, &self.orders[value])));
    }
    /// Parts that are stored for this join alone are written straight into it.
    fn place_parts(&mut self, whole: Value, node: &Node, homes: &IndexVec<Value, Option<Buffer>>) {
        let Op::Concat(concat) = &node.op else { unreachable!("only joins have parts") };
        let target = self.views[whole].clone().expect("placed before its parts");
        let mut start = 0;
        for &part in &node.args {
            let uses = self.graph.nodes().filter(|(user, _)| self.roots.live[*user]);
            let n_uses = uses.flat_map(|(_, node)| &node.args).filter(|&&arg| arg == part).count();
            let is_output = self.graph.outputs.iter().any(|output| output.value == part);
            let alone = n_uses == 1 && !is_output && self.roots.is_root[part] && homes[part].is_none();
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
            for &arg in &node.args {
                operands[arg] = true;
            }
        }
    }
    operands
}
