//! How much work small networks and models are: counted operations, bytes, steps and machine code, so that lost fusion or
//! a larger kernel is seen without a clock. `UPDATE_EXPECT=1` writes `counts.txt` anew; its difference is read like code.
//!
//! A line counts one call: *products* and *others* are the operations of matrix products and convolutions and of everything
//! else, *bytes* what steps read and write, each step's buffers once (`compiler/src/kernel/cost.rs`); *calls* and *loops*
//! are steps by kind, those of a recurrence once; *workspace* is the memory planned; *code* the bytes that run, on x86-64
//! with AVX2, whatever the machine of the test.

use std::fmt::Write;

use expect_test::expect_file;
use netc::codegen::{Target, code_bytes};
use netc::kernel::Step;
use netc::kernel::cost::cost;
use netc::pipeline::{Entry, lower};
use netc::types::{Extents, Symbol};

/// Name, text, entry, batch and length.
type Case = (&'static str, &'static str, Entry, usize, usize);

const LSTM: &str = "net m {\n  input x[T, 32]\n  target t[T, 64]\n  y = lstm(64)\n  output y\n  loss mse(y, t)\n}";
const ADAM: &str = "net m {\n  input x[256]\n  target t[128]\n  y = dense(128)\n  output y\n  loss mse(y, t)\n}
train m { optimizer adam(lr = 1e-3) }";
const BATCHNORM: &str =
    "net m {\n  input x[16, 8, 8]\n  target t[16, 8, 8]\n  y = batchnorm\n  output y\n  loss mse(y, t)\n}";
const CROSS_ENTROPY: &str =
    "net m {\n  input x[64]\n  target t: token(100)\n  y = dense(100)\n  output y\n  loss cross_entropy(y, t)\n}";
const CONVOLUTION: &str =
    "net m {\n  input x[16, 16, 16]\n  target t[32, 8, 8]\n  y = conv3x3(32, relu) -> maxpool2x2\n  output y
  loss mse(y, t)\n}";
const VGG16: &str = include_str!("../models/vgg16.net");
const RESNET18: &str = include_str!("../models/resnet18.net");
const CHARLM: &str = include_str!("../models/charlm.net");

const CASES: [Case; 15] = [
    ("lstm", LSTM, Entry::Forward, 8, 10),
    ("lstm", LSTM, Entry::Gradients, 8, 10),
    ("adam", ADAM, Entry::Apply, 1, 0),
    ("batchnorm", BATCHNORM, Entry::Forward, 8, 0),
    ("batchnorm", BATCHNORM, Entry::Gradients, 8, 0),
    ("cross_entropy", CROSS_ENTROPY, Entry::Evaluate, 8, 0),
    ("cross_entropy", CROSS_ENTROPY, Entry::Gradients, 8, 0),
    ("conv relu maxpool", CONVOLUTION, Entry::Forward, 8, 0),
    ("conv relu maxpool", CONVOLUTION, Entry::Gradients, 8, 0),
    ("vgg16", VGG16, Entry::Forward, 1, 0),
    ("vgg16", VGG16, Entry::TrainStep, 8, 0),
    ("resnet18", RESNET18, Entry::Forward, 1, 0),
    ("resnet18", RESNET18, Entry::TrainStep, 8, 0),
    ("charlm", CHARLM, Entry::Forward, 1, 50),
    ("charlm", CHARLM, Entry::TrainStep, 50, 50),
];

#[test]
fn work_is_as_it_was() {
    let heads = ["products", "others", "bytes", "calls", "loops", "workspace", "code"];
    let mut text = format!("{:18}{:12}{:>6}{:>7}", "network", "entry", "batch", "length");
    heads.iter().for_each(|head| write!(text, "{head:>17}").unwrap());
    for (name, source, entry, batch, length) in CASES {
        write!(text, "\n{name:18}{:12}{batch:>6}{length:>7}", entry.name()).unwrap();
        for count in counts(source, entry, batch, length) {
            write!(text, "{:>17}", thousands(count)).unwrap();
        }
    }
    text.push('\n');
    expect_file!["counts.txt"].assert_eq(&text);
}

fn counts(source: &str, entry: Entry, batch: usize, length: usize) -> [usize; 7] {
    let network = netc::check_source("m.net", source).unwrap_or_else(|error| panic!("{error}"));
    let mut extents = Extents::with_batch(batch);
    extents.set(Symbol::Axis("T".into()), length);
    let (scheduled, plan) = lower(&network, entry, &mut ());
    let program = &scheduled.program;
    let costs: Vec<_> = program.steps.iter().map(|step| cost(program, step, &extents)).collect();
    let sum = |figure: fn(&netc::kernel::cost::Cost) -> f64| costs.iter().map(figure).sum::<f64>() as usize;
    let (calls, loops) = steps(&program.steps);
    let workspace = plan.place(program, &extents).workspace_bytes;
    [
        sum(|cost| cost.products),
        sum(|cost| cost.others),
        sum(|cost| cost.bytes),
        calls,
        loops,
        workspace,
        code_bytes(program, entry.name(), Target::find("x86_64-unknown-linux-gnu").expect("a known machine")),
    ]
}

/// Library calls and loop nests, also those of recurrences' steps.
fn steps(steps: &[Step]) -> (usize, usize) {
    steps.iter().fold((0, 0), |(calls, loops), step| match step {
        Step::Loop(_) => (calls, loops + 1),
        Step::Scan(scan) => {
            let parts = [&scan.start, &scan.ahead, &scan.body, &scan.finish].map(|part| self::steps(part));
            parts.iter().fold((calls, loops), |(calls, loops), part| (calls + part.0, loops + part.1))
        }
        Step::MatMul(_) | Step::Conv(_) | Step::Pack(_) | Step::PackMatrix(_) | Step::ScatterAdd(_) => {
            (calls + 1, loops)
        }
    })
}

fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}
