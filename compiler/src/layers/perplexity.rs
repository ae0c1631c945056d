//! `perplexity`: among how many equally likely tokens the right one would be.

use super::classes::{class_axis, surprise};
use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "perplexity",
    Class::Metric,
    LayerDoc {
        summary: "The exponential of the cross-entropy.",
        shapes: "[classes], token -> a number",
        formula: "exp(cross_entropy(x, target))",
        source: "",
        example: "input x[8]\ntarget label: token(4)\nlogits = dense(4)\noutput logits\nloss cross_entropy(logits, label)\nmetric perplexity(logits, label)",
    },
    &[
        Argument::required("target", Kind::Value, "what should have come out"),
        Argument::optional("weight", Kind::Numbers, "a weight for each class"),
        Argument::preset("label_smoothing", Kind::Number(Bounds::Unit), Preset::Number(0.0), "the share of the target that is spread over all classes"),
        Argument::optional("ignore", Kind::Count(0), "a class whose positions do not count"),
    ],
    apply,
)
.positional(1);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let axis = class_axis("perplexity", x)?;
    let shifted = x - x.max(&[axis]).stop_gradient();
    let logarithms = shifted - shifted.exp().sum(&[axis]).log();
    Ok(surprise(cx, "perplexity", logarithms, args)?.exp())
}
