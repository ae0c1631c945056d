//! `groupnorm`: groups of channels are shifted and scaled to mean 0 and variance 1.

use super::prelude::*;
use super::support::standardized;

pub(super) const LAYER: Layer = Layer::new(
    "groupnorm",
    Class::Layer,
    LayerDoc {
        summary: "Each member of the batch is normalized over groups of its channels.",
        shapes: "[c, h, w], kept; [c], kept",
        formula: "y = (x - mean) / sqrt(variance + eps) * weight + bias",
        source: "Wu and He 2018",
        example: "input x[3, 32, 32]\nconv3x3(8) -> groupnorm(4)",
    },
    &[
        Argument::required("groups", Kind::Count(1), "how many groups; divides the channels"),
        Argument::preset("eps", Kind::Number(Bounds::Positive), Preset::Number(1e-5), "added to the variance"),
        Argument::preset(
            "affine",
            Kind::Flag,
            Preset::Flag(true),
            "whether a weight and a bias for each channel are learned",
        ),
    ],
    apply,
)
.positional(1);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let features = features(x);
    let groups = args.count("groups");
    let Some((&channels, sizes)) = features.split_first() else {
        return Err(Message::new(Code::ShapeMismatch, "`groupnorm` takes a vector or a map, not a number"));
    };
    ensure!(channels.is_multiple_of(groups), BadValue, "{groups} groups do not divide {channels} channels");
    let (folded, lead) = fold(x);
    let shape = folded.shape();
    let inner = channels / groups * sizes.iter().product::<usize>();
    let grouped = folded.reshape(&[shape[0].clone(), Dim::fixed(groups), Dim::fixed(inner)]);
    let y = standardized(grouped, &[2], args.number("eps")).reshape(&shape);
    if !args.flag("affine") {
        return Ok(unfold(y, &lead));
    }
    let column = [vec![Dim::fixed(channels)], vec![Dim::ONE; sizes.len()]].concat();
    let weight = cx.filled("weight", &[channels], 1.0)?.reshape(&column);
    let bias = cx.filled("bias", &[channels], 0.0)?.reshape(&column);
    cx.explain(format!("2 x {channels} = {} parameters", 2 * channels));
    Ok(unfold(y * weight + bias, &lead))
}
