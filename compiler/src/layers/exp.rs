//! `exp`: the exponential of each element

use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "exp",
    Class::Activation,
    LayerDoc {
        summary: "The exponential of each element.",
        shapes: "any shape, kept",
        formula: "exp(x)",
        source: "",
        example: "input x[8]\nexp",
    },
    &[],
    apply,
);

fn apply<'b>(_cx: &mut LayerCx<'_, 'b>, x: Var<'b>, _args: &Args<'b>) -> Result<Var<'b>, Message> {
    Ok(x.exp())
}
