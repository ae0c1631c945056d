//! Recurrences of a single member may read their weights rounded, and those of many may multiply sums of halves of them: it shows in
//! last bits alone, and depends on nothing but the batch.

use ndarray::{Array3, ArrayD, Axis};
use netc::{Net, Session, SessionOptions, TensorView};

/// Large enough that weights are worth rounding, and of no round size.
const ODD: &str = "net odd {
  input x[T, 37]
  layer first = lstm(150)
  layer second = gru(130)
  y = x -> first -> second
  output y
}";

/// Of sizes whose halves are added up.
const EVEN: &str = "net even {
  input x[T, 136]
  layer first = lstm(144)
  layer second = gru(128)
  y = x -> first -> second
  output y
}";

fn session(net: &str, threads: usize, is_strict: bool) -> Session {
    let net = Net::from_source("some.net", net);
    let net = if is_strict { net.strict_math() } else { net };
    net.compile(&SessionOptions { threads, seed: 3 }).unwrap_or_else(|error| panic!("{error}"))
}

fn inputs(members: usize, width: usize) -> Array3<f32> {
    let value = |(member, step, at)| ((member * 977 + step * 131 + at * 29) as f32).sin();
    Array3::from_shape_fn((members, 20, width), value)
}

/// The output for some members, of whom each is the same whatever the others are.
fn forward(session: &mut Session, members: usize) -> ArrayD<f32> {
    forward_of(session, inputs(members, 37))
}

fn forward_of(session: &mut Session, x: Array3<f32>) -> ArrayD<f32> {
    let x = x.into_dyn();
    let outputs = session.forward(&[("x", TensorView::F32(x.view()))]).unwrap_or_else(|error| panic!("{error}"));
    outputs.take("y").expect("the network has an output `y`")
}

/// Not finite if one of the two is not.
fn largest_difference(a: &ArrayD<f32>, b: &ArrayD<f32>) -> f32 {
    let largest =
        |largest: f32, difference: f32| if largest.is_nan() || difference <= largest { largest } else { difference };
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, largest)
}

#[test]
fn a_single_member_is_the_same_before_and_after_others() {
    let mut first = session(ODD, 1, false);
    let alone = forward(&mut first, 1);
    for members in [2, 3, 8, 16] {
        let all = forward(&mut first, members);
        let member = all.index_axis(Axis(0), 0).insert_axis(Axis(0)).to_owned();
        assert!(largest_difference(&alone, &member) <= 2e-6, "{members} members");
        assert_eq!(forward(&mut first, 1), alone, "after {members} members");
    }
    // As in a session that had others first, and on more threads.
    let mut other = session(ODD, 2, false);
    let several = forward(&mut other, 5);
    assert_eq!(forward(&mut other, 1), alone);
    assert_eq!(forward(&mut session(ODD, 3, false), 5), several);
}

#[test]
fn strict_sums_of_one_member_are_those_of_several() {
    let mut strict = session(ODD, 1, true);
    let (alone, all) = (forward(&mut strict, 1), forward(&mut strict, 2));
    assert_eq!(alone, all.index_axis(Axis(0), 0).insert_axis(Axis(0)).to_owned());
    assert!(largest_difference(&alone, &forward(&mut session(ODD, 1, false), 1)) <= 2e-6);
}

/// Threads share members, or divide steps; pairs of rows are the same.
#[test]
fn many_members_are_the_same_on_any_number_of_threads() {
    let [mut one, mut two, mut three] = [1, 2, 3].map(|threads| session(EVEN, threads, false));
    let mut strict = session(EVEN, 1, true);
    for members in [12, 24, 25, 26, 38, 50, 75] {
        let x = inputs(members, 136);
        let of_one = forward_of(&mut one, x.clone());
        for other in [&mut two, &mut three] {
            assert!(forward_of(other, x.clone()) == of_one, "{members} members");
        }
        let difference = largest_difference(&of_one, &forward_of(&mut strict, x));
        assert!(difference <= 3e-6, "{members} members: {difference}");
    }
}

#[test]
fn a_member_that_is_no_number_spoils_no_other() {
    let members = 26;
    let plain = inputs(members, 136);
    let mut spoilt = plain.clone();
    for (member, step, value) in [(3, 0, f32::NAN), (8, 7, f32::INFINITY), (21, 19, f32::NEG_INFINITY)] {
        spoilt[[member, step, 5]] = value;
    }
    for threads in [1, 2] {
        let mut session = session(EVEN, threads, false);
        let [whole, found] = [&plain, &spoilt].map(|x| forward_of(&mut session, x.clone()));
        for member in 0..members {
            let [whole, found] = [&whole, &found].map(|y| y.index_axis(Axis(0), member).to_owned());
            match member {
                3 => assert!(found.iter().all(|x| x.is_nan())),
                8 | 21 => {}
                _ => assert!(largest_difference(&whole, &found) <= 3e-6, "member {member}"),
            }
        }
    }
}

#[test]
fn others_are_the_same_before_and_after_a_single_member() {
    for members in [2, 5, 16] {
        let mut session = session(ODD, 2, false);
        let before = forward(&mut session, members);
        let alone = forward(&mut session, 1);
        assert_eq!(forward(&mut session, members), before, "{members}");
        assert_eq!(forward(&mut session, 1), alone, "{members}");
    }
}
