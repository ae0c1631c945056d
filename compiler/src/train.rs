//! Training: epochs over shuffled batches, validation, learning rates, and all that is needed to go on later.

mod diverged;
mod history;
mod rate;
mod state;
mod windows;

use std::ops::ControlFlow;
use std::time::Instant;

use netc_runtime::rng::permutation;

use crate::data::{Batch, Dataset, Unit};
use crate::error::Error;
use crate::network::{GRADIENT_NORM, TrainSettings};
use crate::pipeline::Entry;
use crate::session::{Outputs, Session, TensorView};
pub use history::{End, Epoch, History, Scores, Step};
use rate::Moment;
pub use rate::learning_rate;
pub use state::{Plateau, Sums, TrainState};
use windows::{Window, Windows};

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct FitOptions {
    /// Epochs in all, those of `resume` included.
    pub epochs: usize,
    /// Examples in a step; the last step of an epoch may have fewer.
    pub batch: usize,
    /// Of the order of the examples.
    pub seed: u64,
    /// Where an earlier run stopped; the session holds its parameters, moments and step.
    pub resume: Option<TrainState>,
}

impl From<&TrainSettings> for FitOptions {
    fn from(settings: &TrainSettings) -> Self {
        FitOptions { epochs: settings.epochs, batch: settings.batch, seed: settings.seed, resume: None }
    }
}

/// Told how training goes on.
pub trait Watch {
    /// After each step; `Break` ends the training there.
    fn step(&mut self, _step: &Step) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    /// After each epoch: the time to save. `state` is what going on from here needs beside the session.
    ///
    /// # Errors
    /// Whatever should end the training.
    fn epoch(&mut self, _session: &Session, _epoch: &Epoch, _state: &TrainState) -> Result<(), Error> {
        Ok(())
    }
}

/// Looks at nothing.
impl Watch for () {}

/// Trains a session's network.
///
/// Learning rates follow the schedule of the network's `train` block, whatever [`Session::set_learning_rate`] said
/// before. `train` and `validate` hold an array for each input and target, by name; `validate` is looked at after each
/// epoch. `watch` is told of every step and epoch, and can stop the training; `&mut ()` looks at nothing.
///
/// Each epoch takes the examples in the order that `seed` and the epoch's number give; the last batch may be
/// smaller. Where the `train` block says `tbptt`, each batch is walked in windows of so many steps, one step of
/// training each: recurrent states are carried from window to window, begin anew with each batch, and the last
/// window may be shorter. The same session, data and options give the same bits, whatever the number of threads,
/// and also when the training was interrupted and resumed.
///
/// # Examples
/// ```
/// use ndarray::Array2;
/// use netc::data::{Examples, Tensor, split};
/// use netc::train::{FitOptions, fit};
/// use netc::{Session, SessionOptions};
///
/// let source = "net line {\n  input x[1]\n  target y[1]\n  p = dense(1)\n  output p\n  loss mse(p, y)\n}\n\
///               train line {\n  optimizer sgd(lr = 0.1)\n  epochs 20\n}";
/// let network = netc::check_source("line.net", source)?;
/// let x = Array2::from_shape_fn((100, 1), |(i, _)| i as f32 / 50.0 - 1.0);
/// let y = x.mapv(|x| 3.0 * x + 1.0);
/// let data = Examples::new([("x", Tensor::from(x.view())), ("y", Tensor::from(y.view()))])?;
/// let (train, validate) = split(&data, 20)?;
///
/// let options = FitOptions { batch: 10, ..FitOptions::from(&network.settings) };
/// let mut session = Session::new(network, &SessionOptions { threads: 1, seed: 1 });
/// let history = fit(&mut session, &train, Some(&validate), &options, &mut ())?;
/// assert_eq!(history.epochs.len(), 20);
/// assert!(history.epochs[19].validate.as_ref().unwrap().loss < 0.01);
/// # Ok::<(), netc::Error>(())
/// ```
///
/// # Errors
/// When the network has no loss, an example does not fit, its sequences cannot be cut into windows, or `resume`
/// belongs to other data or options. A loss that is no number is no error: see [`End::Diverged`].
pub fn fit(
    session: &mut Session,
    train: &dyn Dataset,
    validate: Option<&dyn Dataset>,
    options: &FitOptions,
    watch: &mut dyn Watch,
) -> Result<History, Error> {
    let n_examples = train.n_examples();
    if options.batch == 0 || n_examples == 0 {
        return Err(Error::Input("a batch and the data have at least one example".to_owned()));
    }
    let mut state = match &options.resume {
        Some(state) => state.clone(),
        None => TrainState::new(n_examples, options.batch, options.seed),
    };
    state.check(n_examples, options.batch, options.seed)?;
    carry_windows(session)?;
    session.compile(Entry::TrainStep, &mut ())?;
    if validate.is_some() {
        session.compile(Entry::Evaluate, &mut ())?;
    }

    let unit = if Windows::of(session.network())?.is_some() { train.unit() } else { Unit::Example };

    let mut epochs = Vec::new();
    let mut batch = Batch::default();
    while state.epoch < options.epochs {
        let start = Instant::now();
        let (first, seconds) = (state.sums.items, |start: Instant| start.elapsed().as_secs_f64().max(1e-9));
        match train_epoch(session, train, options, &mut state, &mut batch, watch)? {
            None => {}
            Some((end, trouble)) => return Ok(History { epochs, end, state, trouble }),
        }
        let items_per_second = (state.sums.items - first) as f64 / seconds(start);
        let train = state.sums.means();
        let validate = validate.map(|data| evaluate(session, data, options.batch)).transpose()?;
        let loss = validate.as_ref().map_or(train.loss, |scores| scores.loss);
        if !loss.is_finite() || !is_finite(session) {
            let end = End::Diverged { epoch: state.epoch + 1, batch: state.batches };
            let trouble = Some(diverged::explain(session, &[], loss as f32));
            return Ok(History { epochs, end, state, trouble });
        }
        let lr = session.learning_rate();
        session.reset_state();
        state.end_epoch(&session.network().settings.schedule, loss);
        let seconds = seconds(start);
        let epoch = Epoch { epoch: state.epoch, train, validate, lr, seconds, items_per_second, unit };
        watch.epoch(session, &epoch, &state)?;
        epochs.push(epoch);
    }
    if session.carries() {
        session.set_carry(false)?;
    }
    Ok(History { epochs, end: End::Finished, state, trouble: None })
}

/// The rest of the epoch that `state` is in; how the training ended, if it did, and why.
fn train_epoch(
    session: &mut Session,
    data: &dyn Dataset,
    options: &FitOptions,
    state: &mut TrainState,
    batch: &mut Batch,
    watch: &mut dyn Watch,
) -> Result<Option<(End, Option<String>)>, Error> {
    let order = permutation(data.n_examples(), state.seed, state.epoch as u64);
    let n_batches = order.len().div_ceil(state.batch);
    let windows = Windows::of(session.network())?;
    let settings = &session.network().settings;
    let (schedule, base) = (settings.schedule.clone(), settings.optimizer.lr());
    for examples in order.chunks(state.batch).skip(state.batches) {
        data.gather(examples, batch)?;
        let batch = batch.views();
        let parts = parts(windows.as_ref(), &batch, examples.len());
        let n_items = parts.iter().map(|part| part.n_steps).sum::<usize>();
        for (at, part) in parts.iter().enumerate().skip(state.windows) {
            if at == 0 {
                session.reset_state();
            }
            let moment = Moment {
                epoch: state.epoch,
                batch: state.batches * parts.len() + at,
                n_batches: n_batches * parts.len(),
            };
            session.set_learning_rate(learning_rate(&schedule, base, moment, &state.plateau));
            let inputs = match &windows {
                Some(windows) => windows.cut(&batch, part),
                None => batch.clone(),
            };
            let outputs = session.train_step(&inputs)?;
            let loss = outputs.loss().expect("an entry that trains has a loss");
            state.end_window(parts.len());
            if !loss.is_finite() {
                let end = End::Diverged { epoch: state.epoch + 1, batch: moment.batch + 1 };
                return Ok(Some((end, Some(diverged::explain(session, &inputs, loss)))));
            }
            state.sums.add(&outputs, part.n_steps);
            let step = Step {
                epoch: state.epoch + 1,
                epochs: options.epochs,
                batch: moment.batch + 1,
                n_batches: moment.n_batches,
                items: state.sums.items,
                n_items: n_items * order.len() / examples.len(),
                unit: if windows.is_some() { data.unit() } else { Unit::Example },
                gradient_norm: outputs.metrics().find(|(name, _)| *name == GRADIENT_NORM).map(|(_, x)| f64::from(x)),
                loss: state.sums.means().loss,
            };
            if watch.step(&step).is_break() {
                return Ok(Some((End::Interrupted, None)));
            }
        }
    }
    Ok(None)
}

/// The windows of a batch; all of it where there are none, its examples being what is counted.
fn parts(windows: Option<&Windows>, batch: &[(&str, TensorView<'_>)], n_examples: usize) -> Vec<Window> {
    match windows {
        Some(windows) => windows.windows(batch).into_iter().filter(|window| window.n_steps > 0).collect(),
        None => vec![Window::whole(n_examples)],
    }
}

/// The mean loss and metrics over a data set, as the network infers; in windows as [`fit`] walks them.
/// Recurrent states begin anew before and after.
///
/// # Errors
/// When the network has no loss or an example does not fit.
pub fn evaluate(session: &mut Session, data: &dyn Dataset, batch: usize) -> Result<Scores, Error> {
    let (mut sums, mut gathered) = (Sums::default(), Batch::default());
    let carried = session.carries();
    carry_windows(session)?;
    let windows = Windows::of(session.network())?;
    let numbers: Vec<usize> = (0..data.n_examples()).collect();
    for examples in numbers.chunks(batch.max(1)) {
        data.gather(examples, &mut gathered)?;
        let batch = gathered.views();
        session.reset_state();
        for part in parts(windows.as_ref(), &batch, examples.len()) {
            let outputs: Outputs = match &windows {
                Some(windows) => session.evaluate(&windows.cut(&batch, &part))?,
                None => session.evaluate(&batch)?,
            };
            sums.add(&outputs, part.n_steps);
        }
    }
    if session.carries() != carried {
        session.set_carry(carried)?;
    }
    session.reset_state();
    Ok(sums.means())
}

/// Makes a session carry recurrent states from window to window, where its network is trained in windows; [`fit`] and
/// [`evaluate`] do so themselves. What the session carries, or a checkpoint has brought, stays.
///
/// # Errors
/// When the sequences cannot be cut into windows, or a recurrence cannot go on in the next one.
pub fn carry_windows(session: &mut Session) -> Result<(), Error> {
    if session.carries() || Windows::of(session.network())?.is_none() {
        return Ok(());
    }
    let kept: Vec<_> = session.states().map(|(name, values)| (name.to_owned(), values.to_owned())).collect();
    session.set_carry(true)?;
    kept.into_iter().try_for_each(|(name, values)| session.set_state(&name, values.view()))
}

/// Whether every parameter and state is a number: the last step may have spoiled them.
fn is_finite(session: &Session) -> bool {
    session.parameters().all(|(_, values)| values.iter().all(|value| value.is_finite()))
}
