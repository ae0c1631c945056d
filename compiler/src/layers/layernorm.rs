//! `layernorm`: each value is shifted and scaled to mean 0 and variance 1 over its features.

use super::prelude::*;
use super::support::standardized;

pub(super) const LAYER: Layer = Layer::new(
    "layernorm",
    Class::Layer,
    LayerDoc {
        summary: "Each member of the batch, and each step of a sequence, is normalized over its features.",
        shapes: "any shape, kept",
        formula: "y = (x - mean) / sqrt(variance + eps) * weight + bias",
        source: "Ba et al. 2016",
        example: "input words[T]: token(100)\nembed(16) -> layernorm",
    },
    &[
        Argument::preset("eps", Kind::Number(Bounds::Positive), Preset::Number(1e-5), "added to the variance"),
        Argument::preset("affine", Kind::Flag, Preset::Flag(true), "whether a weight and a bias are learned"),
    ],
    apply,
);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let features = features(x);
    ensure!(!features.is_empty(), ShapeMismatch, "`layernorm` takes a vector or a map, not a number");
    let rank = x.rank();
    let axes: Vec<usize> = (rank - features.len()..rank).collect();
    let y = standardized(x, &axes, args.number("eps"));
    if !args.flag("affine") {
        return Ok(y);
    }
    let n: usize = features.iter().product();
    cx.explain(format!("2 x {n} = {} parameters", 2 * n));
    Ok(y * cx.filled("weight", &features, 1.0)? + cx.filled("bias", &features, 0.0)?)
}
