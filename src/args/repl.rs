//! The arguments of `netc repl`.

use clap::Args;

use super::{pair, threads};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  netc repl\n  netc repl models/digits.net --weights models/digits/digits.safetensors\n  \
                        netc repl --echo < session.repl\n\n\
                        Lines are statements of a net, definitions, or commands that begin with `:`; `:help` lists them.\n\
                        A script that is piped in stops at its first mistake, with that mistake's exit code."
)]
pub struct ReplArgs {
    /// A file to go on with; its net is the one that is built.
    pub file: Option<String>,
    /// Which net, when the file has several.
    #[arg(long, value_name = "NAME", requires = "file")]
    pub net: Option<String>,
    /// Override a parameter or a setting: `hidden=256`, `train.optimizer.lr=1e-4`.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair, requires = "file")]
    pub set: Vec<(String, String)>,
    /// Trained parameters; without them they have their initial values.
    #[arg(long, value_name = "FILE", requires = "file")]
    pub weights: Option<String>,
    /// The seed of initial values and random inputs [default: the file's].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Threads that share the work; results do not depend on it [default: the machine's cores].
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    /// Repeat the lines of a script before their answers.
    #[arg(long)]
    pub echo: bool,
}
