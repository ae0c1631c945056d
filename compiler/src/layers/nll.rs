//! `nll`: how surprising the right class is, from logarithms of probabilities.

use super::classes::surprise;
use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "nll",
    Class::Loss,
    LayerDoc {
        summary: "The mean surprise at the right class, from `log_softmax`.",
        shapes: "[classes], token -> a number",
        formula: "mean(-x[target])",
        source: "PyTorch's `nll_loss`",
        example: "input x[8]\ntarget label: token(4)\nz = dense(4, log_softmax)\noutput z\nloss nll(z, label)",
    },
    &[
        Argument::required("target", Kind::Value, "what should have come out"),
        Argument::optional("weight", Kind::Numbers, "a weight for each class"),
        Argument::preset(
            "label_smoothing",
            Kind::Number(Bounds::Unit),
            Preset::Number(0.0),
            "the share of the target that is spread over all classes",
        ),
        Argument::optional("ignore", Kind::Count(0), "a class whose positions do not count"),
    ],
    apply,
)
.positional(1);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    surprise(cx, "nll", x, args)
}
