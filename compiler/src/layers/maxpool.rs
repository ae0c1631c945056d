//! `maxpool`: the greatest element under a window.

use super::prelude::*;
use super::windows::{pool_window, window_reduce};
use crate::kernel::Combine;

pub(super) const LAYER: Layer = Layer::new(
    "maxpool",
    Class::Layer,
    LayerDoc {
        summary: "The greatest element under each place of a window; its size may stand in the name, `maxpool2x2`.",
        shapes: "[c, h, w] -> [c, oh, ow], where oh = floor((h + 2*pad - k) / stride) + 1",
        formula: "y[c, i, j] = max over u, v of x[c, i*stride + u - pad, j*stride + v - pad]",
        source: "",
        example: "input x[3, 32, 32]\nmaxpool2x2 -> maxpool3x3(stride = 2, pad = 1)",
    },
    &[
        Argument::required("k", Kind::Pair(1), "the window, when it is not in the name"),
        Argument::optional("stride", Kind::Pair(1), "how far the window moves; by default the window itself"),
        Argument::preset("pad", Kind::Pair(0), Preset::Count(0), "minus infinity around the map"),
    ],
    apply,
)
.positional(1)
.windowed();

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let window = pool_window(cx, "maxpool", x, args)?;
    let (folded, lead) = fold(x);
    Ok(unfold(window_reduce(folded, Combine::Max, &window)?, &lead))
}
