//! `conv`: a window of weights slides over a map.

use super::prelude::*;
use super::support::{Span1, map_features, same_pad};
use super::windows::{Geometry2, convolution};

pub(super) const LAYER: Layer = Layer::new(
    "conv",
    Class::Layer,
    LayerDoc {
        summary: "A convolution over the height and width of a map; its window may stand in the name, `conv3x3`.",
        shapes: "[in, h, w] -> [channels, oh, ow], where oh = floor((h + 2*pad - dilation*(k - 1) - 1) / stride) + 1",
        formula: "y[o, i, j] = act(sum over c, u, v of W[o, c, u, v] * x[c, i*stride + u*dilation - pad, j*stride + v*dilation - pad] + b[o])",
        source: "LeCun et al. 1989",
        example: "input x[3, 32, 32]\nconv3x3(16, relu) -> conv(32, k = 5, stride = 2, bias = false)",
    },
    &[
        Argument::required("channels", Kind::Count(1), "how many channels come out"),
        ACT,
        Argument::required("k", Kind::Pair(1), "the window, when it is not in the name"),
        Argument::preset("stride", Kind::Pair(1), Preset::Count(1), "how far the window moves"),
        Argument::optional("pad", Kind::Pair(0), "zeros around the map; by default dilation*(k - 1) / 2 for an odd `k`"),
        Argument::preset("dilation", Kind::Pair(1), Preset::Count(1), "the distance between the window's weights"),
        Argument::preset("groups", Kind::Count(1), Preset::Count(1), "channels are convolved in so many groups of their own"),
        Argument::preset("bias", Kind::Flag, Preset::Flag(true), "whether a bias is added"),
        INIT,
    ],
    apply,
)
.positional(2)
.windowed();

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let [channels, height, width] = map_features("conv", x)?;
    let (n, k, groups) = (args.count("channels"), args.pair("k"), args.count("groups"));
    let (stride, dilation) = (args.pair("stride"), args.pair("dilation"));
    ensure!(
        channels.is_multiple_of(groups) && n.is_multiple_of(groups),
        BadValue,
        "{groups} groups divide neither {channels} channels into {n}: both must be multiples of `groups`"
    );
    let pad = match args.find_pair("pad") {
        Some(pad) => pad,
        None => [same_pad("conv", k[0], dilation[0])?, same_pad("conv", k[1], dilation[1])?],
    };
    for (i, (name, size)) in [("height", height), ("width", width)].into_iter().enumerate() {
        let span = Span1 { k: k[i], stride: stride[i], pad: pad[i], dilation: dilation[i] };
        let (_, formula) = span.places(name, &Dim::fixed(size))?;
        cx.sized(1 - i, name, span.reason(), formula);
    }
    let geometry = Geometry2 { stride, pad, dilation, groups };
    convolution(cx, x, &[n, channels / groups, k[0], k[1]], geometry, args)
}
