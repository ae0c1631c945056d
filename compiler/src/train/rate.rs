//! The learning rate at every moment of a training.

use std::f64::consts::PI;

use super::Plateau;
use crate::network::Schedule;

/// A step of a training: the batch `batch` of `n_batches` of the epoch `epoch`, both from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub epoch: usize,
    pub batch: usize,
    pub n_batches: usize,
}

/// The rate of a step, from the optimizer's own. All schedules go by epochs but the warm-up, which goes by steps.
pub fn learning_rate(schedule: &Schedule, base: f64, moment: Moment, plateau: &Plateau) -> f64 {
    let epoch = moment.epoch;
    match *schedule {
        Schedule::Constant => base,
        Schedule::Step { every, factor } => base * factor.powf((epoch / every.max(1)) as f64),
        Schedule::Exponential { factor } => base * factor.powf(epoch as f64),
        // Loshchilov and Hutter 2017, equation 5, without restarts.
        Schedule::Cosine { epochs, floor } => {
            let done = epoch.min(epochs) as f64 / epochs.max(1) as f64;
            floor + (base - floor) * (1.0 + (PI * done).cos()) / 2.0
        }
        Schedule::WarmUp { epochs } => {
            let steps = epochs as f64 * moment.n_batches as f64;
            let step = epoch as f64 * moment.n_batches as f64 + moment.batch as f64 + 1.0;
            if step < steps { base * step / steps } else { base }
        }
        Schedule::Plateau { .. } => base * plateau.scale,
    }
}

impl Plateau {
    /// After an epoch with this loss.
    pub(super) fn update(&mut self, schedule: &Schedule, loss: f64) {
        let Schedule::Plateau { factor, patience } = *schedule else { return };
        if loss < self.best {
            self.best = loss;
            self.bad_epochs = 0;
            return;
        }
        self.bad_epochs += 1;
        if self.bad_epochs >= patience {
            self.scale *= factor;
            self.bad_epochs = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Moment, learning_rate};
    use crate::network::Schedule;
    use crate::train::Plateau;

    /// The rates of the first step of each epoch, in thousandths.
    fn rates(schedule: &Schedule, epochs: usize) -> Vec<f64> {
        let rate = |epoch| {
            let moment = Moment { epoch, batch: 0, n_batches: 2 };
            (1e3 * learning_rate(schedule, 1.0, moment, &Plateau::default())).round()
        };
        (0..epochs).map(rate).collect()
    }

    #[test]
    fn by_epochs() {
        assert_eq!(rates(&Schedule::Constant, 2), [1000.0, 1000.0]);
        assert_eq!(rates(&Schedule::Step { every: 2, factor: 0.1 }, 5), [1000.0, 1000.0, 100.0, 100.0, 10.0]);
        assert_eq!(rates(&Schedule::Exponential { factor: 0.5 }, 4), [1000.0, 500.0, 250.0, 125.0]);
        let cosine = Schedule::Cosine { epochs: 4, floor: 0.1 };
        assert_eq!(rates(&cosine, 6), [1000.0, 868.0, 550.0, 232.0, 100.0, 100.0]);
        assert_eq!(rates(&Schedule::Cosine { epochs: 0, floor: 0.1 }, 1), [1000.0]);
    }

    #[test]
    fn warm_up_by_steps() {
        assert_eq!(rates(&Schedule::WarmUp { epochs: 2 }, 4), [250.0, 750.0, 1000.0, 1000.0]);
        assert_eq!(rates(&Schedule::WarmUp { epochs: 0 }, 1), [1000.0]);
    }

    #[test]
    fn plateaus_are_left() {
        let schedule = Schedule::Plateau { factor: 0.5, patience: 2 };
        let mut plateau = Plateau::default();
        let mut scales = Vec::new();
        for loss in [3.0, 2.0, 2.0, 2.5, 1.0, 1.0, 1.0, 1.0, 1.0] {
            plateau.update(&schedule, loss);
            scales.push(plateau.scale);
        }
        assert_eq!(scales, [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]);
        let moment = Moment { epoch: 9, batch: 0, n_batches: 1 };
        assert_eq!(learning_rate(&schedule, 0.8, moment, &plateau), 0.1);
    }
}
