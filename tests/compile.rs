//! `netc compile`, and the programs in `examples` that are built with what it writes.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const BIN: &str = env!("CARGO_BIN_EXE_netc");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `netc compile` in a folder; paths of models are below the repository.
fn compile(folder: &Path, arguments: &[&str]) -> Output {
    let absolute = |argument: &&str| match argument.starts_with("models/") {
        true => root().join(argument).display().to_string(),
        false => (*argument).to_owned(),
    };
    let arguments: Vec<String> = arguments.iter().map(absolute).collect();
    Command::new(BIN).arg("compile").args(arguments).env("NO_COLOR", "1").current_dir(folder).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs the script of an example; what it prints.
#[track_caller]
fn example(name: &str, variables: &[(&str, &str)], input: &[u8]) -> Vec<u8> {
    let out = tempfile::tempdir().unwrap();
    let input_path = out.path().join("input");
    fs::write(&input_path, input).unwrap();
    let run = Command::new("sh")
        .arg(root().join("examples").join(name).join("run.sh"))
        .env("NETC", BIN)
        .env("OUT", out.path())
        .envs(variables.iter().copied())
        .stdin(Stdio::from(fs::File::open(input_path).unwrap()))
        .output()
        .unwrap();
    assert!(run.status.success(), "{name}: {}{}", text(&run.stdout), text(&run.stderr));
    run.stdout
}

const DIGITS: &str = "picture 0 is a 2\npicture 1 is a 3\npicture 2 is a 7\npicture 3 is a 9\n";

#[test]
fn c_recognizes_and_trains() {
    let printed = text(&example("c", &[], b""));
    assert!(printed.contains(DIGITS), "{printed}");
    assert!(printed.contains("step 30: loss ") && printed.ends_with("accuracy 100 %\n"), "{printed}");
}

#[test]
fn cpp_recognizes() {
    let printed = text(&example("cpp", &[], b""));
    assert!(printed.ends_with(DIGITS), "{printed}");
}

/// A sine under noise comes out with less of it.
#[test]
fn a_filter_takes_noise_off_a_stream() {
    let clean: Vec<f32> = (0..600).map(|t| (t as f32 * 0.08).sin()).collect();
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 16_777_216.0 - 0.5
    };
    let noisy: Vec<f32> = clean.iter().map(|x| x + noise()).collect();
    let bytes: Vec<u8> = noisy.iter().flat_map(|x| x.to_ne_bytes()).collect();
    let printed = example("filter", &[], &bytes);
    let smooth: Vec<f32> =
        printed.chunks_exact(4).map(|bytes| f32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect();
    assert_eq!(smooth.len(), clean.len());
    let error = |signal: &[f32]| signal.iter().zip(&clean).skip(50).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
    assert!(error(&smooth) < 0.5 * error(&noisy), "{} of {}", error(&smooth), error(&noisy));
}

#[test]
fn python_recognizes() {
    let python = std::env::var("PYTHON").unwrap_or("python3".to_owned());
    let found = Command::new(&python).args(["-c", "import numpy"]).output();
    if !found.is_ok_and(|found| found.status.success()) {
        // Not through `eprintln!`, which is heard of failing tests alone.
        writeln!(
            std::io::stderr(),
            "SKIPPED: `{python}` is not there or has no numpy, so examples/python was NOT tested"
        )
        .unwrap();
        return;
    }
    let printed = text(&example("python", &[], b""));
    assert!(printed.ends_with(DIGITS), "{printed}");
}

#[test]
fn endings_say_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let files = |arguments: &[&str]| {
        let run = compile(folder.path(), &[&["models/hello.net"], arguments].concat());
        assert!(run.status.success(), "{}", text(&run.stderr));
        let mut files: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        for file in &files {
            assert!(text(&run.stdout).contains(file.as_str()), "{file} is not told: {}", text(&run.stdout));
            fs::remove_file(folder.path().join(file)).unwrap();
        }
        files.join(" ")
    };
    assert_eq!(files(&[]), "hello.h libhello.a");
    assert_eq!(files(&["-o", "x.a", "--train"]), "hello.h x.a");
    assert_eq!(files(&["-o", "x.so"]), "hello.h x.so");
    assert_eq!(files(&["-o", "x.o"]), "hello.h x.o");
    assert_eq!(files(&["-o", "x.h"]), "x.h");
    assert_eq!(files(&["--emit", "object", "--name", "greeting"]), "greeting.h greeting.o");
}

#[test]
fn another_machine_gets_an_object_file_and_a_word_on_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let target = if cfg!(target_arch = "aarch64") { "x86_64-unknown-linux-gnu" } else { "aarch64-apple-darwin" };
    let run = compile(folder.path(), &["models/hello.net", "--target", target]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    assert!(text(&run.stdout).contains(&format!("--target {target} runtime/src/lib.rs")), "{}", text(&run.stdout));
    assert!(folder.path().join("hello.o").exists() && folder.path().join("hello.h").exists());
    let run = compile(folder.path(), &["models/hello.net", "--target", target, "-o", "hello.a"]);
    assert_eq!(run.status.code(), Some(2), "{}", text(&run.stderr));
    let run = compile(folder.path(), &["models/hello.net", "--target", "pdp11-dec-unix"]);
    assert_eq!(run.status.code(), Some(2));
    assert!(text(&run.stderr).contains("x86_64-unknown-linux-gnu"), "{}", text(&run.stderr));
}

#[test]
fn what_is_wrong_is_said_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["models/hello.net", "-o", "hello"], 2, "does not say what to write"),
        (&["models/hello.net", "-o", "hello.so", "--emit", "lib"], 2, "its ending says something else"),
        (&["models/rnn_by_hand.net", "--train"], 1, "has no `loss`"),
        (&["models/hello.net", "--embed-weights", "models/digits/digits.safetensors"], 1, "digits.safetensors"),
        (&["models/hello.net", "--name", "printf"], 1, "means something else"),
        (&["models/hello.net", "-o", "no/such/folder/x.a"], 4, "no such file or directory"),
    ];
    for (arguments, code, message) in cases {
        let run = compile(folder.path(), arguments);
        assert_eq!(run.status.code(), Some(*code), "{arguments:?}: {}", text(&run.stderr));
        assert!(text(&run.stderr).contains(message), "{arguments:?}: {}", text(&run.stderr));
    }
    let run = Command::new(BIN)
        .args(["compile", "models/hello.net", "--emit", "shared", "-o"])
        .arg(folder.path().join("x.so"))
        .env("CC", "no-such-compiler")
        .current_dir(root())
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(4));
    assert!(text(&run.stderr).contains("install a C compiler or name one in CC"), "{}", text(&run.stderr));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
