//! Sums over the batch and over a map are sums of each member's: threads share members and read whole maps, where few channels
//! would have each of them read a part of every pixel, and a loss would have one thread alone add up all. What a loss adds up
//! over all elements it first adds up by rows, which are where its gradient is computed, too (`rows`).

use crate::graph::{Graph, Node, Output, Value};
use crate::index::IndexVec;
use crate::ops::{Op, Reduce};

/// With as many elements of the result, threads that share these read runs of memory that are long enough.
const MANY: usize = 128;
/// Sums of fewer elements are not worth a step of their own,
const FEW: usize = 1024;
/// unless there are many sums of so many.
const ROW: usize = 64;

/// The same graph, in which what is reduced over the first axis and others is first reduced over the others.
pub(super) fn reductions(graph: &Graph) -> Graph {
    let mut divided = graph.successor();
    let mut new: IndexVec<Value, Value> = IndexVec::new();
    for (_, node) in graph.nodes() {
        let mut push = |op: Op, args: &[Value]| {
            divided.push(op, args, node.origin).unwrap_or_else(|message| panic!("a reduction in two: {message}"))
        };
        let mut args: Vec<Value> = node.args.iter().map(|&arg| new[arg]).collect();
        let mut op = node.op.clone();
        if let Op::Reduce(reduce) = &mut op {
            if let Some(at) = row(graph, node, reduce) {
                let row = Reduce { axes: vec![reduce.axes.remove(at)], ..reduce.clone() };
                args = vec![push(row.into(), &args)];
            }
            if is_worth(graph, node, reduce) {
                let others = Reduce { axes: reduce.axes.split_off(1), ..reduce.clone() };
                args = vec![push(others.into(), &args)];
            }
        }
        new.push(push(op, &args));
    }
    divided.outputs =
        graph.outputs.iter().map(|output| Output { value: new[output.value], ..output.clone() }).collect();
    divided
}

/// Which of the axes goes along rows, where all elements of a batch are added up: the last one, or the channels of a map.
fn row(graph: &Graph, node: &Node, reduce: &Reduce) -> Option<usize> {
    let shape = &graph.ty(node.args[0]).shape;
    let axis = if shape.len() < 4 { shape.len().checked_sub(1)? } else { 1 };
    let at = reduce.axes.iter().position(|&reduced| reduced == axis)?;
    let is_row = shape[axis].as_fixed().is_some_and(|n| super::rows::ROW.contains(&n));
    let has_rows = shape.iter().any(|dim| dim.as_fixed().is_none());
    (is_row && has_rows && node.ty.n_elements().is_one() && reduce.axes.len() > 1).then_some(at)
}

fn is_worth(graph: &Graph, node: &Node, reduce: &Reduce) -> bool {
    let [0, others @ ..] = &reduce.axes[..] else { return false };
    let shape = &graph.ty(node.args[0]).shape;
    // What has a name may be large.
    let size = |axis: usize| shape[axis].as_fixed().unwrap_or(FEW);
    let kept = node.ty.n_elements().as_fixed().is_some_and(|n| n < MANY);
    let each: usize = others.iter().map(|&axis| size(axis)).product();
    let is_much = each >= ROW && shape[0].as_fixed().is_some_and(|n| n.saturating_mul(each) >= FEW * ROW);
    kept && !shape[0].is_one() && (each >= FEW || is_much)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, OutputRole};
    use crate::ops::Role;
    use crate::types::{Dim, TensorType};

    /// What a map's sums over the batch and its pixels are taken over, one after the other.
    fn axes(channels: usize, side: usize) -> Vec<Vec<usize>> {
        let builder = Builder::default();
        let shape = [Dim::batch(), Dim::fixed(channels), Dim::fixed(side), Dim::fixed(side)];
        let sum = builder.source(Role::Input, "x", TensorType::f32(shape)).sum(&[0, 2, 3]);
        builder.add_output(Output { name: "y".to_owned(), value: sum.id, role: OutputRole::Output });
        let graph = builder.finish();
        let divided = reductions(&graph);
        assert_eq!(divided.ty(divided.outputs[0].value), graph.ty(graph.outputs[0].value));
        let axes = divided.nodes().filter_map(|(_, node)| match &node.op {
            Op::Reduce(reduce) => Some(reduce.axes.clone()),
            _ => None,
        });
        axes.collect()
    }

    #[test]
    fn large_maps_of_few_channels_are_summed_by_members() {
        assert_eq!(axes(64, 56), [vec![2, 3], vec![0]]);
        assert_eq!(axes(128, 56), [vec![0, 2, 3]]);
        assert_eq!(axes(64, 7), [vec![0, 2, 3]]);
    }
}
