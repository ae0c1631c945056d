//! Training through the library: it learns, goes on bit for bit where it stopped, and notices when it diverges.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use ndarray::{Array1, Array2, Array3};
use netc::data::{Batch, Dataset, Examples, Tensor, split};
use netc::session::read_notes;
use netc::train::{End, Epoch, FitOptions, History, Step, TrainState, Watch, evaluate, fit};
use netc::{Session, SessionOptions};

const N: usize = 50;

/// Points on and above a line, a network that tells them apart, and its settings.
fn session(settings: &str, seed: u64) -> Session {
    let text = format!(
        "net side {{\n  input x[2]\n  target label: token(2)\n  dense(8, tanh) -> dropout(0.1) -> batchnorm\n  \
         logits = dense(2)\n  output logits\n  loss cross_entropy(logits, label)\n  metric accuracy(logits, label)\n}}\n\
         train side {{\n  {settings}\n}}\n"
    );
    let network = netc::check_source("side.net", &text).unwrap_or_else(|error| panic!("{error}"));
    Session::new(network, &SessionOptions { threads: 1, seed })
}

fn examples() -> Examples {
    let x = Array2::from_shape_fn((N, 2), |(i, j)| ((i * 7 + j * 13) % 20) as f32 / 10.0 - 1.0);
    let label = Array1::from_iter(x.rows().into_iter().map(|point| i32::from(point[0] > point[1])));
    Examples::new([("x", Tensor::from(x.view())), ("label", Tensor::from(label.view()))]).unwrap()
}

fn options(epochs: usize) -> FitOptions {
    FitOptions { epochs, batch: 8, seed: 3, resume: None }
}

fn bytes(session: &Session, state: &TrainState) -> Vec<u8> {
    let mut bytes = Vec::new();
    session.save(true, &state.to_notes(), &mut bytes).unwrap();
    bytes
}

/// The numbers of a history that do not depend on the clock.
fn numbers(history: &History) -> Vec<(usize, f64, f64)> {
    let loss = |epoch: &Epoch| epoch.validate.as_ref().map_or(0.0, |scores| scores.loss);
    history.epochs.iter().map(|epoch| (epoch.epoch, epoch.train.loss, loss(epoch))).collect()
}

#[test]
fn it_learns() {
    let mut session = session("optimizer adam(lr = 0.02)", 1);
    let examples = examples();
    let (train, validate) = split(&examples, 10).unwrap();
    let before = evaluate(&mut session, &train, 16).unwrap();
    let history = fit(&mut session, &train, Some(&validate), &options(40), &mut ()).unwrap();
    assert_eq!((history.end, history.epochs.len()), (End::Finished, 40));
    let after = evaluate(&mut session, &train, 16).unwrap();
    assert!(after.loss < before.loss / 2.0, "{before:?} {after:?}");
    let last = history.epochs.last().unwrap().validate.as_ref().unwrap();
    assert_eq!(last.metrics[0].0, "accuracy");
    assert!(last.metrics[0].1 >= 0.8, "{last:?}");
}

#[test]
fn means_count_every_example_once() {
    // In batches of 8, the last of 50 examples form a batch of 2.
    let mut session = session("optimizer sgd(lr = 1)", 1);
    let examples = examples();
    let in_parts = evaluate(&mut session, &examples, 8).unwrap();
    let mut batch = Batch::default();
    examples.gather(&(0..N).collect::<Vec<_>>(), &mut batch).unwrap();
    let at_once = f64::from(session.evaluate(&batch.views()).unwrap().loss().unwrap());
    assert!((in_parts.loss - at_once).abs() < 1e-6, "{} {at_once}", in_parts.loss);
}

/// Stops after so many steps.
struct StopAfter(usize);

impl Watch for StopAfter {
    fn step(&mut self, _: &Step) -> ControlFlow<()> {
        self.0 -= 1;
        if self.0 == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[test]
fn an_interruption_leaves_no_trace() {
    let settings = "optimizer adam(lr = 0.02)\n  schedule plateau(factor = 0.5, patience = 1)";
    let examples = examples();
    let (train, validate) = split(&examples, 10).unwrap();
    let mut whole = session(settings, 1);
    let expected = fit(&mut whole, &train, Some(&validate), &options(4), &mut ()).unwrap();
    // Five batches an epoch: stop within one, at the end of one, at the very end.
    for steps in [1, 5, 8, 12, 20] {
        let mut first = session(settings, 1);
        let begun = fit(&mut first, &train, Some(&validate), &options(4), &mut StopAfter(steps)).unwrap();
        assert_eq!(begun.end, End::Interrupted);
        let saved = bytes(&first, &begun.state);
        // Another session, of another seed: what matters is in the checkpoint.
        let state = TrainState::from_notes(&read_notes(&saved).unwrap()).unwrap();
        let seed = read_notes(&saved).unwrap()["seed"].parse().unwrap();
        let network = first.network().clone();
        let mut second = Session::with_weights(network, &SessionOptions { threads: 2, seed }, &saved).unwrap();
        let resumed = FitOptions { resume: Some(state), ..options(4) };
        let rest = fit(&mut second, &train, Some(&validate), &resumed, &mut ()).unwrap();
        assert_eq!([numbers(&begun), numbers(&rest)].concat(), numbers(&expected), "after {steps} steps");
        assert!(bytes(&second, &rest.state) == bytes(&whole, &expected.state), "after {steps} steps");
    }
}

#[test]
fn divergence_is_noticed() {
    let mut session = session("optimizer sgd(lr = 1e38)", 1);
    let history = fit(&mut session, &examples(), None, &options(4), &mut ()).unwrap();
    assert!(matches!(history.end, End::Diverged { epoch: 1, .. }), "{:?}", history.end);
    let trouble = history.trouble.unwrap();
    assert!(
        trouble.contains("; try a lower learning rate than 1") && trouble.contains("or `clip norm(1)`"),
        "{trouble}"
    );
}

#[test]
fn data_that_are_no_numbers_are_named() {
    let mut session = session("optimizer adam\n  clip norm(1)", 1);
    let mut x = Array2::<f32>::zeros((4, 2));
    x[[2, 1]] = f32::NAN;
    let labels = Tensor::from(Array1::<i32>::zeros(4).view());
    let examples = Examples::new([("x", Tensor::from(x.view())), ("label", labels)]).unwrap();
    let history = fit(&mut session, &examples, None, &options(1), &mut ()).unwrap();
    assert_eq!(history.end, End::Diverged { epoch: 1, batch: 1 });
    let expected = "`x` of this batch holds a value that is no finite number: look at the data";
    assert_eq!(history.trouble.as_deref(), Some(expected));
}

/// The loss of the only step is fine, and what it leaves behind is not.
#[test]
fn a_last_step_that_spoils_the_weights_is_noticed() {
    let text = "net line { input x[1]\n target y[1]\n p = dense(1)\n output p\n loss mse(p, y) }\n\
                train line { optimizer sgd(lr = 1e38) }";
    let mut session = Session::new(netc::check_source("line.net", text).unwrap(), &SessionOptions::default());
    let large = Tensor::from(Array2::<f32>::from_elem((2, 1), 1e3).view());
    let examples = Examples::new([("x", large.clone()), ("y", large)]).unwrap();
    let history = fit(&mut session, &examples, None, &options(1), &mut ()).unwrap();
    assert_eq!(history.end, End::Diverged { epoch: 1, batch: 1 });
}

#[test]
fn what_does_not_fit_is_an_error() {
    let mut session = session("optimizer adam", 1);
    let three = Tensor::from(Array2::<f32>::zeros((4, 3)).view());
    let labels = Tensor::from(Array1::<i32>::zeros(4).view());
    let examples = Examples::new([("x", three), ("label", labels)]).unwrap();
    let error = fit(&mut session, &examples, None, &options(1), &mut ()).unwrap_err().to_string();
    assert!(error.contains("`x`"), "{error}");
    let none = FitOptions { batch: 0, ..options(1) };
    assert!(fit(&mut session, &examples, None, &none, &mut ()).is_err());
}

#[test]
fn weights_are_saved_alone_or_with_the_training() {
    let mut session = session("optimizer adam", 1);
    let history = fit(&mut session, &examples(), None, &options(1), &mut ()).unwrap();
    let mut alone = Vec::new();
    session.save(false, &BTreeMap::new(), &mut alone).unwrap();
    let with_training = bytes(&session, &history.state);
    assert!(2 * alone.len() < with_training.len());
    assert!(TrainState::from_notes(&read_notes(&alone).unwrap()).is_err());
    let options = SessionOptions { threads: 1, seed: 9 };
    let loaded = Session::with_weights(session.network().clone(), &options, &alone).unwrap();
    for ((path, a), (_, b)) in loaded.parameters().zip(session.parameters()) {
        assert_eq!(a, b, "{path}");
    }
    // Cut anywhere, they are refused.
    for end in (0..alone.len()).step_by(7) {
        assert!(Session::with_weights(session.network().clone(), &options, &alone[..end]).is_err(), "cut at {end}");
    }
}

/// Stopped between two windows of a batch: what recurrences carry is in the checkpoint.
#[test]
fn an_interruption_between_windows_leaves_no_trace() {
    let text = "net sums {\n  input x[T, 1]\n  target y[T, 1]\n  p = rnn(4) -> dense(1)\n  output p\n  loss mse(p, y)\n}\n\
                train sums { optimizer adam(lr = 0.02)\n  clip norm(1)\n  tbptt 4 }";
    let network = netc::check_source("sums.net", text).unwrap_or_else(|error| panic!("{error}"));
    let x = Array3::<f32>::from_shape_fn((6, 10, 1), |(i, t, _)| ((i * 5 + t * 3) % 7) as f32 / 7.0);
    let y = Array3::from_shape_fn((6, 10, 1), |(i, t, _)| (0..=t).map(|t| x[[i, t, 0]]).sum::<f32>());
    let data = Examples::new([("x", Tensor::from(x.view())), ("y", Tensor::from(y.view()))]).unwrap();
    let options = |resume| FitOptions { epochs: 2, batch: 4, seed: 3, resume };
    let session = |seed| Session::new(network.clone(), &SessionOptions { threads: 1, seed });
    let mut whole = session(1);
    let expected = fit(&mut whole, &data, Some(&data), &options(None), &mut ()).unwrap();
    // Two batches of three windows an epoch.
    for steps in [1, 2, 3, 5, 6, 10] {
        let mut first = session(1);
        let begun = fit(&mut first, &data, Some(&data), &options(None), &mut StopAfter(steps)).unwrap();
        let saved = bytes(&first, &begun.state);
        let state = TrainState::from_notes(&read_notes(&saved).unwrap()).unwrap();
        let mut second = session(9);
        second.load_safetensors(&saved).unwrap();
        let rest = fit(&mut second, &data, Some(&data), &options(Some(state)), &mut ()).unwrap();
        assert_eq!([numbers(&begun), numbers(&rest)].concat(), numbers(&expected), "after {steps} steps");
        for ((path, a), (_, b)) in second.parameters().zip(whole.parameters()) {
            assert_eq!(a, b, "{path} after {steps} steps");
        }
    }
    assert_eq!(expected.epochs[0].train.metrics[0].0, "gradient_norm");
}
