//! Sequences that are too short for a window are refused with the length that it needs.

use ndarray::Array2;
use netc::{Error, Session, SessionOptions};

const TEXT: &str = "net text {
  input words[T]: token(9)
  embed(4) -> conv1d(3, k = 4, pad = 0, act = relu) -> max_over(T) -> dense(2)
}";

#[test]
fn a_window_needs_its_length() {
    let network = netc::check_source("text.net", TEXT).unwrap();
    let mut session = Session::new(network, &SessionOptions { threads: 1, seed: 1 });
    let mut run = |steps: usize| {
        let words = Array2::<i32>::zeros((2, steps));
        session.forward(&[("words", words.view().into())])
    };
    let outputs = run(4).unwrap();
    assert!(outputs.outputs().all(|(_, output)| output.iter().all(|x| x.is_finite())));
    let expected = "the sequence `T` has 3 steps, and a window of the network needs 4";
    assert_eq!(run(3), Err(Error::Input(expected.to_owned())));
    assert!(run(9).is_ok(), "the session goes on");
}
