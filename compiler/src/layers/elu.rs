//! `elu`: an exponential below zero

use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "elu",
    Class::Activation,
    LayerDoc {
        summary: "An exponential below zero.",
        shapes: "any shape, kept",
        formula: "x where x > 0, else alpha * (exp(x) - 1)",
        source: "Clevert et al. 2015",
        example: "input x[8]\nelu",
    },
    &[Argument::preset(
        "alpha",
        Kind::Number(Bounds::Any),
        Preset::Number(1.0),
        "minus the limit for very negative elements",
    )],
    apply,
)
.positional(1);

fn apply<'b>(_cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let zero = x.builder.scalar(0.0);
    // The exponential sees no positive element, so it cannot overflow.
    Ok(x.maximum(zero) + args.number("alpha") * (x.minimum(zero).exp() - 1.0))
}
