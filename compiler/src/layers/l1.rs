//! `l1`: the mean of absolute differences.

use super::classes::{mean_all, same_shape};
use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "l1",
    Class::Loss,
    LayerDoc {
        summary: "The mean of absolute differences, over all elements.",
        shapes: "[n], [n] -> a number",
        formula: "mean(|x - target|)",
        source: "",
        example: "input x[8]\ntarget y[2]\nz = dense(2)\noutput z\nloss l1(z, y)",
    },
    &[Argument::required("target", Kind::Value, "what should have come out")],
    apply,
)
.positional(1);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    Ok(mean_all(cx, (x - same_shape("l1", x, args.value("target"))?).abs()))
}
