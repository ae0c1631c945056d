//! Networks to libraries, and programs of C linked with them.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use netc::artifact::{Artifact, Options, compile};
use netc::diag::{Code, Message, Sources};
use netc::elaborate;
use netc::network::Network;
use netc::pipeline::check;

pub(crate) const STRICT_C: &[&str] =
    &["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wstrict-prototypes", "-Werror"];
pub(crate) const STRICT_CPP: &[&str] =
    &["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"];

pub(crate) fn network(text: &str) -> Network {
    load("test.net", text, &[])
}

/// A file of `models`, with parameters set.
pub(crate) fn model(name: &str, set: &[(&str, &str)]) -> Network {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(format!("{name}.net"));
    load(name, &fs::read_to_string(path).unwrap(), set)
}

fn load(name: &str, text: &str, set: &[(&str, &str)]) -> Network {
    let mut sources = Sources::default();
    let root = sources.add(name, text);
    let mut loader = |path: &str, _: &str| Err(Message::new(Code::ImportNotFound, path.to_owned()));
    let overrides = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let options = elaborate::Options { overrides, ..elaborate::Options::default() };
    check(&mut sources, root, &mut loader, &options, &mut ()).unwrap_or_else(|error| panic!("{error}"))
}

/// A library and its header in a folder.
pub(crate) struct Built {
    pub(crate) name: String,
    pub(crate) artifact: Artifact,
    pub(crate) folder: tempfile::TempDir,
}

pub(crate) fn build(network: &Network, options: Options) -> Built {
    let artifact = compile(network, options).unwrap_or_else(|error| panic!("{error}"));
    let (folder, name) = (tempfile::tempdir().unwrap(), artifact.name.clone());
    fs::write(folder.path().join(format!("lib{name}.a")), artifact.library().unwrap()).unwrap();
    fs::write(folder.path().join(format!("{name}.h")), &artifact.header).unwrap();
    Built { name, artifact, folder }
}

impl Built {
    /// A program of one source, linked with the library.
    pub(crate) fn program(&self, file: &str, text: &str, flags: &[&str]) -> PathBuf {
        fs::write(self.folder.path().join(file), text).unwrap();
        let program = format!("{file}.out");
        let library = format!("lib{}.a", self.name);
        let (libraries, flags): (Vec<&str>, Vec<&str>) = flags.iter().partition(|flag| flag.ends_with(".a"));
        let arguments = [flags, vec!["-o", &program, file, &library], libraries, vec!["-lm", "-lpthread"]].concat();
        cc(self.folder.path(), &arguments);
        self.folder.path().join(program)
    }
    /// The program that carries out scripts.
    pub(crate) fn driver(&self, trains: bool) -> PathBuf {
        let has = |function: &str| self.artifact.header.contains(&format!("{}_{function}(", self.name));
        let mut flags = vec![format!("-DNET={}", self.name), format!("-DHEADER=\"{}.h\"", self.name)];
        for (is_there, flag) in [(trains, "TRAINS"), (has("step"), "STEPS"), (has("set_carry"), "CARRIES")] {
            flags.extend(is_there.then(|| format!("-D{flag}")));
        }
        if cfg!(target_os = "linux") {
            flags.push("-DCOUNTING".to_owned());
            let wrap = |name: &str| format!("-Wl,--wrap={name}");
            flags.extend(["malloc", "calloc", "realloc", "posix_memalign", "free"].map(wrap));
        }
        let flags: Vec<&str> = flags.iter().map(String::as_str).chain(["-Wall", "-Wextra", "-Werror"]).collect();
        self.program("driver.c", include_str!("driver.c"), &flags)
    }
}

/// Runs the C compiler, for C++ too.
#[track_caller]
pub(crate) fn cc(folder: &Path, arguments: &[&str]) {
    let run = Command::new(std::env::var("CC").unwrap_or("cc".to_owned())).args(arguments).current_dir(folder).output();
    let run = run.unwrap_or_else(|error| panic!("the tests need a C compiler: {error}"));
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

/// What a program prints when it is fed.
#[track_caller]
pub(crate) fn feed(program: &Path, input: &[u8]) -> Vec<u8> {
    let child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let (mut printed, mut said) = (Vec::new(), String::new());
    std::thread::scope(|scope| {
        // A program that stops early closes its end; what it says tells why.
        scope.spawn(move || stdin.write_all(input).ok());
        child.stdout.take().unwrap().read_to_end(&mut printed).unwrap();
    });
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}: {said}");
    printed
}
