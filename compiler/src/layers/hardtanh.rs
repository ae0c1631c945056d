//! `hardtanh`: cut off below and above

use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "hardtanh",
    Class::Activation,
    LayerDoc {
        summary: "Cut off below and above.",
        shapes: "any shape, kept",
        formula: "min(max(x, low), high)",
        source: "Collobert 2004",
        example: "input x[8]\nhardtanh",
    },
    &[
        Argument::preset("low", Kind::Number(Bounds::Any), Preset::Number(-1.0), "the least result"),
        Argument::preset("high", Kind::Number(Bounds::Any), Preset::Number(1.0), "the greatest result"),
    ],
    apply,
)
.positional(2);

fn apply<'b>(_cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let (low, high) = (args.number("low"), args.number("high"));
    let is_range = low <= high;
    ensure!(is_range, BadValue, "`low` is {low}, above `high`, which is {high}");
    Ok(x.maximum(x.builder.scalar(low)).minimum(x.builder.scalar(high)))
}
