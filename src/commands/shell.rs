//! `netc completions` and `netc man`: the command line tells shells and manuals what it takes.

use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use netc::data::file;

use crate::args::{Cli, CompletionsArgs, ManArgs};
use crate::failure::Failure;
use crate::output::Output;

/// What a script finds in `$?`.
const EXITS: [(&str, &str); 7] = [
    ("0", "It is done."),
    ("1", "The input is wrong: a network, data, weights."),
    ("2", "The arguments are wrong."),
    ("3", "A training diverged."),
    ("4", "A file could not be read or written."),
    ("101", "A bug in netc, which says what to report."),
    ("130", "It was interrupted, after saving what there was to save."),
];

pub fn completions(args: &CompletionsArgs, output: &mut Output) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "netc", &mut text);
    output.text(String::from_utf8_lossy(&text))
}

pub fn man(args: &ManArgs, output: &mut Output) -> Result<(), Failure> {
    let mut netc = Cli::command();
    netc.build();
    let Some(folder) = &args.folder else { return output.text(page(&netc, "netc")) };
    let folder = Path::new(folder);
    std::fs::create_dir_all(folder).map_err(|error| file::failed(folder, &error))?;
    let commands = netc.get_subcommands().filter(|command| command.get_name() != "help");
    let names = commands.map(|command| (command, format!("netc-{}", command.get_name())));
    for (command, name) in std::iter::once((&netc, "netc".to_owned())).chain(names) {
        let text = page(command, &name);
        file::write(&folder.join(format!("{name}.1")), |file| file.write_all(text.as_bytes()))?;
    }
    Ok(())
}

/// The page of a command, with its examples and the exit codes as sections of their own.
fn page(command: &Command, name: &str) -> String {
    let mut after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    if name == "netc" {
        // The exit codes, which have a section.
        after.clear();
    }
    let version = format!("netc {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone().after_help("")).source(version).manual("netc");
    let mut text = Vec::new();
    let write = |text: &mut Vec<u8>| -> io::Result<()> {
        man.render_title(text)?;
        man.render_name_section(text)?;
        man.render_synopsis_section(text)?;
        man.render_description_section(text)?;
        man.render_options_section(text)?;
        if command.has_subcommands() {
            man.render_subcommands_section(text)?;
        }
        Ok(())
    };
    write(&mut text).expect("memory takes all");
    let mut text = String::from_utf8_lossy(&text).into_owned();
    if let Some(examples) = after.strip_prefix("Examples:\n") {
        let (examples, rest) = examples.split_once("\n\n").unwrap_or((examples, ""));
        text += &format!(".SH EXAMPLES\n.nf\n{}\n.fi\n", escaped(examples));
        if !rest.is_empty() {
            text += &format!(".SH NOTES\n{}\n", escaped(rest));
        }
    }
    text += ".SH \"EXIT STATUS\"\n";
    for (code, meaning) in EXITS {
        text += &format!(".TP\n{code}\n{meaning}\n");
    }
    let see = match name {
        "netc" => "Each command has a page: netc\\-check(1) and so on.\n",
        _ => "netc(1)\n",
    };
    text + ".SH \"SEE ALSO\"\n" + see
}

/// Text as it stands, for roff.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let line = |line: &str| if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
