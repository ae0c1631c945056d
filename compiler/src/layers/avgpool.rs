//! `avgpool`: the mean of the elements under a window.

use super::prelude::*;
use super::windows::{pool_window, window_reduce};
use crate::kernel::Combine;

pub(super) const LAYER: Layer = Layer::new(
    "avgpool",
    Class::Layer,
    LayerDoc {
        summary: "The mean of the elements under each place of a window; its size may stand in the name, `avgpool2x2`.",
        shapes: "[c, h, w] -> [c, oh, ow], where oh = floor((h + 2*pad - k) / stride) + 1",
        formula: "y[c, i, j] = (sum over u, v of x[c, i*stride + u - pad, j*stride + v - pad]) / (kh * kw)",
        source: "PyTorch's convention: zeros of the padding count as elements, unless `count_include_pad = false`",
        example: "input x[3, 32, 32]\navgpool2x2 -> avgpool3x3(stride = 2, pad = 1, count_include_pad = false)",
    },
    &[
        Argument::required("k", Kind::Pair(1), "the window, when it is not in the name"),
        Argument::optional("stride", Kind::Pair(1), "how far the window moves; by default the window itself"),
        Argument::preset("pad", Kind::Pair(0), Preset::Count(0), "zeros around the map"),
        Argument::preset("count_include_pad", Kind::Flag, Preset::Flag(true), "whether the padding counts in the mean"),
    ],
    apply,
)
.positional(1)
.windowed();

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let window = pool_window(cx, "avgpool", x, args)?;
    let (folded, lead) = fold(x);
    let sum = window_reduce(folded, Combine::Sum, &window)?;
    let mean = if args.flag("count_include_pad") || window.pad == [0, 0] {
        sum / (window.k[0] * window.k[1]) as f64
    } else {
        // How many elements of the map each place of the window covers.
        let ones = cx
            .builder
            .constant(1.0, TensorType::f32([vec![Dim::ONE, Dim::ONE], folded.shape()[2..].to_vec()].concat()));
        sum / window_reduce(ones, Combine::Sum, &window)?
    };
    Ok(unfold(mean, &lead))
}
