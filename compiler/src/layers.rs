//! Layers, losses, metrics and optimizers: functions that compose primitives. None has a gradient or kernel of its own.
//!
//! To add a layer: write `layers/<name>.rs` with its `LAYER`, then its line below.

mod args;
mod attend;
mod classes;
mod cx;
pub mod initial;
pub mod optimizer;
mod support;
mod table;
mod windows;

pub use args::{Arg, Args};
pub use cx::{Apart, LayerCx, Mode, Report, Size, Store};
pub use support::{features, lead, show_user_shape, user_shape};
pub use table::{Argument, Bounds, Class, Kind, Layer, LayerDoc, Preset, Tokens};

/// What every layer's file needs.
mod prelude {
    pub(super) use super::args::Args;
    pub(super) use super::cx::LayerCx;
    pub(super) use super::initial::{Fans, Init};
    pub(super) use super::support::{features, fold, lead, lead_dims, show_user_shape, unfold};
    pub(super) use super::table::{ACT, Argument, Bounds, Class, INIT, Kind, Layer, LayerDoc, Preset};
    pub(super) use crate::diag::{Code, Message};
    pub(super) use crate::ensure;
    pub(super) use crate::graph::Var;
    pub(super) use crate::types::{Dim, TensorType};
}

macro_rules! layers {
    ($($name:ident),* $(,)?) => {
        $(mod $name;)*
        const LAYERS: &[&Layer] = &[$(&$name::LAYER),*];
    };
}

layers! {
    accuracy,
    adaptive_avgpool,
    attention,
    avgpool,
    batchnorm,
    binary_cross_entropy,
    conv,
    conv1d,
    cross_entropy,
    dense,
    dropout,
    elu,
    embed,
    exp,
    flatten,
    gelu,
    global_avgpool,
    global_maxpool,
    groupnorm,
    hard_sigmoid,
    hard_swish,
    hardtanh,
    huber,
    identity,
    kl,
    l1,
    last,
    layernorm,
    leaky_relu,
    local_response_norm,
    log_softmax,
    mae,
    max_over,
    maxpool,
    mean_over,
    mse,
    multi_head_attention,
    nll,
    perplexity,
    relu,
    relu6,
    reshape,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
    top,
    transpose,
    upsample,
}

/// Every layer, loss and metric, in alphabetical order.
pub fn all() -> &'static [&'static Layer] {
    LAYERS
}

/// The layer of that name, without its window.
pub fn find(name: &str) -> Option<&'static Layer> {
    LAYERS.iter().copied().find(|layer| layer.name == name)
}
