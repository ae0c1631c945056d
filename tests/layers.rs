//! Layers, losses, metrics and optimizers give the numbers of their formulas, worked here by hand or by plain code.

use netc::diag::{Code, Message, Sources, render::render};
use netc::elaborate::{Options, elaborate};
use netc::graph::{Builder, Graph};
use netc::interp::{Precision, Scope, Tensor, eval};
use netc::layers::optimizer::{self, clip};
use netc::network::{Clip, Network, Optimizer};
use netc::ops::{Role, Source};
use netc::types::{ElementType, Extents, Symbol, TensorType};

fn network(body: &str) -> Network {
    let mut sources = Sources::new();
    let root = sources.add("test.net", format!("net n {{\n{body}\n}}\n"));
    let mut loader = |_: &str, _: &str| Err(Message::new(Code::ImportNotFound, "no files"));
    let network = elaborate(&mut sources, root, &mut loader, &Options::default());
    network.unwrap_or_else(|errors| panic!("{}", render(&sources, &errors, false)))
}

/// The outputs by name for a batch of two (or what the values of the first input say), T of 3.
fn outputs(graph: &Graph, values: &[(&str, &[f64])]) -> Vec<(String, Vec<f64>)> {
    let mut extents = Extents::with_batch(2);
    extents.set(Symbol::Axis("T".into()), 3);
    let scope = Scope::new(extents, Precision::F64);
    let source = |source: &Source| {
        let shape = source.ty.eval(&scope.extents);
        let n: usize = shape.iter().product();
        let given = values.iter().find(|(name, _)| *name == source.name);
        let absent = if source.role == Role::Mask { 1.0 } else { 0.0 };
        let data = given.map_or_else(|| vec![absent; n], |(_, data)| data.to_vec());
        assert_eq!(data.len(), n, "{}", source.name);
        match source.ty.element {
            ElementType::F32 => Tensor::f32(&shape, data),
            ElementType::I32 => Tensor::i32(&shape, data),
        }
    };
    let all = eval(graph, &source, &scope);
    graph.outputs.iter().map(|output| (output.name.clone(), all[output.value].data.clone())).collect()
}

#[track_caller]
fn check(body: &str, values: &[(&str, &[f64])], name: &str, expected: &[f64]) {
    check_graph(&network(body).inference, values, name, expected);
}

#[track_caller]
fn check_graph(graph: &Graph, values: &[(&str, &[f64])], name: &str, expected: &[f64]) {
    let outputs = outputs(graph, values);
    let (_, found) = outputs.iter().find(|(known, _)| known == name).expect("an output of that name");
    let close = found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
    assert!(close, "{found:?} instead of {expected:?}");
}

const X: &[f64] = &[-4.0, -1.0, -0.5, 0.0, 0.25, 1.0, 3.5, 7.0];

#[track_caller]
fn check_function(layer: &str, formula: impl Fn(f64) -> f64) {
    let expected: Vec<f64> = X.iter().map(|&x| formula(x)).collect();
    check(&format!("input x[4]\n{layer}"), &[("x", X)], "output", &expected);
}

#[test]
fn activations_follow_their_formulas() {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    check_function("relu", |x| x.max(0.0));
    check_function("relu6", |x| x.clamp(0.0, 6.0));
    check_function("leaky_relu", |x| if x > 0.0 { x } else { 0.01 * x });
    check_function("leaky_relu(0.2)", |x| if x > 0.0 { x } else { 0.2 * x });
    check_function("elu(2)", |x| if x > 0.0 { x } else { 2.0 * x.exp_m1() });
    check_function("sigmoid", sigmoid);
    check_function("tanh", f64::tanh);
    check_function("silu", |x| x * sigmoid(x));
    check_function("softplus", |x| x.exp().ln_1p());
    check_function("hard_sigmoid", |x| (x + 3.0).clamp(0.0, 6.0) / 6.0);
    check_function("hard_swish", |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0);
    check_function("hardtanh", |x| x.clamp(-1.0, 1.0));
    check_function("gelu(tanh)", |x| {
        0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
    });
    // PyTorch's gelu(1) and gelu(-1) to nine digits.
    let body = "input x[1]\ngelu";
    let found = outputs(&network(body).inference, &[("x", &[1.0, -1.0])]);
    let close = |a: f64, b: f64| (a - b).abs() < 1e-6;
    assert!(close(found[0].1[0], 0.841344746) && close(found[0].1[1], -0.158655254), "{found:?}");
}

#[test]
fn softmax_sums_to_one_along_its_axis() {
    let e = 1f64.exp();
    check(
        "input x[2]\nsoftmax",
        &[("x", &[0.0, 1.0, 1.0, 0.0])],
        "output",
        &[1.0 / (1.0 + e), e / (1.0 + e), e / (1.0 + e), 1.0 / (1.0 + e)],
    );
    check("input x[2, 1]\nsoftmax(axis = 1)", &[("x", &[0.0, 1.0, 1.0, 0.0])], "output", &[1.0; 4]);
    check("input x[2]\nlog_softmax", &[("x", &[1000.0, 1000.0, 0.0, 0.0])], "output", &[-(2f64.ln()); 4]);
}

#[test]
fn windows_slide() {
    let x: Vec<f64> = (0..18).map(f64::from).collect();
    let body = "input x[1, 3, 3]\n";
    check(
        &format!("{body}maxpool2x2(stride = 1) -> flatten"),
        &[("x", &x)],
        "output",
        &[4., 5., 7., 8., 13., 14., 16., 17.],
    );
    check(
        &format!("{body}avgpool2x2(stride = 1) -> flatten"),
        &[("x", &x)],
        "output",
        &[2., 3., 5., 6., 11., 12., 14., 15.],
    );
    // With padding the mean is over 4 elements, zeros too, or over those of the map alone.
    check(
        &format!("{body}avgpool2x2(pad = 1)"),
        &[("x", &x)],
        "output",
        &[0.0, 0.75, 2.25, 6.0, 2.25, 5.25, 6.75, 15.0],
    );
    check(
        &format!("{body}avgpool2x2(pad = 1, count_include_pad = false)"),
        &[("x", &x)],
        "output",
        &[0.0, 1.5, 4.5, 6.0, 9.0, 10.5, 13.5, 15.0],
    );
    check(&format!("{body}global_avgpool"), &[("x", &x)], "output", &[4.0, 13.0]);
    check(
        "input x[1, 2, 1]\nupsample([1, 2])",
        &[("x", &[1., 2., 3., 4.])],
        "output",
        &[1., 1., 2., 2., 3., 3., 4., 4.],
    );
    // Convolution is correlation: the window is not turned.
    check(
        "input x[1, 1, 3]\nconv([1], k = [1, 3])".replace("[1], ", "1, ").as_str(),
        &[("x", &[1., 2., 3., 4., 5., 6.]), ("conv1.weight", &[1., 10., 100.]), ("conv1.bias", &[0.5])],
        "output",
        &[210.5, 321.5, 32.5, 540.5, 654.5, 65.5],
    );
    // The same along a sequence of two channels.
    check(
        "input x[T, 1]\nconv1d(1, k = 2, pad = 0, bias = false)",
        &[("x", &[1., 2., 3., 4., 5., 6.]), ("conv1d1.weight", &[1., 10.])],
        "output",
        &[21., 32., 54., 65.],
    );
}

#[test]
fn sequences_end_in_vectors() {
    let x: Vec<f64> = [1., 10., 2., 20., 3., 30., -1., -10., -2., -20., -3., -30.].to_vec();
    let body = "input x[T, 2]\n";
    check(&format!("{body}last"), &[("x", &x)], "output", &[3., 30., -3., -30.]);
    check(&format!("{body}mean_over(T)"), &[("x", &x)], "output", &[2., 20., -2., -20.]);
    check(&format!("{body}max_over(T)"), &[("x", &x)], "output", &[3., 30., -1., -10.]);
    check(
        "input w[T]: token(3)\nembed(2) -> last",
        &[("w", &[0., 1., 2., 2., 1., 0.]), ("embed1.weight", &[1., 2., 3., 4., 5., 6.])],
        "output",
        &[5., 6., 1., 2.],
    );
    // A vector beside a sequence is added at every step.
    check(
        "input x[T, 2]\ninput v[2]\noutput x + v -> last".replace("x + v -> last", "(x + v) -> last").as_str(),
        &[("x", &x), ("v", &[100., 200., 300., 400.])],
        "output",
        &[103., 230., 297., 370.],
    );
}

#[test]
fn normalisation_follows_its_formulas() {
    let x = &[1.0, 3.0, 5.0, -5.0];
    let scaled = |x: f64, mean: f64, variance: f64| (x - mean) / (variance + 1e-5f64).sqrt();
    check(
        "input x[2]\nlayernorm(affine = false)",
        &[("x", x)],
        "output",
        &[scaled(1., 2., 1.), scaled(3., 2., 1.), scaled(5., 0., 25.), scaled(-5., 0., 25.)],
    );
    check(
        "input x[2]\ngroupnorm(1, affine = false)",
        &[("x", x)],
        "output",
        &[scaled(1., 2., 1.), scaled(3., 2., 1.), scaled(5., 0., 25.), scaled(-5., 0., 25.)],
    );
    let batchnorm = network("input x[2]\nbatchnorm");
    let sources: &[(&str, &[f64])] = &[
        ("x", x),
        ("batchnorm1.weight", &[1., 2.]),
        ("batchnorm1.bias", &[0., 1.]),
        ("batchnorm1.running_mean", &[1., 1.]),
        ("batchnorm1.running_var", &[4., 1.]),
    ];
    check_graph(
        &batchnorm.inference,
        sources,
        "output",
        &[scaled(1., 1., 4.), 2. * scaled(3., 1., 1.) + 1., scaled(5., 1., 4.), 2. * scaled(-5., 1., 1.) + 1.],
    );
    check_graph(
        &batchnorm.training,
        sources,
        "output",
        &[scaled(1., 3., 4.), 2. * scaled(3., -1., 16.) + 1., scaled(5., 3., 4.), 2. * scaled(-5., -1., 16.) + 1.],
    );
    // The running variance takes in the unbiased one: 4 * 2 / (2 - 1) = 8.
    check_graph(&batchnorm.training, sources, "batchnorm1.running_mean", &[1.2, 0.8]);
    check_graph(&batchnorm.training, sources, "batchnorm1.running_var", &[0.9 * 4. + 0.8, 0.9 + 3.2]);
    let square = |sum: f64| (2.0 + 1e-4 * sum).powf(0.75);
    check(
        "input x[3, 1, 1]\nlocal_response_norm(3)",
        &[("x", &[1., 2., 3., 0., 0., 1.])],
        "output",
        &[1. / square(5.), 2. / square(14.), 3. / square(13.), 0., 0., 1. / square(1.)],
    );
}

const CLASSES: &str = "input x[3]\ntarget y: token(3)\nz = identity\noutput z\nloss ";
const SCORES: &[f64] = &[0.0, 1.0, 2.0, 3.0, 0.0, 0.0];

fn surprises() -> [[f64; 3]; 2] {
    [0, 3].map(|at| {
        let scores = &SCORES[at..at + 3];
        let total: f64 = scores.iter().map(|score| score.exp()).sum();
        [0, 1, 2].map(|class| total.ln() - scores[class])
    })
}

#[test]
fn losses_over_classes_follow_pytorch() {
    let [a, b] = surprises();
    let values: &[(&str, &[f64])] = &[("x", SCORES), ("y", &[2., 1.])];
    let check = |loss: &str, expected: f64| check(&format!("{CLASSES}{loss}"), values, "loss", &[expected]);
    check("cross_entropy(z, y)", (a[2] + b[1]) / 2.0);
    check("nll(log_softmax(z), y)", (a[2] + b[1]) / 2.0);
    check("cross_entropy(z, y, weight = [1, 2, 4])", (4.0 * a[2] + 2.0 * b[1]) / 6.0);
    check("cross_entropy(z, y, ignore = 1)", a[2]);
    let even = |s: [f64; 3]| s.iter().sum::<f64>() / 3.0;
    check("cross_entropy(z, y, label_smoothing = 0.1)", (0.9 * (a[2] + b[1]) + 0.1 * (even(a) + even(b))) / 2.0);
    let weighted = |s: [f64; 3]| (s[0] + 2.0 * s[1] + 4.0 * s[2]) / 3.0;
    check(
        "cross_entropy(z, y, weight = [1, 2, 4], label_smoothing = 0.1)",
        (0.9 * (4.0 * a[2] + 2.0 * b[1]) + 0.1 * (weighted(a) + weighted(b))) / 6.0,
    );
    // Per position of a map, with the classes first.
    let body = "input x[3, 1]\ntarget y[1]: token(3)\nz = identity\noutput z\nloss cross_entropy(z, y)";
    self::check(body, values, "loss", &[(a[2] + b[1]) / 2.0]);
}

#[test]
fn metrics_count() {
    let values: &[(&str, &[f64])] = &[("x", SCORES), ("y", &[2., 1.])];
    let [a, b] = surprises();
    let check = |metric: &str, name: &str, expected: f64| {
        check(&format!("{CLASSES}cross_entropy(z, y)\nmetric {metric}"), values, name, &[expected]);
    };
    check("accuracy(z, y)", "accuracy", 0.5);
    check("accuracy(z, y, ignore = 1)", "accuracy", 1.0);
    check("top(z, y, k = 1)", "top", 0.5);
    check("top(z, y, k = 2)", "top", 1.0);
    check("perplexity(z, y)", "perplexity", ((a[2] + b[1]) / 2.0).exp());
}

#[test]
fn losses_over_numbers_follow_pytorch() {
    let values: &[(&str, &[f64])] = &[("x", &[0.2, 0.9, 0.0, 1.0]), ("y", &[0.0, 1.0, 0.0, 0.0])];
    let check = |loss: &str, expected: f64| {
        check(&format!("input x[2]\ntarget y[2]\nz = identity\noutput z\nloss {loss}"), values, "loss", &[expected]);
    };
    check("mse(z, y)", (0.04 + 0.01 + 1.0) / 4.0);
    check("l1(z, y)", (0.2 + 0.1 + 1.0) / 4.0);
    check("huber(z, y, delta = 0.5)", (0.02 + 0.005 + 0.5 * 0.75) / 4.0);
    // log(0) counts as -100.
    check("binary_cross_entropy(z, y)", (-(0.8f64.ln()) - 0.9f64.ln() + 100.0) / 4.0);
    let soft = |x: f64, y: f64| x.exp().ln_1p() - x * y;
    check(
        "binary_cross_entropy(z, y, from_logits = true)",
        (soft(0.2, 0.0) + soft(0.9, 1.0) + soft(0.0, 0.0) + soft(1.0, 0.0)) / 4.0,
    );
    // 0 * log(0) is 0; the mean is over the batch.
    check("kl(z, y)", -0.9 / 2.0);
}

#[test]
fn dropout_keeps_the_mean() {
    let network = network("input x[1000]\ndropout(0.25)");
    let ones = vec![1.0; 2000];
    let found = &outputs(&network.training, &[("x", &ones), ("key", &[1.0, 2.0])])[0].1;
    assert!(found.iter().all(|&y| y == 0.0 || (y - 4.0 / 3.0).abs() < 1e-12));
    let mean = found.iter().sum::<f64>() / 2000.0;
    assert!((mean - 1.0).abs() < 0.05, "{mean}");
    check_graph(&network.inference, &[("x", &ones)], "output", &ones);
}

/// Runs `steps` steps on one number whose gradient is the number itself.
fn descend(optimizer: &Optimizer, steps: usize) -> f64 {
    let builder = Builder::default();
    let source = |name: &str| builder.source(Role::Moment, name, TensorType::scalar());
    let parameter = source("p");
    let updated = optimizer::update(optimizer, parameter, source("g"), &source, source("lr"), source("step"));
    let (value, moments) = (updated.parameter.id, updated.moments.clone());
    assert_eq!(moments.iter().map(|(name, _)| *name).collect::<Vec<_>>(), optimizer::moment_names(optimizer));
    let moments: Vec<(&str, netc::graph::Value)> = moments.iter().map(|(name, var)| (*name, var.id)).collect();
    let graph = builder.finish();
    let mut state: Vec<(&str, f64)> = vec![("p", 1.0), ("g", 0.0), ("lr", optimizer.lr()), ("step", 0.0)];
    state.extend(moments.iter().map(|(name, _)| (*name, 0.0)));
    for step in 1..=steps {
        state[1].1 = state[0].1;
        state[3].1 = step as f64;
        let read = |source: &Source| Tensor::scalar(state.iter().find(|(name, _)| *name == source.name).unwrap().1);
        let values = eval(&graph, &read, &Scope::new(Extents::default(), Precision::F64));
        state[0].1 = values[value].data[0];
        for (i, (_, moment)) in moments.iter().enumerate() {
            state[4 + i].1 = values[*moment].data[0];
        }
    }
    state[0].1
}

#[test]
fn optimizers_follow_pytorch() {
    let check = |optimizer: Optimizer, steps: usize, expected: f64| {
        let found = descend(&optimizer, steps);
        assert!((found - expected).abs() < 1e-9, "{optimizer:?}: {found} instead of {expected}");
    };
    let sgd = |momentum, nesterov, weight_decay| Optimizer::Sgd { lr: 0.1, momentum, nesterov, weight_decay };
    check(sgd(0.0, false, 0.0), 2, 0.81);
    check(sgd(0.0, false, 0.5), 1, 0.85);
    // v = 1, p = 0.9; v = 0.9 + 0.9 = 1.8, p = 0.72.
    check(sgd(0.9, false, 0.0), 2, 0.72);
    // v = 1, p = 1 - 0.1 * 1.9 = 0.81; v = 1.71, p = 0.81 - 0.1 * (0.81 + 1.539).
    check(sgd(0.9, true, 0.0), 2, 0.5751);
    let adam = |weight_decay, decoupled| Optimizer::Adam {
        lr: 0.1,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay,
        decoupled,
    };
    check(adam(0.0, false), 1, 1.0 - 0.1 / (1.0 + 1e-8));
    check(adam(0.5, true), 1, 0.95 - 0.1 / (1.0 + 1e-8));
    check(adam(0.5, false), 1, 1.0 - 0.1 * 1.5 / (1.5 + 1e-8));
    let (p, mut m, mut v) = (1.0 - 0.1 / (1.0 + 1e-8), 0.1, 0.001);
    (m, v) = (0.9 * m + 0.1 * p, 0.999 * v + 0.001 * p * p);
    let (m, v): (f64, f64) = (m / (1.0 - 0.81), v / (1.0 - 0.999f64.powi(2)));
    check(adam(0.0, false), 2, p - 0.1 * m / (v.sqrt() + 1e-8));
    let rmsprop = |momentum| Optimizer::RmsProp { lr: 0.01, alpha: 0.99, epsilon: 1e-8, momentum, weight_decay: 0.0 };
    check(rmsprop(0.0), 1, 1.0 - 0.01 / (0.1 + 1e-8));
    check(rmsprop(0.9), 1, 1.0 - 0.01 / (0.1 + 1e-8));
    check(Optimizer::AdaGrad { lr: 0.1, epsilon: 1e-10, weight_decay: 0.0 }, 1, 0.9 + 1e-11);
}

#[test]
fn gradients_are_clipped_together_or_each() {
    let clipped = |how: Clip| {
        let builder = Builder::default();
        let source = |name: &str, n: usize| builder.source(Role::Moment, name, TensorType::f32([n]));
        let ids: Vec<_> = clip::clip(how, &[source("a", 1), source("b", 2)]).0.iter().map(|var| var.id).collect();
        let graph = builder.finish();
        let read = |source: &Source| match source.name.as_str() {
            "a" => Tensor::f32(&[1], vec![3.0]),
            _ => Tensor::f32(&[2], vec![0.0, -4.0]),
        };
        let values = eval(&graph, &read, &Scope::new(Extents::default(), Precision::F64));
        ids.iter().flat_map(|&id| values[id].data.clone()).collect::<Vec<f64>>()
    };
    let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(close(&clipped(Clip::Norm(1.0)), &[0.6, 0.0, -0.8]));
    assert!(close(&clipped(Clip::Norm(10.0)), &[3.0, 0.0, -4.0]));
    assert!(close(&clipped(Clip::Value(2.0)), &[2.0, 0.0, -2.0]));
}
