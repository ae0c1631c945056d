//! What is measured: a network, how it is called, and at which sizes.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Instant;

use netc::data::{Tensor, Weights};
use netc::network::Port;
use netc::session::Outputs;
use netc::types::{Extents, Symbol};
use netc::{Entry, Error, Net, Session, SessionOptions, TensorView};
use serde_json::Value;

/// What a call computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Forward,
    Gradients,
    Train,
}

impl Call {
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        match name {
            "forward" => Ok(Call::Forward),
            "gradients" => Ok(Call::Gradients),
            "train" => Ok(Call::Train),
            other => Err(format!("`{other}` is none of forward, gradients and train")),
        }
    }
    pub(crate) fn entry(self) -> Entry {
        match self {
            Call::Forward => Entry::Forward,
            Call::Gradients => Entry::Gradients,
            Call::Train => Entry::TrainStep,
        }
    }
    pub(crate) fn run(self, session: &mut Session, arrays: &Arrays) -> Result<Outputs, Error> {
        let views: Vec<(&str, TensorView<'_>)> =
            arrays.iter().map(|(name, tensor)| (name.as_str(), tensor.view())).collect();
        match self {
            Call::Forward => session.forward(&views),
            Call::Gradients => session.gradients(&views),
            Call::Train => session.train_step(&views),
        }
    }
}

/// Inputs and targets by name.
pub(crate) type Arrays = Vec<(String, Tensor)>;

/// A row of the comparison, on one side.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) file: PathBuf,
    /// Where the file has several.
    pub(crate) net: Option<String>,
    /// As `netc --set` takes them.
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) call: Call,
    pub(crate) batch: usize,
    /// Of sequences, where there are any.
    pub(crate) length: usize,
    pub(crate) threads: usize,
}

impl Task {
    /// As `benches/compare.py` writes it.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let json: Value = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let text = |key: &str| json[key].as_str().ok_or_else(|| format!("the task has no `{key}`"));
        let number = |key: &str| json[key].as_u64().ok_or_else(|| format!("the task has no `{key}`"));
        let settings = json["settings"].as_object().into_iter().flatten();
        Ok(Task {
            file: text("file")?.into(),
            net: json["net"].as_str().map(str::to_owned),
            settings: settings
                .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
                .collect(),
            call: Call::named(text("entry")?)?,
            batch: number("batch")? as usize,
            length: number("length")? as usize,
            threads: number("threads")? as usize,
        })
    }

    /// With weights of a file, or the network's initial ones.
    pub(crate) fn session(&self, weights: Option<&Path>) -> Result<Session, Error> {
        let mut net = Net::from_file(&self.file)?;
        if let Some(name) = &self.net {
            net = net.named(name);
        }
        let net = self.settings.iter().fold(net, |net, (name, value)| net.set(name, value));
        let (network, options) = (net.check()?, SessionOptions { threads: self.threads, seed: 1 });
        match weights {
            Some(path) => Session::with_weights_file(network, &options, &Weights::open(path)?),
            None => Ok(Session::new(network, &options)),
        }
    }

    pub(crate) fn extents(&self, session: &Session) -> Extents {
        let mut extents = Extents::with_batch(self.batch);
        for axis in &session.network().axes {
            extents.set(Symbol::Axis(axis.as_str().into()), self.length);
        }
        extents
    }

    /// What the call is given.
    pub(crate) fn arrays(
        &self,
        session: &Session,
        make: impl Fn(&Port) -> Result<Tensor, Error>,
    ) -> Result<Arrays, Error> {
        let ports = session.network().ports.iter().filter(|port| self.call != Call::Forward || !port.is_target);
        ports.map(|port| Ok((port.name.clone(), make(port)?))).collect()
    }
}

/// Seconds since the first look.
pub(crate) fn clock() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64()
}

/// Milliseconds of each of some calls, by a clock that tells seconds.
pub(crate) fn times(
    session: &mut Session,
    call: Call,
    arrays: &Arrays,
    calls: usize,
    seconds: fn() -> f64,
) -> Result<Vec<f64>, Error> {
    let one = |_| {
        let start = seconds();
        call.run(session, arrays)?;
        Ok((seconds() - start) * 1e3)
    };
    (0..calls).map(one).collect()
}
