//! Networks as they come out of a file: counts, paths, both graphs, settings.

use netc::diag::render::render;
use netc::diag::{Code, Message, Sources};
use netc::elaborate::{Options, elaborate};
use netc::network::Network;

#[track_caller]
fn network(text: &str) -> Network {
    with_overrides(text, &[])
}

#[track_caller]
fn with_overrides(text: &str, overrides: &[(&str, &str)]) -> Network {
    try_network(text, overrides).unwrap_or_else(|errors| panic!("{errors}"))
}

fn try_network(text: &str, overrides: &[(&str, &str)]) -> Result<Network, String> {
    let mut sources = Sources::new();
    let root = sources.add("test.net", text);
    let overrides = overrides.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let mut loader = |path: &str, _: &str| Err(Message::new(Code::ImportNotFound, format!("no file `{path}`")));
    let options = Options { net: None, overrides };
    elaborate(&mut sources, root, &mut loader, &options).map_err(|errors| render(&sources, &errors, false))
}

fn model(name: &str) -> String {
    std::fs::read_to_string(format!("models/{name}.net")).expect("a readable model")
}

fn n_parameters(network: &Network) -> usize {
    network.parameters.iter().map(|parameter| parameter.shape.iter().product::<usize>()).sum()
}

/// Parameters and multiply-accumulates, by the parameters and by the rows of the table.
#[track_caller]
fn check_counts(text: &str, parameters: usize, multiply_accumulates: usize) {
    let network = network(text);
    assert_eq!(n_parameters(&network), parameters);
    assert_eq!(network.layers.iter().map(|layer| layer.n_parameters).sum::<usize>(), parameters);
    let rows = network.layers.iter().map(|layer| layer.multiply_accumulates.as_fixed().expect("no sequence"));
    assert_eq!(rows.sum::<usize>(), multiply_accumulates);
}

#[test]
fn models_have_the_published_counts() {
    check_counts(&model("vgg16"), 138_357_544, 15_470_264_320);
    check_counts(&model("resnet18"), 11_689_512, 1_814_073_344);
    let vgg19 = model("vgg16").replace("256, relu)x3", "256, relu)x4").replace("512, relu)x3", "512, relu)x4");
    check_counts(&vgg19, 143_667_240, 19_632_062_464);
}

#[test]
fn dump() {
    for name in [
        "lenet",
        "resnet18",
        "textcnn",
        "inception",
        "vgg16",
        "charlm",
        "caption",
        "rows",
        "pose",
        "seq2seq",
        "cells",
        "rnn_by_hand",
        "lstm_by_hand",
    ] {
        println!("=== {name}");
        match try_network(&model(name), &[]) {
            Ok(network) => {
                for layer in &network.layers {
                    println!(
                        "{:30} {:12} {:?} {} {}",
                        layer.path,
                        layer.kind,
                        netc::types::show_shape(&layer.shape),
                        layer.n_parameters,
                        layer.multiply_accumulates
                    );
                    for line in &layer.explanation {
                        println!("      {line}");
                    }
                }
                for p in &network.parameters {
                    println!("{} {:?} {:?}", p.path, p.shape, p.initial);
                }
                for p in &network.states {
                    println!("{} {:?} {:?}", p.path, p.shape, p.initial);
                }
                println!("{:?} {:?}", network.settings, network.ports);
                println!(
                    "{:?} {} {:?} {}",
                    network.inference.outputs,
                    network.inference.len(),
                    network.training.outputs.len(),
                    network.training.len()
                );
            }
            Err(e) => println!("{e}"),
        }
    }
}
