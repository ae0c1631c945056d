//! New values of parameters are made of the old ones, whichever are written first.

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "support/nets.rs"]
mod nets;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "support/random.rs"]
mod random;
#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use ndarray::Array2;
use netc::pipeline::Entry;
use netc::{Session, SessionOptions};

/// Nets in whose gradients a parameter stands as it is, or in which its own stands in another order.
const NETS: [(&str, &str); 12] = [
    ("a scale behind a layer", "param s[4] = 0.5  y = (x -> dense(4)) * s"),
    ("a number as a scale", "param s = 0.5  y = (x -> dense(4)) * s"),
    ("each in the other's gradient", "param a[4] = 0.3  param b[4] = 0.4  y = (x -> dense(4)) + a * b"),
    (
        "in a circle",
        "param a[4] = 0.3  param b[4] = 0.4  param c[4] = 0.5  y = (x -> dense(4)) + a * b + b * c + c * a",
    ),
    ("in order", "param a[4] = 0.3  param b[4] = 0.4  param c[4] = 0.5  y = (x -> dense(4)) * a * b * c"),
    ("a product of its own", "param W[4, 4] = 0.3  y = (x -> dense(4)) @ W @ W"),
    ("two matrices", "param W[4, 4] = 0.3  param V[4, 4] = 0.2  y = (x -> dense(4)) @ (W * V)"),
    ("of low rank", "param A[4, 2] = 0.2  param B[4, 2] = 0.3  y = (x -> dense(4)) @ (B @ A)"),
    ("a number in all", "param s[4] = 0.5  param r = 0.2  y = (x -> dense(4)) * s * r"),
    ("each channel's", "param g[4, 1, 1] = 0.3  y = (x -> reshape([1, 2, 2]) -> conv3x3(4)) * g -> global_avgpool"),
    ("an exponent", "param s = 0.3  y = (x -> dense(4)) * exp(-s) + s"),
    ("a square", "param s[4] = 0.3  y = (x -> dense(4)) * s * s"),
];

const TRAINED: [&str; 4] = [
    "optimizer sgd(lr = 0.5)",
    "optimizer sgd(lr = 0.5, momentum = 0.9)",
    "optimizer adam(lr = 0.01)",
    "optimizer sgd(lr = 0.5)  clip norm(0.1)",
];

fn check(what: &str, source: &str) {
    let network = netc::check_source("updates.net", source).unwrap_or_else(|error| panic!("{what}: {error}\n{source}"));
    for entry in [Entry::TrainStep, Entry::Gradients] {
        nets::check_entry(what, &network, entry, &[(1, 3), (3, 2)]);
    }
}

fn lines(text: &str) -> String {
    text.replace("  ", "\n  ")
}

#[test]
fn updates_read_what_was_there_before() {
    for (what, body) in NETS {
        for train in TRAINED {
            let body = lines(body);
            let source = format!(
                "net f {{\n  input x[4]\n  target t[4]\n  {body}\n  output y\n  loss mse(y, t)\n}}\ntrain f {{\n  {}\n}}\n",
                lines(train)
            );
            check(what, &source);
        }
    }
}

#[test]
fn updates_of_cells_read_what_was_there_before() {
    let source = "
cell own(n) {
  input x[k]
  state h[n] = 0.5
  param u[n] = 0.7
  param v[n] = 0.6
  h' = (x -> dense(n)) * v + u * h
  output h'
}
net f {
  input x[T, 4]
  target t[4]
  y = x -> own(4) -> last
  output y
  loss mse(y, t)
}
";
    check("a cell", source);
}

/// Of one member `x = 1` with the target 0, where `y = (1 + 0) * 0.5`: `dL/dy = 2 * 0.5 / 4`, so that the bias goes down by half of
/// that, and the scale by all of it.
#[test]
fn a_step_by_hand() {
    let source = "net f {\n  input x[1]\n  target t[4]\n  param s[4] = 0.5\n  y = (x -> dense(4, init = 1)) * s\n  output y\n  \
                  loss mse(y, t)\n}\ntrain f { optimizer sgd(lr = 1.0) }\n";
    let mut session = Session::new(netc::check_source("scale.net", source).unwrap(), &SessionOptions::default());
    let (x, t) = (Array2::<f32>::ones((1, 1)), Array2::<f32>::zeros((1, 4)));
    session.train_step(&[("x", x.view().into()), ("t", t.view().into())]).unwrap();
    for (path, value) in [("dense1.bias", -0.125), ("dense1.weight", 0.875), ("s", 0.25)] {
        let found = session.parameter(path).unwrap();
        assert!(found.iter().all(|&x| x == value), "{path} is {found}, not {value}");
    }
}
