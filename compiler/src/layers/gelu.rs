//! `gelu`: each element times the chance that a normal number is below it

use super::prelude::*;
use crate::kernel::UnaryFn;

pub(super) const LAYER: Layer = Layer::new(
    "gelu",
    Class::Activation,
    LayerDoc {
        summary: "Each element times the chance that a normal number is below it.",
        shapes: "any shape, kept",
        formula: "x * (1 + erf(x / sqrt(2))) / 2; with `tanh`, x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2",
        source: "Hendrycks and Gimpel 2016",
        example: "input x[8]\ndense(16, gelu(tanh)) -> gelu",
    },
    &[Argument::preset(
        "approximate",
        Kind::Word(&["none", "tanh"]),
        Preset::Word("none"),
        "`tanh` for the approximation that GPT-2 uses",
    )],
    apply,
)
.positional(1);

fn apply<'b>(_cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let chance = match args.word("approximate") {
        "tanh" => ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * (x * x * x))).tanh(),
        _ => (x * std::f64::consts::FRAC_1_SQRT_2).unary(UnaryFn::Erf),
    };
    Ok(0.5 * x * (1.0 + chance))
}
