//! `sigmoid`: from any number to one between 0 and 1

use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "sigmoid",
    Class::Activation,
    LayerDoc {
        summary: "From any number to one between 0 and 1.",
        shapes: "any shape, kept",
        formula: "1 / (1 + exp(-x))",
        source: "",
        example: "input x[8]\nsigmoid",
    },
    &[],
    apply,
);

fn apply<'b>(_cx: &mut LayerCx<'_, 'b>, x: Var<'b>, _args: &Args<'b>) -> Result<Var<'b>, Message> {
    Ok(x.sigmoid())
}
