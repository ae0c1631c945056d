//! `softmax`: positive numbers that sum to one.

use super::prelude::*;
use super::support::{axis_or_last, softmax};

pub(super) const LAYER: Layer = Layer::new(
    "softmax",
    Class::Activation,
    LayerDoc {
        summary: "Positive numbers that sum to one along an axis.",
        shapes: "any shape, kept",
        formula: "exp(x) / sum(exp(x))",
        source: "",
        example: "input x[8]\ndense(10) -> softmax",
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
    Ok(softmax(x, mask, axis))
}
