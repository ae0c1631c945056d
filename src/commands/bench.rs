//! `netc bench`: how fast a network runs or trains on this machine, and with `--profile` where the time goes.

use std::time::{Duration, Instant};

use netc::TensorView;
use netc::data::Tensor;
use netc::network::Network;
use netc::pipeline::Entry;
use netc::session::{Phase, Profile, Session};
use netc::types::{Extents, Symbol};
use netc_runtime::Pool;
use netc_runtime::kernels::cpu::cpu;
use netc_runtime::kernels::limits;
use serde_json::json;

use crate::args::BenchArgs;
use crate::clock::Clock;
use crate::failure::{Exit, Failure};
use crate::network::{self, Weights};
use crate::number::{Sum, bytes};
use crate::output::Output;
use crate::random;
use crate::table::{Align, Table};

/// The version of `--json`.
const VERSION: u32 = 1;
/// How long calls are repeated, and how often at least.
const TIME: Duration = Duration::from_secs(2);
const CALLS: usize = 5;
/// Rounds of a profile: as many calls as a whole, and as many step by step.
const ROUNDS: usize = 5;

pub fn run(args: &BenchArgs, output: &mut Output) -> Result<(), Failure> {
    let weights = args.weights.as_deref().map(Weights::read).transpose()?;
    let overrides = weights.as_ref().map(Weights::overrides).unwrap_or_default();
    let network = network::load(&args.net, &overrides, &mut Clock::start())?;
    if args.train && !network.has_loss() {
        let message = format!("`{}` has no `loss`, so it cannot be trained", network.name);
        return Err(Failure::new(Exit::Input, message));
    }
    let batch = args.batch.unwrap_or(if args.train { network.settings.batch } else { 1 });
    let mut extents = Extents::with_batch(batch);
    network.axes.iter().for_each(|axis| extents.set(Symbol::Axis(axis.as_str().into()), args.length));
    let arrays = arrays(&network, &extents, args.train);
    let views: Vec<(&str, TensorView<'_>)> =
        arrays.iter().map(|(name, tensor)| (name.as_str(), tensor.view())).collect();
    let products = products(&network, &extents, batch, args.train);
    let seed = network.settings.seed;
    let mut session = network::session(network, weights.as_ref(), seed, args.threads)?;
    let entry = if args.train { Entry::TrainStep } else { Entry::Forward };
    let times = times(&mut session, entry, &views)?;
    let profile = args.profile.then(|| session.profile(entry, &views, ROUNDS)).transpose()?;
    let memory = session.workspace_least(entry, &extents)?;
    let report = Report {
        memory,
        session: &session,
        entry,
        batch,
        length: args.length,
        times,
        products,
        limits: Limits::measure(&session),
    };
    let text = match args.json {
        true => format!("{}\n", report.json(profile.as_ref())),
        false => report.text() + &profile.map_or(String::new(), |profile| report.profile(&profile)),
    };
    output.text(text)
}

/// Random inputs, and targets where they are needed.
fn arrays(network: &Network, extents: &Extents, train: bool) -> Vec<(String, Tensor)> {
    let ports = network.ports.iter().filter(|port| train || !port.is_target);
    ports
        .zip(0..)
        .map(|(port, at)| (port.name.clone(), random::tensor(port, extents, network.settings.seed, at)))
        .collect()
}

/// Multiplications and additions of a call, counted as the direct algorithms do them: a training step's as three times a
/// forward pass's.
fn products(network: &Network, extents: &Extents, batch: usize, train: bool) -> f64 {
    let mut sum = Sum::default();
    network.layers.iter().for_each(|layer| sum.add(&layer.multiply_accumulates));
    let one = sum.value(extents).unwrap_or(0) as f64;
    2.0 * one * batch as f64 * if train { 3.0 } else { 1.0 }
}

/// Seconds of each call, after two that compile and warm up.
fn times(session: &mut Session, entry: Entry, views: &[(&str, TensorView<'_>)]) -> Result<Vec<f64>, Failure> {
    let mut call = || -> Result<f64, Failure> {
        let start = Instant::now();
        match entry {
            Entry::TrainStep => session.train_step(views)?,
            _ => session.forward(views)?,
        };
        Ok(start.elapsed().as_secs_f64())
    };
    call()?;
    call()?;
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.len() < CALLS || start.elapsed() < TIME {
        times.push(call()?);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// What the machine does at best with as many threads.
#[derive(Debug, Clone, Copy)]
struct Limits {
    operations: f64,
    bytes: f64,
}

impl Limits {
    fn measure(session: &Session) -> Self {
        let pool = Pool::new(session.threads());
        Limits { operations: limits::operations_per_second(&pool), bytes: limits::bytes_per_second(&pool) }
    }
}

struct Report<'a> {
    /// Bytes that a call works in, and the least that it could.
    memory: (usize, usize),
    session: &'a Session,
    entry: Entry,
    batch: usize,
    length: usize,
    /// Sorted.
    times: Vec<f64>,
    products: f64,
    limits: Limits,
}

impl Report<'_> {
    fn median(&self) -> f64 {
        self.times[self.times.len() / 2]
    }
    fn share(&self) -> f64 {
        self.products / self.median() / self.limits.operations
    }
    fn text(&self) -> String {
        let Report { times, limits, .. } = self;
        let network = self.session.network();
        let length = if network.axes.is_empty() { String::new() } else { format!(", length {}", self.length) };
        let threads = self.session.threads();
        let s = if threads == 1 { "" } else { "s" };
        let what = if self.entry == Entry::TrainStep { "training step" } else { "forward" };
        let mut text =
            format!("{}, {what}, batch {}{length}, {threads} thread{s}, {:?}\n\n", network.name, self.batch, cpu());
        let mut table = Table::new([("", Align::Left), ("", Align::Right), ("", Align::Left)]);
        let (least, most) = (times[0], times[times.len() - 1]);
        table.row([
            "median".to_owned(),
            time(self.median()),
            format!("of {} calls, {} to {}", times.len(), time(least), time(most)),
        ]);
        table.row(["members a second".to_owned(), format!("{:.1}", self.batch as f64 / self.median()), String::new()]);
        if self.products > 0.0 {
            let rate = format!("{:.1} GFLOP/s", self.products / self.median() / 1e9);
            let limit = format!(
                "{:.0} % of the {:.1} that multiply-adds reach here",
                self.share() * 100.0,
                limits.operations / 1e9
            );
            table.row(["products".to_owned(), rate, limit]);
        }
        let (workspace, least) = self.memory;
        let of_least = match least {
            0 => String::new(),
            least => format!("{:.0} % of the most that is in use at a time", 100.0 * workspace as f64 / least as f64),
        };
        table.row(["workspace".to_owned(), bytes(workspace), of_least]);
        text += &table.to_string();
        text
    }

    /// One row a layer, in the order of first use.
    fn profile(&self, profile: &Profile) -> String {
        let layers = layers(profile);
        let sum: f64 = profile.steps.iter().map(|step| step.seconds).sum();
        let right =
            ["forward", "backward", "update", "share", "GFLOP/s", "of the limit"].map(|name| (name, Align::Right));
        let columns = [("layer", Align::Left)].into_iter().chain(right).chain([("bound by", Align::Left)]);
        let mut table = Table::new(columns);
        for layer in &layers {
            let [forward, backward, update] = layer.seconds;
            let seconds = layer.seconds.iter().sum::<f64>();
            let cell = |seconds: f64| if seconds > 0.0 { time(seconds) } else { String::new() };
            let (rate, share) = match layer.products > 0.0 {
                true => {
                    let rate = layer.products / seconds;
                    (format!("{:.1}", rate / 1e9), format!("{:.0} %", 100.0 * rate / self.limits.operations))
                }
                false => (String::new(), String::new()),
            };
            let name = if layer.name.is_empty() { "(none)" } else { &layer.name };
            let part = format!("{:.1} %", 100.0 * seconds / sum);
            let bound = layer.bound(&self.limits).to_owned();
            table.row([name.to_owned(), cell(forward), cell(backward), cell(update), part, rate, share, bound]);
        }
        table.rule();
        let of = |phase: usize| layers.iter().map(|layer| layer.seconds[phase]).sum::<f64>();
        let total = ["total".to_owned(), time(of(0)), time(of(1)), time(of(2)), "100.0 %".to_owned()];
        table.row(total.into_iter().chain([String::new(), String::new(), String::new()]));
        let memory = bytes((self.limits.bytes) as usize);
        let may_overlap = self.session.threads() == 2 && profile.steps.iter().any(|step| step.kind == "scan (beside)");
        let note = if may_overlap { " Layers of a stack that go side by side are measured by themselves." } else { "" };
        format!(
            "\n{table}\nThe steps add up to {}, the whole takes {}. Rates count the direct algorithms' operations; memory is \
             read at {memory} a second.{note}\n",
            time(sum),
            time(profile.seconds)
        )
    }

    fn json(&self, profile: Option<&Profile>) -> serde_json::Value {
        let mut value = json!({
            "version": VERSION,
            "network": self.session.network().name,
            "entry": self.entry.name(),
            "batch": self.batch,
            "length": (!self.session.network().axes.is_empty()).then_some(self.length),
            "threads": self.session.threads(),
            "cpu": format!("{:?}", cpu()).to_lowercase(),
            "median_seconds": self.median(),
            "seconds": self.times,
            "operations": self.products,
            "share_of_limit": self.share(),
            "workspace_bytes": self.memory.0,
            "least_workspace_bytes": self.memory.1,
            "limit_operations_per_second": self.limits.operations,
            "limit_bytes_per_second": self.limits.bytes,
        });
        if let Some(profile) = profile {
            let steps = profile.steps.iter().map(|step| {
                json!({
                    "layer": step.layer,
                    "phase": phase(step.phase),
                    "kind": step.kind,
                    "seconds": step.seconds,
                    "product_operations": step.operations[0],
                    "other_operations": step.operations[1],
                    "bytes": step.bytes,
                })
            });
            value["profile"] = json!({"seconds": profile.seconds, "steps": steps.collect::<Vec<_>>()});
        }
        value
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Forward => "forward",
        Phase::Backward => "backward",
        Phase::Update => "update",
    }
}

/// What a layer does in all of its steps.
#[derive(Debug, Default)]
struct Layer {
    name: String,
    /// Forward, backward, update.
    seconds: [f64; 3],
    products: f64,
    others: f64,
    bytes: f64,
}

impl Layer {
    /// What the time is nearest to: that of its operations, of its memory, or neither.
    fn bound(&self, limits: &Limits) -> &'static str {
        let seconds: f64 = self.seconds.iter().sum();
        // Operations of loops reach half the rate at best: none of them is fused.
        let arithmetic = (self.products + 2.0 * self.others) / limits.operations;
        let memory = self.bytes / limits.bytes;
        match (arithmetic.max(memory) > seconds / 3.0, arithmetic >= memory) {
            (false, _) => "overhead",
            (true, true) => "arithmetic",
            (true, false) => "memory",
        }
    }
}

fn layers(profile: &Profile) -> Vec<Layer> {
    let mut layers: Vec<Layer> = Vec::new();
    for step in &profile.steps {
        let at = layers.iter().position(|layer| layer.name == step.layer).unwrap_or_else(|| {
            layers.push(Layer { name: step.layer.clone(), ..Layer::default() });
            layers.len() - 1
        });
        let layer = &mut layers[at];
        layer.seconds[step.phase as usize] += step.seconds;
        layer.products += step.operations[0];
        layer.others += step.operations[1];
        layer.bytes += step.bytes;
    }
    layers
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.1} µs", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}
