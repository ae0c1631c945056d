//! Adam (Kingma and Ba 2014); AdamW (Loshchilov and Hutter 2017) is the same with its decay applied before.

use super::Updated;
use crate::graph::Var;

pub(super) struct Betas {
    pub(super) beta1: f64,
    pub(super) beta2: f64,
    pub(super) epsilon: f64,
}

/// m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p = p - lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
pub(super) fn update<'b>(
    parameter: Var<'b>,
    gradient: Var<'b>,
    moment: &mut impl FnMut(&'static str) -> Var<'b>,
    lr: Var<'b>,
    step: Var<'b>,
    betas: Betas,
) -> Updated<'b> {
    let Betas { beta1, beta2, epsilon } = betas;
    let mean = beta1 * moment("mean") + (1.0 - beta1) * gradient;
    let square = beta2 * moment("square") + (1.0 - beta2) * (gradient * gradient);
    let spread = square.sqrt() / one_minus_power(beta2, step).sqrt() + epsilon;
    let rate = lr / one_minus_power(beta1, step);
    Updated { parameter: parameter - rate * (mean / spread), moments: vec![("mean", mean), ("square", square)] }
}

/// `1 - beta^step`, without the cancellation that would cost it its digits when beta is near 1.
fn one_minus_power(beta: f64, step: Var<'_>) -> Var<'_> {
    if beta == 0.0 {
        return step.builder.scalar(1.0);
    }
    // With a = tanh(y / 2): 1 - exp(-y) == 2a / (1 + a).
    let a = (step * (-beta.ln() / 2.0)).tanh();
    2.0 * a / (1.0 + a)
}
