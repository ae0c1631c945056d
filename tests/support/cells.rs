//! Recurrent cells built by hand.

use netc::graph::{Builder, Graph, Output, OutputRole, Recurrence, Var};
use netc::interp::Tensor;
use netc::ops::{Convolution, Direction, Gather, Kept, MatMul, Role, Source};
use netc::types::{Dim, ElementType, Extents, TensorType};

const IN: usize = 3;
const HIDDEN: usize = 5;
pub(crate) const CHARACTERS: usize = 7;

/// `[rows, in] @ weightᵀ + bias`, both new parameters.
fn dense<'b>(x: Var<'b>, name: &str, n: usize) -> Var<'b> {
    let inputs = x.shape()[1].as_fixed().unwrap();
    let weight = x.builder.source(Role::Param, &format!("{name}.weight"), TensorType::f32([n, inputs]));
    let bias = x.builder.source(Role::Param, &format!("{name}.bias"), TensorType::f32([n]));
    x.builder.emit(MatMul { transpose: [false, true] }, &[x, weight]) + bias
}

fn conv<'b>(x: Var<'b>, name: &str, n: usize) -> Var<'b> {
    let shape = x.shape();
    let c = shape[1].as_fixed().unwrap();
    let weight = x.builder.source(Role::Param, &format!("{name}.weight"), TensorType::f32([n, c, 3, 3]));
    let convolution = Convolution {
        direction: Direction::Forward,
        kernel: [3, 3],
        stride: [1, 1],
        pad: [1, 1],
        dilation: [1, 1],
        groups: 1,
        image: [shape[2].clone(), shape[3].clone()],
        keeps: Kept::All,
    };
    let bias = x.builder.source(Role::Param, &format!("{name}.bias"), TensorType::f32([n]));
    x.builder.emit(convolution, &[x, weight]) + bias.reshape(&[1, n, 1, 1].map(Dim::fixed))
}

fn join<'b>(a: Var<'b>, b: Var<'b>) -> Var<'b> {
    Var::concat(&[a, b], 1).unwrap()
}

/// Two states from `x`, `h` and `c`, by four gates of `layer`.
fn lstm<'b>(x: Var<'b>, h: Var<'b>, c: Var<'b>, layer: impl Fn(Var<'b>, &str) -> Var<'b>) -> [Var<'b>; 2] {
    let gate = |name: &str| layer(join(x, h), name);
    let (i, f, o, g) = (gate("i").sigmoid(), gate("f").sigmoid(), gate("o").sigmoid(), gate("g").tanh());
    let c = f * c + i * g;
    [o * c.tanh(), c]
}

/// The mean of squares of all outputs and last states.
fn loss<'b>(builder: &'b Builder, values: &[Var<'b>]) {
    let square = |&x: &Var<'b>| {
        let axes: Vec<usize> = (0..x.rank()).collect();
        (x * x).sum(&axes).reshape(&[])
    };
    let loss = values.iter().map(square).reduce(|sum, x| sum + x).unwrap();
    builder.add_output(Output { role: OutputRole::Loss, name: "loss".into(), value: loss.id });
    for (number, value) in values.iter().enumerate() {
        builder.add_output(Output { role: OutputRole::Output, name: format!("y{number}"), value: value.id });
    }
}

fn sequence<'b>(builder: &'b Builder, features: &[usize]) -> Var<'b> {
    let lead = [Dim::axis("T"), Dim::batch()];
    let shape: Vec<Dim> = lead.into_iter().chain(features.iter().map(|&n| Dim::fixed(n))).collect();
    builder.source(Role::Input, "xs", TensorType::f32(shape))
}

fn zeros<'b>(builder: &'b Builder, features: &[usize]) -> Var<'b> {
    let shape: Vec<Dim> = [Dim::batch()].into_iter().chain(features.iter().map(|&n| Dim::fixed(n))).collect();
    builder.constant(0.0, TensorType::f32(shape))
}

fn build(f: impl FnOnce(&Builder)) -> Graph {
    let builder = Builder::default();
    f(&builder);
    builder.finish()
}

/// A cell that reads rows of a table of [`CHARACTERS`], of so many columns.
pub(crate) fn characters(columns: usize) -> Graph {
    build(|builder| {
        let text = builder.source(Role::Input, "text", TensorType::i32([Dim::batch(), Dim::axis("T")]));
        let table = builder.source(Role::Param, "table", TensorType::f32([CHARACTERS, columns]));
        let rows = builder.emit(Gather, &[table, text]);
        let mut r = Recurrence::new(builder, Dim::axis("T"), false);
        let h = r.state("h", zeros(builder, &[HIDDEN]));
        let x = r.element("x", rows.transpose(&[1, 0, 2]));
        let next = dense(join(x, h), "cell", HIDDEN).tanh();
        r.set_next(0, next);
        let results = r.finish(&[next]);
        loss(builder, &[results.each[0]]);
    })
}

/// Every cell with its name.
pub(crate) fn all() -> Vec<(&'static str, Graph)> {
    let steps = Dim::axis("T");
    let recurrent = |reverse: bool| {
        let steps = steps.clone();
        move |builder: &Builder| {
            let initial = builder.source(Role::Input, "initial", TensorType::f32([Dim::batch(), Dim::fixed(HIDDEN)]));
            let mut r = Recurrence::new(builder, steps, reverse);
            let (h, c) = (r.state("h", initial), r.state("c", zeros(builder, &[HIDDEN])));
            let x = r.element("x", sequence(builder, &[IN]));
            let [h, c] = lstm(x, h, c, |x, name| dense(x, name, HIDDEN));
            r.set_next(0, h);
            r.set_next(1, c);
            let results = r.finish(&[h]);
            loss(builder, &[results.each[0], results.last[0], results.last[1]]);
        }
    };
    vec![
        (
            "rnn",
            build(|builder| {
                let mut r = Recurrence::new(builder, steps.clone(), false);
                let h = r.state("h", zeros(builder, &[HIDDEN]));
                let x = r.element("x", sequence(builder, &[IN]));
                let next = dense(join(x, h), "cell", HIDDEN).tanh();
                r.set_next(0, next);
                let results = r.finish(&[next]);
                loss(builder, &[results.each[0]]);
            }),
        ),
        ("characters", characters(16)),
        ("lstm", build(recurrent(false))),
        ("lstm reverse", build(recurrent(true))),
        (
            "gru",
            build(|builder| {
                let mut r = Recurrence::new(builder, steps.clone(), false);
                let h = r.state("h", zeros(builder, &[HIDDEN]));
                let x = r.element("x", sequence(builder, &[IN]));
                let gate = |name: &str| dense(join(x, h), name, HIDDEN).sigmoid();
                let (z, reset) = (gate("z"), gate("r"));
                let candidate = dense(join(x, reset * h), "candidate", HIDDEN).tanh();
                let next = (1.0 - z) * h + z * candidate;
                r.set_next(0, next);
                let results = r.finish(&[next]);
                loss(builder, &[results.last[0]]);
            }),
        ),
        (
            "layer in a cell",
            build(|builder| {
                // A normalisation inside, and an output that no state needs.
                let mut r = Recurrence::new(builder, steps.clone(), false);
                let h = r.state("h", zeros(builder, &[HIDDEN]));
                let x = r.element("x", sequence(builder, &[IN]));
                let z = dense(join(x, h), "cell", HIDDEN);
                let centered = z - z.mean(&[1]);
                let next = (centered / ((centered * centered).mean(&[1]) + 1e-3).sqrt()).tanh();
                r.set_next(0, next);
                let y = dense(dense(next, "hidden", 4).tanh(), "head", 2);
                let results = r.finish(&[y]);
                loss(builder, &[results.each[0]]);
            }),
        ),
        (
            "peephole",
            build(|builder| {
                let mut r = Recurrence::new(builder, steps.clone(), false);
                let (h, c) = (r.state("h", zeros(builder, &[HIDDEN])), r.state("c", zeros(builder, &[HIDDEN])));
                let x = r.element("x", sequence(builder, &[IN]));
                let weight = |name: &str| builder.source(Role::Param, name, TensorType::f32([HIDDEN]));
                let i = (dense(join(x, h), "i", HIDDEN) + weight("pi") * c).sigmoid();
                let next_c = (1.0 - i) * c + i * dense(join(x, h), "g", HIDDEN).tanh();
                let next_h = (dense(join(x, h), "o", HIDDEN) + weight("po") * next_c).sigmoid() * next_c.tanh();
                r.set_next(0, next_h);
                r.set_next(1, next_c);
                let results = r.finish(&[next_h]);
                loss(builder, &[results.each[0]]);
            }),
        ),
        (
            "conv lstm",
            build(|builder| {
                let map = [HIDDEN, 4, 3];
                let mut r = Recurrence::new(builder, steps.clone(), false);
                let (h, c) = (r.state("h", zeros(builder, &map)), r.state("c", zeros(builder, &map)));
                let x = r.element("x", sequence(builder, &[IN, 4, 3]));
                let [h, c] = lstm(x, h, c, |x, name| conv(x, name, HIDDEN));
                r.set_next(0, h);
                r.set_next(1, c);
                let results = r.finish(&[h]);
                loss(builder, &[results.each[0], results.last[1]]);
            }),
        ),
        (
            "delay",
            build(|builder| {
                // States that only move on, and one that nobody reads.
                let mut r = Recurrence::new(builder, steps.clone(), false);
                let (a, b) = (r.state("a", zeros(builder, &[IN])), r.state("b", zeros(builder, &[IN])));
                let unread = r.state("unread", zeros(builder, &[IN]));
                let x = r.element("x", sequence(builder, &[IN]));
                r.set_next(0, x);
                r.set_next(1, a);
                r.set_next(2, unread + x);
                let results = r.finish(&[b, x * b]);
                loss(builder, &[results.each[0], results.each[1], results.last[1]]);
            }),
        ),
        (
            "stack",
            build(|builder| {
                let mut x = sequence(builder, &[HIDDEN]);
                for layer in ["first", "second"] {
                    let mut r = Recurrence::new(builder, steps.clone(), layer == "second");
                    let h = r.state("h", zeros(builder, &[HIDDEN]));
                    let c = r.state("c", zeros(builder, &[HIDDEN]));
                    let element = r.element("x", x);
                    let [h, c] = lstm(element, h, c, |x, name| dense(x, &format!("{layer}.{name}"), HIDDEN));
                    r.set_next(0, h);
                    r.set_next(1, c);
                    x = r.finish(&[h]).each[0];
                }
                loss(builder, &[x]);
            }),
        ),
    ]
}

/// The graph without its gradients.
pub(crate) fn only_outputs(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    graph.outputs.retain(|output| output.role != OutputRole::Gradient);
    graph
}

/// Random but the same in every run.
pub(crate) fn sample(source: &Source, extents: &Extents) -> Tensor {
    let shape = source.ty.eval(extents);
    let n: usize = shape.iter().product();
    let mut seed =
        source.name.bytes().fold(n as u64 + 1, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut number = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        f64::from(((seed >> 40) as f64 / (1u64 << 24) as f64 - 0.5) as f32)
    };
    let value = |number: f64| match source.ty.element {
        ElementType::F32 => number,
        ElementType::I32 => ((number + 0.5) * CHARACTERS as f64).floor(),
    };
    Tensor::new(source.ty.element, &shape, (0..n).map(|_| value(number())).collect())
}
