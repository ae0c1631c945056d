//! Convolutions and pools, on values with any leading axes.

use super::args::Args;
use super::cx::LayerCx;
use super::initial::{Fans, Init};
use super::support::{Span1, map_features, unfold};
use crate::diag::Message;
use crate::graph::Var;
use crate::kernel::{Combine, Direction};
use crate::ops::{Convolution, Kept, Window, WindowReduce};
use crate::types::{Dim, product};

/// How a convolution's window moves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry2 {
    pub(super) stride: [usize; 2],
    pub(super) pad: [usize; 2],
    pub(super) dilation: [usize; 2],
    pub(super) groups: usize,
}

/// A convolution with a weight of shape `[out, in / groups, kh, kw]`, or `[out, in / groups, k]` along one axis, and, where asked for, a bias; counts and explains.
///
/// # Errors
/// When the weight is too large, or a shared one of another shape.
pub(super) fn convolution<'b>(
    cx: &mut LayerCx<'_, 'b>,
    x: Var<'b>,
    weight_shape: &[usize],
    geometry: Geometry2,
    args: &Args<'b>,
) -> Result<Var<'b>, Message> {
    let (n, per_group, kh, kw) = match *weight_shape {
        [n, per_group, k] => (n, per_group, k, 1),
        [n, per_group, kh, kw] => (n, per_group, kh, kw),
        _ => panic!("a convolution's weight has three or four axes, not {weight_shape:?}"),
    };
    let fans = Fans {
        inputs: per_group.saturating_mul(kh).saturating_mul(kw),
        outputs: (n / geometry.groups).saturating_mul(kh).saturating_mul(kw),
    };
    let init = args.find_initial("init").unwrap_or(Init::default_for(args.find_activation("act").as_deref()));
    let weight = cx.parameter("weight", weight_shape, init, fans)?;
    let weight = weight.reshape(&[n, per_group, kh, kw].map(Dim::fixed));
    let Geometry2 { stride, pad, dilation, groups } = geometry;

    let (folded, outer) = fold_map(x);
    let shape = folded.shape();
    let image = [shape[2].clone(), shape[3].clone()];
    let op = Convolution {
        direction: Direction::Forward,
        kernel: [kh, kw],
        stride,
        pad,
        dilation,
        groups,
        image,
        keeps: Kept::All,
    };
    let convolved = cx.builder.apply(op, &[folded, weight])?;
    let mut y = unfold(convolved, &outer);

    let mut sum = format!("{per_group} x {kh} x {kw} x {n}");
    let mut n_parameters = per_group * kh * kw * n;
    if args.flag("bias") {
        y = y + cx.parameter("bias", &[n], Init::Constant(0.0), fans)?.reshape(&[Dim::fixed(n), Dim::ONE, Dim::ONE]);
        sum += &format!(" + {n}");
        n_parameters += n;
    }
    cx.explain(format!("{sum} = {n_parameters} parameters"));
    let shape = y.shape();
    // Every place of the window, for every channel that comes out: all axes but the channels.
    let places = [&shape[..shape.len() - 3], &shape[shape.len() - 2..]].concat();
    cx.count(&places, per_group * kh * kw * n);
    Ok(y)
}

/// As [`fold`], for `[lead…, c, h, w]` whose height may be the length of a sequence.
fn fold_map(x: Var<'_>) -> (Var<'_>, Vec<Dim>) {
    let shape = x.shape();
    let (outer, map) = shape.split_at(shape.len() - 3);
    (x.reshape(&[&[product(outer)], map].concat()), outer.to_vec())
}

/// A pool's window.
#[derive(Debug, Clone, Copy)]
pub(super) struct PoolWindow {
    pub(super) k: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) pad: [usize; 2],
}

/// The window that a pool's arguments ask for; explains the sizes of its result.
///
/// # Errors
/// When the value is no map, the window larger than it, or windows could lie outside of it.
pub(super) fn pool_window<'b>(
    cx: &mut LayerCx<'_, 'b>,
    layer: &str,
    x: Var<'b>,
    args: &Args<'b>,
) -> Result<PoolWindow, Message> {
    let [_, height, width] = map_features(layer, x)?;
    let k = args.pair("k");
    let window = PoolWindow { k, stride: args.find_pair("stride").unwrap_or(k), pad: args.pair("pad") };
    for (i, (name, size)) in [("height", height), ("width", width)].into_iter().enumerate() {
        let pad = window.pad[i];
        crate::ensure!(2 * pad <= k[i], BadValue, "`pad` is {pad}, more than half of the window's {}", k[i]);
        let span = Span1 { k: k[i], stride: window.stride[i], pad, dilation: 1 };
        let (_, formula) = span.places(name, &Dim::fixed(size))?;
        let reason = format!("has stride {}", span.stride);
        cx.sized(1 - i, name, Some(reason), formula);
    }
    Ok(window)
}

/// Combines the elements under each place of a window on `[n, c, h, w]`.
///
/// # Errors
/// What the primitive refuses.
pub(super) fn window_reduce<'b>(x: Var<'b>, combine: Combine, window: &PoolWindow) -> Result<Var<'b>, Message> {
    let window = Window { kernel: window.k, stride: window.stride, pad: window.pad };
    x.builder.apply(WindowReduce { combine, window }, &[x])
}
