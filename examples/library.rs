//! The library in a few lines: compile a text, train it, run it. `cargo run --release --example library`
#![expect(clippy::print_stdout, reason = "an example prints what it computes")]

fn main() -> Result<(), netc::Error> {
    use ndarray::array;
    use netc::{Session, SessionOptions};

    let source = "net xor {
      input  x[2]
      target y: token(2)
      logits = dense(8, tanh) -> dense(2)
      output logits
      loss   cross_entropy(logits, y)
    }";
    let network = netc::check_source("xor.net", source)?;
    let mut session = Session::new(network, &SessionOptions::default());
    session.set_learning_rate(0.05);
    let (x, y) = (array![[0., 0.], [0., 1.], [1., 0.], [1., 1.0_f32]], array![0, 1, 1, 0]);
    for _ in 0..200 {
        session.train_step(&[("x", x.view().into()), ("y", y.view().into())])?;
    }
    let outputs = session.forward(&[("x", x.view().into())])?;
    println!("{}", outputs.get("logits").expect("an output of the network"));
    Ok(())
}
