//! `last`: the last step of a sequence.

use super::prelude::*;
use super::support::{last_sequence_axis, squeeze};
use crate::kernel::CompareFn;

pub(super) const LAYER: Layer = Layer::new(
    "last",
    Class::Layer,
    LayerDoc {
        summary: "Each member's last step along the last sequence axis; 0 for a member without steps.",
        shapes: "[T, n] -> [n]",
        formula: "y = x[T - 1]",
        source: "",
        example: "input words[T]: token(100)\nembed(16) -> last -> dense(2)",
    },
    &[],
    apply,
);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, _args: &Args<'b>) -> Result<Var<'b>, Message> {
    let axis = last_sequence_axis("last", x)?;
    let shape = x.shape();
    let ones = vec![Dim::ONE; shape.len() - axis - 1];
    let steps = match cx.mask_along(x, axis) {
        Some(mask) => mask.sum(&[axis]),
        None => cx.builder.size(&shape[axis]),
    };
    let position = cx.builder.iota(0, vec![shape[axis].clone()]).to_f32();
    let position = position.reshape(&[vec![shape[axis].clone()], ones].concat());
    let is_last = position.compare(CompareFn::Eq, steps - 1.0);
    // Selected, not multiplied, so that other steps cannot spoil the result.
    Ok(squeeze(is_last.select(x, cx.builder.scalar(0.0)).sum(&[axis]), axis))
}
