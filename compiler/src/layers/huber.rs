//! `huber`: squared differences that become straight lines.

use super::classes::{mean_all, same_shape};
use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "huber",
    Class::Loss,
    LayerDoc {
        summary: "Half the squared difference where that is small, and a straight line beyond `delta`; the mean over all elements.",
        shapes: "[n], [n] -> a number",
        formula: "d^2 / 2 where |d| <= delta, else delta * (|d| - delta / 2)",
        source: "Huber 1964",
        example: "input x[8]\ntarget y[2]\nz = dense(2)\noutput z\nloss huber(z, y)",
    },
    &[
        Argument::required("target", Kind::Value, "what should have come out"),
        Argument::preset("delta", Kind::Number(Bounds::Positive), Preset::Number(1.0), "where the line begins"),
    ],
    apply,
)
.positional(2);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let distance = (x - same_shape("huber", x, args.value("target"))?).abs();
    let delta = args.number("delta");
    // With q = min(d, delta): q^2 / 2 + delta * (d - q) is both cases at once.
    let near = distance.minimum(x.builder.scalar(delta));
    Ok(mean_all(cx, 0.5 * (near * near) + delta * (distance - near)))
}
