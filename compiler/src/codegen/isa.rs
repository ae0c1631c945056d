//! The machine that code is made for.

use std::fmt;

use cranelift_codegen::isa::{self, OwnedTargetIsa, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};

use super::lanes::Fuses;

/// What x86-64 processors with AVX2 have.
pub(super) const AVX2: &[&str] =
    &["has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_popcnt", "has_avx", "has_avx2", "has_fma"];

/// A machine that a network can be compiled for, by its name among compilers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    name: &'static str,
}

/// Processor, system and the kind of its C library.
const TARGETS: [&str; 6] = [
    "x86_64-unknown-linux-gnu",
    "x86_64-unknown-linux-musl",
    "x86_64-apple-darwin",
    "aarch64-unknown-linux-gnu",
    "aarch64-unknown-linux-musl",
    "aarch64-apple-darwin",
];

impl Target {
    /// All there are.
    pub fn all() -> impl Iterator<Item = Target> {
        TARGETS.into_iter().map(|name| Target { name })
    }
    /// The machine of this name.
    pub fn find(name: &str) -> Option<Target> {
        Target::all().find(|target| target.name == name)
    }
    /// The machine that this program runs on, if it is one of them.
    pub fn host() -> Option<Target> {
        let arch = match () {
            () if cfg!(target_arch = "x86_64") => "x86_64",
            () if cfg!(target_arch = "aarch64") => "aarch64",
            () => return None,
        };
        let system = match () {
            () if cfg!(target_os = "macos") => "apple-darwin",
            () if cfg!(all(target_os = "linux", target_env = "musl")) => "unknown-linux-musl",
            () if cfg!(target_os = "linux") => "unknown-linux-gnu",
            () => return None,
        };
        Target::find(&format!("{arch}-{system}"))
    }
    /// As compilers call it.
    pub fn name(self) -> &'static str {
        self.name
    }
    /// Whether its processor is of the x86-64 family.
    pub fn is_x86(self) -> bool {
        self.name.starts_with("x86_64")
    }
    /// Whether its system is macOS.
    pub fn is_apple(self) -> bool {
        self.name.contains("apple")
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The machine that this program runs on, with every instruction set that it has, for code in memory.
///
/// # Panics
/// On a machine for which Cranelift has no back end.
pub fn host() -> OwnedTargetIsa {
    finish(native(), Aim::Memory)
}

/// As [`host`], for code that is sooner made than run: see [`Code::Driver`](super::emit::Code::Driver).
///
/// # Panics
/// As [`host`].
pub(super) fn host_in_brief() -> OwnedTargetIsa {
    finish(native(), Aim::Brief)
}

fn native() -> isa::Builder {
    cranelift_native::builder().unwrap_or_else(|error| panic!("this machine: {error}"))
}

/// As [`host`], with nothing but what most processors of its kind have: they fuse multiplications and additions.
pub(super) fn plain() -> OwnedTargetIsa {
    let mut builder = isa::lookup(host().triple().clone()).unwrap_or_else(|error| panic!("this machine: {error}"));
    // Other kinds of processor have no such feature, but always fuse.
    builder.enable("has_fma").ok();
    finish(builder, Aim::Memory)
}

/// A machine with no more than some features, for code that is linked anywhere. Nothing depends on the machine that this
/// program runs on.
pub(super) fn of(target: Target, features: &[&str]) -> OwnedTargetIsa {
    let mut builder = isa::lookup_by_name(target.name).unwrap_or_else(|error| panic!("{target}: {error}"));
    for feature in features {
        builder.enable(feature).unwrap_or_else(|error| panic!("the feature `{feature}`: {error}"));
    }
    finish(builder, Aim::Files)
}

/// Whether the machine has a feature of this name.
pub(super) fn has(isa: &dyn TargetIsa, feature: &str) -> bool {
    isa.isa_flags().iter().any(|flag| flag.name == feature && flag.as_bool() == Some(true))
}

/// Whether multiplications and additions can be fused on the machine.
pub(super) fn fuses(isa: &dyn TargetIsa) -> Fuses {
    Fuses(isa.name() != "x64" || has(isa, "has_fma"))
}

/// What code is made for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aim {
    /// To be linked.
    Files,
    Memory,
    /// For memory, in little time.
    Brief,
}

fn finish(builder: isa::Builder, aim: Aim) -> OwnedTargetIsa {
    let mut flags = settings::builder();
    let verifier = if cfg!(debug_assertions) { "true" } else { "false" };
    let values = [
        ("opt_level", if aim == Aim::Brief { "none" } else { "speed" }),
        ("regalloc_algorithm", if aim == Aim::Brief { "single_pass" } else { "backtracking" }),
        ("enable_verifier", verifier),
        ("use_colocated_libcalls", "false"),
        ("is_pic", if aim == Aim::Files { "true" } else { "false" }),
        ("unwind_info", "false"),
    ];
    for (name, value) in values {
        flags.set(name, value).unwrap_or_else(|error| panic!("the flag `{name}`: {error}"));
    }
    builder.finish(settings::Flags::new(flags)).unwrap_or_else(|error| panic!("this machine's features: {error}"))
}
