//! The command line of a compiled network that is a program of its own.
#![expect(unsafe_code, reason = "C's `main` hands over raw arguments")]

mod arguments;
mod arrays;
mod npy;

use std::ffi::{CStr, OsString, c_char, c_int};
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;

use super::description::{Description, Element, Output, Port, Role};
use super::raw::Artifact;
use super::weights::write_floats;
use super::{Error, Instance, Network, Options, Sizes, Status, Steps, Tasks};
use arguments::{Arguments, Asked};
use arrays::{Tensor, fit};

/// How a program ends that does not end well.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    exit: c_int,
    message: String,
}

/// The exit codes of netc.
const INPUT: c_int = 1;
const ARGUMENTS: c_int = 2;
const FILE: c_int = 4;

impl Failure {
    fn new(exit: c_int, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into() }
    }
    fn file(what: &str, name: &str, error: &io::Error) -> Failure {
        Failure::new(FILE, format!("cannot {what} `{name}`: {error}"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let exit = if error.status == Status::File { FILE } else { INPUT };
        Failure::new(exit, error.message)
    }
}

/// What a program reads from and writes to beside files.
struct Streams<'a> {
    input: &'a mut dyn Read,
    output: &'a mut dyn Write,
    /// Whether somebody reads the output as text.
    is_terminal: bool,
}

/// The `main` of a program: reads arrays, runs the network, writes arrays. Returns the exit code: 0, or 1 for an input
/// that does not fit, 2 for arguments, 4 for files.
///
/// # Safety
/// The artifact is what the compiler has written; `argv` holds `argc` texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netc_artifact_main(
    artifact: *const Artifact,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    // SAFETY: promised by the caller.
    let argument = |at: usize| unsafe { CStr::from_ptr(*argv.add(at)) };
    let arguments: Vec<OsString> = (1..usize::try_from(argc).unwrap_or(0)).map(|at| os_string(argument(at))).collect();
    // SAFETY: promised by the caller.
    let network = match unsafe { Network::new(artifact) } {
        Ok(network) => network,
        Err(error) => return complain(&error.message, INPUT),
    };
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let is_terminal = output.is_terminal();
    let mut streams = Streams { input: &mut input, output: &mut output, is_terminal };
    match run(&network, &arguments, &mut streams) {
        Ok(()) => 0,
        Err(Failure { exit, message }) => complain(&message, exit),
    }
}

fn complain(message: &str, exit: c_int) -> c_int {
    writeln!(io::stderr(), "error: {message}").ok();
    exit
}

#[cfg(unix)]
fn os_string(text: &CStr) -> OsString {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(text.to_bytes()).to_owned()
}

#[cfg(not(unix))]
fn os_string(text: &CStr) -> OsString {
    text.to_string_lossy().into_owned().into()
}

fn run(network: &Network, arguments: &[OsString], streams: &mut Streams<'_>) -> Result<(), Failure> {
    let d = network.description();
    let written = |error: io::Error| Failure::file("write to", "standard output", &error);
    let asked = match arguments::parse(d, arguments)? {
        Asked::Help => return streams.output.write_all(help(network).as_bytes()).map_err(written),
        Asked::Version => {
            let version = option_env!("CARGO_PKG_VERSION").unwrap_or_default();
            return writeln!(streams.output, "{}, compiled by netc {version}", d.name).map_err(written);
        }
        Asked::Run(asked) => asked,
    };
    if asked.weights.is_none() && !network.has_weights() {
        return Err(Failure::new(ARGUMENTS, "the program has no weights: give some with `--weights FILE.safetensors`"));
    }
    let ports: Vec<&Port> = d.ports.iter().filter(|port| !port.is_target).collect();
    let mut tensors = Vec::new();
    for (port, source) in ports.iter().zip(&asked.inputs) {
        let bytes = read(source, streams)?;
        tensors.push(Tensor::read(&bytes, source, port, asked.raw)?);
    }
    let (batch, steps) = fit(d, &ports, &mut tensors)?;

    let options =
        Options { batch, steps: steps.clone(), threads: asked.threads, tasks: Tasks::FORWARD, ..network.options() };
    // An axis that no input has takes no steps, but must have a length.
    let options = Options { steps: steps.iter().map(|&steps| steps.max(1)).collect(), ..options };
    let mut instance = Instance::new(network, &options)?;
    if let Some(weights) = &asked.weights {
        instance.load(Path::new(weights))?;
    }
    let axes: Vec<Steps<'_>> = steps.iter().map(|&steps| Steps { steps, lengths: None }).collect();
    let sizes = Sizes { batch, axes: &axes };
    let inputs: Vec<_> = tensors.iter().map(Tensor::array).collect();
    let results: Vec<&Output> = outputs(d).collect();
    let shapes: Vec<Vec<usize>> = results.iter().map(|result| instance.shape(&result.shape, &sizes)).collect();
    let mut values: Vec<Vec<f32>> = shapes.iter().map(|shape| vec![0.0; shape.iter().product()]).collect();
    let mut places: Vec<&mut [f32]> = values.iter_mut().map(Vec::as_mut_slice).collect();
    instance.forward(&sizes, &inputs, &mut places)?;
    for ((result, shape), (values, to)) in results.iter().zip(&shapes).zip(values.iter().zip(&asked.outputs)) {
        write(&result.name, shape, values, to.as_deref(), &asked, streams)?;
    }
    Ok(())
}

/// The network's outputs.
fn outputs(d: &Description) -> impl Iterator<Item = &Output> {
    d.results.iter().filter(|result| result.role == Role::Output)
}

fn read(source: &str, streams: &mut Streams<'_>) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = match source {
        "-" => streams.input.read_to_end(&mut bytes).map(|_| ()),
        file => std::fs::read(file).map(|read| bytes = read),
    };
    let name = if source == "-" { "standard input" } else { source };
    read.map_err(|error| Failure::file("read", name, &error))?;
    Ok(bytes)
}

/// Writes an output to its file, to standard output when that is `-`, and nowhere when there is none.
fn write(
    name: &str,
    shape: &[usize],
    values: &[f32],
    to: Option<&str>,
    asked: &Arguments,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    let put = |to: &mut dyn Write| if asked.raw { write_floats(values, to) } else { npy::write(to, shape, values) };
    let (written, file) = match to {
        None => return Ok(()),
        Some("-") if streams.is_terminal && !asked.raw => {
            (print(name, shape, values, streams.output), "standard output")
        }
        Some("-") => (put(streams.output).and_then(|()| streams.output.flush()), "standard output"),
        Some(file) => {
            let mut bytes = Vec::new();
            (put(&mut bytes).and_then(|()| std::fs::write(file, bytes)), file)
        }
    };
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| Failure::file("write", file, &error)),
    }
}

/// For people: a line for each run of the last axis.
fn print(name: &str, shape: &[usize], values: &[f32], to: &mut dyn Write) -> io::Result<()> {
    writeln!(to, "{name} {shape:?}")?;
    for row in values.chunks(shape.last().copied().unwrap_or(1).max(1)) {
        let row: Vec<String> = row.iter().map(f32::to_string).collect();
        writeln!(to, "{}", row.join(" "))?;
    }
    Ok(())
}

fn help(network: &Network) -> String {
    let d = network.description();
    let kind = |element: &Element| if *element == Element::F32 { "f32" } else { "i32" };
    let list = |lines: Vec<String>| lines.concat();
    let inputs = d.ports.iter().filter(|port| !port.is_target).map(|port| {
        let tokens = port.vocabulary.map_or(String::new(), |n| format!(", tokens from 0 to {}", n.saturating_sub(1)));
        format!("  {} {} {}{tokens}\n", port.name, d.show_shape(&port.shape), kind(&port.element))
    });
    let results = outputs(d)
        .map(|output| format!("  {} {} {}\n", output.name, d.show_shape(&output.shape), kind(&output.element)));
    let weights = if network.has_weights() { "they are in the program, unless given" } else { "needed" };
    format!(
        "Runs the network `{name}`.

Usage: PROGRAM [OPTIONS] [NAME=FILE | FILE | -]...

Each FILE is an array of NumPy (.npy) for one input; `-` is standard input. Without names they
are taken in the order of the inputs. The batch, B below, is the first axis.

Inputs:
{inputs}
Outputs:
{results}
Options:
  --weights FILE.safetensors  parameters: {weights}
  --output [NAME=]FILE        where an output goes; `-` is standard output, which a lone one goes to
  --raw                       files hold plain little-endian numbers, without a shape
  --threads N                 threads that share the work; 1 unless given
  --help                      this page
  --version                   the version of netc that compiled the network
",
        name = d.name,
        inputs = list(inputs.collect()),
        results = list(results.collect()),
    )
}
