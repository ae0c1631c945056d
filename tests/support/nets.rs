//! Networks from text, the values to try them with, and a comparison of all ways to compute them.

use netc::network::{KEY, Network, STEP};
use netc::ops::{Role, Source};
use netc::pipeline::{Entry, entry_graph, lower};
use netc::types::{ElementType, Extents};

use crate::random::Random;
use crate::support::Case;
use netc::interp::Tensor;

#[track_caller]
pub(crate) fn network(text: &str) -> Network {
    netc::check_source("test.net", text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// One entry of a network: interpreter of its graph = interpreter of its program = machine code; its plan is sound.
pub(crate) fn check_entry(what: &str, network: &Network, entry: Entry, sizes: &[(usize, usize)]) {
    let graph = entry_graph(network, entry, &mut ());
    let (scheduled, _) = lower(network, entry, &mut ());
    let sample = |source: &Source, extents: &Extents| sample(network, source, extents);
    let what = format!("{what}, {}", entry.name());
    // Normalisation magnifies what is rounded before it.
    Case { what: &what, graph: &graph, scheduled: &scheduled, sizes, sample: &sample, tolerance: 2e-4 }.check();
}

/// Random but the same in every run, of the kind and size that the source's role asks for.
pub(crate) fn sample(network: &Network, source: &Source, extents: &Extents) -> Tensor {
    let shape = source.ty.eval(extents);
    let n: usize = shape.iter().product();
    let seed = source.name.bytes().fold(n as u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut random = Random(seed);
    let port = network.ports.iter().find(|port| port.name == source.name);
    let vocabulary = port.and_then(|port| port.vocabulary).unwrap_or(2);
    let mut number = |_| {
        let unit = random.unit();
        let value = match (source.ty.element, source.role) {
            (ElementType::I32, _) if source.name == KEY => (1000.0 * unit).floor(),
            (ElementType::I32, _) => (vocabulary as f64 * unit).floor(),
            (ElementType::F32, Role::Input) => 2.0 * unit - 1.0,
            // Probabilities and other numbers alike.
            (ElementType::F32, Role::Target) => 0.1 + 0.8 * unit,
            (ElementType::F32, Role::Param) if shape.len() < 2 => 0.5 + unit,
            (ElementType::F32, Role::Param) => {
                // Of about the same variance after a layer as before it.
                let fan: usize = shape[1..].iter().product();
                (2.0 * unit - 1.0) * (3.0 / fan as f64).sqrt()
            }
            // Of these, some are divided by or stand under a root.
            (ElementType::F32, Role::State | Role::Moment) => 0.5 + unit,
            (ElementType::F32, Role::Rate) if source.name == STEP => 3.0,
            (ElementType::F32, Role::Rate) => 0.05,
            (ElementType::F32, Role::Mask) => 1.0,
            (ElementType::F32, Role::Carry) => 2.0 * unit - 1.0,
            // What is left of bodies that were cut out, which nothing uses.
            (ElementType::F32, Role::Local) => 0.0,
            (ElementType::F32, Role::Key) => unreachable!("no f32 of the caller's: {source:?}"),
        };
        f64::from(value as f32)
    };
    Tensor::new(source.ty.element, &shape, (0..n).map(&mut number).collect())
}
