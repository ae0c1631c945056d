//! `conv1d`: a window of weights slides along a sequence.

use super::prelude::*;
use super::support::{Span1, same_pad};
use super::windows::{Geometry2, convolution};

pub(super) const LAYER: Layer = Layer::new(
    "conv1d",
    Class::Layer,
    LayerDoc {
        summary: "A convolution along the last sequence axis, or, where there is none, along the last axis of [channels, length].",
        shapes: "[T, in] -> [T, channels], where T shrinks by k - 1 - 2*pad; [in, length] -> [channels, length]",
        formula: "y[o, t] = act(sum over c, u of W[o, c, u] * x[c, t*stride + u*dilation - pad] + b[o])",
        source: "Kim 2014",
        example: "input words[T]: token(100)\nembed(16) -> conv1d(8, k = 3, act = relu) -> max_over(T)",
    },
    &[
        Argument::required("channels", Kind::Count(1), "how many channels come out"),
        ACT,
        Argument::required("k", Kind::Count(1), "the window"),
        Argument::preset("stride", Kind::Count(1), Preset::Count(1), "how far the window moves"),
        Argument::optional("pad", Kind::Count(0), "zeros on both sides; by default dilation*(k - 1) / 2 for an odd `k`"),
        Argument::preset("dilation", Kind::Count(1), Preset::Count(1), "the distance between the window's weights"),
        Argument::preset("groups", Kind::Count(1), Preset::Count(1), "channels are convolved in so many groups of their own"),
        Argument::preset("bias", Kind::Flag, Preset::Flag(true), "whether a bias is added"),
        INIT,
    ],
    apply,
)
.positional(2);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let n = lead(&x.shape());
    let features = features(x);
    match features[..] {
        // [.., T, channels] -> [.., channels, T, 1], and back.
        [channels] if n > 1 => {
            // Beyond the end of a member there are zeros, as beyond the end of the axis.
            let x = cx.existing_along(x, n - 1);
            let shape = x.shape();
            let (outer, length) = (shape[..n - 1].to_vec(), shape[n - 1].clone());
            let rows = crate::types::product(&outer);
            let channels = Dim::fixed(channels);
            let map = x.reshape(&[rows, length, channels, Dim::ONE]).transpose(&[0, 2, 1, 3]);
            let y = convolve(cx, map, args)?.transpose(&[0, 2, 1, 3]);
            let y_shape = y.shape();
            Ok(y.reshape(&[outer, vec![y_shape[1].clone(), y_shape[2].clone()]].concat()))
        }
        [channels, length] => {
            let (folded, outer) = fold(x);
            let rows = folded.shape()[0].clone();
            let map = folded.reshape(&[rows, Dim::fixed(channels), Dim::fixed(length), Dim::ONE]);
            let y = convolve(cx, map, args)?;
            let y_shape = y.shape();
            Ok(y.reshape(&[outer, y_shape[1..3].to_vec()].concat()))
        }
        _ => Err(Message::new(
            Code::ShapeMismatch,
            format!("`conv1d` takes a sequence [T, channels] or [channels, length], not {}", show_user_shape(x)),
        )),
    }
}

/// Along the height of `[n, channels, length, 1]`.
fn convolve<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let shape = x.shape();
    let channels = shape[1].as_fixed().expect("channels are fixed");
    let (n, k, groups) = (args.count("channels"), args.count("k"), args.count("groups"));
    let (stride, dilation) = (args.count("stride"), args.count("dilation"));
    ensure!(
        channels.is_multiple_of(groups) && n.is_multiple_of(groups),
        BadValue,
        "{groups} groups divide neither {channels} channels into {n}: both must be multiples of `groups`"
    );
    let pad = match args.find_count("pad") {
        Some(pad) => pad,
        None => same_pad("conv1d", k, dilation)?,
    };
    let span = Span1 { k, stride, pad, dilation };
    let (_, formula) = span.places("length", &shape[2])?;
    cx.sized(if shape[2].as_fixed().is_some() { 0 } else { 1 }, "length", span.reason(), formula);
    let geometry = Geometry2 { stride: [stride, 1], pad: [pad, 0], dilation: [dilation, 1], groups };
    convolution(cx, x, &[n, channels / groups, k], geometry, args)
}
