//! Native code to ship: a network as a library that other programs link, with its C header.
//!
//! [`compile`] makes the object file of a network: the machine code of its entries, what describes them (`describe`), and
//! the functions that C calls. [`Artifact::library`] joins it with the runtime, which travels inside this crate, in a
//! static library that needs the C library alone. `header` writes what C knows of it.
//!
//! ```
//! use netc::artifact::{Options, compile};
//!
//! let network = netc::check_source("mlp.net", "net mlp {\n  input x[4]\n  y = dense(2, relu)\n}")?;
//! let artifact = compile(&network, Options::default())?;
//! assert!(artifact.header.contains("mlp_run(mlp *net, size_t batch, const float *x, float *y)"));
//! assert!(artifact.library()?.starts_with(b"!<arch>\n"));
//! # Ok::<(), netc::Error>(())
//! ```

mod archive;
mod describe;
mod header;
mod names;
mod runtime;
mod rust;

use netc_runtime::artifact::c::Machine;
use netc_runtime::artifact::description::Description;

pub use crate::codegen::Target;
use crate::codegen::object::{Contents, Thunk, object};
use crate::entries;
use crate::error::Error;
use crate::network::Network;
use crate::pipeline::{Entry, Variant};
use crate::session::{Session, SessionOptions};
pub use runtime::runtime;

/// What is made, and for whom.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What everything of the network is called in C; `None` is the network's name.
    pub name: Option<String>,
    /// Whether the training step, loss and optimizer are included.
    pub train: bool,
    /// Trained parameters, as safetensors, which every instance begins with.
    pub weights: Option<Vec<u8>>,
    /// `None` is the machine that this program runs on.
    pub target: Option<Target>,
    /// For whom; a program of Rust has the runtime among its crates, and needs no functions for C.
    pub language: Language,
    /// Whether it has a `main` of its own, as a program that reads arrays and writes them.
    pub main: bool,
}

/// Who calls a compiled network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// C, and all that speaks to it, through the header.
    #[default]
    C,
    /// Rust, through the module of [`Artifact::module`].
    Rust,
}

/// A network as native code.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// In front of all its names in C.
    pub name: String,
    /// The machine that it is for.
    pub target: Target,
    /// The network's object file: to be linked with the runtime.
    pub object: Vec<u8>,
    /// The text of the C header.
    pub header: String,
    /// The text of the Rust module that is its interface: for [`Language::Rust`].
    pub module: String,
}

/// Compiles a network to an object file and its header. The same network and options give the same bytes.
///
/// # Errors
/// When the network has no loss and is to be trained, weights do not fit, the name cannot be one in C, or nothing is
/// compiled for this machine.
pub fn compile(network: &Network, options: Options) -> Result<Artifact, Error> {
    let target = target(options.target)?;
    let prefix = names::Prefix::new(options.name.as_deref().unwrap_or(&network.name))?;
    let weights = options.weights.map(|bytes| embedded(network, &bytes, options.train)).transpose()?;
    let lowered = describe::lower_all(network, variants(network, options.train)?);
    let description = describe::describe(network, &lowered);
    let programs = lowered.iter().map(|lowered| (name(&lowered.variant), &lowered.scheduled.program)).collect();
    let contents = Contents {
        description: description.to_bytes(),
        programs,
        weights,
        thunks: match options.language {
            Language::C => thunks(&description, prefix.name(), options.main),
            Language::Rust => Vec::new(),
        },
        export: (options.language == Language::Rust).then(|| rust::symbol(&prefix)),
    };
    let steps = lowered.iter().any(|lowered| lowered.variant.entry == Entry::Step);
    let module = rust::rust(&description, &prefix, options.train, steps);
    let header = header::header(&description, &prefix);
    Ok(Artifact { name: prefix.name().to_owned(), target, object: object(target, contents), header, module })
}

impl Artifact {
    /// The network's object file alone as a static library, for programs that have the runtime among their crates.
    pub fn archive(&self) -> Vec<u8> {
        archive::archive(self.target, &[(&format!("{}.o", self.name), &self.object)])
    }
    /// The network's object file and the runtime as a static library, complete but for the C library.
    ///
    /// # Errors
    /// When it is for another machine than this one, whose runtime is all that there is here.
    pub fn library(&self) -> Result<Vec<u8>, Error> {
        let runtime = runtime(self.target)?;
        let object = format!("{}.o", self.name);
        Ok(archive::archive(self.target, &[(&object, &self.object), ("netc_runtime.o", &runtime)]))
    }
}

/// The machine to compile for.
fn target(wanted: Option<Target>) -> Result<Target, Error> {
    wanted.or_else(Target::host).ok_or_else(|| {
        let all: Vec<String> = Target::all().map(|target| target.to_string()).collect();
        Error::Unsupported(format!("networks are not compiled for this machine; there are `{}`", all.join("`, `")))
    })
}

/// The entries that an artifact has.
fn variants(network: &Network, train: bool) -> Result<Vec<Variant>, Error> {
    let mut wanted = vec![Entry::Forward];
    if train {
        wanted.extend([Entry::Evaluate, Entry::TrainStep]);
        wanted.iter().try_for_each(|&entry| entries::check(network, &Variant::from(entry)))?;
    }
    let masks = |several: bool| if several { vec![false, true] } else { vec![false] };
    let mut variants = Vec::new();
    for entry in wanted {
        for carried in masks(entries::first_states(network).is_ok()) {
            for masked in masks(!network.axes.is_empty()) {
                variants.push(Variant { masked, carried, ..Variant::from(entry) });
            }
        }
    }
    // Lengths along the stepped axis are not given: one takes as many steps as there are.
    for masked in masks(network.axes.len() > 1) {
        let pair = [Entry::Begin, Entry::Step].map(|entry| Variant { masked, ..Variant::from(entry) });
        if pair.iter().all(|variant| entries::check(network, variant).is_ok()) {
            variants.extend(pair);
        }
    }
    Ok(variants)
}

/// A name for the functions of an entry.
fn name(variant: &Variant) -> String {
    let masked = if variant.masked { "_masked" } else { "" };
    let carried = if variant.carried { "_carried" } else { "" };
    format!("{}{masked}{carried}", variant.entry.name())
}

/// The weights as a session of the network saves them: known to fit, and nothing more than is needed.
fn embedded(network: &Network, bytes: &[u8], train: bool) -> Result<Vec<u8>, Error> {
    let options = SessionOptions { threads: 1, seed: network.settings.seed };
    Ok(Session::with_weights(network.clone(), &options, bytes)?.to_safetensors(train))
}

/// The functions that C calls, and `main` for a program.
fn thunks(description: &Description, prefix: &str, main: bool) -> Vec<Thunk> {
    let thunks = header::functions(description).map(|function| Thunk {
        name: format!("{prefix}_{}", function.suffix()),
        to: function.symbol,
        adds_artifact: function.takes_artifact,
        arguments: function.arguments.to_vec(),
        result: function.result,
    });
    let main = main.then(|| Thunk {
        name: "main".to_owned(),
        to: "netc_artifact_main",
        adds_artifact: true,
        arguments: vec![Machine::Int, Machine::Word],
        result: Some(Machine::Int),
    });
    match main {
        Some(main) => vec![main],
        None => thunks.collect(),
    }
}
