//! `dense`: every output is a weighted sum of every input.

use super::prelude::*;
use super::support::matmul;

pub(super) const LAYER: Layer = Layer::new(
    "dense",
    Class::Layer,
    LayerDoc {
        summary: "A matrix product and a bias, on the last axis.",
        shapes: "[in] -> [n]; [T, in] -> [T, n]",
        formula: "y = act(W x + b), W of shape [n, in]",
        source: "",
        example: "input x[8]\ndense(16, relu) -> dense(4)",
    },
    &[
        Argument::required("n", Kind::Count(1), "how many features come out"),
        ACT,
        Argument::preset("bias", Kind::Flag, Preset::Flag(true), "whether a bias is added"),
        INIT,
    ],
    apply,
)
.positional(2);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let n = args.count("n");
    let features = features(x);
    let Some(&inputs) = features.last() else {
        return Err(Message::new(Code::ShapeMismatch, "`dense` takes a vector, not a number")
            .help("give the value an axis: `reshape([1])`"));
    };
    if let [channels, height, width] = features[..] {
        let text = format!("`dense` takes a vector, not a map [{channels}, {height}, {width}]");
        return Err(Message::new(Code::ShapeMismatch, text)
            .help(format!("add `flatten` before it, which makes [{}] of it", channels * height * width))
            .help("or take one number for each channel: `global_avgpool`"));
    }
    let fans = Fans { inputs, outputs: n };
    let preset = Init::default_for(args.find_activation("act").as_deref());
    let initial = match args.find_initial("init") {
        Some(init) => init.with_fans(fans),
        None => preset.with_parts(&cx.recurrent, fans),
    };
    let weight = cx.parameter_from("weight", &[n, inputs], initial)?;

    let shape = x.shape();
    let (rows, columns) = shape.split_at(shape.len() - 1);
    let matrix = x.reshape(&[crate::types::product(rows), columns[0].clone()]);
    let product = matmul(matrix, weight, [false, true])?;
    let mut y = product.reshape(&[rows, &[Dim::fixed(n)]].concat());
    let mut sum = format!("{inputs} x {n}");
    let mut n_parameters = inputs * n;
    if args.flag("bias") {
        y = y + cx.parameter("bias", &[n], Init::Constant(0.0), fans)?;
        sum += &format!(" + {n}");
        n_parameters += n;
    }
    cx.explain(format!("{sum} = {n_parameters} parameters"));
    cx.count(rows, inputs * n);
    Ok(y)
}
