//! `attention`: each query reads what is near to it in a memory.

use super::attend::{Reading, attend};
use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "attention",
    Class::Layer,
    LayerDoc {
        summary: "Reads a memory: the mean of its steps, each weighed by how near it is to the query. It has no parameters; without a query each step reads all others.",
        shapes: "[S, d], query [U, d] -> [U, d]; [S, d], query [d] -> [d]",
        formula: "y = sum over s of softmax(query . x[s] / sqrt(d)) * x[s]",
        source: "Luong et al. 2015; scaled as in Vaswani et al. 2017",
        example: "input source[S]: token(100)\ninput prefix[U]: token(100)\nmemory = source -> embed(16)\nprefix -> embed(16)\nquery = lstm(16)\ncontext = memory -> attention(query)\n[query, context] -> dense(100)",
    },
    &[
        Argument::optional("query", Kind::Value, "what reads; by default the memory itself"),
        Argument::preset("scaled", Kind::Flag, Preset::Flag(true), "whether scores are divided by sqrt(d)"),
        Argument::preset("causal", Kind::Flag, Preset::Flag(false), "whether each step sees only those up to itself"),
    ],
    apply,
)
.positional(1);

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let reading = Reading::new(cx, "attention", x, args.find_value("query"))?;
    let (of_memory, of_query) = (x.shape(), reading.query.shape());
    let n = of_memory.len();
    ensure!(
        of_memory[n - 1] == of_query[n - 1],
        ShapeMismatch,
        "`attention` compares vectors of one size, not a query of {} with a memory of {}",
        of_query[n - 1],
        of_memory[n - 1]
    );
    let d = of_memory[n - 1].as_fixed().expect("features are fixed");
    let scale = if args.flag("scaled") { 1.0 / (d as f64).sqrt() } else { 1.0 };
    // Each query with each step: a score, and what is read.
    cx.count(&[&of_query[..n - 1], &of_memory[n - 2..n - 1]].concat(), 2 * d);
    let y = attend([reading.query, x, x], scale, reading.mask, args.flag("causal"))?;
    Ok(reading.finish(y))
}
