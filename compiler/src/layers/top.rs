//! `top`: how often the target is among the best.

use super::classes::{rank_of_target, share_within};
use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "top",
    Class::Metric,
    LayerDoc {
        summary: "The share of positions whose target is among the `k` greatest scores.",
        shapes: "[classes], token -> a number",
        formula: "mean(rank of target < k)",
        source: "",
        example: "input x[8]\ntarget label: token(10)\nlogits = dense(10)\noutput logits\nloss cross_entropy(logits, label)\nmetric top(logits, label, k = 5)",
    },
    &[
        Argument::required("target", Kind::Value, "what should have come out"),
        Argument::required("k", Kind::Count(1), "how many scores count as the best"),
        Argument::optional("ignore", Kind::Count(0), "a class whose positions do not count"),
    ],
    apply,
)
.positional(2);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let target = args.value("target");
    let rank = rank_of_target(cx, "top", x, target)?;
    share_within(cx, rank, args.count("k") as f64, target, args.find_count("ignore"))
}
