//! Sessions over sequences: members of different lengths, windows with carried states, single steps, drawn tokens, and
//! PyTorch's weights.

use std::collections::BTreeMap;

use ndarray::{Array1, Array2, Array3, ArrayD, ArrayViewD, Axis, Slice, array};
use netc::network::{Draw, Generate};
use netc::session::Outputs;
use netc::{Session, SessionOptions, TensorView};
use safetensors::tensor::{Dtype, TensorView as Saved};

const STACK: &str = "net m {
  input text[T]: token(9)
  target next[T]: token(9)
  embed(4) -> lstm(5) -> gru(5, reset = after) -> rnn(5)
  scores = dense(9)
  output scores
  loss cross_entropy(scores, next)
}";

const TRANSLATOR: &str = "
cell decoder(n) {
  input x[d]
  input memory[S, m]
  state h[n]
  context = memory -> attention(h)
  h' = tanh([x, context, h] -> dense(n))
  output [h', context] -> dense(9)
}
net m {
  input source[S, 3]
  input text[T]: token(9)
  layer encoder = lstm(4)
  memory = source -> bidirectional(gru(2))
  source -> encoder
  x = text -> embed(4)
  scores = decoder(x, memory, 4, init = encoder.h)
  output scores
}";

fn session(text: &str) -> Session {
    let network = netc::check_source("m.net", text).unwrap_or_else(|error| panic!("{error}"));
    Session::new(network, &SessionOptions { threads: 1, seed: 4 })
}

fn tokens(batch: usize, steps: usize) -> Array2<i32> {
    Array2::from_shape_fn((batch, steps), |(i, j)| ((i * 5 + j * 7 + i * j) % 9) as i32)
}

fn numbers(shape: (usize, usize, usize)) -> Array3<f32> {
    Array3::from_shape_fn(shape, |(i, j, k)| ((i * 31 + j * 17 + k * 7) % 13) as f32 / 6.5 - 1.0)
}

#[track_caller]
fn near(found: ArrayViewD<'_, f32>, expected: ArrayViewD<'_, f32>) {
    assert_eq!(found.shape(), expected.shape());
    let far = found.iter().zip(&expected).find(|(a, b)| (**a - **b).abs() > 2e-6 || a.is_nan());
    assert!(far.is_none(), "{far:?}\n{found}\n{expected}");
}

fn scores(outputs: &Outputs) -> ArrayD<f32> {
    outputs.get("scores").expect("an output").to_owned()
}

#[test]
fn members_have_lengths() {
    let mut session = session(STACK);
    let (text, lengths) = (tokens(4, 6), array![6, 1, 3, 0]);
    let whole = session.forward(&[("text", text.view().into()), ("T", lengths.view().into())]);
    let whole = scores(&whole.unwrap());
    for (member, &length) in lengths.iter().enumerate() {
        let (rows, steps) = (Slice::from(member..member + 1), Slice::from(0..length as usize));
        let part = text.slice_axis(Axis(0), rows);
        let part = part.slice_axis(Axis(1), steps);
        let alone = scores(&session.forward(&[("text", part.into())]).unwrap());
        near(whole.slice_axis(Axis(0), rows).slice_axis(Axis(1), steps), alone.view());
    }
    // As long as the arrays, and nobody at all.
    let all = array![6, 6, 6, 6];
    let masked = session.forward(&[("text", text.view().into()), ("T", all.view().into())]).unwrap();
    let plain = session.forward(&[("text", text.view().into())]).unwrap();
    near(scores(&masked).view(), scores(&plain).view());
    let (nobody, none) = (tokens(0, 6), Array1::<i32>::zeros(0));
    let empty = session.forward(&[("text", nobody.view().into()), ("T", none.view().into())]).unwrap();
    assert_eq!(scores(&empty).shape(), [0, 6, 9]);
}

#[test]
fn wrong_lengths_are_refused() {
    fn refused<'a>(text: &'a Array2<i32>, name: &'a str, lengths: TensorView<'a>, expected: &str) {
        let error = session(STACK).forward(&[("text", text.view().into()), (name, lengths)]).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    }
    let text = tokens(2, 6);
    refused(&text, "T", array![3, 7].view().into(), "the lengths `T` are from 0 to 6, as the arrays are long, not 7");
    refused(&text, "T", array![-1, 6].view().into(), "the lengths `T` are from 0 to 6, as the arrays are long, not -1");
    let expected = "the lengths `T` have shape [2], one for each member of the batch; the array's is [3]";
    refused(&text, "T", array![1, 2, 3].view().into(), expected);
    refused(&text, "T", array![1.0_f32, 2.0].view().into(), "the lengths `T` are whole numbers (i32)");
    refused(
        &text,
        "S",
        array![1, 2].view().into(),
        "the network has no input or target `S`; it has `text`, `next`, `T`",
    );
}

#[test]
fn windows_go_on() {
    let mut session = session(STACK);
    let text = tokens(2, 7);
    let whole = scores(&session.forward(&[("text", text.view().into())]).unwrap());
    session.set_carry(true).unwrap();
    for _ in 0..2 {
        let mut from = 0;
        for steps in [3, 1, 3] {
            let part = Slice::from(from..from + steps);
            let found = session.forward(&[("text", text.slice_axis(Axis(1), part).into())]).unwrap();
            near(scores(&found).view(), whole.slice_axis(Axis(1), part));
            from += steps;
        }
        session.reset_state();
    }
    let targets = tokens(2, 7);
    let mut losses = Vec::new();
    for _ in 0..40 {
        let outputs = session.train_step(&[("text", text.view().into()), ("next", targets.view().into())]).unwrap();
        losses.push(outputs.loss().unwrap());
    }
    assert!(losses[39] < losses[0] && losses.iter().all(|loss| loss.is_finite()), "{losses:?}");
    // Another batch begins anew.
    let one = tokens(1, 7);
    session.forward(&[("text", one.view().into())]).unwrap();
    session.set_carry(false).unwrap();
}

/// States that are others' states of the step before.
const DELAYS: &str = "
cell line(n) {
  input x[d]
  state a[n]
  state b[n] = 0.5
  state c[n]
  state p[n] = 0.25
  state q[n] = 0.75
  a' = b
  b' = c
  c' = tanh([x, a] -> dense(n))
  p' = q
  q' = p
  output a' + 2 * b' + 4 * c' + p' * x[0]
}
net m {
  input text[T]: token(9)
  text -> embed(3) -> line(3)
  scores = dense(9)
  output scores
}";

#[test]
fn states_are_passed_on() {
    let mut session = session(DELAYS);
    for steps in [1, 6] {
        check_steps(&mut session, &tokens(3, steps), &[]);
    }
}

/// Parts of a new state that are computed where they belong leave the old one to who still reads it.
#[test]
fn joined_states_are_read_before_they_are_written() {
    for body in [
        "a = tanh(x -> dense(4))\n  y = tanh((x -> dense(8)) + m)\n  b = sigmoid(x -> dense(4))\n  m' = [a, b]\n  output y",
        "a = x -> dense(4)\n  b = x -> dense(4)\n  y = tanh((x -> dense(8)) + m)\n  m' = [a, b]\n  output y",
        "a = 2 * m[0..4]\n  b = sigmoid(m[4..8]) * m[0..4]\n  m' = [a, b]\n  output [m', x] -> dense(3)",
        "a = tanh([x, m] -> dense(4))\n  b = sigmoid([x, m * m] -> dense(4))\n  m' = [b, a]\n  output m' + m",
    ] {
        let mut session = session(&format!(
            "cell joined(n) {{\n  input x[d]\n  state m[8] = 0.5\n  {body}\n}}\nnet m {{\n  input text[T]: token(9)\n  \
             text -> embed(3) -> joined(1)\n  scores = dense(9)\n  output scores\n}}"
        ));
        for (members, steps) in [(1, 1), (3, 4)] {
            check_steps(&mut session, &tokens(members, steps), &[]);
        }
    }
}

/// Steps through a batch; what [`Session::forward`] gives is what they should.
fn check_steps<'a>(session: &mut Session, text: &'a Array2<i32>, others: &[(&'a str, TensorView<'a>)]) {
    let inputs: Vec<(&str, TensorView<'a>)> = others.iter().cloned().chain([("text", text.view().into())]).collect();
    let whole = scores(&session.forward(&inputs).unwrap());
    session.begin_along("T", text.nrows(), others).unwrap();
    for at in 0..text.ncols() {
        let step = session.take_step(&[("text", text.index_axis(Axis(1), at).into())]).unwrap();
        near(scores(&step).view(), whole.index_axis(Axis(1), at));
    }
}

#[test]
fn steps_give_what_the_whole_gives() {
    let mut stack = session(STACK);
    let mut translator = session(TRANSLATOR);
    for steps in [1, 5] {
        let text = tokens(3, steps);
        check_steps(&mut stack, &text, &[]);
        let (source, lengths) = (numbers((3, 4, 3)), array![2, 4, 1]);
        check_steps(&mut translator, &text, &[("source", source.view().into())]);
        let others = [("source", source.view().into()), ("S", lengths.view().into())];
        check_steps(&mut translator, &text, &others);
    }
    let names: Vec<&str> = stack.states().map(|(name, _)| name).collect();
    assert_eq!(names, ["gru1.h", "lstm1.c", "lstm1.h", "rnn1.h"]);
    // A state can be put back.
    let state: Vec<(String, ArrayD<f32>)> = stack.states().map(|(name, x)| (name.to_owned(), x.to_owned())).collect();
    let text = array![1, 2, 3];
    let first = scores(&stack.take_step(&[("text", text.view().into())]).unwrap());
    let other = scores(&stack.take_step(&[("text", text.view().into())]).unwrap());
    assert_ne!(first, other);
    state.iter().for_each(|(name, values)| stack.set_state(name, values.view()).unwrap());
    assert_eq!(scores(&stack.take_step(&[("text", text.view().into())]).unwrap()), first);
}

#[test]
fn threads_change_no_bit_of_a_step() {
    // Wide enough for products and gates to be divided.
    let text = "net m {\n  input x[T, 24]\n  lstm(96) -> gru(80, reset = after)\n  y = dense(70)\n  output y\n}";
    let run = |threads| -> Vec<u32> {
        let network = netc::check_source("m.net", text).unwrap();
        let mut session = Session::new(network, &SessionOptions { threads, seed: 4 });
        session.begin(40, &[]).unwrap();
        let steps = (0..5).flat_map(|step| {
            let x = Array2::from_shape_fn((40, 24), |(i, j)| ((i * 31 + j * 17 + step * 7) % 13) as f32 / 6.5 - 1.0);
            let outputs = session.take_step(&[("x", x.view().into())]).unwrap();
            outputs.get("y").unwrap().iter().map(|value| value.to_bits()).collect::<Vec<u32>>()
        });
        let mut bits: Vec<u32> = steps.collect();
        bits.extend(session.states().flat_map(|(_, state)| state.iter().map(|x| x.to_bits()).collect::<Vec<u32>>()));
        bits
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(3));
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let mut stack = session(STACK);
    let text = tokens(2, 3);
    let error = stack.take_step(&[("text", text.column(0).into())]).unwrap_err().to_string();
    assert_eq!(error, "call `begin` before the first step");
    let error = stack.begin(2, &[("text", text.view().into())]).unwrap_err().to_string();
    assert_eq!(error, "`text` has the axis `T`: give it to `take_step`, one step at a time");
    let error = stack.begin_along("U", 2, &[]).unwrap_err().to_string();
    assert_eq!(error, "the network has no sequence axis `U`; it has `T`");
    stack.begin(2, &[]).unwrap();
    let error = stack.set_state("lstm1.x", array![1.0_f32].into_dyn().view()).unwrap_err().to_string();
    assert_eq!(error, "there is no state `lstm1.x`; kept are `gru1.h`, `lstm1.c`, `lstm1.h`, `rnn1.h`");
    let mut both = session("net m {\n  input text[T]: token(9)\n  embed(4) -> bidirectional(lstm(3))\n}");
    let error = both.begin(1, &[]).unwrap_err().to_string();
    assert_eq!(
        error,
        "`bidirectional1.backward` cannot take one step of `T` at a time: it reads the sequence backwards"
    );
    let error = both.set_carry(true).unwrap_err().to_string();
    assert_eq!(error, "`bidirectional1.backward` reads its sequence backwards, so no state can be carried into it");
    let mut translator = session(TRANSLATOR);
    let error = translator.set_carry(true).unwrap_err().to_string();
    assert!(error.contains("reads its sequence backwards"), "{error}");
}

#[test]
fn tokens_are_drawn() {
    let mut session = session(STACK);
    let how = |draw| Generate { input: "text".into(), output: "scores".into(), draw, until: None, length: 8 };
    let prompt = array![[1, 2, 3], [4, 5, 6]];
    let mut write = |draw, seed| -> Vec<Vec<Option<i32>>> {
        session.generate(prompt.view(), &[], &how(draw), seed).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let sample = Draw::Sample { temperature: 1.0, top_k: None };
    assert_eq!(write(sample, 1), write(sample, 1));
    assert_ne!(write(sample, 1), write(sample, 2));
    let greatest = write(Draw::ArgMax, 1);
    assert_eq!(greatest, write(Draw::Sample { temperature: 0.0, top_k: None }, 2));
    // As the whole network would have it.
    let mut text: Vec<Vec<i32>> = prompt.outer_iter().map(|row| row.to_vec()).collect();
    for step in &greatest {
        for (text, token) in text.iter_mut().zip(step) {
            let so_far = Array2::from_shape_vec((1, text.len()), text.clone()).unwrap();
            let scores = scores(&session.forward(&[("text", so_far.view().into())]).unwrap());
            let last: Vec<f32> = scores.index_axis(Axis(1), text.len() - 1).iter().copied().collect();
            let token = token.unwrap();
            assert!(last.iter().all(|&score| score <= last[token as usize] + 1e-6));
            text.push(token);
        }
    }
    let until = Generate { until: Some(greatest[1][0].unwrap() as usize), ..how(Draw::ArgMax) };
    let written: Vec<_> = session.generate(prompt.view(), &[], &until, 0).unwrap().map(Result::unwrap).collect();
    assert!(written[1][0].is_some() && written.iter().skip(2).all(|tokens| tokens[0].is_none()), "{written:?}");
}

/// Tensors under PyTorch's names, all different.
type Module = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn module(names: &[(&str, &[usize])]) -> Module {
    let mut count = 0_u32;
    let mut value = || {
        count += 1;
        (count.wrapping_mul(2_654_435_761) >> 16) as f32 / 32_768.0 - 1.0
    };
    let tensor = |(name, shape): &(&str, &[usize])| {
        let values = (0..shape.iter().product()).map(|_| value()).collect();
        ((*name).to_owned(), (shape.to_vec(), values))
    };
    names.iter().map(tensor).collect()
}

fn bytes(module: &Module) -> Vec<u8> {
    let tensors = module.iter();
    let raw: Vec<_> = tensors
        .map(|(name, (shape, values))| {
            (name, shape.clone(), values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())
        })
        .collect();
    let views = raw.iter().map(|(name, shape, bytes)| (*name, Saved::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// One direction of one layer, as PyTorch's documentation has it.
fn recurrent(module: &Module, kind: &str, suffix: &str, xs: &[Vec<f32>], n: usize) -> Vec<Vec<f32>> {
    let find = |name: &str| &module[&format!("r.{name}_{suffix}")].1;
    let rows = |weight: &[f32], bias: &[f32], x: &[f32]| -> Vec<f32> {
        let row = |(row, bias): (&[f32], &f32)| row.iter().zip(x).map(|(w, x)| w * x).sum::<f32>() + bias;
        weight.chunks(x.len()).zip(bias).map(row).collect()
    };
    let (mut h, mut c) = (vec![0.0; n], vec![0.0; n]);
    let mut outputs = Vec::new();
    for x in xs {
        let a = rows(find("weight_ih"), find("bias_ih"), x);
        let b = rows(find("weight_hh"), find("bias_hh"), &h);
        for j in 0..n {
            let sum = |gate: usize| a[gate * n + j] + b[gate * n + j];
            h[j] = match kind {
                "lstm" => {
                    c[j] = sigmoid(sum(1)) * c[j] + sigmoid(sum(0)) * sum(2).tanh();
                    sigmoid(sum(3)) * c[j].tanh()
                }
                "gru" => {
                    let (r, z) = (sigmoid(sum(0)), sigmoid(sum(1)));
                    (1.0 - z) * (a[2 * n + j] + r * b[2 * n + j]).tanh() + z * h[j]
                }
                _ => sum(0).tanh(),
            };
        }
        outputs.push(h.clone());
    }
    outputs
}

#[test]
fn weights_of_pytorch_mean_the_same() {
    let (n, steps) = (3, 4);
    for (kind, layer, gates) in [("lstm", "lstm(3)", 4), ("gru", "gru(3, reset = after)", 3), ("rnn", "rnn(3)", 1)] {
        let rows = gates * n;
        let part = |suffix: &str, inputs: usize| -> Vec<(String, Vec<usize>)> {
            vec![
                (format!("r.weight_ih_{suffix}"), vec![rows, inputs]),
                (format!("r.weight_hh_{suffix}"), vec![rows, n]),
                (format!("r.bias_ih_{suffix}"), vec![rows]),
                (format!("r.bias_hh_{suffix}"), vec![rows]),
            ]
        };
        let x = numbers((1, steps, 2));
        let xs: Vec<Vec<f32>> = x.index_axis(Axis(0), 0).outer_iter().map(|row| row.to_vec()).collect();
        let load = |text: &str, names: &[(String, Vec<usize>)]| {
            let names: Vec<(&str, &[usize])> =
                names.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
            let (mut session, module) = (session(text), module(&names));
            session.load_pytorch(&bytes(&module)).unwrap_or_else(|error| panic!("{text}: {error}"));
            let y = session.forward(&[("x", x.view().into())]).unwrap();
            (y.outputs().next().unwrap().1.to_owned(), module)
        };
        // A stack.
        let text = format!("net m {{\n  input x[T, 2]\n  layer r = {layer}x2\n  x -> r\n}}");
        let (y, weights) = load(&text, &[part("l0", 2), part("l1", 3)].concat());
        let first = recurrent(&weights, kind, "l0", &xs, n);
        let expected = recurrent(&weights, kind, "l1", &first, n).concat();
        near(y.view(), ArrayD::from_shape_vec(vec![1, steps, n], expected).unwrap().view());
        // Both directions.
        let text = format!("net m {{\n  input x[T, 2]\n  layer r = bidirectional({layer})\n  x -> r\n}}");
        let (y, weights) = load(&text, &[part("l0", 2), part("l0_reverse", 2)].concat());
        let forward = recurrent(&weights, kind, "l0", &xs, n);
        let mut backward = recurrent(&weights, kind, "l0_reverse", &xs.iter().rev().cloned().collect::<Vec<_>>(), n);
        backward.reverse();
        let expected: Vec<f32> = forward.into_iter().zip(backward).flat_map(|(a, b)| [a, b].concat()).collect();
        near(y.view(), ArrayD::from_shape_vec(vec![1, steps, 2 * n], expected).unwrap().view());
    }
}

#[test]
fn weights_of_pytorch_that_do_not_fit_are_refused() {
    let text = "net m {\n  input x[T, 2]\n  layer encoder = gru(3)\n  x -> encoder\n}";
    let refused = |prefix: &str, expected: &str| {
        let names = [("weight_ih_l0", [9, 2].as_slice()), ("weight_hh_l0", [9, 3].as_slice())];
        let named: Vec<String> = names.iter().map(|(name, _)| format!("{prefix}.{name}")).collect();
        let names: Vec<(&str, &[usize])> =
            named.iter().map(String::as_str).zip(names.map(|(_, shape)| shape)).collect();
        let error = session(text).load_pytorch(&bytes(&module(&names))).expect_err(expected).to_string();
        assert_eq!(error, expected);
    };
    refused("encoder", "`encoder` resets before the product with its state; PyTorch's GRU is `gru(…, reset = after)`");
    refused("encodr", "the network has no recurrent layer `encodr`, which the weights have; it has `encoder`");
}
