//! `netc train`: a network on a data set, with its progress, table, log and checkpoints.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use netc::data::{Dataset, Spec, Vocabulary, file};
use netc::error::Error;
use netc::network::Network;
use netc::pipeline::Entry;
use netc::session::Session;
use netc::train::{End, FitOptions, TrainState, carry_windows, fit};

use crate::args::TrainArgs;
use crate::clock::Clock;
use crate::commands::feed::{Feed, Subject};
use crate::commands::progress::{Progress, Show};
use crate::commands::run::{given_for_pictures, preparation};
use crate::failure::{Exit, Failure};
use crate::network::{self, Weights};
use crate::number::duration;
use crate::output::{Output, manner, note};

/// The note of a checkpoint that names the optimizer that its moments belong to.
const OPTIMIZER: &str = "train.optimizer";

pub fn run(args: &TrainArgs, output: &mut Output) -> Result<(), Failure> {
    if args.weights_only && args.save.is_none() {
        return Err(Failure::arguments("`--weights-only` says what is saved: it needs `--save FILE`"));
    }
    let mut clock = Clock::start();
    let saved = args.resume.as_deref().or(args.weights.as_deref()).map(Weights::read).transpose()?;
    let resume = resumed_state(args, saved.as_ref())?;
    clock.begin("");
    let subject = Subject::load(&args.net, saved.as_ref(), &args.data, &mut clock)?;
    clock.pass("elaborate");
    let network = &subject.network;
    if !network.has_loss() {
        return Err(Failure::new(Exit::Input, format!("`{}` has no `loss`, so it cannot be trained", network.name)));
    }
    let settings = FitOptions::from(&network.settings);
    let options = FitOptions {
        epochs: args.epochs.unwrap_or(settings.epochs),
        batch: resume.as_ref().map_or(args.batch.unwrap_or(settings.batch), |state| state.batch),
        seed: resume.as_ref().map_or(args.seed.unwrap_or(settings.seed), |state| state.seed),
        resume,
    };
    if let (Some(path), Some(then)) = (&args.resume, saved.as_ref().and_then(|saved| saved.notes.get(OPTIMIZER))) {
        let now = network.settings.optimizer.name();
        if now != then {
            let message = format!(
                "`{path}` was trained with `{then}`, whose moments are none for `{now}`: start anew with `--weights {path}`"
            );
            return Err(Failure::arguments(message));
        }
    }
    let holds_pictures = matches!(args.data, Spec::Idx(_));
    if let Some(option) = given_for_pictures(&args.pictures).filter(|_| !holds_pictures) {
        return Err(Failure::arguments(format!("`{option}` is for pictures, which only `idx:` holds")));
    }
    let preparation = preparation(&args.pictures);
    let feed = Feed::load(&subject, &args.data, args.validate.as_ref(), options.batch, &preparation)?;
    let (train, validate) = feed.parts()?;
    let Subject { network, text } = subject;

    let save = args.save.as_deref().or(args.resume.as_deref());
    save.into_iter().chain(args.log.as_deref()).try_for_each(|path| file::check_writable(Path::new(path)))?;
    let mut session = start_session(network, saved, &options, args)?;
    carry_windows(&mut session)?;
    for entry in [Entry::TrainStep].into_iter().chain(validate.as_ref().map(|_| Entry::Evaluate)) {
        clock.begin(entry.name());
        session.compile(entry, &mut clock)?;
    }
    if args.time || manner().verbose {
        clock.report();
    }

    let done = options.resume.as_ref().map_or(0, |state| state.epoch);
    if done >= options.epochs {
        let epochs = options.epochs;
        note(format!("note: the training has done {done} epochs and {epochs} are asked for; `--epochs` asks for more"));
        return Ok(());
    }
    let vocabulary = text.as_ref().map(|text| &text.vocabulary);
    let saver = Saver { path: save, training: !args.weights_only, vocabulary };
    let show = match (args.json, manner().quiet) {
        (true, _) => Show::Json,
        (false, true) => Show::Nothing,
        (false, false) => Show::Table,
    };
    let stop = on_interrupt()?;
    let mut progress = Progress::new(show, output, saver, stop, done);
    if let Some(path) = &args.log {
        progress.log_to(path, options.resume.is_some())?;
    }
    let start = Instant::now();
    let validate = validate.as_ref().map(|validate| validate as &dyn Dataset);
    let history = fit(&mut session, &train, validate, &options, &mut progress);
    let (failure, n_shown) = progress.finish();
    let history = history?;
    let seconds = start.elapsed().as_secs_f64();
    match history.end {
        End::Finished => {
            if let Some(failure) = failure {
                return Err(failure);
            }
            let saved = save.map(|path| format!("; saved `{path}`")).unwrap_or_default();
            let epochs = if n_shown == 1 { "epoch" } else { "epochs" };
            note(format!("trained {n_shown} {epochs} in {}{saved}", duration(seconds)));
            Ok(())
        }
        End::Interrupted => Err(interrupted(&session, &history.state, saver)?),
        End::Diverged { epoch, batch } => {
            let kept = match (save, history.state.epoch) {
                (Some(path), 1..) if Path::new(path).exists() => {
                    format!("; `{path}` holds the weights after epoch {}", history.state.epoch)
                }
                _ => String::new(),
            };
            let trouble = history.trouble.map(|trouble| format!("\n{trouble}")).unwrap_or_default();
            let message = format!(
                "the training diverged: in epoch {epoch}, batch {batch}, the loss or a weight is no finite \
                 number{kept}{trouble}"
            );
            Err(Failure::new(Exit::Diverged, message))
        }
    }
}

/// Where `--resume` goes on; options that would make another training of it are refused.
fn resumed_state(args: &TrainArgs, saved: Option<&Weights>) -> Result<Option<TrainState>, Failure> {
    let (Some(path), Some(saved)) = (&args.resume, saved) else { return Ok(None) };
    let state = TrainState::from_notes(&saved.notes).map_err(|error| Failure::in_file(path, error))?;
    let set = |name: &str| {
        let mut values = args.net.set.iter().filter(|(known, _)| known == name);
        values.next_back().and_then(|(_, value)| value.parse().ok())
    };
    let given = [
        ("--batch", args.batch.map(|n| n as u64), state.batch as u64),
        ("--set train.batch", set("train.batch"), state.batch as u64),
        ("--seed", args.seed, state.seed),
        ("--set train.seed", set("train.seed"), state.seed),
    ];
    for (option, given, then) in given {
        if let Some(given) = given.filter(|given| *given != then) {
            let message =
                format!("`{option} {given}` would make another training of `{path}`, which has {option} {then}");
            return Err(Failure::arguments(message));
        }
    }
    Ok(Some(state))
}

fn start_session(
    network: Network,
    saved: Option<Weights>,
    options: &FitOptions,
    args: &TrainArgs,
) -> Result<Session, Failure> {
    let mut session = network::session(network, saved.as_ref(), options.seed, args.threads)?;
    if args.resume.is_none() {
        // Another training starts from the parameters alone.
        session.forget_training();
    }
    Ok(session)
}

/// Writes checkpoints.
#[derive(Debug, Clone, Copy)]
pub struct Saver<'a> {
    pub path: Option<&'a str>,
    /// With what going on needs.
    pub training: bool,
    /// The characters of the text that is trained on.
    pub vocabulary: Option<&'a Vocabulary>,
}

impl Saver<'_> {
    pub fn save(self, session: &Session, state: &TrainState) -> Result<(), Error> {
        let Some(path) = self.path else { return Ok(()) };
        let mut notes = if self.training { state.to_notes() } else { BTreeMap::new() };
        notes.extend(self.vocabulary.map(Vocabulary::to_note));
        if self.training {
            notes.insert(OPTIMIZER.to_owned(), session.network().settings.optimizer.name().to_owned());
        }
        file::write(Path::new(path), |file| session.save(self.training, &notes, file))
    }
}

fn interrupted(session: &Session, state: &TrainState, saver: Saver<'_>) -> Result<Failure, Failure> {
    saver.save(session, state)?;
    let end = match saver {
        Saver { path: Some(path), training: true, .. } => format!("; `--resume {path}` goes on from here"),
        Saver { path: Some(path), training: false, .. } => format!("; saved `{path}`"),
        Saver { path: None, .. } => "; nothing was saved".to_owned(),
    };
    let (epoch, batches) = (state.epoch + 1, state.batches);
    let text = format!("interrupted in epoch {epoch} after {batches} batches{end}");
    Ok(Failure::rendered(Exit::Interrupted, text))
}

/// Set by the first interrupt; the second ends the process.
pub fn on_interrupt() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let handler = move || {
        if flag.swap(true, Ordering::SeqCst) {
            #[expect(clippy::exit, reason = "asked for twice, and nothing is half written under its name")]
            std::process::exit(Exit::Interrupted as i32);
        }
    };
    ctrlc::set_handler(handler)
        .map_err(|error| Failure::new(Exit::File, format!("interrupts cannot be handled: {error}")))?;
    Ok(stop)
}
