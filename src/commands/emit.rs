//! `netc emit`: what a stage of the compiler makes of a network.

use std::path::Path;

use netc::data::file;
use netc::network::Network;
use netc::pipeline::{Entry, Observer, Stage, compile, lower};

use crate::args::{EmitArgs, NetArgs};
use crate::clock::Capture;
use crate::failure::{Exit, Failure};
use crate::network;
use crate::output::Output;

pub fn run(args: &EmitArgs, output: &mut Output) -> Result<(), Failure> {
    let text = stage(&args.net, args.stage.0, args.entry.map(|entry| entry.0))?;
    match &args.output {
        Some(path) => Ok(file::write(Path::new(path), |file| file.write_all(text.as_bytes()))?),
        None => output.text(text),
    }
}

/// The text of a stage, with a newline at its end.
pub fn stage(net: &NetArgs, stage: Stage, entry: Option<Entry>) -> Result<String, Failure> {
    stage_of(|observer| network::load(net, &[], observer), stage, entry)
}

/// The same of a network from elsewhere.
pub fn stage_of(
    load: impl FnOnce(&mut dyn Observer) -> Result<Network, Failure>,
    stage: Stage,
    entry: Option<Entry>,
) -> Result<String, Failure> {
    let mut capture = Capture { stage, text: None };
    let network = load(&mut capture)?;
    let default = if stage == Stage::Backward { Entry::Gradients } else { Entry::Forward };
    let entry = entry.unwrap_or(default);
    if entry != Entry::Forward && !network.has_loss() {
        let message = format!("`{}` has no `loss`, so it has no entry `{}`", network.name, entry.name());
        return Err(Failure::new(Exit::Input, message));
    }
    match stage {
        Stage::Ast => {}
        Stage::Graph | Stage::Backward | Stage::Simplified | Stage::Kernels | Stage::Plan => {
            lower(&network, entry, &mut capture);
        }
        Stage::Clif | Stage::Asm => {
            compile(&network, entry, &mut capture);
        }
    }
    let mut text = capture.text.expect("every stage is shown to the observer");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}
