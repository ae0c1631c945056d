//! `tanh`: from any number to one between -1 and 1

use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "tanh",
    Class::Activation,
    LayerDoc {
        summary: "From any number to one between -1 and 1.",
        shapes: "any shape, kept",
        formula: "tanh(x)",
        source: "",
        example: "input x[8]\ntanh",
    },
    &[],
    apply,
);

fn apply<'b>(_cx: &mut LayerCx<'_, 'b>, x: Var<'b>, _args: &Args<'b>) -> Result<Var<'b>, Message> {
    Ok(x.tanh())
}
