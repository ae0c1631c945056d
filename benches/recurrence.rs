//! Milliseconds of recurrent layers: `cargo bench --bench recurrence -- CELL BATCH THREADS forward|gradients|train CALLS`.
//! Prints the median of the calls, after a warm-up. `benches/recurrence.py` sets it beside peers.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::time::Instant;

use ndarray::{ArrayD, IxDyn};
use netc::types::{Extents, Symbol};
use netc::{Session, SessionOptions, TensorView};

const STEPS: usize = 100;

const MGU: &str = "cell own(hidden) {
  input x[n]
  state h[hidden]
  param W[hidden, n], U[hidden, hidden], b[hidden] = 0
  param V[hidden, n], R[hidden, hidden], d[hidden] = 0
  f  = sigmoid(W @ x + U @ h + b)
  h' = (1 - f) * h + f * tanh(V @ x + R @ (f * h) + d)
  output h'
}
";

const PEEPHOLE: &str = "cell own(hidden) {
  input x[n]
  state h[hidden], c[hidden]
  param pi[hidden] = 0, pf[hidden] = 0, po[hidden] = 0
  i = sigmoid(([x, h] -> dense(hidden)) + pi * c)
  f = sigmoid(([x, h] -> dense(hidden)) + pf * c)
  c' = f * c + i * tanh([x, h] -> dense(hidden))
  o = sigmoid(([x, h] -> dense(hidden)) + po * c')
  h' = o * tanh(c')
  output h'
}
";

/// The network of one cell, and how many steps it takes.
fn source(cell: &str) -> (String, usize) {
    let (definition, layer) = match cell {
        "lstm" | "rnn" => ("", format!("{cell}(256)")),
        "gru" => ("", "gru(256, reset = after)".to_owned()),
        "mgu" => (MGU, "own(256)".to_owned()),
        "peephole" => (PEEPHOLE, "own(256)".to_owned()),
        "conv_lstm" => {
            let text = "net b {\n  input x[T, 64, 32, 32]\n  target t[T, 64, 32, 32]\n  conv_lstm(64)\n  output y\n";
            return (text.replace("  conv_lstm", "  y = conv_lstm") + "  loss mse(y, t)\n}", 10);
        }
        "charlm" => {
            let text = std::fs::read_to_string("models/charlm.net").expect("run from the project's folder");
            return (text, 50);
        }
        other => panic!("no cell `{other}`"),
    };
    let net = "net b {\n  input x[T, 128]\n  target t[T, 256]\n  y = LAYER\n  output y\n  loss mse(y, t)\n}";
    (format!("{definition}{}", net.replace("LAYER", &layer)), STEPS)
}

enum Array {
    F32(ArrayD<f32>),
    I32(ArrayD<i32>),
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let arg = |at: usize, default: &str| args.get(at).cloned().unwrap_or_else(|| default.to_owned());
    let number = |at: usize, default: &str| arg(at, default).parse::<usize>().expect("a number");
    let (cell, batch, threads, what, calls) =
        (arg(0, "lstm"), number(1, "32"), number(2, "1"), arg(3, "forward"), number(4, "20"));
    let (text, steps) = source(&cell);
    let network = netc::check_source(&cell, &text).unwrap_or_else(|error| panic!("{error}"));
    let mut session = Session::new(network, &SessionOptions { threads, seed: 1 });
    let mut extents = Extents::with_batch(batch);
    extents.set(Symbol::Axis("T".into()), steps);
    let inputs: Vec<(String, Array)> = session
        .network()
        .ports
        .iter()
        .filter(|port| what != "forward" || !port.is_target)
        .map(|port| {
            let shape = port.ty.eval(&extents);
            let n: usize = shape.iter().product();
            let array = match port.vocabulary {
                Some(vocabulary) => {
                    let tokens = (0..n).map(|i| ((i * 7919 % 1009) % vocabulary) as i32).collect();
                    Array::I32(ArrayD::from_shape_vec(IxDyn(&shape), tokens).expect("as the shape says"))
                }
                None => {
                    let values = (0..n).map(|i| ((i * 7919 % 1009) as f32) / 1009.0 - 0.5).collect();
                    Array::F32(ArrayD::from_shape_vec(IxDyn(&shape), values).expect("as the shape says"))
                }
            };
            (port.name.clone(), array)
        })
        .collect();
    let views: Vec<(&str, TensorView<'_>)> = inputs
        .iter()
        .map(|(name, array)| match array {
            Array::F32(array) => (name.as_str(), array.view().into()),
            Array::I32(array) => (name.as_str(), array.view().into()),
        })
        .collect();
    let mut times: Vec<f64> = Vec::new();
    for call in 0..calls + 2 {
        let start = Instant::now();
        let outputs = match what.as_str() {
            "forward" => session.forward(&views),
            "gradients" => session.gradients(&views),
            "train" => session.train_step(&views),
            other => panic!("no entry `{other}`"),
        };
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        outputs.unwrap_or_else(|error| panic!("{error}"));
        if call >= 2 {
            times.push(milliseconds);
        }
    }
    times.sort_by(f64::total_cmp);
    println!("{:.4}", times[times.len() / 2]);
}
