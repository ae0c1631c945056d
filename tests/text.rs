//! Texts from outside: a network learns one, writes it, and goes on where it stopped; and how its gradients flow.

use std::fs;
use std::path::{Path, PathBuf};

use snapbox::cmd::{Command, OutputAssert};

const BIN: &str = env!("CARGO_BIN_EXE_netc");

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    /// Runs a command line, split at spaces, in the folder; `MODELS` stands for that of the networks.
    fn netc(&self, line: &str) -> OutputAssert {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").display().to_string();
        let args = line.split_whitespace().map(|arg| arg.replace("MODELS", &models));
        Command::new(BIN).args(args).env_remove("NO_COLOR").current_dir(self.0.path()).assert()
    }
    fn text(&self, line: &str) -> String {
        String::from_utf8(self.netc(line).success().get_output().stdout.clone()).unwrap()
    }
}

fn stderr(run: &OutputAssert) -> String {
    String::from_utf8(run.get_output().stderr.clone()).unwrap()
}

/// After "hell" comes "o".
#[test]
fn a_network_learns_a_word_and_writes_it() {
    let place = Place::new();
    let train = "train MODELS/hello.net --data text:MODELS/hello/hello.txt --threads 1";
    let table = place.text(&format!("{train} --save w --log log.jsonl"));
    for column in ["train.loss", "train.perplexity", "train.gradient_norm", "validate.perplexity", "characters/s"] {
        assert!(table.lines().next().unwrap().contains(column), "{column}: {table}");
    }
    let log = fs::read_to_string(place.path("log.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert!(last["validate.loss"].as_f64().unwrap() < 0.1, "{last}");
    assert!(last["characters_per_second"].is_number(), "{last}");

    assert_eq!(place.text("sample MODELS/hello.net --weights w --prompt h"), "hello\n");
    let sample = "sample MODELS/hello.net --weights w --prompt hell --length 1";
    assert_eq!(place.text(sample), "hello\n");
    let drawn = |seed: u64| {
        place
            .text(&format!("sample MODELS/hello.net --weights w --temperature 5 --length 60 --seed {seed} --threads 1"))
    };
    assert_eq!(drawn(3), drawn(3));
    let run = place.netc("sample MODELS/hello.net --weights w --prompt help").code(2);
    assert!(stderr(&run).contains("`p`, character 4 in line 1, is not in the vocabulary of 4 characters"));

    // Another text must do with the same characters.
    fs::write(place.path("other.txt"), "hollehollex".repeat(9)).unwrap();
    let run = place.netc("train MODELS/hello.net --data text:other.txt --weights w").code(1);
    assert!(stderr(&run).contains("other.txt: `x`, character 11 in line 1, is not in the vocabulary"));
    // In two parts: the same bytes.
    place.netc(&format!("{train} --epochs 3 --save whole --quiet")).success();
    place.netc(&format!("{train} --epochs 1 --save parts --quiet")).success();
    place.netc(&format!("{train} --epochs 3 --resume parts --quiet")).success();
    assert!(fs::read(place.path("whole")).unwrap() == fs::read(place.path("parts")).unwrap());
}

#[test]
fn the_vocabulary_is_set_by_the_text() {
    let place = Place::new();
    fs::write(place.path("abc.txt"), "abcab".repeat(30)).unwrap();
    let hello = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/hello.net")).unwrap();
    fs::write(place.path("any.net"), hello.replace("  until  3\n", "")).unwrap();
    let run = place.netc("train any.net --data text:abc.txt --epochs 1 --save w").success();
    assert!(stderr(&run).contains("note: `vocab` is 3, the number of different characters in `abc.txt`"));
    // The checkpoint knows it.
    let text = place.text("sample any.net --weights w --length 5");
    assert!(text.trim_end().chars().all(|c| "abc".contains(c)), "{text}");
    let run = place.netc("train any.net --data text:abc.txt --set vocab=7").code(1);
    assert!(stderr(&run).contains("`text` takes 7 tokens, but abc.txt has 3 different characters; `--set vocab=3`"));
    let run = place.netc("train MODELS/digits.net --data text:abc.txt").code(1);
    assert!(stderr(&run).contains("text needs a network with an input and a target like"));
    let run = place.netc("train any.net --data text:abc.txt --validate npz:a").code(2);
    assert!(stderr(&run).contains("`--validate text:FILE`"));
    fs::write(place.path("no.net"), "net no {\n  input x[2]\n  dense(1)\n}\n").unwrap();
    let run = place.netc("sample no.net --weights MODELS/hello/hello.safetensors").code(1);
    assert!(stderr(&run).contains("has no `generate` block"), "{}", stderr(&run));
}

/// The claim of docs/sequences.md: over 100 steps one memory's gradient vanishes, the other's does not.
#[test]
fn one_gradient_vanishes_and_the_other_does_not() {
    let place = Place::new();
    let text = place.text("gradients MODELS/flow.net --length 100 --json --plot flow.svg --threads 1");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let ratio = |name: &str| {
        let states = json["states"].as_array().unwrap();
        let state = states.iter().find(|state| state["name"] == name).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(state["norms"].as_array().unwrap().len(), 100);
        state["ratio"].as_f64().unwrap()
    };
    let (simple, open) = (ratio("rnn1.h"), ratio("open_lstm1.c"));
    assert!(simple < 1e-6, "the simple recurrence's gradient falls to {simple}");
    assert!(open > 1e-2, "the open memory's gradient falls to {open}");
    let svg = fs::read_to_string(place.path("flow.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("open_lstm1.c"));
    let table = place.text("gradients MODELS/flow.net --length 50 --threads 1");
    assert!(table.contains("state, steps back") && table.contains('█'), "{table}");
}
