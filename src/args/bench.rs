//! The arguments of `netc bench`.

use clap::Args;

use super::{NetArgs, count, threads};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  netc bench models/vgg16.net --threads 1 --profile\n  netc bench models/charlm.net --train --length 50"
)]
pub struct BenchArgs {
    #[command(flatten)]
    pub net: NetArgs,
    /// Members of a batch [default: 1, and the file's to train].
    #[arg(long, value_name = "N", value_parser = count)]
    pub batch: Option<usize>,
    /// The steps of sequences.
    #[arg(long, value_name = "N", value_parser = count, default_value = "100")]
    pub length: usize,
    /// Threads that share the work [default: the machine's cores].
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    /// Measure training steps instead of forward passes.
    #[arg(long)]
    pub train: bool,
    /// Show the time of each layer, and what bounds it.
    #[arg(long)]
    pub profile: bool,
    /// Trained parameters; without them they have their initial values.
    #[arg(long, value_name = "FILE")]
    pub weights: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
