//! `dropout`: in training, elements are left out at random.

use super::cx::Mode;
use super::prelude::*;
use crate::kernel::CompareFn;

pub(super) const LAYER: Layer = Layer::new(
    "dropout",
    Class::Layer,
    LayerDoc {
        summary: "In training each element becomes 0 with the chance `rate`, and the others grow so that the mean stays; in inference nothing happens.",
        shapes: "any shape, kept",
        formula: "y = x * mask / (1 - rate)",
        source: "Srivastava et al. 2014",
        example: "input x[8]\ndense(16, relu) -> dropout(0.5) -> dense(4)",
    },
    &[
        Argument::preset("rate", Kind::Number(Bounds::Fraction), Preset::Number(0.5), "the share of elements that are left out"),
    ],
    apply,
)
.positional(1);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let rate = args.number("rate");
    if cx.mode == Mode::Inference || rate == 0.0 {
        return Ok(x);
    }
    let kept = cx.random(x.shape()).compare(CompareFn::Ge, cx.builder.scalar(rate));
    Ok(x * kept * (1.0 / (1.0 - rate)))
}
