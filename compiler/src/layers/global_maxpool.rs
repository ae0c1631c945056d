//! `global_maxpool`: the maximum of each channel.

use super::prelude::*;
use super::support::map_features;

pub(super) const LAYER: Layer = Layer::new(
    "global_maxpool",
    Class::Layer,
    LayerDoc {
        summary: "The maximum of each channel of a map.",
        shapes: "[c, h, w] -> [c]",
        formula: "y[c] = maximum over i, j of x[c, i, j]",
        source: "Lin et al. 2013",
        example: "input x[8, 7, 7]\nglobal_maxpool -> dense(10)",
    },
    &[],
    apply,
);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, _args: &Args<'b>) -> Result<Var<'b>, Message> {
    let [channels, height, width] = map_features("global_maxpool", x)?;
    let lead = lead_dims(x);
    let n = lead.len();
    cx.explain(format!("maximum over {height} x {width} for each of {channels} channels"));
    Ok(x.max(&[n + 1, n + 2]).reshape(&[lead, vec![Dim::fixed(channels)]].concat()))
}
