//! Layers of recurrences over one another: side by side on two threads, in rounds forward and backward.

#[path = "support/batch.rs"]
mod batch;
#[path = "support/random.rs"]
mod random;

use batch::{Batch, forward};
use netc::kernel::{Scan, Step};
use netc::{Entry, Session, SessionOptions, pipeline};

#[test]
fn layers_side_by_side_change_no_bit() {
    let text = "net stack {
      input  x[T, 12]
      target t[T, 17]
      a = x -> gru(24)x2 -> relu
      b = x -> lstm(20) -> gru(33, reset = before) -> rnn(16)
      y = [a, b] -> lstm(17)x2 -> rnn(17)
      output a
      output b
      output y
      loss   mse(y, t)
    }";
    let network = netc::check_source("stack.net", text).unwrap_or_else(|error| panic!("{error}"));
    let is_beside = |step: &&Step| matches!(step, Step::Scan(scan) if scan.beside);
    for (entry, expected) in [(Entry::Forward, 3), (Entry::Gradients, 6)] {
        let (scheduled, _) = pipeline::lower(&network, entry, &mut ());
        assert_eq!(scheduled.program.steps.iter().filter(is_beside).count(), expected, "{}", scheduled.program);
    }
    for (batch, length) in [(1, 1), (1, 40), (5, 13), (23, 12), (30, 25), (2, 11)] {
        let run = |threads| {
            let mut session = Session::new(network.clone(), &SessionOptions { threads, seed: 3 });
            let all = Batch::new(&session, batch, length);
            let outputs = forward(&mut session, &all, 0, batch);
            let gradients = |session: &mut Session| -> Vec<Vec<u32>> {
                let outcome = session.gradients(&all.all()).unwrap();
                outcome.gradients().map(|(_, values)| values.iter().map(|x| x.to_bits()).collect()).collect()
            };
            let first = gradients(&mut session);
            for _ in 0..20 {
                assert!(forward(&mut session, &all, 0, batch) == outputs, "{batch}, {length}, by {threads} threads");
                assert!(gradients(&mut session) == first, "gradients, {batch}, {length}, by {threads} threads");
            }
            (outputs, first)
        };
        let one = run(1);
        for threads in [2, 3] {
            assert!(one == run(threads), "{batch} members of length {length} by {threads} threads");
        }
    }
}

/// What an input's gradient adds to a layer's below is computed ahead of its steps, backwards and in rounds: several of a large
/// batch, one of a single member.
#[test]
fn gradients_of_a_batch_are_the_mean_of_its_members() {
    let text = "net stack {
      input  x[T, 12]
      target t[T, 48]
      a = x -> rnn(48)
      y = a -> gru(48) -> rnn(48)
      output y
      loss   mse(y, t)
    }";
    let network = netc::check_source("stack.net", text).unwrap_or_else(|error| panic!("{error}"));
    let (scheduled, _) = pipeline::lower(&network, Entry::Gradients, &mut ());
    let goes_back = |step: &&Step| matches!(step, Step::Scan(scan) if scan.reverse && !scan.ahead.is_empty());
    assert_eq!(scheduled.program.steps.iter().filter(goes_back).count(), 2, "{}", scheduled.program);
    let (members, length) = (64, 90);
    for threads in [1, 2] {
        let mut session = Session::new(network.clone(), &SessionOptions { threads, seed: 3 });
        let batch = Batch::new(&session, members, length);
        let gradients = |session: &mut Session, from: usize, to: usize| -> Vec<f32> {
            let outcome = session.gradients(&batch.part(from, to, true)).unwrap();
            outcome.gradients().flat_map(|(_, values)| values.iter().copied().collect::<Vec<_>>()).collect()
        };
        let whole = gradients(&mut session, 0, members);
        let mut mean = vec![0.0; whole.len()];
        for member in 0..members {
            let own = gradients(&mut session, member, member + 1);
            mean.iter_mut().zip(own).for_each(|(mean, x)| *mean += f64::from(x) / members as f64);
        }
        let largest = mean.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
        for (at, (x, mean)) in whole.iter().zip(&mean).enumerate() {
            assert!((f64::from(*x) - mean).abs() <= 1e-5 * largest, "{at} by {threads} threads: {x} is not {mean}");
        }
    }
}

/// What a layer keeps for later goes past the caches, but not what the layer beside it reads.
#[test]
fn what_is_read_beside_stays_in_the_caches() {
    let text = "cell leaky(n) {
      input x[d]
      state h[n]
      h' = tanh([x, h] -> dense(n))
      output 2 * h' + 1
    }
    net f {
      input x[T, 16]
      a = x -> leaky(64) -> leaky(64)
      output a
    }";
    let network = netc::check_source("leaky.net", text).unwrap_or_else(|error| panic!("{error}"));
    let steps = pipeline::lower(&network, Entry::Forward, &mut ()).0.program.steps;
    let scans: Vec<&Scan> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Scan(scan) => Some(scan),
            _ => None,
        })
        .collect();
    let [leader, follower] = scans[..] else { panic!("two layers: {steps:?}") };
    assert!(follower.beside);
    let streamed = |scan: &Scan| {
        let kernels = scan.body.iter().filter_map(Step::kernel);
        kernels.flat_map(|kernel| &kernel.stores).filter(|store| store.streamed.is_some()).count()
    };
    assert_eq!([streamed(leader), streamed(follower)], [0, 1], "the second layer's output alone is not read again");
}

/// A bias that a step adds to what was computed ahead is of a unit, whichever member's it is.
#[test]
fn a_bias_beside_a_state_is_of_its_unit() {
    let text = "cell c(n) {
      input x[d]
      state m[8]
      m' = 0.5 * m + (x -> dense(8))
      output m'
    }
    net f {
      input  x[T, 3]
      target t[T, 8]
      y = x -> c(1)
      output y
      loss mse(y, t)
    }";
    let network = netc::check_source("bias.net", text).unwrap_or_else(|error| panic!("{error}"));
    let mut session = Session::new(network, &SessionOptions { threads: 1, seed: 3 });
    let batch = Batch::new(&session, 5, 4);
    for _ in 0..3 {
        session.train_step(&batch.all()).unwrap();
    }
    let alone: Vec<Vec<u32>> = (0..5).flat_map(|i| forward(&mut session, &batch, i, i + 1)).collect();
    assert!(forward(&mut session, &batch, 0, 5) == alone);
}
