//! What flows into the net while it is built: random numbers, unless something else is asked for.

use std::collections::BTreeMap;

use ndarray::{ArrayD, IxDyn};
use netc::data::{Preparation, Tensor, read_input};
use netc::network::{Network, Port};
use netc::types::{ElementType, Extents, Symbol};

use crate::failure::{Exit, Failure};
use crate::number::thousands;
use crate::random;

/// Steps of a sequence that nobody gives a length.
const LENGTH: usize = 8;

/// Numbers that are made up for one input.
const MAX_NUMBERS: usize = 1 << 28;

/// Where the values of one input or target come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    Random,
    Zeros,
    Ones,
    File(String),
}

impl Given {
    pub fn read(word: &str) -> Self {
        match word {
            "random" => Given::Random,
            "zeros" => Given::Zeros,
            "ones" => Given::Ones,
            path => Given::File(path.to_owned()),
        }
    }
}

/// Choices by the names of inputs, targets and sequence axes; they outlive all edits.
#[derive(Debug, Default)]
pub struct Inputs {
    given: BTreeMap<String, Given>,
    lengths: BTreeMap<String, usize>,
}

impl Inputs {
    pub fn give(&mut self, name: &str, given: Given) {
        self.given.insert(name.to_owned(), given);
    }
    pub fn set_length(&mut self, axis: &str, steps: usize) {
        self.lengths.insert(axis.to_owned(), steps);
    }
    pub fn length(&self, axis: &str) -> usize {
        self.lengths.get(axis).copied().unwrap_or(LENGTH)
    }

    /// An array for each input and target: those of files as long as they are, the others like them.
    pub fn tensors(&self, network: &Network, batch: usize, seed: u64) -> Result<Vec<(String, Tensor)>, Failure> {
        let mut extents = Extents::with_batch(batch);
        for axis in &network.axes {
            extents.set(Symbol::Axis(axis.as_str().into()), self.length(axis));
        }
        let mut read = BTreeMap::new();
        for port in &network.ports {
            let Some(Given::File(path)) = self.given.get(&port.name) else { continue };
            let tensor = read_input(port, path, &Preparation::default())?;
            for (dim, n) in port.ty.shape.iter().zip(tensor.shape()) {
                if let [symbol] = dim.symbols() {
                    extents.set(symbol.clone(), *n);
                }
            }
            read.insert(port.name.clone(), tensor);
        }
        let is_read = |port: &&Port| !read.contains_key(&port.name);
        for port in network.ports.iter().filter(is_read) {
            let n = port.ty.shape.iter().fold(1usize, |n, dim| n.saturating_mul(dim.eval(&extents)));
            if n > MAX_NUMBERS {
                let message = format!("`{}` has {} numbers, too many to make up", port.name, thousands(n));
                return Err(Failure::new(Exit::Input, message));
            }
        }
        let tensors = (0..).zip(&network.ports).map(|(stream, port)| {
            let tensor = match (read.remove(&port.name), self.given.get(&port.name)) {
                (Some(tensor), _) => tensor,
                (None, Some(Given::Zeros)) => constant(port, &extents, 0),
                (None, Some(Given::Ones)) => constant(port, &extents, 1),
                (None, _) => random::tensor(port, &extents, seed, stream),
            };
            (port.name.clone(), tensor)
        });
        Ok(tensors.collect())
    }
}

fn constant(port: &Port, extents: &Extents, value: i32) -> Tensor {
    let shape = IxDyn(&port.ty.eval(extents));
    match port.ty.element {
        ElementType::F32 => Tensor::F32(ArrayD::from_elem(shape, value as f32)),
        // There may be one token alone.
        ElementType::I32 => Tensor::I32(ArrayD::from_elem(shape, value.min(port.vocabulary.unwrap_or(1) as i32 - 1))),
    }
}
