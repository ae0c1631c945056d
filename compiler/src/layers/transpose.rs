//! `transpose`: the axes in another order.

use super::prelude::*;

pub(super) const LAYER: Layer = Layer::new(
    "transpose",
    Class::Layer,
    LayerDoc {
        summary: "The features with their axes in another order; by default the last two change places.",
        shapes: "[a, b] -> [b, a]",
        formula: "axis i of the result is axis order[i] of the value",
        source: "",
        example: "input x[3, 8, 4]\ntranspose([2, 0, 1])",
    },
    &[Argument::optional("order", Kind::Sizes, "axes counted from 0 without the batch; sequence axes stay first")],
    apply,
)
.positional(1);

fn apply<'b>(_cx: &mut LayerCx<'_, 'b>, x: Var<'b>, args: &Args<'b>) -> Result<Var<'b>, Message> {
    let rank = x.rank() - 1;
    let n_sequences = lead(&x.shape()) - 1;
    let order: Vec<usize> = match args.find_sizes("order") {
        Some(order) => {
            let axis = |&axis: &i64| usize::try_from(axis).ok().filter(|&axis| axis < rank);
            let order: Option<Vec<usize>> = order.iter().map(axis).collect();
            order.ok_or_else(|| {
                Message::new(
                    Code::AxisOutOfRange,
                    format!("an axis of {} is a number from 0 to {}", show_user_shape(x), rank as i64 - 1),
                )
            })?
        }
        None => {
            ensure!(rank - n_sequences >= 2, AxisOutOfRange, "{} has no two axes to change places", show_user_shape(x));
            (0..rank - 2).chain([rank - 1, rank - 2]).collect()
        }
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    ensure!(
        sorted.iter().copied().eq(0..rank),
        BadValue,
        "the order of {} names each axis from 0 to {} once",
        show_user_shape(x),
        rank as i64 - 1
    );
    ensure!(
        order.iter().take(n_sequences).copied().eq(0..n_sequences),
        NotSupported,
        "sequence axes stay first: {}",
        show_user_shape(x)
    );
    let with_batch: Vec<usize> = std::iter::once(0).chain(order.iter().map(|axis| axis + 1)).collect();
    Ok(x.transpose(&with_batch))
}
