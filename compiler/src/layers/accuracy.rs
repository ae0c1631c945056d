//! `accuracy`: the share of right answers.

use super::classes::{as_numbers, mean_all, rank_of_target, share_within};
use super::prelude::*;
use crate::kernel::CompareFn;

pub(super) const LAYER: Layer = Layer::new(
    "accuracy",
    Class::Metric,
    LayerDoc {
        summary: "The share of positions whose greatest score is the target's; for a prediction of the target's own shape, whose side of 0.5 is right.",
        shapes: "[classes], token -> a number",
        formula: "mean(argmax(x) == target)",
        source: "",
        example: "input x[8]\ntarget label: token(4)\nlogits = dense(4)\noutput logits\nloss cross_entropy(logits, label)\nmetric accuracy(logits, label)",
    },
    &[
        Argument::required("target", Kind::Value, "what should have come out"),
        Argument::optional("ignore", Kind::Count(0), "a class whose positions do not count"),
    ],
    apply,
)
.positional(1);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let target = args.value("target");
    if target.shape() == x.shape() {
        let half = x.builder.scalar(0.5);
        let said = x.compare(CompareFn::Ge, half);
        return Ok(mean_all(cx, said.compare(CompareFn::Eq, as_numbers(target).compare(CompareFn::Ge, half))));
    }
    let rank = rank_of_target(cx, "accuracy", x, target)?;
    share_within(cx, rank, 1.0, target, args.find_count("ignore"))
}
