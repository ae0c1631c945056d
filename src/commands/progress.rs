//! What a training shows while it goes on: a bar on a terminal, a row an epoch, a log, and checkpoints.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use netc::data::{Unit, file};
use netc::error::Error;
use netc::session::Session;
use netc::train::{Epoch, Step, TrainState, Watch};

use crate::commands::train::Saver;
use crate::failure::{Exit, Failure};
use crate::number::thousands;
use crate::output::{Output, is_terminal, warn};

/// What goes to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    Table,
    Json,
    Nothing,
}

/// Watches a training. What cannot be written is told at once and ends nothing: training goes on, and the next
/// epoch is another chance. The exit code tells it, too.
pub struct Progress<'a> {
    show: Show,
    output: &'a mut Output,
    saver: Saver<'a>,
    stop: Arc<AtomicBool>,
    bar: Option<ProgressBar>,
    /// The epoch that the bar is about.
    bar_epoch: usize,
    log: Option<(PathBuf, File)>,
    n_epochs: usize,
    save_failure: Option<Failure>,
    log_failure: Option<Failure>,
}

impl<'a> Progress<'a> {
    pub fn new(show: Show, output: &'a mut Output, saver: Saver<'a>, stop: Arc<AtomicBool>, done: usize) -> Self {
        let bar = (show != Show::Nothing && is_terminal()).then(bar);
        Progress {
            show,
            output,
            saver,
            stop,
            bar,
            bar_epoch: done,
            log: None,
            n_epochs: 0,
            save_failure: None,
            log_failure: None,
        }
    }

    /// Writes a line an epoch to a file: after those of the training that is resumed, or to a new one.
    pub fn log_to(&mut self, path: &str, resumes: bool) -> Result<(), Failure> {
        let path = PathBuf::from(path);
        let mut options = OpenOptions::new();
        options.create(true).write(true).append(resumes).truncate(!resumes);
        let log = options.open(&path).map_err(|error| file::failed(&path, &error))?;
        self.log = Some((path, log));
        Ok(())
    }

    /// What could not be written, and how many epochs were shown.
    pub fn finish(self) -> (Option<Failure>, usize) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        (self.save_failure.or(self.log_failure), self.n_epochs)
    }

    /// A row of the table or a line of JSON, above the bar.
    fn print(&mut self, epoch: &Epoch) -> Result<(), Failure> {
        let text = match self.show {
            Show::Nothing => return Ok(()),
            Show::Json => format!("{}\n", epoch.to_json()),
            Show::Table if self.n_epochs == 0 => format!("{}\n{}\n", header(epoch), row(epoch)),
            Show::Table => format!("{}\n", row(epoch)),
        };
        let output = &mut *self.output;
        let mut print = || output.text(&text).and_then(|()| output.flush());
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Watch for Progress<'_> {
    fn step(&mut self, step: &Step) -> ControlFlow<()> {
        if let Some(bar) = &self.bar {
            if self.bar_epoch != step.epoch {
                self.bar_epoch = step.epoch;
                bar.reset();
                bar.set_length(step.n_items as u64);
                bar.set_prefix(format!("epoch {}/{}", step.epoch, step.epochs));
            }
            bar.set_position(step.items as u64);
            bar.set_message(message(step));
        }
        if self.stop.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn epoch(&mut self, session: &Session, epoch: &Epoch, state: &TrainState) -> Result<(), Error> {
        self.save_failure = match self.saver.save(session, state) {
            Ok(()) => None,
            Err(error) => {
                warn(format!("epoch {} is not saved: {error}", epoch.epoch));
                Some(Failure::from(error))
            }
        };
        if let Some((path, log)) = &mut self.log
            && let Err(error) = log.write_all(format!("{}\n", epoch.to_json()).as_bytes())
        {
            warn(format!("epoch {} is not logged", epoch.epoch));
            self.log_failure = Some(Failure::from(file::failed(path, &error)));
        }
        if let Err(failure) = self.print(epoch) {
            // Nobody reads the table any more; the training is worth finishing.
            self.show = Show::Nothing;
            if failure.exit() != Exit::ClosedPipe {
                self.log_failure = Some(failure);
            }
        }
        self.n_epochs += 1;
        Ok(())
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
    let rate = |state: &ProgressState, text: &mut dyn std::fmt::Write| {
        // Nothing is left to do where the text cannot be written.
        let _ = write!(text, "{}/s", thousands(state.per_sec() as usize));
    };
    let style = ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len} {rate} {eta} left {msg}");
    bar.with_style(style.expect("the template is ours").with_key("rate", rate).progress_chars("=> "))
}

/// What the bar says of the last step.
fn message(step: &Step) -> String {
    let mut text = format!("loss {:.4}", step.loss);
    if step.unit == Unit::Character {
        text += &format!(" nats, perplexity {:.2}", step.loss.exp());
    }
    if let Some(norm) = step.gradient_norm {
        text += &format!(", gradient {norm:.3}");
    }
    text
}

/// The columns of a row, as wide as their names or numbers.
fn columns(epoch: &Epoch) -> Vec<(String, String)> {
    let mut columns = vec![("epoch".to_owned(), epoch.epoch.to_string())];
    for (part, scores) in [("train", Some(&epoch.train)), ("validate", epoch.validate.as_ref())] {
        for (name, value) in scores.into_iter().flat_map(|scores| scores.all(epoch.unit)) {
            columns.push((format!("{part}.{name}"), format!("{value:.4}")));
        }
    }
    columns.push(("lr".to_owned(), format!("{:.2e}", epoch.lr)));
    columns.push(("seconds".to_owned(), format!("{:.1}", epoch.seconds)));
    columns.push((format!("{}/s", epoch.unit), thousands(epoch.items_per_second as usize)));
    columns
}

fn header(epoch: &Epoch) -> String {
    let names: Vec<String> = columns(epoch).into_iter().map(|(name, _)| format!("{name:>7}")).collect();
    format!("\x1b[1m{}\x1b[0m", names.join("  "))
}

fn row(epoch: &Epoch) -> String {
    let cell = |(name, value): (String, String)| format!("{value:>width$}", width = name.len().max(7));
    columns(epoch).into_iter().map(cell).collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use netc::data::Unit;
    use netc::train::{Epoch, Scores};

    use super::{header, row};

    #[test]
    fn rows_stand_under_their_names() {
        let train = Scores { loss: 0.5, metrics: vec![("accuracy".to_owned(), 0.75)] };
        let (items_per_second, unit) = (1234.5, Unit::Example);
        let epoch = Epoch { epoch: 2, train, validate: None, lr: 1e-3, seconds: 1.5, items_per_second, unit };
        let text = format!("{}\n{}", header(&epoch), row(&epoch)).replace("\x1b[1m", "").replace("\x1b[0m", "");
        assert_eq!(
            text,
            "  epoch  train.loss  train.accuracy       lr  seconds  examples/s\n      2      0.5000          0.7500  1.00e-3      1.5       1,234"
        );
    }
}
