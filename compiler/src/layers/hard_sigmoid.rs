//! `hard_sigmoid`: a sigmoid of three straight lines

use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "hard_sigmoid",
    Class::Activation,
    LayerDoc {
        summary: "A sigmoid of three straight lines.",
        shapes: "any shape, kept",
        formula: "min(max(x + 3, 0), 6) / 6",
        source: "Howard et al. 2019",
        example: "input x[8]\nhard_sigmoid",
    },
    &[],
    apply,
);

fn apply<'b>(_cx: &mut LayerCx<'_, 'b>, x: Var<'b>, _args: &Args<'b>) -> Result<Var<'b>, Message> {
    Ok((x + 3.0).maximum(x.builder.scalar(0.0)).minimum(x.builder.scalar(6.0)) / 6.0)
}
