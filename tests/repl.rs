//! `netc repl` from outside: scripts through a pipe, and what needs somebody who types through a pseudo-terminal.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const BIN: &str = env!("CARGO_BIN_EXE_netc");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Pipes a script in.
fn run(args: &[&str], folder: &Path, script: &str) -> Output {
    let mut repl = Command::new(BIN)
        .arg("repl")
        .args(args)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have stopped before it has read everything.
    let _ = repl.stdin.take().unwrap().write_all(script.as_bytes());
    repl.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}
fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What a script that is right prints.
fn answers(script: &str) -> String {
    let output = run(&[], root(), script);
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

#[test]
fn layers_and_their_shapes() {
    let text = answers("input x[3, 32, 32]\nconv3x3(16, relu)\n");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["[3, 32, 32]", "[16, 32, 32]  448 parameters"]);
    assert!(lines[2].starts_with("from 0.0000 to ") && lines.len() == 3, "{text}");
}

#[test]
fn a_cell_over_several_lines() {
    let cell = "cell unit(hidden) {\n  input x[n]\n  state h[hidden]\n\n  h' = tanh([x, h] -> dense(hidden))\n  output h'\n}\n";
    let text = answers(&format!("input x[T, 8]\n{cell}unit(16)\n  -> last\n:length T 20\ndense(2)\n"));
    assert!(
        text.contains("[T, 16]  400 parameters\n")
            && text.contains("\n[16]\n")
            && text.contains("[2]  34 parameters\n"),
        "{text}"
    );
}

#[test]
fn a_value_is_that_of_netc_run() {
    let folder = tempfile::tempdir().unwrap();
    let script = "input x[4]\ndense(3, tanh)\n:input x ones\n:run\n:save net.net\n:save w.safetensors\n";
    let output = run(&[], folder.path(), script);
    assert!(output.status.success(), "{}", stderr(&output));
    let x = ndarray::Array2::<f32>::ones((1, 4)).into_dyn();
    netc::data::file::write(&folder.path().join("x.npy"), |file| netc::data::write_npy(file, &x.view())).unwrap();
    let args = ["run", "net.net", "--weights", "w.safetensors", "--input", "x.npy"];
    let other = Command::new(BIN).args(args).env("NO_COLOR", "1").current_dir(&folder).output().unwrap();
    let numbers = |text: &str| text.lines().last().unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let shown = stdout(&output);
    let shown = shown.split("saved").next().unwrap();
    assert_eq!(numbers(shown), numbers(&stdout(&other))[1..], "{shown}\n{}", stdout(&other));
}

#[test]
fn a_script_stops_at_its_first_mistake() {
    let output = run(&[], root(), "input x[4]\ndense(2)\nconvv3x3(2)\ndense(7)\n");
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("error[unknown-layer]") && text.contains("repl:3:1") && text.contains("conv3x3"), "{text}");
    assert!(!stdout(&output).contains("[7]"));
    for (script, code, message) in [
        ("input x[4\n", 1, "never closed"),
        (":nothing\n", 2, "no command"),
        (":load no.net\n", 4, "no.net"),
        (":check\n", 1, "no net yet"),
        (":load -\n", 2, "write `:load"),
        ("input x[4]\ndense(2)\n:train\n", 1, "no loss"),
    ] {
        let output = run(&[], root(), script);
        assert_eq!(output.status.code(), Some(code), "{script}");
        assert!(stderr(&output).contains(message), "{script}: {}", stderr(&output));
    }
}

#[test]
fn what_is_saved_compiles() {
    let folder = tempfile::tempdir().unwrap();
    let script = "input x[4]\ntarget t: token(2)\nconst n = 2\ny = dense(8) ->\n  relu\n-> dense(n)\noutput y\nloss cross_entropy(y, t)\n\
                  train repl { epochs 3 }\n:save a.net\n";
    assert!(run(&[], folder.path(), script).status.success());
    let check = Command::new(BIN).args(["check", "a.net"]).current_dir(&folder).output().unwrap();
    assert!(check.status.success() && stdout(&check).contains("58"), "{}", stderr(&check));
    let fmt = Command::new(BIN).args(["fmt", "--check", "a.net"]).current_dir(&folder).output().unwrap();
    assert!(fmt.status.success(), "{}", fs::read_to_string(folder.path().join("a.net")).unwrap());
    // What is not complete is not written.
    let output = run(&[], folder.path(), "input x[4]\n:save b.net\n");
    assert!(stderr(&output).contains("unused-input") && !folder.path().join("b.net").exists());
}

#[test]
fn a_model_is_loaded_and_gone_on_with() {
    let text =
        answers(":load models/vgg16.net\n:undo\ninput x[3, 8, 8]\nconv3x3(2)\n:load models/digits.net\n:emit clif\n");
    assert!(text.contains("138,357,544 parameters\nundone: :load models/vgg16.net\n"), "{text}");
    assert!(text.contains("11,274 parameters") && text.contains("function"), "{text}");
    let output = run(
        &["models/digits.net", "--weights", "models/digits/digits.safetensors"],
        root(),
        ":run models/digits/seven.png\n",
    );
    let text = stdout(&output);
    let values: Vec<f64> =
        text.lines().last().unwrap().split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!(output.status.success() && text.contains("logits [10]"), "{text}{}", stderr(&output));
    let most = values.iter().copied().fold(f64::MIN, f64::max);
    assert_eq!(values.iter().position(|value| *value == most), Some(7), "{text}");
}

#[test]
fn parameters_outlive_edits() {
    let net =
        "input x[3]\ntarget y[1]\np = dense(1)\noutput p\nloss mse(p, y)\ntrain repl { optimizer sgd(lr = 0.1) }\n";
    let text = answers(&format!(
        "{net}:show p.weight\n:train 20\n:show p.weight\nq = x -> dense(5)\n:show p.weight\n:undo\n:grad\n"
    ));
    let weights: Vec<&str> = text.match_indices("[1, 3]\n").map(|(at, _)| text[at..].lines().nth(2).unwrap()).collect();
    assert_eq!(weights.len(), 3, "{text}");
    assert_ne!(weights[0], weights[1]);
    assert_eq!(weights[1], weights[2]);
    assert!(text.contains("20 steps, loss") && text.contains('▁') && text.contains("p.weight"), "{text}");
}

/// Another net's parameters are none of this one's, even of the same names.
#[test]
fn a_file_begins_with_its_own_parameters() {
    let folder = tempfile::tempdir().unwrap();
    let net = "net n {\n  input x[3]\n  target y[1]\n  p = dense(1)\n  output p\n  loss mse(p, y)\n}\n";
    fs::write(folder.path().join("a.net"), net).unwrap();
    fs::write(folder.path().join("b.net"), net).unwrap();
    let show = ":show p.weight\n";
    let output =
        run(&["a.net"], folder.path(), &format!("{show}:train 20\n{show}:load a.net\n{show}:load b.net\n{show}"));
    let text = stdout(&output);
    let weights: Vec<&str> = text.match_indices("[1, 3]\n").map(|(at, _)| text[at..].lines().nth(2).unwrap()).collect();
    assert!(output.status.success() && weights.len() == 4, "{text}");
    assert!(weights[0] != weights[1] && weights[1] == weights[2] && weights[0] == weights[3], "{weights:?}");
}

#[test]
fn help_for_commands_and_layers() {
    let text = answers(":help\n:help emit\n:help dense\n");
    for part in [":load FILE [NET]", "Stages: ast, graph", "dense(n"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[cfg(unix)]
mod typing {
    use rexpect::session::{Options, PtySession, spawn_with_options};

    use super::*;

    /// Somebody at a terminal.
    struct Typist(PtySession);

    impl Typist {
        fn new(folder: &Path, state: &Path) -> Self {
            let mut command = Command::new(BIN);
            command
                .arg("repl")
                .current_dir(folder)
                .env("XDG_STATE_HOME", state)
                .env("TERM", "xterm")
                .env("NO_COLOR", "1");
            let options = Options::new().timeout_ms(Some(60_000)).strip_ansi_escape_codes(true);
            let mut typist = Typist(spawn_with_options(command, options).unwrap());
            typist.expect("`:help` lists the commands");
            typist.expect("> ");
            typist
        }
        #[track_caller]
        fn expect(&mut self, text: &str) -> String {
            self.0.exp_string(text).unwrap_or_else(|error| panic!("{text}: {error}"))
        }
        fn line(&mut self, text: &str) {
            self.keys(&format!("{text}\r"));
        }
        fn keys(&mut self, keys: &str) {
            self.0.send(keys).unwrap();
            self.0.flush().unwrap();
        }
        fn interrupt(&mut self) {
            self.0.send_control('c').unwrap();
        }
        /// Types a line and waits for its answer.
        #[track_caller]
        fn ask(&mut self, line: &str, answer: &str) {
            self.line(line);
            self.expect(answer);
            self.expect("> ");
        }
        fn end(mut self) {
            self.0.send_control('d').unwrap();
            self.0.exp_eof().unwrap();
        }
    }

    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        (folder, state)
    }

    #[test]
    fn errors_lose_nothing() {
        let (_folder, state) = place();
        let mut typist = Typist::new(root(), &state);
        typist.ask("input x[3, 32, 32]", "[3, 32, 32]\r\n");
        let start = Instant::now();
        typist.ask("conv3x3(16, relu)", "[16, 32, 32]  448 parameters\r\n");
        // A tenth in a release build; here the compiler is slow and the machine shared.
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        typist.line("dense(");
        typist.interrupt();
        typist.expect("> ");
        typist.ask("conv3x3(16, stride = 0)", "error[");
        typist.ask("nothing -> relu", "repl:3:1");
        typist.ask("global_avgpool", "[16]\r\n");
        typist.ask(":undo", "undone: global_avgpool");
        typist.end();
        // What was typed is there the next time.
        let mut typist = Typist::new(root(), &state);
        typist.keys("\x1b[A\x1b[A");
        typist.expect("global_avgpool");
        typist.line("");
        typist.expect("error[no-flow]");
        typist.end();
    }

    #[test]
    fn colors_where_they_are_wanted() {
        let (folder, state) = place();
        let mut command = Command::new(BIN);
        command.arg("repl").current_dir(folder.path()).env("XDG_STATE_HOME", &state).env("TERM", "xterm");
        command.env_remove("NO_COLOR");
        let options = Options::new().timeout_ms(Some(60_000));
        let mut typist = Typist(spawn_with_options(command, options).unwrap());
        typist.line("input x[1, 4, 4]");
        typist.expect("\u{1b}[1;35minput\u{1b}[0m");
        typist.line("conv3x3(1)");
        typist.expect("\u{1b}[36mconv3x3\u{1b}[0m");
        typist.line(":show");
        typist.expect("\u{1b}[38;2;");
        typist.end();
        // Where the history cannot be written, nothing else changes.
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let mut typist = Typist::new(folder.path(), &file);
        typist.ask("input x[4]", "[4]\r\n");
        typist.end();
    }

    #[test]
    fn a_definition_over_several_lines() {
        let (folder, state) = place();
        let mut typist = Typist::new(folder.path(), &state);
        typist.ask("input x[8]", "[8]\r\n");
        for line in ["block twice(f) {", "  f -> f"] {
            typist.line(line);
        }
        typist.ask("}", "block twice(f)\r\n");
        typist.line("twice(dense(4)) ->");
        typist.ask("relu", "[4]  56 parameters\r\n");
        typist.end();
    }

    #[test]
    fn tab_completes() {
        let (_folder, state) = place();
        let mut typist = Typist::new(root(), &state);
        typist.keys("input pict[4]\r");
        typist.expect("[4]\r\n");
        typist.keys("pi\t -> dense(2, bi\tfalse)\r");
        typist.expect("[2]  8 parameters\r\n");
        typist.keys(":lo\t models/vgg1\t6\t\r");
        typist.expect("138,357,544 parameters");
        typist.end();
    }

    #[test]
    fn an_interrupt_stops_a_training_and_keeps_what_it_learned() {
        let (folder, state) = place();
        let mut typist = Typist::new(folder.path(), &state);
        for line in ["input x[3]", "target y[1]", "p = dense(1)", "output p"] {
            typist.ask(line, "\r\n");
        }
        typist.ask("loss mse(p, y)", "loss ");
        typist.line(":train 1000000000");
        typist.expect("step ");
        typist.interrupt();
        let steps = typist.expect(" steps, loss ");
        typist.expect("stopped; the parameters keep what was learned");
        typist.expect("> ");
        let steps: usize = steps.split_whitespace().last().unwrap().replace(',', "").parse().unwrap();
        assert!((1..1_000_000_000).contains(&steps), "{steps}");
        // Going on begins where it was: the loss of a net that has learned its batch stays.
        typist.line(":train 5");
        typist.expect("5 steps, loss ");
        let first: f64 = typist.expect(" to ").parse().unwrap();
        let last: f64 = typist.expect(" ").parse().unwrap();
        typist.expect("> ");
        assert!((first - last).abs() < 0.01, "{first} {last}");
        typist.ask(":save w.safetensors", "saved");
        typist.end();
        assert!(folder.path().join("w.safetensors").exists());
    }
}
