//! `batchnorm`: each channel is shifted and scaled to mean 0 and variance 1 over the batch.

use super::cx::Mode;
use super::prelude::*;
use crate::types::product;

pub(super) const LAYER: Layer = Layer::new(
    "batchnorm",
    Class::Layer,
    LayerDoc {
        summary: "Each channel is normalized by its mean and variance over the batch when training, and by running statistics when inferring.",
        shapes: "any shape, kept; channels are the first axis after sequence axes",
        formula: "y = (x - mean) / sqrt(variance + eps) * weight + bias; running = (1 - momentum) * running + momentum * new",
        source: "Ioffe and Szegedy 2015; `momentum` is the weight of the new value and the running variance is unbiased, as PyTorch's",
        example: "input x[3, 32, 32]\nconv3x3(8, bias = false) -> batchnorm -> relu",
    },
    &[
        Argument::preset(
            "momentum",
            Kind::Number(Bounds::Unit),
            Preset::Number(0.1),
            "the weight of the new value in the running statistics",
        ),
        Argument::preset("eps", Kind::Number(Bounds::Positive), Preset::Number(1e-5), "added to the variance"),
        Argument::preset("affine", Kind::Flag, Preset::Flag(true), "whether a weight and a bias are learned"),
    ],
    apply,
);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let shape = x.shape();
    let axis = lead(&shape);
    let Some(channels) = shape.get(axis).and_then(Dim::as_fixed) else {
        return Err(Message::new(Code::ShapeMismatch, "`batchnorm` takes a vector or a map, not a number"));
    };
    let others: Vec<usize> = (0..shape.len()).filter(|&i| i != axis).collect();
    // [channels] as it stands beside the other axes of `x`.
    let column: Vec<Dim> = (0..shape.len()).map(|i| if i == axis { shape[i].clone() } else { Dim::ONE }).collect();

    let running_mean = cx.state("running_mean", &[channels], 0.0);
    let running_var = cx.state("running_var", &[channels], 1.0);
    let (mean, variance) = match cx.mode {
        Mode::Inference => (running_mean.reshape(&column), running_var.reshape(&column)),
        Mode::Training => {
            // The deviations from a mean add up to 0: no gradient of the variance flows through the mean.
            let sizes = |axes: &[usize]| product(&axes.iter().map(|&i| shape[i].clone()).collect::<Vec<_>>());
            let (mean, variance, n) = match cx.mask_of(x) {
                None => {
                    let mean = x.mean(&others);
                    let centered = x - mean.stop_gradient();
                    (mean, (centered * centered).mean(&others), cx.builder.size(&sizes(&others)))
                }
                // Of sequences, over the steps that exist.
                Some(mask) => {
                    let zero = cx.builder.scalar(0.0);
                    let places = cx.builder.size(&sizes(&(axis + 1..shape.len()).collect::<Vec<_>>()));
                    let n = (mask.sum(&others) * places).maximum(cx.builder.scalar(1.0));
                    let mean = mask.select(x, zero).sum(&others) / n;
                    let centered = mask.select(x - mean.stop_gradient(), zero);
                    (mean, (centered * centered).sum(&others) / n, n)
                }
            };
            // The unbiased variance of a single number would be 0 / 0.
            let unbiased = variance * n / (n - 1.0).maximum(cx.builder.scalar(1.0));
            let momentum = args.number("momentum");
            let blend = |old: Var<'b>, new: Var<'b>| (1.0 - momentum) * old + momentum * new.reshape(&old.shape());
            cx.update("running_mean", blend(running_mean, mean));
            cx.update("running_var", blend(running_var, unbiased));
            (mean, variance)
        }
    };
    let scale = 1.0 / (variance + args.number("eps")).sqrt();
    let y = (x - mean) * scale;
    if !args.flag("affine") {
        return Ok(y);
    }
    let weight = cx.filled("weight", &[channels], 1.0)?.reshape(&column);
    let bias = cx.filled("bias", &[channels], 0.0)?.reshape(&column);
    cx.explain(format!("2 x {channels} = {} parameters", 2 * channels));
    Ok(y * weight + bias)
}
