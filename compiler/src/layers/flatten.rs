//! `flatten`: all features in one row.

use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "flatten",
    Class::Layer,
    LayerDoc {
        summary: "The features of a map, or of any value, as one vector.",
        shapes: "[c, h, w] -> [c*h*w]",
        formula: "row-major order",
        source: "",
        example: "input x[3, 8, 8]\nflatten -> dense(10)",
    },
    &[],
    apply,
);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, _args: &Args<'b>) -> Result<Var<'b>, Message> {
    let features = features(x);
    let n = features.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
    let n = n.ok_or_else(|| Message::new(Code::TooLarge, "the vector would be too long"))?;
    let factors: Vec<String> = features.iter().map(usize::to_string).collect();
    if features.len() > 1 {
        cx.sized(0, "length", None, format!("{} = {n}", factors.join("*")));
    }
    Ok(x.reshape(&[lead_dims(x), vec![Dim::fixed(n)]].concat()))
}
