//! Numbers about the net as it stands: parameters, gradients, times.

use std::time::{Duration, Instant};

use netc::elaborate::Extent;
use netc::pipeline::{Entry, compile};

use super::answer::inputs_only;
use super::{Repl, check, show};
use crate::clock::Clock;
use crate::commands::gradients::tables;
use crate::failure::Failure;
use crate::number::thousands;
use crate::table::{Align, Table};

/// `:parameters`
pub(super) fn parameters(repl: &mut Repl<'_>) -> Result<(), Failure> {
    let session = repl.session()?;
    let mut table = Table::new([("parameter", Align::Left), ("shape", Align::Left), ("values", Align::Left)]);
    for (path, values) in session.parameters() {
        table.row([path.to_owned(), format!("{:?}", values.shape()), show::range(&values)]);
    }
    repl.output.text(table)
}

/// `:grad`
pub(super) fn gradients(repl: &mut Repl<'_>) -> Result<(), Failure> {
    let network = repl.needs_loss()?;
    let seed = repl.seed(&network);
    let inputs = repl.inputs.tensors(&network, network.settings.batch, seed)?;
    let session = repl.session()?;
    let views: Vec<_> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.view())).collect();
    let flow = session.gradient_flow(&views)?;
    repl.output.text(tables(&flow))
}

/// `:time`
pub(super) fn time(repl: &mut Repl<'_>) -> Result<(), Failure> {
    let mut clock = Clock::start();
    let network = check(&repl.source, Extent::Part, &mut clock)?;
    clock.pass("elaborate");
    let mut entries = vec![Entry::Forward];
    if network.has_loss() {
        entries.push(Entry::TrainStep);
    }
    for entry in &entries {
        clock.begin(entry.name());
        compile(&network, *entry, &mut clock);
    }
    let batch = network.settings.batch;
    let mut table = Table::new([("a call", Align::Left), ("ms", Align::Right), ("of", Align::Right)]);
    for entry in entries {
        let members = if entry == Entry::Forward { 1 } else { batch };
        let inputs = repl.inputs.tensors(&network, members, repl.seed(&network))?;
        // A training step would change what is kept.
        let mut session = repl.session_of(network.clone())?;
        let views: Vec<_> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.view())).collect();
        let forward = inputs_only(&network, &inputs);
        let median = median(|| match entry {
            Entry::Forward => session.forward(&forward).map(|_| ()),
            _ => session.train_step(&views).map(|_| ()),
        })?;
        let name = if entry == Entry::Forward { "forward" } else { "train step" };
        table.row([name.to_owned(), format!("{:.3}", median * 1e3), format!("{} examples", thousands(members))]);
    }
    repl.output.text(format!("{}\n{table}", clock.table()))
}

/// The median of some calls after a first one, in seconds.
fn median(mut call: impl FnMut() -> Result<(), netc::Error>) -> Result<f64, Failure> {
    call()?;
    let (start, mut seconds) = (Instant::now(), Vec::new());
    while seconds.len() < 3 || (seconds.len() < 100 && start.elapsed() < Duration::from_millis(500)) {
        let start = Instant::now();
        call()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[seconds.len() / 2])
}
