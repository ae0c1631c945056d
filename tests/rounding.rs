//! Recurrences of a single member may read their weights rounded: it shows in last bits alone, and depends on nothing but the batch.

use ndarray::{Array3, ArrayD, Axis};
use netc::{Net, Session, SessionOptions, TensorView};

/// Large enough that weights are worth rounding, and of no round size.
const NET: &str = "net odd {
  input x[T, 37]
  layer first = lstm(150)
  layer second = gru(130)
  y = x -> first -> second
  output y
}";

fn session(threads: usize, is_strict: bool) -> Session {
    let net = Net::from_source("odd.net", NET);
    let net = if is_strict { net.strict_math() } else { net };
    net.compile(&SessionOptions { threads, seed: 3 }).unwrap_or_else(|error| panic!("{error}"))
}

fn inputs(members: usize) -> Array3<f32> {
    let value = |(member, step, at)| ((member * 977 + step * 131 + at * 29) as f32).sin();
    Array3::from_shape_fn((members, 20, 37), value)
}

/// The output for some members, of whom each is the same whatever the others are.
fn forward(session: &mut Session, members: usize) -> ArrayD<f32> {
    let x = inputs(members).into_dyn();
    let outputs = session.forward(&[("x", TensorView::F32(x.view()))]).unwrap_or_else(|error| panic!("{error}"));
    outputs.take("y").expect("the network has an output `y`")
}

fn largest_difference(a: &ArrayD<f32>, b: &ArrayD<f32>) -> f32 {
    a.iter().zip(b).fold(0.0, |largest, (a, b)| largest.max((a - b).abs()))
}

#[test]
fn a_single_member_is_the_same_before_and_after_others() {
    let mut first = session(1, false);
    let alone = forward(&mut first, 1);
    for members in [2, 3, 8, 16] {
        let all = forward(&mut first, members);
        let member = all.index_axis(Axis(0), 0).insert_axis(Axis(0)).to_owned();
        assert!(largest_difference(&alone, &member) <= 2e-6, "{members} members");
        assert_eq!(forward(&mut first, 1), alone, "after {members} members");
    }
    // As in a session that had others first, and on more threads.
    let mut other = session(2, false);
    let several = forward(&mut other, 5);
    assert_eq!(forward(&mut other, 1), alone);
    assert_eq!(forward(&mut session(3, false), 5), several);
}

#[test]
fn strict_sums_of_one_member_are_those_of_several() {
    let mut strict = session(1, true);
    let (alone, all) = (forward(&mut strict, 1), forward(&mut strict, 2));
    assert_eq!(alone, all.index_axis(Axis(0), 0).insert_axis(Axis(0)).to_owned());
    assert!(largest_difference(&alone, &forward(&mut session(1, false), 1)) <= 2e-6);
}
