//! `max_over`: the maximum over a sequence.

use super::prelude::*;
use super::support::{sequence_axis, squeeze};

pub(super) const LAYER: Layer = Layer::new(
    "max_over",
    Class::Layer,
    LayerDoc {
        summary: "The maximum over a sequence axis, or over what windows made of it; 0 for a member without steps.",
        shapes: "[T, n] -> [n]",
        formula: "y = maximum over t of x[t]",
        source: "",
        example: "input words[T]: token(100)\nembed(16) -> conv1d(8, k = 3) -> max_over(T)",
    },
    &[Argument::required("axis", Kind::Axis, "the sequence axis")],
    apply,
)
.positional(1);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let axis = sequence_axis(x, &args.axis("axis"))?;
    let Some(mask) = cx.mask_along(x, axis) else { return Ok(squeeze(x.max(&[axis]), axis)) };
    let greatest = mask.select(x, cx.builder.scalar(f64::from(f32::MIN))).max(&[axis]);
    let exists = mask.sum(&[axis]);
    Ok(squeeze(exists.select(greatest, cx.builder.scalar(0.0)), axis))
}
