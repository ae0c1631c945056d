//! `netc compile`: native code to ship.

mod link;

use std::path::{Path, PathBuf};

use netc::artifact::{self, Artifact, Language, Options, Target};
use netc::data::file;

use crate::args::{CompileArgs, ProductArg};
use crate::failure::Failure;
use crate::network::{self, Weights};
use crate::number;
use crate::output::Output;

pub fn run(args: &CompileArgs, output: &mut Output) -> Result<(), Failure> {
    let is_elsewhere = args.target.is_some_and(|target| Target::host() != Some(target));
    let product = product(args, is_elsewhere)?;
    if is_elsewhere && !matches!(product, ProductArg::Object | ProductArg::Header) {
        let target = args.target.map_or("", Target::name);
        let message =
            format!("for {target}, `--emit object` and `--emit header` can be written here, and linked there");
        return Err(Failure::arguments(message));
    }
    let weights = args.embed_weights.as_deref().map(Weights::read).transpose()?;
    let earlier = weights.as_ref().map(Weights::overrides).unwrap_or_default();
    let network = network::load(&args.net, &earlier, &mut ())?;
    let path = weights.as_ref().map_or(String::new(), |weights| weights.path.clone());
    let options = Options {
        language: Language::C,
        name: args.name.clone(),
        train: args.train,
        weights: weights.map(|weights| weights.file.bytes().to_vec()),
        target: args.target,
        main: product == ProductArg::Exe,
    };
    let artifact = artifact::compile(&network, options).map_err(|error| Failure::in_file(&path, error))?;
    let main = match &args.output {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(default_name(product, &artifact)),
    };
    if product == ProductArg::Header && args.output.as_deref() == Some("-") {
        return output.text(&artifact.header);
    }
    write(&main, product, &artifact)?;
    report(output, &main)?;
    if !matches!(product, ProductArg::Header | ProductArg::Exe) {
        let header = main.with_file_name(format!("{}.h", artifact.name));
        file::write(&header, |file| file.write_all(artifact.header.as_bytes()))?;
        report(output, &header)?;
    }
    if product == ProductArg::Object {
        output.text(what_else(&artifact, &main))?;
    }
    Ok(())
}

/// What is asked for, by itself or by the ending of the name.
fn product(args: &CompileArgs, is_elsewhere: bool) -> Result<ProductArg, Failure> {
    let ending = args.output.as_deref().and_then(|path| Path::new(path).extension()?.to_str());
    let told = match ending {
        Some("a") => Some(ProductArg::Lib),
        Some("so" | "dylib") => Some(ProductArg::Shared),
        Some("o") => Some(ProductArg::Object),
        Some("h") => Some(ProductArg::Header),
        _ => None,
    };
    match (args.emit, told, &args.output) {
        (Some(emit), Some(told), Some(path)) if emit != told => {
            Err(Failure::arguments(format!("`{path}` does not go with `--emit`: its ending says something else")))
        }
        (Some(product), ..) | (None, Some(product), _) => Ok(product),
        (None, None, Some(path)) => Err(Failure::arguments(format!(
            "`{path}` does not say what to write: end it in .a, .so, .dylib, .o or .h, or say `--emit exe`"
        ))),
        (None, None, None) => Ok(if is_elsewhere { ProductArg::Object } else { ProductArg::Lib }),
    }
}

fn default_name(product: ProductArg, artifact: &Artifact) -> String {
    let name = &artifact.name;
    match product {
        ProductArg::Lib => format!("lib{name}.a"),
        ProductArg::Shared if artifact.target.is_apple() => format!("lib{name}.dylib"),
        ProductArg::Shared => format!("lib{name}.so"),
        ProductArg::Object => format!("{name}.o"),
        ProductArg::Header => format!("{name}.h"),
        ProductArg::Exe => name.clone(),
    }
}

fn write(path: &Path, product: ProductArg, artifact: &Artifact) -> Result<(), Failure> {
    let bytes = match product {
        ProductArg::Lib => artifact.library()?,
        ProductArg::Object => return Ok(file::write(path, |file| file.write_all(&artifact.object))?),
        ProductArg::Header => artifact.header.clone().into_bytes(),
        ProductArg::Shared | ProductArg::Exe => {
            return link::link(artifact, path, product == ProductArg::Shared);
        }
    };
    Ok(file::write(path, |file| file.write_all(&bytes))?)
}

fn report(output: &mut Output, path: &Path) -> Result<(), Failure> {
    let size = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    output.line(format!("{}  {}", path.display(), number::bytes(size as usize)))
}

/// What an object file needs before it is a library.
fn what_else(artifact: &Artifact, object: &Path) -> String {
    let (object, target) = (object.display(), artifact.target);
    if Target::host() == Some(target) {
        return format!("{object} calls the runtime of netc: `--emit lib` writes a library with both\n");
    }
    format!(
        "{object} calls the runtime of netc. For {target} it is made, in netc's sources, by\n  \
         rustc --edition 2024 --crate-type staticlib -C opt-level=3 -C panic=abort --target {target} runtime/src/lib.rs -o libnetc_runtime.a\n\
         and a program is linked there with\n  cc main.c {object} libnetc_runtime.a -lm -lpthread{}\n",
        if target.is_apple() { "" } else { " -ldl -lgcc_s" }
    )
}
