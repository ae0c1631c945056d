//! `reshape`: the same elements with other axes.

use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "reshape",
    Class::Layer,
    LayerDoc {
        summary: "The same features in row-major order with other axes; sequence axes stay.",
        shapes: "[c, h, w] -> shape",
        formula: "",
        source: "",
        example: "input x[3, 8, 8]\nreshape([24, -1])",
    },
    &[Argument::required("shape", Kind::Sizes, "the new sizes; one of them may be -1, for what is left over")],
    apply,
)
.positional(1);

fn apply<'b>(_cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let features = features(x);
    let n: usize = features.iter().product();
    let sizes = args.sizes("shape");
    ensure!(sizes.len() <= 8, TooLarge, "a shape has at most 8 axes, and this one has {}", sizes.len());
    ensure!(
        sizes.iter().all(|&size| size > 0 || size == -1),
        InvalidSize,
        "each size is at least 1, or -1 for what is left over"
    );
    ensure!(sizes.iter().filter(|&&size| size == -1).count() <= 1, BadValue, "only one size can be -1");
    let known = sizes.iter().filter(|&&size| size != -1).try_fold(1usize, |n, &size| n.checked_mul(size as usize));
    let whole = sizes.contains(&-1);
    let fits = known.is_some_and(|known| if whole { n.is_multiple_of(known) } else { n == known });
    ensure!(fits, ShapeMismatch, "{} has {n} elements, which do not fit the shape {sizes:?}", show_user_shape(x));
    let left_over = n / known.expect("checked above");
    let size = |size: &i64| Dim::fixed(if *size == -1 { left_over } else { *size as usize });
    Ok(x.reshape(&[lead_dims(x), sizes.iter().map(size).collect()].concat()))
}
