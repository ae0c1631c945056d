//! `binary_cross_entropy`: how surprising a yes or no is.

use super::classes::{mean_all, same_shape};
use super::prelude::*;
use crate::kernel::CompareFn;

pub(super) const LAYER: Layer = Layer::new(
    "binary_cross_entropy",
    Class::Loss,
    LayerDoc {
        summary: "The mean surprise over independent chances of yes; from probabilities, or with `from_logits` from what a sigmoid would take.",
        shapes: "[n], [n] -> a number",
        formula: "mean(-(target * log(x) + (1 - target) * log(1 - x)))",
        source: "PyTorch's: logarithms are at least -100",
        example: "input x[8]\ntarget y[1]\nz = dense(1, sigmoid)\noutput z\nloss binary_cross_entropy(z, y)",
    },
    &[
        Argument::required("target", Kind::Value, "what should have come out"),
        Argument::preset("from_logits", Kind::Flag, Preset::Flag(false), "whether the prediction has not yet gone through a sigmoid"),
    ],
    apply,
)
.positional(1);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let target = same_shape("binary_cross_entropy", x, args.value("target"))?;
    let builder = x.builder;
    if args.flag("from_logits") {
        // max(x, 0) - x * target + log(1 + exp(-|x|)), which does not overflow.
        let zero = builder.scalar(0.0);
        return Ok(mean_all(cx, x.maximum(zero) - x * target + (1.0 + (-x.abs()).exp()).log()));
    }
    // The logarithm never sees a 0, so that its gradient stays finite.
    let log = |p: Var<'b>| {
        let positive = p.compare(CompareFn::Gt, builder.scalar(0.0));
        let log = positive.select(p, builder.scalar(1.0)).log();
        positive.select(log, builder.scalar(-100.0)).maximum(builder.scalar(-100.0))
    };
    Ok(-mean_all(cx, target * log(x) + (1.0 - target) * log(1.0 - x)))
}
