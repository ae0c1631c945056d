//! `relu6`: the positive part, cut off at 6

use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "relu6",
    Class::Activation,
    LayerDoc {
        summary: "The positive part, cut off at 6.",
        shapes: "any shape, kept",
        formula: "min(max(x, 0), 6)",
        source: "Krizhevsky 2010",
        example: "input x[8]\nrelu6",
    },
    &[],
    apply,
);

fn apply<'b>(_cx: &mut LayerCx<'_, 'b>, x: Var<'b>, _args: &Args<'b>) -> Result<Var<'b>, Message> {
    Ok(x.maximum(x.builder.scalar(0.0)).minimum(x.builder.scalar(6.0)))
}
