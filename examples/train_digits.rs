//! Trains `models/digits.net` on pictures and labels in MNIST's format, plain or packed with gzip:
//!
//! ```text
//! cargo run --release --example train_digits -- IMAGES LABELS [WEIGHTS]
//! ```
//!
//! A fifth of the data is held out. With a third path the trained weights are written there, and
//! `netc run models/digits.net --weights WEIGHTS --input PICTURE --top 3` uses them.
#![expect(clippy::print_stdout, reason = "an example prints what it computes")]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use netc::data::{Dataset, Preparation, Spec, file, split};
use netc::train::{Epoch, FitOptions, Step, TrainState, Watch, fit};
use netc::{Error, Session, SessionOptions};

/// Prints a line an epoch.
struct Print;

impl Watch for Print {
    fn step(&mut self, _: &Step) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    fn epoch(&mut self, _: &Session, epoch: &Epoch, _: &TrainState) -> Result<(), Error> {
        println!("{}", epoch.to_json());
        Ok(())
    }
}

fn main() -> Result<(), Error> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [images, labels, weights @ ..] = paths.as_slice() else {
        println!("usage: train_digits IMAGES LABELS [WEIGHTS]");
        return Ok(());
    };
    let network = netc::check_source("digits.net", include_str!("../models/digits.net"))?;
    let data = Spec::Idx(vec![images.clone(), labels.clone()]).load(&network, &Preparation::default())?;
    let (train, held_out) = split(&data, data.n_examples().div_ceil(5))?;

    let options = FitOptions::from(&network.settings);
    let mut session = Session::new(network, &SessionOptions { seed: options.seed, ..SessionOptions::default() });
    let history = fit(&mut session, &train, Some(&held_out), &options, &mut Print)?;
    println!("{:?} after {} epochs", history.end, history.epochs.len());

    if let Some(path) = weights.first().map(Path::new) {
        file::write(path, |writer| session.save(false, &Default::default(), writer))?;
        println!("saved {}", path.display());
    }
    Ok(())
}
