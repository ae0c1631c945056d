//! What several layers share: the axes of a value, folding leading axes, windows.

use super::args::Args;
use crate::diag::Message;
use crate::ensure;
use crate::graph::Var;
use crate::ops::{Broadcast, Gather, MatMul};
use crate::types::{Dim, Symbol, product, show_shape};

/// How many leading axes are the batch and sequences: those whose sizes are named.
pub fn lead(shape: &[Dim]) -> usize {
    shape.iter().take_while(|dim| !dim.symbols().is_empty()).count()
}

/// The leading axes of a value, batch and sequences.
pub(super) fn lead_dims(x: Var<'_>) -> Vec<Dim> {
    let shape = x.shape();
    shape[..lead(&shape)].to_vec()
}

/// The sizes of the axes that are neither the batch nor a sequence.
pub fn features(x: Var<'_>) -> Vec<usize> {
    let shape = x.shape();
    let fixed = |dim: &Dim| dim.as_fixed().expect("named sizes are leading ones");
    shape[lead(&shape)..].iter().map(fixed).collect()
}

/// A shape as users see it: without the batch.
pub fn user_shape(shape: &[Dim]) -> &[Dim] {
    match shape {
        [first, rest @ ..] if *first == Dim::batch() => rest,
        _ => shape,
    }
}

pub fn show_user_shape(x: Var<'_>) -> String {
    show_shape(user_shape(&x.shape()))
}

/// `[B, T, features…]` as `[B*T, features…]`, and the axes that were folded, for [`unfold`].
pub(super) fn fold(x: Var<'_>) -> (Var<'_>, Vec<Dim>) {
    let shape = x.shape();
    let (lead, features) = shape.split_at(lead(&shape));
    let folded = [&[product(lead)], features].concat();
    (x.reshape(&folded), lead.to_vec())
}

/// Undoes [`fold`] on a result with other features.
pub(super) fn unfold<'b>(y: Var<'b>, lead: &[Dim]) -> Var<'b> {
    y.reshape(&[lead, &y.shape()[1..]].concat())
}

/// The features of a map, `[channels, height, width]`.
///
/// # Errors
/// When the value is no map.
pub(super) fn map_features(layer: &str, x: Var<'_>) -> Result<[usize; 3], Message> {
    let features = features(x);
    let Ok(map) = <[usize; 3]>::try_from(features.as_slice()) else {
        let message = Message::new(
            crate::diag::Code::ShapeMismatch,
            format!("`{layer}` takes a map [channels, height, width], not {}", show_user_shape(x)),
        );
        return Err(match features.len() {
            2 => message.help(format!(
                "for a sequence of vectors use `conv1d`, or add an axis: `reshape([1, {}, {}])`",
                features[0], features[1]
            )),
            _ => message,
        });
    };
    Ok(map)
}

/// The axis of a value that is the sequence axis `axis`, or was made from it by a window.
///
/// # Errors
/// When the value has no such axis.
pub(super) fn sequence_axis(x: Var<'_>, axis: &Dim) -> Result<usize, Message> {
    let shape = x.shape();
    let position = shape.iter().position(|dim| dim != &Dim::batch() && derives(dim, axis));
    position.ok_or_else(|| {
        Message::new(
            crate::diag::Code::AxisOutOfRange,
            format!("this value has no axis `{axis}`: its shape is {}", show_user_shape(x)),
        )
    })
}

/// Whether `dim` is `axis` or a size that windows made of it.
fn derives(dim: &Dim, axis: &Dim) -> bool {
    dim == axis
        || dim.symbols().iter().any(|symbol| match symbol {
            Symbol::Derived(derived) => derives(&derived.of, axis),
            Symbol::Batch | Symbol::Axis(_) => false,
        })
}

/// The last sequence axis of a value.
///
/// # Errors
/// When it has none.
pub(super) fn last_sequence_axis(layer: &str, x: Var<'_>) -> Result<usize, Message> {
    let shape = x.shape();
    let n = lead(&shape);
    ensure!(n > 1, ShapeMismatch, "`{layer}` takes a sequence such as [T, features], not {}", show_user_shape(x));
    Ok(n - 1)
}

/// A window along one axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span1 {
    pub(super) k: usize,
    pub(super) stride: usize,
    pub(super) pad: usize,
    pub(super) dilation: usize,
}

impl Span1 {
    /// How far the window reaches: `dilation*(k - 1) + 1`.
    fn reach(self) -> usize {
        self.dilation.saturating_mul(self.k - 1).saturating_add(1)
    }
    /// The formula of the charter with its numbers.
    fn formula(self, input: &Dim) -> String {
        let Span1 { k, stride, pad, dilation } = self;
        let reach = if dilation == 1 { k.to_string() } else { format!("{dilation}*({k} - 1) - 1") };
        format!("floor(({input} + 2*{pad} - {reach}) / {stride}) + 1")
    }
    /// How many places the window has along `input`, and the formula that says so.
    ///
    /// # Errors
    /// When the window is larger than what it slides over.
    pub(super) fn places(self, name: &str, input: &Dim) -> Result<(Dim, String), Message> {
        let formula = self.formula(input);
        let room = input.as_fixed().map(|n| n.saturating_add(self.pad.saturating_mul(2)));
        if let Some(room) = room {
            let reach = self.reach();
            let padded = if self.pad == 0 { String::new() } else { format!(" with its padding of {}", self.pad) };
            if room < reach {
                let message = Message::new(
                    crate::diag::Code::InvalidSize,
                    format!(
                        "the window is larger than its input: its {name} is {reach}, the input's{padded} is {room}"
                    ),
                );
                return Err(message
                    .note(format!("{name}: {formula} is below 1"))
                    .help("use a smaller window, or pad the input"));
            }
        }
        let add = (2 * self.pad) as i64 - self.reach() as i64 + self.stride as i64;
        check_divisor(input, self.stride)?;
        let places = input.window(add, self.stride as i64);
        Ok((places.clone(), format!("{formula} = {places}")))
    }
    /// Why the size is not the input's, as the shortest phrase.
    pub(super) fn reason(self) -> Option<String> {
        match self {
            Span1 { stride, .. } if stride != 1 => Some(format!("has stride {stride}")),
            Span1 { pad, k, .. } if 2 * pad < k => Some(format!("has pad {pad}")),
            _ => None,
        }
    }
}

/// Sizes of sequences are kept as one window of the named size, whose divisor grows with each stride.
fn check_divisor(input: &Dim, stride: usize) -> Result<(), Message> {
    let divisor = input.symbols().iter().map(|symbol| match symbol {
        Symbol::Derived(derived) => (derived.div.unsigned_abs() as usize).max(derived.add.unsigned_abs() as usize),
        Symbol::Batch | Symbol::Axis(_) => 1,
    });
    let divisor = divisor.max().unwrap_or(1);
    // Each window that cannot be joined with the one before it nests them deeper.
    ensure!(depth(input) <= 32, InvalidSize, "too many windows follow each other along `{input}`");
    ensure!(
        divisor.checked_mul(stride).is_some_and(|n| n < 1 << 31),
        InvalidSize,
        "windows shorten the sequence `{input}` too far: by a factor of {divisor} times {stride}"
    );
    Ok(())
}

/// How many windows a size is made of.
fn depth(dim: &Dim) -> usize {
    let of_symbol = |symbol: &Symbol| match symbol {
        Symbol::Derived(derived) => 1 + depth(&derived.of),
        Symbol::Batch | Symbol::Axis(_) => 0,
    };
    dim.symbols().iter().map(of_symbol).max().unwrap_or(0)
}

/// `(k - 1) / 2`, which keeps sizes at stride 1.
///
/// # Errors
/// For an even `k`, which has no such padding.
pub(super) fn same_pad(layer: &str, k: usize, dilation: usize) -> Result<usize, Message> {
    if k.is_multiple_of(2) {
        let text = format!("`{layer}` has an even window of {k} and must say its `pad`");
        return Err(Message::new(crate::diag::Code::MissingArgument, text)
            .note(format!("only an odd window can keep the size of its input: ({k} - 1) / 2 is not whole"))
            .help(format!("write `pad = {}`, `pad = {}`, or use an odd window", k / 2 - 1, k / 2)));
    }
    Ok(dilation.saturating_mul(k - 1) / 2)
}

/// The product of two matrices, or of each pair of two batches of matrices; each transposed where `transpose` says so.
///
/// # Errors
/// When the inner sizes differ.
pub(super) fn matmul<'b>(a: Var<'b>, b: Var<'b>, transpose: [bool; 2]) -> Result<Var<'b>, Message> {
    a.builder.apply(MatMul { transpose }, &[a, b])
}

/// `exp(x) / sum(exp(x))` along an axis, over what `mask` lets exist; 0 where nothing does.
pub(super) fn softmax<'b>(x: Var<'b>, mask: Option<Var<'b>>, axis: usize) -> Var<'b> {
    // Subtracting the maximum leaves the result unchanged and `exp` finite.
    let exponential = |x: Var<'b>| (x - x.max(&[axis]).stop_gradient()).exp();
    let Some(mask) = mask else {
        let weights = exponential(x);
        return weights / weights.sum(&[axis]);
    };
    let lowest = x.builder.scalar(f64::from(f32::MIN));
    let weights = mask.select(exponential(mask.select(x, lowest)), x.builder.scalar(0.0));
    weights / weights.sum(&[axis]).maximum(x.builder.scalar(1e-30))
}

/// `x` shifted and scaled to mean 0 and variance 1 along axes; `eps` is added to the variance.
pub(super) fn standardized<'b>(x: Var<'b>, axes: &[usize], eps: f64) -> Var<'b> {
    let mean = x.mean(axes);
    // The deviations from a mean add up to 0: no gradient of the variance flows through the mean.
    let deviation = x - mean.stop_gradient();
    let variance = (deviation * deviation).mean(axes);
    (x - mean) * (1.0 / (variance + eps).sqrt())
}

/// The rows of `table` that `index` names.
///
/// # Errors
/// When `index` is no tokens.
pub(super) fn gather<'b>(table: Var<'b>, index: Var<'b>) -> Result<Var<'b>, Message> {
    table.builder.apply(Gather, &[table, index])
}

/// Repeats axes of length one.
///
/// # Errors
/// When the result is too large.
pub(super) fn apply_broadcast(x: Var<'_>, to: Vec<Dim>) -> Result<Var<'_>, Message> {
    x.builder.apply(Broadcast { to }, &[x])
}

/// Takes away an axis of length one.
pub(super) fn squeeze(x: Var<'_>, axis: usize) -> Var<'_> {
    let mut shape = x.shape();
    shape.remove(axis);
    x.reshape(&shape)
}

/// The axis that `axis = …` means, or the last.
///
/// # Errors
/// When there is none.
pub(super) fn axis_or_last(x: Var<'_>, args: &Args<'_>) -> Result<usize, Message> {
    let shape = x.shape();
    let user = user_shape(&shape);
    let axis = args.find_count("axis").or(user.len().checked_sub(1));
    match axis.filter(|&axis| axis < user.len()) {
        Some(axis) => Ok(axis + shape.len() - user.len()),
        None => {
            let text = match axis {
                Some(axis) => format!("there is no axis {axis} in {}: axes count from 0", show_shape(user)),
                None => "a number has no axis".to_owned(),
            };
            Err(Message::new(crate::diag::Code::AxisOutOfRange, text))
        }
    }
}
