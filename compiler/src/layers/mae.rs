//! `mae`: the mean of absolute differences, to be looked at.

use super::classes::{mean_all, same_shape};
use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "mae",
    Class::Metric,
    LayerDoc {
        summary: "The mean of absolute differences, to be looked at, over all elements.",
        shapes: "[n], [n] -> a number",
        formula: "mean(|x - target|)",
        source: "",
        example: "input x[8]\ntarget y[2]\nz = dense(2)\noutput z\nloss mse(z, y)\nmetric mae(z, y)",
    },
    &[Argument::required("target", Kind::Value, "what should have come out")],
    apply,
)
.positional(1);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    Ok(mean_all(cx, (x - same_shape("mae", x, args.value("target"))?).abs()))
}
