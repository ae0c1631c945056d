//! `netc check`: the layers of a network, its sizes and its memory.

use netc::memory::Plan;
use netc::network::{LayerUse, Network};
use netc::ops::Role;
use netc::pipeline::{Entry, lower};
use netc::schedule::{Scheduled, SlotKind};
use netc::types::{Dim, Extents, Symbol, show_shape};
use serde_json::{Value, json};

use crate::args::CheckArgs;
use crate::clock::Clock;
use crate::commands::emit;
use crate::failure::Failure;
use crate::network;
use crate::number::{Sum, bytes, formula, thousands, value};
use crate::output::{Output, manner};
use crate::table::{Align, Table};

/// The version of `--json`.
const VERSION: u32 = 1;

pub fn run(args: &CheckArgs, output: &mut Output) -> Result<(), Failure> {
    if let Some(stage) = args.emit {
        return output.text(emit::stage(&args.net, stage.0, args.entry.map(|entry| entry.0))?);
    }
    let mut clock = Clock::start();
    let network = match network::load(&args.net, &[], &mut clock) {
        Err(failure) if args.json && failure.errors().is_some() => {
            let json = json!({"version": VERSION, "errors": failure.errors()});
            output.line(serde_json::to_string_pretty(&json).expect("JSON of strings and numbers"))?;
            return Err(failure);
        }
        network => network?,
    };
    clock.pass("elaborate");
    let report = Report::new(&network, args, &mut clock)?;
    if args.json {
        let json = serde_json::to_string_pretty(&report.json()).expect("JSON of strings and numbers");
        output.line(json)?;
    } else {
        output.text(report.table(args.explain))?;
    }
    if args.time || manner().verbose {
        output.flush()?;
        clock.report();
    }
    Ok(())
}

/// The table of a network's layers, and its memory.
pub fn table(network: &Network, args: &CheckArgs) -> Result<String, Failure> {
    Ok(Report::new(network, args, &mut Clock::start())?.table(args.explain))
}

/// What is known of a network, for the sizes that are asked for.
struct Report<'n> {
    network: &'n Network,
    /// Values of the named sizes of one member of the batch.
    member: Extents,
    batch: usize,
    multiply_accumulates: Sum,
    activation_bytes: Sum,
    inference: Memory,
    /// `None` without a loss.
    training: Option<Memory>,
}

/// The memory of one entry beside parameters and states.
struct Memory {
    batch: usize,
    /// Workspace and prepared bytes, when every named size is known.
    placed: Option<(usize, usize)>,
    moments: usize,
}

impl<'n> Report<'n> {
    fn new(network: &'n Network, args: &CheckArgs, clock: &mut Clock) -> Result<Self, Failure> {
        let mut lengths = Vec::new();
        for (name, n) in &args.length {
            let symbol = Symbol::Axis(name.as_str().into());
            if !network.axes.contains(name) {
                let known: Vec<String> = network.axes.iter().map(|axis| format!("`{axis}`")).collect();
                let known =
                    if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
                return Err(Failure::arguments(format!("the network has no sequence axis `{name}`; {known}")));
            }
            lengths.push((symbol, *n));
        }
        let extents = |batch: Option<usize>| {
            let mut extents = batch.map_or_else(Extents::default, Extents::with_batch);
            lengths.iter().for_each(|(symbol, n)| extents.set(symbol.clone(), *n));
            extents
        };
        let (mut multiply_accumulates, mut activation_bytes) = (Sum::default(), Sum::default());
        let batch = args.batch.unwrap_or(1);
        for layer in &network.layers {
            multiply_accumulates.add(&layer.multiply_accumulates);
            activation_bytes.add(&layer.activation_bytes.times(&Dim::fixed(batch)));
        }
        let mut memory = |entry: Entry, batch: usize| {
            clock.begin(entry.name());
            let (scheduled, plan) = lower(network, entry, clock);
            Memory::new(&scheduled, &plan, batch, &extents(Some(batch)))
        };
        let inference = memory(Entry::Forward, batch);
        let train_batch = args.batch.unwrap_or(network.settings.batch);
        let training = network.has_loss().then(|| memory(Entry::TrainStep, train_batch));
        let member = extents(None);
        Ok(Report { network, member, batch, multiply_accumulates, activation_bytes, inference, training })
    }

    fn n_parameters(&self) -> usize {
        self.network.parameters.iter().map(|parameter| parameter.shape.iter().product::<usize>()).sum()
    }
    fn n_states(&self) -> usize {
        self.network.states.iter().map(|state| state.shape.iter().product::<usize>()).sum()
    }

    fn table(&self, explains: bool) -> String {
        use Align::{Left, Right};
        let activations =
            if self.batch == 1 { "activations".to_owned() } else { format!("activations x {}", self.batch) };
        let mut table = Table::new([
            ("layer", Left),
            ("kind", Left),
            ("output", Left),
            ("parameters", Right),
            ("MACs", Right),
            (activations.as_str(), Right),
        ]);
        for port in self.network.ports.iter().filter(|port| !port.is_target) {
            table.row([port.name.as_str(), "input", &show_shape(&port.ty.shape[1..])]);
        }
        for layer in &self.network.layers {
            let LayerUse {
                path, kind, shape, n_parameters, multiply_accumulates, activation_bytes, explanation, ..
            } = layer;
            let activation = activation_bytes.times(&Dim::fixed(self.batch));
            let show =
                |dim: &Dim, show: fn(usize) -> String| value(dim, &self.member).map_or_else(|| formula(dim), show);
            table.row([
                path.clone(),
                kind.clone(),
                self.shape(shape),
                nothing(*n_parameters, thousands),
                show(multiply_accumulates, |n| nothing(n, thousands)),
                show(&activation, bytes),
            ]);
            if explains {
                explanation.iter().for_each(|line| table.text(line));
            }
        }
        table.rule();
        table.row([
            "total".to_owned(),
            String::new(),
            String::new(),
            thousands(self.n_parameters()),
            self.multiply_accumulates.show(&self.member, thousands),
            self.activation_bytes.show(&self.member, bytes),
        ]);
        format!("{table}\n{}", self.summary())
    }

    /// The memory of the whole.
    fn summary(&self) -> String {
        let mut table = Table::new([("", Align::Left), ("", Align::Right), ("", Align::Left)]);
        table.row(["weights".to_owned(), bytes(4 * self.n_parameters()), String::new()]);
        if self.n_states() > 0 {
            table.row(["running statistics".to_owned(), bytes(4 * self.n_states()), String::new()]);
        }
        let extents = &self.member;
        let is_unknown = |axis: &&String| extents.find(&Symbol::Axis(axis.as_str().into())).is_none();
        let unknown: Vec<&String> = self.network.axes.iter().filter(is_unknown).collect();
        let mut entry = |name: &str, memory: &Memory| {
            let note = format!("for a batch of {}", thousands(memory.batch));
            match memory.placed {
                Some((workspace, prepared)) => {
                    table.row([format!("workspace, {name}"), bytes(workspace), note]);
                    if prepared > 0 {
                        table.row([format!("packed weights, {name}"), bytes(prepared), String::new()]);
                    }
                }
                None => {
                    let lengths: Vec<String> = unknown.iter().map(|axis| format!("--length {axis}=N")).collect();
                    table.row([format!("workspace, {name}"), "?".to_owned(), format!("with {}", lengths.join(" "))]);
                }
            }
            if memory.moments > 0 {
                table.row(["optimizer's moments".to_owned(), bytes(memory.moments), String::new()]);
            }
        };
        entry("inference", &self.inference);
        if let Some(training) = &self.training {
            entry("training", training);
        }
        format!("{table}MACs are multiply-accumulates of one member of the batch.\n")
    }

    /// The shape with the lengths that are known.
    fn shape(&self, shape: &[Dim]) -> String {
        let sizes: Vec<String> = shape
            .iter()
            .map(|dim| value(dim, &self.member).map_or_else(|| dim.to_string(), |n| n.to_string()))
            .collect();
        format!("[{}]", sizes.join(", "))
    }

    fn json(&self) -> Value {
        let dim = |dim: &Dim| value(dim, &self.member).map_or_else(|| json!(dim.to_string()), |n| json!(n));
        let sum = |sum: &Sum| {
            sum.value(&self.member).map_or_else(|| json!(sum.show(&self.member, |n| n.to_string())), |n| json!(n))
        };
        let shape = |shape: &[Dim]| Value::from(shape.iter().map(dim).collect::<Vec<_>>());
        let ports = self.network.ports.iter().map(|port| {
            json!({
                "name": port.name,
                "target": port.is_target,
                "shape": shape(&port.ty.shape[1..]),
                "tokens": port.vocabulary,
            })
        });
        let layers = self.network.layers.iter().map(|layer| {
            json!({
                "path": layer.path,
                "kind": layer.kind,
                "shape": shape(&layer.shape),
                "parameters": layer.n_parameters,
                "multiply_accumulates": dim(&layer.multiply_accumulates),
                "activation_bytes": dim(&layer.activation_bytes.times(&Dim::fixed(self.batch))),
                "explanation": layer.explanation,
            })
        });
        json!({
            "version": VERSION,
            "network": self.network.name,
            "batch": self.batch,
            "ports": ports.collect::<Vec<_>>(),
            "layers": layers.collect::<Vec<_>>(),
            "total": {
                "parameters": self.n_parameters(),
                "multiply_accumulates": sum(&self.multiply_accumulates),
                "activation_bytes": sum(&self.activation_bytes),
            },
            "weight_bytes": 4 * self.n_parameters(),
            "state_bytes": 4 * self.n_states(),
            "inference": self.inference.json(),
            "training": self.training.as_ref().map(Memory::json),
        })
    }
}

impl Memory {
    fn new(scheduled: &Scheduled, plan: &Plan, batch: usize, extents: &Extents) -> Self {
        let is_known = scheduled.program.symbols.iter().all(|symbol| extents.find(symbol).is_some());
        let placed = is_known.then(|| plan.place(&scheduled.program, extents));
        let moments = scheduled.slots.iter().filter(|slot| slot.kind == SlotKind::Source(Role::Moment));
        let moments = moments.map(|slot| 4 * value(&slot.ty.n_elements(), extents).unwrap_or(0)).sum();
        Memory { batch, placed: placed.map(|placed| (placed.workspace_bytes, placed.prepared_bytes)), moments }
    }
    fn json(&self) -> Value {
        json!({
            "batch": self.batch,
            "workspace_bytes": self.placed.map(|(workspace, _)| workspace),
            "packed_weight_bytes": self.placed.map(|(_, prepared)| prepared),
            "moment_bytes": self.moments,
        })
    }
}

/// A layer without parameters has an empty cell.
fn nothing(n: usize, show: fn(usize) -> String) -> String {
    if n == 0 { String::new() } else { show(n) }
}
