//! What losses and metrics over classes share.

use super::args::Args;
use super::cx::LayerCx;
use super::support::{lead, show_user_shape, user_shape};
use crate::diag::{Code, Message};
use crate::ensure;
use crate::graph::Var;
use crate::kernel::CompareFn;
use crate::types::{Dim, ElementType, product, show_shape};

/// The mean over all elements, a number; of sequences over the steps that exist, and 0 when none does.
pub(super) fn mean_all<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>) -> Var<'b> {
    let Some(mask) = cx.mask_of(x) else {
        let axes: Vec<usize> = (0..x.rank()).collect();
        return x.mean(&axes).reshape(&[]);
    };
    let shape = x.shape();
    let each = cx.builder.size(&product(&shape[lead(&shape)..]));
    let n = (sum_all(mask) * each).maximum(cx.builder.scalar(1.0));
    sum_all(mask.select(x, cx.builder.scalar(0.0))) / n
}

/// The sum over all elements, a number.
pub(super) fn sum_all(x: Var<'_>) -> Var<'_> {
    let axes: Vec<usize> = (0..x.rank()).collect();
    x.sum(&axes).reshape(&[])
}

/// The sum over features, then the mean over batch and sequence.
pub(super) fn mean_of_members<'b>(cx: &mut LayerCx<'_, 'b>, x: Var<'b>) -> Var<'b> {
    let shape = x.shape();
    let n = lead(&shape);
    mean_all(cx, x.sum(&(n..shape.len()).collect::<Vec<_>>()))
}

/// Tokens as the numbers they are.
pub(super) fn as_numbers(x: Var<'_>) -> Var<'_> {
    match x.ty().element {
        ElementType::F32 => x,
        ElementType::I32 => x.to_f32(),
    }
}

/// The target as numbers, when its shape is the prediction's.
///
/// # Errors
/// When it is not.
pub(super) fn same_shape<'b>(layer: &str, x: Var<'b>, target: Var<'b>) -> Result<Var<'b>, Message> {
    let (of, wanted) = (x.shape(), target.shape());
    if of == wanted {
        return Ok(as_numbers(target));
    }
    let (of, wanted) = (user_shape(&of), user_shape(&wanted));
    let text = format!(
        "`{layer}` compares two values of one shape, not a prediction of {} with a target of {}",
        show_shape(of),
        show_shape(wanted)
    );
    let message = Message::new(Code::ShapeMismatch, text);
    let n = wanted.len();
    Err(if of.len() == n + 1 && of[..n] == *wanted && of[n].is_one() {
        message.help("give the target an axis of one: `[1]` after its name")
    } else if of.len() == n && of.last() != wanted.last() {
        message.help(format!("let the last layer give {}", wanted.last().map_or(String::new(), Dim::to_string)))
    } else {
        message
    })
}

/// The axis of the scores: the first after batch and sequences.
///
/// # Errors
/// When the value has no such axis.
pub(super) fn class_axis(layer: &str, x: Var<'_>) -> Result<usize, Message> {
    let shape = x.shape();
    let axis = lead(&shape);
    ensure!(
        axis < shape.len(),
        ShapeMismatch,
        "`{layer}` takes a score for each class, such as [10], not {}",
        show_user_shape(x)
    );
    Ok(axis)
}

/// Checks that `target` holds a class for each position of the scores `x`; the axis of the scores.
fn check_classes<'b>(cx: &LayerCx<'_, 'b>, layer: &str, x: Var<'b>, target: Var<'b>) -> Result<usize, Message> {
    let axis = class_axis(layer, x)?;
    let mut positions = x.shape();
    let classes = positions.remove(axis);
    let of_target = target.shape();
    let Some(vocabulary) = cx.vocabulary(target) else {
        let text = format!(
            "`{layer}` compares scores with tokens, and this target is numbers of shape {}",
            show_user_shape(target)
        );
        return Err(Message::new(Code::WrongKind, text)
            .help(format!("declare the target as tokens: `target label: token({classes})`")));
    };
    if positions != of_target {
        let text = format!(
            "`{layer}` needs a target of shape {} for scores of {}, and this one has {}",
            show_shape(user_shape(&positions)),
            show_user_shape(x),
            show_user_shape(target)
        );
        let message = Message::new(Code::ShapeMismatch, text);
        let longer = positions.len() > of_target.len();
        return Err(match longer && lead(&positions) > lead(&of_target) {
            true => message.help("take the sequence axis away first: `last`, or `mean_over` its axis"),
            false => message,
        });
    }
    if classes.as_fixed() != Some(vocabulary) {
        let text = format!("the target is one of {vocabulary} tokens, but there are scores for {classes} classes");
        return Err(Message::new(Code::ShapeMismatch, text)
            .help(format!("let the last layer give {vocabulary}: `dense({vocabulary})`")));
    }
    Ok(axis)
}

/// 1 at the target's class, else 0, in the shape of `x`.
fn one_hot<'b>(x: Var<'b>, target: Var<'b>, axis: usize) -> Var<'b> {
    let shape = x.shape();
    let mut column = shape.clone();
    column[axis] = Dim::ONE;
    let column = target.to_f32().reshape(&column);
    let classes: Vec<Dim> = (0..shape.len()).map(|i| if i == axis { shape[i].clone() } else { Dim::ONE }).collect();
    let numbers = x.builder.iota(axis, classes).to_f32();
    numbers.broadcast_to(&shape).compare(CompareFn::Eq, column.broadcast_to(&shape))
}

/// The mean surprise at the target, from logarithms of probabilities: what `cross_entropy` and `nll` share.
///
/// # Errors
/// When target and scores do not fit, or there are not as many weights as classes.
pub(super) fn surprise<'b>(
    cx: &mut LayerCx<'_, 'b>,
    layer: &str,
    logarithms: Var<'b>,
    args: &Args<'b>,
) -> Result<Var<'b>, Message> {
    let target = args.value("target");
    let (weights, ignore) = (args.find_numbers("weight"), args.find_count("ignore"));
    let smoothing = args.number("label_smoothing");
    // A target with a probability for each class.
    if target.ty().element == ElementType::F32 && target.shape() == logarithms.shape() {
        ensure!(weights.is_none() && ignore.is_none(), NotSupported, "`weight` and `ignore` need a target of tokens");
        let axis = class_axis(layer, logarithms)?;
        let classes = cx.builder.size(&logarithms.shape()[axis]);
        let wanted = (1.0 - smoothing) * target + cx.builder.scalar(smoothing) / classes;
        return Ok(-mean_all(cx, (wanted * logarithms).sum(&[axis])));
    }

    let axis = check_classes(cx, layer, logarithms, target)?;
    let shape = logarithms.shape();
    let n = shape[axis].as_fixed().expect("checked against the vocabulary");
    let hot = one_hot(logarithms, target, axis);
    // PyTorch's: each class weighs `w`, and the sum is divided by the weights of the targets.
    let weighted = match &weights {
        Some(weights) => {
            ensure!(weights.len() == n, ShapeMismatch, "there are {} weights for {n} classes", weights.len());
            let column: Vec<Dim> =
                (axis..shape.len()).map(|i| if i == axis { shape[i].clone() } else { Dim::ONE }).collect();
            logarithms * listed(logarithms, weights).reshape(&column)
        }
        None => logarithms,
    };
    let mut surprise = -(hot * weighted).sum(&[axis]);
    if smoothing > 0.0 {
        let even = -weighted.sum(&[axis]) / n as f64;
        surprise = (1.0 - smoothing) * surprise + smoothing * even;
    }
    if weights.is_none() && ignore.is_none() {
        return Ok(mean_all(cx, surprise));
    }
    let mut share = match &weights {
        Some(weights) => {
            let column: Vec<Dim> =
                (axis..shape.len()).map(|i| if i == axis { shape[i].clone() } else { Dim::ONE }).collect();
            (hot * listed(logarithms, weights).reshape(&column)).sum(&[axis])
        }
        None => hot.sum(&[axis]),
    };
    if let Some(ignore) = ignore {
        ensure!(ignore < n, BadValue, "`ignore` is {ignore}, but classes go from 0 to {}", n - 1);
        let counts =
            as_numbers(target).reshape(&share.shape()).compare(CompareFn::Ne, logarithms.builder.scalar(ignore as f64));
        surprise = surprise * counts;
        share = share * counts;
    }
    if let Some(mask) = cx.mask_of(surprise) {
        let zero = cx.builder.scalar(0.0);
        surprise = mask.select(surprise, zero);
        share = share * mask;
    }
    // Where every position is ignored, nothing is surprising.
    let total = sum_all(share);
    Ok(sum_all(surprise) / total.maximum(logarithms.builder.scalar(1e-30)))
}

/// A list of numbers as a value, made from steps: sum of `number * (position == i)`.
fn listed<'b>(like: Var<'b>, numbers: &[f64]) -> Var<'b> {
    let builder = like.builder;
    let parts: Vec<Var<'b>> =
        numbers.iter().map(|&number| builder.constant(number, crate::types::TensorType::f32([1]))).collect();
    Var::concat(&parts, 0).expect("single numbers can be joined")
}

/// How many scores are greater than the target's, in the shape of the target.
///
/// # Errors
/// When target and scores do not fit.
pub(super) fn rank_of_target<'b>(
    cx: &LayerCx<'_, 'b>,
    layer: &str,
    x: Var<'b>,
    target: Var<'b>,
) -> Result<Var<'b>, Message> {
    let axis = check_classes(cx, layer, x, target)?;
    let own = (one_hot(x, target, axis) * x).sum(&[axis]);
    let greater = x.compare(CompareFn::Gt, own);
    Ok(greater.sum(&[axis]).reshape(&target.shape()))
}

/// The share of positions whose rank is below `k`, without those whose target is `ignore`.
///
/// # Errors
/// None so far; in the form of what layers return.
pub(super) fn share_within<'b>(
    cx: &mut LayerCx<'_, 'b>,
    rank: Var<'b>,
    k: f64,
    target: Var<'b>,
    ignore: Option<usize>,
) -> Result<Var<'b>, Message> {
    let within = rank.compare(CompareFn::Lt, rank.builder.scalar(k));
    let Some(ignore) = ignore else { return Ok(mean_all(cx, within)) };
    let mut counts = as_numbers(target).compare(CompareFn::Ne, rank.builder.scalar(ignore as f64));
    if let Some(mask) = cx.mask_of(counts) {
        counts = counts * mask;
    }
    Ok(sum_all(within * counts) / sum_all(counts).maximum(rank.builder.scalar(1.0)))
}
