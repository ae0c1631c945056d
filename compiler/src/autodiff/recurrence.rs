//! The gradient of a recurrence: a recurrence over the same steps in the other direction.
//!
//! Its states are the cotangents of the states; at each step it pulls them back through the body. What it needs of the
//! forward pass is kept at every step where it was dear, and computed again where it is cheap.

use std::collections::{BTreeMap, BTreeSet};

use super::pull_back;
use crate::graph::{Builder, Recurrence, Value, Var};
use crate::index::{Id, IndexVec};
use crate::kernel::UnaryFn;
use crate::ops::{Op, Role, Scan, ScanResult};

/// The results of each recurrence, by the first of them.
pub(super) fn groups(builder: &Builder, depends: &IndexVec<Value, bool>) -> BTreeMap<Value, Vec<Value>> {
    builder.with_graph(|graph| {
        let mut groups: BTreeMap<Value, Vec<Value>> = BTreeMap::new();
        for (value, node) in graph.nodes().take(depends.len()) {
            let Op::Scan(scan) = &node.op else { continue };
            let is_same = |first: &Value| {
                let known = graph.node(*first);
                matches!(&known.op, Op::Scan(other) if known.args == node.args && scan.is_same_recurrence(other))
            };
            let first = groups.keys().copied().find(is_same).unwrap_or(value);
            groups.entry(first).or_default().push(value);
        }
        groups
    })
}

/// Cotangents of the arguments of one recurrence, from those of its results.
pub(super) fn pull_back_scan<'b>(
    builder: &'b Builder,
    cts: &BTreeMap<Value, Var<'b>>,
    depends: &IndexVec<Value, bool>,
) -> Vec<(Value, Var<'b>)> {
    let Some(&any) = cts.keys().next() else { return Vec::new() };
    let node = builder.node(any);
    let Op::Scan(scan) = node.op else { panic!("{any} is no recurrence") };
    let args: Vec<Var<'b>> = node.args.iter().map(|&arg| builder.var(arg)).collect();
    builder.set_origin(node.origin);
    let inlined = inline(builder, &scan, &args);
    let n_forward = builder.len();
    let sequences = scan.states + scan.sequences;

    // One step back: from the cotangents of the next states and of each result, to those of what the step read.
    let mut back = Recurrence::new(builder, scan.steps.clone(), !scan.reverse);
    let mut seeds: Vec<(Var<'b>, Var<'b>)> = Vec::new();
    for (state, output) in scan.body.outputs.iter().enumerate() {
        let result = |known: &Scan| known.result == ScanResult::Final(state);
        let last = find(builder, cts, result).unwrap_or_else(|| builder.full_like(args[state], 0.0));
        seeds.push((inlined[output.value], back.state(&format!("d {}", output.name), last)));
    }
    for (&result, &ct) in cts {
        let Op::Scan(Scan { result: ScanResult::Each(value), .. }) = builder.node(result).op else { continue };
        seeds.push((inlined[value], back.element("d", ct)));
    }
    let sources: Vec<Value> = scan.sources().map(|(source, _)| source).collect();
    // Through a state gradients flow on, whether or not its first value wants one.
    let wants = |arg: usize| arg < scan.states || depends[args[arg].id];
    let wanted: Vec<usize> = (0..args.len()).filter(|&arg| wants(arg)).collect();
    let wrt: Vec<Value> = wanted.iter().map(|&arg| inlined[sources[arg]].id).collect();
    let cotangents = pull_back(builder, &seeds, &wrt);

    let mut each = Vec::new();
    let mut shared = Vec::new();
    for (&arg, ct) in wanted.iter().zip(cotangents) {
        match ct {
            ct if arg < scan.states => {
                back.set_next(arg, ct.unwrap_or_else(|| builder.full_like(args[arg], 0.0)));
            }
            None => {}
            Some(ct) if arg < sequences => each.push((arg, ct)),
            Some(ct) => shared.push((arg, ct)),
        }
    }
    // What is the same at every step: its cotangents add up.
    let mut sums = Vec::new();
    for (number, &(arg, ct)) in shared.iter().enumerate() {
        let zero = builder.full_like(args[arg], 0.0);
        let sum = back.state(&format!("sum {}", body_name(&scan, arg)), zero);
        back.set_next(scan.states + number, sum + ct);
        sums.push(arg);
    }

    let kept = kept(builder, &scan, &inlined, n_forward);
    for (source, arg) in sources.iter().zip(0..).filter(|(_, arg)| (scan.states..sequences).contains(arg)) {
        back.cut(inlined[*source], args[arg]);
    }
    for value in kept {
        let op = Scan { result: ScanResult::Each(value), ..scan.clone() };
        back.cut(inlined[value], builder.emit(op, &args));
    }
    let results = back.finish(&each.iter().map(|(_, ct)| *ct).collect::<Vec<_>>());
    let initial = (0..scan.states).filter(|&state| depends[args[state].id]).map(|state| (state, results.last[state]));
    let sums = sums.into_iter().enumerate().map(|(number, arg)| (arg, results.last[scan.states + number]));
    let each = each.into_iter().zip(results.each).map(|((arg, _), ct)| (arg, ct));
    initial.chain(sums).chain(each).map(|(arg, ct)| (args[arg].id, ct)).collect()
}

fn find<'b>(builder: &Builder, cts: &BTreeMap<Value, Var<'b>>, is: impl Fn(&Scan) -> bool) -> Option<Var<'b>> {
    let found = cts
        .iter()
        .find(|(result, _)| builder.with_node(**result, |node| matches!(&node.op, Op::Scan(scan) if is(scan))));
    found.map(|(_, ct)| *ct)
}

fn body_name(scan: &Scan, arg: usize) -> String {
    let (_, source) = scan.sources().nth(arg).expect("a source for each argument");
    source.name.clone()
}

/// The body's nodes, built again outside: placeholders for states and elements, arguments for what stays the same.
fn inline<'b>(builder: &'b Builder, scan: &Scan, args: &[Var<'b>]) -> IndexVec<Value, Var<'b>> {
    let mut inlined: IndexVec<Value, Var<'b>> = IndexVec::new();
    let mut n_sources = 0;
    for (_, node) in scan.body.nodes() {
        let var = match &node.op {
            Op::Source(source) => {
                n_sources += 1;
                if n_sources <= scan.states + scan.sequences {
                    builder.source(Role::Local, &source.name, source.ty.clone())
                } else {
                    args[n_sources - 1]
                }
            }
            op => {
                let args: Vec<Var<'b>> = node.args.iter().map(|&arg| inlined[arg]).collect();
                builder.emit(op.clone(), &args)
            }
        };
        inlined.push(var);
    }
    inlined
}

/// The values of the body to keep at every step for the way back: states, and what is dear.
fn kept(builder: &Builder, scan: &Scan, inlined: &IndexVec<Value, Var<'_>>, n_forward: usize) -> Vec<Value> {
    let of_inlined: BTreeMap<Value, Value> = inlined.iter().map(|(value, var)| (var.id, value)).collect();
    let mut read: BTreeSet<Value> = BTreeSet::new();
    for at in n_forward..builder.len() {
        builder.with_node(Value::new(at), |node| {
            read.extend(node.args.iter().filter_map(|arg| of_inlined.get(arg)));
        });
    }
    let body = &scan.body;
    // What each step is handed needs no keeping, but that a state before a step is no argument.
    let states: Vec<Value> = scan.sources().map(|(value, _)| value).take(scan.states).collect();
    let is_dear = |value: Value| states.contains(&value) || !is_cheap(&body.node(value).op);
    let mut kept: BTreeSet<Value> = read.iter().copied().filter(|&value| is_dear(value)).collect();
    for &value in read.iter().filter(|&&value| !is_dear(value)) {
        let leaves = leaves(body, value, &is_dear);
        if leaves.iter().all(|leaf| kept.contains(leaf) || states.contains(leaf)) {
            kept.extend(leaves);
        } else {
            kept.insert(value);
        }
    }
    let is_argument = |value: &Value| matches!(body.node(*value).op, Op::Source(_)) && !states.contains(value);
    kept.retain(|value| !is_argument(value));
    kept.into_iter().collect()
}

/// The dear values that a cheap one is computed from.
fn leaves(body: &crate::graph::Graph, value: Value, is_dear: &impl Fn(Value) -> bool) -> BTreeSet<Value> {
    let mut leaves = BTreeSet::new();
    let mut open = vec![value];
    let mut seen = BTreeSet::new();
    while let Some(value) = open.pop() {
        if !seen.insert(value) {
            continue;
        }
        if is_dear(value) {
            leaves.insert(value);
        } else {
            open.extend(&body.node(value).args);
        }
    }
    leaves
}

/// Whether computing it again costs less than keeping it.
fn is_cheap(op: &Op) -> bool {
    match op {
        Op::Unary(unary) => matches!(unary.0, UnaryFn::Neg | UnaryFn::Abs | UnaryFn::Floor),
        Op::Source(_)
        | Op::Constant(_)
        | Op::Iota(_)
        | Op::SizeOf(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::Select(_)
        | Op::Convert(_)
        | Op::StopGradient(_)
        | Op::Broadcast(_)
        | Op::Reshape(_)
        | Op::Transpose(_)
        | Op::Slice(_)
        | Op::Pad(_) => true,
        _ => false,
    }
}
