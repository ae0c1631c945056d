//! `netc run`: a network on arrays or pictures.

use std::path::{Component, Path};
use std::time::Instant;

use ndarray::{ArrayViewD, Axis};
use netc::data::{Preparation, Resize, Tensor, file, is_picture, read_input, stack, write_npy, write_npz};
use netc::error::Error;
use netc::network::{Network, Port};
use netc::pipeline::Entry;
use netc::session::Outputs;
use serde_json::{Value, json};

use crate::args::{PictureArgs, ResizeArg, RunArgs};
use crate::clock::Clock;
use crate::commands::classes::{Classes, Scale};
use crate::failure::{Exit, Failure};
use crate::network::{self, Weights};
use crate::output::{Output, manner, message, note};
use crate::table::{Align, Table};

/// The version of `--json`.
const VERSION: u32 = 1;
/// Values of one member that are printed.
const SHOWN: usize = 10;
/// A file of labels is small.
const MAX_LABELS: u64 = 64 << 20;

pub fn run(args: &RunArgs, output: &mut Output) -> Result<(), Failure> {
    let mut clock = Clock::start();
    let weights = args.weights.as_deref().map(Weights::read).transpose()?;
    clock.begin("");
    let overrides = weights.as_ref().map(Weights::overrides).unwrap_or_default();
    let network = network::load(&args.net, &overrides, &mut clock)?;
    clock.pass("elaborate");
    let inputs = read_inputs(&network, &args.input, &preparation(&args.pictures))?;
    let of_pictures = given_for_pictures(&args.pictures);
    if let Some(option) =
        of_pictures.filter(|_| !inputs.iter().flat_map(|input| &input.paths).any(|path| is_picture(path)))
    {
        return Err(Failure::arguments(format!(
            "`{option}` is for pictures; the values of arrays are taken as they are"
        )));
    }
    let labels = args.labels.as_deref().map(read_labels).transpose()?;
    let targets = targets(&network, &args.output)?;

    let seed = args.seed.unwrap_or(network.settings.seed);
    if weights.is_none() {
        note(format!("note: without `--weights` the parameters have their initial values, of seed {seed}"));
    }
    let mut session = network::session(network, weights.as_ref(), seed, args.threads)?;
    drop(weights);
    clock.begin(Entry::Forward.name());
    session.compile(Entry::Forward, &mut clock)?;
    let start = Instant::now();
    let views: Vec<_> = inputs.iter().map(|input| (input.port.name.as_str(), input.tensor.view())).collect();
    let outputs = session.forward(&views)?;
    let seconds = start.elapsed().as_secs_f64();

    for target in &targets {
        target.write(&outputs)?;
    }
    let report = Report { network: session.network(), outputs: &outputs, names: names(&inputs), args, labels };
    let is_initial = args.weights.is_none();
    let text = if args.json { format!("{}\n", report.json(is_initial.then_some(seed))?) } else { report.text()? };
    output.text(text)?;
    if args.time || manner().verbose {
        output.flush()?;
        clock.report();
        message(format!("run: {:.2} ms", seconds * 1e3));
    }
    Ok(())
}

/// An option that changes pictures alone.
pub fn given_for_pictures(args: &PictureArgs) -> Option<&'static str> {
    let given = [("--mean", !args.mean.is_empty()), ("--std", !args.std.is_empty()), ("--invert", args.invert)];
    given.into_iter().find(|(_, is_given)| *is_given).map(|(option, _)| option)
}

pub fn preparation(args: &PictureArgs) -> Preparation {
    let resize = match args.resize {
        ResizeArg::Stretch => Resize::Stretch,
        ResizeArg::Crop => Resize::Crop,
        ResizeArg::Pad => Resize::Pad,
    };
    Preparation { resize, invert: args.invert, mean: args.mean.clone(), deviation: args.std.clone() }
}

/// An input and the files it comes from.
struct Input {
    port: Port,
    paths: Vec<String>,
    tensor: Tensor,
}

/// Every input once, in the order of the network.
fn read_inputs(network: &Network, args: &[String], preparation: &Preparation) -> Result<Vec<Input>, Failure> {
    let ports: Vec<&Port> = network.ports.iter().filter(|port| !port.is_target).collect();
    let names = || ports.iter().map(|port| format!("`{}`", port.name)).collect::<Vec<_>>().join(", ");
    let mut files: Vec<(&str, &str)> = Vec::new();
    for arg in args {
        let pair = match (arg.split_once('='), ports.as_slice()) {
            (Some((name, path)), _) if ports.iter().any(|port| port.name == name) => (name, path),
            // A path may hold a `=`, but a name is none.
            (Some((name, _)), _) if is_name(name) && !Path::new(arg).exists() => {
                return Err(Failure::arguments(format!("the network has no input `{name}`; it has {}", names())));
            }
            (_, [only]) => (only.name.as_str(), arg.as_str()),
            _ => {
                let message = format!(
                    "`--input {arg}` does not say which input it is for: write `NAME={arg}`; the inputs are {}",
                    names()
                );
                return Err(Failure::arguments(message));
            }
        };
        files.push(pair);
    }
    let mut inputs = Vec::new();
    for port in ports {
        let paths: Vec<String> =
            files.iter().filter(|(name, _)| *name == port.name).map(|(_, path)| (*path).to_owned()).collect();
        if paths.is_empty() {
            return Err(Failure::arguments(format!("there is no `--input {}=FILE`", port.name)));
        }
        let tensors = paths.iter().map(|path| read_input(port, path, preparation)).collect::<Result<Vec<_>, _>>()?;
        inputs.push(Input { port: port.clone(), tensor: stack(port, tensors)?, paths });
    }
    Ok(inputs)
}

fn is_name(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

fn read_labels(path: &str) -> Result<Vec<String>, Failure> {
    let bytes = file::read(Path::new(path), MAX_LABELS)?;
    let text = String::from_utf8(bytes).map_err(|_| file::damaged(Path::new(path), "is no text in UTF-8"))?;
    Ok(text.lines().map(|line| line.trim().to_owned()).collect())
}

/// Where outputs go, each file for once.
fn targets<'a>(network: &Network, args: &'a [String]) -> Result<Vec<Target<'a>>, Failure> {
    let mut targets: Vec<Target<'_>> = Vec::new();
    for arg in args {
        let target = Target::new(network, arg)?;
        let steps = |path: &'a str| Path::new(path).components().filter(|step| *step != Component::CurDir);
        if targets.iter().any(|other| steps(other.path).eq(steps(target.path))) {
            return Err(Failure::arguments(format!("`--output` names `{}` twice", target.path)));
        }
        targets.push(target);
    }
    Ok(targets)
}

/// A file for outputs: for one of them, or for all.
struct Target<'a> {
    name: Option<&'a str>,
    path: &'a str,
}

impl<'a> Target<'a> {
    /// Refuses a file that cannot hold what it is for, before anything is computed.
    fn new(network: &Network, arg: &'a str) -> Result<Target<'a>, Failure> {
        let outputs = network.inference.outputs.iter().filter(|output| output.role == netc::graph::OutputRole::Output);
        let names: Vec<&str> = outputs.map(|output| output.name.as_str()).collect();
        let target = match arg.split_once('=') {
            Some((name, path)) if names.contains(&name) => Target { name: Some(name), path },
            Some((name, _)) if is_name(name) && !name.is_empty() => {
                let names = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                return Err(Failure::arguments(format!(
                    "the network has no output `{name}`; it has {names}; a file of this name is `./{arg}`"
                )));
            }
            _ => Target { name: None, path: arg },
        };
        let Target { name, path } = target;
        if path.ends_with(".npy") && name.is_none() && names.len() != 1 {
            let n = names.len();
            return Err(Failure::arguments(format!(
                "`{path}` holds one array, but the network has {n} outputs: write an .npz, or one of them by `NAME={path}`"
            )));
        }
        if !path.ends_with(".npy") && !path.ends_with(".npz") {
            return Err(Failure::arguments(format!("`--output {arg}` names neither an .npz nor an .npy")));
        }
        Ok(target)
    }

    fn write(&self, outputs: &Outputs) -> Result<(), Error> {
        let mut chosen = outputs.outputs().filter(|(name, _)| self.name.is_none_or(|only| only == *name));
        file::write(Path::new(self.path), |writer| match self.path.ends_with(".npy") {
            true => chosen.next().map_or(Ok(()), |(_, array)| write_npy(writer, &array)),
            false => write_npz(writer, chosen),
        })
    }
}

/// What the members of the batch are called: by their files where each is one, else by numbers.
fn names(inputs: &[Input]) -> Vec<String> {
    let Some(first) = inputs.first() else { return Vec::new() };
    let n = first.tensor.shape()[0];
    let of_files = inputs.iter().find(|input| input.paths.len() == n);
    match of_files {
        Some(input) => input.paths.clone(),
        None => (0..n).map(|member| member.to_string()).collect(),
    }
}

struct Report<'r> {
    network: &'r Network,
    outputs: &'r Outputs,
    names: Vec<String>,
    args: &'r RunArgs,
    labels: Option<Vec<String>>,
}

impl Report<'_> {
    fn classes(&self, name: &str, array: &ArrayViewD<'_, f32>) -> Result<Vec<Classes>, Failure> {
        let scale = Scale::of(self.network, name);
        let k = self.args.top.expect("asked for");
        let rows = array.axis_iter(Axis(0)).map(|member| {
            let values = member.iter().copied().collect::<Vec<f32>>();
            Classes::top(&values, k, scale)
        });
        if array.ndim() != 2 {
            let shape = &array.shape()[1..];
            let message =
                format!("`--top` needs an output with one number for each class, but `{name}` has shape {shape:?}");
            return Err(Failure::new(Exit::Input, message));
        }
        if let Some(labels) = self.labels.as_ref().filter(|labels| labels.len() != array.shape()[1]) {
            let (n, classes) = (labels.len(), array.shape()[1]);
            let message = format!("there are {n} labels, but `{name}` has {classes} classes");
            return Err(Failure::new(Exit::Input, message));
        }
        Ok(rows.collect())
    }
    fn label(&self, class: usize) -> String {
        self.labels.as_ref().map_or_else(|| class.to_string(), |labels| labels[class].clone())
    }

    fn text(&self) -> Result<String, Failure> {
        let mut text = String::new();
        for (at, (name, array)) in self.outputs.outputs().enumerate() {
            if at > 0 {
                text.push('\n');
            }
            text += &match self.args.top {
                Some(_) => self.class_table(name, &array)?,
                None => self.value_table(name, &array),
            };
        }
        Ok(text)
    }

    fn class_table(&self, name: &str, array: &ArrayViewD<'_, f32>) -> Result<String, Failure> {
        let mut table = Table::new([(name, Align::Left), ("class", Align::Left), ("probability", Align::Right)]);
        for (member, classes) in self.names.iter().zip(self.classes(name, array)?) {
            for (rank, (class, probability)) in classes.classes.iter().enumerate() {
                let member = if rank == 0 { member.as_str() } else { "" };
                table.row([member, &self.label(*class), &format!("{:.2} %", 100.0 * probability)]);
            }
        }
        Ok(table.to_string())
    }

    fn value_table(&self, name: &str, array: &ArrayViewD<'_, f32>) -> String {
        let n = array.len().checked_div(array.shape()[0]).unwrap_or(0);
        let shown = n.min(SHOWN);
        let mut columns = vec![(format!("{name} {:?}", &array.shape()[1..]), Align::Left)];
        columns.extend((0..shown).map(|index| (index.to_string(), Align::Right)));
        if shown < n {
            columns.push((format!("… {} more", n - shown), Align::Left));
        }
        let mut table = Table::new(columns);
        for (member, values) in self.names.iter().zip(array.axis_iter(Axis(0))) {
            let values = values.iter().take(shown).map(|value| format!("{value:.4}"));
            table.row(std::iter::once(member.clone()).chain(values));
        }
        table.to_string()
    }

    fn json(&self, initial_seed: Option<u64>) -> Result<Value, Failure> {
        let mut outputs = serde_json::Map::new();
        for (name, array) in self.outputs.outputs() {
            let value = match self.args.top {
                Some(_) => {
                    let members = self.classes(name, &array)?.into_iter().map(|classes| {
                        let classes = classes.classes.into_iter();
                        Value::from_iter(classes.map(|(class, probability)| {
                            json!({"class": class, "label": self.label(class), "probability": probability})
                        }))
                    });
                    json!({"shape": array.shape(), "top": members.collect::<Vec<_>>()})
                }
                None => json!({"shape": array.shape(), "values": array.iter().collect::<Vec<_>>()}),
            };
            outputs.insert(name.to_owned(), value);
        }
        Ok(json!({
            "version": VERSION,
            "network": self.network.name,
            "members": self.names,
            "initial_values_of_seed": initial_seed,
            "outputs": outputs,
        }))
    }
}
