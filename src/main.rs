//! The command line: arguments in, reports out. All input and output of netc is here and in `netc::data`.
#![expect(unreachable_pub, reason = "a program has no outside: `pub` says what a file offers to the others")]

mod args;
mod clock;
mod commands;
mod failure;
mod network;
mod number;
mod output;
mod random;
mod repl;
mod sparkline;
mod table;

use std::panic;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use failure::Failure;
use output::{Manner, Output};

fn main() -> ExitCode {
    panic::set_hook(Box::new(output::report_bug));
    output::choose_color(args::color(std::env::args_os()));
    let json = args::json(std::env::args_os());
    let cli = Cli::try_parse();
    let (quiet, verbose) = cli.as_ref().map_or((false, false), |cli| (cli.quiet, cli.verbose));
    output::choose_manner(Manner { quiet, verbose, json });
    let cli = match cli {
        Ok(cli) => cli,
        Err(error) if json && error.use_stderr() => {
            return Failure::arguments(error.render().to_string().trim_start_matches("error: ")).report();
        }
        Err(error) => {
            // Help and the version go to standard output, all else to standard error; a closed pipe is quiet.
            let _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    let mut output = Output::new();
    match run(cli.command, &mut output).and_then(|()| output.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // What was said before it stands before it; a pipe that is closed is not the failure to tell.
            let _ = output.flush();
            failure.report()
        }
    }
}

fn run(command: Command, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Check(args) => commands::check::run(&args, output),
        Command::Run(args) => commands::run::run(&args, output),
        Command::Train(args) => commands::train::run(&args, output),
        Command::Sample(args) => commands::sample::run(&args, output),
        Command::Compile(args) => commands::compile::run(&args, output),
        Command::Gradients(args) => commands::gradients::run(&args, output),
        Command::Bench(args) => commands::bench::run(&args, output),
        Command::Emit(args) => commands::emit::run(&args, output),
        Command::Fmt(args) => commands::fmt::run(&args, output),
        Command::Explain(args) => commands::explain::run(&args, output),
        Command::Layers(args) => commands::layers::run(&args, output),
        Command::Repl(args) => commands::repl::run(&args, output),
        Command::Completions(args) => commands::shell::completions(&args, output),
        Command::Man(args) => commands::shell::man(&args, output),
    }
}
