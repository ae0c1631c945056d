//! `relu`: the positive part

use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "relu",
    Class::Activation,
    LayerDoc {
        summary: "The positive part.",
        shapes: "any shape, kept",
        formula: "max(x, 0)",
        source: "Nair and Hinton 2010",
        example: "input x[8]\ndense(16) -> relu",
    },
    &[],
    apply,
);

fn apply<'b>(_cx: &mut LayerCx<'_, 'b>, x: Var<'b>, _args: &Args<'b>) -> Result<Var<'b>, Message> {
    Ok(x.maximum(x.builder.scalar(0.0)))
}
