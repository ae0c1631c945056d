//! `adaptive_avgpool`: means over as many windows as are asked for.

use super::prelude::*;
use super::support::map_features;
use super::windows::{PoolWindow, window_reduce};
use crate::kernel::Combine;

pub(super) const LAYER: Layer = Layer::new(
    "adaptive_avgpool",
    Class::Layer,
    LayerDoc {
        summary: "Means over windows that divide a map into the size asked for, which must divide the map's.",
        shapes: "[c, h, w] -> [c, size, size]",
        formula: "avgpool with the window h / size",
        source: "PyTorch, where the sizes divide",
        example: "input x[8, 14, 14]\nadaptive_avgpool(7)",
    },
    &[Argument::required("size", Kind::Pair(1), "the size that comes out")],
    apply,
)
.positional(1);

fn apply<'b>(_cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let [_, height, width] = map_features("adaptive_avgpool", x)?;
    let size = args.pair("size");
    if !height.is_multiple_of(size[0]) || !width.is_multiple_of(size[1]) {
        let text = format!(
            "windows of different sizes would be needed to make [{}, {}] of [{height}, {width}]",
            size[0], size[1]
        );
        return Err(Message::new(Code::NotSupported, text)
            .help("choose a size that divides the map's, or use `avgpool` with a window"));
    }
    let k = [height / size[0], width / size[1]];
    let (folded, lead) = fold(x);
    let window = PoolWindow { k, stride: k, pad: [0, 0] };
    Ok(unfold(window_reduce(folded, Combine::Sum, &window)? / (k[0] * k[1]) as f64, &lead))
}
