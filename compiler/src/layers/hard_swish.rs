//! `hard_swish`: each element times its hard sigmoid

use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "hard_swish",
    Class::Activation,
    LayerDoc {
        summary: "Each element times its hard sigmoid.",
        shapes: "any shape, kept",
        formula: "x * min(max(x + 3, 0), 6) / 6",
        source: "Howard et al. 2019",
        example: "input x[8]\nhard_swish",
    },
    &[],
    apply,
);

fn apply<'b>(_cx: &mut LayerCx<'_, 'b>, x: Var<'b>, _args: &Args<'b>) -> Result<Var<'b>, Message> {
    Ok(x * (x + 3.0).maximum(x.builder.scalar(0.0)).minimum(x.builder.scalar(6.0)) / 6.0)
}
