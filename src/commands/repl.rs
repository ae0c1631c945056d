//! `netc repl`: a net that is built line by line.

use crate::args::{NetArgs, ReplArgs};
use crate::commands::train::on_interrupt;
use crate::failure::Failure;
use crate::output::Output;
use crate::repl::{Choices, Repl, editor};

pub fn run(args: &ReplArgs, output: &mut Output) -> Result<(), Failure> {
    let choices = Choices { seed: args.seed, threads: args.threads };
    let mut repl = Repl::new(output, choices, on_interrupt()?);
    if let Some(file) = &args.file {
        let net = NetArgs { file: file.clone(), net: args.net.clone(), set: args.set.clone(), ..NetArgs::default() };
        repl.begin(&net, args.weights.as_deref())?;
    }
    if editor::is_terminal() { editor::interactive(&mut repl) } else { editor::script(&mut repl, args.echo) }
}
