//! Networks as they come out of a file: counts, paths, both graphs, settings.

use std::time::Instant;

use netc::diag::render::render;
use netc::diag::{Code, Message, Sources};
use netc::elaborate::{Extent, Options, elaborate};
use netc::graph::{Graph, OutputRole};
use netc::network::{Clip, LastValue, Network, Optimizer};
use netc::ops::{Op, Role};
use netc::types::Dim;

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
    let options = Options { overrides, ..Options::default() };
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
fn other_models_compile() {
    for name in ["lenet", "textcnn", "inception"] {
        network(&model(name));
    }
    let network = network(&model("textcnn"));
    let shapes: Vec<String> = network.layers.iter().map(|layer| netc::types::show_shape(&layer.shape)).collect();
    assert_eq!(shapes[..4], ["[T, 128]", "[T, 100]", "[100]", "[(T - 3), 100]"]);
    // 4 * 128 * 100 for each of T - 3 places.
    assert_eq!(network.layers[3].multiply_accumulates.to_string(), "51200*(T - 3)");
}

#[test]
fn explanations_work_the_formula() {
    let network = network(&model("vgg16"));
    let lines: Vec<&str> = network.layers.iter().flat_map(|layer| &layer.explanation).map(String::as_str).collect();
    assert!(lines.contains(&"height: floor((224 + 2*1 - 3) / 1) + 1 = 224"));
    assert!(lines.contains(&"25088 x 4096 + 4096 = 102764544 parameters"));
}

const PATHS: &str = "
block pair(n, act = relu) {
  input x[c]
  a = x -> dense(n, act)
  b = dense(n)
  output a + b
}
net paths {
  input x[8]
  dense2 = dense(8)
  dense(8)
  dense(8)x2
  (dense(8) -> relu -> pair(8))x2
  for i in 0..2 { dense(8)  named = dense(8) }
  layer shared = pair(8, act = tanh)
  shared
  shared
  layer one = dense(8)
  one -> one
  param scale[8] = ones
  output scale * x
}";

#[test]
fn paths_are_stable_and_unique() {
    let network = network(&PATHS.replace("  named", "\n  named"));
    let weights = network.parameters.iter().filter_map(|parameter| parameter.path.strip_suffix(".weight"));
    let expected = [
        "dense2",
        "dense1",
        "dense3.1",
        "dense3.2",
        "dense4.1",
        "pair1.1.dense1",
        "pair1.1.b",
        "dense4.2",
        "pair1.2.dense1",
        "pair1.2.b",
        "dense5",
        "named.1",
        "dense6",
        "named.2",
        "shared.dense1",
        "shared.b",
        "one",
    ];
    assert_eq!(weights.collect::<Vec<_>>(), expected);
    assert_eq!(network.parameters.last().map(|parameter| parameter.path.as_str()), Some("scale"));
    let mut paths: Vec<&str> = network.parameters.iter().map(|parameter| parameter.path.as_str()).collect();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), network.parameters.len());
}

#[test]
fn modes_share_parameters_and_differ_in_dropout_and_statistics() {
    let network = network(
        "net n {\n input x[3, 8, 8]\n target y[4]\n conv3x3(4, bias = false) -> batchnorm -> relu -> dropout(0.2)\n \
         flatten -> dropout\n z = dense(4)\n output z\n loss mse(z, y)\n}",
    );
    let randoms = |graph: &Graph| {
        let streams =
            graph.nodes().filter_map(|(_, node)| if let Op::Random(op) = &node.op { Some(op.stream) } else { None });
        streams.collect::<Vec<u32>>()
    };
    assert!(randoms(&network.inference).is_empty());
    assert_eq!(randoms(&network.training), [0, 1]);
    let sources = |graph: &Graph, role: Role| {
        let mut names: Vec<String> = graph
            .nodes()
            .filter_map(|(_, node)| match &node.op {
                Op::Source(source) if source.role == role => Some(source.name.clone()),
                _ => None,
            })
            .collect();
        names.sort();
        names
    };
    assert_eq!(sources(&network.inference, Role::Param), sources(&network.training, Role::Param));
    let updates: Vec<&str> = network
        .training
        .outputs
        .iter()
        .filter(|output| output.role == OutputRole::Update)
        .map(|output| output.name.as_str())
        .collect();
    assert_eq!(updates, ["batchnorm1.running_mean", "batchnorm1.running_var"]);
    let states: Vec<&str> = network.states.iter().map(|state| state.path.as_str()).collect();
    assert_eq!(states, updates);
}

#[test]
fn nodes_carry_the_path_of_their_layer() {
    let network = network(&model("resnet18"));
    let of_convolutions: Vec<&str> = network
        .inference
        .nodes()
        .filter(|(_, node)| matches!(node.op, Op::Convolution(_)))
        .map(|(_, node)| network.inference.origin_path(node.origin.expect("a layer made it")))
        .collect();
    assert_eq!(of_convolutions[..3], ["conv1", "stage1.basic1.conv1", "stage1.basic1.conv2"]);
}

#[test]
fn settings_have_defaults_and_overrides() {
    let text = model("lenet");
    let settings = network(&text).settings;
    assert_eq!((settings.batch, settings.epochs, settings.seed), (64, 5, 1));
    assert_eq!(settings.optimizer.lr(), 1e-3);
    let changed = with_overrides(
        &text,
        &[("train.optimizer.lr", "1e-4"), ("train.epochs", "3"), ("classes", "5 + 2"), ("train.clip", "norm(2)")],
    );
    assert_eq!((changed.settings.optimizer.lr(), changed.settings.epochs), (1e-4, 3));
    assert_eq!(changed.settings.clip, Some(Clip::Norm(2.0)));
    assert_eq!(changed.ports[1].vocabulary, Some(7));
    assert_eq!(changed.overrides.len(), 4);
    let sgd = with_overrides(&text, &[("train.optimizer", "sgd(lr = 0.1, momentum = 0.9, nesterov = true)")]);
    assert_eq!(sgd.settings.optimizer, Optimizer::Sgd { lr: 0.1, momentum: 0.9, nesterov: true, weight_decay: 0.0 });
}

#[test]
fn overrides_are_checked() {
    let check = |name: &str, value: &str, expected: &[&str]| {
        let errors = try_network(&model("lenet"), &[(name, value)]).expect_err("a mistake");
        for part in expected {
            assert!(errors.contains(part), "{errors}");
        }
    };
    check("clases", "7", &["error[unknown-name]", "`clases`", "did you mean `classes`?"]);
    check("train.optimizer.lrr", "7", &["error[unknown-name]", "did you mean `train.optimizer.lr`"]);
    check("train.optimizer.momentum", "0.5", &["error[unknown-argument]", "`adam` has no argument `momentum`"]);
    check("train.epochs", "0", &["error[bad-setting]", "--set train.epochs"]);
    check("classes", "", &["error[syntax]"]);
    check("classes", "relu", &["error[wrong-kind]"]);
    check("classes", "1\nconst b = 2", &["error[syntax]"]);
}

#[test]
fn imports_bring_definitions_once() {
    let files = [
        ("root.net", "import \"lib/a.net\"\nimport \"lib/b.net\"\nnet n {\n input x[8]\n twice(width) -> once(3)\n}"),
        ("lib/a.net", "import \"b.net\"\nblock twice(n) {\n once(n)x2\n}"),
        ("lib/b.net", "const width = 6\nblock once(n) {\n dense(n)\n}"),
    ];
    let mut sources = Sources::new();
    let root = sources.add(files[0].0, files[0].1);
    let mut asked = Vec::new();
    let mut loader = |path: &str, importer: &str| {
        asked.push(format!("{importer}: {path}"));
        let name = if path.starts_with("lib/") { path.to_owned() } else { format!("lib/{path}") };
        let file = files.iter().find(|(known, _)| *known == name);
        file.map(|(_, text)| (*text).to_owned()).ok_or_else(|| Message::new(Code::ImportNotFound, "no file"))
    };
    let network = elaborate(&mut sources, root, &mut loader, &Options::default()).expect("a network");
    assert_eq!(network.parameters[0].path, "twice1.once1.1.dense1.weight");
    assert_eq!(asked, ["root.net: lib/a.net", "lib/a.net: b.net"]);
}

/// Every layer's example compiles, and uses it; its table is sound.
#[test]
fn layers_keep_their_word() {
    for layer in netc::layers::all() {
        assert!(layer.positional <= layer.arguments.len(), "{}", layer.name);
        assert!(!layer.window || layer.argument("k").is_some(), "{}", layer.name);
        assert!(layer.doc.summary.ends_with('.') && !layer.doc.shapes.is_empty(), "{}", layer.name);
        let text = format!("net example {{\n{}\n}}\n", layer.doc.example);
        let network = try_network(&text, &[]).unwrap_or_else(|errors| panic!("{}: {errors}", layer.name));
        assert!(layer.doc.example.contains(layer.name), "{}", layer.name);
        network.inference.verify();
        network.training.verify();
    }
}

/// A stranger's file costs neither time nor memory: each of these is refused or accepted soon.
#[test]
fn hostile_files_end_soon() {
    let chain = |n: usize| -> String {
        let mut text = String::from("const f0 = relu\n");
        (1..n).for_each(|i| text += &format!("const f{i} = f{} -> f{}\n", i - 1, i - 1));
        text + &format!("net n {{\n input x[8]\n f{}\n}}", n - 1)
    };
    let lists: String = (1..2000).map(|i| format!("const m{i} = [m{}, m{}]\n", i - 1, i - 1)).collect();
    let blocks: String = (1..5000).map(|i| format!("block b{i} {{\n b{}\n}}\n", i - 1)).collect();
    let names: String = (0..15000).map(|i| format!(" y{i} = z{i} -> dense(3)\n")).collect();
    let wide: String = (0..20000).map(|i| format!(" y{i} = dense(3)\n")).collect();
    let strides = " conv1d(4, k = 3, stride = 1000)\n".repeat(100);
    let pads = " conv1d(4, k = 3, pad = 0) -> conv1d(4, k = 3, pad = 9, stride = 2)\n".repeat(100);
    let cases = [
        chain(60),
        chain(5000),
        format!("const m0 = [1]\n{lists}net n {{\n input x[8]\n relu\n}}"),
        format!("block b0 {{\n relu\n}}\n{blocks}net n {{\n input x[8]\n b4999\n}}"),
        format!("net n {{\n input x[8]\n{names}}}"),
        format!("net n {{\n input x[8]\n{wide}}}"),
        format!("net n {{\n input x[T, 4]\n{strides}}}"),
        format!("net n {{\n input x[T, 4]\n{pads}}}"),
        "net n {\n input x[8]\n (relu)x1000000000\n}".to_owned(),
        "net n {\n input x[8]\n ((((relu)x1000)x1000)x1000)x1000\n}".to_owned(),
        "net n {\n input x[8]\n (dense(8) -> batchnorm)x1000000000\n}".to_owned(),
        "net n {\n input x[8]\n for i in 0..1000000000000 { for j in 0..1000000000 { relu } }\n}".to_owned(),
        "block b(f, n) {\n f(f, n)\n}\nnet n {\n input x[8]\n b(b, 3)\n}".to_owned(),
        "net n {\n input x[1000000000000, 8]\n local_response_norm\n}".to_owned(),
        "net n {\n input x[4, 1000000, 100000]\n upsample(1000000)\n}".to_owned(),
        "net n {\n input x[4, 10000, 10000]\n conv3x3(1000000000)\n}".to_owned(),
        "net n {\n input x[4, 8, 8]\n conv3x3(4, pad = 2000000000) -> flatten\n}".to_owned(),
        "net n {\n input x[4, 8, 8]\n maxpool(2000000000, pad = 1000000000)\n}".to_owned(),
        "net n {\n input x[8]\n reshape([2147483648, 2147483648, 2147483648, -1])\n}".to_owned(),
        format!("net n {{\n input x[8]\n dense({})\n}}", vec!["1"; 100_000].join(", ")),
    ];
    for text in cases {
        let start = Instant::now();
        let _ = try_network(&text, &[]);
        let seconds = start.elapsed().as_secs_f64();
        let begin: String = text.chars().take(120).collect();
        // A second in a release build; tests are built with few optimizations and share their cores.
        assert!(seconds < 8.0, "{seconds} s: {begin}");
    }
}

/// Words of real files in random order: whatever comes out, it is a network or errors, never a panic.
#[test]
fn shuffled_files_never_panic() {
    let names = ["lenet", "resnet18", "textcnn", "inception", "vgg16", "cells", "seq2seq", "charlm"];
    let mut corpus: Vec<Vec<String>> = names.iter().map(|name| words(&model(name))).collect();
    let examples = netc::layers::all().iter().map(|layer| format!("net n {{\n{}\n}}\n", layer.doc.example));
    corpus.push(words(
        "block b(n) {\n input x[c]\n param s[c]\n output x * s\n}\nnet n {\n input x[8]\n param W[8, 8], v[8] = 1\n \
         output W @ x + v\n l = mse(x, x)\n x -> b(3)\n W -> relu\n loss l\n}\n",
    ));
    corpus.extend(examples.map(|text| words(&text)));
    let extra = "0 1 2 3 -1 0.5 1e9 1e300 true \"a\" [1, 2] [] x(0) T sum residual concat softmax(axis=1) reshape([-1]) transpose \
                 last mean_over(T) flatten upsample(3) layer param @ + == x[0] if for he uniform(0,1) none y * /";
    let all: Vec<String> = corpus.iter().flatten().cloned().chain(extra.split(' ').map(str::to_owned)).collect();
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % n as u64) as usize
    };
    let rounds = std::env::var("NETC_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(2000);
    for _ in 0..rounds {
        let mut text = corpus[random(corpus.len())].clone();
        for _ in 0..=random(4) {
            let at = random(text.len());
            match random(4) {
                0 => text[at] = all[random(all.len())].clone(),
                1 => text.insert(at, all[random(all.len())].clone()),
                2 => drop(text.remove(at)),
                _ => {
                    let other = random(text.len());
                    text.swap(at, other);
                }
            }
        }
        let text = text.concat();
        let result = std::panic::catch_unwind(|| try_network(&text, &[]).is_ok());
        assert!(result.is_ok(), "{text}");
    }
}

/// A text cut into names, numbers, blanks and signs; joined they are the text.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for c in text.chars() {
        let joins = |last: &String| {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            last.chars().all(is_word) && is_word(c)
        };
        match words.last_mut() {
            Some(last) if joins(last) => last.push(c),
            _ => words.push(c.to_string()),
        }
    }
    words
}

/// What is written twice has parameters twice: names in braces are known there only, and blocks may be called
/// anything.
#[test]
fn paths_never_collide() {
    let count = |text: &str| netc::check_source("paths.net", text).unwrap().parameters.len();
    let twice = "if true { h = dense(4, relu) }";
    assert_eq!(count(&format!("net q {{\n input x[4]\n {twice}\n {twice}\n output dense(2)\n}}")), 6);
    let loops = "for i in 1..3 { y = dense(4) }";
    assert_eq!(count(&format!("net q {{\n input x[4]\n {loops}\n {loops}\n dense(2)\n}}")), 10);
    let blocks = "block stage(n) { dense(n) }\nblock stage1(n) { dense(n) }\n";
    let uses = "stage(4)\n".repeat(11);
    assert_eq!(count(&format!("{blocks}net q {{\n input x[4]\n {uses}stage1(4)\n}}")), 24);
    // A `layer` shares them, in a block of several layers too.
    let shared = "layer s = tower(4)\n x -> s -> s";
    let tower = "block tower(n) { dense(n, relu) -> dense(n) }\n";
    assert_eq!(count(&format!("{tower}net q {{\n input x[4]\n {shared}\n}}")), 4);
}

/// A net that is still being written: unused inputs are right, and what the last statement gives is told.
#[test]
fn a_net_in_the_making() {
    let look = |body: &str, extent: Extent| {
        let mut sources = Sources::new();
        let root = sources.add("n.net", format!("net n {{\n{body}\n}}\n"));
        let options = Options { extent, ..Options::default() };
        elaborate(&mut sources, root, &mut |_: &str, _: &str| unreachable!("nothing is imported"), &options)
    };
    assert_eq!(look("input x[4]", Extent::Whole).unwrap_err()[0].message.code.slug(), "unused-input");
    assert_eq!(look("input x[4]", Extent::Part).unwrap().last, None);
    assert_eq!(look("nothing", Extent::Part).unwrap_err()[0].message.code.slug(), "unknown-layer");
    let output = |n: usize| Some(LastValue::Output(vec![Dim::fixed(n)]));
    let known = |text: &str| Some(LastValue::Known(text.to_owned()));
    for (body, last) in [
        ("input x[4]\ndense(3)", output(3)),
        ("input x[4]\ny = x -> dense(3)\noutput x", None),
        ("input x[4]\noutput x\nx -> dense(2)", output(2)),
        ("input x[4]\nfor n in [5, 6] { dense(n) }", output(6)),
        ("input x[4]\n[1, 2 * 3, true]", known("[1, 6, true]")),
        ("input x[4]\nf = relu", output(4)),
        ("input x[4]\ntarget t[4]\nt - x", Some(LastValue::Inner(vec![Dim::fixed(4)]))),
        ("param W[3, 2]\nW", Some(LastValue::Inner(vec![Dim::fixed(3), Dim::fixed(2)]))),
    ] {
        let network = look(body, Extent::Last).unwrap_or_else(|errors| panic!("{body}: {errors:?}"));
        assert_eq!(network.last, last, "{body}");
        // An output of its own, beside those of the net.
        let n_outputs = network.inference.outputs.len();
        let whole = look(body, Extent::Part).unwrap().inference.outputs.len();
        assert_eq!(n_outputs - whole, usize::from(matches!(last, Some(LastValue::Output(_)))), "{body}");
    }
}
