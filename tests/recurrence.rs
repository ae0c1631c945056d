//! Recurrences through every pass: what each does to the graph, and that none changes what it means.

#[path = "support/cells.rs"]
mod cells;
mod support;

use ndarray::{Array3, s};
use netc::autodiff::gradient;
use netc::graph::{Builder, Graph, Output, OutputRole};
use netc::ops::{Op, Role};
use netc::pipeline::{Entry, Observer, Stage};
use netc::schedule::schedule;
use netc::simplify::recurrence::{after_gradient, before_gradient};
use netc::simplify::simplify;
use netc::simplify::tables::multiply_tables;
use netc::types::{Dim, ElementType, Extents, Symbol};
use netc::{Session, SessionOptions};
use support::Case;

const SIZES: [(usize, usize); 5] = [(3, 5), (1, 1), (2, 4), (2, 0), (0, 3)];

/// The loss of a cell over a sequence, with its gradients as outputs.
fn with_gradients(graph: Graph) -> Graph {
    let loss = graph.outputs[0].value;
    let wrt: Vec<_> = graph
        .nodes()
        .filter_map(|(value, node)| match &node.op {
            Op::Source(source)
                if matches!(source.role, Role::Param | Role::Input) && source.ty.element == ElementType::F32 =>
            {
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
        let plain = with_gradients(graph.clone());
        let fast = after_gradient(&with_gradients(before_gradient(&graph)));
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

/// Where more characters are read than there are, rows of their table are multiplied, not those that are read.
#[test]
fn tables_are_multiplied_before_rows_are_chosen() {
    let graph = cells::characters(16);
    let read = |steps: usize, graph: &Graph| {
        let mut extents = Extents::with_batch(4);
        extents.set(Symbol::Axis("T".into()), steps);
        multiply_tables(&before_gradient(graph), &extents)
    };
    let fast = after_gradient(&with_gradients(read(4, &graph)));
    let of_table = [Dim::fixed(cells::CHARACTERS), Dim::fixed(16), Dim::fixed(5)];
    let products = |graph: &Graph| -> Vec<Vec<Dim>> {
        let products = graph.nodes().filter(|(_, node)| matches!(node.op, Op::MatMul(_)));
        products.map(|(value, _)| graph.ty(value).shape.clone()).collect()
    };
    let found = products(&fast);
    let are_few = |shape: &Vec<Dim>| shape.iter().all(|dim| of_table.contains(dim));
    // Forward, and the gradients of the table, of the weights that multiply it, and of the recurrent ones.
    assert!(found.len() == 4 && found.iter().all(are_few), "{fast}");
    Case {
        what: "characters",
        graph: &with_gradients(graph.clone()),
        scheduled: &schedule(&fast),
        sizes: &SIZES,
        sample: &cells::sample,
        tolerance: 1e-4,
    }
    .check();
    // Too few are read, and too little is multiplied.
    for (steps, graph) in [(3, graph), (9, cells::characters(15))] {
        assert_eq!(read(steps, &graph).to_string(), before_gradient(&graph).to_string());
    }
}

/// Notices when an entry is compiled.
#[derive(Default)]
struct Compiled(usize);

impl Observer for Compiled {
    fn after(&mut self, stage: Stage, _: &dyn std::fmt::Display) {
        self.0 += usize::from(stage == Stage::Clif);
    }
}

/// Code does not know how long a sequence is: 5,000 steps run what was compiled for 50, and begin with the same numbers.
#[test]
fn long_sequences_run_the_code_of_short_ones() {
    let text = "net long {\n  input x[T, 3]\n  target y[T, 2]\n  lstm(8) -> gru(5)\n  z = dense(2)\n  output z\n  \
                loss mse(z, y)\n}";
    let network = netc::check_source("long.net", text).unwrap_or_else(|error| panic!("{error}"));
    let mut session = Session::new(network, &SessionOptions { threads: 2, seed: 1 });
    let mut seen = Compiled::default();
    for entry in [Entry::Forward, Entry::Gradients] {
        session.compile(entry, &mut seen).unwrap();
    }
    assert_eq!(seen.0, 2);
    let mut outputs = Vec::new();
    for steps in [50, 5_000, 0, 50] {
        let x = Array3::from_shape_fn((2, steps, 3), |(b, t, i)| ((b + 7 * t + 3 * i) % 11) as f32 / 11.0 - 0.5);
        let y = Array3::<f32>::ones((2, steps, 2));
        let z = session.forward(&[("x", x.view().into())]).unwrap().get("z").unwrap().into_owned();
        let all = session.gradients(&[("x", x.view().into()), ("y", y.view().into())]).unwrap();
        assert!(
            steps == 0 || all.gradients().all(|(_, gradient)| gradient.iter().all(|x| x.is_finite())),
            "T = {steps}"
        );
        assert_eq!(z.shape(), [2, steps, 2]);
        outputs.push(z.slice(s![.., ..steps.min(50), ..]).into_owned());
    }
    assert_eq!(outputs[0], outputs[1]);
    assert_eq!(outputs[0], outputs[3]);
    for entry in [Entry::Forward, Entry::Gradients] {
        session.compile(entry, &mut seen).unwrap();
    }
    assert_eq!(seen.0, 2, "nothing was compiled again");
}
