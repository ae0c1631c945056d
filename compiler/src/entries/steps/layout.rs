//! Where the stepped axis lies in each value, and whether one step of the value needs one step of its arguments alone.

use super::last;
use crate::graph::{Graph, Node, Value};
use crate::index::IndexVec;
use crate::kernel::Direction;
use crate::ops::{Iota, Op, Scan, ScanResult};
use crate::types::{Dim, Symbol, TensorType, product};

/// How a value depends on the steps.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Layout {
    /// Not at all.
    Absent,
    /// It has a part for each step, along `axis`. Of that axis, `inner` elements in a row belong to one step; `None` when
    /// they are all the same.
    Along { axis: usize, inner: Option<Dim> },
    /// It is what the steps so far have come to.
    Ended,
}

/// Why a value cannot be computed step by step, and where that began.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Trouble {
    pub(super) at: Value,
    pub(super) why: &'static str,
}

const ALL: &str = "needs all steps at once";
const BACKWARDS: &str = "reads the sequence backwards";
const BEGINS: &str = "begins with what comes of the steps";
const COMPARES: &str = "compares steps with each other";
const MIXES: &str = "mixes the steps";
const POSITION: &str = "depends on how many steps there are, or on the number of the step";
const WINDOWS: &str = "has windows that reach over several steps";

pub(super) fn of_graph(graph: &Graph, axis: &str) -> IndexVec<Value, Result<Layout, Trouble>> {
    layouts(graph, &Symbol::Axis(axis.into()), &mut std::iter::empty())
}

/// The layouts of all values; those of the first sources are given.
fn layouts(
    graph: &Graph,
    axis: &Symbol,
    given: &mut dyn Iterator<Item = Layout>,
) -> IndexVec<Value, Result<Layout, Trouble>> {
    let mut found: IndexVec<Value, Result<Layout, Trouble>> = IndexVec::new();
    for (value, node) in graph.nodes() {
        let source = if matches!(node.op, Op::Source(_)) { given.next() } else { None };
        let layout = match source {
            Some(layout) => Ok(layout),
            None => of_value(graph, value, axis, &found),
        };
        found.push(layout);
    }
    found
}

fn of_value(
    graph: &Graph,
    value: Value,
    axis: &Symbol,
    found: &IndexVec<Value, Result<Layout, Trouble>>,
) -> Result<Layout, Trouble> {
    if let Some(x) = last::of(graph, value)
        && let Ok(Layout::Along { .. }) = &found[x]
    {
        return Ok(Layout::Ended);
    }
    let node = graph.node(value);
    let args = node.args.iter().map(|&arg| found[arg].clone()).collect::<Result<Vec<Layout>, Trouble>>()?;
    let types: Vec<&TensorType> = node.args.iter().map(|&arg| graph.ty(arg)).collect();
    of_node(node, &args, &types, axis).map_err(|why| Trouble { at: value, why })
}

fn of_node(node: &Node, args: &[Layout], types: &[&TensorType], axis: &Symbol) -> Result<Layout, &'static str> {
    let dims = &node.ty.shape;
    if dims.iter().any(|dim| is_derived(dim, axis)) {
        return Err(WINDOWS);
    }
    let place = match dims.iter().map(|dim| count(dim, axis)).sum::<usize>() {
        0 => None,
        1 => dims.iter().position(|dim| count(dim, axis) == 1),
        _ => return Err(COMPARES),
    };
    if let Op::Scan(scan) = &node.op {
        return of_scan(scan, args, axis);
    }
    let is_along = |layout: &Layout| matches!(layout, Layout::Along { .. });
    let ended = args.contains(&Layout::Ended);
    let Some(place) = place else {
        return match &node.op {
            Op::SizeOf(size) if count(&size.dim, axis) > 0 || is_derived(&size.dim, axis) => Err(POSITION),
            _ if args.iter().any(is_along) => Err(ALL),
            _ => Ok(if ended { Layout::Ended } else { Layout::Absent }),
        };
    };
    if ended {
        return Err(ALL);
    }
    // What no argument has comes of a source, or is the same at every step.
    let exactly = || dims[place] == Dim::from(axis.clone());
    let fresh = || Layout::Along { axis: place, inner: exactly().then_some(Dim::ONE) };
    if !args.iter().any(is_along) {
        return match &node.op {
            Op::Source(_) if !exactly() => Err(MIXES),
            Op::Iota(Iota { axis, .. }) if *axis == place => Err(POSITION),
            Op::Random(_) => Err(POSITION),
            _ => Ok(fresh()),
        };
    }
    along(node, args, types, place)
}

/// The layout of a value that has steps, from arguments some of which have.
fn along(node: &Node, args: &[Layout], types: &[&TensorType], place: usize) -> Result<Layout, &'static str> {
    let at = |arg: usize| match &args[arg] {
        Layout::Along { axis, inner } => Some((*axis, inner.clone())),
        Layout::Absent | Layout::Ended => None,
    };
    let stays = |arg: usize| at(arg).map(|(axis, inner)| Layout::Along { axis, inner }).ok_or(ALL);
    match &node.op {
        Op::Unary(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::Select(_)
        | Op::Convert(_)
        | Op::StopGradient(_)
        | Op::Concat(_) => args.iter().skip(1).try_fold(args[0].clone(), |one, other| unify(&one, other)),
        Op::Broadcast(_) => stays(0),
        Op::Reduce(reduce) if reduce.axes.contains(&place) => Err(ALL),
        Op::Reduce(_) => stays(0),
        Op::Reshape(_) => {
            let (axis, inner) = at(0).ok_or(ALL)?;
            reshaped(&types[0].shape, axis, inner, &node.ty.shape, place)
        }
        Op::Transpose(_) => at(0).map(|(_, inner)| Layout::Along { axis: place, inner }).ok_or(ALL),
        Op::Slice(slice) if slice.axis == place => Err(MIXES),
        Op::Pad(pad) if pad.axis == place => Err(MIXES),
        Op::Slice(_) | Op::Pad(_) => stays(0),
        // A table has no steps; the rows chosen are where their numbers are.
        Op::Gather(_) => stays(1),
        // The result has the steps, so they are not what is summed over.
        Op::MatMul(_) => {
            let (_, inner) = at(0).or_else(|| at(1)).ok_or(ALL)?;
            Ok(Layout::Along { axis: place, inner })
        }
        Op::Convolution(op) if op.direction == Direction::Forward && place == 0 && at(1).is_none() => stays(0),
        Op::WindowReduce(_) if place < 2 => stays(0),
        Op::Convolution(_) | Op::WindowReduce(_) => Err(WINDOWS),
        Op::ScatterAdd(_) | Op::WindowArgMax(_) | Op::WindowSpread(_) => Err(ALL),
        Op::Source(_) | Op::Constant(_) | Op::Iota(_) | Op::SizeOf(_) | Op::Random(_) | Op::Scan(_) => {
            unreachable!("{node:?} has no arguments, or was looked at before")
        }
    }
}

/// The layout of two values whose elements are paired.
fn unify(one: &Layout, other: &Layout) -> Result<Layout, &'static str> {
    match (one, other) {
        (Layout::Along { axis: a, inner: one }, Layout::Along { axis: b, inner: other }) if a == b => {
            match (one, other) {
                (None, inner) | (inner, None) => Ok(Layout::Along { axis: *a, inner: inner.clone() }),
                (Some(one), Some(other)) if one == other => Ok(Layout::Along { axis: *a, inner: Some(one.clone()) }),
                _ => Err(MIXES),
            }
        }
        _ if one == other => Ok(one.clone()),
        _ => Err(MIXES),
    }
}

/// The steps keep their place in the row-major order, so what lies within one step has the same number of elements.
fn reshaped(from: &[Dim], axis: usize, inner: Option<Dim>, to: &[Dim], place: usize) -> Result<Layout, &'static str> {
    let (after, new_after) = (product(&from[axis + 1..]), product(&to[place + 1..]));
    let (before, new_before) = (product(&from[..axis]), product(&to[..place]));
    let Some(inner) = inner else {
        let is_within = new_after.divided_by(&after).is_some() && new_before.divided_by(&before).is_some();
        let is_single = matches!(to[place].symbols(), [_]) && to[place].factor() == 1;
        return match is_within {
            true => Ok(Layout::Along { axis: place, inner: is_single.then_some(Dim::ONE) }),
            false => Err(MIXES),
        };
    };
    let inner = inner.times(&after).divided_by(&new_after).ok_or(MIXES)?;
    // What is left of the new axis is the steps and what lies around them.
    to[place].divided_by(&inner).ok_or(MIXES)?;
    let is_single = matches!(to[place].symbols(), [_]) && to[place].factor() == 1;
    if is_single && !inner.is_one() { Err(MIXES) } else { Ok(Layout::Along { axis: place, inner: Some(inner) }) }
}

fn of_scan(scan: &Scan, args: &[Layout], axis: &Symbol) -> Result<Layout, &'static str> {
    let (initial, rest) = args.split_at(scan.states);
    let (sequences, shared) = rest.split_at(scan.sequences);
    if scan.steps != Dim::from(axis.clone()) {
        return if is_derived(&scan.steps, axis) { Err(WINDOWS) } else { of_other_scan(scan, args, axis) };
    }
    let mentions = |node: &Node| {
        let sizes: &[Dim] = if let Op::SizeOf(size) = &node.op { std::slice::from_ref(&size.dim) } else { &[] };
        node.ty.shape.iter().chain(sizes).any(|dim| count(dim, axis) > 0 || is_derived(dim, axis))
    };
    let is_first = |layout: &Layout| matches!(layout, Layout::Along { axis: 0, inner: Some(inner) } if inner.is_one());
    match scan.result {
        _ if scan.reverse => Err(BACKWARDS),
        _ if initial.iter().any(|layout| *layout != Layout::Absent) => Err(BEGINS),
        _ if !sequences.iter().all(is_first) => Err(MIXES),
        _ if shared.contains(&Layout::Ended) => Err(ALL),
        _ if shared.iter().any(|layout| *layout != Layout::Absent) => Err(COMPARES),
        _ if scan.body.nodes().any(|(_, node)| mentions(node)) => Err(COMPARES),
        ScanResult::Final(_) => Ok(Layout::Ended),
        ScanResult::Each(_) => Ok(Layout::Along { axis: 0, inner: Some(Dim::ONE) }),
    }
}

/// A recurrence along another axis, done anew at each step.
fn of_other_scan(scan: &Scan, args: &[Layout], axis: &Symbol) -> Result<Layout, &'static str> {
    if args.iter().all(|layout| *layout == Layout::Absent) {
        return Ok(Layout::Absent);
    }
    let is_sequence = |arg: usize| (scan.states..scan.states + scan.sequences).contains(&arg);
    let mut given = Vec::new();
    for (arg, layout) in args.iter().enumerate() {
        given.push(match layout {
            Layout::Along { axis: 0, .. } if is_sequence(arg) => return Err(MIXES),
            Layout::Along { axis, inner } if is_sequence(arg) => Layout::Along { axis: axis - 1, inner: inner.clone() },
            layout => layout.clone(),
        });
    }
    // The layout of a state is that of its first and its next value.
    loop {
        let found = layouts(&scan.body, axis, &mut given.iter().cloned());
        let mut changed = false;
        for (state, output) in scan.body.outputs.iter().enumerate() {
            let next = found[output.value].as_ref().map_err(|trouble| trouble.why)?;
            let both = match (&given[state], next) {
                (Layout::Absent | Layout::Ended, Layout::Absent | Layout::Ended) => {
                    let ended = given[state] == Layout::Ended || *next == Layout::Ended;
                    if ended { Layout::Ended } else { Layout::Absent }
                }
                (one, other) => unify(one, other)?,
            };
            changed |= both != given[state];
            given[state] = both;
        }
        if changed {
            continue;
        }
        return match scan.result {
            ScanResult::Final(state) => Ok(given[state].clone()),
            ScanResult::Each(value) => match found[value].clone().map_err(|trouble| trouble.why)? {
                Layout::Along { axis, inner } => Ok(Layout::Along { axis: axis + 1, inner }),
                layout => Ok(layout),
            },
        };
    }
}

/// How often a size has the axis as a factor.
fn count(dim: &Dim, axis: &Symbol) -> usize {
    dim.symbols().iter().filter(|symbol| *symbol == axis).count()
}

/// Whether a window made the size of the axis.
fn is_derived(dim: &Dim, axis: &Symbol) -> bool {
    dim.symbols().iter().any(|symbol| match symbol {
        Symbol::Derived(derived) => count(&derived.of, axis) > 0 || is_derived(&derived.of, axis),
        Symbol::Batch | Symbol::Axis(_) => false,
    })
}
