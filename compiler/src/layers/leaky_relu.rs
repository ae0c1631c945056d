//! `leaky_relu`: negative elements are scaled down instead of cut off

use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "leaky_relu",
    Class::Activation,
    LayerDoc {
        summary: "Negative elements are scaled down instead of cut off.",
        shapes: "any shape, kept",
        formula: "x where x > 0, else slope * x",
        source: "Maas et al. 2013",
        example: "input x[8]\nleaky_relu(0.2)",
    },
    &[Argument::preset("slope", Kind::Number(Bounds::Any), Preset::Number(0.01), "the factor of negative elements")],
    apply,
)
.positional(1);

fn apply<'b>(_cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let zero = x.builder.scalar(0.0);
    Ok(x.maximum(zero) + args.number("slope") * x.minimum(zero))
}
