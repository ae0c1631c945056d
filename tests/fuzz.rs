//! Random small networks of odd sizes: interpreter = program = machine code, for inference and for a training step
//! with its updates, and the memory plan is sound. Random cells with and without what rewrites recurrences, with and
//! without lengths, and their gradients are those of finite differences. Always the same ones; a failure prints the
//! network's text.

#[path = "support/nets.rs"]
mod nets;
#[path = "support/random.rs"]
mod random;
#[path = "support/random_cells.rs"]
mod random_cells;
mod support;

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use netc::autodiff::gradient;
use netc::entries::{Variant, forward_graph};
use netc::graph::{Builder, Graph, Output, OutputRole};
use netc::interp::{Precision, Scope, Tensor, eval};
use netc::network::Network;
use netc::ops::{Op, Role, Source};
use netc::pipeline::{Entry, lower};
use netc::schedule::schedule;
use netc::simplify::simplify;
use netc::types::{ElementType, Extents, Symbol};
use nets::{check_entry, network, sample};
use random::Random;
use support::Case;

/// Networks in one run.
const N_NETWORKS: u64 = 48;
/// Batch sizes and lengths.
const SIZES: [(usize, usize); 2] = [(3, 5), (1, 7)];

/// Networks of random cells in one run, and their sizes.
const N_CELL_NETWORKS: u64 = 24;
const CELL_SIZES: [(usize, usize); 5] = [(3, 5), (1, 1), (2, 4), (2, 0), (0, 3)];

#[test]
fn random_networks_agree_with_themselves() {
    for seed in 0..N_NETWORKS {
        with_text(seed, &generate(seed), |network| {
            for entry in [Entry::Forward, Entry::Evaluate, Entry::Gradients, Entry::TrainStep] {
                let sizes = if entry == Entry::TrainStep { &SIZES[..] } else { &SIZES[..1] };
                check_entry("random network", network, entry, sizes);
            }
        });
    }
}

#[test]
fn random_cells_agree_with_themselves() {
    // `SEEDS=7..9` looks at others.
    let given = std::env::var("SEEDS").ok();
    let seeds = given.as_deref().and_then(|seeds| seeds.split_once(".."));
    let seeds = seeds.map_or(0..N_CELL_NETWORKS, |(low, high)| low.parse().unwrap()..high.parse().unwrap());
    for seed in seeds {
        with_text(seed, &random_cells::generate(seed), check_cells);
    }
}

/// What is generated has every feature, so that agreement says something of each.
#[test]
fn random_cells_have_everything() {
    let all: String = (0..N_CELL_NETWORKS).map(random_cells::generate).collect();
    let features =
        ["reverse(", "bidirectional(", ")x2", "init = [", "layernorm", "param p", "input w", "layer named", "@"];
    for feature in features.into_iter().chain(["s0 * s", "-> last", "mean_over(T)", "target y[T", "s0' = s1\n"]) {
        assert!(all.contains(feature), "no `{feature}` in {N_CELL_NETWORKS} networks");
    }
}

/// A panic within `check` tells the text of the network.
fn with_text(seed: u64, text: &str, check: impl FnOnce(&Network)) {
    let result = catch_unwind(AssertUnwindSafe(|| check(&network(text))));
    if let Err(panic) = result {
        let message = panic.downcast_ref::<String>().map(String::as_str);
        panic!("seed {seed}:\n{text}\n{}", message.or(panic.downcast_ref::<&str>().copied()).unwrap_or_default());
    }
}

/// What is computed with the rewrites of recurrences and without is what the graph as it was elaborated says.
fn check_cells(network: &Network) {
    for masked in [false, true] {
        for entry in [Entry::Forward, Entry::Gradients] {
            let variant = Variant { masked, ..Variant::from(entry) };
            let graph = forward_graph(network, &variant);
            let graph = if entry == Entry::Gradients { with_gradients(graph) } else { graph };
            let sample = |source: &Source, extents: &Extents| with_lengths(network, source, extents);
            let rewritten = lower(network, variant, &mut ()).0;
            let plain = schedule(&simplify(&graph));
            for (scheduled, how) in [(&rewritten, "rewritten"), (&plain, "plain")] {
                let what = format!("{}, {how}, {}", entry.name(), if masked { "masked" } else { "whole" });
                let sizes = if how == "plain" { &CELL_SIZES[..1] } else { &CELL_SIZES[..] };
                Case { what: &what, graph: &graph, scheduled, sizes, sample: &sample, tolerance: 1e-3 }.check();
            }
            // Slow, and lengths leave nothing out.
            if entry == Entry::Gradients && masked {
                check_differences(network, &graph);
            }
        }
    }
}

/// The graph of a loss with its gradients as outputs.
fn with_gradients(graph: Graph) -> Graph {
    let is_param = |op: &Op| match op {
        Op::Source(source) if source.role == Role::Param => Some(source.name.clone()),
        _ => None,
    };
    let (names, wrt): (Vec<String>, Vec<_>) =
        graph.nodes().filter_map(|(value, node)| Some((is_param(&node.op)?, value))).unzip();
    let loss = graph.outputs.iter().find(|output| output.role == OutputRole::Loss).expect("a loss").value;
    let builder = Builder::from_graph(graph);
    let gradients = gradient(&builder, builder.var(loss), &wrt);
    for (name, gradient) in names.into_iter().zip(gradients) {
        builder.add_output(Output { role: OutputRole::Gradient, name, value: gradient.id });
    }
    builder.finish()
}

/// As [`sample`]; members have from no step to all of them.
fn with_lengths(network: &Network, source: &Source, extents: &Extents) -> Tensor {
    if source.role == Role::Input && source.name == "T" && source.ty.element == ElementType::I32 {
        let [batch, steps] =
            [Symbol::Batch, Symbol::Axis("T".into())].map(|symbol| extents.find(&symbol).expect("given"));
        let lengths = (0..batch).map(|member| ((steps + 2 * member) % (steps + 1)) as f64).collect();
        return Tensor::i32(&[batch], lengths);
    }
    sample(network, source, extents)
}

/// Gradients against central differences, at one place of each parameter.
fn check_differences(network: &Network, graph: &Graph) {
    let mut extents = Extents::with_batch(3);
    extents.set(Symbol::Axis("T".into()), 4);
    let scope = Scope::new(extents, Precision::F64);
    // The parameter, the place in it, and what is added there.
    let values = |nudge: Option<(&str, usize, f64)>| {
        let source = |source: &Source| {
            let mut tensor = with_lengths(network, source, &scope.extents);
            if let Some((_, at, by)) = nudge.filter(|(name, ..)| *name == source.name) {
                tensor.data[at] += by;
            }
            tensor
        };
        let values = eval(graph, &source, &scope);
        graph.outputs.iter().map(|output| values[output.value].data.clone()).collect::<Vec<_>>()
    };
    let loss = graph.outputs.iter().position(|output| output.role == OutputRole::Loss).expect("a loss");
    let found = values(None);
    let gradients = graph.outputs.iter().zip(&found).filter(|(output, _)| output.role == OutputRole::Gradient);
    for (number, (output, gradient)) in gradients.enumerate() {
        let (name, at) = (output.name.as_str(), number * 7 % gradient.len());
        let difference = |step: f64| {
            let [below, above] = [-step, step].map(|by| values(Some((name, at, by)))[loss][0]);
            (above - below) / (2.0 * step)
        };
        // Without the term in the square of the step (Richardson 1911): layernorm bends strongly.
        let expected = (4.0 * difference(5e-6) - difference(1e-5)) / 3.0;
        let close = (gradient[at] - expected).abs() < 1e-6 * (1.0 + expected.abs());
        assert!(close, "the gradient of {name}[{at}] is {}, not {expected}", gradient[at]);
    }
}

/// What random networks have found.
const FOUND: [&str; 1] = [
    // A constant that the optimizer and the derivative of a root share tied the layout of weights to that of maps,
    // and the gradient of `conv2.weight` was written in another order than it was read.
    "net found {
  input x[3, 5, 4]
  target y[2]
  conv1x1(3) -> conv3x3(1) -> batchnorm -> conv1x1(1) -> global_avgpool
  z = dense(2)
  output z
  loss mse(z, y)
}
train found { optimizer rmsprop(lr = 0.01, momentum = 0.5) }",
];

#[test]
fn found_networks_agree_with_themselves() {
    for text in FOUND {
        check_entry(text, &network(text), Entry::TrainStep, &SIZES);
    }
}

/// The shape of what flows, without the batch.
#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Map {
        c: usize,
        h: usize,
        w: usize,
    },
    Vector(usize),
    /// Along the axis `T`, or one that windows derived of it.
    Sequence {
        n: usize,
        is_whole: bool,
    },
}

struct Generator {
    random: Random,
    text: String,
    shape: Shape,
    /// Statements so far; the last one's name is `v` and this number.
    n: usize,
}

const ACTIVATIONS: [&str; 8] = ["relu", "tanh", "sigmoid", "gelu", "leaky_relu(0.1)", "silu", "hard_swish", "elu"];
const OPTIMIZERS: [&str; 7] = [
    "sgd(lr = 0.1)",
    "sgd(lr = 0.1, momentum = 0.9, nesterov = true)",
    "sgd(lr = 0.1, momentum = 0.5, weight_decay = 0.01)",
    "adam(lr = 0.01)",
    "adamw(lr = 0.01, weight_decay = 0.1)",
    "rmsprop(lr = 0.01, momentum = 0.5)",
    "adagrad(lr = 0.01)",
];

fn generate(seed: u64) -> String {
    let mut g = Generator { random: Random(seed), text: String::new(), shape: Shape::Vector(1), n: 0 };
    let input = g.input();
    let _ = writeln!(g.text, "  v0 = x -> {input}");
    for _ in 0..g.up_to(2, 6) {
        g.statement();
    }
    g.finish();
    let (optimizer, body) = (g.pick(&OPTIMIZERS), g.text.clone());
    let clip = g.pick(&["", "\n  clip norm(0.5)", "\n  clip value(0.1)", "", ""]);
    format!("net fuzz {{\n{body}}}\n\ntrain fuzz {{\n  optimizer {optimizer}{clip}\n}}\n")
}

impl Generator {
    fn up_to(&mut self, low: usize, high: usize) -> usize {
        low + self.random.word() as usize % (high - low + 1)
    }
    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from[self.random.word() as usize % from.len()]
    }
    fn activation(&mut self) -> &'static str {
        self.pick(&ACTIVATIONS)
    }

    /// The input's line, its shape, and what makes numbers of it.
    fn input(&mut self) -> &'static str {
        let (c, h, w) = (self.up_to(1, 5), self.up_to(3, 9), self.up_to(3, 9));
        match self.up_to(0, 3) {
            0 | 1 => {
                let _ = writeln!(self.text, "  input x[{c}, {h}, {w}]");
                self.shape = Shape::Map { c, h, w };
                "identity"
            }
            2 => {
                let _ = writeln!(self.text, "  input x[{h}]");
                self.shape = Shape::Vector(h);
                "identity"
            }
            _ => {
                let _ = writeln!(self.text, "  input x[T]: token(11)");
                self.shape = Shape::Sequence { n: 5, is_whole: true };
                "embed(5)"
            }
        }
    }

    /// One statement: a layer, branches that are joined, or a sum with what came before.
    fn statement(&mut self) {
        let before = self.shape.clone();
        let line = match self.up_to(0, 5) {
            0 => {
                let parts: Vec<String> = (0..self.up_to(2, 3)).map(|_| self.keeps_extent(&before)).collect();
                let n: Vec<usize> = parts.iter().map(|part| part.split('|').next().unwrap().parse().unwrap()).collect();
                let lines: Vec<&str> = parts.iter().map(|part| part.split('|').nth(1).unwrap()).collect();
                self.shape = with_features(&before, n.iter().sum());
                format!("v{} -> concat {{\n    {}\n  }}", self.n, lines.join("\n    "))
            }
            1 => {
                let n = features(&before);
                let body = self.layers(&before, n);
                format!("v{} + (v{} -> {body})", self.n, self.n)
            }
            2 => {
                let n = features(&before);
                let (a, gate) = (self.layers(&before, n), self.layers(&before, n));
                format!("(v{} -> {a}) * sigmoid(v{} -> {gate})", self.n, self.n)
            }
            _ => {
                let layer = self.layer();
                format!("v{} -> {layer}", self.n)
            }
        };
        self.n += 1;
        let _ = writeln!(self.text, "  v{} = {line}", self.n);
    }

    /// `n|layers`: a branch with `n` features and all else as before.
    fn keeps_extent(&mut self, shape: &Shape) -> String {
        let n = self.up_to(1, 5);
        match self.up_to(0, 3) {
            0 => format!("{}|identity", features(shape)),
            _ => format!("{n}|{}", self.layers(shape, n)),
        }
    }

    /// Layers that give `n` features and keep all else.
    fn layers(&mut self, shape: &Shape, n: usize) -> String {
        let act = self.activation();
        match shape {
            Shape::Map { .. } => match self.up_to(0, 3) {
                0 => format!("conv3x3({n}, bias = false) -> batchnorm -> {act}"),
                1 => format!("maxpool3x3(stride = 1, pad = 1) -> conv1x1({n}, {act})"),
                2 => format!("conv1x1({n}) -> groupnorm(1)"),
                _ => format!("conv3x3({n}, {act})"),
            },
            Shape::Vector(_) | Shape::Sequence { .. } => match self.up_to(0, 2) {
                0 => format!("dense({n}) -> layernorm -> {act}"),
                1 => format!("dense({n}, {act}) -> dropout(0.3)"),
                _ => format!("dense({n}, {act})"),
            },
        }
    }

    /// One layer that may change everything.
    fn layer(&mut self) -> String {
        let act = self.activation();
        match self.shape.clone() {
            Shape::Map { c, h, w } => match self.up_to(0, 7) {
                0 if h.min(w) >= 2 => {
                    let kind = self.pick(&["maxpool", "avgpool"]);
                    self.shape = Shape::Map { c, h: h / 2, w: w / 2 };
                    format!("{kind}2x2")
                }
                1 => {
                    let n = self.up_to(1, 6);
                    self.shape = Shape::Map { c: n, h: (h - 1) / 2 + 1, w };
                    format!("conv3x3({n}, {act}, stride = [2, 1])")
                }
                2 if h.min(w) >= 2 => {
                    let n = self.up_to(1, 6);
                    self.shape = Shape::Map { c: n, h: h - 1, w: w + 1 };
                    format!("conv(k = [2, 2], {n}, pad = [0, 1])")
                }
                3 => {
                    let n = c * self.up_to(1, 2);
                    self.shape = Shape::Map { c: n, h, w };
                    format!("conv3x3({n}, groups = {c}) -> {act}")
                }
                4 => {
                    let [oh, ow] = [h, w].map(|n| if n.is_multiple_of(3) { 3 } else { 1 });
                    self.shape = Shape::Map { c, h: oh, w: ow };
                    format!("adaptive_avgpool([{oh}, {ow}])")
                }
                5 if h.max(w) <= 5 => {
                    self.shape = Shape::Map { c, h: 2 * h, w: 2 * w };
                    "upsample(2)".to_owned()
                }
                6 => {
                    self.shape = Shape::Map { c: w, h: c, w: h };
                    "transpose([2, 0, 1]) -> dropout(0.25)".to_owned()
                }
                _ => "batchnorm -> relu".to_owned(),
            },
            shape => {
                let n = self.up_to(1, 7);
                match (self.up_to(0, 3), &shape) {
                    (0, Shape::Sequence { .. }) => {
                        self.shape = Shape::Sequence { n, is_whole: true };
                        format!("conv1d({n}, k = 3, act = {act})")
                    }
                    (1, Shape::Sequence { is_whole: true, .. }) => {
                        self.shape = Shape::Sequence { n, is_whole: false };
                        format!("conv1d({n}, k = 2, pad = 0)")
                    }
                    _ => {
                        self.shape = with_features(&shape, n);
                        format!("dense({n}) -> {}", self.pick(&["batchnorm", "layernorm", "softmax", "tanh"]))
                    }
                }
            }
        }
    }

    /// A vector, the target and the loss.
    fn finish(&mut self) {
        let to_vector = match self.shape {
            Shape::Map { .. } => self.pick(&["flatten", "global_avgpool", "global_maxpool"]),
            Shape::Vector(_) => "identity",
            Shape::Sequence { .. } => self.pick(&["last", "max_over(T)", "mean_over(T)"]),
        };
        let classes = self.up_to(2, 5);
        let tokens = format!("target y: token({classes})");
        let numbers = format!("target y[{classes}]");
        let (target, act, loss) = match self.up_to(0, 3) {
            0 => (tokens, "identity", "cross_entropy(z, y)\n  metric accuracy(z, y)"),
            1 => (tokens, "log_softmax", "nll(z, y)"),
            2 => (numbers, "identity", "binary_cross_entropy(z, y, from_logits = true)"),
            _ => (numbers, "tanh", "mse(z, y)\n  metric mae(z, y)"),
        };
        let _ = writeln!(self.text, "  z = v{} -> {to_vector} -> dense({classes}, {act})", self.n);
        let _ = writeln!(self.text, "  {target}\n  output z\n  loss {loss}");
    }
}

fn features(shape: &Shape) -> usize {
    match shape {
        Shape::Map { c: n, .. } | Shape::Vector(n) | Shape::Sequence { n, .. } => *n,
    }
}

fn with_features(shape: &Shape, n: usize) -> Shape {
    match *shape {
        Shape::Map { h, w, .. } => Shape::Map { c: n, h, w },
        Shape::Vector(_) => Shape::Vector(n),
        Shape::Sequence { is_whole, .. } => Shape::Sequence { n, is_whole },
    }
}
