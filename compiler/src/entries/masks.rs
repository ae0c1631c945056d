//! The masks of sequence axes: from lengths that the caller gives, or constant where every member is as long.

use std::sync::Arc;

use super::rebuild::{add_outputs, constant_of, rebuild, successor};
use crate::graph::{Builder, Graph, Node, Var};
use crate::interp::{Precision, Scope, Tensor};
use crate::kernel::{BinaryFn, CompareFn};
use crate::ops::{Binary, Op, Role, Scan, ScanResult, Source};
use crate::types::{Dim, Extents, TensorType};

/// The graph without masks: by the lengths of the axes that have some, else 1.
///
/// Constant masks are folded away here, in the bodies of recurrences too, so that the backward pass knows nothing of
/// them.
pub(super) fn apply(graph: Graph, has_lengths: impl Fn(&str) -> bool) -> Graph {
    let is_mask = |node: &Node| matches!(&node.op, Op::Source(source) if source.role == Role::Mask);
    if !graph.nodes().any(|(_, node)| is_mask(node)) {
        return graph;
    }
    let builder = successor(&graph);
    let mut folding = Folding::default();
    let new = rebuild(&builder, &graph, |_, node, args| match &node.op {
        Op::Source(source) if source.role == Role::Mask && has_lengths(&source.name) => {
            Some(by_length(&builder, source))
        }
        Op::Source(source) if source.role == Role::Mask => {
            let one = builder.constant(1.0, source.ty.clone());
            folding.follow.push(one.id);
            Some(one)
        }
        _ => folding.fold(&builder, node, args),
    });
    add_outputs(&builder, &graph, &new);
    builder.finish()
}

/// 1 at the positions below each member's length. The source of the lengths has the name of the axis.
fn by_length<'b>(builder: &'b Builder, mask: &Source) -> Var<'b> {
    let [batch, steps] = mask.ty.shape.as_slice() else { panic!("a mask is [B, T], not {}", mask.ty) };
    let known = builder.with_graph(|graph| {
        let is_it = |node: &Node| matches!(&node.op, Op::Source(source) if source.role == Role::Input && source.name == mask.name);
        graph.nodes().find(|(_, node)| is_it(node)).map(|(value, _)| value)
    });
    let lengths = match known {
        Some(lengths) => builder.var(lengths),
        None => builder.source(Role::Input, &mask.name, TensorType::i32([batch.clone()])),
    };
    let position = builder.iota(1, vec![Dim::ONE, steps.clone()]).to_f32();
    position.compare(CompareFn::Lt, lengths.to_f32().reshape(&[batch.clone(), Dim::ONE]))
}

/// Follows constants that a mask became, and nothing else: what the file says stays as it is.
#[derive(Default)]
struct Folding {
    /// The values that are constant because a mask is.
    follow: Vec<crate::graph::Value>,
    /// Recurrences that have lost arguments: of which recurrence, with which of them, and what it became.
    scans: Vec<(Scan, Vec<Option<u64>>, Specialized)>,
}

/// A recurrence some of whose arguments are constants of its body.
#[derive(Clone)]
struct Specialized {
    body: Arc<Graph>,
    sequences: usize,
    /// The values of the new body, by those of the old.
    new: Vec<crate::graph::Value>,
}

impl Folding {
    fn fold<'b>(&mut self, builder: &'b Builder, node: &Node, args: &[Var<'b>]) -> Option<Var<'b>> {
        let followed = |arg: &Var<'_>| self.follow.contains(&arg.id);
        if !args.iter().any(followed) {
            return None;
        }
        let constant = |arg: &Var<'b>| builder.with_graph(|graph| constant_of(graph, arg.id));
        let constants: Vec<Option<f64>> = args.iter().map(constant).collect();
        if let Op::Scan(scan) = &node.op {
            let given: Vec<bool> = args.iter().map(followed).collect();
            return Some(self.specialize(builder, scan, args, &given, &constants));
        }
        // select(1, a, b) == a, select(0, a, b) == b
        if let (Op::Select(_), Some(condition)) = (&node.op, constants[0]) {
            return Some(if condition == 0.0 { args[2] } else { args[1] });
        }
        if let Op::Binary(Binary(function)) = &node.op {
            match (function, constants[0], constants[1]) {
                // x * 1 == x, x / 1 == x
                (BinaryFn::Mul | BinaryFn::Div, None, Some(1.0)) => return Some(args[0]),
                (BinaryFn::Mul, Some(1.0), None) => return Some(args[1]),
                // x + 0 == x, x - 0 == x
                (BinaryFn::Add | BinaryFn::Sub, None, Some(0.0)) => return Some(args[0]),
                (BinaryFn::Add, Some(0.0), None) => return Some(args[1]),
                _ => {}
            }
        }
        let constants: Option<Vec<f64>> = constants.into_iter().collect();
        let value = folded(&node.op, args, &constants?)?;
        let folded = builder.constant(value, node.ty.clone());
        self.follow.push(folded.id);
        Some(folded)
    }

    /// The recurrence with the constants in its body instead of among its arguments.
    fn specialize<'b>(
        &mut self,
        builder: &'b Builder,
        scan: &Scan,
        args: &[Var<'b>],
        given: &[bool],
        constants: &[Option<f64>],
    ) -> Var<'b> {
        let takes = |arg: usize| if arg >= scan.states && given[arg] { constants[arg] } else { None };
        let taken: Vec<Option<u64>> = (0..args.len()).map(|arg| takes(arg).map(f64::to_bits)).collect();
        let known = self.scans.iter().find(|(known, with, _)| *with == taken && known.is_same_recurrence(scan));
        let specialized = match known {
            Some((_, _, specialized)) => specialized.clone(),
            None => {
                let specialized = specialized(scan, &taken);
                self.scans.push((scan.clone(), taken.clone(), specialized.clone()));
                specialized
            }
        };
        let Specialized { body, sequences, new } = specialized;
        let result = match scan.result {
            ScanResult::Final(state) => ScanResult::Final(state),
            ScanResult::Each(value) => ScanResult::Each(new[crate::index::Id::index(value)]),
        };
        let rest: Vec<Var<'b>> =
            args.iter().zip(&taken).filter(|(_, taken)| taken.is_none()).map(|(&arg, _)| arg).collect();
        builder.emit(Scan { body, sequences, result, ..scan.clone() }, &rest)
    }
}

fn specialized(scan: &Scan, taken: &[Option<u64>]) -> Specialized {
    let builder = successor(&scan.body);
    let mut folding = Folding::default();
    let mut arg = 0;
    let new = rebuild(&builder, &scan.body, |_, node, args| match &node.op {
        Op::Source(source) => {
            let given = taken[arg];
            arg += 1;
            let constant = builder.constant(f64::from_bits(given?), source.ty.clone());
            folding.follow.push(constant.id);
            Some(constant)
        }
        _ => folding.fold(&builder, node, args),
    });
    add_outputs(&builder, &scan.body, &new);
    let new = new.values().map(|var| var.id).collect();
    let is_sequence = |arg: &usize| (scan.states..scan.states + scan.sequences).contains(arg);
    let sequences = (0..taken.len()).filter(|arg| is_sequence(arg) && taken[*arg].is_none()).count();
    Specialized { body: Arc::new(builder.finish()), sequences, new }
}

/// The number that an operation of constants is everywhere.
fn folded(op: &Op, args: &[Var<'_>], constants: &[f64]) -> Option<f64> {
    match op {
        Op::Broadcast(_) | Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_) | Op::StopGradient(_) => Some(constants[0]),
        Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select(_) | Op::Convert(_) => {
            let scope = Scope::new(Extents::default(), Precision::F32);
            let single = |(arg, &x): (&Var<'_>, &f64)| Tensor::new(arg.ty().element, &[], vec![scope.round(x)]);
            let tensors: Vec<Tensor> = args.iter().zip(constants).map(single).collect();
            Some(op.eval(&tensors.iter().collect::<Vec<_>>(), &[], &scope).data[0])
        }
        _ => None,
    }
}
