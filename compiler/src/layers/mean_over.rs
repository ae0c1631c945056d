//! `mean_over`: the mean over a sequence.

use super::prelude::*;
use super::support::{sequence_axis, squeeze};

pub(super) const LAYER: Layer = Layer::new(
    "mean_over",
    Class::Layer,
    LayerDoc {
        summary: "The mean over a sequence axis, or over what windows made of it; 0 for a member without steps.",
        shapes: "[T, n] -> [n]",
        formula: "y = mean over t of x[t]",
        source: "",
        example: "input words[T]: token(100)\nembed(16) -> conv1d(8, k = 3) -> mean_over(T)",
    },
    &[Argument::required("axis", Kind::Axis, "the sequence axis")],
    apply,
)
.positional(1);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let axis = sequence_axis(x, &args.axis("axis"))?;
    let Some(mask) = cx.mask_along(x, axis) else { return Ok(squeeze(x.mean(&[axis]), axis)) };
    let steps = mask.sum(&[axis]).maximum(cx.builder.scalar(1.0));
    Ok(squeeze(mask.select(x, cx.builder.scalar(0.0)).sum(&[axis]) / steps, axis))
}
