//! `cross_entropy`: how surprising the right class is, from logits.

use super::classes::{class_axis, surprise};
use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "cross_entropy",
    Class::Loss,
    LayerDoc {
        summary: "The mean surprise at the right class, from logits; softmax is inside. The target is a token, or a probability for each class.",
        shapes: "[classes], token -> a number; [T, classes], tokens [T]; [classes, h, w], tokens [h, w]",
        formula: "mean(-log_softmax(x)[target])",
        source: "PyTorch's: with class weights, the weighted mean",
        example: "input x[8]\ntarget label: token(4)\nlogits = dense(4)\noutput logits\nloss cross_entropy(logits, label)",
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
    let axis = class_axis("cross_entropy", x)?;
    let shifted = x - x.max(&[axis]).stop_gradient();
    let logarithms = shifted - shifted.exp().sum(&[axis]).log();
    surprise(cx, "cross_entropy", logarithms, args)
}
