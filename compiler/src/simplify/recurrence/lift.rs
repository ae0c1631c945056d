//! One operation for all steps at once: the same on arguments with the steps as their first axis.

use std::collections::BTreeMap;

use super::{Class, Loop};
use crate::graph::{Value, Var};
use crate::index::IndexVec;
use crate::ops::{
    Broadcast, Concat, Convolution, Direction, MatMul, Op, Pad, Reduce, Reshape, Slice, Transpose, WindowArgMax,
    WindowReduce, WindowSpread,
};
use crate::types::{Dim, TensorType};

/// A value outside of the loop.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lifted<'b> {
    /// The same at every step.
    Same(Var<'b>),
    /// `[steps, …]`
    Each(Var<'b>),
}

impl<'b> Lifted<'b> {
    /// With the steps as first axis, whether or not it changes along them.
    pub(super) fn at_all(self, steps: &Dim) -> Var<'b> {
        match self {
            Lifted::Each(var) => var,
            Lifted::Same(var) => var.broadcast_to(&[std::slice::from_ref(steps), var.shape().as_slice()].concat()),
        }
    }
    pub(super) fn var(self) -> Var<'b> {
        match self {
            Lifted::Same(var) | Lifted::Each(var) => var,
        }
    }
    fn changes(self) -> bool {
        matches!(self, Lifted::Each(_))
    }
}

/// Whether [`lift`] knows the operation, for arguments of which `changes` says whether they change along the steps.
/// `rank` is the result's.
pub(super) fn can_lift(op: &Op, changes: &[bool], rank: usize) -> bool {
    match op {
        // Products of a batch have no rows to put below each other.
        Op::MatMul(_) if rank > 2 => false,
        Op::Unary(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::Select(_)
        | Op::Convert(_)
        | Op::StopGradient(_)
        | Op::Reduce(_)
        | Op::Broadcast(_)
        | Op::Reshape(_)
        | Op::Transpose(_)
        | Op::Slice(_)
        | Op::Pad(_)
        | Op::Concat(_)
        | Op::WindowReduce(_)
        | Op::WindowArgMax(_) => true,
        Op::WindowSpread(_) => changes.iter().all(|&changes| changes),
        Op::Gather(_) | Op::MatMul(_) => *changes == [!matches!(op, Op::Gather(_)), matches!(op, Op::Gather(_))],
        Op::Convolution(convolution) => convolution.direction != Direction::WeightGrad && *changes == [true, false],
        Op::Source(_)
        | Op::Constant(_)
        | Op::Iota(_)
        | Op::SizeOf(_)
        | Op::ScatterAdd(_)
        | Op::Random(_)
        | Op::Scan(_) => false,
    }
}

/// The operation for all steps. `ty` is the result's type at one step.
pub(super) fn lift<'b>(op: &Op, args: &[Lifted<'b>], ty: &TensorType, steps: &Dim) -> Var<'b> {
    let changes: Vec<bool> = args.iter().map(|arg| arg.changes()).collect();
    assert!(can_lift(op, &changes, ty.rank()), "cannot be computed for all steps: {op:?}");
    let all: Vec<Var<'b>> = match op {
        Op::Gather(_) | Op::MatMul(_) | Op::Convolution(_) => args
            .iter()
            .map(|arg| match arg {
                Lifted::Same(var) | Lifted::Each(var) => *var,
            })
            .collect(),
        _ => args.iter().map(|arg| arg.at_all(steps)).collect(),
    };
    let builder = all[0].builder;
    let lead = |shape: &[Dim]| [std::slice::from_ref(steps), shape].concat();
    let op: Op = match op {
        Op::Reduce(reduce) => {
            let axes = reduce.axes.iter().map(|axis| axis + 1).collect();
            Reduce { combine: reduce.combine, axes }.into()
        }
        Op::Broadcast(broadcast) => Broadcast { to: lead(&broadcast.to) }.into(),
        Op::Reshape(reshape) => Reshape { to: lead(&reshape.to) }.into(),
        Op::Transpose(transpose) => {
            Transpose { order: std::iter::once(0).chain(transpose.order.iter().map(|axis| axis + 1)).collect() }.into()
        }
        Op::Slice(slice) => Slice { axis: slice.axis + 1, ..slice.clone() }.into(),
        Op::Pad(pad) => Pad { axis: pad.axis + 1, ..pad.clone() }.into(),
        Op::Concat(concat) => Concat { axis: concat.axis + 1 }.into(),
        Op::MatMul(product) => {
            // The rows of all steps, one below the other.
            let left = if product.transpose[0] { all[0].transpose(&[0, 2, 1]) } else { all[0] };
            let rows = join_first(left);
            let product = MatMul { transpose: [false, product.transpose[1]] };
            return builder.emit(product, &[rows, all[1]]).reshape(&lead(&ty.shape));
        }
        Op::Convolution(Convolution { .. }) => {
            let images = join_first(all[0]);
            return builder.emit(op.clone(), &[images, all[1]]).reshape(&lead(&ty.shape));
        }
        Op::WindowReduce(WindowReduce { .. })
        | Op::WindowArgMax(WindowArgMax { .. })
        | Op::WindowSpread(WindowSpread { .. }) => {
            let images: Vec<Var<'b>> = all.iter().map(|&var| join_first(var)).collect();
            return builder.emit(op.clone(), &images).reshape(&lead(&ty.shape));
        }
        op => op.clone(),
    };
    builder.emit(op, &all)
}

/// Values for all steps, computed outside once.
pub(super) struct Lifter<'a, 'b> {
    parts: &'a Loop<'b>,
    classes: &'a IndexVec<Value, Class>,
    memo: BTreeMap<Value, Lifted<'b>>,
}

impl<'a, 'b> Lifter<'a, 'b> {
    /// With values that are known for all steps.
    pub(super) fn new(
        parts: &'a Loop<'b>,
        classes: &'a IndexVec<Value, Class>,
        memo: BTreeMap<Value, Lifted<'b>>,
    ) -> Self {
        Lifter { parts, classes, memo }
    }
    /// A value for all steps, with the steps as its first axis.
    pub(super) fn sequence(&mut self, value: Value) -> Var<'b> {
        self.value(value).at_all(&self.parts.steps)
    }
    pub(super) fn value(&mut self, wanted: Value) -> Lifted<'b> {
        let body = &self.parts.body;
        // From the arguments up, without recursion.
        let mut open = vec![wanted];
        while let Some(&value) = open.last() {
            if self.memo.contains_key(&value) {
                open.pop();
                continue;
            }
            let node = body.node(value);
            let missing: Vec<Value> = node.args.iter().copied().filter(|arg| !self.memo.contains_key(arg)).collect();
            if !missing.is_empty() {
                open.extend(missing);
                continue;
            }
            let args: Vec<Lifted<'b>> = node.args.iter().map(|arg| self.memo[arg]).collect();
            let outside = self.parts.builder.set_origin(node.origin);
            let lifted = match &node.op {
                Op::Source(source) => self.parts.argument(&source.name),
                op if self.classes[value] == Class::Invariant => {
                    let args: Vec<Var<'b>> = args
                        .iter()
                        .map(|arg| match arg {
                            Lifted::Same(var) => *var,
                            Lifted::Each(_) => unreachable!("{value} is the same at every step"),
                        })
                        .collect();
                    Lifted::Same(self.parts.builder.emit(op.clone(), &args))
                }
                op => Lifted::Each(lift(op, &args, &node.ty, &self.parts.steps)),
            };
            self.parts.builder.set_origin(outside);
            self.memo.insert(value, lifted);
        }
        self.memo[&wanted]
    }
}

/// The first two axes as one.
pub(super) fn join_first(x: Var<'_>) -> Var<'_> {
    let shape = x.shape();
    x.reshape(&[&[shape[0].times(&shape[1])], &shape[2..]].concat())
}
