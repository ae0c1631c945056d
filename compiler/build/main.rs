//! Compiles the runtime once more, as what compiled networks are linked with, so that it travels inside the compiler.
//!
//! The result is `OUT_DIR/runtime.o.deflate`: one object file that needs the C library alone, and whose only names that
//! others find are those of the runtime's own functions. It is empty for machines that networks are not compiled on.
#![expect(clippy::print_stdout, reason = "so is cargo told what to do")]

mod hide;

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::DeflateEncoder;

fn main() {
    println!("cargo::rerun-if-changed=build");
    let out = PathBuf::from(variable("OUT_DIR"));
    let object = match variable("CARGO_CFG_TARGET_FAMILY").as_str() {
        "unix" => hide::hide(&runtime(&out)),
        _ => Vec::new(),
    };
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&object).expect("a vector takes all");
    fs::write(out.join("runtime.o.deflate"), packed.finish().expect("a vector takes all"))
        .expect("OUT_DIR is writable");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

/// The runtime as one object file.
///
/// Cargo's own flags play no part: the same code comes of a debug build, and none for the building machine alone.
fn runtime(out: &Path) -> Vec<u8> {
    let sources = PathBuf::from(variable("DEP_NETC_RUNTIME_SOURCES"));
    println!("cargo::rerun-if-changed={}", sources.display());
    let library = out.join("libnetc_runtime.a");
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.arg(sources.join("lib.rs")).arg("-o").arg(&library);
    rustc.args(["--edition", "2024", "--crate-name", "netc_runtime", "--crate-type", "staticlib"]);
    rustc.args(["--target", &variable("TARGET"), "--cap-lints", "allow", "--cfg", "netc_standalone"]);
    // With everything in one unit, what nobody calls is gone, of the standard library too.
    for option in [
        "opt-level=2",
        "llvm-args=-inline-threshold=10",
        "lto=fat",
        "codegen-units=1",
        "panic=abort",
        "strip=debuginfo",
        "relocation-model=pic",
    ] {
        rustc.args(["-C", option]);
    }
    let remap = format!("--remap-path-prefix={}=netc-runtime", sources.display());
    let status = rustc.arg(remap).status().unwrap_or_else(|error| panic!("{rustc:?}: {error}"));
    assert!(status.success(), "the runtime did not compile as a static library: {rustc:?}");
    let archive = fs::read(&library).unwrap_or_else(|error| panic!("{}: {error}", library.display()));
    hide::first_object(&archive, "netc_runtime").to_vec()
}
