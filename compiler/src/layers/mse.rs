//! `mse`: the mean of squared differences.

use super::classes::{mean_all, same_shape};
use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "mse",
    Class::Loss,
    LayerDoc {
        summary: "The mean of squared differences, over all elements.",
        shapes: "[n], [n] -> a number",
        formula: "mean((x - target)^2)",
        source: "",
        example: "input x[8]\ntarget y[2]\nz = dense(2)\noutput z\nloss mse(z, y)",
    },
    &[Argument::required("target", Kind::Value, "what should have come out")],
    apply,
)
.positional(1);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let difference = x - same_shape("mse", x, args.value("target"))?;
    Ok(mean_all(cx, difference * difference))
}
