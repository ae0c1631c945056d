//! `kl`: how far a distribution is from the wanted one.

use super::classes::{mean_of_members, same_shape};
use super::prelude::*;
use crate::kernel::CompareFn;

pub(super) const LAYER: Layer = Layer::new(
    "kl",
    Class::Loss,
    LayerDoc {
        summary: "The Kullback-Leibler divergence from the prediction, given as logarithms, to the target, given as probabilities; the mean over the batch and sequence.",
        shapes: "[n], [n] -> a number",
        formula: "mean over the batch of sum(target * (log(target) - x))",
        source: "PyTorch's `batchmean`",
        example: "input x[8]\ntarget y[2]\nz = dense(2, log_softmax)\noutput z\nloss kl(z, y)",
    },
    &[
        Argument::required("target", Kind::Value, "what should have come out"),
    ],
    apply,
)
.positional(1);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let target = same_shape("kl", x, args.value("target"))?;
    let one = x.builder.scalar(1.0);
    let positive = target.compare(CompareFn::Gt, x.builder.scalar(0.0));
    // 0 * log(0) == 0
    let entropy = target * positive.select(target, one).log();
    Ok(mean_of_members(cx, entropy - target * x))
}
