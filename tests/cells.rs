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
                    (None, netc::network::Initial::Values { values }) => values.clone(),
                    (None, netc::network::Initial::Constant { value }) => vec![*value; n],
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
    for name in [
        "caption",
        "cells",
        "charlm",
        "hello",
        "lstm_by_hand",
        "pose",
        "rnn_by_hand",
        "rows",
        "seq2seq",
        "seq2seq_attention",
    ] {
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

#[test]
fn the_library_is_what_a_user_could_write() {
    let cells = std::fs::read_to_string("models/cells.net").expect("a readable model");
    let cells = cells.split("net nowcast").next().expect("cells");
    let used = |cell: &str| network(&format!("{cells}\nnet n {{\n input x[T, 3]\n same = {cell}\n}}\n"));
    for (library, own) in [
        ("rnn(4)", "elman(4)"),
        ("lstm(4)", "lstm_cell(4)"),
        ("gru(4)", "gru_cell(4)"),
        ("rnn(4, act = relu)", "elman(4, act = relu)"),
    ] {
        let (a, b) = (used(library), used(own));
        assert_eq!(a.inference.to_string(), b.inference.to_string(), "{library}");
        assert_eq!(a.parameters.len(), b.parameters.len(), "{library}");
    }
}

/// Paths of all parameters.
fn paths(network: &Network) -> Vec<&str> {
    network.parameters.iter().map(|parameter| parameter.path.as_str()).collect()
}

#[test]
fn paths_are_named_by_the_equations() {
    let body =
        "net n {\n input x[T, 3]\n gru(4)\n gru(4, reset = after)\n layer back = bidirectional(rnn(2))x2\n back\n}";
    let expected = [
        "gru1.z",
        "gru1.r",
        "gru1.candidate",
        "gru2.z",
        "gru2.r",
        "gru2.recurrent",
        "gru2.candidate",
        "back.bidirectional1.1.forward.h",
        "back.bidirectional1.1.backward.h",
        "back.bidirectional1.2.forward.h",
        "back.bidirectional1.2.backward.h",
    ];
    let network = network(body);
    let weights: Vec<&str> = paths(&network).into_iter().filter_map(|path| path.strip_suffix(".weight")).collect();
    assert_eq!(weights, expected);
    let scan = network.inference.nodes().find_map(|(_, node)| match &node.op {
        Op::Scan(scan) => Some(scan.clone()),
        _ => None,
    });
    let scan = scan.expect("a recurrence");
    assert_eq!(scan.body.outputs[0].name, "gru1.h");
}

#[test]
fn a_users_cell_hides_the_librarys() {
    let text = "cell lstm(n) {\n input x[m]\n state only[n]\n only' = [x, only] -> dense(n)\n output only'\n}\n\
                net n {\n input x[T, 3]\n lstm(4)\n}\n";
    assert_eq!(paths(&network(text)), ["lstm1.only.weight", "lstm1.only.bias"]);
}

#[test]
fn matrices_of_states_begin_orthogonal() {
    use netc::network::{Columns, Initial};
    let network = network("net n {\n input x[T, 3]\n gru(4, reset = after)\n}");
    let initial = |path: &str| &network.parameters.iter().find(|known| known.path == path).expect("known").initial;
    let Initial::Columns { blocks } = initial("gru1.z.weight") else { panic!("{:?}", initial("gru1.z.weight")) };
    let limit = (6.0f64 / 7.0).sqrt();
    let uniform = Columns { count: 3, initial: Initial::Uniform { low: -limit, high: limit } };
    let orthogonal = Columns { count: 4, initial: Initial::Orthogonal { gain: 1.0 } };
    assert_eq!(blocks[..], [uniform, orthogonal]);
    assert_eq!(*initial("gru1.recurrent.weight"), Initial::Orthogonal { gain: 1.0 });
    assert_eq!(*initial("gru1.candidate.weight"), Initial::Uniform { low: -limit, high: limit });
}

#[test]
fn cells_stand_in_blocks_and_blocks_in_cells() {
    network(
        "block wide(n, f) {\n  input x[m]\n  f -> dense(n)\n}
block pick(n) {\n  dense(n) -> tanh\n}
cell c(n, inner) {\n  input x[m]\n  state h[n], count[1] = 1\n  param start[n] = 0.5\n  for i in 0..2 {\n    inner\n  }
  y = inner\n  h' = [y, h, count] -> pick(n)\n  count' = count + 1\n  output h' + start\n}
cell rows(n) {\n  input row[width, m]\n  state h[n]\n  seen = row -> gru(n) -> last\n  h' = tanh([seen, h] -> dense(n))\n  output h'\n}
net n {\n  input x[T, 3]\n  input pages[T, S, 5]\n  x -> concat {\n    lstm(4)\n    reverse(c(3, inner = dense(3, relu)))\n  }
  a = x -> wide(2, f = bidirectional(gru(2)))\n  words = pages -> gru(4) -> last\n  output [a, words]\n}",
    );
}

#[test]
fn settings_of_generation_are_read() {
    use netc::network::{Draw, Generate};
    let charlm = model("charlm");
    let draw = Draw::Sample { temperature: 0.8, top_k: None };
    let expected = Generate { input: "text".into(), output: "logits".into(), draw, until: None, length: 500 };
    assert_eq!((charlm.generate, charlm.axes), (Some(expected), vec!["T".to_owned()]));
    let seq2seq = model("seq2seq_attention");
    let expected =
        Generate { input: "prefix".into(), output: "logits".into(), draw: Draw::ArgMax, until: Some(0), length: 40 };
    assert_eq!((seq2seq.generate, seq2seq.axes), (Some(expected), vec!["S".to_owned(), "U".to_owned()]));
}

#[test]
fn attention_counts_its_products() {
    let network = network(
        "net n {\n input memory[S, 8]\n input x[T, 4]\n a = memory -> multi_head_attention(2, query = x)\n output a\n}",
    );
    let rows: Vec<(String, String)> =
        network.layers.iter().map(|row| (row.path.clone(), row.multiply_accumulates.to_string())).collect();
    let expected = [
        ("multi_head_attention1", "32*T"),
        ("multi_head_attention1.memory", "64*S"),
        ("multi_head_attention1.scores", "8*S*T"),
    ];
    assert_eq!(rows, expected.map(|(path, count)| (path.to_owned(), count.to_owned())));
}
