//! Small sequence-to-sequence networks learn to write strings backwards: `examples/reverse`, scaled down to strings of at
//! most 3 of 5 tokens. What is tested is that training, lengths and writing step by step go together, and not how well
//! networks generalize: of the 155 strings most come in training.

#[path = "../examples/reverse/strings.rs"]
mod strings;

use netc::{Session, SessionOptions};
use strings::Strings;

fn learns(text: &str) {
    let network = netc::check_source("reverse.net", text).unwrap_or_else(|error| panic!("{error}"));
    let mut session = Session::new(network, &SessionOptions { threads: 2, seed: 1 });
    session.set_learning_rate(0.01);
    // Tokens 2 to 6.
    let strings = |seed| Strings { longest: 3, vocabulary: 7, seed };
    let tested = strings(2).batch(100);
    let before = tested.accuracy(&mut session).unwrap();
    assert!(before < 0.1, "untrained, {before} of the strings are right");
    let mut train = strings(1);
    let mut reached = before;
    for step in 1..=600 {
        train.batch(32).train(&mut session).unwrap();
        if step % 50 == 0 {
            reached = tested.accuracy(&mut session).unwrap();
            if reached >= 0.95 {
                return;
            }
        }
    }
    panic!("only {reached} of the strings are right");
}

/// A model of `models/`, with these values for its parameters.
fn scaled(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{text}");
    text.replace(from, to)
}

#[test]
fn an_encoder_and_a_decoder_learn_to_reverse() {
    let text = include_str!("../models/seq2seq.net");
    learns(&scaled(text, "vocab = 64, dim = 64, hidden = 256", "vocab = 7, dim = 8, hidden = 32"));
}

#[test]
fn a_decoder_that_looks_back_learns_to_reverse() {
    let text = include_str!("../models/seq2seq_attention.net");
    learns(&scaled(text, "vocab = 64, dim = 64, hidden = 128", "vocab = 7, dim = 8, hidden = 32"));
}
