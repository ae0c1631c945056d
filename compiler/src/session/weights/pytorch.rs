//! Weights under PyTorch's names: its recurrent layers keep all gates in one matrix, ours have one for each gate.

use std::collections::{BTreeMap, BTreeSet};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::{check, damaged};
use crate::diag::suggest;
use crate::error::Error;
use crate::network::Network;

/// How a cell of ours is found in PyTorch's.
struct Cell {
    /// As PyTorch calls it.
    name: &'static str,
    /// How many gates stand one below the other in its matrices.
    n_gates: usize,
    gates: &'static [Gate],
}

/// A matrix and a bias of ours: `lstm1.f.weight` and `lstm1.f.bias` of the gate `f`.
struct Gate {
    ours: &'static str,
    /// Which of PyTorch's gates it is, from 0.
    number: usize,
    reads: Reads,
    /// Whether ours is one minus theirs: `sigmoid(-x) = 1 - sigmoid(x)`.
    is_opposite: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// `[x, h]`: the matrices side by side, the sum of the biases.
    Both,
    Input,
    State,
}

const fn gate(ours: &'static str, number: usize, reads: Reads) -> Gate {
    Gate { ours, number, reads, is_opposite: false }
}

static CELLS: [Cell; 3] = [
    Cell {
        name: "LSTM",
        n_gates: 4,
        gates: &[
            gate("i", 0, Reads::Both),
            gate("f", 1, Reads::Both),
            gate("g", 2, Reads::Both),
            gate("o", 3, Reads::Both),
        ],
    },
    // h' = (1 - z) * n + z * h there, and z * n + (1 - z) * h here.
    Cell {
        name: "GRU",
        n_gates: 3,
        gates: &[
            gate("r", 0, Reads::Both),
            Gate { ours: "z", number: 1, reads: Reads::Both, is_opposite: true },
            gate("candidate", 2, Reads::Input),
            gate("recurrent", 2, Reads::State),
        ],
    },
    Cell { name: "RNN", n_gates: 1, gates: &[gate("h", 0, Reads::Both)] },
];

/// One direction of one layer of a recurrent module: what its tensors' names have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    module: String,
    layer: usize,
    is_reverse: bool,
}

/// `encoder.weight_ih_l1_reverse` as its part and `weight_ih`.
fn part_of(name: &str) -> Option<(Part, &'static str)> {
    const KINDS: [&str; 4] = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];
    let (module, last) = name.rsplit_once('.').unwrap_or(("", name));
    let (forward, is_reverse) = match last.strip_suffix("_reverse") {
        Some(rest) => (rest, true),
        None => (last, false),
    };
    let (kind, layer) = forward.rsplit_once("_l")?;
    let kind = KINDS.into_iter().find(|known| *known == kind)?;
    Some((Part { module: module.to_owned(), layer: layer.parse().ok()?, is_reverse }, kind))
}

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The same weights under our names, as safetensors; what is no part of a recurrent module keeps its name.
pub(super) fn translate(network: &Network, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let mut parts: BTreeMap<Part, BTreeMap<&str, TensorView<'_>>> = BTreeMap::new();
    let mut tensors = Tensors::new();
    // How often a batch normalization has run is of no use here.
    let is_used = |name: &str| !name.ends_with("num_batches_tracked");
    for (name, tensor) in file.tensors().into_iter().filter(|(name, _)| is_used(name)) {
        check(&name, &tensor, tensor.shape())?;
        match part_of(&name) {
            Some((part, kind)) => drop(parts.entry(part).or_default().insert(kind, tensor)),
            None => drop(tensors.insert(name, (tensor.shape().to_vec(), values(&tensor)))),
        }
    }
    for (part, theirs) in &parts {
        let beside = |layer, is_reverse| parts.contains_key(&Part { layer, is_reverse, ..part.clone() });
        let is_stack = part.layer > 0 || beside(1, false);
        let is_bidirectional = part.is_reverse || beside(part.layer, true);
        let (path, cell) = find(network, part, is_stack, is_bidirectional)?;
        add_gates(&path, cell, part, theirs, &mut tensors)?;
    }
    let views: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, (shape, values))| (name, shape, values.into_iter().flat_map(f32::to_le_bytes).collect()))
        .collect();
    let views = views.iter().map(|(name, shape, bytes)| {
        TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>, _>>().map_err(damaged)?;
    safetensors::serialize(views, None).map_err(damaged)
}

/// What a stack or two directions are called within a layer that `layer` names.
const INNER: [&str; 5] = ["", ".lstm1", ".gru1", ".rnn1", ".bidirectional1"];

/// The path of the layer of ours that a part belongs to, and what it is.
fn find(
    network: &Network,
    part: &Part,
    is_stack: bool,
    is_bidirectional: bool,
) -> Result<(String, &'static Cell), Error> {
    let number = if is_stack { format!(".{}", part.layer + 1) } else { String::new() };
    let direction = match (is_bidirectional, part.is_reverse) {
        (false, _) => "",
        (true, false) => ".forward",
        (true, true) => ".backward",
    };
    let path = |inner: &str| format!("{}{inner}{number}{direction}", part.module).trim_start_matches('.').to_owned();
    let paths = INNER.map(path);
    let has = |path: &str, gate: &str| {
        let weight = format!("{path}.{gate}.weight");
        network.parameters.iter().any(|parameter| parameter.path == weight)
    };
    for path in &paths {
        if let Some(cell) = CELLS.iter().find(|cell| cell.gates.iter().all(|gate| has(path, gate.ours))) {
            return Ok((path.clone(), cell));
        }
        if has(path, "candidate") {
            let text = "resets before the product with its state; PyTorch's GRU is `gru(…, reset = after)`";
            return Err(Error::Weights(format!("`{path}` {text}")));
        }
    }
    let layers: BTreeSet<&str> =
        network.parameters.iter().filter_map(|parameter| parameter.path.rsplitn(3, '.').nth(2)).collect();
    let near = suggest(&paths[0], layers.iter().copied());
    let near = match (near.first(), layers.is_empty()) {
        (Some(near), _) => format!("; it has `{near}`"),
        (None, true) => String::new(),
        (None, false) => format!("; it has `{}`", layers.into_iter().collect::<Vec<_>>().join("`, `")),
    };
    let path = &paths[0];
    Err(Error::Weights(format!("the network has no recurrent layer `{path}`, which the weights have{near}")))
}

fn add_gates(
    path: &str,
    cell: &Cell,
    part: &Part,
    theirs: &BTreeMap<&str, TensorView<'_>>,
    tensors: &mut Tensors,
) -> Result<(), Error> {
    let wrong = |what: String| Error::Weights(format!("`{}` is no {} of `{path}`: {what}", part.module, cell.name));
    let matrix = |kind: &str| match theirs.get(kind) {
        Some(tensor) => match tensor.shape() {
            [rows, columns] if rows % cell.n_gates == 0 => Ok((rows / cell.n_gates, *columns, values(tensor))),
            shape => Err(wrong(format!(
                "its `{kind}` has shape {shape:?}, not {} matrices one below the other",
                cell.n_gates
            ))),
        },
        None => Err(wrong(format!("it has no `{kind}` of layer {}", part.layer))),
    };
    let (input, state) = (matrix("weight_ih")?, matrix("weight_hh")?);
    let n = input.0;
    if state.0 != n || state.1 != n {
        return Err(wrong(format!("its matrices are of {n} and of {} features", state.0)));
    }
    // Modules without biases have neither.
    let has_biases = theirs.keys().any(|kind| kind.starts_with("bias"));
    let bias = |kind: &str| match theirs.get(kind) {
        None if has_biases => Err(wrong(format!("it has no `{kind}` of layer {}", part.layer))),
        None => Ok(vec![0.0; n * cell.n_gates]),
        Some(tensor) if tensor.shape() == [n * cell.n_gates] => Ok(values(tensor)),
        Some(tensor) => Err(wrong(format!("its `{kind}` has shape {:?}, not [{}]", tensor.shape(), n * cell.n_gates))),
    };
    let (input_bias, state_bias) = (bias("bias_ih")?, bias("bias_hh")?);
    for gate in cell.gates {
        let sign = if gate.is_opposite { -1.0 } else { 1.0 };
        let (reads_input, reads_state) = (gate.reads != Reads::State, gate.reads != Reads::Input);
        let (mut weight, mut sums) = (Vec::new(), Vec::new());
        for row in gate.number * n..(gate.number + 1) * n {
            let part = |(_, columns, values): &(usize, usize, Vec<f32>)| values[row * columns..][..*columns].to_vec();
            weight.extend(if reads_input { part(&input) } else { Vec::new() });
            weight.extend(if reads_state { part(&state) } else { Vec::new() });
            let [a, b] = [(reads_input, input_bias[row]), (reads_state, state_bias[row])]
                .map(|(reads, bias)| if reads { bias } else { 0.0 });
            sums.push(sign * (a + b));
        }
        weight.iter_mut().for_each(|x| *x *= sign);
        let columns = weight.len().checked_div(n).unwrap_or(0);
        tensors.insert(format!("{path}.{}.weight", gate.ours), (vec![n, columns], weight));
        tensors.insert(format!("{path}.{}.bias", gate.ours), (vec![n], sums));
    }
    Ok(())
}

fn values(tensor: &TensorView<'_>) -> Vec<f32> {
    let value = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    tensor.data().chunks_exact(4).map(value).collect()
}
