//! `upsample`: each element of a map becomes a square of them.

use super::prelude::*;
use super::support::{apply_broadcast, map_features};

pub(super) const LAYER: Layer = Layer::new(
    "upsample",
    Class::Layer,
    LayerDoc {
        summary: "Repeats each element of a map along its height and width (nearest neighbor).",
        shapes: "[c, h, w] -> [c, h*factor, w*factor]",
        formula: "y[c, i, j] = x[c, i / factor, j / factor]",
        source: "",
        example: "input x[3, 8, 8]\nupsample(2)",
    },
    &[Argument::required("factor", Kind::Pair(1), "how often each element is repeated")],
    apply,
)
.positional(1);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let [channels, height, width] = map_features("upsample", x)?;
    let [fh, fw] = args.pair("factor");
    let sizes = [height.checked_mul(fh), width.checked_mul(fw)];
    let [Some(h), Some(w)] = sizes else { return Err(Message::new(Code::TooLarge, "the map would be too large")) };
    cx.sized(1, "height", Some(format!("repeats each row {fh} times")), format!("{height}*{fh} = {h}"));
    cx.sized(0, "width", Some(format!("repeats each column {fw} times")), format!("{width}*{fw} = {w}"));
    let (folded, lead) = fold(x);
    let n = folded.shape()[0].clone();
    let dims = |sizes: [usize; 5]| -> Vec<Dim> { std::iter::once(n.clone()).chain(sizes.map(Dim::fixed)).collect() };
    let narrow = folded.reshape(&dims([channels, height, 1, width, 1]));
    let wide = apply_broadcast(narrow, dims([channels, height, fh, width, fw]))?;
    Ok(unfold(wide.reshape(&[n.clone(), Dim::fixed(channels), Dim::fixed(h), Dim::fixed(w)]), &lead))
}
