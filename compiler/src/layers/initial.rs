//! First values of parameters: what `init =` may say, and the default by layer.
//!
//! One rule: biases are 0; a weight is He's uniform (He et al. 2015), ±sqrt(6 / fan_in), when the layer's `act` is of
//! relu's kind, and otherwise Xavier's uniform (Glorot and Bengio 2010), ±sqrt(6 / (fan_in + fan_out)).
//! In a cell the part of a matrix that is multiplied by a state is orthogonal (Saxe et al. 2013). An embedding is normal(0, 1), scales of normalizations are 1.

use crate::network::{Columns, Initial};

/// What was asked for; becomes an [`Initial`] when the fans are known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    Constant(f64),
    He,
    Xavier,
    /// Uniform with variance 1 / fan_in (LeCun et al. 1998).
    Lecun,
    Uniform {
        low: f64,
        high: f64,
    },
    Normal {
        mean: f64,
        deviation: f64,
    },
    Orthogonal,
}

/// How many inputs and outputs of a unit a weight connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fans {
    pub inputs: usize,
    pub outputs: usize,
}

/// The words that `init =` knows, with how many numbers each takes.
pub const WORDS: [(&str, usize); 8] = [
    ("zeros", 0),
    ("ones", 0),
    ("he", 0),
    ("xavier", 0),
    ("lecun", 0),
    ("orthogonal", 0),
    ("uniform", 2),
    ("normal", 2),
];

/// Activations that keep the positive half, for which He's variance is right.
const RELU_KIND: [&str; 8] = ["relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "hard_swish", "softplus"];

impl Init {
    /// The initializer of that name, with as many numbers as [`WORDS`] says.
    pub fn from_word(word: &str, numbers: &[f64]) -> Option<Init> {
        Some(match (word, numbers) {
            ("zeros", []) => Init::Constant(0.0),
            ("ones", []) => Init::Constant(1.0),
            ("he", []) => Init::He,
            ("xavier", []) => Init::Xavier,
            ("lecun", []) => Init::Lecun,
            ("orthogonal", []) => Init::Orthogonal,
            ("uniform", &[low, high]) => Init::Uniform { low, high },
            ("normal", &[mean, deviation]) => Init::Normal { mean, deviation },
            _ => return None,
        })
    }
    /// The default of a weight whose layer has this activation.
    pub fn default_for(act: Option<&str>) -> Init {
        if act.is_some_and(|act| RELU_KIND.contains(&act)) { Init::He } else { Init::Xavier }
    }
    /// The first values of a matrix in a cell, for the parts that are joined in its input: orthogonal for those that
    /// depend on a state (Saxe et al. 2013).
    pub(super) fn with_parts(self, parts: &[(usize, bool)], fans: Fans) -> Initial {
        let of = |&(n, recurs): &(usize, bool)| match recurs {
            true => (n, Init::Orthogonal.with_fans(fans)),
            false => (n, self.with_fans(Fans { inputs: n, ..fans })),
        };
        match parts {
            [] => self.with_fans(fans),
            [only] => of(only).1,
            parts => {
                let block = |(n, initial)| Columns { count: n as u64, initial };
                Initial::Columns { blocks: parts.iter().map(of).map(block).collect() }
            }
        }
    }
    pub fn with_fans(self, fans: Fans) -> Initial {
        let symmetric = |limit: f64| Initial::Uniform { low: -limit, high: limit };
        // A layer of no inputs has no weights, so any scale will do.
        let inputs = fans.inputs.max(1) as f64;
        match self {
            Init::Constant(value) => Initial::Constant { value },
            Init::He => symmetric((6.0 / inputs).sqrt()),
            Init::Xavier => symmetric((6.0 / (inputs + fans.outputs as f64)).sqrt()),
            Init::Lecun => symmetric((3.0 / inputs).sqrt()),
            Init::Uniform { low, high } => Initial::Uniform { low, high },
            Init::Normal { mean, deviation } => Initial::Normal { mean, deviation },
            Init::Orthogonal => Initial::Orthogonal { gain: 1.0 },
        }
    }
}
