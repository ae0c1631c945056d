//! `netc bench`: what it measures is there and adds up; no figure is a condition.

use std::path::Path;
use std::process::Command;

use ndarray::{Array1, Array4};
use netc::session::Phase;
use netc::{Entry, Net, SessionOptions, inputs};
use serde_json::Value;

fn bench(args: &[&str]) -> (bool, String, String) {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let output = Command::new(env!("CARGO_BIN_EXE_netc")).current_dir(models).arg("bench").args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_profile_names_every_layer() {
    let (ok, stdout, stderr) =
        bench(&["digits.net", "--train", "--batch", "4", "--threads", "1", "--profile", "--json"]);
    assert!(ok, "{stderr}");
    let json: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(json["entry"], "train_step");
    assert_eq!(json["operations"], 2.0 * 791_840.0 * 4.0 * 3.0);
    let steps = json["profile"]["steps"].as_array().unwrap();
    for layer in ["conv1", "maxpool1", "conv2", "maxpool2", "dropout1", "logits", "cross_entropy1"] {
        for phase in ["forward", "backward"] {
            let is_there = steps.iter().any(|step| step["layer"] == layer && step["phase"] == phase);
            // The loss has its gradient with it, and the pool finds which of the neighbors is the largest.
            let goes_forward = [("maxpool2", "backward"), ("cross_entropy1", "backward")];
            assert_eq!(is_there, !goes_forward.contains(&(layer, phase)), "{layer} {phase}");
        }
    }
    let products = |phase: &str| -> f64 {
        let of_phase = steps.iter().filter(|step| step["phase"] == phase);
        of_phase.map(|step| step["product_operations"].as_f64().unwrap()).sum()
    };
    assert_eq!(products("forward"), 2.0 * 791_840.0 * 4.0);
    // The first layer has no gradient with respect to its input.
    assert_eq!(products("backward"), 2.0 * (2.0 * 791_840.0 - 156_800.0) * 4.0);
    assert!(steps.iter().any(|step| step["layer"] == "conv1" && step["phase"] == "update"));
}

#[test]
fn tables_and_refusals() {
    let (ok, stdout, _) = bench(&["rows.net", "--length", "7", "--threads", "2", "--profile"]);
    assert!(ok && stdout.starts_with("rows, forward, batch 1, length 7, 2 threads"), "{stdout}");
    assert!(stdout.contains("GFLOP/s") && stdout.contains("add up to"), "{stdout}");
    let (ok, _, stderr) = bench(&["vgg16.net", "--train", "--batch", "0"]);
    assert!(!ok && stderr.contains("--batch"), "{stderr}");
}

#[test]
fn profiling_is_training() {
    let text = include_str!("../models/digits.net");
    let options = SessionOptions { threads: 1, seed: 5 };
    let net = Net::from_source("digits.net", text);
    let (x, y) = (Array4::<f32>::from_elem((3, 1, 28, 28), 0.25), Array1::<i32>::from(vec![1, 2, 3]));
    let (mut profiled, mut plain) = (net.compile(&options).unwrap(), net.compile(&options).unwrap());
    let profile = profiled.profile(Entry::TrainStep, inputs![x, y], 2).unwrap();
    assert!(profile.steps.iter().any(|step| step.phase == Phase::Update));
    // One call that warms up, and two rounds of both kinds; step by step or not, all compute the same.
    for _ in 0..5 {
        plain.train_step(inputs![x, y]).unwrap();
    }
    assert_eq!(profiled.step(), plain.step());
    assert_eq!(profiled.to_safetensors(true), plain.to_safetensors(true));
}
