//! Where a training is, beside the session's tensors: kept in a checkpoint, exact to the bit.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::Scores;
use crate::error::Error;
use crate::network::Schedule;
use crate::session::Outputs;

/// What going on with a training needs beside the session.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainState {
    /// Epochs done.
    pub epoch: usize,
    /// Batches done of the next one.
    pub batches: usize,
    /// Windows done of the batch after them, where batches are cut into windows.
    pub windows: usize,
    /// Over those batches and windows.
    pub sums: Sums,
    /// What the schedule `plateau` remembers.
    pub plateau: Plateau,
    /// What the training began with; another number of examples, batch or seed has other batches.
    pub n_examples: usize,
    /// Examples in a step.
    pub batch: usize,
    /// Of the order of the examples.
    pub seed: u64,
}

/// Sums over the examples of some batches, or over the steps of some windows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sums {
    /// How many examples or characters.
    pub items: usize,
    /// Of the loss and the metrics.
    pub scores: Scores,
}

/// For how long the loss has not improved.
#[derive(Debug, Clone, PartialEq)]
pub struct Plateau {
    /// What the optimizer's learning rate is multiplied by.
    pub scale: f64,
    /// The lowest loss so far.
    pub best: f64,
    /// Epochs since then, or since the rate last fell.
    pub bad_epochs: usize,
}

impl Default for Plateau {
    fn default() -> Self {
        Plateau { scale: 1.0, best: f64::INFINITY, bad_epochs: 0 }
    }
}

impl Sums {
    pub(super) fn add(&mut self, outputs: &Outputs, n: usize) {
        let sums = &mut self.scores;
        sums.loss += f64::from(outputs.loss().unwrap_or(f32::NAN)) * n as f64;
        for (at, (name, value)) in outputs.metrics().enumerate() {
            let value = f64::from(value) * n as f64;
            match sums.metrics.get_mut(at) {
                Some((_, sum)) => *sum += value,
                None => sums.metrics.push((name.to_owned(), value)),
            }
        }
        self.items += n;
    }
    pub(super) fn means(&self) -> Scores {
        let n = self.items.max(1) as f64;
        let metrics = self.scores.metrics.iter().map(|(name, sum)| (name.clone(), sum / n)).collect();
        Scores { loss: self.scores.loss / n, metrics }
    }
}

impl TrainState {
    /// The start of a training.
    pub fn new(n_examples: usize, batch: usize, seed: u64) -> Self {
        let (sums, plateau) = (Sums::default(), Plateau::default());
        TrainState { epoch: 0, batches: 0, windows: 0, sums, plateau, n_examples, batch, seed }
    }

    /// After one of the `n` windows of a batch.
    pub(super) fn end_window(&mut self, n: usize) {
        self.windows += 1;
        if self.windows == n {
            self.windows = 0;
            self.batches += 1;
        }
    }

    pub(super) fn end_epoch(&mut self, schedule: &Schedule, loss: f64) {
        self.epoch += 1;
        self.batches = 0;
        self.windows = 0;
        self.sums = Sums::default();
        self.plateau.update(schedule, loss);
    }

    /// Whether it belongs to these data and options.
    pub(super) fn check(&self, n_examples: usize, batch: usize, seed: u64) -> Result<(), Error> {
        let pairs = [
            ("training examples", self.n_examples as u64, n_examples as u64),
            ("examples a batch", self.batch as u64, batch as u64),
            ("as the seed", self.seed, seed),
        ];
        match pairs.iter().find(|(_, then, now)| then != now) {
            Some((what, then, now)) => {
                let message = format!("the training to go on with has {then} {what}, but {now} is asked for");
                Err(Error::Input(message))
            }
            None => Ok(()),
        }
    }

    /// As the notes of a checkpoint: `train.epoch` and so on.
    pub fn to_notes(&self) -> BTreeMap<String, String> {
        let mut notes = BTreeMap::new();
        let mut note =
            |key: &str, value: &dyn std::fmt::Display| notes.insert(format!("train.{key}"), value.to_string());
        note("epoch", &self.epoch);
        note("batches", &self.batches);
        note("windows", &self.windows);
        note("examples", &self.n_examples);
        note("batch", &self.batch);
        note("seed", &self.seed);
        note("plateau.scale", &self.plateau.scale);
        note("plateau.best", &self.plateau.best);
        note("plateau.bad_epochs", &self.plateau.bad_epochs);
        note("sum.items", &self.sums.items);
        note("sum.loss", &self.sums.scores.loss);
        for (at, (name, sum)) in self.sums.scores.metrics.iter().enumerate() {
            note(&format!("sum.metric.{at}.{name}"), sum);
        }
        notes
    }

    /// From the notes of a checkpoint.
    ///
    /// # Errors
    /// When they are those of weights alone, or damaged.
    pub fn from_notes(notes: &BTreeMap<String, String>) -> Result<Self, Error> {
        if !notes.contains_key("train.epoch") {
            let message = "these are weights alone, without what going on with their training needs";
            return Err(Error::Weights(message.to_owned()));
        }
        let mut metrics = BTreeMap::new();
        for (key, value) in notes.iter() {
            let Some((at, name)) = key.strip_prefix("train.sum.metric.").and_then(|key| key.split_once('.')) else {
                continue;
            };
            let sum = (name.to_owned(), parse(key, value)?);
            metrics.insert(parse::<usize>(key, at)?, sum);
        }
        Ok(TrainState {
            epoch: read(notes, "epoch")?,
            batches: read(notes, "batches")?,
            windows: read(notes, "windows")?,
            n_examples: read(notes, "examples")?,
            batch: read(notes, "batch")?,
            seed: read(notes, "seed")?,
            plateau: Plateau {
                scale: read(notes, "plateau.scale")?,
                best: read(notes, "plateau.best")?,
                bad_epochs: read(notes, "plateau.bad_epochs")?,
            },
            sums: Sums {
                items: read(notes, "sum.items")?,
                scores: Scores { loss: read(notes, "sum.loss")?, metrics: metrics.into_values().collect() },
            },
        })
    }
}

fn read<T: FromStr>(notes: &BTreeMap<String, String>, key: &str) -> Result<T, Error> {
    let key = format!("train.{key}");
    parse(&key, notes.get(&key).map_or("", String::as_str))
}

/// Rust's text of a number is read back to the same bits.
fn parse<T: FromStr>(key: &str, value: &str) -> Result<T, Error> {
    value.parse().map_err(|_| Error::Weights(format!("`{key}` is damaged: `{value}`")))
}

#[cfg(test)]
mod tests {
    use super::{Plateau, Sums, TrainState};
    use crate::train::Scores;

    fn state() -> TrainState {
        let metrics = vec![("top".to_owned(), 0.1 + 0.2), ("accuracy".to_owned(), 7.0)];
        TrainState {
            epoch: 3,
            batches: 17,
            windows: 2,
            sums: Sums { items: 1088, scores: Scores { loss: 1.0 / 3.0, metrics } },
            plateau: Plateau { scale: 0.1, best: f64::INFINITY, bad_epochs: 2 },
            ..TrainState::new(8000, 64, u64::MAX)
        }
    }

    #[test]
    fn notes_keep_every_bit() {
        assert_eq!(TrainState::from_notes(&state().to_notes()).unwrap(), state());
    }

    #[test]
    fn damaged_notes_are_errors() {
        let notes = state().to_notes();
        for key in notes.keys() {
            let mut damaged = notes.clone();
            damaged.insert(key.clone(), "x".to_owned());
            assert!(TrainState::from_notes(&damaged).is_err(), "{key}");
        }
        assert!(TrainState::from_notes(&Default::default()).is_err());
    }

    #[test]
    fn other_data_are_refused() {
        assert!(state().check(8000, 64, u64::MAX).is_ok());
        let error = state().check(6000, 64, u64::MAX).unwrap_err().to_string();
        assert_eq!(error, "the training to go on with has 8000 training examples, but 6000 is asked for");
        assert!(state().check(8000, 32, u64::MAX).is_err() && state().check(8000, 64, 1).is_err());
    }
}
