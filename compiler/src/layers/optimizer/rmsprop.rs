//! RMSProp (Tieleman and Hinton 2012).

use super::Updated;
use crate::graph::Var;

pub(super) struct Rates {
    pub(super) alpha: f64,
    pub(super) epsilon: f64,
    pub(super) momentum: f64,
}

/// s = alpha s + (1 - alpha) g^2; d = g / (sqrt(s) + eps); p = p - lr * d, or with momentum v = momentum * v + d and p - lr * v
pub(super) fn update<'b>(
    parameter: Var<'b>,
    gradient: Var<'b>,
    moment: &mut impl FnMut(&'static str) -> Var<'b>,
    lr: Var<'b>,
    rates: Rates,
) -> Updated<'b> {
    let Rates { alpha, epsilon, momentum } = rates;
    let square = alpha * moment("square") + (1.0 - alpha) * (gradient * gradient);
    let direction = gradient / (square.sqrt() + epsilon);
    if momentum == 0.0 {
        return Updated { parameter: parameter - lr * direction, moments: vec![("square", square)] };
    }
    let velocity = momentum * moment("velocity") + direction;
    Updated { parameter: parameter - lr * velocity, moments: vec![("square", square), ("velocity", velocity)] }
}
