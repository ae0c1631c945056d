//! Instances of a network whose code is written by hand.

mod common;

use common::{N, network};
use netc_runtime::artifact::{Array, Error, Figures, Instance, Options, Sizes, Status, Steps, Tasks};

fn options(batch: usize, steps: usize) -> Options {
    Options { batch, steps: vec![steps], ..network().options() }
}

fn steps(steps: usize) -> [Steps<'static>; 1] {
    [Steps { steps, lengths: None }]
}

/// What the network is to compute.
fn expected(w: &[f32], x: &[f32], sums: &[f32]) -> Vec<f32> {
    let element = |at: usize| (0..3).map(|k| 2.0 * w[k * N + at % N] * x[at / N * 3 + k]).sum::<f32>() + sums[at / N];
    (0..sums.len() * N).map(element).collect()
}

fn assert_near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (at, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= 1e-4, "element {at} is {a}, not {b}");
    }
}

fn run(instance: &mut Instance, batch: usize) -> Result<(Vec<f32>, Vec<f32>), Error> {
    let x: Vec<f32> = (0..batch * 3).map(|i| (i % 7) as f32 * 0.5 - 1.0).collect();
    let tokens: Vec<i32> = (0..batch as i32 * 2).map(|i| i % 5).collect();
    let mut y = vec![f32::NAN; batch * N];
    let sizes = Sizes { batch, axes: &steps(2) };
    instance.forward(&sizes, &[Array::F32(&x), Array::I32(&tokens)], &mut [&mut y])?;
    let sums: Vec<f32> = tokens.chunks(2).map(|pair| (pair[0] + pair[1]) as f32).collect();
    Ok((y, expected(instance.parameter(0).unwrap(), &x, &sums)))
}

#[test]
fn every_batch_up_to_the_largest_is_computed() {
    for threads in [1, 3] {
        let mut instance = Instance::new(&network(), &Options { threads, ..options(150, 4) }).unwrap();
        for batch in [1, 2, 150, 7, 121] {
            let (found, expected) = run(&mut instance, batch).unwrap();
            assert_near(&found, &expected);
        }
    }
}

#[test]
fn initial_values_are_those_of_the_seed() {
    let parameter = |seed: u64| {
        let instance = Instance::new(&network(), &Options { seed, ..options(1, 1) }).unwrap();
        assert_eq!(instance.parameters().collect::<Vec<_>>(), ["w", "norm.mean"]);
        assert_eq!(instance.parameter(1), Some(&[3.0, 3.0][..]));
        assert_eq!(instance.parameter(2), None);
        instance.parameter(0).unwrap().to_vec()
    };
    let mut expected = vec![0.0; 3 * N];
    let initial = &common::description().tensors[0].initial;
    netc_runtime::initial::fill("w", &[3, N], initial, 5, &mut expected, 1);
    assert_eq!(parameter(5), expected);
    assert_ne!(parameter(6), expected);
}

#[test]
fn changed_parameters_are_prepared_again() {
    let mut instance = Instance::new(&network(), &options(2, 4)).unwrap();
    run(&mut instance, 2).unwrap();
    instance.parameter_mut(0).unwrap().fill(0.25);
    let (found, expected) = run(&mut instance, 2).unwrap();
    assert_near(&found, &expected);
}

#[test]
fn lengths_cut_sequences() {
    let mut instance = Instance::new(&network(), &options(2, 3)).unwrap();
    let (x, tokens, mut y) = ([0.0; 6], [1, 2, 4, 4, 2, 1], [0.0; 2 * N]);
    let mut sums = |lengths: Option<&[i32]>| {
        let axes = [Steps { steps: 3, lengths }];
        let inputs = [Array::F32(&x), Array::I32(&tokens)];
        instance.forward(&Sizes { batch: 2, axes: &axes }, &inputs, &mut [&mut y]).map(|()| [y[0], y[N]])
    };
    assert_eq!(sums(None), Ok([7.0, 7.0]));
    assert_eq!(sums(Some(&[2, 0])), Ok([3.0, 0.0]));
    assert_eq!(sums(Some(&[3, 1])), Ok([7.0, 4.0]));
    for (lengths, status) in
        [([4, 0], Status::InvalidInput), ([0, -1], Status::InvalidInput), ([i32::MIN, 0], Status::InvalidInput)]
    {
        assert_eq!(sums(Some(&lengths)).unwrap_err().status, status);
    }
    assert_eq!(sums(Some(&[4])).unwrap_err().message, "the lengths `T` are 1, not 2");
}

#[test]
fn training_steps_count_and_change_parameters() {
    let mut instance = Instance::new(&network(), &Options { seed: 3 << 32 | 5, ..options(1, 1) }).unwrap();
    let before = instance.parameter(0).unwrap().to_vec();
    let (x, goal, mut error) = ([0.0; 3], [0.0; N], [0.0; 1]);
    let mut train = |instance: &mut Instance| {
        let mut figures = Figures { loss: 0.0, metrics: &mut error };
        let inputs = [Array::F32(&x), Array::I32(&[])];
        instance.train_step(&Sizes { batch: 1, axes: &[] }, &inputs, &[Array::F32(&goal)], &mut figures).unwrap();
        (figures.loss, figures.metrics[0])
    };
    // The key is the seed's halves together, and the step.
    assert_eq!(train(&mut instance), (before[0], 6.0 / 1024.0));
    instance.set_learning_rate(0.5).unwrap();
    assert_eq!(train(&mut instance), (before[0] - 0.25, 1.0 + 6.0 / 1024.0));
    assert_eq!(instance.steps_done(), 2);
    assert!((instance.parameter(0).unwrap()[7] - (before[7] - 0.75)).abs() < 1e-6);
    let (found, expected) = run(&mut instance, 1).unwrap_or_default();
    assert_near(&found, &expected);
    instance.forget_training();
    assert_eq!(instance.steps_done(), 0);
    assert!(instance.set_learning_rate(f64::NAN).is_err());
}

#[test]
fn steps_go_on_with_states() {
    let mut instance = Instance::new(&network(), &Options { tasks: Tasks::STEP, ..options(2, 0) }).unwrap();
    let (x, mut total) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0.0; 6]);
    let x = [Array::F32(&x)];
    let error = instance.step(&x, &mut [&mut [], &mut total]).unwrap_err();
    assert_eq!((error.status, error.message.as_str()), (Status::NotBegun, "call `begin` before the first step"));
    instance.begin(&Sizes { batch: 2, axes: &[] }, &[], &mut []).unwrap();
    assert_eq!(instance.state(0), Some(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0][..]));
    let mut own = [10.0; 6];
    for _ in 0..2 {
        instance.step(&x, &mut [&mut [0.0; 0], &mut total]).unwrap();
    }
    assert_eq!(total, [2.0, 5.0, 8.0, 11.0, 14.0, 17.0]);
    // A state of the caller, which leaves that of the instance alone.
    instance.step_with(&mut [&mut own], &x, &mut [&mut [], &mut total]).unwrap();
    assert_eq!(own, [11.0, 12.0, 13.0, 14.0, 15.0, 16.0]);
    assert_eq!(total, own);
    assert_eq!(instance.state(0).unwrap()[0], 2.0);
    assert!(instance.step_with(&mut [&mut own[..5]], &x, &mut [&mut [], &mut total]).is_err());
    instance.set_state(0, 2, &[0.0; 6]).unwrap();
    instance.step(&x, &mut [&mut [], &mut total]).unwrap();
    assert_eq!(total, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    instance.reset();
    assert_eq!(instance.step(&x, &mut [&mut [], &mut total]).unwrap_err().status, Status::NotBegun);
    assert_eq!(instance.forward(&Sizes::default(), &x, &mut []).unwrap_err().status, Status::Unavailable);
}

#[test]
fn carried_states_begin_anew_with_another_batch() {
    let mut instance = Instance::new(&network(), &options(2, 1)).unwrap();
    instance.set_carry(true).unwrap();
    let call = |instance: &mut Instance, batch: usize| {
        let (x, mut total) = ([1.0; 6], [0.0; 6]);
        let inputs = [Array::F32(&x[..3 * batch])];
        let sizes = Sizes { batch, axes: &[] };
        instance.forward(&sizes, &inputs, &mut [&mut [], &mut total[..3 * batch]]).unwrap();
        total[0]
    };
    assert_eq!([call(&mut instance, 2), call(&mut instance, 2)], [1.5, 2.5]);
    assert_eq!([call(&mut instance, 1), call(&mut instance, 1)], [1.5, 2.5]);
    instance.set_state(0, 1, &[7.0; 3]).unwrap();
    assert_eq!(call(&mut instance, 1), 8.0);
    instance.set_carry(true).unwrap();
    assert_eq!(call(&mut instance, 1), 1.5);
}

#[test]
fn misfits_are_told() {
    let check = |batch: usize, n: usize, inputs: &[Array<'_>], len: usize, status: Status, message: &str| {
        let mut instance = Instance::new(&network(), &options(2, 3)).unwrap();
        let mut y = vec![0.0; len];
        let error = instance.forward(&Sizes { batch, axes: &steps(n) }, inputs, &mut [&mut y]).unwrap_err();
        assert_eq!((error.message.as_str(), error.status), (message, status));
    };
    let (x, tokens) = (Array::F32(&[0.0; 6]), Array::I32(&[0, 1, 2, 3]));
    let (argument, input) = (Status::InvalidArgument, Status::InvalidInput);
    let x9 = Array::F32(&[0.0; 9]);
    let t6 = Array::I32(&[0; 6]);
    check(3, 2, &[x9, t6], 3 * N, argument, "the batch is from 1 to 2, not 3");
    check(0, 2, &[Array::F32(&[]), Array::I32(&[])], 0, argument, "the batch is from 1 to 2, not 0");
    check(2, 4, &[x, Array::I32(&[0; 8])], 2 * N, argument, "the axis `T` has at most 3 steps, not 4");
    check(2, 2, &[x, Array::I32(&[0, 1, 5, 0])], 2 * N, input, "`tokens` takes tokens from 0 to 4, not 5");
    check(2, 2, &[x, Array::I32(&[0, -1, 0, 0])], 2 * N, input, "`tokens` takes tokens from 0 to 4, not -1");
    check(2, 2, &[x], 2 * N, argument, "the input `tokens` of shape [B, T], B being the batch, is missing");
    check(2, 2, &[tokens, tokens], 2 * N, argument, "`x` takes numbers (f32)");
    check(2, 2, &[Array::F32(&[0.0; 5]), tokens], 2 * N, argument, "`x` has 6 values, not 5");
    check(2, 2, &[x, tokens], N, argument, "the output `y` has 80 values, not 40");
}

#[test]
fn options_are_checked() {
    let fails = |options: Options| Instance::new(&network(), &options).unwrap_err();
    assert_eq!(fails(options(0, 1)).message, "the largest batch is 0");
    assert!(fails(options(1, 0)).message.starts_with("the axis `T` has no length"));
    assert_eq!(
        fails(Options { tasks: Tasks::EVALUATE, ..options(1, 1) }).message,
        "the network was compiled without `evaluate`"
    );
    assert_eq!(fails(Options { tasks: Tasks(16), ..options(1, 1) }).status, Status::InvalidArgument);
    assert_eq!(fails(Options { steps: vec![], ..options(1, 1) }).status, Status::InvalidArgument);
    assert_eq!(fails(options(usize::MAX / 2, 1)).status, Status::NoMemory);
    assert_eq!(fails(options(1 << 40, 1)).status, Status::NoMemory);
    let all = Instance::memory_bytes(&network(), &options(2, 2)).unwrap();
    let forward = Instance::memory_bytes(&network(), &Options { tasks: Tasks::FORWARD, ..options(2, 2) }).unwrap();
    assert!(forward + 3 * N * 4 <= all, "{forward} {all}");
}

#[test]
fn two_threads_have_an_instance_each() {
    let network = network();
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let mut instance = Instance::new(&network, &Options { seed, ..options(9, 2) }).unwrap();
            scope.spawn(move || {
                for batch in (0..2_000).map(|round| round % 9 + 1) {
                    let (found, expected) = run(&mut instance, batch).unwrap();
                    assert_near(&found, &expected);
                }
            });
        }
    });
}
