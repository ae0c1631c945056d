//! Weights of instances: saved, loaded, and refused when they do not fit.

mod common;

use std::fs;
use std::path::PathBuf;

use common::{N, artifact, description, network};
use netc_runtime::artifact::{Array, Figures, Instance, Network, Options, Sizes, Status};

fn instance(seed: u64) -> Instance {
    Instance::new(&network(), &Options { batch: 2, steps: vec![1], seed, ..network().options() }).unwrap()
}

fn train(instance: &mut Instance) {
    let figures = &mut Figures::default();
    let sizes = Sizes { batch: 1, axes: &[] };
    instance.train_step(&sizes, &[Array::F32(&[0.0; 3])], &[Array::F32(&[0.0; N])], figures).unwrap();
}

fn carried(instance: &mut Instance, batch: usize) -> f32 {
    let (x, mut total) = ([1.0; 6], [0.0; 6]);
    let sizes = Sizes { batch, axes: &[] };
    let n = 3 * batch;
    instance.forward(&sizes, &[Array::F32(&x[..n])], &mut [&mut [], &mut total[..n]]).unwrap();
    total[0]
}

fn bytes(instance: &Instance, training: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    instance.write(training, &mut bytes).unwrap();
    bytes
}

/// A file of its own in the folder for temporary files.
fn path(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder).unwrap();
    folder.join("weights.safetensors")
}

#[test]
fn what_is_saved_is_loaded() {
    let mut first = instance(1);
    (0..3).for_each(|_| train(&mut first));
    first.set_carry(true).unwrap();
    assert_eq!([carried(&mut first, 2), carried(&mut first, 2)], [1.5, 2.5]);
    let path = path("saved");
    for training in [true, false] {
        first.save(&path, training).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes(&first, training));
        let mut second = instance(2);
        second.set_carry(true).unwrap();
        assert_ne!(first.parameter(0), second.parameter(0));
        second.load(&path).unwrap();
        assert_eq!(first.parameter(0), second.parameter(0));
        assert_eq!(second.steps_done(), if training { 3 } else { 0 });
        assert_eq!(carried(&mut second, 2), if training { 3.5 } else { 1.5 });
    }
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "a temporary file is left");
}

#[test]
fn a_file_that_cannot_be_written_leaves_nothing() {
    let path = path("refused");
    // A folder in the place of the file.
    fs::create_dir(&path).unwrap();
    assert_eq!(instance(1).save(&path, false).unwrap_err().status, Status::File);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    let error = instance(1).load(&path.with_file_name("none")).unwrap_err();
    assert_eq!(error.status, Status::File);
    assert!(error.message.contains("none"), "{error}");
}

#[test]
fn the_header_is_that_of_sessions() {
    let bytes = bytes(&instance(7), false);
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&bytes[8..8 + len]).unwrap();
    let expected = r#"{"__metadata__":{"format":"1","network":"tiny","seed":"7"},"norm.mean":{"data_offsets":[0,8],"dtype":"F32","shape":[2]},"w":{"data_offsets":[8,488],"dtype":"F32","shape":[3,40]}}"#;
    assert_eq!(header.trim_end(), expected);
    assert!(len.is_multiple_of(8));
}

#[test]
fn embedded_weights_are_what_an_instance_begins_with() {
    let mut trained = instance(3);
    (0..2).for_each(|_| train(&mut trained));
    let artifact = artifact(description().to_bytes(), Some(bytes(&trained, true)));
    // SAFETY: the artifact is that of the test's functions.
    #[expect(unsafe_code, reason = "an artifact holds addresses")]
    let network = unsafe { Network::new(artifact) }.unwrap();
    let copy = Instance::new(&network, &Options { steps: vec![1], ..network.options() }).unwrap();
    assert_eq!(copy.parameter(0), trained.parameter(0));
    assert_eq!(copy.steps_done(), 2);
}

/// A file of these tensors, each of so many floats.
fn file(tensors: &[(&str, &str, &str, usize)], metadata: &str) -> Vec<u8> {
    let mut end = 0;
    let mut members = vec![format!("\"__metadata__\":{{{metadata}}}")];
    for (name, dtype, shape, n) in tensors {
        let start = end;
        end += 4 * n;
        members.push(format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#));
    }
    let header = format!("{{{}}}", members.join(","));
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + end, 1);
    bytes
}

#[test]
fn weights_that_do_not_fit_change_nothing() {
    let w = ("w", "F32", "[3,40]", 120);
    let mean = ("norm.mean", "F32", "[2]", 2);
    let cases = [
        (vec![w], "", "the weights have no `norm.mean`"),
        (vec![mean, ("w", "F32", "[40,3]", 120)], "", "`w` has shape [3, 40] in the network, [40, 3] in the weights"),
        (vec![mean, ("w", "I32", "[3,40]", 120)], "", "`w` is I32, not F32"),
        (vec![mean, w, ("v", "F32", "[1]", 1)], "", "the network has no parameter `v`, which the weights have"),
        (vec![mean, w, w], "", "`w` stands twice in the weights"),
        (
            vec![mean, w, ("optimizer.m.w", "F32", "[1]", 1)],
            "",
            "`optimizer.m.w` has shape [3, 40] in the network, [1] in the weights",
        ),
        (
            vec![mean, w, ("optimizer.v.x", "F32", "[1]", 1)],
            "",
            "`optimizer.v.x` belongs to no parameter of the network",
        ),
        (vec![mean, w], "\"step\":\"x\"", "`x` is no number of steps"),
        (
            vec![mean, w, ("carry.sum.h", "F32", "[3,3]", 9)],
            "",
            "`carry.sum.h` is that of a batch of 3, and the instance takes 2",
        ),
    ];
    for (tensors, metadata, message) in cases {
        let mut instance = instance(1);
        let before = bytes(&instance, true);
        let error = instance.load_memory(&file(&tensors, metadata)).unwrap_err();
        assert_eq!((error.message.as_str(), error.status), (message, Status::InvalidWeights));
        assert_eq!(bytes(&instance, true), before, "{message}");
    }
    // The moments of another optimizer, and tensors in another order.
    instance(1).load_memory(&file(&[w, ("optimizer.v.w", "F32", "[3,40]", 120), mean], "")).unwrap();
}

#[test]
fn damaged_files_are_refused() {
    let good = bytes(&instance(1), true);
    for end in (0..600).chain([good.len() - 1]) {
        let error = instance(1).load_memory(&good[..end]).unwrap_err();
        assert_eq!(error.status, Status::InvalidWeights, "cut at {end}: {error}");
    }
    for len in [u64::MAX, u64::MAX - 7, 100_000_001, good.len() as u64] {
        let mut bytes = good.clone();
        bytes[..8].copy_from_slice(&len.to_le_bytes());
        assert_eq!(instance(1).load_memory(&bytes).unwrap_err().status, Status::InvalidWeights);
    }
}
