//! `local_response_norm`: each channel is divided by the size of its neighbors, as in AlexNet.

use super::prelude::*;
use super::support::map_features;
use crate::ops::Pad;

pub(super) const LAYER: Layer = Layer::new(
    "local_response_norm",
    Class::Layer,
    LayerDoc {
        summary: "Each channel is divided by a power of the squares of its neighbor channels.",
        shapes: "[c, h, w], kept",
        formula: "y[c] = x[c] / (k + alpha * sum of x[c - size/2 ..= c + size/2]^2)^beta",
        source: "Krizhevsky et al. 2012: alpha is not divided by size",
        example: "input x[3, 32, 32]\nconv3x3(16, relu) -> local_response_norm",
    },
    &[
        Argument::preset("size", Kind::Count(1), Preset::Count(5), "how many channels are neighbors; odd"),
        Argument::preset("alpha", Kind::Number(Bounds::NonNegative), Preset::Number(1e-4), "the weight of the squares"),
        Argument::preset("beta", Kind::Number(Bounds::NonNegative), Preset::Number(0.75), "the power"),
        Argument::preset("k", Kind::Number(Bounds::Positive), Preset::Number(2.0), "what stands beside the squares"),
    ],
    apply,
)
.positional(1);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let [channels, _, _] = map_features("local_response_norm", x)?;
    let size = args.count("size");
    ensure!(
        !size.is_multiple_of(2),
        BadValue,
        "`size` is {size}: only an odd number has as many neighbors on both sides"
    );
    let axis = lead(&x.shape());
    // Farther neighbors than there are channels are all zeros.
    let half = (size / 2).min(channels);
    let padded = cx.builder.apply(Pad { axis, before: half, len: Dim::fixed(channels + 2 * half) }, &[x * x])?;
    let shifted = |start| padded.slice(axis, start, Dim::fixed(channels));
    ensure!(half <= 64, TooLarge, "`size` is {size}: more than 129 neighbors are not compiled");
    let squares = (1..=2 * half).fold(shifted(0), |sum, start| sum + shifted(start));
    let (alpha, beta, k) = (args.number("alpha"), args.number("beta"), args.number("k"));
    // d^beta == exp(beta * log(d)), and d >= k > 0.
    Ok(x * (-beta * (k + alpha * squares).log()).exp())
}
