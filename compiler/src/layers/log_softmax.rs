//! `log_softmax`: the logarithm of softmax.

use super::prelude::*;
use super::support::axis_or_last;

pub(super) const LAYER: Layer = Layer::new(
    "log_softmax",
    Class::Activation,
    LayerDoc {
        summary: "The logarithm of softmax, without its overflow.",
        shapes: "any shape, kept",
        formula: "x - log(sum(exp(x)))",
        source: "",
        example: "input x[8]\ndense(10) -> log_softmax",
    },
    &[Argument::optional(
        "axis",
        Kind::Count(0),
        "the axis to sum over, counted from 0 without the batch; by default the last",
    )],
    apply,
)
.positional(1);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let axis = axis_or_last(x, args)?;
    let mask = if axis < lead(&x.shape()) { cx.mask_along(x, axis) } else { None };
    if let Some(mask) = mask {
        let x = mask.select(x, cx.builder.scalar(f64::from(f32::MIN)));
        let shifted = x - x.max(&[axis]).stop_gradient();
        let zero = cx.builder.scalar(0.0);
        let sum = mask.select(shifted.exp(), zero).sum(&[axis]).maximum(cx.builder.scalar(1e-30));
        return Ok(mask.select(shifted - sum.log(), zero));
    }
    // Subtracting the maximum leaves the result unchanged and `exp` finite.
    let shifted = x - x.max(&[axis]).stop_gradient();
    Ok(shifted - shifted.exp().sum(&[axis]).log())
}
