//! The arguments of `netc check`.

use clap::Args;

use super::{EntryArg, NetArgs, StageArg, count, length};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  netc check models/vgg16.net\n  netc check models/lenet.net --set classes=26 --batch 64\n  \
                        netc check models/textcnn.net --length T=100 --explain"
)]
pub struct CheckArgs {
    #[command(flatten)]
    pub net: NetArgs,
    /// The batch to tell activations and workspaces for [default: 1, and the file's to train].
    #[arg(long, value_name = "N", value_parser = count)]
    pub batch: Option<usize>,
    /// The length of a sequence axis, where numbers depend on it: `T=100`.
    #[arg(long, value_name = "AXIS=N", value_parser = length)]
    pub length: Vec<(String, usize)>,
    /// Work the size formula of each layer with its numbers.
    #[arg(long)]
    pub explain: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Print what a stage makes instead: ast, graph, backward, simplified, kernels, plan, clif, asm.
    #[arg(long, value_name = "STAGE", hide_possible_values = true, conflicts_with_all = ["json", "explain"])]
    pub emit: Option<StageArg>,
    /// The entry for `--emit`: forward, evaluate, gradients, flow or train_step.
    #[arg(long, requires = "emit", hide_possible_values = true)]
    pub entry: Option<EntryArg>,
    /// Tell on standard error how long each pass took.
    #[arg(long)]
    pub time: bool,
}
