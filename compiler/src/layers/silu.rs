//! `silu`: each element times its sigmoid; also called swish

use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "silu",
    Class::Activation,
    LayerDoc {
        summary: "Each element times its sigmoid; also called swish.",
        shapes: "any shape, kept",
        formula: "x * sigmoid(x)",
        source: "Elfwing et al. 2017",
        example: "input x[8]\nsilu",
    },
    &[],
    apply,
);

fn apply<'b>(_cx: &mut LayerCx<'_, 'b>, x: Var<'b>, _args: &Args<'b>) -> Result<Var<'b>, Message> {
    Ok(x * x.sigmoid())
}
