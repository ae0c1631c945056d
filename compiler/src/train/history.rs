//! What is known after steps, epochs and a whole training.

use serde_json::{Map, Value, json};

use super::TrainState;
use crate::data::Unit;

/// The version of the lines of [`Epoch::to_json`].
const VERSION: u32 = 1;

/// A training from its start, or from where it was resumed, to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// Those of this run.
    pub epochs: Vec<Epoch>,
    /// How it ended.
    pub end: End,
    /// What going on from the end needs beside the session.
    pub state: TrainState,
    /// When it diverged: why, as far as can be seen, and what to try.
    pub trouble: Option<String>,
}

/// Why a training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All epochs are done.
    Finished,
    /// [`Watch::step`](super::Watch::step) asked for it.
    Interrupted,
    /// The loss or a parameter is no finite number any more, and the session's parameters are of no use; what
    /// [`Watch::epoch`](super::Watch::epoch) saved last is good. Both count from 1.
    Diverged {
        /// From 1.
        epoch: usize,
        /// Batches of the epoch that were done.
        batch: usize,
    },
}

/// An epoch that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Epoch {
    /// From 1.
    pub epoch: usize,
    /// The means over the steps, each before its update.
    pub train: Scores,
    /// Of the examples that are not trained on.
    pub validate: Option<Scores>,
    /// The learning rate of its last step.
    pub lr: f64,
    /// With validation.
    pub seconds: f64,
    /// Of training, without validation.
    pub items_per_second: f64,
    /// What was counted.
    pub unit: Unit,
}

/// A loss and the metrics by name, each a mean over examples.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scores {
    /// The mean over the examples.
    pub loss: f64,
    /// By name, the mean over the examples.
    pub metrics: Vec<(String, f64)>,
}

/// Where training is, after a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// From 1, of `epochs`.
    pub epoch: usize,
    /// In all.
    pub epochs: usize,
    /// Batches, or windows of batches, done in the epoch.
    pub batch: usize,
    /// Of an epoch.
    pub n_batches: usize,
    /// Examples, or steps of sequences, seen in the epoch, and about how many it has.
    pub items: usize,
    /// Of an epoch, in `unit`s.
    pub n_items: usize,
    /// What items are.
    pub unit: Unit,
    /// The mean over the epoch so far.
    pub loss: f64,
    /// The global norm of this step's gradients before they are clipped, where they are clipped by it.
    pub gradient_norm: Option<f64>,
}

impl Epoch {
    /// One line of a log: `{"epoch":1,"train.loss":0.31,"train.accuracy":0.9,…}`.
    pub fn to_json(&self) -> Value {
        let mut line = Map::new();
        line.insert("version".to_owned(), json!(VERSION));
        line.insert("epoch".to_owned(), json!(self.epoch));
        for (part, scores) in [("train", Some(&self.train)), ("validate", self.validate.as_ref())] {
            for (name, value) in scores.into_iter().flat_map(|scores| scores.all(self.unit)) {
                line.insert(format!("{part}.{name}"), json!(value));
            }
        }
        line.insert("lr".to_owned(), json!(self.lr));
        line.insert("seconds".to_owned(), json!(self.seconds));
        line.insert(format!("{}_per_second", self.unit), json!(self.items_per_second));
        Value::Object(line)
    }
}

impl Scores {
    /// `loss`, `perplexity` where it is one of characters, then the metrics.
    pub fn all(&self, unit: Unit) -> impl Iterator<Item = (&str, f64)> {
        let is_known = self.metrics.iter().any(|(name, _)| name == "perplexity");
        let perplexity = (unit == Unit::Character && !is_known).then(|| ("perplexity", self.perplexity()));
        let metrics = self.metrics.iter().map(|(name, value)| (name.as_str(), *value));
        std::iter::once(("loss", self.loss)).chain(perplexity).chain(metrics)
    }
    /// `exp(loss)`: among how many equally likely tokens a loss in nats is like choosing.
    pub fn perplexity(&self) -> f64 {
        self.loss.exp()
    }
}

#[cfg(test)]
mod tests {
    use super::{Epoch, Scores};
    use crate::data::Unit;

    #[test]
    fn lines_have_flat_keys() {
        let train = Scores { loss: 0.5, metrics: vec![("accuracy".to_owned(), 0.75)] };
        let validate = Some(Scores { loss: f64::NAN, metrics: Vec::new() });
        let epoch =
            Epoch { epoch: 2, train, validate, lr: 1e-3, seconds: 1.5, items_per_second: 100.0, unit: Unit::Example };
        assert_eq!(
            epoch.to_json().to_string(),
            r#"{"epoch":2,"examples_per_second":100.0,"lr":0.001,"seconds":1.5,"train.accuracy":0.75,"train.loss":0.5,"validate.loss":null,"version":1}"#
        );
    }

    #[test]
    fn characters_have_a_perplexity() {
        let scores = Scores { loss: 0.0, metrics: vec![("accuracy".to_owned(), 1.0)] };
        let names = |unit| scores.all(unit).map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(names(Unit::Character), ["loss", "perplexity", "accuracy"]);
        assert_eq!(names(Unit::Example), ["loss", "accuracy"]);
        assert_eq!(scores.perplexity(), 1.0);
    }
}
