//! Recurrent cells: worked by hand, their paths and counts, and what the models of the charter make of them.

use netc::diag::render::render;
use netc::diag::{Code, Message, Sources};
use netc::elaborate::{Options, elaborate};
use netc::interp::{Precision, Scope, Tensor, eval};
use netc::network::Network;
use netc::ops::{Op, Role, Source};
use netc::types::{ElementType, Extents, Symbol};

fn network(text: &str) -> Network {
    let mut sources = Sources::new();
    let root = sources.add("test.net", text);
    let mut loader = |_: &str, _: &str| Err(Message::new(Code::ImportNotFound, "no files"));
    let network = elaborate(&mut sources, root, &mut loader, &Options::default());
    network.unwrap_or_else(|errors| panic!("{}", render(&sources, &errors, false)))
}

fn model(name: &str) -> Network {
    network(&std::fs::read_to_string(format!("models/{name}.net")).expect("a readable model"))
}

/// The first output for one member of `steps` steps; parameters that are not given have their written values or 1.
fn output(network: &Network, steps: usize, input: &[f64], parameters: &[(&str, &[f64])]) -> Vec<f64> {
    let mut extents = Extents::with_batch(1);
    extents.set(Symbol::Axis("T".into()), steps);
    let scope = Scope::new(extents, Precision::F64);
    let source = |source: &Source| {
        let shape = source.ty.eval(&scope.extents);
        let n = shape.iter().product();
        let data = match source.role {
            Role::Input => input.to_vec(),
            Role::Mask => vec![1.0; n],
            Role::Param => {
                let parameter = network.parameters.iter().find(|known| known.path == source.name).expect("known");
                let given = parameters.iter().find(|(name, _)| *name == source.name);
                match (&given, &parameter.initial) {
                    (Some((_, values)), _) => values.to_vec(),
                    (None, netc::network::Initial::Values(values)) => values.clone(),
                    (None, netc::network::Initial::Constant(value)) => vec![*value; n],
                    (None, other) => panic!("{}: {other:?}", source.name),
                }
            }
            _ => vec![0.0; n],
        };
        match source.ty.element {
            ElementType::F32 => Tensor::f32(&shape, data),
            ElementType::I32 => Tensor::i32(&shape, data),
        }
    };
    let values = eval(&network.inference, &source, &scope);
    values[network.inference.outputs[0].value].data.clone()
}

#[track_caller]
fn close(found: &[f64], expected: &[f64], tolerance: f64) {
    let is_close = found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < tolerance);
    assert!(is_close, "{found:?} instead of {expected:?}");
}

#[test]
fn linear_units_give_what_a_hand_works_out() {
    let found = output(&model("rnn_by_hand"), 3, &[1., 1., 1., 1., 2., 2.], &[]);
    close(&found, &[4., 4., 12., 12., 32., 32.], 1e-12);
    let other = output(&model("rnn_by_hand"), 3, &[2., 2., 1., 1., 1., 1.], &[]);
    assert_ne!(found[4..], other[4..]);
}

#[test]
fn a_gated_unit_gives_what_a_hand_works_out() {
    let xs = [3., 1., 0., 4., 1., 0., 2., 0., 0., 1., 0., 1., 3., -1., 0.];
    close(&output(&model("lstm_by_hand"), 5, &xs, &[]), &[0.000136, 0.000318, 0.000318, 6.999501, 0.0], 5e-7);
}

#[test]
fn every_model_of_the_charter_compiles() {
    for name in ["caption", "cells", "charlm", "lstm_by_hand", "pose", "rnn_by_hand", "rows", "seq2seq"] {
        let network = model(name);
        network.inference.verify();
        network.training.verify();
        assert!(network.inference.nodes().any(|(_, node)| matches!(node.op, Op::Scan(_))), "{name}");
    }
}

#[test]
fn a_character_model_has_the_published_count() {
    let text = std::fs::read_to_string("models/charlm.net").expect("a readable model").replace("512", "256");
    let network = network(&text);
    let n: usize = network.parameters.iter().map(|parameter| parameter.shape.iter().product::<usize>()).sum();
    assert_eq!(n, 874_881);
    assert_eq!(network.layers.iter().map(|layer| layer.n_parameters).sum::<usize>(), n);
    let paths: Vec<&str> = network.parameters.iter().map(|parameter| parameter.path.as_str()).collect();
    assert_eq!(
        paths[..5],
        ["embed1.weight", "lstm1.1.i.weight", "lstm1.1.i.bias", "lstm1.1.f.weight", "lstm1.1.f.bias"]
    );
    let row = network.layers.iter().find(|layer| layer.path == "lstm1.2").expect("a row for each cell");
    assert_eq!((row.kind.as_str(), row.n_parameters), ("lstm", 4 * (512 * 256 + 256)));
    // Every time step counts.
    assert_eq!(row.multiply_accumulates.to_string(), format!("{}*T", 4 * 512 * 256));
}
