//! Stochastic gradient descent, with momentum (Polyak 1964) or Nesterov's (Sutskever et al. 2013).

use super::Updated;
use crate::graph::Var;

/// v = momentum * v + g; p = p - lr * v, or with Nesterov p - lr * (g + momentum * v). The velocity holds no rate.
pub(super) fn update<'b>(
    parameter: Var<'b>,
    gradient: Var<'b>,
    moment: &mut impl FnMut(&'static str) -> Var<'b>,
    lr: Var<'b>,
    momentum: f64,
    nesterov: bool,
) -> Updated<'b> {
    if momentum == 0.0 {
        return Updated { parameter: parameter - lr * gradient, moments: Vec::new() };
    }
    let velocity = momentum * moment("velocity") + gradient;
    let direction = if nesterov { gradient + momentum * velocity } else { velocity };
    Updated { parameter: parameter - lr * direction, moments: vec![("velocity", velocity)] }
}
