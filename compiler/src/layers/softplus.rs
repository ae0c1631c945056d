//! `softplus`: a smooth form of the positive part

use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "softplus",
    Class::Activation,
    LayerDoc {
        summary: "A smooth form of the positive part.",
        shapes: "any shape, kept",
        formula: "log(1 + exp(x))",
        source: "Dugas et al. 2000",
        example: "input x[8]\nsoftplus",
    },
    &[],
    apply,
);

fn apply<'b>(_cx: &mut LayerCx<'_, 'b>, x: Var<'b>, _args: &Args<'b>) -> Result<Var<'b>, Message> {
    // max(x, 0) + log(1 + exp(-|x|)), which does not overflow.
    Ok(x.maximum(x.builder.scalar(0.0)) + (1.0 + (-x.abs()).exp()).log())
}
