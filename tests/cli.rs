//! The command line from outside: exit codes, what goes to which stream, and what is left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use ndarray::{ArrayD, IxDyn};
use netc::data::{file, write_npz};
use snapbox::cmd::{Command, OutputAssert};
use snapbox::str;

const BIN: &str = env!("CARGO_BIN_EXE_netc");

/// Which side of the diagonal a point is on.
const SIDE: &str = "\
net side {
  input  x[2]
  target label: token(2)

  dense(4, tanh)
  logits = dense(2)

  output logits
  loss   cross_entropy(logits, label)
  metric accuracy(logits, label)
}

train side {
  optimizer adam(lr = 0.01)
  batch     8
  epochs    2
}
";

/// A folder with `side.net` and `data.npz`, 50 points for it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Place(tempfile::tempdir().unwrap());
        place.write("side.net", SIDE);
        let x = ArrayD::from_shape_fn(IxDyn(&[50, 2]), |at| ((at[0] * 7 + at[1] * 13) % 20) as f32 / 10.0 - 1.0);
        let label = ArrayD::from_shape_fn(IxDyn(&[50]), |at| f32::from(u8::from(x[[at[0], 0]] > x[[at[0], 1]])));
        let arrays = [("x", x.view()), ("label", label.view())];
        file::write(&place.path("data.npz"), |file| write_npz(file, arrays)).unwrap();
        place
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }
    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }
    /// Runs a command line, split at spaces, in the folder.
    fn netc(&self, line: &str) -> OutputAssert {
        Command::new(BIN).args(line.split_whitespace()).env_remove("NO_COLOR").current_dir(self.0.path()).assert()
    }
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn model(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name).display().to_string()
}

fn stdout(run: OutputAssert) -> String {
    String::from_utf8(run.success().get_output().stdout.clone()).unwrap()
}

#[test]
fn a_table_of_the_layers() {
    let place = Place::new();
    place.netc("check side.net").success().stderr_eq("").stdout_eq(str![[r#"
layer   kind   output  parameters  MACs  activations
x       input  [2]
dense1  dense  [4]             12     8         16 B
logits  dense  [2]             10     8          8 B
────────────────────────────────────────────────────
total                          22    16         24 B

weights                88 B
workspace, inference[..] B  for a batch of 1
workspace, training [..] B  for a batch of 8
optimizer's moments   176 B
MACs are multiply-accumulates of one member of the batch.

"#]]);
    let text = stdout(place.netc("check side.net --explain --batch 3"));
    assert!(text.contains("2 x 4 + 4 = 12 parameters") && text.contains("activations x 3"), "{text}");
}

#[test]
fn published_figures() {
    let place = Place::new();
    for (name, parameters, multiply_accumulates) in [
        ("vgg16.net", 138_357_544u64, 15_470_264_320u64),
        ("vgg19.net", 143_667_240, 19_632_062_464),
        ("resnet18.net", 11_689_512, 1_814_073_344),
    ] {
        let text = stdout(place.netc(&format!("check {} --json", model(name))));
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["version"], 1);
        assert_eq!(json["total"]["parameters"], parameters, "{name}");
        assert_eq!(json["total"]["multiply_accumulates"], multiply_accumulates, "{name}");
        assert!(json["training"]["workspace_bytes"].as_u64() > json["inference"]["workspace_bytes"].as_u64(), "{name}");
    }
}

#[test]
fn exit_codes_and_messages() {
    let place = Place::new();
    place.write("wrong.net", "net wrong {\n  input x[2]\n  densse(4)\n  output x\n}\n");
    place.write("no_loss.net", "net a {\n  input x[2]\n  input y[2]\n  z = x + y\n  output z\n}\n");
    place.write("two.net", TWO);
    place.write("bytes.net", "\u{0}");
    place.write("weights", "no weights");
    place.write("labels", "one\n");
    place.write("pictures.net", "net pictures {\n  input x[3, 4, 4]\n  conv3x3(2)\n}\n");
    image::RgbImage::new(9, 9).save(place.path("a.png")).unwrap();
    fs::write(place.path("cut.png"), &place.read("a.png")[..50]).unwrap();
    let cases = [
        (1, "check wrong.net", "error[unknown-layer]: "),
        (1, "check bytes.net", "error[not-text]: "),
        (1, "check side.net --set train.optimizer.lr=x", "error["),
        (1, "check side.net --net other", "error["),
        (2, "check side.net --set x", "write `NAME=VALUE`"),
        (2, "check side.net --batch 0", "write a whole number from 1"),
        (2, "check side.net --length T=3", "the network has no sequence axis `T`; it has none"),
        (4, "check none.net", "none.net: no such file or directory"),
        (4, "check .", ".: is a directory"),
        (1, "check no_loss.net --emit backward", "`a` has no `loss`, so it has no entry `gradients`"),
        (2, "nonsense", "unrecognized subcommand"),
        (2, "run side.net", "--input"),
        (4, "run side.net --input x=none.npy", "none.npy: no such file or directory"),
        (1, "run side.net --input side.net", "side.net: holds neither an array (.npy, .npz) nor a picture"),
        (2, "run side.net --input y=data.npz", "the network has no input `y`; it has `x`"),
        (2, "run no_loss.net --input data.npz", "does not say which input it is for"),
        (2, "run no_loss.net --input x=data.npz", "there is no `--input y=FILE`"),
        (1, "run side.net --input data.npz:label", "data.npz: has shape [50], but `x` takes [2], or a batch of such"),
        (1, "run side.net --input data.npz --weights weights", "weights: the weights cannot be read"),
        (2, "run side.net --input data.npz --output out.txt", "names neither an .npz nor an .npy"),
        (4, "run side.net --input data.npz --output no/out.npz", "no/out.npz: no such file or directory"),
        (2, "run side.net --input data.npz --output y=out.npy", "the network has no output `y`; it has `logits`"),
        (2, "run side.net --input data.npz --output logits=out.txt", "names neither an .npz nor an .npy"),
        (2, "run side.net --input data.npz --output a.npy --output logits=./a.npy", "`--output` names `./a.npy` twice"),
        (
            2,
            "run two.net --input data.npz --output out.npy",
            "`out.npy` holds one array, but the network has 2 outputs",
        ),
        (1, "run side.net --input data.npz --top 1 --labels labels", "there are 1 labels, but `logits` has 2 classes"),
        (2, "run side.net --input data.npz --mean 1", "`--mean` is for pictures"),
        (2, "train side.net --data npz:data.npz --weights-only", "it needs `--save FILE`"),
        (2, "run side.net --input data.npz --threads 0", "write a number from 1 to 1024"),
        (2, "train side.net --data csv:data.npz", "`csv` is no kind of data"),
        (2, "train side.net --data npz:data.npz --validate 100%", "is no percentage between 0% and 100%"),
        (1, "train side.net --data idx:data.npz", "`idx:` names 1 files"),
        (1, "train no_loss.net --data npz:data.npz", "`a` has no `loss`, so it cannot be trained"),
        (4, "train side.net --data npz:data.npz --save no/w", "no/w: no such file or directory"),
        (1, "train side.net --data npz:data.npz --resume weights", "weights: the weights cannot be read"),
        (1, "run pictures.net --input a.png --mean 0,1", "there are 2 means for 3 channels"),
        (1, "run pictures.net --input cut.png", "cut.png: is no picture that can be read"),
        (1, "run side.net --input a.png", "a.png: is a picture, but `x` has shape [2]"),
        (2, "explain nonsense", "there is no error `nonsense`"),
        (2, "layers conw", "there is no layer `conw`; did you mean `conv`?"),
        (1, "fmt wrong.net bytes.net", "error[not-text]"),
    ];
    for (code, line, message) in cases {
        let run = place.netc(line).code(code);
        let output = run.get_output();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(message), "netc {line}: {stderr}");
        assert!(output.stdout.is_empty(), "netc {line}: {}", String::from_utf8_lossy(&output.stdout));
        assert!(!stderr.contains('\x1b'), "netc {line}: colors without a terminal");
    }
}

#[test]
fn algorithms_are_as_asked() {
    let place = Place::new();
    place.write(
        "c.net",
        "net c {\n  input x[3, 20, 20]\n  conv3x3(32) -> conv3x3(32) -> conv3x3(32) -> conv1x1(4)\n}\n",
    );
    let algorithms = |options: &str| -> String {
        let kernels = stdout(place.netc(&format!("emit c.net --stage kernels {options}")).code(0));
        let calls = kernels.lines().filter_map(|line| line.split(" = conv Forward ").nth(1));
        calls.map(|call| format!("{} ", call.split(' ').next().unwrap())).collect()
    };
    let chosen = algorithms("");
    assert!(chosen.contains("Winograd"), "{chosen}");
    assert_eq!(algorithms("--set-algorithm auto"), chosen);
    assert_eq!(algorithms("--math strict"), "Direct Direct Direct Direct ");
    assert_eq!(algorithms("--set-algorithm direct"), "Direct Direct Direct Direct ");
    assert_eq!(algorithms("--set-algorithm winograd2"), "Direct Winograd2x2 Winograd2x2 Direct ");
    assert_eq!(algorithms("--set-algorithm winograd4 --set-algorithm conv3=direct"), "Direct Winograd Direct Direct ");
    let refused = |options: &str, code: i32, message: &str| {
        let run = place.netc(&format!("emit c.net --stage kernels {options}")).code(code);
        let stderr = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
        assert!(stderr.contains(message), "{options}: {stderr}");
    };
    refused("--set-algorithm conv4=winograd4", 1, "`winograd4` cannot compute `conv4`: its kernel is 1x1, not 3x3");
    refused("--set-algorithm conv1=winograd2", 1, "`winograd2` cannot compute `conv1`: 3 channels are fewer than 16");
    refused("--set-algorithm con2=direct", 1, "`con2` is no layer with a convolution; `conv2` is one");
    refused("--set-algorithm fft", 2, "`fft` is none of `direct`, `winograd2`, `winograd4` and `auto`");
    refused("--math strict --set-algorithm direct", 2, "cannot be used with");
}

#[test]
fn help_and_reference_go_to_standard_output() {
    let place = Place::new();
    for command in ["check", "run", "train", "emit", "fmt", "explain", "layers"] {
        let text = stdout(place.netc(&format!("{command} --help")));
        assert!(text.contains("Examples:\n"), "{text}");
    }
    assert!(stdout(place.netc("--help")).contains("Exit codes: 0 done"));
    assert!(stdout(place.netc("explain error[shape-mismatch]")).starts_with("shape-mismatch\n"));
    assert!(stdout(place.netc("layers dense")).starts_with("dense("));
    assert!(stdout(place.netc("layers")).contains("cross_entropy"));
}

#[test]
fn every_stage_can_be_printed() {
    let place = Place::new();
    for stage in ["ast", "graph", "backward", "simplified", "kernels", "plan", "clif", "asm"] {
        let text = stdout(place.netc(&format!("emit side.net --stage {stage} --entry train_step")));
        assert!(text.len() > 100 && text.ends_with('\n'), "{stage}: {text}");
        assert_eq!(text, stdout(place.netc(&format!("check side.net --emit {stage} --entry train_step"))));
    }
    place.netc("emit side.net --stage ast -o ast.txt").success().stdout_eq("");
    assert_eq!(stdout(place.netc("emit side.net --stage ast")).into_bytes(), place.read("ast.txt"));
}

#[test]
fn files_are_formatted_in_place_and_whole() {
    let place = Place::new();
    place.write("a.net", "net  a {input x[3]\ndense(2)  # two\n}");
    place.netc("fmt --check a.net side.net").code(1).stdout_eq("a.net\n");
    place.netc("fmt a.net side.net").success().stdout_eq("").stderr_eq("");
    place.netc("fmt --check a.net side.net").success().stdout_eq("");
    let formatted = place.read("a.net");
    Command::new(BIN)
        .args(["fmt", "-"])
        .stdin("net  a {input x[3]\ndense(2)  # two\n}")
        .assert()
        .success()
        .stdout_eq(formatted);
    Command::new(BIN).args(["check", "-"]).stdin("net a {\n  input x[y]\n").assert().code(1).stderr_eq(str![[r#"
error[syntax]: [..]
 --> <stdin>:[..]
...
"#]]);
    assert_eq!(place.names(), ["a.net", "data.npz", "side.net"]);
}

#[test]
fn a_run_says_when_its_parameters_are_initial() {
    let place = Place::new();
    let run = place.netc("run side.net --input data.npz --seed 5 --output out.npz --threads 2");
    let stderr = String::from_utf8(run.get_output().stderr.clone()).unwrap();
    assert_eq!(stderr, "note: without `--weights` the parameters have their initial values, of seed 5\n");
    assert!(stdout(run).starts_with("logits [2] "));
    let first = place.read("out.npz");
    place.netc("run side.net --input x=data.npz:x --seed 5 --output out.npz --threads 1").success();
    assert_eq!(first, place.read("out.npz"), "threads change nothing");
    place.write("labels", "below\nabove\n");
    let text = stdout(place.netc("run side.net --input data.npz --top 2 --labels labels --json"));
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["initial_values_of_seed"], 0);
    let top = json["outputs"]["logits"]["top"][49].as_array().unwrap();
    let sum: f64 = top.iter().map(|class| class["probability"].as_f64().unwrap()).sum();
    assert!(top.len() == 2 && (sum - 1.0).abs() < 1e-9, "{top:?}");
}

/// A network with two outputs.
const TWO: &str = "net two {\n  input x[2]\n  y = x -> relu\n  z = x -> tanh\n  output y\n  output z\n}\n";

#[test]
fn outputs_go_to_files_by_their_names() {
    let place = Place::new();
    place.write("two.net", TWO);
    place.netc("run two.net --input x=data.npz:x --output all.npz --output z=z.npy --output y=1=y.npz").success();
    assert_eq!(place.names(), ["1=y.npz", "all.npz", "data.npz", "side.net", "two.net", "z.npy"]);
    let values = |input: &str, output: &str| -> Vec<f64> {
        let text = stdout(place.netc(&format!("run two.net --input x={input} --json")));
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json["outputs"][output]["values"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    };
    let [y, z] = ["y", "z"].map(|output| values("data.npz:x", output));
    assert!(z.iter().any(|&z| z < 0.0) && y.iter().all(|&y| y >= 0.0));
    let positive = |values: &[f64]| values.iter().map(|x| x.max(0.0)).collect::<Vec<_>>();
    assert_eq!(values("z.npy", "y"), positive(&z));
    assert_eq!(values("all.npz:z", "y"), positive(&z));
    // The only array of its file.
    assert_eq!(values("1=y.npz", "y"), y);
}

#[test]
fn errors_as_json() {
    let place = Place::new();
    place.write("wrong.net", "net wrong {\n  input x[2]\n  densse(4)\n}\n");
    let run = place.netc("check wrong.net --json").code(1);
    let json: serde_json::Value = serde_json::from_slice(&run.get_output().stdout).unwrap();
    let error = &json["errors"][0];
    assert_eq!((&error["code"], &error["line"], &error["column"]), (&"unknown-layer".into(), &3.into(), &3.into()));
}

#[test]
fn a_training_reports_saves_and_goes_on() {
    let place = Place::new();
    let data = "--data npz:data.npz --validate 20%";
    let text =
        stdout(place.netc(&format!("train side.net {data} --epochs 4 --save whole --log log.jsonl --threads 1")));
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(text.lines().next().unwrap().contains("validate.accuracy"), "{text}");
    let log = String::from_utf8(place.read("log.jsonl")).unwrap();
    assert_eq!(log.lines().count(), 4);
    let line: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    for key in [
        "epoch",
        "train.loss",
        "train.accuracy",
        "validate.loss",
        "validate.accuracy",
        "lr",
        "seconds",
        "examples_per_second",
    ] {
        assert!(line[key].is_number(), "{key}: {line}");
    }
    // In two parts, with other threads: the same bytes.
    place
        .netc(&format!("train side.net {data} --epochs 1 --save parts --quiet --threads 2"))
        .success()
        .stdout_eq("")
        .stderr_eq("");
    place.netc(&format!("train side.net {data} --epochs 4 --resume parts --json")).success();
    assert!(place.read("whole") == place.read("parts"), "an interruption leaves a trace");
    place.netc(&format!("train side.net {data} --epochs 4 --resume parts")).success().stdout_eq("");
    place.netc("train side.net --data npz:data.npz --epochs 9 --resume parts").code(1);
    place.netc(&format!("train side.net {data} --resume parts --seed 7")).code(2);
    place.netc(&format!("train side.net {data} --resume parts --epochs 9 --set train.optimizer=sgd")).code(2);
    place.netc(&format!("train side.net {data} --weights parts --weights-only --save alone")).success();
    assert!(2 * place.read("alone").len() < place.read("parts").len());
    place.netc("run side.net --input data.npz --weights alone").success().stderr_eq("");
    assert_eq!(place.names(), ["alone", "data.npz", "log.jsonl", "parts", "side.net", "whole"]);
}

#[test]
fn a_checkpoint_knows_its_overrides() {
    let place = Place::new();
    let text = SIDE.replace("net side {", "net side(hidden = 4) {").replace("dense(4, tanh)", "dense(hidden, tanh)");
    place.write("side.net", &text);
    place.netc("train side.net --data npz:data.npz --set hidden=7 --save w").success();
    place.netc("run side.net --input data.npz --weights w").success();
    place.netc("run side.net --input data.npz --weights w --set hidden=6").code(1);
    place.netc("train side.net --data npz:data.npz --resume w --epochs 3").success();
}

#[test]
fn a_divergence_keeps_the_last_good_weights() {
    let place = Place::new();
    place.netc("train side.net --data npz:data.npz --save w").success();
    let good = place.read("w");
    let line = "train side.net --data npz:data.npz --resume w --epochs 5 --set train.optimizer.lr=1e38";
    let run = place.netc(line).code(3);
    let stderr = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert!(stderr.contains("the training diverged: in epoch 3"), "{stderr}");
    assert!(stderr.contains("`w` holds the weights after epoch 2"), "{stderr}");
    assert!(good == place.read("w"));
}

#[cfg(unix)]
#[test]
fn an_interrupt_saves_and_loses_nothing() {
    let place = Place::new();
    let data = "train side.net --data npz:data.npz --validate 20% --threads 1";
    let line = format!("{data} --epochs 1000000 --save w --log log.jsonl --quiet");
    let mut child = Process::new(BIN)
        .args(line.split_whitespace())
        .current_dir(place.0.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while fs::read(place.path("log.jsonl")).is_ok_and(|log| log.is_empty()) || !place.path("w").exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "no epoch in a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
    Process::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let status = child.wait().unwrap();
    let mut stderr = String::new();
    std::io::Read::read_to_string(&mut child.stderr.unwrap(), &mut stderr).unwrap();
    assert_eq!(status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("`--resume w` goes on from here"), "{stderr}");
    let epochs = String::from_utf8(place.read("log.jsonl")).unwrap().lines().count() + 2;
    place.netc(&format!("{data} --epochs {epochs} --resume w")).success();
    place.netc(&format!("{data} --epochs {epochs} --save whole")).success();
    assert!(place.read("w") == place.read("whole"), "the interruption left a trace");
}

#[cfg(target_os = "linux")]
#[test]
fn full_disks_and_closed_pipes() {
    let place = Place::new();
    let run = |line: &str, stdout: Stdio| {
        let args = line.split_whitespace();
        let run =
            Process::new(BIN).args(args).current_dir(place.0.path()).stdout(stdout).stderr(Stdio::piped()).output();
        let output = run.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let expected = "error: standard output: no space left on device\n".to_owned();
    assert_eq!(run("check side.net", full.into()), (Some(4), expected));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(run("check side.net", writer.into()), (Some(0), String::new()));
    // A training goes on without a reader, and is saved.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let (code, _) = run("train side.net --data npz:data.npz --save w", writer.into());
    assert_eq!(code, Some(0));
    std::os::unix::fs::symlink("/dev/full", place.path("full.npz")).unwrap();
    let run = place.netc("run side.net --input data.npz --output full.npz").code(4);
    assert!(String::from_utf8_lossy(&run.get_output().stderr).contains("full.npz: no space left on device"));
}

#[test]
fn colors_are_as_asked() {
    let place = Place::new();
    let colored = |command: Command| {
        let output = command.current_dir(place.0.path()).assert();
        output.get_output().stderr.contains(&0x1b) || output.get_output().stdout.contains(&0x1b)
    };
    let netc = |args: &[&str]| Command::new(BIN).args(args).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    assert!(!colored(netc(&["check", "side.net"])));
    assert!(colored(netc(&["check", "side.net", "--color", "always"])));
    assert!(colored(netc(&["check", "none.net", "--color=always"])));
    assert!(colored(netc(&["check", "none.net"]).env("CLICOLOR_FORCE", "1")));
    assert!(!colored(netc(&["check", "none.net", "--color=never"]).env("CLICOLOR_FORCE", "1")));
    assert!(!colored(netc(&["nonsense", "--color=never"]).env("CLICOLOR_FORCE", "1")));
}
