//! Outputs, losses, gradients and three optimizer steps agree with PyTorch's, which `pytorch/reference.py`
//! computed once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn, Slice};
use netc::diag::{Code, Message, Sources};
use netc::elaborate::Options;
use netc::session::Outputs;
use netc::{Session, SessionOptions, TensorView};
use safetensors::tensor::{Dtype, SafeTensors, TensorView as Saved};

/// The largest difference over the largest value.
const TOLERANCE: f32 = 1e-4;

struct Case {
    name: &'static str,
    bytes: Vec<u8>,
}

/// Inputs and targets by name.
enum Array {
    Numbers(ArrayD<f32>),
    Tokens(ArrayD<i32>),
}

impl Array {
    fn view(&self) -> TensorView<'_> {
        match self {
            Array::Numbers(array) => array.view().into(),
            Array::Tokens(array) => array.view().into(),
        }
    }
    fn steps(&self, part: Slice) -> TensorView<'_> {
        match self {
            Array::Numbers(array) => array.slice_axis(Axis(1), part).into(),
            Array::Tokens(array) => array.slice_axis(Axis(1), part).into(),
        }
    }
}

impl Case {
    fn read(name: &'static str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/pytorch/{name}.safetensors"));
        Case { name, bytes: fs::read(path).unwrap() }
    }
    /// The network with the parameters that PyTorch began with.
    fn session(&self) -> Session {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pytorch");
        let read = |path: &str| fs::read_to_string(folder.join(path));
        let name = format!("{}.net", self.name);
        let mut sources = Sources::default();
        let file = sources.add(&name, read(&name).unwrap());
        let mut loader = |path: &str, _: &str| {
            read(path).map_err(|error| Message::new(Code::ImportNotFound, format!("`{path}`: {error}")))
        };
        let network = netc::pipeline::check(&mut sources, file, &mut loader, &Options::default(), &mut ()).unwrap();
        let mut session = Session::new(network, &SessionOptions { threads: 2, seed: 0 });
        session.load_pytorch(&self.module("before.")).unwrap_or_else(|error| panic!("{}: {error}", self.name));
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
    /// The tensors of this prefix under PyTorch's names, and those that it does not have as they were before.
    fn module(&self, prefix: &str) -> Vec<u8> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let mut tensors: BTreeMap<String, Saved<'_>> = BTreeMap::new();
        for prefix in ["before.", prefix] {
            let of_prefix = file.tensors().into_iter();
            tensors
                .extend(of_prefix.filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor))));
        }
        safetensors::serialize(tensors, None).unwrap()
    }
    /// The tensors of this prefix under the network's names.
    fn translated(&self, prefix: &str) -> Session {
        let mut session = self.session();
        session.load_pytorch(&self.module(prefix)).unwrap();
        session
    }
    fn inputs(&self) -> Vec<(String, Array)> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let array = |(name, shape, values): (String, Vec<usize>, Vec<f32>)| {
            let array = ArrayD::from_shape_vec(shape, values).unwrap();
            let is_number = file.tensor(&format!("input.{name}")).unwrap().dtype() == Dtype::F32;
            (name, if is_number { Array::Numbers(array) } else { Array::Tokens(array.mapv(|x| x as i32)) })
        };
        self.tensors("input.").into_iter().map(array).collect()
    }
    /// The gradients are those that PyTorch computed, and there are as many.
    fn check_gradients(&self, what: &str, outputs: &Outputs, prefix: &str) {
        let expected = self.translated(prefix);
        let parameters = &expected.network().parameters;
        assert_eq!(outputs.gradients().count(), parameters.len(), "{what}: as many gradients as parameters");
        for (path, gradient) in outputs.gradients() {
            let values = expected.parameter(path).unwrap_or_else(|| panic!("{what}: no parameter `{path}`"));
            close(&format!("{what}: gradient of {path}"), gradient, values);
        }
    }
}

fn views(arrays: &[(String, Array)]) -> Vec<(&str, TensorView<'_>)> {
    arrays.iter().map(|(name, array)| (name.as_str(), array.view())).collect()
}

fn check(name: &'static str) {
    let case = Case::read(name);
    let mut session = case.session();
    let arrays = case.inputs();
    let inputs = views(&arrays);
    let is_target = |name: &str| session.network().ports.iter().any(|port| port.name == name && port.is_target);
    let only_inputs: Vec<_> = inputs.iter().filter(|(name, _)| !is_target(name)).cloned().collect();

    let outputs = session.forward(&only_inputs).unwrap();
    for (output, shape, values) in case.tensors("inference") {
        let found = match output.strip_prefix('.') {
            Some(output) => outputs.get(output).unwrap_or_else(|| panic!("{name}: no output `{output}`")),
            None => outputs.outputs().next().unwrap().1,
        };
        close(&format!("{name}: inference{output}"), found, view(&shape, &values));
    }
    let outputs = session.gradients(&inputs).unwrap();
    case.check_gradients(name, &outputs, "gradient.");

    for (step, _, loss) in case.tensors("loss.") {
        let outputs = session.train_step(&inputs).unwrap();
        check_loss(&format!("{name}: step {step}"), &outputs, loss[0]);
        for (norm, _, expected) in case.tensors(&format!("norm.{step}")) {
            let found = outputs.metrics().find(|(metric, _)| *metric == netc::network::GRADIENT_NORM).unwrap().1;
            close(&format!("{name}: norm{norm} of step {step}"), view(&[], &[found]), view(&[], &expected));
        }
    }
    let after = case.translated("after.");
    for (path, expected) in after.parameters() {
        close(&format!("{name}: {path} after three steps"), session.parameter(path).unwrap(), expected);
    }
}

fn check_loss(what: &str, outputs: &Outputs, expected: f32) {
    let actual = outputs.loss().unwrap();
    let error = (actual - expected).abs() / expected.abs();
    assert!(error < TOLERANCE, "{what}: the loss is {actual}, PyTorch's {expected}");
}

fn view<'a>(shape: &[usize], values: &'a [f32]) -> ArrayViewD<'a, f32> {
    ArrayViewD::from_shape(IxDyn(shape), values).unwrap()
}

fn close(what: &str, actual: ArrayViewD<'_, f32>, expected: ArrayViewD<'_, f32>) {
    assert_eq!(actual.len(), expected.len(), "{what}: another number of values");
    let scale = expected.iter().fold(0.0f32, |max, x| max.max(x.abs())).max(1e-6);
    for (i, (a, b)) in actual.iter().zip(&expected).enumerate() {
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
cases!(lstm_layers, gru_layers, rnn_layers, relu_layers, packed, cells, library, translator, clip_norm, clip_value);

/// Truncated backpropagation through time: states go on from window to window, gradients do not.
#[test]
fn windows() {
    let case = Case::read("windows");
    let [mut session, mut forward] = [case.session(), case.session()];
    session.set_carry(true).unwrap();
    forward.set_carry(true).unwrap();
    let arrays = case.inputs();
    for number in 0..2 {
        let part = Slice::from(3 * number..3 * number + 3);
        let inputs: Vec<_> = arrays.iter().map(|(name, array)| (name.as_str(), array.steps(part))).collect();
        let prefix = format!("window.{number}.");
        let outputs = session.gradients(&inputs).unwrap();
        let (_, shape, logits) = &case.tensors(&format!("{prefix}inference"))[0];
        let only_inputs: Vec<_> = inputs.iter().filter(|(name, _)| *name != "label").cloned().collect();
        let found = forward.forward(&only_inputs).unwrap();
        close(&format!("{prefix}inference"), found.get("logits").unwrap(), view(shape, logits));
        check_loss(&prefix, &outputs, case.tensors(&format!("{prefix}loss"))[0].2[0]);
        case.check_gradients(&prefix, &outputs, &format!("{prefix}gradient."));
        let states = case.tensors(&format!("{prefix}state."));
        assert_eq!(states.len(), session.states().count(), "as many states");
        for (name, shape, values) in states {
            let found = session.states().find(|(known, _)| *known == name);
            let names: Vec<&str> = session.states().map(|(name, _)| name).collect();
            let (_, found) = found.unwrap_or_else(|| panic!("no state `{name}`, but {names:?}"));
            close(&format!("{prefix}{name}"), found, view(&shape, &values));
        }
    }
}

/// The first window of all steps is the whole sequence, to the last bit.
#[test]
fn a_window_of_all_steps_is_the_whole() {
    let case = Case::read("windows");
    let arrays = case.inputs();
    let mut session = case.session();
    let whole = session.gradients(&views(&arrays)).unwrap();
    session.set_carry(true).unwrap();
    assert_eq!(session.gradients(&views(&arrays)).unwrap(), whole);
}

/// A module that is not quite the network's is refused, with the name of what is too much or too little.
#[test]
fn modules_that_do_not_fit_are_refused() {
    let case = Case::read("lstm_layers");
    let bytes = case.module("before.");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let module: BTreeMap<String, Saved<'_>> = file.tensors().into_iter().collect();
    let mut session = case.session();
    let mut refused = |change: &dyn Fn(&mut BTreeMap<String, Saved<'_>>), expected: &str| {
        let mut module = module.clone();
        change(&mut module);
        let error = session.load_pytorch(&safetensors::serialize(module, None).unwrap()).expect_err(expected);
        // What may be meant follows.
        assert_eq!(error.to_string().split(';').next(), Some(expected));
    };
    refused(
        &|module| drop(module.remove("stack.weight_hh_l1")),
        "`stack` is no LSTM of `stack.lstm1.2`: it has no `weight_hh` of layer 1",
    );
    refused(&|module| drop(module.remove("prediction.bias")), "the weights have no `prediction.bias`");
    refused(
        &|module| drop(module.insert("plain.weight_hr_l0".into(), module["prediction.weight"].clone())),
        "the network has no parameter `plain.weight_hr_l0`, which the weights have",
    );
    refused(
        &|module| drop(module.insert("stack.weight_ih_l2".into(), module["plain.weight_hh_l0"].clone())),
        "the network has no recurrent layer `stack.3`, which the weights have",
    );
    refused(
        &|module| module.retain(|name, _| !(name.starts_with("both.") && name.ends_with("_reverse"))),
        "the network has no recurrent layer `both`, which the weights have",
    );
    refused(
        &|module| module.retain(|name, _| !name.starts_with("deep.")),
        "the weights have no `deep.bidirectional1.1.forward.i.weight`",
    );
    refused(
        &|module| drop(module.insert("plain.weight_hh_l0".into(), module["stack.weight_hh_l0"].clone())),
        "`plain` is no LSTM of `plain`: its matrices are of 6 and of 5 features",
    );
    refused(
        &|module| drop(module.remove("plain.bias_hh_l0")),
        "`plain` is no LSTM of `plain`: it has no `bias_hh` of layer 0",
    );
}
