//! The program of a compiled network.
#![expect(unsafe_code, reason = "C's `main` takes raw arguments")]

mod common;

use std::ffi::{CString, c_char};
use std::fs;
use std::path::{Path, PathBuf};

use common::{N, artifact, description, network};
use netc_runtime::artifact::program::netc_artifact_main;
use netc_runtime::artifact::{Instance, Options, Tasks};

/// The exit code.
fn run(arguments: &[&str]) -> i32 {
    let arguments: Vec<CString> = ["tiny"].iter().chain(arguments).map(|text| CString::new(*text).unwrap()).collect();
    let pointers: Vec<*const c_char> = arguments.iter().map(|argument| argument.as_ptr()).collect();
    // SAFETY: as many texts as it is told.
    unsafe { netc_artifact_main(program(), pointers.len() as i32, pointers.as_ptr()) }
}

/// The network with `y` as its only output.
fn program() -> &'static netc_runtime::artifact::raw::Artifact {
    let mut description = description();
    description.results.truncate(3);
    description.entries.truncate(3);
    let mut artifact = *artifact(description.to_bytes(), None);
    artifact.variants = 1;
    Box::leak(Box::new(artifact))
}

fn npy(descr: &str, shape: &str, values: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), values].concat()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

struct Folder(PathBuf);

impl Folder {
    /// A folder with weights of 0.5 each.
    fn new(name: &str) -> Folder {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::remove_dir_all(&folder).ok();
        fs::create_dir_all(&folder).unwrap();
        let folder = Folder(folder);
        let options = Options { tasks: Tasks::STEP, ..network().options() };
        let mut instance = Instance::new(&network(), &options).unwrap();
        instance.parameter_mut(0).unwrap().fill(0.5);
        instance.save(Path::new(&folder.path("weights")), false).unwrap();
        folder
    }
    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
    fn put(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

#[test]
fn arrays_of_numpy_run_through() {
    let folder = Folder::new("npy");
    let (weights, out) = (folder.path("weights"), folder.path("out.npy"));
    let x = folder.put("x.npy", &npy("<f8", "(2, 3)", &[1.0_f64; 6].map(f64::to_le_bytes).concat()));
    let tokens =
        folder.put("tokens.npy", &npy("<i8", "(2, 4)", &[1_i64, 1, 1, 1, 0, 0, 0, 2].map(i64::to_le_bytes).concat()));
    let run_with =
        |inputs: [&str; 2]| run(&["--weights", &weights, inputs[0], inputs[1], "--output", &out, "--threads=2"]);
    let named = format!("tokens={tokens}");
    for inputs in [[x.as_str(), tokens.as_str()], [named.as_str(), x.as_str()]] {
        assert_eq!(run_with(inputs), 0);
        let found = fs::read(&out).unwrap();
        assert!(found.windows(8).any(|part| part == b"(2, 40,)"), "the shape");
        let values = floats(&found[found.len() - 8 * N..]);
        assert_eq!((values.len(), values[0], values[N]), (2 * N, 7.0, 5.0));
    }
    // One member without the axis of the batch.
    let x = folder.put("x1.npy", &npy("<f4", "(3,)", &bytes(&[2.0; 3])));
    let tokens = folder.put("tokens1.npy", &npy("|u1", "(1,)", &[4]));
    assert_eq!(run_with([&x, &tokens]), 0);
    assert_eq!(floats(&fs::read(&out).unwrap()[128..])[..2], [10.0, 10.0]);
}

#[test]
fn raw_numbers_run_through() {
    let folder = Folder::new("raw");
    let (weights, out) = (folder.path("weights"), folder.path("out.raw"));
    let x = folder.put("x.raw", &bytes(&[1.0; 6]));
    let tokens = folder.put("tokens.raw", &[1, 0, 0, 0].repeat(6));
    assert_eq!(run(&["--raw", &x, &tokens, "--weights", &weights, "--output", &format!("y={out}")]), 0);
    let found = floats(&fs::read(&out).unwrap());
    assert_eq!((found.len(), found[0], found[N]), (2 * N, 6.0, 6.0));
}

#[test]
fn exit_codes_tell_what_is_wrong() {
    let folder = Folder::new("exit");
    let (weights, out) = (folder.path("weights"), folder.path("out.npy"));
    let x = folder.put("x.npy", &npy("<f4", "(1, 3)", &bytes(&[1.0; 3])));
    let tokens = folder.put("tokens.npy", &npy("|u1", "(1, 1)", &[4]));
    let wrong_token = folder.put("token5.npy", &npy("|u1", "(1, 1)", &[5]));
    let two = folder.put("two.npy", &npy("|u1", "(2, 1)", &[0, 0]));
    let fractions = folder.put("fractions.npy", &npy("<f4", "(1, 1)", &bytes(&[1.0])));
    let check = |code: i32, arguments: &[&str]| {
        let all = [&["--output", &out, "--weights", &weights], arguments].concat();
        assert_eq!(run(&all), code, "{arguments:?}");
    };
    check(0, &[&x, &tokens]);
    check(1, &[&x, &wrong_token]);
    check(1, &[&x, &two]);
    check(1, &[&x, &fractions]);
    check(1, &[&tokens, &x]);
    check(1, &[&x, &weights]);
    check(1, &["--weights", &x, &x, &tokens]);
    check(2, &[&x]);
    check(2, &[&x, &tokens, &tokens]);
    check(2, &["-", "-"]);
    check(2, &["--threads", "0", &x, &tokens]);
    check(2, &["--thread", &x, &tokens]);
    check(2, &[&x, &tokens, "--weights"]);
    check(2, &[&x, &tokens, "--output", &x]);
    check(4, &[&x, "nowhere.npy"]);
    check(4, &["--weights", "nowhere", &x, &tokens]);
    assert_eq!(run(&[&x, &tokens]), 2, "without weights");
    assert_eq!(run(&["--weights", &weights, &x, &tokens, "--output", "/nonexistent/y"]), 4);
    assert_eq!([run(&["--help"]), run(&["--version"])], [0, 0]);
}
