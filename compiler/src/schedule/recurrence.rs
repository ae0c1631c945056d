//! Recurrences: where states and results lie, and one step of the body, scheduled like a graph of its own.
//!
//! A state that anybody reads at every step keeps all its values, `[steps + 1, …]`, of which each step reads one and
//! writes the next; any other takes turns in room for two.

use std::collections::BTreeMap;

use super::emit::Cx;
use super::order::{self, Order};
use super::step::tighten;
use super::storage::{Interface, Target};
use super::{Manner, call, roots, steps};
use crate::graph::{Graph, Output, OutputRole, Value};
use crate::index::{Id, IndexVec};
use crate::kernel::{Buffer, BufferInfo, Home, Program, Scan, Slice, Step, Turns, View};
use crate::ops::{self, Op, ScanResult};
use crate::types::{Dim, TensorType};

/// Where one recurrence keeps what it makes.
#[derive(Debug)]
pub(super) struct Placed {
    /// The body, whose outputs are the next states, then the values to keep at every step.
    body: Graph,
    orders: IndexVec<Value, Order>,
    states: Vec<State>,
    /// By the outputs of the body after the next states: the memory of all steps.
    each: Vec<View>,
    /// The states to copy out at the end, and where to.
    finals: Vec<(usize, View)>,
}

#[derive(Debug)]
struct State {
    buffer: Buffer,
    ty: TensorType,
    order: Order,
    rolling: bool,
}

impl State {
    /// The state at one step, in a buffer of its own.
    fn target(&self, buffer: Buffer) -> Target {
        Target::whole(buffer, &self.ty.shape, self.order.clone())
    }
}

/// Allocates the results of the recurrence whose first result is `leader`, and says where each result lies.
pub(super) fn place(
    graph: &Graph,
    live: &IndexVec<Value, bool>,
    leader: Value,
    scan: &ops::Scan,
    program: &mut Program,
) -> (Placed, Vec<(Value, View)>) {
    let args = &graph.node(leader).args;
    let results: Vec<(Value, ScanResult)> = graph
        .nodes()
        .filter(|(value, node)| live[*value] && node.args == *args)
        .filter_map(|(value, node)| match &node.op {
            Op::Scan(other) if scan.is_same_recurrence(other) => Some((value, other.result)),
            _ => None,
        })
        .collect();
    let mut body = Graph::clone(&scan.body);
    let sources: Vec<Value> = scan.sources().map(|(source, _)| source).collect();
    let nexts: Vec<Value> = body.outputs.iter().map(|output| output.value).collect();
    let names: Vec<String> = body.outputs.iter().map(|output| output.name.clone()).collect();
    // The state, and whether it is before or after the step, that a value of the body is.
    let as_state = |value: Value| {
        let before = sources[..scan.states].iter().position(|&source| source == value).map(|state| (state, false));
        before.or_else(|| nexts.iter().position(|&next| next == value).map(|state| (state, true)))
    };
    let mut kept: Vec<Value> = Vec::new();
    for (_, result) in &results {
        if let ScanResult::Each(value) = *result
            && as_state(value).is_none()
            && !kept.contains(&value)
        {
            kept.push(value);
        }
    }
    body.outputs.clear();
    for (&value, name) in nexts.iter().zip(&names) {
        body.outputs.push(Output { role: OutputRole::Output, name: name.clone(), value });
    }
    for &value in &kept {
        body.outputs.push(Output { role: OutputRole::Output, name: value.to_string(), value });
    }
    let orders = order::choose(&body, &roots::live(&body));
    let name = graph.node(leader).origin.map_or(String::new(), |origin| graph.origin_path(origin).to_owned());
    let mut add = |ty: &TensorType, len: Dim, what: &str| {
        let name = format!("{name} {what}");
        program.buffers.push(BufferInfo { name, element: ty.element, len, home: Home::Workspace })
    };

    let mut states = Vec::new();
    for (number, &next) in nexts.iter().enumerate() {
        let ty = body.ty(next).clone();
        let is_kept = |result: &ScanResult| matches!(result, ScanResult::Each(value) if as_state(*value).is_some_and(|(state, _)| state == number));
        let rolling = !results.iter().any(|(_, result)| is_kept(result));
        let n = if rolling { Dim::fixed(2) } else { scan.steps.window(1, 1) };
        let buffer = add(&ty, n.times(&ty.n_elements()), &names[number]);
        states.push(State { buffer, order: orders[next].clone(), ty, rolling });
    }
    let mut each = Vec::new();
    for &value in &kept {
        let ty = body.ty(value);
        let buffer = add(ty, scan.steps.times(&ty.n_elements()), "(each step)");
        each.push(with_steps(&Target::whole(buffer, &ty.shape, orders[value].clone()).view, ty));
    }
    // Results of states are parts of what these keep; a state that takes turns is copied out.
    let mut finals = Vec::new();
    let mut views = Vec::new();
    for &(result, kind) in &results {
        let view = match kind {
            ScanResult::Each(value) => match as_state(value) {
                Some((number, after)) => {
                    let state = &states[number];
                    let all = with_steps(&state.target(state.buffer).view, &state.ty);
                    // The last written is the first in memory, when steps run backwards.
                    let offset = if after != scan.reverse { state.ty.n_elements() } else { Dim::fixed(0) };
                    View { offset, ..all }
                }
                None => each[kept.iter().position(|&known| known == value).expect("kept above")].clone(),
            },
            ScanResult::Final(number) => {
                let state = &states[number];
                if state.rolling {
                    let known = finals.iter().find(|(known, _): &&(usize, View)| *known == number);
                    known.map(|(_, view)| view.clone()).unwrap_or_else(|| {
                        let buffer = add(&state.ty, state.ty.n_elements(), &names[number]);
                        let view = state.target(buffer).view;
                        finals.push((number, view.clone()));
                        view
                    })
                } else {
                    let offset = if scan.reverse { Dim::fixed(0) } else { scan.steps.times(&state.ty.n_elements()) };
                    View { offset, ..state.target(state.buffer).view }
                }
            }
        };
        views.push((result, view));
    }
    (Placed { body, orders, states, each, finals }, views)
}

/// The view of all steps, of which `element` is the first.
fn with_steps(element: &View, ty: &TensorType) -> View {
    let strides = [vec![ty.n_elements()], element.strides.clone()].concat();
    View { strides, ..element.clone() }
}

impl Cx<'_> {
    /// The loop of a recurrence.
    pub(super) fn recurrence(&self, leader: Value, placed: &Placed, name: &str, program: &mut Program) -> Step {
        let node = self.graph.node(leader);
        let Op::Scan(scan) = &node.op else { unreachable!("{leader} is a recurrence") };
        let Placed { body, orders, states, each, finals } = placed;
        let sources: Vec<Value> = scan.sources().map(|(source, _)| source).collect();
        let mut slices = Vec::new();
        let mut slice = |of: &View, stride: Dim, shift: i64, rolling: bool, ty: &TensorType, program: &mut Program| {
            let name = program.buffers[of.buffer].name.clone();
            let home = Home::Slice { of: of.buffer };
            let info = BufferInfo { name, element: ty.element, len: ty.n_elements(), home };
            let buffer = program.buffers.push(info);
            let turns = if rolling { Turns::Two } else { Turns::All };
            slices.push(Slice { buffer, of: of.buffer, offset: of.offset.clone(), stride, shift, turns });
            buffer
        };

        let mut interface = Interface { sources: BTreeMap::new(), outputs: Vec::new() };
        let [before, after] = if scan.reverse { [1, 0] } else { [0, 1] };
        let mut previous = Vec::new();
        for (state, &source) in states.iter().zip(&sources) {
            let n = state.ty.n_elements();
            let all = View::whole(state.buffer, Vec::new());
            let buffer = slice(&all, n.clone(), before, state.rolling, &state.ty, program);
            interface.sources.insert(source, state.target(buffer).view);
            previous.push(buffer);
            let buffer = slice(&all, n, after, state.rolling, &state.ty, program);
            interface.outputs.push(state.target(buffer));
        }
        for (view, output) in each.iter().zip(&body.outputs[states.len()..]) {
            let ty = body.ty(output.value);
            let buffer = slice(view, view.strides[0].clone(), 0, false, ty, program);
            interface.outputs.push(Target::whole(buffer, &ty.shape, orders[output.value].clone()));
        }
        for (arg, &source) in sources.iter().enumerate().skip(states.len()) {
            let view = self.storage.operand(node.args[arg]);
            let view = if arg < scan.states + scan.sequences {
                let buffer = slice(view, view.strides[0].clone(), 0, false, body.ty(source), program);
                View::whole(buffer, view.strides[1..].to_vec())
            } else {
                view.clone()
            };
            interface.sources.insert(source, view);
        }

        let mut start: Vec<Step> = (states.iter().zip(&node.args).zip(&interface.outputs))
            .map(|((state, &initial), target)| {
                let name = format!("{name} (first state)");
                let element = |cx: &mut super::Lowering<'_>, index: &[crate::kernel::Int]| cx.element(initial, index);
                Step::Loop(self.loops(&name, &state.ty.shape, &state.order, &target.view, element))
            })
            .collect();
        let finish: Vec<Step> = (finals.iter())
            .map(|(number, target)| {
                let state = &states[*number];
                let from = state.target(previous[*number]).view;
                let name = format!("{name} (last state)");
                let kernel = self.loops(&name, &state.ty.shape, &state.order, target, |cx, index| {
                    let terms = index.iter().copied().zip(from.strides.iter().cloned()).collect();
                    cx.load(from.buffer, Dim::fixed(0), terms)
                });
                Step::Loop(kernel)
            })
            .collect();
        let mut roots = roots::choose(body);
        let n_outside = program.buffers.len();
        // Loops keep their axes, so that all over the same domain can be one.
        let manner = Manner { algorithms: self.algorithms, collapses: false };
        let mut inner = steps(body, &mut roots, orders, interface, manner, program);
        let temporary = |buffer: Buffer| buffer.index() >= n_outside;
        let fixed: Vec<Buffer> = self.fixed(&node.args[scan.states + scan.sequences..]);
        let is_fixed = |buffer: Buffer| fixed.contains(&buffer);
        start.extend(tighten(&mut inner, program, temporary, is_fixed, self.algorithms.shortcuts()));
        let (length, reverse) = (scan.steps.clone(), scan.reverse);
        let (ahead, members) = (Vec::new(), None);
        Step::Scan(Scan { length, reverse, slices, start, ahead, body: inner, finish, members, beside: false })
    }
    /// The buffers of those values that never change from call to call.
    fn fixed(&self, values: &[Value]) -> Vec<Buffer> {
        let is_fixed = |value: &Value| {
            let of = roots::through_views(self.graph, *value);
            self.roots.prepared[of] || call::is_fixed_parameter(self.graph, of)
        };
        values.iter().filter(|value| is_fixed(value)).map(|&value| self.storage.operand(value).buffer).collect()
    }
}
