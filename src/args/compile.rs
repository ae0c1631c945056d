//! The arguments of `netc compile`.

use clap::{Args, ValueEnum};
use netc::artifact::Target;

use super::NetArgs;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  netc compile models/lenet.net\n  \
                        netc compile models/digits.net --embed-weights models/digits/digits.safetensors -o digits.so\n  \
                        netc compile models/lenet.net --train -o build/lenet.a\n  \
                        netc compile models/lenet.net --emit exe\n  \
                        netc compile models/lenet.net --target aarch64-apple-darwin\n\n\
                        A C program is built with `cc main.c liblenet.a -lm -lpthread`.")]
pub struct CompileArgs {
    #[command(flatten)]
    pub net: NetArgs,
    /// What to write, unless the ending of --output says it: lib (a static library), shared (a library that is loaded),
    /// object, header or exe (a program); a header goes with each library and object file [default: lib, for another
    /// machine object].
    #[arg(long, value_name = "WHAT", hide_possible_values = true)]
    pub emit: Option<ProductArg>,
    /// Where to write it: a name ending in .a, .so, .dylib, .o or .h says what it is; `-` prints a header [default: in
    /// this folder].
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<String>,
    /// Add the training step, the loss and the optimizer.
    #[arg(long)]
    pub train: bool,
    /// Put these parameters inside; without them, instances begin with initial values or load a file.
    #[arg(long, value_name = "FILE")]
    pub embed_weights: Option<String>,
    /// Another machine: x86_64 or aarch64, then -unknown-linux-gnu, -unknown-linux-musl or -apple-darwin.
    #[arg(long, value_name = "TRIPLE", value_parser = target)]
    pub target: Option<Target>,
    /// What the network is called in C, in front of all its names [default: its name].
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// What `netc compile` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProductArg {
    Lib,
    Shared,
    Object,
    Header,
    Exe,
}

fn target(name: &str) -> Result<Target, String> {
    Target::find(name).ok_or_else(|| {
        let all: Vec<&str> = Target::all().map(Target::name).collect();
        format!("there are {}", all.join(", "))
    })
}
