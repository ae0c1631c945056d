//! Tells the compiler's build script where the sources are: it makes of them the library that compiled networks carry.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(netc_standalone)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::metadata=sources={}/src", std::env::var("CARGO_MANIFEST_DIR").expect("cargo tells the folder"));
}
