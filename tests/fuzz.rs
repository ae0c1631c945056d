//! Random small networks of odd sizes: interpreter = program = machine code, for inference and for a training step
//! with its updates, and the memory plan is sound. Always the same ones; a failure prints the network's text.

#[path = "support/nets.rs"]
mod nets;
mod support;

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use netc::pipeline::Entry;
use nets::{Random, check_entry, network};

/// Networks in one run.
const N_NETWORKS: u64 = 40;
/// Batch sizes and lengths.
const SIZES: [(usize, usize); 2] = [(3, 5), (1, 7)];

#[test]
fn random_networks_agree_with_themselves() {
    for seed in 0..N_NETWORKS {
        let text = generate(seed);
        let result = catch_unwind(AssertUnwindSafe(|| {
            let network = network(&text);
            for entry in [Entry::Forward, Entry::Evaluate, Entry::Gradients, Entry::TrainStep] {
                let sizes = if entry == Entry::TrainStep { &SIZES[..] } else { &SIZES[..1] };
                check_entry("random network", &network, entry, sizes);
            }
        }));
        if let Err(panic) = result {
            let message = panic.downcast_ref::<String>().map(String::as_str);
            panic!("seed {seed}:\n{text}\n{}", message.or(panic.downcast_ref::<&str>().copied()).unwrap_or_default());
        }
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
