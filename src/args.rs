//! The arguments of every command. Their texts are the reference of the command line.

mod bench;
mod check;
mod compile;
mod repl;
mod run;
mod shell;
mod text;

use std::ffi::OsString;

use clap::{Args, Parser, Subcommand, ValueEnum};
use netc::data::{Holdout, Spec};
use netc::pipeline::{Entry, Stage};
use netc::schedule::Algorithms;

use crate::failure::Failure;

pub use bench::BenchArgs;
pub use check::CheckArgs;
pub use compile::{CompileArgs, ProductArg};
pub use repl::ReplArgs;
pub use run::RunArgs;
pub use shell::{CompletionsArgs, ManArgs};
pub use text::{EmitArgs, FmtArgs};

/// What the end of a command says.
pub const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 the input is wrong, 2 the arguments are wrong, 3 training diverged,
4 a file could not be read or written, 101 a bug in netc, 130 interrupted, after saving.";

/// A compiler for neural networks: a text language, forward and backward passes as native code.
#[derive(Debug, Parser)]
#[command(
    name = "netc",
    version,
    max_term_width = 100,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = EXIT_CODES
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Colors: auto (by the terminal, NO_COLOR, CLICOLOR_FORCE), always or never.
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        hide_default_value = true,
        display_order = 1000
    )]
    pub color: clap::ColorChoice,
    /// Say less: no notes and no progress, only results, warnings and errors.
    #[arg(long, short, global = true, conflicts_with = "verbose", display_order = 1001)]
    pub quiet: bool,
    /// Say more on standard error: the machine and its threads, sizes, and how long each pass took.
    #[arg(long, short, global = true, display_order = 1002)]
    pub verbose: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a network; print its layers, sizes and memory.
    Check(CheckArgs),
    /// Run a network on arrays or pictures.
    Run(Box<RunArgs>),
    /// Train a network on a data set.
    Train(Box<TrainArgs>),
    /// Make native code to ship: a library with a C header, or a program.
    Compile(CompileArgs),
    /// Measure how gradients flow back through time.
    Gradients(Box<GradientsArgs>),
    /// Let a network write: text, character by character, or other tokens.
    Sample(Box<SampleArgs>),
    /// Measure how fast a network runs or trains, and where its time goes.
    Bench(Box<BenchArgs>),
    /// Print what a stage of the compiler makes of a network.
    Emit(EmitArgs),
    /// Bring files to their canonical form.
    Fmt(FmtArgs),
    /// Explain an error by its code.
    Explain(ExplainArgs),
    /// List the layers, losses and metrics, or describe one.
    Layers(LayersArgs),
    /// Build a network line by line, with its shapes and values at once.
    Repl(ReplArgs),
    /// Print a shell's completions of this command line.
    Completions(CompletionsArgs),
    /// Print or write manual pages.
    Man(ManArgs),
}

/// What names a network.
#[derive(Debug, Default, Args)]
pub struct NetArgs {
    /// The file of the network; `-` for standard input.
    pub file: String,
    /// Which net, when the file has several.
    #[arg(long, value_name = "NAME")]
    pub net: Option<String>,
    /// Override a parameter or a setting: `hidden=256`, `train.optimizer.lr=1e-4`.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
    /// Compute convolutions by `direct`, `winograd2`, `winograd4` or `auto`: all that it can compute, or those of a layer
    /// by its path, `stage1.conv1=direct`. For tests; by itself the cheapest is chosen.
    #[arg(long, value_name = "[LAYER=]ALGORITHM", conflicts_with = "math")]
    pub set_algorithm: Vec<String>,
    /// How products are summed: `fast`, or `strict` for direct summation of weights as they are, without Winograd's transforms,
    /// Strassen's sums or weights of 21 bits.
    #[arg(long, value_name = "HOW", default_value = "fast", hide_default_value = true, hide_possible_values = true)]
    pub math: MathArg,
}

/// How products are summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum MathArg {
    #[default]
    Fast,
    Strict,
}

impl NetArgs {
    /// What is asked for in place of the cheapest algorithms.
    pub fn algorithms(&self) -> Result<Algorithms, Failure> {
        if self.math == MathArg::Strict {
            return Ok(Algorithms::strict());
        }
        let mut algorithms = Algorithms::default();
        for text in &self.set_algorithm {
            algorithms.set_text(text).map_err(|error| Failure::arguments(format!("`--set-algorithm`: {error}")))?;
        }
        Ok(algorithms)
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  netc train models/lenet.net --data idx:images.gz,labels.gz --validate 20% --save lenet.safetensors\n  \
                        netc train models/lenet.net --data idx:images.gz,labels.gz --validate 20% --resume lenet.safetensors --epochs 20\n  \
                        netc train net.net --data npz:train.npz --validate npz:test.npz --log log.jsonl\n  \
                        netc train models/charlm.net --data text:book.txt --set hidden=256 --save charlm.safetensors"
)]
pub struct TrainArgs {
    #[command(flatten)]
    pub net: NetArgs,
    /// What to train on. `idx:FILE,…` takes a file in MNIST's format for each input, then each target, plain or
    /// packed with gzip, and scales pictures to [0, 1]; `npz:FILE` takes arrays named as the inputs and targets, and
    /// lengths named as a sequence axis; `text:FILE` takes the characters of a text, each to tell the next.
    #[arg(long, value_name = "SPEC")]
    pub data: Spec,
    /// What to validate on after each epoch: data as above, the last part of the training data: `20%`, or `none`
    /// [default: none, for a text 10%].
    #[arg(long, value_name = "SPEC|PERCENT")]
    pub validate: Option<Holdout>,
    /// Epochs in all [default: the file's].
    #[arg(long, value_name = "N", value_parser = count)]
    pub epochs: Option<usize>,
    /// Examples a step, or streams that a text is cut into [default: the file's].
    #[arg(long, value_name = "N", value_parser = count)]
    pub batch: Option<usize>,
    /// The seed of initial values, order and dropout [default: the file's].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Threads that share the work; results do not depend on it [default: the machine's cores].
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    /// Write a line of JSON an epoch; a resumed training adds to it.
    #[arg(long, value_name = "FILE")]
    pub log: Option<String>,
    /// Write the parameters, and what going on needs, after every epoch [with --resume: to its file].
    #[arg(long, value_name = "FILE")]
    pub save: Option<String>,
    /// Save the parameters alone: smaller, and no training can go on from them.
    #[arg(long, conflicts_with = "resume")]
    pub weights_only: bool,
    /// Start from these parameters.
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    pub weights: Option<String>,
    /// Go on with a training that was saved, as if it had never stopped.
    #[arg(long, value_name = "FILE")]
    pub resume: Option<String>,
    /// Print lines of JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Tell on standard error how long each pass took.
    #[arg(long)]
    pub time: bool,
    #[command(flatten)]
    pub pictures: PictureArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  netc gradients models/flow_lstm.net --length 100 --plot flow.svg\n  \
                        netc gradients models/charlm.net --data text:book.txt --weights charlm.safetensors --length 200")]
pub struct GradientsArgs {
    #[command(flatten)]
    pub net: NetArgs,
    /// The data, as for `netc train`; of them the first batch is taken [default: random numbers and tokens].
    #[arg(long, value_name = "SPEC")]
    pub data: Option<Spec>,
    /// Trained parameters; without them they have their initial values.
    #[arg(long, value_name = "FILE")]
    pub weights: Option<String>,
    /// The steps of the sequences [default: those of the data; for a text `tbptt`, for random numbers 100].
    #[arg(long, value_name = "N", value_parser = count)]
    pub length: Option<usize>,
    /// Examples, or streams of a text [default: the file's].
    #[arg(long, value_name = "N", value_parser = count)]
    pub batch: Option<usize>,
    /// The seed of initial values and random data [default: the file's].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Draw the norms over the steps back, on a logarithmic axis.
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Threads that share the work; results do not depend on it [default: the machine's cores].
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub pictures: PictureArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  netc sample models/charlm.net --weights charlm.safetensors --prompt \"ROMEO:\" --length 300\n  \
                        netc sample models/charlm.net --weights charlm.safetensors --temperature 0.5 --seed 7\n  \
                        netc sample models/seq2seq.net --weights w.safetensors --input source=\"4 8 15 16\""
)]
pub struct SampleArgs {
    #[command(flatten)]
    pub net: NetArgs,
    /// Trained parameters, with the characters that they were trained on.
    #[arg(long, value_name = "FILE")]
    pub weights: String,
    /// What to go on from; numbers where the weights know no characters [default: a new line].
    #[arg(long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// How many tokens to draw at most [default: the file's].
    #[arg(long, value_name = "N", value_parser = count)]
    pub length: Option<usize>,
    /// Below 1 likely tokens become likelier, above 1 all become alike; 0 takes the likeliest [default: the file's].
    #[arg(long, value_name = "X", value_parser = temperature)]
    pub temperature: Option<f64>,
    /// Draw from the K likeliest alone [default: the file's].
    #[arg(long, value_name = "K", value_parser = count)]
    pub top_k: Option<usize>,
    /// The same seed draws the same tokens [default: the file's].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// An input beside the one that is fed: a file as for `netc run`, or text where it takes tokens.
    #[arg(long, short, value_name = "NAME=FILE|TEXT")]
    pub input: Vec<String>,
    /// Threads that share the work; results do not depend on it [default: the machine's cores].
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    /// Print JSON, when all is drawn.
    #[arg(long)]
    pub json: bool,
}

/// How pictures become numbers.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pictures")]
pub struct PictureArgs {
    /// Bring a picture to the input's size: stretch it, crop its middle, or pad it with a margin.
    #[arg(long, value_name = "HOW", default_value = "stretch", hide_possible_values = true)]
    pub resize: ResizeArg,
    /// Make light dark, for dark digits on paper where the network learned light ones on black.
    #[arg(long)]
    pub invert: bool,
    /// Subtract this from pictures scaled to [0, 1]: one number, or one for each channel.
    #[arg(long, value_name = "X,…", value_delimiter = ',', allow_hyphen_values = true)]
    pub mean: Vec<f32>,
    /// Then divide by this.
    #[arg(long, value_name = "X,…", value_delimiter = ',')]
    pub std: Vec<f32>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  netc explain shape-mismatch")]
pub struct ExplainArgs {
    /// The code in the brackets of an error; without it, all codes are listed.
    pub code: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  netc layers\n  netc layers conv")]
pub struct LayersArgs {
    /// The layer, loss or metric.
    pub name: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ResizeArg {
    Stretch,
    Crop,
    Pad,
}

/// A stage by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageArg(pub Stage);

impl ValueEnum for StageArg {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [StageArg; Stage::ALL.len()] = {
            let mut all = [StageArg(Stage::Ast); Stage::ALL.len()];
            let mut at = 0;
            while at < all.len() {
                all[at] = StageArg(Stage::ALL[at]);
                at += 1;
            }
            all
        };
        &ALL
    }
    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.0.name()))
    }
}

/// An entry by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryArg(pub Entry);

impl ValueEnum for EntryArg {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [EntryArg; 5] = [
            EntryArg(Entry::Forward),
            EntryArg(Entry::Evaluate),
            EntryArg(Entry::Gradients),
            EntryArg(Entry::Flow),
            EntryArg(Entry::TrainStep),
        ];
        &ALL
    }
    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.0.name()))
    }
}

/// `--color` before everything is parsed, so that errors of the arguments follow it.
pub fn color(args: impl Iterator<Item = OsString>) -> clap::ColorChoice {
    let args: Vec<String> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    let value = args.iter().enumerate().find_map(|(at, arg)| match arg.strip_prefix("--color") {
        Some("") => args.get(at + 1).map(String::as_str),
        Some(value) => value.strip_prefix('='),
        None => None,
    });
    value.and_then(|value| clap::ColorChoice::from_str(value, false).ok()).unwrap_or_default()
}

/// Whether the arguments ask for JSON, before everything is parsed.
pub fn json(args: impl Iterator<Item = OsString>) -> bool {
    args.take_while(|arg| arg != "--").any(|arg| arg == "--json")
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("write `NAME=VALUE`".to_owned()),
    }
}

fn length(text: &str) -> Result<(String, usize), String> {
    let (name, value) = pair(text).map_err(|_| "write `AXIS=N`, `T=100`")?;
    Ok((name, count(&value)?))
}

/// A whole number from 1; the largest is beyond any memory.
fn count(text: &str) -> Result<usize, String> {
    match text.replace('_', "").parse::<usize>() {
        Ok(n) if (1..=1 << 40).contains(&n) => Ok(n),
        _ => Err("write a whole number from 1".to_owned()),
    }
}

fn temperature(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err("write a number from 0".to_owned()),
    }
}

fn threads(text: &str) -> Result<usize, String> {
    count(text).ok().filter(|n| *n <= 1024).ok_or_else(|| "write a number from 1 to 1024".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::{Cli, color};

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn color_is_known_early() {
        let of = |args: &[&str]| color(args.iter().map(Into::into));
        assert_eq!(of(&["netc", "--color", "never", "check"]), clap::ColorChoice::Never);
        assert_eq!(of(&["netc", "check", "--color=always"]), clap::ColorChoice::Always);
        assert_eq!(of(&["netc", "check", "--color"]), clap::ColorChoice::Auto);
    }
}
