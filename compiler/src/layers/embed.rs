//! `embed`: each token has a vector.

use super::prelude::*;
use super::support::gather;

pub(super) const LAYER: Layer = Layer::new(
    "embed",
    Class::Layer,
    LayerDoc {
        summary: "Looks up a learned vector for each token.",
        shapes: "tokens [T] -> [T, n]",
        formula: "y[t] = W[x[t]], W of shape [vocabulary, n]",
        source: "Bengio et al. 2003; first values normal(0, 1), as PyTorch's",
        example: "input words[T]: token(100)\nembed(16)",
    },
    &[Argument::required("n", Kind::Count(1), "the length of a vector"), INIT],
    apply,
)
.positional(1)
.takes_tokens();

fn apply<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let Some(vocabulary) = cx.vocabulary(x) else {
        let text = format!("`embed` takes tokens, not numbers of shape {}", show_user_shape(x));
        return Err(
            Message::new(Code::WrongKind, text).help("declare the input as tokens: `input words[T]: token(1000)`")
        );
    };
    let n = args.count("n");
    let init = args.find_initial("init").unwrap_or(Init::Normal { mean: 0.0, deviation: 1.0 });
    let weight = cx.parameter("weight", &[vocabulary, n], init, Fans { inputs: n, outputs: vocabulary })?;
    cx.explain(format!("{vocabulary} x {n} = {} parameters", vocabulary * n));
    gather(weight, x)
}
