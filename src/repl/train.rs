//! `:train`: on data, or on one batch of the present inputs, which a net that can learn learns by heart.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use netc::data::{Examples, Part, Preparation, Spec, Text, TextPorts};
use netc::network::Network;
use netc::train::{End, FitOptions, Step, Watch, fit};

use super::Repl;
use super::commands::usage;
use crate::commands::feed::{Feed, Subject};
use crate::failure::{Exit, Failure};
use crate::number::thousands;
use crate::output::{is_terminal, status};
use crate::sparkline::sparkline;

/// Steps on one batch, when nobody says how many.
const STEPS: usize = 100;
/// Blocks of a curve.
const WIDTH: usize = 40;
/// How often the line is drawn again.
const EVERY: Duration = Duration::from_millis(100);

impl Repl<'_> {
    pub(super) fn train(&mut self, words: &[&str]) -> Result<(), Failure> {
        let (mut spec, mut steps) = (None, None);
        for word in words {
            match (word.parse::<usize>(), word.parse::<Spec>()) {
                (Ok(n), _) if n > 0 && steps.is_none() => steps = Some(n),
                (Ok(_), _) => return Err(usage("train")),
                (Err(_), Ok(data)) if spec.is_none() => spec = Some(data),
                (Err(_), Ok(_)) => return Err(usage("train")),
                (Err(_), Err(message)) => return Err(Failure::arguments(message)),
            }
        }
        let network = self.needs_loss()?;
        let settings = FitOptions::from(&network.settings);
        let seed = self.seed(&network);
        let feed = self.feed(&network, spec.as_ref(), seed)?;
        let (data, _) = feed.parts()?;
        let epochs = if spec.is_some() && steps.is_none() { settings.epochs } else { usize::MAX };
        let steps = steps.or(spec.is_none().then_some(STEPS));
        let options = FitOptions { epochs, batch: settings.batch, seed, resume: None };
        self.fit(&data, &options, steps)
    }

    fn feed(&self, network: &Network, spec: Option<&Spec>, seed: u64) -> Result<Feed, Failure> {
        let batch = network.settings.batch;
        let Some(spec) = spec else {
            let batch = self.inputs.tensors(network, batch, seed)?;
            let data = Examples::new(batch.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())))?;
            return Ok(Feed::Examples { data, held_out: None, fraction: None });
        };
        let text = match spec {
            Spec::Text(path) => {
                let text = Text::read(path, None)?;
                let (n, port) = (text.vocabulary.len(), TextPorts::of(network)?.input);
                if port.vocabulary != Some(n) {
                    let message =
                        format!("`{}` takes other tokens than the {n} different characters of the text", port.name);
                    return Err(Failure::new(Exit::Input, message));
                }
                Some(text)
            }
            Spec::Idx(_) | Spec::Npz(_) => None,
        };
        let subject = Subject { network: network.clone(), text };
        Feed::load(&subject, spec, None, batch, &Preparation::default())
    }

    fn fit(&mut self, data: &Part<'_>, options: &FitOptions, steps: Option<usize>) -> Result<(), Failure> {
        // What is there now comes back when the training diverges.
        self.keep();
        self.stop.store(false, Ordering::SeqCst);
        let mut watch = Progress::new(Arc::clone(&self.stop), steps);
        let session = self.session()?;
        let history = fit(session, data, None, options, &mut watch);
        watch.clear();
        let history = history?;
        if session.carries() {
            session.set_carry(false)?;
        }
        // The next interrupt is another.
        self.stop.store(false, Ordering::SeqCst);
        let Progress { losses, was_stopped, .. } = watch;
        if let End::Diverged { .. } = history.end {
            self.session = None;
            let trouble = history.trouble.map(|trouble| format!("\n{trouble}")).unwrap_or_default();
            let message = format!(
                "the training diverged at step {}; the parameters are those from before it{trouble}",
                losses.len() + 1
            );
            return Err(Failure::new(Exit::Diverged, message));
        }
        self.keep();
        let curve = sparkline(&losses, WIDTH);
        let (first, last) = (losses.first().unwrap_or(&f64::NAN), losses.last().unwrap_or(&f64::NAN));
        let n = thousands(losses.len());
        self.output.line(format!("{n} steps, loss {first:.4} to {last:.4}  {curve}"))?;
        self.was_stopped = was_stopped;
        match was_stopped {
            true => self.output.line("stopped; the parameters keep what was learned"),
            false => Ok(()),
        }
    }
}

/// Keeps the losses, draws them where there is a terminal, and stops in time.
struct Progress {
    losses: Vec<f64>,
    stop: Arc<AtomicBool>,
    steps: Option<usize>,
    was_stopped: bool,
    /// When the line was drawn, where it is.
    drawn: Option<Instant>,
    width: usize,
}

impl Progress {
    fn new(stop: Arc<AtomicBool>, steps: Option<usize>) -> Self {
        Progress {
            losses: Vec::new(),
            stop,
            steps,
            was_stopped: false,
            drawn: is_terminal().then(Instant::now),
            width: 0,
        }
    }
    fn clear(&mut self) {
        if self.width > 0 {
            status("", &mut self.width);
        }
    }
}

impl Watch for Progress {
    fn step(&mut self, step: &Step) -> ControlFlow<()> {
        self.losses.push(step.loss);
        if let Some(drawn) = self.drawn.as_mut().filter(|drawn| drawn.elapsed() >= EVERY) {
            *drawn = Instant::now();
            let n = thousands(self.losses.len());
            let of = self.steps.map(|steps| format!(" of {}", thousands(steps))).unwrap_or_default();
            let text = format!("step {n}{of}, loss {:.4}  {}", step.loss, sparkline(&self.losses, WIDTH));
            status(&text, &mut self.width);
        }
        self.was_stopped = self.stop.load(Ordering::SeqCst);
        let is_over = self.steps.is_some_and(|steps| self.losses.len() >= steps);
        if is_over || self.was_stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
