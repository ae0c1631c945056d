//! What a program that embeds the library relies on.

use ndarray::{Array1, Array2, ArrayD, ShapeBuilder, array};
use netc::{Error, Net, Session, SessionOptions, inputs};

const NORMALIZED: &str = "net n {
  input  x[6]
  target y: token(3)
  z = dense(8) -> batchnorm -> relu -> dropout(0.5) -> dense(3)
  output z
  loss cross_entropy(z, y)
}
train n { optimizer adam(lr = 0.01, weight_decay = 0.1)
  clip norm(0.5)
}";

fn session(text: &str) -> Session {
    Net::from_source("n.net", text).compile(&SessionOptions { threads: 1, seed: 3 }).unwrap()
}

fn data(seed: usize) -> (Array2<f32>, Array1<i32>) {
    let x = Array2::from_shape_fn((16, 6), |(i, j)| ((i * 7 + j * 3 + seed * 5) % 11) as f32 / 5.0 - 1.0);
    (x, Array1::from_shape_fn(16, |i| ((i + seed) % 3) as i32))
}

#[test]
fn sessions_go_to_other_threads() {
    fn is_send<T: Send>() {}
    is_send::<Session>();
    is_send::<Error>();
    let mut session = session(NORMALIZED);
    let (x, _) = data(0);
    let here = session.forward(inputs![x]).unwrap();
    let there = std::thread::spawn(move || session.forward(inputs![x]).unwrap()).join().unwrap();
    assert_eq!(here, there);
}

#[test]
fn a_loop_of_ones_own_is_a_training_step() {
    let (mut whole, mut halves) = (session(NORMALIZED), session(NORMALIZED));
    for step in 0..5 {
        let (x, y) = data(step);
        let loss = whole.train_step(inputs![x, y]).unwrap();
        let outputs = halves.backward(inputs![x, y]).unwrap();
        assert_eq!(loss.loss(), outputs.loss());
        let gradients: Vec<_> = outputs.gradients().map(|(path, gradient)| (path, gradient.into())).collect();
        let applied = halves.apply_gradients(&gradients).unwrap();
        let norms =
            [&loss, &applied].map(|outputs| outputs.metrics().find(|(name, _)| *name == "gradient_norm").unwrap().1);
        assert!((norms[0] - norms[1]).abs() < 1e-6, "{norms:?}");
        assert_eq!(whole.step(), halves.step());
    }
    for ((path, a), (_, b)) in whole.parameters().zip(halves.parameters()) {
        let distance = (&a - &b).iter().fold(0.0_f32, |most, d| most.max(d.abs()));
        assert!(distance < 1e-5, "{path}: {distance}");
    }
    assert_eq!(whole.to_safetensors(true).len(), halves.to_safetensors(true).len());
}

#[test]
fn gradients_that_do_not_fit_are_refused() {
    let mut session = session(NORMALIZED);
    let (x, y) = data(0);
    let outputs = session.gradients(inputs![x, y]).unwrap();
    let all: Vec<_> = outputs.gradients().map(|(path, gradient)| (path, gradient.into())).collect();
    let missing = session.apply_gradients(&all[1..]).unwrap_err().to_string();
    assert_eq!(missing, format!("the gradient of `{}` is missing", all[0].0));
    let mut unknown = all.clone();
    unknown.push(("nobody.weight", all[0].1.clone()));
    assert!(session.apply_gradients(&unknown).unwrap_err().to_string().contains("`nobody.weight`"));
    let mut misfit = all.clone();
    misfit[0].1 = all[1].1.clone();
    assert!(session.apply_gradients(&misfit).unwrap_err().to_string().contains("shape"));
    assert_eq!(session.step(), 0);
}

#[test]
fn arrays_by_position_by_name_and_of_any_layout() {
    let mut session = session(NORMALIZED);
    let (x, y) = data(0);
    let expected = session.evaluate(inputs![x, y]).unwrap();
    assert_eq!(session.evaluate(inputs!["y" => y, "x" => x]).unwrap(), expected);
    assert_eq!(session.evaluate(&[("x", x.view().into()), ("1", y.view().into())]).unwrap(), expected);
    let mut columns = Array2::zeros((16, 6).f());
    columns.assign(&x);
    assert_eq!(session.evaluate(inputs![columns, y]).unwrap(), expected);
    let error = |result: Result<_, Error>| result.map(|_: netc::Outputs| ()).unwrap_err().to_string();
    assert_eq!(error(session.evaluate(inputs![x, y, x])), "there are 2 arrays to give, and none at 2");
    assert_eq!(error(session.evaluate(inputs!["x" => x, "0" => x])), "`x` is given twice");
}

#[test]
fn outputs_in_the_callers_arrays() {
    let text = "net two {\n  input x[3]\n  a = dense(2)\n  b = a -> tanh\n  output a\n  output b\n}";
    let mut session = session(text);
    let x = array![[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]];
    let expected = session.forward(inputs![x]).unwrap();
    // One in place, one through strides.
    let mut a = Array2::from_elem((2, 2), f32::NAN);
    let mut b = ArrayD::from_elem(ndarray::IxDyn(&[2, 2]).f(), f32::NAN);
    let rest = session.forward_into(inputs![x], &mut [("b", b.view_mut()), ("a", a.view_mut().into_dyn())]).unwrap();
    assert_eq!(rest.outputs().count(), 0);
    assert_eq!(a.view().into_dyn(), expected.get("a").unwrap());
    assert_eq!(b.view(), expected.get("b").unwrap());
    let rest = session.forward_into(inputs![x], &mut [("a", a.view_mut().into_dyn())]).unwrap();
    assert_eq!(rest.at(0), expected.get("b"));
    let mut small = Array2::zeros((1, 2));
    for (name, message) in
        [("a", "the output `a` has shape [2, 2], not [1, 2]"), ("c", "the network has no output `c`")]
    {
        let error = session.forward_into(inputs![x], &mut [(name, small.view_mut().into_dyn())]).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn files_with_imports_and_settings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("main.net");
    std::fs::write(folder.path().join("parts.net"), "block part(n) { dense(n, relu) }\n").unwrap();
    std::fs::write(
        &path,
        "import \"parts.net\"\nnet a(n = 2) {\n  input x[4]\n  part(n)\n}\nnet b {\n  input x[1]\n  relu\n}\n",
    )
    .unwrap();
    let net = Net::from_file(&path).unwrap().named("a");
    assert_eq!(net.clone().set("n", 7).check().unwrap().parameters[0].shape, [7, 4]);
    assert!(net.clone().set("m", 7).check().unwrap_err().to_string().contains("`m`"));
    assert!(matches!(Net::from_file(folder.path().join("none.net")), Err(Error::File { .. })));
    std::fs::remove_file(folder.path().join("parts.net")).unwrap();
    let Err(Error::Source { rendered, diagnostics }) = net.check() else { panic!("the import is gone") };
    assert!(rendered.contains("parts.net") && diagnostics.len() == 1, "{rendered}");
}
