//! The arguments of commands on the text of a network.

use clap::Args;

use super::{EntryArg, NetArgs, StageArg};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  netc emit models/lenet.net --stage graph\n  \
                        netc emit models/lenet.net --stage clif --entry train_step -o lenet.clif")]
pub struct EmitArgs {
    #[command(flatten)]
    pub net: NetArgs,
    /// Which stage: ast, graph, backward, simplified, kernels, plan, clif or asm.
    #[arg(long, value_name = "STAGE", hide_possible_values = true)]
    pub stage: StageArg,
    /// Which entry: forward, evaluate, gradients, flow or train_step [default: forward, for `backward` gradients].
    #[arg(long, hide_possible_values = true)]
    pub entry: Option<EntryArg>,
    /// Write to a file.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  netc fmt models/*.net\n  netc fmt --check models/*.net\n  netc fmt - < lenet.net")]
pub struct FmtArgs {
    /// Files to format in place; `-` formats standard input to standard output.
    #[arg(required_unless_present = "stdin", value_name = "FILE")]
    pub files: Vec<String>,
    /// Change nothing; list the files that are not formatted, and exit with 1 if there are any.
    #[arg(long)]
    pub check: bool,
    /// The same as `-`.
    #[arg(long, conflicts_with = "files")]
    pub stdin: bool,
}
