//! Compiled libraries do what sessions do, bit for bit, in programs of C.

#[path = "artifacts/build.rs"]
mod build;
#[path = "artifacts/script.rs"]
mod script;

use std::fs;
use std::process::Command;

use build::{Built, STRICT_C, STRICT_CPP, build, cc, model, network};
use netc::artifact::{Options, Target, compile};
use netc::pipeline::{Entry, Variant};
use netc::{Session, SessionOptions, entries};
use script::{Op, Script};

/// Runs a network through all that it can be asked for, with batches up to 3 and so many steps, and trains it.
#[track_caller]
fn check(name: &str, set: &[(&str, &str)], steps: usize, train_steps: usize) {
    let network = model(name, set);
    let trains = 0 < train_steps;
    let built = build(&network, Options { train: trains, ..Options::default() });
    for threads in [1, 2] {
        let mut script = Script::new(network.clone(), [3, steps + 1], threads, trains);
        let has_axes = !network.axes.is_empty();
        script.call(Op::Forward, [2, steps], false);
        script.call(Op::Forward, [1, steps + 1], false);
        if has_axes {
            script.call(Op::Forward, [3, steps], true);
        }
        for step in 0..train_steps {
            if step == train_steps / 2 {
                script.rate(0.01);
                script.call(Op::Evaluate, [2, steps], has_axes);
            }
            script.call(Op::Train, [3, steps], has_axes && step % 3 == 1);
        }
        if trains {
            script.call(Op::Evaluate, [2, steps], false);
            script.dump();
        }
        script.call(Op::Forward, [3, steps], false);
        if entries::check(&network, &Variant { carried: true, ..Variant::from(Entry::Forward) }).is_ok() {
            script.carry(true);
            script.call(Op::Forward, [2, steps], false);
            script.call(Op::Forward, [2, steps], true);
            if trains {
                script.call(Op::Train, [2, steps], false);
                script.call(Op::Train, [2, steps], true);
                script.call(Op::Evaluate, [2, steps], false);
            }
            script.reset();
            script.call(Op::Forward, [1, steps], false);
            script.carry(false);
        }
        if entries::check(&network, &Entry::Begin.into()).is_ok()
            && entries::check(&network, &Entry::Step.into()).is_ok()
        {
            script.call(Op::Begin, [2, steps], false);
            (0..4).for_each(|_| script.call(Op::Step, [2, steps], false));
        }
        script.end();
        built.run_driver(&script, trains);
    }
}

#[test]
fn digits_after_100_training_steps() {
    check("digits", &[], 0, 100);
}

#[test]
fn lenet_after_100_training_steps() {
    check("lenet", &[], 0, 100);
}

#[test]
fn small_sequences() {
    check("hello", &[], 7, 100);
    check("filter", &[], 9, 20);
    check("rnn_by_hand", &[], 6, 0);
    check("lstm_by_hand", &[], 6, 0);
}

#[test]
fn sequences() {
    check("charlm", &[("hidden", "40")], 6, 12);
    check("rows", &[("hidden", "24")], 28, 6);
    check("flow", &[], 12, 6);
    check("textcnn", &[], 9, 4);
}

/// What is prepared for few members is prepared for many when they come.
#[test]
fn few_members_and_many() {
    let network = model("rows", &[]);
    let built = build(&network, Options { train: true, ..Options::default() });
    let mut script = Script::new(network, [40, 28], 1, true);
    for members in [1, 40, 2, 30] {
        script.call(Op::Forward, [members, 28], false);
    }
    script.call(Op::Train, [40, 28], false);
    script.call(Op::Forward, [40, 28], false);
    script.end();
    built.run_driver(&script, true);
}

#[test]
fn several_axes() {
    check("seq2seq", &[("hidden", "24")], 5, 6);
    check("seq2seq_attention", &[("hidden", "24")], 5, 6);
    check("caption", &[("hidden", "24")], 4, 2);
}

#[test]
fn large_maps() {
    check("inception", &[], 0, 0);
    check("resnet18", &[], 0, 1);
    check("cells", &[], 2, 0);
}

/// Without AVX the other half of each library runs, and so does other code of the session.
#[test]
fn portable_code_has_the_bits_of_portable_sessions() {
    let this = std::env::current_exe().unwrap();
    let tests = ["small_sequences", "several_axes", "digits_after_100_training_steps"];
    let run = Command::new(this).args(tests).arg("--exact").env("NETC_CPU", "portable").output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
    assert!(String::from_utf8_lossy(&run.stdout).contains("3 passed"));
}

#[test]
fn headers_are_clean_in_c99_and_cpp17() {
    let ports = "net awkward { input int[register, 2]\n input batch[register, 2]\n target new[register, 2]\n \
                 (int + batch) -> lstm(2)\n double = dense(2)\n output double\n loss mse(double, new) }";
    let networks = [network(ports), model("lenet", &[]), model("seq2seq", &[]), model("filter", &[])];
    for (network, train) in networks.iter().flat_map(|network| [(network, false), (network, true)]) {
        let built = build(network, Options { train, ..Options::default() });
        let name = &built.name;
        for (flags, ending) in [(STRICT_C, "c"), (STRICT_CPP, "cpp")] {
            let text = format!("#include \"{name}.h\"\nint main(void) {{ return {name}_version()[0] == 0; }}\n");
            built.program(&format!("clean.{ending}"), &text, flags);
        }
    }
}

#[test]
fn names_that_c_has_taken_are_errors_and_can_be_others() {
    let network = network("net double { input x[2]\n y = dense(1) }");
    let error = compile(&network, Options::default()).unwrap_err();
    assert_eq!(error.to_string(), "`double` means something else in C, C++ or their libraries");
    let artifact = compile(&network, Options { name: Some("twice".into()), ..Options::default() }).unwrap();
    assert!(artifact.header.contains("twice_run("));
}

#[test]
fn a_library_is_small_and_tells_only_documented_names() {
    let built = build(&model("lenet", &[]), Options::default());
    let main = "#include \"lenet.h\"\nint main(void) { lenet *net; return lenet_create(NULL, &net); }";
    let program = built.program("small.c", main, &["-s"]);
    let size = fs::metadata(&program).unwrap().len();
    assert!(size <= 1_000_000, "{size} bytes");

    let shared = built.folder.path().join("liblenet.so");
    cc(
        built.folder.path(),
        &["-shared", "-o", "liblenet.so", "-Wl,--whole-archive", "liblenet.a", "-Wl,--no-whole-archive"],
    );
    let listing = Command::new("nm").arg("-D").arg("--defined-only").arg(&shared).output().unwrap();
    let listing = String::from_utf8(listing.stdout).unwrap();
    let mut found: Vec<&str> = listing.lines().filter_map(|line| line.split(' ').next_back()).collect();
    found.sort_unstable();
    let header = &built.artifact.header;
    assert!(found.len() > 15, "{found:?}");
    for name in &found {
        assert!(header.contains(&format!("{name}(")), "{name} is not documented");
    }
    let needed = Command::new("nm").arg("-D").arg("--undefined-only").arg(&shared).output().unwrap();
    let needed = String::from_utf8(needed.stdout).unwrap();
    assert!(!needed.contains("_Unwind") && !needed.contains("rust") && !needed.contains("netc"), "{needed}");
}

#[test]
fn the_same_network_gives_the_same_bytes() {
    let make = || compile(&model("hello", &[]), Options { train: true, ..Options::default() }).unwrap();
    let (a, b) = (make(), make());
    assert!(a.object == b.object && a.header == b.header);
    assert_eq!(a.library().unwrap(), b.library().unwrap());
}

#[test]
fn object_files_for_every_machine() {
    let network = model("hello", &[]);
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for target in Target::all() {
        let artifact = compile(&network, Options { target: Some(target), ..Options::default() }).unwrap();
        let magic: &[u8] = if target.is_apple() { &[0xcf, 0xfa, 0xed, 0xfe] } else { b"\x7fELF" };
        assert!(artifact.object.starts_with(magic), "{target}");
        let is_host = Target::host() == Some(target);
        assert_eq!(artifact.library().is_ok(), is_host, "{target}");
        seen.push(artifact.object);
    }
    assert_ne!(seen[0], seen[3]);
}

/// Two networks in one program, and instances of each on threads of their own.
#[test]
fn networks_and_instances_share_nothing() {
    let first = build(&model("digits", &[]), Options { train: true, ..Options::default() });
    let second = build(&model("hello", &[]), Options::default());
    for name in ["libhello.a", "hello.h"] {
        fs::copy(second.folder.path().join(name), first.folder.path().join(name)).unwrap();
    }
    let program = first.program("together.c", include_str!("artifacts/together.c"), &["libhello.a"]);
    let run = Command::new(program).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn weights_inside_are_those_of_the_file() {
    let network = model("digits", &[]);
    let options = SessionOptions { threads: 1, seed: 99 };
    let weights = Session::new(network.clone(), &options).to_safetensors(false);
    let built = build(&network, Options { weights: Some(weights.clone()), ..Options::default() });
    let main = "#include \"digits.h\"\n#include <stdio.h>\nint main(void) {\n  digits *net;\n  \
                if (digits_create(NULL, &net) != DIGITS_OK || digits_save(net, \"saved\", 0) != DIGITS_OK) return 1;\n  \
                digits_destroy(net);\n  return 0;\n}\n";
    let program = built.program("weights.c", main, STRICT_C);
    assert!(Command::new(program).current_dir(built.folder.path()).status().unwrap().success());
    let saved = fs::read(built.folder.path().join("saved")).unwrap();
    let mut session = Session::new(network.clone(), &SessionOptions { threads: 1, seed: 0 });
    session.load_safetensors(&saved).unwrap();
    assert_eq!(
        session.to_safetensors(false),
        Session::with_weights(network.clone(), &SessionOptions { threads: 1, seed: 0 }, &weights)
            .unwrap()
            .to_safetensors(false)
    );
    let wrong = Session::new(model("hello", &[]), &options).to_safetensors(false);
    assert!(compile(&network, Options { weights: Some(wrong), ..Options::default() }).is_err());
}

/// What cannot be is a status with words, never a crash.
#[test]
fn mistakes_are_statuses() {
    let built = build(&model("filter", &[]), Options::default());
    let program = built.program("mistakes.c", include_str!("artifacts/mistakes.c"), STRICT_C);
    let run = Command::new(program).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn without_a_loss_nothing_trains() {
    let error = compile(&model("rnn_by_hand", &[]), Options { train: true, ..Options::default() }).unwrap_err();
    assert!(error.to_string().contains("has no `loss`"), "{error}");
}

impl Built {
    /// Runs the driver on a script; what it prints is what the session computed.
    #[track_caller]
    fn run_driver(&self, script: &Script, trains: bool) {
        let program = self.driver(trains);
        let printed = build::feed(&program, &script.input);
        let (found, expected) = (&printed, &script.expected);
        let at = found.iter().zip(expected).position(|(a, b)| a != b);
        assert!(at.is_none(), "{}: byte {} of {} differs", self.name, at.unwrap_or(0), expected.len());
        assert_eq!(found.len(), expected.len(), "{}", self.name);
    }
}
