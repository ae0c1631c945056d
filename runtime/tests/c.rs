//! The functions of the C interface, called as C calls them.
#![expect(unsafe_code, reason = "C's functions take raw pointers")]

mod common;

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{null, null_mut};

use common::{N, artifact, description};
use netc_runtime::artifact::c::layout::{KINDS, Options, STATUSES};
use netc_runtime::artifact::c::table::*;
use netc_runtime::artifact::raw::Artifact;

/// `NET_options` of a network with one axis.
#[repr(C)]
struct TinyOptions {
    options: Options,
    steps: usize,
}

fn tiny() -> &'static Artifact {
    artifact(description().to_bytes(), None)
}

fn defaults(artifact: &Artifact) -> TinyOptions {
    let (memory, message) = (null_mut(), null_mut());
    let options = Options {
        batch: 7,
        threads: 7,
        seed: 7,
        tasks: 7,
        reserved: 7,
        memory,
        memory_size: 7,
        message,
        message_size: 7,
    };
    let mut options = TinyOptions { options, steps: 7 };
    // SAFETY: the struct of this network.
    unsafe { netc_artifact_options_default(artifact, (&raw mut options).cast()) };
    options
}

unsafe fn text(text: *const c_char) -> String {
    // SAFETY: a text of the library.
    unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned()
}

#[test]
fn statuses_kinds_and_texts_agree() {
    for status in STATUSES {
        // SAFETY: takes any number.
        assert_eq!(unsafe { text(netc_artifact_status_text(status.value)) }, status.documentation);
    }
    // SAFETY: as above.
    assert_eq!(unsafe { text(netc_artifact_status_text(-3)) }, "There is no such status.");
    // SAFETY: takes nothing.
    assert_eq!(unsafe { text(netc_artifact_version()) }, env!("CARGO_PKG_VERSION"));
    assert!(KINDS.iter().enumerate().all(|(at, kind)| kind.value == at as i32));
}

#[test]
fn a_network_is_used_from_beginning_to_end() {
    let artifact = tiny();
    let mut options = defaults(artifact);
    let Options { batch, threads, seed, tasks, memory, .. } = options.options;
    assert_eq!((batch, threads, seed, tasks, memory, options.steps), (1, 1, 11, 0, null_mut(), 0));
    (options.options.batch, options.steps) = (4, 3);
    let pointer = || (&raw const options).cast::<Options>();
    let mut net = null_mut();
    // SAFETY: as the header says, with arrays as long as the sizes.
    unsafe {
        let mut bytes = 0;
        assert_eq!(netc_artifact_memory_size(artifact, pointer(), &raw mut bytes), 0);
        assert!(bytes > 4 * 3 * N && bytes.is_multiple_of(64));
        assert_eq!(netc_artifact_create(artifact, pointer(), &raw mut net), 0);
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 7].map(|kind| netc_artifact_count(net, kind)), [2, 1, 2, 1, 2, 1, 1, 0]);
        let name = |kind: c_int, index: usize| netc_artifact_name(net, kind, index);
        assert_eq!(
            [name(0, 1), name(2, 0), name(4, 1), name(5, 0), name(6, 0)].map(|name| text(name)),
            ["tokens", "y", "norm.mean", "sum.h", "T"]
        );
        assert!(name(0, 2).is_null() && name(9, 0).is_null());
        let find = |kind: c_int, name: &CStr| netc_artifact_find(net, kind, name.as_ptr());
        assert_eq!((find(0, c"tokens"), find(0, c"goal"), find(1, c"goal")), (1, -1, 0));
        assert_eq!(
            [(0, 0), (0, 1), (4, 0), (4, 9)].map(|(kind, at)| netc_artifact_element(net, kind, at)),
            [0, 1, 0, -1]
        );
        let mut shape = [0; 2];
        assert_eq!((netc_artifact_rank(net, 0, 1), netc_artifact_rank(net, 0, 5)), (2, 0));
        assert_eq!(netc_artifact_shape(net, 0, 1, null(), shape.as_mut_ptr()), 0);
        assert_eq!(shape, [4, 3]);
        let sizes = [2, 3, 0];
        assert_eq!(netc_artifact_shape(net, 0, 1, sizes.as_ptr(), shape.as_mut_ptr()), 0);
        assert_eq!(shape, [2, 3]);
        assert_eq!(netc_artifact_shape(net, 0, 7, null(), shape.as_mut_ptr()), 1);

        let w = std::slice::from_raw_parts_mut(netc_artifact_parameter(net, 0), 3 * N);
        w.fill(0.5);
        netc_artifact_parameters_changed(net);
        let (x, tokens, mut y) = ([1.0_f32; 12], [1_i32; 12], [0.0_f32; 4 * N]);
        let inputs: [*const c_void; 2] = [x.as_ptr().cast(), tokens.as_ptr().cast()];
        let outputs: [*mut c_void; 2] = [y.as_mut_ptr().cast(), null_mut()];
        let forward =
            |sizes: &[usize; 3]| netc_artifact_forward(net, sizes.as_ptr(), inputs.as_ptr(), outputs.as_ptr());
        assert_eq!(forward(&[2, 3, 0]), 0);
        assert_eq!([y[0], y[2 * N - 1], y[2 * N]], [6.0, 6.0, 0.0]);
        let lengths = [1, 0];
        assert_eq!(forward(&[2, 3, lengths.as_ptr() as usize]), 0);
        assert_eq!([y[0], y[N]], [4.0, 3.0]);
        assert_eq!(netc_artifact_forward(net, null(), inputs.as_ptr(), outputs.as_ptr()), 0);
        assert_eq!(y[4 * N - 1], 6.0);
        assert_eq!(forward(&[5, 3, 0]), 1);
        assert_eq!(text(netc_artifact_error_message(net)), "the batch is from 1 to 4, not 5");
        assert_eq!(netc_artifact_forward(net, null(), null(), null()), 1);
        assert_eq!(netc_artifact_forward(net, null(), inputs.as_ptr(), null()), 1);
        assert_eq!(text(netc_artifact_error_message(net)), "the output `y` has no array");
        let targets: [*const c_void; 1] = [y.as_ptr().cast()];
        assert_eq!(
            netc_artifact_evaluate(net, null(), inputs.as_ptr(), targets.as_ptr(), null(), null_mut(), null_mut()),
            3
        );

        let (mut loss, mut error) = (0.0, 0.0);
        let train = |loss: *mut f32, error: *mut f32| {
            netc_artifact_train_step(net, [1, 0, 0].as_ptr(), inputs.as_ptr(), targets.as_ptr(), loss, error)
        };
        assert_eq!(netc_artifact_learning_rate(net), 0.25);
        assert_eq!(netc_artifact_set_learning_rate(net, 0.125), 0);
        assert_eq!(netc_artifact_set_learning_rate(net, f64::INFINITY), 1);
        assert_eq!(train(&raw mut loss, &raw mut error), 0);
        assert_eq!((loss, w[1]), (0.5, 0.375));
        assert_eq!(train(null_mut(), null_mut()), 0);
        assert_eq!(netc_artifact_steps_done(net), 2);

        let path = CString::new(format!("{}/c.safetensors", env!("CARGO_TARGET_TMPDIR"))).unwrap();
        assert_eq!(netc_artifact_save(net, path.as_ptr(), 1), 0);
        assert_eq!(netc_artifact_forget_training(net), 0);
        w.fill(9.0);
        assert_eq!(netc_artifact_load(net, path.as_ptr()), 0);
        assert_eq!((w[0], netc_artifact_steps_done(net)), (0.25, 2));
        let bytes = std::fs::read(path.to_str().unwrap()).unwrap();
        assert_eq!(netc_artifact_load_memory(net, bytes.as_ptr().cast(), bytes.len() - 1), 6);
        assert_eq!(netc_artifact_load_memory(net, bytes.as_ptr().cast(), bytes.len()), 0);
        assert_eq!(netc_artifact_load(net, c"/nonexistent/file".as_ptr()), 5);
        assert_eq!(netc_artifact_load(net, null()), 1);

        let mut total = [0.0_f32; 6];
        let outputs: [*mut c_void; 2] = [null_mut(), total.as_mut_ptr().cast()];
        let step = |states: *const *mut f32| netc_artifact_step(net, inputs.as_ptr(), states, outputs.as_ptr());
        assert!(netc_artifact_state(net, 0).is_null());
        assert_eq!(step(null()), 7);
        assert_eq!(netc_artifact_begin(net, [2, 0, 0].as_ptr(), null(), null()), 0);
        assert_eq!(step(null()), 0);
        assert_eq!(total, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let mut own = [7.0_f32; 6];
        assert_eq!(step([own.as_mut_ptr()].as_ptr()), 0);
        assert_eq!(own, [8.0; 6]);
        assert_eq!(*netc_artifact_state(net, 0), 1.0);
        assert_eq!(step([null_mut()].as_ptr()), 1);
        assert_eq!(netc_artifact_set_state(net, 0, 2, own.as_ptr()), 0);
        assert_eq!(netc_artifact_set_state(net, 0, 9, own.as_ptr()), 1);
        assert_eq!(step(null()), 0);
        assert_eq!(total, [9.0; 6]);
        assert_eq!(netc_artifact_reset(net), 0);
        assert_eq!(step(null()), 7);
        assert_eq!(netc_artifact_set_carry(net, 1), 0);
        netc_artifact_destroy(net);
        netc_artifact_destroy(null_mut());
    }
}

#[test]
fn the_callers_memory_is_used_or_refused() {
    #[repr(align(64))]
    struct Memory([u8; 1 << 17]);
    let artifact = tiny();
    let mut memory = Box::new(Memory([0xff; 1 << 17]));
    let mut message = [1_u8; 40];
    let mut options = defaults(artifact);
    options.steps = 1;
    options.options.message = message.as_mut_ptr().cast();
    options.options.message_size = message.len();
    let mut net = null_mut();
    let start = memory.0.as_mut_ptr();
    let mut create = |offset: usize, size: usize| {
        options.options.memory = start.wrapping_add(offset).cast();
        options.options.memory_size = size;
        let pointer = (&raw const options).cast();
        // SAFETY: the options of this network, and memory that outlives the instance.
        unsafe {
            let status = netc_artifact_create(artifact, pointer, &raw mut net);
            let parameter = netc_artifact_parameter(net, 0) as usize;
            netc_artifact_destroy(net);
            (status, parameter)
        }
    };
    let start = start as usize;
    let (status, parameter) = create(0, 1 << 17);
    assert_eq!(status, 0);
    assert!((start..start + (1 << 17)).contains(&parameter));
    assert_eq!(create(0, 1 << 8), (4, 0));
    assert_eq!(create(4, 1 << 16), (1, 0));
    let told = CStr::from_bytes_until_nul(&message).unwrap().to_str().unwrap();
    assert_eq!(told, "`memory` is not aligned to 64 bytes");
}

#[test]
fn null_is_survived() {
    // SAFETY: NULL is allowed.
    unsafe {
        let mut net = null_mut();
        assert_eq!(netc_artifact_create(null(), null(), &raw mut net), 1);
        assert_eq!(netc_artifact_create(tiny(), null(), null_mut()), 1);
        // The axis has no length.
        assert_eq!(netc_artifact_create(tiny(), null(), &raw mut net), 1);
        assert_eq!(netc_artifact_memory_size(tiny(), null(), null_mut()), 1);
        netc_artifact_options_default(tiny(), null_mut());
        assert_eq!(netc_artifact_forward(net, null(), null(), null()), 1);
        assert_eq!(text(netc_artifact_error_message(net)), "");
        assert_eq!((netc_artifact_count(net, 0), netc_artifact_find(net, 0, null())), (0, -1));
        assert!(netc_artifact_learning_rate(net).is_nan());
    }
}

#[test]
fn damaged_descriptions_are_refused() {
    let good = description().to_bytes();
    let create = |bytes: Vec<u8>| {
        let artifact = artifact(bytes, None);
        let mut options = TinyOptions { steps: 2, ..defaults(artifact) };
        options.options.batch = 2;
        options.options.threads = 1;
        options.options.tasks = 0;
        options.options.memory = null_mut();
        options.options.message = null_mut();
        let mut net = null_mut();
        // SAFETY: the options of this network; nothing is called but the making.
        unsafe {
            let status = netc_artifact_create(artifact, (&raw const options).cast(), &raw mut net);
            netc_artifact_destroy(net);
            status
        }
    };
    assert_eq!(create(good.clone()), 0);
    for end in (0..good.len()).step_by(7) {
        assert_eq!(create(good[..end].to_vec()), 8, "cut at {end}");
    }
    let mut other = good;
    other[0] += 1;
    assert_eq!(create(other), 8);
}
