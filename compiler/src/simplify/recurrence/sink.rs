//! What no state depends on leaves the loop: it is computed after, for all steps at once.

use std::collections::{BTreeMap, BTreeSet};

use super::hoist::is_dear;
use super::lift::{Lifted, Lifter, can_lift, join_first};
use super::{Class, Loop, Wanted, position, rewrite};
use crate::graph::{Graph, Node, Output, OutputRole, Value, Var};
use crate::index::IndexVec;
use crate::kernel::{BinaryFn, Combine, UnaryFn};
use crate::ops::{Binary, Direction, MatMul, Op, Reduce, ScatterAdd};
use crate::types::Dim;

/// Moves what no state depends on after the loops of all recurrences. A state that only adds up becomes a sum over all
/// steps: that of products is one product.
pub fn sink(graph: &Graph) -> Graph {
    rewrite(graph, sink_loop)
}

fn sink_loop(mut parts: Loop<'_>) -> Vec<Var<'_>> {
    let classes = parts.classes();
    let plan = Plan::new(&parts, &classes);
    // What leaves the loop, and what stays.
    let mut frontier: BTreeSet<Value> = BTreeSet::new();
    let leaves: Vec<Option<Leaving>> = (parts.results.iter())
        .map(|&wanted| {
            let leaving = plan.leaving(wanted)?;
            let values = match leaving {
                Leaving::Each(value) => plan.frontier(value),
                Leaving::Sum { term, .. } => plan.sum_frontier(term),
            };
            frontier.extend(values?);
            Some(leaving)
        })
        .collect();
    if leaves.iter().all(Option::is_none) {
        return parts.build(&BTreeMap::new());
    }
    let results = parts.results.clone();
    let mut rest: Vec<Wanted> =
        results.iter().zip(&leaves).filter(|(_, leaving)| leaving.is_none()).map(|(wanted, _)| *wanted).collect();
    let n_rest = rest.len();
    let frontier: Vec<Value> = frontier.into_iter().collect();
    for &value in &frontier {
        let known = parts.body.outputs[parts.states.len()..].iter().position(|output| output.value == value);
        rest.push(Wanted::Each(known.map_or_else(
            || {
                let name = value.to_string();
                parts.body.outputs.push(Output { role: OutputRole::Output, name, value });
                parts.body.outputs.len() - 1
            },
            |at| parts.states.len() + at,
        )));
    }
    let looped = if rest.is_empty() { Vec::new() } else { parts.with_results(rest).build(&BTreeMap::new()) };
    let (stay, kept) = looped.split_at(n_rest);
    let known = frontier.iter().zip(kept).map(|(&value, &var)| (value, Lifted::Each(var))).collect();
    let mut sums = Sums { parts: &parts, classes: &classes, lifter: Lifter::new(&parts, &classes, known) };
    let mut stay = stay.iter().copied();
    leaves
        .into_iter()
        .map(|leaving| match leaving {
            None => stay.next().expect("one for each that stays"),
            Some(Leaving::Each(value)) => sums.lifter.sequence(value),
            Some(Leaving::Sum { initial, term }) => parts.states[initial].1 + sums.sum(term),
        })
        .collect()
}

/// How a result is computed after the loop.
#[derive(Debug, Clone, Copy)]
enum Leaving {
    Each(Value),
    /// The first value of a state, and what each step adds to it.
    Sum {
        initial: usize,
        term: Value,
    },
}

struct Plan<'a, 'b> {
    parts: &'a Loop<'b>,
    classes: &'a IndexVec<Value, Class>,
    /// What the states of the loop depend on: all of it stays.
    stays: IndexVec<Value, bool>,
    /// States that only add up, with what each step adds.
    sums: BTreeMap<usize, Value>,
}

impl<'a, 'b> Plan<'a, 'b> {
    fn new(parts: &'a Loop<'b>, classes: &'a IndexVec<Value, Class>) -> Self {
        let body = &parts.body;
        let uses = body.use_counts();
        let mut sums = BTreeMap::new();
        for state in 0..parts.states.len() {
            let next = parts.next(state);
            let node = body.node(next);
            let Some(source) = parts.source(&parts.states[state].0) else { continue };
            let is_sum = matches!(node.op, Op::Binary(Binary(BinaryFn::Add))) && uses[source] == 1 && uses[next] == 1;
            if let (true, Some(at)) = (is_sum, node.args.iter().position(|&arg| arg == source)) {
                sums.insert(state, node.args[1 - at]);
            }
        }
        let mut plan = Plan { parts, classes, stays: IndexVec::filled(false, body.len()), sums };
        // Sums that cannot leave are states like all others.
        let kept: Vec<usize> = plan.sums.keys().copied().filter(|state| !plan.can_sum(plan.sums[state])).collect();
        kept.iter().for_each(|state| {
            plan.sums.remove(state);
        });
        let (needed, _) = parts.needed(&parts.results, &BTreeMap::new());
        let mut open: Vec<Value> =
            needed.iter().filter(|state| !plan.sums.contains_key(state)).map(|&state| parts.next(state)).collect();
        while let Some(value) = open.pop() {
            if !std::mem::replace(&mut plan.stays[value], true) {
                open.extend(&body.node(value).args);
            }
        }
        plan
    }

    fn leaving(&self, wanted: Wanted) -> Option<Leaving> {
        match wanted {
            Wanted::Final(state) => self.sums.get(&state).map(|&term| Leaving::Sum { initial: state, term }),
            Wanted::Each(output) => {
                let value = self.parts.body.outputs[output].value;
                (self.is_outside(value) && self.is_dear(value)).then_some(Leaving::Each(value))
            }
        }
    }
    /// Whether something dear is computed between the loop and the value.
    fn is_dear(&self, value: Value) -> bool {
        let mut open = vec![value];
        let mut seen = BTreeSet::new();
        while let Some(value) = open.pop() {
            if !self.is_outside(value) || self.classes[value] == Class::Invariant || !seen.insert(value) {
                continue;
            }
            let node = self.parts.body.node(value);
            if is_dear(&node.op) {
                return true;
            }
            open.extend(&node.args);
        }
        false
    }
    /// Whether a value may be computed after the loop: no state depends on it, and it is no state.
    fn is_outside(&self, value: Value) -> bool {
        !self.stays[value] && !self.is_state(value)
    }
    fn is_state(&self, value: Value) -> bool {
        let op = &self.parts.body.node(value).op;
        matches!(op, Op::Source(source) if position(&self.parts.states, &source.name).is_some())
    }
    fn is_argument(&self, value: Value) -> bool {
        matches!(self.parts.body.node(value).op, Op::Source(_)) && !self.is_state(value)
    }

    /// The values to keep at every step so that this one can be computed after the loop; `None` if it cannot.
    fn frontier(&self, value: Value) -> Option<BTreeSet<Value>> {
        let mut frontier = BTreeSet::new();
        let mut open = vec![value];
        let mut seen = BTreeSet::new();
        while let Some(value) = open.pop() {
            if self.classes[value] == Class::Invariant || self.is_argument(value) || !seen.insert(value) {
                continue;
            }
            let node = self.parts.body.node(value);
            if !self.is_outside(value) {
                frontier.insert(value);
                continue;
            }
            let changes: Vec<bool> = node.args.iter().map(|&arg| self.classes[arg] != Class::Invariant).collect();
            if !can_lift(&node.op, &changes, node.ty.rank()) {
                return None;
            }
            open.extend(&node.args);
        }
        Some(frontier)
    }
    fn can_sum(&self, term: Value) -> bool {
        self.sum_frontier(term).is_some()
    }
    /// The same for the sum of a value over all steps. See [`Sums::sum`].
    fn sum_frontier(&self, term: Value) -> Option<BTreeSet<Value>> {
        let node = self.parts.body.node(term);
        let changes = |arg: Value| self.classes[arg] != Class::Invariant;
        if !changes(term) {
            return Some(BTreeSet::new());
        }
        let all = |args: &[Value], of: &dyn Fn(Value) -> Option<BTreeSet<Value>>| {
            args.iter().map(|&arg| of(arg)).try_fold(BTreeSet::new(), |mut all, values| {
                all.extend(values?);
                Some(all)
            })
        };
        match Linear::of(node, &changes) {
            Linear::Through => all(&node.args, &|arg| self.sum_frontier(arg)),
            Linear::Operands => all(&node.args, &|arg| self.frontier(arg)),
            Linear::No => self.frontier(term),
        }
    }
}

/// How an operation goes with a sum over all steps.
enum Linear {
    /// The sum of the results is the result of the sums.
    Through,
    /// It sums over an axis itself, which the steps join.
    Operands,
    /// The results themselves are added up.
    No,
}

impl Linear {
    fn of(node: &Node, changes: &dyn Fn(Value) -> bool) -> Linear {
        let args = &node.args;
        match &node.op {
            Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_) | Op::Pad(_) | Op::Broadcast(_) | Op::Concat(_) => {
                Linear::Through
            }
            Op::Unary(function) if function.0 == UnaryFn::Neg => Linear::Through,
            Op::Binary(Binary(BinaryFn::Add | BinaryFn::Sub)) => Linear::Through,
            Op::Binary(Binary(BinaryFn::Mul)) if args.iter().filter(|&&arg| changes(arg)).count() == 1 => {
                Linear::Through
            }
            Op::MatMul(_) if node.ty.rank() == 2 && args.iter().all(|&arg| changes(arg)) => Linear::Operands,
            Op::Convolution(convolution)
                if convolution.direction == Direction::WeightGrad && args.iter().all(|&arg| changes(arg)) =>
            {
                Linear::Operands
            }
            Op::Reduce(reduce) if reduce.combine == Combine::Sum => Linear::Operands,
            Op::ScatterAdd(_) if args.iter().all(|&arg| changes(arg)) => Linear::Operands,
            _ => Linear::No,
        }
    }
}

struct Sums<'a, 'b> {
    parts: &'a Loop<'b>,
    classes: &'a IndexVec<Value, Class>,
    lifter: Lifter<'a, 'b>,
}

impl<'b> Sums<'_, 'b> {
    /// The sum of a value over all steps.
    fn sum(&mut self, term: Value) -> Var<'b> {
        let builder = self.parts.builder;
        let node = self.parts.body.node(term);
        let classes = self.classes;
        let changes = |arg: Value| classes[arg] != Class::Invariant;
        let outside = builder.set_origin(node.origin);
        let sum = if !changes(term) {
            let Lifted::Same(var) = self.lifter.value(term) else { unreachable!("{term} does not change") };
            var * builder.size(&self.parts.steps)
        } else {
            match Linear::of(node, &changes) {
                Linear::Through => {
                    let factor = matches!(node.op, Op::Binary(Binary(BinaryFn::Mul)));
                    let args: Vec<Var<'b>> = (node.args.iter())
                        .map(|&arg| match changes(arg) {
                            false if factor => match self.lifter.value(arg) {
                                Lifted::Same(var) | Lifted::Each(var) => var,
                            },
                            _ => self.sum(arg),
                        })
                        .collect();
                    builder.emit(node.op.clone(), &args)
                }
                Linear::Operands => {
                    let args: Vec<Var<'b>> = node.args.iter().map(|&arg| self.lifter.sequence(arg)).collect();
                    sum_of(&node.op, &args)
                }
                Linear::No => {
                    let all = self.lifter.sequence(term);
                    all.sum(&[0]).reshape(&node.ty.shape)
                }
            }
        };
        builder.set_origin(outside);
        sum
    }
}

/// The sum over all steps of an operation that sums over an axis itself; arguments have the steps as first axis.
fn sum_of<'b>(op: &Op, args: &[Var<'b>]) -> Var<'b> {
    let builder = args[0].builder;
    match op {
        Op::MatMul(product) => {
            // The inner axis of all steps, one below the other.
            let [left, right] = [(args[0], !product.transpose[0]), (args[1], product.transpose[1])]
                .map(|(x, turn)| join_first(if turn { x.transpose(&[0, 2, 1]) } else { x }));
            builder.emit(MatMul { transpose: [true, false] }, &[left, right])
        }
        Op::Convolution(_) => builder.emit(op.clone(), &args.iter().map(|&x| join_first(x)).collect::<Vec<_>>()),
        Op::ScatterAdd(ScatterAdd { .. }) => {
            builder.emit(op.clone(), &args.iter().map(|&x| join_first(x)).collect::<Vec<_>>())
        }
        Op::Reduce(reduce) => {
            let axes: Vec<usize> = std::iter::once(0).chain(reduce.axes.iter().map(|axis| axis + 1)).collect();
            let sum = builder.emit(Reduce { combine: Combine::Sum, axes }, args);
            let shape: Vec<Dim> = sum.shape()[1..].to_vec();
            sum.reshape(&shape)
        }
        op => unreachable!("sums over no axis: {op:?}"),
    }
}
