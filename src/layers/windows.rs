//! Convolutions and pools, on values with any leading axes.

use super::args::Args;
use super::cx::LayerCx;
use super::initial::{Fans, Init};
use super::support::{Span1, fold, lead, lead_dims, map_features, unfold};
use crate::diag::Message;
use crate::graph::Var;
use crate::kernel::{Combine, Direction};
use crate::ops::{Convolution, Window, WindowReduce};
use crate::types::Dim;

/// How a convolution's window moves.
#[derive(Debug, Clone, Copy)]
pub struct Geometry2 {
    pub stride: [usize; 2],
    pub pad: [usize; 2],
    pub dilation: [usize; 2],
    pub groups: usize,
}

/// A convolution with a weight of shape `[out, in / groups, kh, kw]` and, where asked for, a bias; counts and explains.
///
/// # Errors
/// When the weight is too large, or a shared one of another shape.
pub fn convolution<'b>(
    cx: &mut LayerCx<'_, 'b>,
    x: Var<'b>,
    weight_shape: &[usize; 4],
    geometry: Geometry2,
    args: &Args<'b>,
) -> Result<Var<'b>, Message> {
    let [n, per_group, kh, kw] = *weight_shape;
    let fans = Fans {
        inputs: per_group.saturating_mul(kh).saturating_mul(kw),
        outputs: (n / geometry.groups).saturating_mul(kh).saturating_mul(kw),
    };
    let init = args.find_initial("init").unwrap_or(Init::default_for(args.find_activation("act").as_deref()));
    let weight = cx.parameter("weight", weight_shape, init, fans)?;
    let Geometry2 { stride, pad, dilation, groups } = geometry;

    // The leading axes of `x` that are no batch and no sequence are the map's three.
    let outer = lead_dims(x);
    let (folded, folded_axes) = fold(x);
    let shape = folded.shape();
    let image = [shape[2].clone(), shape[3].clone()];
    let op = Convolution { direction: Direction::Forward, kernel: [kh, kw], stride, pad, dilation, groups, image };
    let product = cx.builder.apply(op, &[folded, weight])?;
    let mut y = unfold(product, &folded_axes);

    let mut sum = format!("{per_group} x {kh} x {kw} x {n}");
    let mut n_parameters = per_group * kh * kw * n;
    if args.flag("bias") {
        y = y + cx.parameter("bias", &[n], Init::Constant(0.0), fans)?.reshape(&[Dim::fixed(n), Dim::ONE, Dim::ONE]);
        sum += &format!(" + {n}");
        n_parameters += n;
    }
    cx.explain(format!("{sum} = {n_parameters} parameters"));
    let shape = y.shape();
    let places = &shape[lead(&shape) + 1..];
    let each = places.iter().filter_map(Dim::as_fixed).fold(per_group * kh * kw * n, usize::saturating_mul);
    cx.count(&outer, each);
    Ok(y)
}

/// A pool's window.
#[derive(Debug, Clone, Copy)]
pub struct PoolWindow {
    pub k: [usize; 2],
    pub stride: [usize; 2],
    pub pad: [usize; 2],
}

/// The window that a pool's arguments ask for; explains the sizes of its result.
///
/// # Errors
/// When the value is no map, the window larger than it, or windows could lie outside of it.
pub fn pool_window<'b>(
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
pub fn window_reduce<'b>(x: Var<'b>, combine: Combine, window: &PoolWindow) -> Result<Var<'b>, Message> {
    let window = Window { kernel: window.k, stride: window.stride, pad: window.pad };
    x.builder.apply(WindowReduce { combine, window }, &[x])
}
