//! The machine that code is made for.

use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};

/// The machine that this program runs on, with every instruction set that it has.
///
/// # Panics
/// On a machine for which Cranelift has no back end.
pub fn host() -> OwnedTargetIsa {
    let mut flags = settings::builder();
    let verifier = if cfg!(debug_assertions) { "true" } else { "false" };
    let values = [
        ("opt_level", "speed"),
        ("enable_verifier", verifier),
        ("use_colocated_libcalls", "false"),
        ("is_pic", "false"),
        ("unwind_info", "false"),
    ];
    for (name, value) in values {
        flags.set(name, value).unwrap_or_else(|error| panic!("the flag `{name}`: {error}"));
    }
    let builder = cranelift_native::builder().unwrap_or_else(|error| panic!("this machine: {error}"));
    builder.finish(settings::Flags::new(flags)).unwrap_or_else(|error| panic!("this machine's features: {error}"))
}
