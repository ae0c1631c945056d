//! `multi_head_attention`: several attentions side by side, each in a projection of its own.

use super::attend::{Reading, attend};
use super::prelude::*;
use super::support::matmul;
use crate::types::product;

pub(super) const LAYER: Layer = Layer::new(
    "multi_head_attention",
    Class::Layer,
    LayerDoc {
        summary: "Attention of several heads, each of which reads learned projections of the memory. Without a query each step reads all others: self-attention.",
        shapes: "[S, m], query [U, d] -> [U, d]; [S, m], query [d] -> [d]",
        formula: "y = Wo [softmax(Q K^T / sqrt(d / heads)) V of each head] + bo, with Q = Wq query + bq, K = Wk x + bk, V = Wv x + bv",
        source: "Vaswani et al. 2017",
        example: "input text[T]: token(100)\nembed(32)\nresidual { layernorm -> multi_head_attention(4, causal = true) }\ndense(100)",
    },
    &[
        Argument::required("heads", Kind::Count(1), "how many heads; they divide the features of the query"),
        Argument::optional("query", Kind::Value, "what reads; by default the memory itself"),
        Argument::preset("causal", Kind::Flag, Preset::Flag(false), "whether each step sees only those up to itself"),
        Argument::preset("bias", Kind::Flag, Preset::Flag(true), "whether biases are added"),
        INIT,
    ],
    apply,
)
.positional(1);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let heads = args.count("heads");
    let reading = Reading::new(cx, "multi_head_attention", x, args.find_value("query"))?;
    let of_query = reading.query.shape();
    let d = of_query[of_query.len() - 1].as_fixed().expect("features are fixed");
    ensure!(d.is_multiple_of(heads), BadValue, "{heads} heads do not divide the query's {d} features");
    let q = project(cx, "q", reading.query, d, args)?;
    let k = project(cx, "k", x, d, args)?;
    let v = project(cx, "v", x, d, args)?;
    let n = reading.outer.len();
    // [outer…, T, d] -> [outer…, heads, T, d / heads]
    let split = |x: Var<'b>| {
        let shape = x.shape();
        let wide = [&shape[..n + 1], &[Dim::fixed(heads), Dim::fixed(d / heads)]].concat();
        let mut order: Vec<usize> = (0..n + 3).collect();
        order.swap(n, n + 1);
        x.reshape(&wide).transpose(&order)
    };
    let mask = reading.mask.map(|mask| {
        let shape = mask.shape();
        mask.reshape(&[&shape[..n], &[Dim::ONE], &shape[n..]].concat())
    });
    let scale = 1.0 / ((d / heads) as f64).sqrt();
    let read = attend([split(q), split(k), split(v)], scale, mask, args.flag("causal"))?;
    let mut order: Vec<usize> = (0..n + 3).collect();
    order.swap(n, n + 1);
    let joined = read.transpose(&order).reshape(&of_query);
    let y = project(cx, "o", joined, d, args)?;
    let memory = x.shape();
    cx.count_apart("scores", &[&of_query[..n + 1], &memory[n..n + 1]].concat(), 2 * d);
    Ok(reading.finish(y))
}

/// A matrix product and a bias on the last axis.
fn project<'b>(
    cx: &mut LayerCx<'_, 'b>,
    name: &str,
    x: Var<'b>,
    n: usize,
    args: &Args<'b>,
) -> Result<Var<'b>, Message> {
    let shape = x.shape();
    let (rows, last) = shape.split_at(shape.len() - 1);
    let inputs = last[0].as_fixed().expect("features are fixed");
    let fans = Fans { inputs, outputs: n };
    let init = args.find_initial("init").unwrap_or(Init::Xavier);
    let weight = cx.parameter(&format!("{name}.weight"), &[n, inputs], init, fans)?;
    let flat = matmul(x.reshape(&[product(rows), last[0].clone()]), weight, [false, true])?;
    let mut y = flat.reshape(&[rows, &[Dim::fixed(n)]].concat());
    let mut sum = format!("{name}: {inputs} x {n}");
    let mut n_parameters = inputs * n;
    if args.flag("bias") {
        y = y + cx.parameter(&format!("{name}.bias"), &[n], Init::Constant(0.0), fans)?;
        sum += &format!(" + {n}");
        n_parameters += n;
    }
    cx.explain(format!("{sum} = {n_parameters} parameters"));
    // The memory may have another length than the queries.
    if matches!(name, "k" | "v") && args.find_value("query").is_some() {
        cx.count_apart("memory", rows, inputs * n);
    } else {
        cx.count(rows, inputs * n);
    }
    Ok(y)
}
