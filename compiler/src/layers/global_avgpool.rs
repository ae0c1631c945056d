//! `global_avgpool`: the mean of each channel.

use super::prelude::*;
use super::support::map_features;

pub(super) const LAYER: Layer = Layer::new(
    "global_avgpool",
    Class::Layer,
    LayerDoc {
        summary: "The mean of each channel of a map.",
        shapes: "[c, h, w] -> [c]",
        formula: "y[c] = mean over i, j of x[c, i, j]",
        source: "Lin et al. 2013",
        example: "input x[8, 7, 7]\nglobal_avgpool -> dense(10)",
    },
    &[],
    apply,
);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, _args: &Args<'b>) -> Result<Var<'b>, Message> {
    let [channels, height, width] = map_features("global_avgpool", x)?;
    let lead = lead_dims(x);
    let n = lead.len();
    cx.explain(format!("mean over {height} x {width} for each of {channels} channels"));
    Ok(x.mean(&[n + 1, n + 2]).reshape(&[lead, vec![Dim::fixed(channels)]].concat()))
}
