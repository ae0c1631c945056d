//! Laws over sessions: a batch is its members, threads and sessions change no bit, training learns, and weights come
//! back as they were saved, or not at all.

#[path = "support/batch.rs"]
mod batch;
#[path = "support/random.rs"]
mod random;

use std::path::Path;

use batch::{Batch, forward};
use netc::data::Weights;
use netc::{Session, SessionOptions};
use netc_runtime::kernels::cpu::{Cpu, cpu};

/// Networks that are small enough to run often.
const SMALL: [&str; 7] = [
    "models/lenet",
    "models/digits",
    "tests/golden/convnet/model",
    "tests/golden/inception/model",
    "tests/golden/mlp/model",
    "tests/golden/residual/model",
    "tests/golden/text/model",
];

/// And such that read sequences step by step.
const RECURRENT: [&str; 2] = ["models/hello", "models/rows"];

fn session(name: &str, threads: usize, seed: u64) -> Session {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{name}.net"));
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let network = netc::check_source(name, &text).unwrap_or_else(|error| panic!("{error}"));
    Session::new(network, &SessionOptions { threads, seed })
}

fn bits(session: &Session) -> Vec<(String, Vec<u32>)> {
    session.parameters().map(|(path, values)| (path.to_owned(), values.iter().map(|x| x.to_bits()).collect())).collect()
}

#[test]
fn a_batch_is_its_members() {
    for name in SMALL {
        let mut session = session(name, 2, 1);
        let batch = Batch::new(&session, 7, 6);
        let alone: Vec<Vec<u32>> = (0..7).flat_map(|i| forward(&mut session, &batch, i, i + 1)).collect();
        for n in [1, 2, 3, 7, 0, 2] {
            assert!(forward(&mut session, &batch, 0, n) == alone[..n], "{name}: a batch of {n}");
        }
    }
}

/// As many members have equal bits in each larger batch. Of fewer, a processor with a matrix unit adds up the same products in
/// another order.
const MANY: usize = netc_runtime::kernels::matmul::MANY;

/// That a member alone has the bits that it has among many; on a processor with a matrix unit, the same values but for rounding.
fn assert_alone(alone: &[u32], among_many: &[u32], what: &str) {
    if cpu() != Cpu::Amx {
        assert!(alone == among_many, "{what}");
    }
    let near = |(&x, &y): (&u32, &u32)| (f32::from_bits(x) - f32::from_bits(y)).abs() <= 2e-6;
    assert!(alone.len() == among_many.len() && alone.iter().zip(among_many).all(near), "{what}");
}

/// What an input adds to the gates of 64 units is computed ahead of the steps: of all steps at once for a dozen members, of two
/// at a time for 120 members, and the last two of an odd number overlap with those before.
#[test]
fn rounds_of_steps_change_no_bit() {
    let source = "net rounds {
      input  x[T, 24]
      target t: token(3)
      h = x -> lstm(64)
      y = h -> gru(64, reset = after) -> last -> dense(3)
      output h
      output y
      loss   cross_entropy(y, t)
    }";
    let network = netc::check_source("rounds.net", source).unwrap_or_else(|error| panic!("{error}"));
    let new = |threads| Session::new(network.clone(), &SessionOptions { threads, seed: 3 });
    let mut session = new(2);
    for length in [1, 2, 5, 8] {
        let batch = Batch::new(&session, 120, length);
        let all = forward(&mut session, &batch, 0, 120);
        for member in [0, 1, 77, 119] {
            let alone = forward(&mut session, &batch, member, member + 1);
            assert_alone(&alone[0], &all[member], &format!("member {member} of length {length}"));
        }
        for member in [0, 1, 77, 120 - MANY] {
            let some = forward(&mut session, &batch, member, member + MANY);
            assert!(some == all[member..member + MANY], "members {member} and more, of length {length}");
        }
        let gradients = |session: &mut Session| {
            let outputs = session.gradients(&batch.all()).unwrap();
            let bits = outputs.gradients().map(|(_, values)| values.iter().map(|x| x.to_bits()).collect());
            bits.collect::<Vec<Vec<u32>>>()
        };
        assert!(gradients(&mut new(1)) == gradients(&mut new(3)), "gradients of length {length}");
    }
}

/// Threads share recurrences by members where each has twelve or more; batches that do not divide evenly, cells of users and
/// both directions.
#[test]
fn members_of_threads_change_no_bit() {
    let source = "import cells
    cell mixed(hidden) {
      input x[n]
      state h[hidden], m[hidden]
      param U[hidden, hidden], u[hidden]
      g = tanh(U @ h + (x -> dense(hidden)))
      m' = relu(m - g) * 0.9
      h' = g + m' * softmax(u * h)
      output h'
    }
    net apart {
      input  x[T, 12]
      target t: token(3)
      a = x -> bidirectional(peephole(20)) -> dropout(0.3)
      b = a -> gru(32, reset = before) -> mgu(17)
      c = b -> mixed(16)
      y = c -> mean_over(T) -> dense(3)
      output b
      output y
      loss   cross_entropy(y, t)
    }
    train apart { optimizer adam(lr = 1e-2) }";
    let cells = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/cells.net")).unwrap();
    let (cells, _) = cells.split_once("\nnet ").expect("nets follow the cells");
    let text = source.replace("import cells", cells);
    let network = netc::check_source("apart.net", &text).unwrap_or_else(|error| panic!("{error}"));
    for (batch, length) in [(24, 5), (37, 4), (49, 1), (25, 9)] {
        let run = |threads| {
            let mut session = Session::new(network.clone(), &SessionOptions { threads, seed: 3 });
            let batch_of = Batch::new(&session, batch, length);
            let outputs = forward(&mut session, &batch_of, 0, batch);
            let one = forward(&mut session, &batch_of, batch - 1, batch);
            assert_alone(&one[0], &outputs[batch - 1], &format!("the last of {batch} by {threads} threads"));
            let last = forward(&mut session, &batch_of, batch - MANY, batch);
            assert!(last == outputs[batch - MANY..], "the last of {batch} by {threads} threads");
            let outcome = session.train_step(&batch_of.all()).unwrap().loss().unwrap().to_bits();
            (outputs, outcome, bits(&session))
        };
        let one = run(1);
        for threads in [2, 3, 4] {
            assert!(one == run(threads), "{batch} members of length {length} by {threads} threads");
        }
    }
}

/// What is prepared for few members is prepared for many when they come, and again when parameters have changed.
#[test]
fn few_members_and_many_change_no_bit() {
    for name in RECURRENT {
        let mut session = session(name, 1, 3);
        let batch = Batch::new(&session, 40, 8);
        for round in 0..2 {
            for members in [1, 40, 2, 30] {
                let (network, options) = (session.network().clone(), SessionOptions { threads: 1, seed: 3 });
                let mut alone = Session::with_weights(network, &options, &session.to_safetensors(true)).unwrap();
                let expected = forward(&mut alone, &batch, 0, members);
                assert!(forward(&mut session, &batch, 0, members) == expected, "{name}: {members} in round {round}");
            }
            session.train_step(&batch.all()).unwrap();
        }
    }
}

#[test]
fn lengths_change_from_call_to_call() {
    let mut changing = session("tests/golden/text/model", 2, 1);
    for length in [6, 2, 9, 6] {
        let batch = Batch::new(&changing, 3, length);
        let mut fresh = session("tests/golden/text/model", 1, 1);
        assert!(forward(&mut changing, &batch, 0, 3) == forward(&mut fresh, &batch, 0, 3), "length {length}");
    }
}

#[test]
fn threads_and_sessions_change_no_bit() {
    for name in SMALL.into_iter().chain(RECURRENT) {
        // So many that threads share recurrences by members.
        let n = if RECURRENT.contains(&name) { 41 } else { 9 };
        let run = |threads| {
            let mut session = session(name, threads, 5);
            let batch = Batch::new(&session, n, 6);
            let mut first = forward(&mut session, &batch, 0, n);
            let loss = session.evaluate(&batch.all()).unwrap().loss().unwrap();
            first.push(vec![loss.to_bits()]);
            let gradients = session.gradients(&batch.all()).unwrap();
            first.extend(gradients.gradients().map(|(_, values)| values.iter().map(|x| x.to_bits()).collect()));
            let losses: Vec<u32> =
                (0..4).map(|_| session.train_step(&batch.all()).unwrap().loss().unwrap().to_bits()).collect();
            (first, losses, bits(&session), forward(&mut session, &batch, 0, n))
        };
        let one = run(1);
        assert!(one == run(1), "{name}: another session");
        assert!(one == run(2), "{name}: two threads");
        assert!(one == run(3), "{name}: three threads");
        assert!(one.0[..n] != one.3, "{name}: training changes what it infers");
    }
}

#[test]
fn another_seed_gives_other_values() {
    assert!(bits(&session("models/digits", 1, 1)) != bits(&session("models/digits", 1, 2)));
}

#[test]
fn training_makes_the_loss_small() {
    for name in SMALL {
        let mut session = session(name, 2, 3);
        let batch = Batch::new(&session, 6, 6);
        let before = session.evaluate(&batch.all()).unwrap().loss().unwrap();
        for _ in 0..60 {
            session.train_step(&batch.all()).unwrap();
        }
        assert_eq!(session.step(), 60);
        let after = session.evaluate(&batch.all()).unwrap().loss().unwrap();
        assert!(after < 0.97 * before, "{name}: from {before} to {after}");
    }
}

#[test]
fn gradients_change_nothing() {
    let mut session = session("tests/golden/residual/model", 1, 3);
    let (batch, before) = (Batch::new(&session, 4, 1), bits(&session));
    let outputs = session.gradients(&batch.all()).unwrap();
    let names: Vec<&str> = outputs.gradients().map(|(name, _)| name).collect();
    let paths: Vec<&str> = session.network().parameters.iter().map(|parameter| parameter.path.as_str()).collect();
    assert_eq!(names, paths);
    assert!(bits(&session) == before && session.step() == 0);
}

#[test]
fn arrays_that_were_dropped_are_written_again() {
    for name in SMALL {
        let mut used = session(name, 1, 3);
        let batch = Batch::new(&used, 5, 6);
        let gradients = |session: &mut Session, from: usize, to: usize| {
            let outputs = session.gradients(&batch.part(from, to, true)).unwrap();
            let bits = |(_, array): (&str, ndarray::ArrayViewD<'_, f32>)| array.iter().map(|x| x.to_bits()).collect();
            let values: Vec<Vec<u32>> = outputs.gradients().map(bits).collect();
            (values, outputs)
        };
        let (first, kept) = gradients(&mut used, 0, 2);
        let places = |outputs: &netc::Outputs| -> Vec<usize> {
            let mut places: Vec<usize> = outputs.gradients().map(|(_, array)| array.as_ptr().addr()).collect();
            places.sort_unstable();
            places
        };
        let (earlier, copy) = (places(&kept), kept.clone());
        let (other, others) = gradients(&mut used, 2, 5);
        assert!(kept == copy, "{name}: what is kept does not change");
        assert!(others != kept && other != first, "{name}: other members");
        drop(others);
        drop(kept);
        let (again, outputs) = gradients(&mut used, 0, 2);
        assert!(again == first, "{name}");
        assert!(again == gradients(&mut session(name, 1, 3), 0, 2).0, "{name}: a fresh session");
        assert_eq!(places(&outputs), earlier, "{name}");
    }
}

#[test]
fn saved_weights_come_back_bit_for_bit() {
    for name in SMALL {
        let mut first = session(name, 1, 5);
        let batch = Batch::new(&first, 5, 6);
        for _ in 0..3 {
            first.train_step(&batch.all()).unwrap();
        }
        let saved = first.to_safetensors(true);
        let (network, options) = (first.network().clone(), SessionOptions { threads: 2, seed: 5 });
        let mut second = Session::with_weights(network, &options, &saved).unwrap_or_else(|error| panic!("{error}"));
        assert!(second.to_safetensors(true) == saved, "{name}: saved again");
        assert_eq!(second.step(), 3);
        // The moments, too, are what they were: training goes on alike.
        for session in [&mut first, &mut second] {
            session.train_step(&batch.all()).unwrap();
        }
        assert!(first.to_safetensors(true) == second.to_safetensors(true), "{name}: a step later");
    }
}

#[test]
fn a_mapped_file_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    for name in SMALL {
        let mut copied = session(name, 1, 5);
        let batch = Batch::new(&copied, 5, 6);
        copied.train_step(&batch.all()).unwrap();
        let saved = copied.to_safetensors(true);
        std::fs::write(&path, &saved).unwrap();
        let weights = Weights::open(&path).unwrap();
        let (network, options) = (copied.network().clone(), SessionOptions { threads: 2, seed: 5 });
        let mut mapped =
            Session::with_weights_file(network, &options, &weights).unwrap_or_else(|error| panic!("{error}"));
        assert!(mapped.to_safetensors(true) == saved, "{name}: as it was saved");
        for _ in 0..2 {
            assert!(forward(&mut mapped, &batch, 0, 5) == forward(&mut copied, &batch, 0, 5), "{name}");
            for session in [&mut mapped, &mut copied] {
                session.evaluate(&batch.all()).unwrap();
                session.train_step(&batch.all()).unwrap();
            }
        }
        assert!(mapped.to_safetensors(true) == copied.to_safetensors(true), "{name}: trained");
        assert!(std::fs::read(&path).unwrap() == saved, "{name}: the file");
        let first = mapped.network().parameters[0].path.clone();
        let values = mapped.parameter(&first).unwrap().mapv(|x| x + 1.0);
        mapped.load_weights(&weights).unwrap();
        mapped.set_parameter(&first, values.view()).unwrap();
        assert!(weights.bytes() == saved && mapped.parameter(&first).unwrap() == values, "{name}: a parameter is set");
    }
}

/// Bytes in which `from` stands are refused with `message` when it is replaced by `to`.
const DAMAGES: &[(&str, &str, &str)] = &[
    (r#""dense1.weight""#, r#""dense1.weighs""#, "the weights have no `dense1.weight`; they have `dense1.weighs`"),
    (r#""shape":[5,4]"#, r#""shape":[4,5]"#, "`dense1.weight` has shape [5, 4] in the network, [4, 5] in the weights"),
    (r#""dtype":"F32","shape":[5]"#, r#""dtype":"I32","shape":[5]"#, "`dense1.bias` is I32, not F32"),
    (
        r#"velocity.logits.weight""#,
        r#"velocity.nobody.weight""#,
        "`optimizer.velocity.nobody.weight` belongs to no parameter",
    ),
    (r#""data_offsets":[0,"#, r#""data_offsets":[4,"#, "the weights cannot be read"),
    (r#""step":"2""#, r#""step":"x""#, "`x`"),
];

#[test]
fn what_does_not_fit_changes_nothing() {
    let mut trained = session("tests/golden/mlp/model", 1, 5);
    let batch = Batch::new(&trained, 5, 6);
    for _ in 0..2 {
        trained.train_step(&batch.all()).unwrap();
    }
    let saved = trained.to_safetensors(true);
    let mut session = session("tests/golden/mlp/model", 1, 6);
    session.train_step(&batch.all()).unwrap();
    let before = session.to_safetensors(true);
    let mut refused = |what: &str, bytes: &[u8], message: &str| {
        let error = session.load_safetensors(bytes).expect_err(what).to_string();
        assert!(error.contains(message), "{what}: {error}");
        assert!(session.to_safetensors(true) == before, "{what} changed something");
    };
    for (from, to, message) in DAMAGES {
        refused(to, &replaced(&saved, from, to), message);
    }
    for end in (0..saved.len()).step_by(5) {
        refused(&format!("cut at {end}"), &saved[..end], "the weights cannot be read");
    }
    let longer = [saved.as_slice(), &[0; 4]].concat();
    refused("too long", &longer, "it was cut short, or something was added");
    refused("another format", &saved[1..], "this is not a safetensors file, or its beginning is damaged");
    let other = self::session("tests/golden/text/model", 1, 5).to_safetensors(false);
    refused("another network's", &other, "the weights have no");
    session.load_safetensors(&saved).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(bits(&session), bits(&trained));
}

/// Replaces the first `from` by `to`, which is as long.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes());
    let at = at.unwrap_or_else(|| panic!("the file has no `{from}`"));
    [&bytes[..at], to.as_bytes(), &bytes[at + to.len()..]].concat()
}
