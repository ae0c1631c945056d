//! `netc gradients`: the norms of the loss's gradients, of each parameter and of each recurrent state back in time.

use std::path::Path;

use ndarray::{Axis, Slice};
use netc::TensorView;
use netc::data::{Batch, Dataset, Examples, Spec, Streams, TextPorts, file};
use netc::network::Network;
use netc::session::{GradientFlow, Session, StateFlow};
use netc::types::{Extents, Symbol};
use serde_json::json;

use crate::args::GradientsArgs;
use crate::clock::Clock;
use crate::commands::feed::Subject;
use crate::commands::plot::{Curve, svg};
use crate::commands::run::preparation;
use crate::failure::{Exit, Failure};
use crate::network::{self, Weights};
use crate::output::{Output, note};
use crate::random;
use crate::sparkline::blocks;
use crate::table::{Align, Table};

/// The version of `--json`.
const VERSION: u32 = 1;
/// The steps of random sequences.
const LENGTH: usize = 100;

pub fn run(args: &GradientsArgs, output: &mut Output) -> Result<(), Failure> {
    let weights = args.weights.as_deref().map(Weights::read).transpose()?;
    let mut clock = Clock::start();
    let subject = match &args.data {
        Some(data) => Subject::load(&args.net, weights.as_ref(), data, &mut clock)?,
        None => {
            let overrides = weights.as_ref().map(Weights::overrides).unwrap_or_default();
            Subject { network: network::load(&args.net, &overrides, &mut clock)?, text: None }
        }
    };
    if !subject.network.has_loss() {
        let message = format!("`{}` has no `loss`, so it has no gradients", subject.network.name);
        return Err(Failure::new(Exit::Input, message));
    }
    if let Some(path) = &args.plot {
        file::check_writable(Path::new(path))?;
    }
    let seed = args.seed.unwrap_or(subject.network.settings.seed);
    let batch = first_batch(&subject, args, seed)?;
    let views = shortened(&subject.network, batch.views(), args.length);
    let Subject { network, .. } = subject;
    let mut session = network::session(network, weights.as_ref(), seed, args.threads)?;
    let flow = session.gradient_flow(&views)?;
    if flow.states.is_empty() {
        note("note: the network has no recurrent states, so only its parameters' norms are shown");
    }
    if let Some(path) = &args.plot {
        draw(&session, &flow, path)?;
    }
    let text = if args.json { format!("{}\n", json(&session, &flow)) } else { tables(&flow) };
    output.text(text)
}

fn json(session: &Session, flow: &GradientFlow) -> serde_json::Value {
    let parameters = flow.parameters.iter().map(|(path, norm)| json!({"path": path, "norm": norm}));
    let states = flow.states.iter().map(|state| {
        // The norms go back in time, the last step first.
        json!({"name": state.name, "norms": state.norms, "ratio": state.ratio()})
    });
    json!({
        "version": VERSION,
        "network": session.network().name,
        "loss": flow.loss,
        "parameters": parameters.collect::<Vec<_>>(),
        "states": states.collect::<Vec<_>>(),
    })
}

/// The arrays of one call: the first of the data, or random ones.
fn first_batch(subject: &Subject, args: &GradientsArgs, seed: u64) -> Result<Batch, Failure> {
    let network = &subject.network;
    let n = args.batch.unwrap_or(network.settings.batch);
    let mut batch = Batch::default();
    if let Some(text) = &subject.text {
        let steps = args.length.or(network.settings.tbptt).unwrap_or(LENGTH);
        let needed = (n * steps + 1).min(text.tokens.len());
        let streams = Streams::new(TextPorts::of(network)?, &text.tokens[..needed], n, steps)?;
        streams.gather(&(0..streams.n_examples()).collect::<Vec<_>>(), &mut batch)?;
        return Ok(batch);
    }
    let examples = match &args.data {
        Some(spec @ (Spec::Idx(_) | Spec::Npz(_))) => spec.load(network, &preparation(&args.pictures))?,
        Some(Spec::Text(_)) => unreachable!("texts are read with the network"),
        None => {
            note(format!("note: without `--data` inputs and targets are random, of seed {seed}"));
            random_examples(network, n, args.length.unwrap_or(LENGTH), seed)?
        }
    };
    examples.gather(&(0..n.min(examples.n_examples())).collect::<Vec<_>>(), &mut batch)?;
    Ok(batch)
}

/// Random examples, of sequences of so many steps.
pub fn random_examples(network: &Network, n: usize, steps: usize, seed: u64) -> Result<Examples, Failure> {
    let mut extents = Extents::default();
    extents.set(Symbol::Batch, n);
    network.axes.iter().for_each(|axis| extents.set(Symbol::Axis(axis.as_str().into()), steps));
    let arrays = (0..).zip(&network.ports);
    let arrays = arrays.map(|(stream, port)| (port.name.as_str(), random::tensor(port, &extents, seed, stream)));
    Ok(Examples::new(arrays)?)
}

/// The last steps of each sequence: those that most losses are near to.
fn shortened<'v>(
    network: &Network,
    views: Vec<(&'v str, TensorView<'v>)>,
    length: Option<usize>,
) -> Vec<(&'v str, TensorView<'v>)> {
    let Some(length) = length else { return views };
    let is_axis = |symbols: &[Symbol]| matches!(symbols, [Symbol::Axis(_)]);
    let cut = |(name, mut view): (&'v str, TensorView<'v>)| {
        let port = network.ports.iter().find(|port| port.name == name);
        for (axis, dim) in port.iter().flat_map(|port| port.ty.shape.iter().enumerate()) {
            let n = view.shape()[axis];
            if is_axis(dim.symbols()) && n > length {
                let slice = Slice::from(n - length..n);
                match &mut view {
                    TensorView::F32(array) => array.slice_axis_inplace(Axis(axis), slice),
                    TensorView::I32(array) => array.slice_axis_inplace(Axis(axis), slice),
                }
            }
        }
        (name, view)
    };
    views.into_iter().map(cut).collect()
}

/// Steps back that have a column: the last step, some on the way, and the first.
fn shown(steps: usize) -> Vec<usize> {
    let first = steps.saturating_sub(1);
    let mut shown: Vec<usize> =
        [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].into_iter().filter(|at| *at < first).collect();
    shown.push(first);
    shown
}

/// The loss, the parameters' norms, and the states' over the steps.
pub fn tables(flow: &GradientFlow) -> String {
    let mut text = format!("loss {:.4}\n", flow.loss);
    let mut parameters = Table::new([("parameter", Align::Left), ("gradient's norm", Align::Right)]);
    for (path, norm) in &flow.parameters {
        parameters.row([path.clone(), format!("{norm:.3e}")]);
    }
    text += &format!("\n{parameters}");
    let mut lengths: Vec<usize> = flow.states.iter().map(|state| state.norms.len()).collect();
    lengths.dedup();
    for length in lengths {
        let at = shown(length);
        let mut columns = vec![("state, steps back".to_owned(), Align::Left)];
        columns.extend(at.iter().map(|at| (at.to_string(), Align::Right)));
        columns.push(("first / last".to_owned(), Align::Right));
        columns.push(("from the first step to the last".to_owned(), Align::Left));
        let mut table = Table::new(columns);
        for state in flow.states.iter().filter(|state| state.norms.len() == length) {
            let mut row = vec![state.name.clone()];
            row.extend(at.iter().map(|&at| format!("{:.1e}", state.norms[at])));
            row.push(format!("{:.1e}", state.ratio()));
            row.push(sparkline(state));
            table.row(row);
        }
        text += &format!("\n{table}");
    }
    text
}

/// The logarithms of the norms as blocks, over twelve powers of ten below the greatest.
fn sparkline(state: &StateFlow) -> String {
    const WIDTH: usize = 32;
    let norms: Vec<f64> = state.norms.iter().rev().map(|norm| f64::from(*norm)).collect();
    let most = norms.iter().copied().fold(f64::MIN_POSITIVE, f64::max).log10();
    let height = |norm: f64| (norm.max(f64::MIN_POSITIVE).log10() - most) / 12.0 + 1.0;
    let n = norms.len().min(WIDTH);
    blocks((0..n).map(|at| height(norms[at * (norms.len() - 1) / (n - 1).max(1)])))
}

fn draw(session: &Session, flow: &GradientFlow, path: &str) -> Result<(), Failure> {
    let curve = |state: &StateFlow| {
        let points = state.norms.iter().map(|norm| f64::from(*norm)).collect();
        Curve { name: state.name.clone(), values: points }
    };
    let curves: Vec<Curve> = flow.states.iter().map(curve).collect();
    let title = format!("{}: gradient of the loss by each state", session.network().name);
    let text = svg(&title, "steps back in time", "norm of the gradient", &curves);
    file::write(Path::new(path), |writer| writer.write_all(text.as_bytes()))?;
    Ok(())
}
