//! AdaGrad (Duchi et al. 2011).

use super::Updated;
use crate::graph::Var;

/// s = s + g^2; p = p - lr * g / (sqrt(s) + eps)
pub(super) fn update<'b>(
    parameter: Var<'b>,
    gradient: Var<'b>,
    moment: &mut impl FnMut(&'static str) -> Var<'b>,
    lr: Var<'b>,
    epsilon: f64,
) -> Updated<'b> {
    let sum = moment("sum") + gradient * gradient;
    let parameter = parameter - lr * (gradient / (sum.sqrt() + epsilon));
    Updated { parameter, moments: vec![("sum", sum)] }
}
