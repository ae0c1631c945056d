//! The library in a few lines: compile a text, train it, run it. `cargo run --release --example library`
#![expect(clippy::print_stdout, reason = "an example prints what it computes")]

fn main() -> Result<(), netc::Error> {
    use ndarray::array;
    use netc::{Net, SessionOptions, inputs};

    let source = "net xor {
      input  x[2]
      target y: token(2)
      logits = dense(8, tanh) -> dense(2)
      output logits
      loss   cross_entropy(logits, y)
    }
    train xor { optimizer adam(lr = 0.05) }";
    let mut session = Net::from_source("xor.net", source).compile(&SessionOptions::default())?;
    let (x, y) = (array![[0., 0.], [0., 1.], [1., 0.], [1., 1.0_f32]], array![0, 1, 1, 0]);
    for _ in 0..200 {
        session.train_step(inputs![x, y])?;
    }
    let outputs = session.forward(inputs![x])?;
    println!("{}", outputs.get("logits").expect("an output of the network"));
    Ok(())
}
