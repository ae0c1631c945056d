//! Recurrences through every pass: what each does to the graph, and that none changes what it means.

#[path = "support/cells.rs"]
mod cells;
mod support;

use netc::autodiff::gradient;
use netc::graph::{Builder, Graph, Output, OutputRole};
use netc::ops::{Op, Role};
use netc::schedule::schedule;
use netc::simplify::recurrence::{after_gradient, before_gradient};
use netc::simplify::simplify;
use support::Case;

const SIZES: [(usize, usize); 5] = [(3, 5), (1, 1), (2, 4), (2, 0), (0, 3)];

/// The loss of a cell over a sequence, with its gradients as outputs.
fn with_gradients(graph: Graph) -> Graph {
    let loss = graph.outputs[0].value;
    let wrt: Vec<_> = graph
        .nodes()
        .filter_map(|(value, node)| match &node.op {
            Op::Source(source) if matches!(source.role, Role::Param | Role::Input) => {
                Some((source.name.clone(), value))
            }
            _ => None,
        })
        .collect();
    let builder = Builder::from_graph(graph);
    let gradients = gradient(&builder, builder.var(loss), &wrt.iter().map(|(_, value)| *value).collect::<Vec<_>>());
    for ((name, _), gradient) in wrt.into_iter().zip(gradients) {
        builder.add_output(Output { role: OutputRole::Gradient, name, value: gradient.id });
    }
    builder.finish()
}

#[test]
fn every_cell_means_the_same_through_every_pass() {
    for (name, graph) in cells::all() {
        eprintln!("{name}");
        let plain = with_gradients(graph.clone());
        let fast = after_gradient(&with_gradients(before_gradient(&graph)));
        if std::env::var("SHOW").is_ok_and(|shown| shown == name) {
            println!("{graph}\n---- before\n{}\n---- after\n{fast}", before_gradient(&graph));
            println!("{}", schedule(&fast).program);
        }
        for (kind, graph) in [("forward", &before_gradient(&graph)), ("gradients", &fast), ("plain", &simplify(&plain))]
        {
            let scheduled = schedule(graph);
            let expected = if kind == "forward" { &cells::only_outputs(&plain) } else { &plain };
            Case {
                what: &format!("{name}, {kind}"),
                graph: expected,
                scheduled: &scheduled,
                sizes: &SIZES,
                sample: &cells::sample,
                tolerance: 1e-4,
            }
            .check();
        }
    }
}
