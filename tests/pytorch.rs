//! Outputs, losses, gradients and three optimizer steps agree with PyTorch's, which `pytorch/reference.py`
//! computed once.

use std::fs;
use std::path::Path;

use ndarray::{ArrayViewD, IxDyn};
use netc::{Session, SessionOptions, TensorView};
use safetensors::{Dtype, SafeTensors};

/// The largest difference over the largest value.
const TOLERANCE: f32 = 1e-4;

struct Case {
    name: &'static str,
    bytes: Vec<u8>,
}

impl Case {
    fn session(&self) -> Session {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pytorch");
        let source = fs::read_to_string(folder.join(format!("{}.net", self.name))).unwrap();
        let network = netc::check_source(&format!("{}.net", self.name), &source).unwrap();
        let mut session = Session::new(network, &SessionOptions { threads: 2, seed: 0 });
        for (name, shape, values) in self.tensors("before.") {
            let values = ArrayViewD::from_shape(IxDyn(&shape), &values).unwrap();
            session.set_parameter(&name, values).unwrap();
        }
        session
    }
    fn tensors(&self, prefix: &str) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let mut tensors: Vec<_> = file
            .tensors()
            .into_iter()
            .filter_map(|(name, tensor)| {
                let name = name.strip_prefix(prefix)?.to_owned();
                let words = tensor.data().chunks_exact(4).map(|bytes| <[u8; 4]>::try_from(bytes).unwrap());
                let values = match tensor.dtype() {
                    Dtype::F32 => words.map(f32::from_le_bytes).collect(),
                    _ => words.map(|word| i32::from_le_bytes(word) as f32).collect(),
                };
                Some((name, tensor.shape().to_vec(), values))
            })
            .collect();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        tensors
    }
    fn is_token(&self, name: &str) -> bool {
        SafeTensors::deserialize(&self.bytes).unwrap().tensor(&format!("input.{name}")).unwrap().dtype() != Dtype::F32
    }
}

fn check(name: &'static str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/pytorch/{name}.safetensors"));
    let case = Case { name, bytes: fs::read(path).unwrap() };
    let mut session = case.session();
    let arrays = case.tensors("input.");
    let tokens: Vec<Vec<i32>> =
        arrays.iter().map(|(_, _, values)| values.iter().map(|&x| x as i32).collect()).collect();
    let inputs: Vec<(&str, TensorView<'_>)> = arrays
        .iter()
        .zip(&tokens)
        .map(|((name, shape, values), tokens)| {
            let view = match case.is_token(name) {
                true => TensorView::from(ArrayViewD::from_shape(IxDyn(shape), tokens).unwrap()),
                false => TensorView::from(ArrayViewD::from_shape(IxDyn(shape), values).unwrap()),
            };
            (name.as_str(), view)
        })
        .collect();

    let only_inputs: Vec<_> = inputs.iter().filter(|(name, _)| !["label", "y"].contains(name)).cloned().collect();
    let outputs = session.forward(&only_inputs).unwrap();
    let (_, output) = outputs.outputs().next().unwrap();
    close(&format!("{name}: inference"), output, &case.tensors("inference")[0].2);

    let outputs = session.gradients(&inputs).unwrap();
    let expected = case.tensors("gradient.");
    assert_eq!(outputs.gradients().count(), expected.len(), "{name}: as many gradients as parameters");
    for (path, _, values) in &expected {
        let gradient = outputs.gradients().find(|(known, _)| known == path);
        let (_, gradient) = gradient.unwrap_or_else(|| panic!("{name}: no gradient of `{path}`"));
        close(&format!("{name}: gradient of {path}"), gradient, values);
    }

    for (step, _, loss) in case.tensors("loss.") {
        let outputs = session.train_step(&inputs).unwrap();
        let actual = outputs.loss().unwrap();
        let error = (actual - loss[0]).abs() / loss[0].abs();
        assert!(error < TOLERANCE, "{name}: the loss of step {step} is {actual}, PyTorch's {}", loss[0]);
    }
    for (path, _, values) in case.tensors("after.") {
        let parameter = session.parameter(&path).unwrap_or_else(|| panic!("{name}: no parameter `{path}`"));
        close(&format!("{name}: {path} after three steps"), parameter, &values);
    }
}

fn close(what: &str, actual: ArrayViewD<'_, f32>, expected: &[f32]) {
    assert_eq!(actual.len(), expected.len(), "{what}: another number of values");
    let scale = expected.iter().fold(0.0f32, |max, x| max.max(x.abs())).max(1e-6);
    for (i, (a, b)) in actual.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= TOLERANCE * scale, "{what}[{i}]: {a}, PyTorch's {b}");
    }
}

macro_rules! cases {
    ($($name:ident),*) => {$(
        #[test]
        fn $name() {
            check(stringify!($name));
        }
    )*};
}
cases!(convnet, residual, activations, convolutions, text, normalised);
