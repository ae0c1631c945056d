//! A sequence to a sequence: learns to write strings backwards.
//!
//! ```text
//! cargo run --release --example reverse -- [MODEL [LONGEST [STEPS [THREADS]]]]
//! cargo run --release --example reverse -- models/seq2seq_attention.net 16
//! ```
//!
//! Strings have 1 to `LONGEST` random tokens. Every few hundred steps of 64 strings each, 500 strings of their own are
//! written step by step, each token from those that the network wrote before it; at 95% of them without a mistake it
//! stops. (Of these, the shortest come in training, too: there are only so many.)
#![expect(clippy::print_stdout, reason = "an example prints what it computes")]

mod strings;

use std::time::{Duration, Instant};

use netc::{Error, Session, SessionOptions};
use strings::Strings;

const BATCH: usize = 64;
/// Steps from one look at the accuracy to the next.
const PERIOD: usize = 200;

fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| args.get(at).and_then(|arg| arg.parse().ok()).unwrap_or(default);
    let path = args.first().map_or("models/seq2seq.net", String::as_str);
    let (longest, n_steps, threads) = (number(1, 8), number(2, 6000), number(3, 2));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            println!("{path}: {error}");
            return Ok(());
        }
    };
    let network = netc::check_source(path, &text)?;
    let vocabulary = network.ports[0].vocabulary.expect("strings are tokens");
    let mut session = Session::new(network, &SessionOptions { threads, seed: 1 });

    let mut train = Strings { longest, vocabulary, seed: 1 };
    let tested = Strings { longest, vocabulary, seed: 2 }.batch(500);
    let (mut loss, mut training) = (0.0, Duration::ZERO);
    for step in 1..=n_steps {
        let start = Instant::now();
        loss += f64::from(train.batch(BATCH).train(&mut session)?) / PERIOD as f64;
        training += start.elapsed();
        if step % PERIOD == 0 {
            let (right, seconds) = (100.0 * tested.accuracy(&mut session)?, training.as_secs_f64());
            println!("step {step:5}  loss {loss:6.4}  reversed {right:5.1}%  {seconds:6.1} s of training");
            if right >= 95.0 {
                break;
            }
            loss = 0.0;
        }
    }
    Ok(())
}
