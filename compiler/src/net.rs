//! A network as its author wrote it, on the way to a [`Session`].

use std::path::{Path, PathBuf};

use crate::data::{file, source};
use crate::diag::{Code, Message, Sources};
use crate::elaborate::Options;
use crate::error::Error;
use crate::kernel::Algorithm;
use crate::library;
use crate::network::Network;
use crate::pipeline;
use crate::schedule::Algorithms;
use crate::session::{Session, SessionOptions};
use crate::syntax::decode;

/// A network's text, and what is set in place of its own values.
///
/// # Examples
/// From a file to machine code, with a setting of one's own:
///
/// ```
/// use ndarray::Array2;
/// use netc::{Net, SessionOptions, inputs};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("mlp.net");
/// # std::fs::write(&path, "net mlp(n = 2) {\n  input x[4]\n  dense(n, relu)\n}").unwrap();
/// let mut session = Net::from_file(&path)?.set("n", 8).compile(&SessionOptions::default())?;
/// let x = Array2::<f32>::ones((5, 4));
/// let outputs = session.forward(inputs![x])?;
/// assert_eq!(outputs.at(0).unwrap().shape(), [5, 8]);
/// # Ok::<(), netc::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Net {
    /// The name in messages.
    name: String,
    text: String,
    /// Where it lies; imports are relative to it.
    path: Option<PathBuf>,
    options: Options,
}

impl Net {
    /// The network of a file. Files that it imports are read when it is checked.
    ///
    /// # Errors
    /// When the file cannot be read or is no text. What its text says is looked at by [`Net::check`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes = file::read(path, source::MAX_SOURCE)?;
        let text = decode(&bytes).map_err(|message| file::damaged(path, message.text))?.to_owned();
        let name = path.display().to_string();
        Ok(Net { name, text, path: Some(path.to_owned()), options: Options::default() })
    }
    /// The network of a text, which imports nothing; `name` stands in messages.
    pub fn from_source(name: impl Into<String>, text: impl Into<String>) -> Self {
        Net { name: name.into(), text: text.into(), path: None, options: Options::default() }
    }
    /// Chooses the net of this name, where the text has several.
    #[must_use]
    pub fn named(mut self, net: &str) -> Self {
        self.options.net = Some(net.to_owned());
        self
    }
    /// Sets a parameter of the net, `hidden`, or a setting of its `train` block, `train.optimizer.lr`.
    ///
    /// ```
    /// let net = netc::Net::from_source("mlp.net", "net mlp(n = 2) {\n  input x[4]\n  dense(n)\n}");
    /// assert_eq!(net.set("n", 8).check()?.parameters[0].shape, [8, 4]);
    /// # Ok::<(), netc::Error>(())
    /// ```
    #[must_use]
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.options.overrides.push((name.to_owned(), value.to_string()));
        self
    }
    /// Computes convolutions by this algorithm: those of a layer, by its path, or all that it can compute. By itself the
    /// compiler chooses the one that costs least.
    ///
    /// ```
    /// use netc::{Algorithm, Net};
    ///
    /// let text = "net m {\n  input x[3, 8, 8]\n  conv3x3(32) -> conv3x3(32) -> conv1x1(8)\n}";
    /// let net = Net::from_source("m.net", text);
    /// net.clone().algorithm(None, Algorithm::Winograd2x2).check()?;
    /// net.clone().algorithm(Some("conv2"), Algorithm::Winograd).check()?;
    /// let error = net.algorithm(Some("conv3"), Algorithm::Winograd).check().unwrap_err();
    /// assert_eq!(error.to_string(), "`winograd4` cannot compute `conv3`: its kernel is 1x1, not 3x3");
    /// # Ok::<(), netc::Error>(())
    /// ```
    #[must_use]
    pub fn algorithm(mut self, layer: Option<&str>, algorithm: Algorithm) -> Self {
        self.options.algorithms.set(layer, Some(algorithm));
        self
    }
    /// Sums everything directly: convolutions without Winograd's transforms, products without Strassen's sums, and of recurrent weights
    /// as they are, not rounded to 21 bits. Slower, and rounded as the definition says.
    #[must_use]
    pub fn strict_math(mut self) -> Self {
        self.options.algorithms = Algorithms::strict();
        self
    }
    /// Checks everything that the text says.
    ///
    /// ```
    /// let net = netc::Net::from_source("mlp.net", "net mlp {\n  input x[4]\n  x -> densse(2)\n}");
    /// let error = net.check().unwrap_err().to_string();
    /// assert!(error.contains("mlp.net:3") && error.contains("dense"), "{error}");
    /// ```
    ///
    /// # Errors
    /// Every error of the files, rendered with their places.
    pub fn check(&self) -> Result<Network, Error> {
        self.check_in(&mut Sources::default())
    }
    fn check_in(&self, sources: &mut Sources) -> Result<Network, Error> {
        let root = sources.add(self.name.as_str(), self.text.as_str());
        let mut loader = |path: &str, from: &str| match &self.path {
            Some(_) => source::import(path, Path::new(from)),
            None => {
                let message = format!("`{path}` cannot be imported from a text without a folder");
                Err(Message::new(Code::ImportNotFound, message))
            }
        };
        pipeline::check(sources, root, &mut loader, &self.options, &mut ())
    }
    /// The files that it consists of: its own, then those that are imported, in order.
    ///
    /// # Errors
    /// As [`Net::check`].
    pub fn files(&self) -> Result<Vec<PathBuf>, Error> {
        let mut sources = Sources::default();
        self.check_in(&mut sources)?;
        let own = sources.files().map(|file| sources.name(file));
        let own = own.filter(|name| !library::all().iter().any(|cell| cell.file() == *name)).map(PathBuf::from);
        Ok(own.collect())
    }
    /// Checks the network and makes a session of it, its forward pass compiled; other entries are compiled when they are
    /// first used, or by [`Session::compile`].
    ///
    /// # Errors
    /// As [`Net::check`].
    pub fn compile(&self, options: &SessionOptions) -> Result<Session, Error> {
        let mut session = Session::new(self.check()?, options);
        session.compile(pipeline::Entry::Forward, &mut ())?;
        Ok(session)
    }
}

/// One text that imports nothing to a checked network; `name` is for messages.
///
/// # Errors
/// Every error of the text, rendered.
///
/// # Examples
/// ```
/// let network = netc::check_source("mlp.net", "net mlp {\n  input x[4]\n  dense(2, relu)\n}")?;
/// assert_eq!(network.parameters.len(), 2);
/// # Ok::<(), netc::Error>(())
/// ```
pub fn check_source(name: &str, text: &str) -> Result<Network, Error> {
    Net::from_source(name, text).check()
}
