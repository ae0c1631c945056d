//! What a program's arguments say.

use std::ffi::OsString;

use super::{ARGUMENTS, Failure, outputs};
use crate::artifact::description::Description;

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Help,
    Version,
    Run(Arguments),
}

/// How to run the network; `-` stands for standard input and output.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) threads: usize,
    pub(super) weights: Option<String>,
    pub(super) raw: bool,
    /// For each input its file.
    pub(super) inputs: Vec<String>,
    /// For each output its file, if anybody wants it.
    pub(super) outputs: Vec<Option<String>>,
}

fn wrong(message: impl Into<String>) -> Failure {
    Failure::new(ARGUMENTS, format!("{}; `--help` tells more", message.into()))
}

pub(super) fn parse(d: &Description, arguments: &[OsString]) -> Result<Asked, Failure> {
    let inputs: Vec<&str> = d.ports.iter().filter(|port| !port.is_target).map(|port| port.name.as_str()).collect();
    let results: Vec<&str> = outputs(d).map(|output| output.name.as_str()).collect();
    let (mut threads, mut weights, mut raw) = (1, None, false);
    let (mut given, mut unnamed) = (vec![None; inputs.len()], Vec::new());
    let (mut wanted, mut has_output) = (vec![None; results.len()], false);
    let mut rest = arguments.iter();
    let mut only_files = false;
    while let Some(argument) = rest.next() {
        let Some(argument) = argument.to_str() else {
            return Err(wrong(format!("`{}` is not UTF-8", argument.to_string_lossy())));
        };
        if only_files || argument == "-" || !argument.starts_with('-') {
            let named = argument
                .split_once('=')
                .and_then(|(name, file)| inputs.iter().position(|input| *input == name).map(|at| (at, name, file)));
            match named {
                None => unnamed.push(argument.to_owned()),
                Some((at, _, file)) if given[at].is_none() => given[at] = Some(file.to_owned()),
                Some((_, name, _)) => return Err(wrong(format!("the input `{name}` is given twice"))),
            }
            continue;
        }
        let (option, value) = match argument.split_once('=') {
            Some((option, value)) if option != "--output" || results.iter().all(|name| *name != value) => {
                (option, Some(value.to_owned()))
            }
            _ => (argument, None),
        };
        let mut value = |what: &str| {
            let next = || rest.next().and_then(|next| next.to_str()).map(str::to_owned);
            value.clone().or_else(next).ok_or_else(|| wrong(format!("`{option}` needs {what}")))
        };
        match option {
            "--help" | "-h" => return Ok(Asked::Help),
            "--version" | "-V" => return Ok(Asked::Version),
            "--raw" => raw = true,
            "--" => only_files = true,
            "--weights" => weights = Some(value("a file")?),
            "--threads" => {
                let value = value("a number")?;
                let number = value.parse().ok().filter(|number| (1..=1024).contains(number));
                threads = number.ok_or_else(|| wrong(format!("`--threads` is from 1 to 1024, not `{value}`")))?;
            }
            "--output" => {
                has_output = true;
                let value = value("a file")?;
                let named = value.split_once('=').and_then(|(name, file)| {
                    results.iter().position(|result| *result == name).map(|at| (at, file.to_owned()))
                });
                let (at, file) = match named {
                    Some(named) => named,
                    None if results.len() == 1 => (0, value),
                    None => {
                        let names = results.join("`, `");
                        return Err(wrong(format!("`--output {value}` names none of the outputs `{names}`")));
                    }
                };
                if wanted[at].replace(file).is_some() {
                    return Err(wrong(format!("the output `{}` is given twice", results[at])));
                }
            }
            _ => return Err(wrong(format!("there is no option `{option}`"))),
        }
    }
    let mut unnamed = unnamed.into_iter();
    for (input, file) in inputs.iter().zip(&mut given) {
        *file = file.take().or_else(|| unnamed.next());
        if file.is_none() {
            return Err(wrong(format!("the input `{input}` is missing")));
        }
    }
    if let Some(file) = unnamed.next() {
        return Err(wrong(format!("`{file}` is one file too many: the inputs are `{}`", inputs.join("`, `"))));
    }
    let given: Vec<String> = given.into_iter().flatten().collect();
    if given.iter().filter(|file| *file == "-").count() > 1 {
        return Err(wrong("standard input can be read once only"));
    }
    if !has_output {
        match &mut wanted[..] {
            [only] => *only = Some("-".to_owned()),
            _ => return Err(wrong(format!("say where the outputs `{}` go with `--output`", results.join("`, `")))),
        }
    }
    if wanted.iter().flatten().filter(|file| *file == "-").count() > 1 {
        return Err(wrong("standard output can take one output only"));
    }
    Ok(Asked::Run(Arguments { threads, weights, raw, inputs: given, outputs: wanted }))
}
