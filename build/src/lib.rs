//! Networks compiled ahead of time, for programs in Rust that ship without the compiler.
//!
//! `netc-build` is a dependency of the build script, `netc-runtime` (which depends on nothing but `std`) of the program.
//! In `build.rs`:
//!
//! ```no_run
//! fn main() {
//!     netc_build::compile("models/digits.net");
//! }
//! ```
//!
//! and in the program:
//!
//! ```text
//! netc_runtime::include_net!("digits");
//!
//! let mut digits = Digits::new(|options| options.batch = 8)?;
//! digits.forward(1, &image, &mut logits)?;
//! ```
//!
//! [`Build`] says more: parameters to set, training, weights to embed.
#![expect(clippy::print_stdout, reason = "cargo listens to what a build script prints")]

use std::path::{Path, PathBuf};

use netc::artifact::{Language, Options, Target};
use netc::data::file;
use netc::{Error, Net, artifact};

/// Compiles the network of a file, to be included as [`netc_runtime::include_net!`] of its name.
///
/// Paths are relative to the package. Ends the build script with the error where there is one.
///
/// [`netc_runtime::include_net!`]: https://docs.rs/netc-runtime
pub fn compile(path: impl AsRef<Path>) {
    Build::new(path).compile();
}

/// What is compiled, and how.
///
/// ```no_run
/// netc_build::Build::new("models/digits.net")
///     .set("classes", 26)
///     .train(true)
///     .weights("models/digits/digits.safetensors")
///     .compile();
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Build {
    path: PathBuf,
    net: Option<String>,
    name: Option<String>,
    set: Vec<(String, String)>,
    train: bool,
    weights: Option<PathBuf>,
}

impl Build {
    /// The network of a file, for inference.
    pub fn new(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_owned();
        Build { path, net: None, name: None, set: Vec::new(), train: false, weights: None }
    }
    /// Chooses the net of this name, where the file has several.
    pub fn net(mut self, net: &str) -> Self {
        self.net = Some(net.to_owned());
        self
    }
    /// What `include_net!` calls it, and in `CamelCase` its struct; otherwise the net's name.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }
    /// Sets a parameter of the net or of its training, as `--set` does on the command line.
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.set.push((name.to_owned(), value.to_string()));
        self
    }
    /// Adds the training step, the loss and the optimizer.
    pub fn train(mut self, train: bool) -> Self {
        self.train = train;
        self
    }
    /// Puts the parameters of a safetensors file inside.
    pub fn weights(mut self, path: impl AsRef<Path>) -> Self {
        self.weights = Some(path.as_ref().to_owned());
        self
    }
    /// Compiles it. Ends the build script with the error where there is one.
    pub fn compile(self) {
        if let Err(error) = self.try_compile() {
            // Cargo shows what a failed build script has written.
            panic!("\n\n{error}\n");
        }
    }
    /// Compiles it.
    ///
    /// # Errors
    /// When a file cannot be read or written, the network is wrong, or the target is none that netc compiles for.
    pub fn try_compile(self) -> Result<(), Error> {
        let variable = |name: &str| {
            let missing = || Error::Unsupported(format!("`{name}` is not set: this is for build scripts"));
            std::env::var(name).map_err(|_| missing())
        };
        let (out, target) = (PathBuf::from(variable("OUT_DIR")?), variable("TARGET")?);
        let unknown = || Error::Unsupported(format!("networks are not compiled for `{target}`"));
        let target = Target::find(&target).ok_or_else(unknown)?;
        let mut net = Net::from_file(&self.path)?;
        if let Some(name) = &self.net {
            net = net.named(name);
        }
        let net = self.set.iter().fold(net, |net, (name, value)| net.set(name, value));
        let network = net.check()?;
        for path in net.files()?.iter().chain(&self.weights) {
            println!("cargo::rerun-if-changed={}", path.display());
        }
        let weights = self.weights.as_ref().map(|path| file::read(path, u64::MAX - 1)).transpose()?;
        let options = Options {
            name: self.name,
            train: self.train,
            weights,
            target: Some(target),
            language: Language::Rust,
            ..Options::default()
        };
        let compiled = artifact::compile(&network, options)?;
        // The name of a library that nobody else has.
        let library = format!("netc_{}", compiled.name);
        file::write(&out.join(format!("lib{library}.a")), |writer| writer.write_all(&compiled.archive()))?;
        file::write(&out.join(format!("{}.rs", compiled.name)), |writer| writer.write_all(compiled.module.as_bytes()))?;
        println!("cargo::rustc-link-search=native={}", out.display());
        println!("cargo::rustc-link-lib=static={library}");
        Ok(())
    }
}
