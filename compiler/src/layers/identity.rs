//! `identity`: what flows in, unchanged

use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "identity",
    Class::Activation,
    LayerDoc {
        summary: "What flows in, unchanged.",
        shapes: "any shape, kept",
        formula: "x",
        source: "",
        example: "input x[8]\nidentity",
    },
    &[],
    apply,
);

fn apply<'b>(_cx: &mut LayerCx<'_, 'b>, x: Var<'b>, _args: &Args<'b>) -> Result<Var<'b>, Message> {
    Ok(x)
}
