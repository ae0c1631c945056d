//! What all commands have in common: JSON, errors, quiet and verbose, colors, completions, manual pages.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn netc(line: &str) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_netc"));
    command.args(line.split_whitespace()).current_dir(root).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command.output().unwrap()
}
fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}
fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const DIGITS: &str = "models/digits.net --weights models/digits/digits.safetensors";

#[test]
fn tables_are_json_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("w.safetensors");
    let net = netc::check_source("c", &fs::read_to_string("models/charlm.net").unwrap()).unwrap();
    let session = netc::Session::new(net, &netc::SessionOptions { threads: 1, seed: 0 });
    fs::write(&weights, session.to_safetensors(false)).unwrap();
    for line in [
        "check models/digits.net --json".to_owned(),
        format!("run {DIGITS} --input models/digits/seven.png --json"),
        "gradients models/digits.net --batch 2 --json".to_owned(),
        format!("sample models/charlm.net --weights {} --length 5 --json", weights.display()),
        "explain --json".to_owned(),
        "explain shape-mismatch --json".to_owned(),
        "layers --json".to_owned(),
        "layers conv3x3 --json".to_owned(),
        "layers lstm --json".to_owned(),
    ] {
        let output = netc(&line);
        assert!(output.status.success(), "{line}: {}", stderr(&output));
        let json: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(json["version"], 1, "{line}");
    }
    let output = netc(&format!("sample models/charlm.net --weights {} --length 5 --json", weights.display()));
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(json["tokens"].as_array().unwrap().len(), 5, "{json}");
    let json: Value = serde_json::from_str(&stdout(&netc("layers --json"))).unwrap();
    assert_eq!(json["layers"].as_array().unwrap().len(), netc::layers::all().len() + 8);
}

#[test]
fn errors_are_json_with_json() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.net");
    fs::write(&wrong, "net n {\n  input x[4]\n  densse(2)\n}\n").unwrap();
    let wrong = wrong.display();
    for (line, exit, message) in [
        (format!("check {wrong} --json"), 1, "densse"),
        (format!("run {wrong} --input a.npy --json"), 1, "densse"),
        ("gradients no.net --json".to_owned(), 4, "no.net"),
        ("layers nothing --json".to_owned(), 2, "no layer"),
        ("check --json".to_owned(), 2, "<FILE>"),
        ("run models/digits.net --json --nothing".to_owned(), 2, "--nothing"),
    ] {
        let output = netc(&line);
        assert_eq!(output.status.code(), Some(exit), "{line}");
        let json: Value = serde_json::from_str(&stderr(&output))
            .unwrap_or_else(|error| panic!("{line}: {error}: {}", stderr(&output)));
        assert_eq!((&json["version"], &json["error"]["exit"]), (&1.into(), &exit.into()), "{line}");
        let text = json["error"]["message"].as_str().unwrap();
        assert!(text.contains(message) && !text.contains('\x1b') && !text.starts_with("error:"), "{line}: {text}");
        let n_errors = json["error"]["errors"].as_array().unwrap().len();
        assert_eq!(n_errors, usize::from(exit == 1), "{line}");
    }
}

#[test]
fn quiet_and_verbose() {
    let line = "run models/digits.net --input models/digits/seven.png --threads 1";
    let usual = netc(line);
    assert!(stderr(&usual).starts_with("note: ") && stderr(&usual).lines().count() == 1, "{}", stderr(&usual));
    let quiet = netc(&format!("-q {line}"));
    assert_eq!((stderr(&quiet).as_str(), &quiet.stdout), ("", &usual.stdout));
    let verbose = netc(&format!("{line} --verbose"));
    for part in ["digits: 11,274 parameters, 45.1 kB", "kernels, 1 thread, seed 1", "generate code", "run: "] {
        assert!(stderr(&verbose).contains(part), "{part}: {}", stderr(&verbose));
    }
    assert_eq!(verbose.stdout, usual.stdout);
    // Errors are said in any case.
    assert!(stderr(&netc("check no.net --quiet")).contains("no.net"));
    assert_eq!(netc("check no.net -q -v").status.code(), Some(2));
}

#[test]
fn colors() {
    assert!(!stdout(&netc("check models/digits.net")).contains('\x1b'), "a pipe has no colors");
    assert!(stdout(&netc("check models/digits.net --color always")).contains('\x1b'));
    assert!(stderr(&netc("--color always check no.net")).contains('\x1b'));
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let text = stdout(&netc(&format!("completions {shell}")));
        assert!(["gradients", "no_such_command"].map(|name| text.contains(name)) == [true, false], "{shell}");
    }
    assert_eq!(netc("completions csh").status.code(), Some(2));
}

#[test]
fn a_manual_page_for_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("man/man1");
    assert!(netc(&format!("man {}", place.display())).status.success());
    let help = stdout(&netc("--help"));
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let mut names: Vec<String> = commands
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(|name| format!("netc-{name}.1"))
        .collect();
    names.push("netc.1".to_owned());
    names.sort();
    let mut pages: Vec<String> =
        fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    pages.sort();
    assert_eq!(pages, names);
    for name in &names {
        let text = fs::read_to_string(place.join(name)).unwrap();
        assert!(text.contains(".SH \"EXIT STATUS\"") && text.contains("\n130\n"), "{name}");
        assert_eq!(text.contains(".SH EXAMPLES"), name != "netc.1", "{name}");
    }
    assert_eq!(fs::read_to_string(place.join("netc.1")).unwrap(), stdout(&netc("man")));
}
