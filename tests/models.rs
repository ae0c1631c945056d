//! Laws over every network in `models/`: its counts, and that every entry becomes a sound program. Large ones are
//! scheduled and never run.

use std::path::Path;

use ndarray::{Array3, array};
use netc::entries::{self, Variant};
use netc::kernel::{Buffer, Direction, IntExpr, Kernel, Program, Scalar, Step};
use netc::memory;
use netc::network::Network;
use netc::pipeline::{Entry, lower};
use netc::types::{Dim, Extents, Symbol};
use netc::{Session, SessionOptions};

/// A model, its parameters, its multiply-accumulates for one member of the batch (and sequences of 10), and
/// where they come from.
const COUNTS: &[(&str, usize, usize)] = &[
    // Simonyan and Zisserman 2014, configurations D and E.
    ("vgg16", 138_357_544, 15_470_264_320),
    ("vgg19", 143_667_240, 19_632_062_464),
    // He et al. 2015.
    ("resnet18", 11_689_512, 1_814_073_344),
    // 832 + 51,264 + 401,536 + 1,290; 627,200 + 10,035,200 + 401,408 + 1,280.
    ("lenet", 454_922, 11_065_088),
    // 208 + 3,216 + 7,850; 156,800 + 627,200 + 7,840.
    ("digits", 11_274, 791_840),
    // Szegedy et al. 2014: 163,696 + 388,736. Without biases, each weight is used at 28 x 28 places.
    ("inception", 552_432, 551_424 * 784),
    // 640,000 + 38,500 + 51,300 + 64,100 + 602; 38,400 T + 51,200 (T - 3) + 64,000 T + 600.
    ("textcnn", 794_502, 384_000 + 358_400 + 640_000 + 600),
    // 4 gates of (in + hidden) x hidden + hidden: 4,160 + 1,181,696 + 2,099,200 + 33,345.
    ("charlm", 3_318_401, 10 * (1_179_648 + 2_097_152 + 33_280)),
    // 80,384 + 1,290.
    ("rows", 81_674, 10 * 79_872 + 1_280),
    // 16 + 336 + 68.
    ("hello", 420, 10 * (320 + 64)),
    ("rnn_by_hand", 8 + 4, 10 * (8 + 4)),
    ("lstm_by_hand", 4 * 3 + 3, 10 * 4 * 3),
    // 150,016 + 295,168 + 65; each weight at 64 x 64 places.
    ("cells", 445_249, 10 * 4096 * (149_760 + 294_912 + 64)),
    // 896 + 18,496 + 73,856 + 33,024 + 128,000 + 295,680 + 257,000.
    ("caption", 806_952, 41_287_680 + 32_768 + 10 * (294_912 + 256_000)),
    // 2 x 4,096 + 2 x 328,704 + 16,448.
    ("seq2seq", 682_048, 10 * (2 * 327_680 + 16_384)),
    // 2 x 4,096 + 2 x 74,112 + 32,896 + 205,440 + 24,640; 512 for each pair of steps.
    ("seq2seq_attention", 419_392, 10 * 147_456 + 32_768 + 10 * (204_800 + 24_576) + 100 * 512),
    // 1,312 + 4 x 1,312 + 65.
    ("flow", 6_625, 10 * 5 * 1_280 + 64),
    // 4 x (21 x 20 + 20) + 21.
    ("filter", 1_781, 10 * 1_700),
    // Lin et al. 2017: 18 convolutions, 18,875,392 + 8,392,704 + 52,275.
    ("pose", 35_775_987, 10 * 41_723_218_944),
];

const ENTRIES: [Entry; 9] = [
    Entry::Forward,
    Entry::Evaluate,
    Entry::Gradients,
    Entry::Flow,
    Entry::Backward,
    Entry::Apply,
    Entry::TrainStep,
    Entry::Begin,
    Entry::Step,
];

/// A workspace over the most bytes that are in use at a time, at the most.
const MOST: f64 = 1.15;

#[test]
fn counts_are_those_of_the_papers() {
    let sizes = extents(1, [10; 3]);
    for (name, parameters, multiply_accumulates) in COUNTS {
        let network = model(name).unwrap_or_else(|error| panic!("{error}"));
        let found: usize = network.parameters.iter().map(|parameter| parameter.shape.iter().product::<usize>()).sum();
        assert_eq!(found, *parameters, "{name}: parameters");
        let rows: usize = network.layers.iter().map(|layer| layer.n_parameters).sum();
        assert_eq!(rows, *parameters, "{name}: parameters by layer");
        let found: usize = network.layers.iter().map(|layer| layer.multiply_accumulates.eval(&sizes)).sum();
        assert_eq!(found, *multiply_accumulates, "{name}: multiply-accumulates");
    }
}

/// The error that started it: the first layer of VGG with a stride of 2.
#[test]
fn a_stride_of_two_halves_the_map() {
    let text = source("vgg16").replacen("conv3x3(64, relu)x2 ", "conv3x3(64, relu, stride = 2) ", 1);
    let network = netc::check_source("vgg16.net", &text.replace("x3 -> maxpool2x2\n  flatten", "x3\n  flatten"));
    let first = &network.unwrap_or_else(|error| panic!("{error}")).layers[0];
    assert_eq!(first.shape, [64, 112, 112].map(Dim::fixed));
    assert!(first.explanation.iter().any(|line| line == "height: floor((224 + 2*1 - 3) / 2) + 1 = 112"), "{first:?}");
}

/// Where sizes are known at run time, counts are formulas.
#[test]
fn counts_of_sequences_are_formulas() {
    let rows = model("seq2seq_attention").expect("it compiles").layers;
    let count = |path: &str| {
        let row = rows.iter().find(|row| row.path == path).unwrap_or_else(|| panic!("`{path}` in {rows:?}"));
        row.multiply_accumulates.to_string()
    };
    assert_eq!(count("encoder.forward"), "73728*S");
    assert_eq!(count("decoder1"), "204800*U");
    assert_eq!(count("decoder1.seen"), "512*S*U");
    assert_eq!(count("dense1"), "32768");
}

#[test]
fn every_entry_of_every_model_is_a_sound_program() {
    for name in names() {
        let network = model(&name).unwrap_or_else(|error| panic!("{error}"));
        assert!(COUNTS.iter().any(|(known, ..)| *known == name), "{name} has its counts");
        let mut supported = Vec::new();
        for entry in ENTRIES {
            for (masked, carried) in [(false, false), (true, false), (false, true)] {
                let variant = Variant { masked, carried, ..Variant::from(entry) };
                let has_variant = !carried || !matches!(entry, Entry::Begin | Entry::Step);
                if has_variant && (!masked || !network.axes.is_empty()) && entries::check(&network, &variant).is_ok() {
                    check_plan(&name, &network, &variant);
                    supported.push(variant);
                }
            }
        }
        let has = |entry| supported.iter().any(|variant| variant.entry == entry);
        assert!(has(Entry::Forward), "{name}");
        assert_eq!(has(Entry::TrainStep), network.has_loss(), "{name}");
        // What writes sequences takes one step at a time.
        assert!(has(Entry::Step) || network.generate.is_none(), "{name}");
    }
}

fn check_plan(name: &str, network: &Network, variant: &Variant) {
    let (scheduled, plan) = lower(network, variant.clone(), &mut ());
    scheduled.program.verify();
    for (batch, lengths) in
        [(1, [10, 7, 4]), (2, [7, 1, 3]), (7, [3, 3, 3]), (64, [1, 2, 1]), (0, [4, 4, 4]), (3, [200, 90, 0])]
    {
        let extents = extents(batch, lengths);
        let placement = plan.place(&scheduled.program, &extents);
        let problems = memory::check::check(&scheduled.program, &placement, &extents);
        assert!(problems.is_empty(), "{name}, {variant:?}, batch {batch}, {lengths:?}: {problems:#?}");
        let (least, step) = plan.largest_live(&scheduled.program, &extents);
        let bytes = placement.workspace_bytes;
        let is_tight = least <= bytes && bytes as f64 <= MOST * least as f64;
        assert!(is_tight, "{name}, {variant:?}, batch {batch}, {lengths:?}: {bytes} bytes, {least} at step {step}");
    }
}

/// What the comment in the file says comes out of machine code, at once and step by step.
#[test]
fn what_a_hand_works_out_comes_out() {
    let steps = array![[3., 1., 0.], [4., 1., 0.], [2., 0., 0.], [1., 0., 1.], [3., -1., 0.0_f32]];
    check_by_hand("lstm_by_hand", steps, &[0.0001, 0.0003, 0.0003, 6.9995, 0.0]);
    let steps = array![[1., 1.], [1., 1.], [2., 2.0_f32]];
    check_by_hand("rnn_by_hand", steps, &[4., 4., 12., 12., 32., 32.]);
}

fn check_by_hand(name: &str, steps: ndarray::Array2<f32>, expected: &[f32]) {
    let network = model(name).unwrap_or_else(|error| panic!("{error}"));
    let mut session = Session::new(network, &SessionOptions { threads: 1, seed: 1 });
    let close = |found: &[f32], expected: &[f32]| {
        let near = found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 6e-5);
        assert!(near, "{name}: {found:?}, by hand {expected:?}");
    };
    let x: Array3<f32> = steps.clone().insert_axis(ndarray::Axis(0));
    let outputs = session.forward(&[("x", x.view().into())]).unwrap_or_else(|error| panic!("{error}"));
    let whole: Vec<f32> = outputs.outputs().next().expect("an output").1.iter().copied().collect();
    close(&whole, expected);
    session.begin(1, &[]).unwrap_or_else(|error| panic!("{error}"));
    for (step, expected) in steps.rows().into_iter().zip(expected.chunks(expected.len() / steps.nrows())) {
        let x = step.insert_axis(ndarray::Axis(0));
        let outputs = session.take_step(&[("x", x.view().into())]).unwrap_or_else(|error| panic!("{error}"));
        close(&outputs.outputs().next().expect("an output").1.iter().copied().collect::<Vec<f32>>(), expected);
    }
}

/// Bias and relu ride in the epilogues of VGG-16's contractions, and its pools in convolutions: what loop remains is the last
/// pool, which brings its map to the order in which the dense layer reads it.
#[test]
fn vgg16_infers_without_pointwise_kernels() {
    let (scheduled, _) = lower(&model("vgg16").expect("it compiles"), Entry::Forward, &mut ());
    let program = &scheduled.program;
    let loops: Vec<&Kernel> = kernels(program).collect();
    let pointwise = loops.iter().find(|kernel| is_pointwise(kernel));
    assert!(pointwise.is_none(), "{}", pointwise.expect("there is one"));
    let names: Vec<&str> = loops.iter().map(|kernel| kernel.name.as_str()).collect();
    assert_eq!(names, ["maxpool5"]);
    let pooled = program.steps.iter().filter(|step| matches!(step, Step::Conv(call) if call.pooled)).count();
    assert_eq!(pooled, 4);
    for (at, step) in program.steps.iter().enumerate() {
        let (epilogue, result) = match step {
            Step::Conv(call) => (call.epilogue.as_ref(), call.y.buffer),
            Step::MatMul(call) => (call.epilogue.as_ref(), call.c.buffer),
            _ => continue,
        };
        // A pool that follows reads each element once, and does there what an epilogue would.
        let is_pooled = matches!(program.steps.get(at + 1), Some(Step::Loop(pool)) if loads(pool, result));
        assert!(epilogue.is_some() || is_pooled, "a contraction of VGG-16 adds a bias: {step}");
    }
}

/// In training, relu's derivative rides in the epilogues of the data gradients.
#[test]
fn vgg16_trains_without_pointwise_kernels_over_maps() {
    let (scheduled, _) = lower(&model("vgg16").expect("it compiles"), Entry::TrainStep, &mut ());
    let program = &scheduled.program;
    for kernel in kernels(program) {
        let is_map = kernel.name.starts_with("conv") || kernel.name.starts_with("maxpool");
        let over_batch = kernel.domain.iter().any(|&axis| kernel.axes[axis].symbols().contains(&Symbol::Batch));
        // The gradient of the last pool comes in the order in which the dense layer reads it.
        let is_of_last = kernel.name == "conv5.3";
        assert!(!(is_map && over_batch && is_pointwise(kernel)) || is_of_last, "{kernel}");
    }
    // All pools keep the largest in the convolution, and which it is: their maps are never written.
    let says_which = |step: &&Step| matches!(step, Step::Conv(call) if call.positions.is_some());
    assert_eq!(program.steps.iter().filter(says_which).count(), 5);
    let mut n_fused = 0;
    for step in &program.steps {
        let Step::Conv(call) = step else { continue };
        if call.direction == Direction::DataGrad {
            let epilogue = call.epilogue.as_ref().unwrap_or_else(|| panic!("nothing masks what this computes: {step}"));
            let masks = epilogue.exprs.values().any(|scalar| matches!(scalar, Scalar::Compare(..)));
            assert!(masks, "the derivative of relu is a comparison: {step}");
            n_fused += 1;
        }
    }
    // Thirteen convolutions: the image has no gradient.
    assert_eq!(n_fused, 13 - 1);
}

/// The gradients of VGG-16's dense layers, as large as nine tenths of its parameters, are never in memory as a whole.
#[test]
fn vgg16_updates_its_dense_layers_row_by_row() {
    let (scheduled, plan) = lower(&model("vgg16").expect("it compiles"), Entry::TrainStep, &mut ());
    let blocks = scheduled.program.steps.iter().filter(|step| matches!(step, Step::Scan(_)));
    assert_eq!(blocks.count(), 3);
    // Maps that the backward pass needs are 356 MB.
    let bytes = plan.place(&scheduled.program, &extents(8, [1; 3])).workspace_bytes;
    assert!(bytes < 400_000_000, "{bytes}");
    // What clips looks at all gradients before it uses one.
    let text = source("vgg16").replace("weight_decay = 5e-4)", "weight_decay = 5e-4)\n  clip norm(1.0)");
    let network = netc::check_source("vgg16.net", &text).unwrap_or_else(|error| panic!("{error}"));
    let (scheduled, _) = lower(&network, Entry::TrainStep, &mut ());
    assert!(!scheduled.program.steps.iter().any(|step| matches!(step, Step::Scan(_))));
}

/// One value at each point, from values at that point: no reduction, and no search for the window a point is in.
fn is_pointwise(kernel: &Kernel) -> bool {
    let reduces = kernel.exprs.values().any(|scalar| matches!(scalar, Scalar::Reduce { .. }));
    let divides = kernel.ints.values().any(|int| matches!(int, IntExpr::Div(..) | IntExpr::Rem(..)));
    !reduces && !divides
}

fn loads(kernel: &Kernel, from: Buffer) -> bool {
    kernel.exprs.values().any(|scalar| matches!(scalar, Scalar::Load { buffer, .. } if *buffer == from))
}

/// The loop nests of a call, in order.
fn kernels(program: &Program) -> impl Iterator<Item = &Kernel> {
    program.steps.iter().filter_map(|step| match step {
        Step::Loop(kernel) => Some(kernel),
        Step::MatMul(_) | Step::Conv(_) | Step::Pack(_) | Step::PackMatrix(_) | Step::ScatterAdd(_) | Step::Scan(_) => {
            None
        }
    })
}

/// Lengths along `T`, `S` and `U`.
fn extents(batch: usize, lengths: [usize; 3]) -> Extents {
    let mut extents = Extents::with_batch(batch);
    for (axis, length) in ["T", "S", "U"].into_iter().zip(lengths) {
        extents.set(Symbol::Axis(axis.into()), length);
    }
    extents
}

fn model(name: &str) -> Result<Network, String> {
    netc::check_source(&format!("{name}.net"), &source(name)).map_err(|error| error.to_string())
}

fn source(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("models/{name}.net"));
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("models/{name}.net: {error}"))
}

/// Every file in `models/`, without its ending.
fn names() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let files = std::fs::read_dir(folder).expect("a readable folder").map(|entry| entry.expect("an entry").path());
    let mut names: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "net"))
        .map(|path| path.file_stem().expect("a file").to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
