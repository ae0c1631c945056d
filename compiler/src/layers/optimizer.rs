//! Optimizers: from a parameter and its gradient to the parameter's new value, all with PyTorch's conventions.

mod adagrad;
mod adam;
pub mod clip;
mod rmsprop;
mod sgd;

use crate::graph::Var;
use crate::network::Optimizer;

/// What an optimizer makes of one parameter.
#[derive(Debug)]
pub struct Updated<'b> {
    pub parameter: Var<'b>,
    /// New values of what it remembers, by the names of [`moment_names`].
    pub moments: Vec<(&'static str, Var<'b>)>,
}

/// What an optimizer remembers for each parameter: tensors of the parameter's shape that begin as zeros.
pub fn moment_names(optimizer: &Optimizer) -> &'static [&'static str] {
    match optimizer {
        Optimizer::Sgd { momentum, .. } => {
            if *momentum == 0.0 {
                &[]
            } else {
                &["velocity"]
            }
        }
        Optimizer::Adam { .. } => &["mean", "square"],
        Optimizer::RmsProp { momentum, .. } => {
            if *momentum == 0.0 {
                &["square"]
            } else {
                &["square", "velocity"]
            }
        }
        Optimizer::AdaGrad { .. } => &["sum"],
    }
}

/// One step. `moment` gives the source of a name of [`moment_names`]; `lr` is the learning rate after schedules,
/// `step` the number of the step from 1, both scalars.
pub fn update<'b>(
    optimizer: &Optimizer,
    parameter: Var<'b>,
    gradient: Var<'b>,
    mut moment: impl FnMut(&'static str) -> Var<'b>,
    lr: Var<'b>,
    step: Var<'b>,
) -> Updated<'b> {
    match *optimizer {
        Optimizer::Sgd { momentum, nesterov, weight_decay, .. } => {
            let gradient = decayed(gradient, parameter, weight_decay);
            sgd::update(parameter, gradient, &mut moment, lr, momentum, nesterov)
        }
        Optimizer::Adam { beta1, beta2, epsilon, weight_decay, decoupled, .. } => {
            let (parameter, gradient) = match decoupled {
                true if weight_decay != 0.0 => (parameter * (1.0 - lr * weight_decay), gradient),
                true => (parameter, gradient),
                false => (parameter, decayed(gradient, parameter, weight_decay)),
            };
            adam::update(parameter, gradient, &mut moment, lr, step, adam::Betas { beta1, beta2, epsilon })
        }
        Optimizer::RmsProp { alpha, epsilon, momentum, weight_decay, .. } => {
            let gradient = decayed(gradient, parameter, weight_decay);
            rmsprop::update(parameter, gradient, &mut moment, lr, rmsprop::Rates { alpha, epsilon, momentum })
        }
        Optimizer::AdaGrad { epsilon, weight_decay, .. } => {
            let gradient = decayed(gradient, parameter, weight_decay);
            adagrad::update(parameter, gradient, &mut moment, lr, epsilon)
        }
    }
}

/// The gradient of the loss plus `weight_decay / 2 * |parameter|^2`.
fn decayed<'b>(gradient: Var<'b>, parameter: Var<'b>, weight_decay: f64) -> Var<'b> {
    if weight_decay == 0.0 { gradient } else { gradient + weight_decay * parameter }
}
