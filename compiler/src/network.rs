//! Network: a checked network, what `elaborate` makes of a file and all later stages start from.

use crate::diag::Span;
use crate::graph::{Graph, OutputRole};
use crate::schedule::Algorithms;
use crate::types::{Dim, Extents, Symbol, TensorType};
pub use netc_runtime::artifact::description::{Columns, Initial};

/// Everything known about one `net`. Nothing after it can fail on a user's input.
#[derive(Debug, Clone)]
pub struct Network {
    /// What follows `net`.
    pub name: String,
    /// Inputs first, then targets, each in the order written.
    pub ports: Vec<Port>,
    /// In the order of first use.
    pub parameters: Vec<Parameter>,
    /// What changes in training but has no gradient: running statistics.
    pub states: Vec<StateVariable>,
    /// One entry for each layer used, in the order of the flow.
    pub layers: Vec<LayerUse>,
    /// The network as it infers: dropout is the identity, normalization uses running statistics.
    /// Its outputs are the network's outputs, then the loss and the metrics where the file has them.
    pub inference: Graph,
    /// The network as it trains: the same outputs, and an update for each state. The key of its random
    /// numbers is the source [`KEY`].
    pub training: Graph,
    /// The names of the sequence axes, in the order of the file. The graphs read the mask of each as a source of the
    /// role `Mask`, where a length may matter.
    pub axes: Vec<String>,
    /// What `train NAME { }` says, with defaults and overrides.
    pub settings: TrainSettings,
    /// What `generate NAME { }` says, when the file has it.
    pub generate: Option<Generate>,
    /// The overrides that were used, for the checkpoint: `hidden=256`.
    pub overrides: Vec<(String, String)>,
    /// How convolutions are computed, where it is not left to their cost.
    pub algorithms: Algorithms,
    /// What the last statement gives, where a net that is still being written was looked at so.
    pub last: Option<LastValue>,
}

/// What a statement gives.
#[derive(Debug, Clone, PartialEq)]
pub enum LastValue {
    /// The last output of the graph `inference`, of this shape without the batch.
    Output(Vec<Dim>),
    /// A value that is no output, for it has no batch, holds tokens or depends on a target; its shape without the batch.
    Inner(Vec<Dim>),
    /// What is known when the file is compiled: `[32, 64]`, `a layer`.
    Known(String),
}

impl Network {
    /// Whether it can be trained and evaluated.
    pub fn has_loss(&self) -> bool {
        self.inference.outputs.iter().any(|output| output.role == OutputRole::Loss)
    }
    /// Sizes of a step of training, as far as the file says: those of a batch and of a window, or else [`STEPS`] steps of a sequence.
    pub(crate) fn usual_sizes(&self) -> Extents {
        let mut extents = Extents::with_batch(self.settings.batch);
        for axis in &self.axes {
            extents.set(Symbol::Axis(axis.as_str().into()), self.settings.tbptt.unwrap_or(STEPS));
        }
        extents
    }
}

/// What is taken for the length of a sequence that is not known: few steps.
const STEPS: usize = 16;

/// The name of the source that holds the two words of the random numbers' key: seed and step.
pub const KEY: &str = "key";
/// The name of the source that holds the learning rate.
pub const LEARNING_RATE: &str = "lr";
/// The name of the source that holds the number of the training step, from 1.
pub const STEP: &str = "step";

/// The name of the metric of a training step that is the gradients' global L2 norm before they are clipped by it.
pub const GRADIENT_NORM: &str = "gradient_norm";

/// An input or target of the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    /// As the file calls it.
    pub name: String,
    /// Whether the loss alone reads it.
    pub is_target: bool,
    /// With the batch axis first.
    pub ty: TensorType,
    /// For tokens, how many there are; values are checked against it before a call.
    pub vocabulary: Option<usize>,
}

/// A trained tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its stable path: `stage2.basic1.conv1.weight`.
    pub path: String,
    /// Of fixed sizes.
    pub shape: Vec<usize>,
    /// How it begins.
    pub initial: Initial,
    /// Whether weight decay applies: to matrices and kernels, and, as the field's optimizers do, to all else too.
    pub span: Option<Span>,
}

/// A tensor that a training step replaces without a gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct StateVariable {
    /// Its stable path: `stage2.bn1.running_mean`.
    pub path: String,
    /// Of fixed sizes.
    pub shape: Vec<usize>,
    /// What all of it begins with.
    pub initial: f64,
}

/// A row of `netc check`.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerUse {
    /// Its stable path: `stage2.basic1.conv1`.
    pub path: String,
    /// As written, without arguments: `conv3x3`, `maxpool2x2`, `basic`.
    pub kind: String,
    /// The output's shape without the batch axis.
    pub shape: Vec<Dim>,
    /// Trained numbers, those of layers inside included.
    pub n_parameters: usize,
    /// Multiply-accumulates for one member of the batch; a named size stands for itself.
    pub multiply_accumulates: Dim,
    /// Bytes of its output for one member of the batch.
    pub activation_bytes: Dim,
    /// The size formula worked with its numbers: `floor((224 + 2*1 - 3) / 1) + 1 = 224`.
    pub explanation: Vec<String>,
    /// Where it is written.
    pub span: Span,
}

/// What `train NAME { }` may say.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainSettings {
    /// How a gradient becomes a step.
    pub optimizer: Optimizer,
    /// How the learning rate changes from epoch to epoch.
    pub schedule: Schedule,
    /// What is done with large gradients.
    pub clip: Option<Clip>,
    /// Examples in a step.
    pub batch: usize,
    /// How often all examples are seen.
    pub epochs: usize,
    /// Of initial values, dropout and the order of examples.
    pub seed: u64,
    /// Steps between cuts of the gradient; for recurrent networks.
    pub tbptt: Option<usize>,
}

/// What `generate NAME { }` says: how the network writes a sequence, each step from those before.
#[derive(Debug, Clone, PartialEq)]
pub struct Generate {
    /// The input that what was drawn is fed to: `text` of `feed text <- sample(logits)`.
    pub input: String,
    /// The output that it is drawn from: scores for each token.
    pub output: String,
    /// How a token is drawn.
    pub draw: Draw,
    /// Ends after this token.
    pub until: Option<usize>,
    /// Ends after so many steps.
    pub length: usize,
}

/// How a token is chosen from scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Draw {
    /// The greatest.
    ArgMax,
    /// From `softmax(scores / temperature)`, of the `top_k` greatest alone where that is said.
    Sample {
        /// Divides the scores; positive.
        temperature: f64,
        /// How many of the greatest scores take part; `None` is all.
        top_k: Option<usize>,
    },
}

/// How a gradient becomes a step, as PyTorch defines each.
#[derive(Debug, Clone, PartialEq)]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd {
        /// The learning rate.
        lr: f64,
        /// The share of the last step that is kept.
        momentum: f64,
        /// Whether the gradient is looked at ahead of the step (Nesterov 1983).
        nesterov: bool,
        /// The share of a parameter that is taken off it.
        weight_decay: f64,
    },
    /// Kingma and Ba 2015; decoupled, Loshchilov and Hutter 2019.
    Adam {
        /// The learning rate.
        lr: f64,
        /// The share of the first moment that is kept.
        beta1: f64,
        /// The share of the second moment that is kept.
        beta2: f64,
        /// Added to what is divided by.
        epsilon: f64,
        /// The share of a parameter that is taken off it.
        weight_decay: f64,
        /// Whether weights decay apart from the moments (AdamW).
        decoupled: bool,
    },
    /// Hinton 2012.
    RmsProp {
        /// The learning rate.
        lr: f64,
        /// The share of the mean square that is kept.
        alpha: f64,
        /// Added to what is divided by.
        epsilon: f64,
        /// The share of the last step that is kept.
        momentum: f64,
        /// The share of a parameter that is taken off it.
        weight_decay: f64,
    },
    /// Duchi et al. 2011.
    AdaGrad {
        /// The learning rate.
        lr: f64,
        /// Added to what is divided by.
        epsilon: f64,
        /// The share of a parameter that is taken off it.
        weight_decay: f64,
    },
}

impl Optimizer {
    /// As the file calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Optimizer::Sgd { .. } => "sgd",
            Optimizer::Adam { decoupled: true, .. } => "adamw",
            Optimizer::Adam { decoupled: false, .. } => "adam",
            Optimizer::RmsProp { .. } => "rmsprop",
            Optimizer::AdaGrad { .. } => "adagrad",
        }
    }
    /// The learning rate before any schedule.
    pub fn lr(&self) -> f64 {
        match self {
            Optimizer::Sgd { lr, .. }
            | Optimizer::Adam { lr, .. }
            | Optimizer::RmsProp { lr, .. }
            | Optimizer::AdaGrad { lr, .. } => *lr,
        }
    }
}

/// How the learning rate changes, epoch by epoch, after a linear warm-up.
#[derive(Debug, Clone, PartialEq)]
pub enum Schedule {
    /// The optimizer's.
    Constant,
    /// Times `factor` every so many epochs.
    Step {
        /// Epochs between two changes.
        every: usize,
        /// What the rate is multiplied by.
        factor: f64,
    },
    /// Times `factor` each epoch.
    Exponential {
        /// What the rate is multiplied by.
        factor: f64,
    },
    /// Half a cosine from the optimizer's rate to `floor` (Loshchilov and Hutter 2017).
    Cosine {
        /// How long it takes.
        epochs: usize,
        /// The rate that it ends with.
        floor: f64,
    },
    /// Linear from 0 over so many epochs, then constant.
    WarmUp {
        /// How long it takes.
        epochs: usize,
    },
    /// By `factor` when the validation loss has not improved for `patience` epochs.
    Plateau {
        /// What the rate is multiplied by.
        factor: f64,
        /// Epochs without progress before it changes.
        patience: usize,
    },
}

/// What is done with large gradients before the optimizer's step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Clip {
    /// All gradients are scaled so that their global L2 norm is at most this.
    Norm(f64),
    /// Each element is kept within plus and minus this.
    Value(f64),
}
