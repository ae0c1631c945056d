//! The likeliest classes of an output.

use netc::graph::OutputRole;
use netc::network::Network;

/// What an output's numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Of which softmax makes probabilities.
    Logits,
    Probabilities,
    LogProbabilities,
}

/// Classes and their probabilities, the likeliest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Classes {
    pub classes: Vec<(usize, f64)>,
}

impl Scale {
    /// From the layer that the network's output comes from.
    pub fn of(network: &Network, output: &str) -> Self {
        let graph = &network.inference;
        let is_it = |known: &&netc::graph::Output| known.role == OutputRole::Output && known.name == output;
        let origin = graph.outputs.iter().find(is_it).and_then(|output| graph.node(output.value).origin);
        let path = origin.map(|origin| graph.origin_path(origin));
        let layer = network.layers.iter().find(|layer| Some(layer.path.as_str()) == path);
        match layer.map(|layer| layer.kind.as_str()) {
            Some("softmax") => Scale::Probabilities,
            Some("log_softmax") => Scale::LogProbabilities,
            _ => Scale::Logits,
        }
    }
}

impl Classes {
    /// The `k` likeliest; of equals, the one that comes first.
    pub fn top(values: &[f32], k: usize, scale: Scale) -> Self {
        let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |value: f32| match scale {
            Scale::Logits => f64::from(value - most).exp(),
            Scale::Probabilities => f64::from(value),
            Scale::LogProbabilities => f64::from(value).exp(),
        };
        let sum: f64 = match scale {
            Scale::Logits => values.iter().map(|value| weight(*value)).sum(),
            Scale::Probabilities | Scale::LogProbabilities => 1.0,
        };
        let mut classes: Vec<(usize, f64)> =
            values.iter().enumerate().map(|(class, value)| (class, weight(*value) / sum)).collect();
        // Not a number comes last.
        let key = |probability: f64| if probability.is_nan() { f64::NEG_INFINITY } else { probability };
        classes.sort_by(|a, b| key(b.1).total_cmp(&key(a.1)));
        classes.truncate(k);
        Classes { classes }
    }
}

#[cfg(test)]
mod tests {
    use super::{Classes, Scale};

    #[test]
    fn probabilities_sum_to_one() {
        let top = Classes::top(&[0.0, 1000.0, 1000.0], 2, Scale::Logits);
        assert_eq!(top.classes, [(1, 0.5), (2, 0.5)]);
        assert_eq!(Classes::top(&[0.25, 0.75], 9, Scale::Probabilities).classes, [(1, 0.75), (0, 0.25)]);
        assert_eq!(Classes::top(&[0.0, f32::NEG_INFINITY], 1, Scale::LogProbabilities).classes, [(0, 1.0)]);
        assert_eq!(Classes::top(&[f32::NAN, 0.0], 2, Scale::Probabilities).classes[0], (1, 0.0));
        assert_eq!(Classes::top(&[], 2, Scale::Logits).classes, []);
    }
}
