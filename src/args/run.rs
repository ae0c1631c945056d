//! The arguments of `netc run`.

use clap::Args;

use super::{NetArgs, PictureArgs, count, threads};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  netc run models/digits.net --weights models/digits/digits.safetensors --input models/digits/seven.png --top 3\n  \
                        netc run net.net --input image=cat.jpg --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --resize crop --top 5\n  \
                        netc run net.net --input a=a.npy --input b=arrays.npz:b --output out.npz"
)]
pub struct RunArgs {
    #[command(flatten)]
    pub net: NetArgs,
    /// A file for an input: .npy, .npz (`FILE.npz:ARRAY` names an array), .png or .jpg. The name may be left out
    /// when there is one input. An array with one axis more than the input is a batch, and so are several files.
    #[arg(long, short, value_name = "NAME=PATH", required = true)]
    pub input: Vec<String>,
    /// Trained parameters; without them they have their initial values.
    #[arg(long, value_name = "FILE")]
    pub weights: Option<String>,
    /// Write an output to an .npy or .npz; without a name, all of them to an .npz, or the only one to an .npy.
    #[arg(long, short, value_name = "[NAME=]FILE")]
    pub output: Vec<String>,
    /// Print the K likeliest classes and their probabilities.
    #[arg(long, value_name = "K", value_parser = count)]
    pub top: Option<usize>,
    /// The names of the classes, one a line.
    #[arg(long, value_name = "FILE", requires = "top")]
    pub labels: Option<String>,
    /// The seed of initial values [default: the file's].
    #[arg(long, value_name = "N", conflicts_with = "weights")]
    pub seed: Option<u64>,
    /// Threads that share the work; results do not depend on it [default: the machine's cores].
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Tell on standard error how long each pass and the run took.
    #[arg(long)]
    pub time: bool,
    #[command(flatten)]
    pub pictures: PictureArgs,
}
