//! Laws over every layer, loss and metric of the library, tried on its documentation's example: all ways to compute
//! it agree, and its gradient is the slope. A new file in `src/layers/` is tested without touching this one.

#[path = "support/nets.rs"]
mod nets;
#[path = "support/random.rs"]
mod random;
mod support;

use netc::autodiff::gradient;
use netc::graph::{Builder, Graph, Output, OutputRole, Value, Var};
use netc::interp::{Precision, Scope, Tensor, eval};
use netc::layers::{self, Class, Layer};
use netc::library;
use netc::network::Network;
use netc::ops::{Op, Role, Source};
use netc::pipeline::Entry;
use netc::schedule::schedule;
use netc::simplify::simplify;
use netc::types::{ElementType, Extents, Symbol};
use nets::{network, sample};
use random::Random;
use support::Case;

/// Batch sizes and lengths. A batch of 1 has no unbiased variance, which the interpreters agree on, too.
const SIZES: [(usize, usize); 3] = [(3, 5), (1, 4), (0, 5)];

/// What no example says: other arguments, and sizes for which nothing divides.
const MORE: &[&str] = &[
    "input x[2, 7, 9]\nconv3x3(4, tanh, stride = 2, groups = 2) -> conv3x3(5, dilation = 2, pad = 2)",
    "input x[3, 9, 5]\nconv(4, k = [1, 3], stride = [2, 1], pad = [0, 2], bias = false) -> batchnorm(affine = false)",
    "input x[3, 8, 7]\nconv1x1(5) -> avgpool3x3(stride = 2, pad = 1) -> maxpool(k = [3, 1], stride = 1)",
    "input x[5, 9, 4]\nadaptive_avgpool([3, 2]) -> upsample([1, 3]) -> transpose([1, 2, 0])",
    "input x[4, 3, 3]\ngroupnorm(2, affine = false) -> local_response_norm(3) -> global_maxpool -> layernorm",
    "input words[T]: token(9)\nembed(4) -> conv1d(3, k = 2, pad = 0) -> max_over(T) -> softmax",
    "input words[T]: token(9)\nembed(4) -> batchnorm -> dense(3, gelu) -> mean_over(T)",
    "input x[7]\nlayernorm(affine = false) -> dense(3, softplus, bias = false) -> elu(0.5)",
    "input x[6]\nreshape([2, -1]) -> softmax(axis = 1)",
    "input x[5]\ntarget y: token(3)\nz = dense(3)\noutput z\nloss cross_entropy(z, y, weight = [1, 2, 4], label_smoothing = 0.1)",
    "input x[5]\ntarget y: token(3)\nz = dense(3)\noutput z\nloss cross_entropy(z, y, ignore = 1)\nmetric accuracy(z, y, ignore = 1)",
    "input x[5, 2]\ntarget y[2]: token(5)\nz = identity\noutput z\nloss cross_entropy(z, y)",
    "input x[5]\ntarget y[3]\nz = dense(3)\noutput z\nloss binary_cross_entropy(z, y, from_logits = true)",
    "input x[5]\ntarget y[3]\nz = dense(3)\noutput z\nloss huber(z, y, delta = 0.25)",
];

#[test]
fn every_layer_agrees_with_itself_and_its_slope() {
    for layer in layers::all() {
        check(layer.name, layer.doc.example);
    }
}

#[test]
fn every_cell_agrees_with_itself_and_its_slope() {
    for cell in library::all().iter().chain(library::DIRECTIONS) {
        // Small ones tell as much.
        check(cell.name, &cell.example().replace("32", "5").replace("65", "7").replace("16, 16]", "4, 3]"));
    }
}

#[test]
fn every_layer_maps_over_a_sequence() {
    // `transpose` names the sequence axis, too; the others have one already.
    let is_mapped = |layer: &&&Layer| layer.name != "transpose" && !layer.doc.example.contains("[T]");
    for layer in layers::all().iter().filter(is_mapped) {
        let mapped = layer.doc.example.replace("input x[", "input x[T, ").replace("target y[", "target y[T, ");
        check(&format!("{} along T", layer.name), &mapped.replace("target label:", "target label[T]:"));
    }
}

#[test]
fn other_arguments_hold_too() {
    for example in MORE {
        check("more", example);
    }
}

/// Tries the statements of a network, as it infers and as it trains.
fn check(what: &str, example: &str) {
    // Large maps tell no more than small ones.
    let body = example.replace("32, 32]", "9, 8]");
    let network = network(&format!("net example {{\n{body}\n}}\n"));
    for (mode, graph) in [("inference", &network.inference), ("training", &network.training)] {
        let what = format!("{what}, {mode}:\n{body}");
        let Slopes { graph, loss, of } = with_slopes(graph);
        check_slopes(&what, &network, &graph, loss, &of);
        let (graph, sample) =
            (simplify(&graph), |source: &Source, extents: &Extents| sample(&network, source, extents));
        let scheduled = schedule(&graph);
        Case { what: &what, graph: &graph, scheduled: &scheduled, sizes: &SIZES, sample: &sample, tolerance: 2e-5 }
            .check();
    }
    nets::check_entry(what, &network, Entry::Forward, &[(2, 3)]);
    if network.has_loss() {
        nets::check_entry(what, &network, Entry::TrainStep, &[(2, 3)]);
    }
}

/// A graph with one number, and its gradients as outputs.
struct Slopes {
    graph: Graph,
    loss: Value,
    /// Sources of `f32` that are no targets, and the gradients with respect to them.
    of: Vec<(Value, Value)>,
}

/// Adds the gradient of the loss and of a sum in which every element of every output counts differently.
fn with_slopes(graph: &Graph) -> Slopes {
    let is_moved = |op: &Op| {
        matches!(op, Op::Source(source) if source.ty.element == ElementType::F32
        && matches!(source.role, Role::Input | Role::Param))
    };
    let wrt: Vec<Value> = graph.nodes().filter(|(_, node)| is_moved(&node.op)).map(|(value, _)| value).collect();
    let builder = Builder::from_graph(graph.clone());
    let parts = graph.outputs.iter().filter_map(|output| match output.role {
        OutputRole::Output => Some(weighted_sum(builder.var(output.value), &format!("weights of {}", output.name))),
        OutputRole::Loss => Some(builder.var(output.value)),
        // Metrics have no slope, and updates are not what is trained.
        OutputRole::Metric | OutputRole::Gradient | OutputRole::Update => None,
    });
    let loss = parts.reduce(|sum, part| sum + part).expect("a network has outputs");
    let gradients = gradient(&builder, loss, &wrt);
    for (value, gradient) in wrt.iter().zip(&gradients) {
        let name = format!("{value}");
        builder.add_output(Output { role: OutputRole::Gradient, name, value: gradient.id });
    }
    let (loss, of) = (loss.id, wrt.iter().copied().zip(gradients.iter().map(|gradient| gradient.id)).collect());
    Slopes { graph: builder.finish(), loss, of }
}

fn weighted_sum<'b>(y: Var<'b>, name: &str) -> Var<'b> {
    let weights = y.builder.source(Role::Input, name, y.ty());
    let axes: Vec<usize> = (0..y.rank()).collect();
    (y * weights).sum(&axes).reshape(&[])
}

/// A few elements of each source are moved a little to both sides.
const N_MOVED: usize = 4;

fn check_slopes(what: &str, network: &Network, graph: &Graph, loss: Value, of: &[(Value, Value)]) {
    let mut extents = Extents::with_batch(2);
    for (axis, length) in [("T", 4), ("S", 3), ("U", 2)] {
        extents.set(Symbol::Axis(axis.into()), length);
    }
    let scope = Scope::new(extents, Precision::F64);
    let values = eval(graph, &|source| sample(network, source, &scope.extents), &scope);
    let mut random = Random(7);
    for &(x, gradient) in of {
        let n = values[x].data.len();
        for element in (0..N_MOVED.min(n)).map(|_| random.word() as usize % n) {
            let at = |step: f64| {
                let moved = |source: &Source| {
                    let mut tensor: Tensor = sample(network, source, &scope.extents);
                    if graph.node(x).op == Op::Source(source.clone()) {
                        tensor.data[element] += step;
                    }
                    tensor
                };
                eval(graph, &moved, &scope)[loss].data[0]
            };
            let step = 1e-5;
            let expected = (at(step) - at(-step)) / (2.0 * step);
            let actual = values[gradient].data[element];
            let close = (actual - expected).abs() <= 1e-6 * (1.0 + expected.abs());
            assert!(close, "{what}\nwith respect to {x}[{element}]: {actual}, but by differences {expected}\n{graph}");
        }
    }
}

/// Every class of layers is there, so that no law passes over nothing.
#[test]
fn there_are_layers_of_every_class() {
    for class in [Class::Layer, Class::Activation, Class::Loss, Class::Metric] {
        assert!(layers::all().iter().filter(|layer| layer.class == class).count() >= 3, "{class:?}");
    }
}
