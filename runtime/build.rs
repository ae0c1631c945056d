//! Tells the compiler's build script where the sources are: it makes of them the library that compiled networks carry. And
//! tells the kernels whether the compiler optimizes: without that it has too few registers for assembly.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(netc_standalone, netc_unoptimized)");
    if std::env::var("OPT_LEVEL").is_ok_and(|level| level == "0") {
        println!("cargo::rustc-cfg=netc_unoptimized");
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::metadata=sources={}/src", std::env::var("CARGO_MANIFEST_DIR").expect("cargo tells the folder"));
}
