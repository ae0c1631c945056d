//! Parameters and states as safetensors, under their paths.

mod pytorch;

use std::collections::BTreeMap;
use std::io::{self, Write};

use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};
use serde_json::json;

use super::{Session, Stored, Values};
use crate::data::Weights;
use crate::diag::suggest;
use crate::error::Error;

/// The version of the layout of a checkpoint's metadata.
const FORMAT: &str = "1";
/// In front of the name of a recurrent state that is carried from window to window.
const CARRY: &str = "carry.";
/// How many values are turned into bytes at a time.
const CHUNK: usize = 1 << 14;

/// What stands beside the tensors of saved weights: the network's name, `seed`, `step`, the overrides as
/// `set.NAME`, and the notes of whoever saved them.
///
/// # Errors
/// When the bytes are damaged.
pub fn read_notes(bytes: &[u8]) -> Result<BTreeMap<String, String>, Error> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    Ok(header.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect())
}

impl Session {
    /// Writes all parameters and states, and with `training` the optimizer's moments, the step and what recurrences
    /// carry to the next window, so that training can go on; `notes` are kept beside them. The same values give the same bytes.
    ///
    /// # Errors
    /// When `writer` refuses.
    pub fn save(&self, training: bool, notes: &BTreeMap<String, String>, writer: &mut dyn Write) -> io::Result<()> {
        let is_saved = |name: &str| training || !name.starts_with("optimizer.");
        let carried = || {
            let states = self.states.carried_values().filter(|_| training);
            states.map(|(name, stored)| (format!("{CARRY}{name}"), stored))
        };
        let tensors = self.tensors.iter().filter(|(name, _)| is_saved(name));
        let mut saved: Vec<(String, &Stored)> = tensors.map(|(name, stored)| (name.clone(), stored)).collect();
        saved.extend(carried());
        let mut metadata = notes.clone();
        metadata.insert("format".to_owned(), FORMAT.to_owned());
        metadata.insert("network".to_owned(), self.network.name.clone());
        metadata.insert("seed".to_owned(), self.seed.to_string());
        if training {
            metadata.insert("step".to_owned(), self.step.to_string());
        }
        for (name, value) in &self.network.overrides {
            metadata.insert(format!("set.{name}"), value.clone());
        }
        // The format: the header's length, the header, and the values one after the other.
        let mut header = BTreeMap::from([("__metadata__", json!(metadata))]);
        let mut end = 0;
        for (name, stored) in &saved {
            let start = end;
            end += stored.values.len() * size_of::<f32>();
            header.insert(name.as_str(), json!({"dtype": "F32", "shape": stored.shape, "data_offsets": [start, end]}));
        }
        let mut header = serde_json::to_string(&header)?;
        header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
        writer.write_all(&(header.len() as u64).to_le_bytes())?;
        writer.write_all(header.as_bytes())?;
        for (_, stored) in &saved {
            for values in stored.values.as_slice().chunks(CHUNK) {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                writer.write_all(&bytes)?;
            }
        }
        Ok(())
    }

    /// What [`Session::save`] writes, without notes.
    pub fn to_safetensors(&self, training: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.save(training, &BTreeMap::new(), &mut bytes).expect("a vector takes all");
        bytes
    }

    /// Replaces all parameters and states, and the optimizer's moments and the step where the bytes have them.
    /// Nothing is replaced when something does not fit.
    ///
    /// # Errors
    /// When the bytes are damaged, a tensor is missing, unknown, of another shape or not `f32`.
    pub fn load_safetensors(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.load(bytes, None)
    }
    /// As [`Session::load_safetensors`], without copying what the file holds: see [`Weights`].
    ///
    /// # Errors
    /// As [`Session::load_safetensors`].
    pub fn load_weights(&mut self, weights: &Weights) -> Result<(), Error> {
        self.load(weights.bytes(), Some(weights))
    }
    /// `file` has these bytes, and may keep them.
    fn load(&mut self, bytes: &[u8], file: Option<&Weights>) -> Result<(), Error> {
        let tensors = SafeTensors::deserialize(bytes).map_err(damaged)?;
        let mut names: Vec<&str> = tensors.names();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::Weights(format!("`{}` stands twice in the weights", pair[0])));
        }
        let known: Vec<&str> = self.parameters().map(|(path, _)| path).collect();
        for path in &known {
            let Ok(tensor) = tensors.tensor(path) else {
                let near = suggest(path, names.iter().copied().filter(|name| !known.contains(name)));
                let near = near.first().map_or(String::new(), |near| format!("; they have `{near}`"));
                return Err(Error::Weights(format!("the weights have no `{path}`{near}")));
            };
            check(path, &tensor, &self.tensors[*path].shape)?;
        }
        for name in &names {
            if !known.contains(name) && !name.starts_with("optimizer.") && !name.starts_with(CARRY) {
                return Err(Error::Weights(format!("the network has no parameter `{name}`, which the weights have")));
            }
        }
        self.check_moments(&tensors, &names)?;
        let step = match read_notes(bytes)?.get("step") {
            Some(step) => Some(step.parse().map_err(|_| Error::Weights(format!("`{step}` is no number of steps")))?),
            None => None,
        };
        // Nothing fails from here on.
        self.reset_state();
        for name in names {
            let tensor = tensors.tensor(name).map_err(damaged)?;
            let data = tensor.data();
            let values = match file {
                Some(file) => {
                    let start = data.as_ptr().addr() - bytes.as_ptr().addr();
                    Values::of_file(file, start..start + data.len())
                }
                None => Values::from_bytes(data),
            };
            let stored = Stored { shape: tensor.shape().to_vec(), values };
            // Moments may be new to the session; all else it has.
            match name.strip_prefix(CARRY) {
                Some(state) => self.states.keep(state, stored),
                None => drop(self.tensors.insert(name.to_owned(), stored)),
            }
        }
        if let Some(step) = step {
            self.step = step;
        }
        self.version += 1;
        Ok(())
    }

    /// Replaces all parameters and states by those of a PyTorch module, as `safetensors` writes its `state_dict`.
    ///
    /// Layers have the same names here and there, which the file can give: `layer encoder = lstm(64)`. An `nn.LSTM`,
    /// `nn.GRU` or `nn.RNN` of several layers is a stack (`lstm(64)x2`), one of two directions `bidirectional(…)`; its
    /// tensors (`encoder.weight_ih_l0`, …) are divided into one for each gate, and its two biases are added up. A GRU is
    /// `gru(…, reset = after)` here. All else keeps its name: `weight` and `bias` of linear layers, convolutions and
    /// embeddings.
    ///
    /// ```
    /// # use netc::{Session, SessionOptions};
    /// let text = "net m {\n  input x[T, 1]\n  layer r = rnn(1)\n  x -> r\n}";
    /// let network = netc::check_source("m.net", text)?;
    /// let mut session = Session::new(network, &SessionOptions { threads: 1, seed: 0 });
    /// // As `save_file(nn.RNN(1, 1).state_dict(), path)` writes them under the name `r`.
    /// let header = br#"{"r.weight_ih_l0":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},
    ///                   "r.weight_hh_l0":{"dtype":"F32","shape":[1,1],"data_offsets":[4,8]}}"#;
    /// let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    /// bytes.extend(header);
    /// bytes.extend([2.0_f32, 3.0].into_iter().flat_map(f32::to_le_bytes));
    /// session.load_pytorch(&bytes)?;
    /// assert_eq!(session.parameter("r.h.weight").unwrap(), ndarray::array![[2.0, 3.0]].into_dyn());
    /// # Ok::<(), netc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Session::load_safetensors`], and when a recurrent module has no layer of its name and kind.
    pub fn load_pytorch(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let ours = pytorch::translate(&self.network, bytes)?;
        self.load_safetensors(&ours)
    }

    /// Moments that a checkpoint brings are those of parameters, and of their shapes.
    fn check_moments(&self, file: &SafeTensors<'_>, names: &[&str]) -> Result<(), Error> {
        for name in names.iter().filter(|name| name.starts_with("optimizer.")) {
            let tensor = file.tensor(name).map_err(damaged)?;
            let path = name.splitn(3, '.').nth(2).unwrap_or_default();
            let Some(parameter) = self.network.parameters.iter().find(|parameter| parameter.path == path) else {
                return Err(Error::Weights(format!("`{name}` belongs to no parameter of the network")));
            };
            check(name, &tensor, &parameter.shape)?;
        }
        Ok(())
    }
}

fn check(name: &str, tensor: &TensorView<'_>, shape: &[usize]) -> Result<(), Error> {
    if tensor.dtype() != Dtype::F32 {
        return Err(Error::Weights(format!("`{name}` is {:?}, not F32", tensor.dtype())));
    }
    if tensor.shape() != shape {
        let found = tensor.shape();
        return Err(Error::Weights(format!("`{name}` has shape {shape:?} in the network, {found:?} in the weights")));
    }
    Ok(())
}

fn damaged(error: SafeTensorError) -> Error {
    let problem = match &error {
        SafeTensorError::HeaderTooSmall
        | SafeTensorError::HeaderTooLarge
        | SafeTensorError::InvalidHeaderLength
        | SafeTensorError::InvalidHeaderStart
        | SafeTensorError::InvalidHeader(_)
        | SafeTensorError::InvalidHeaderDeserialization(_) => {
            format!("this is not a safetensors file, or its beginning is damaged ({error})")
        }
        SafeTensorError::MetadataIncompleteBuffer => {
            "the file does not end with its last tensor: it was cut short, or something was added".to_owned()
        }
        SafeTensorError::InvalidOffset(name) => format!("its header does not say where `{name}` lies"),
        _ => error.to_string(),
    };
    Error::Weights(format!("the weights cannot be read: {problem}"))
}
