//! A network whose code is written by hand: what an object file of the compiler holds, without the compiler.
//!
//! `y[b] = x[b] · 2w + Σ tokens[b]`, where the factor is prepared; a training step that takes `rate` from each weight; and
//! single steps that add up `x`.
#![expect(unsafe_code, reason = "stands for generated code")]
#![allow(dead_code, reason = "each test uses a part")]

use netc_runtime::abi::{self, MatMul};
use netc_runtime::artifact::Network;
use netc_runtime::artifact::description::*;
use netc_runtime::artifact::raw::{Artifact, Functions, NEEDS_NOTHING};

/// Weights of `[3, 40]`: enough columns for the kernels to pack them.
pub(crate) const N: usize = 40;

fn size(factor: u64, symbols: &[u32]) -> Size {
    Size { factor, symbols: symbols.to_vec() }
}

const B: u32 = 0;
const T: u32 = 1;

fn entry(task: Task, masked: bool, carried: bool) -> Entry {
    let (symbols, buffers, slots, calls) = (vec![B], Vec::new(), Vec::new(), Vec::new());
    Entry { task, masked, carried, symbols, buffers, slots, prepares: false, prepared_rows: Vec::new(), calls }
}

impl Builder {
    fn slot(mut self, source: Source, element: Element, shape: &[Size]) -> Builder {
        let len = shape.iter().fold(size(1, &[]), |mut len, size| {
            len.factor *= size.factor;
            len.symbols.extend(&size.symbols);
            len
        });
        let buffer = self.0.buffers.len() as u32;
        self.0.buffers.push(Buffer { len, home: Home::Slot });
        self.0.slots.push(Slot { buffer, source, element, shape: shape.to_vec() });
        self
    }
    fn buffer(mut self, len: Size, home: Home) -> Builder {
        self.0.buffers.push(Buffer { len, home });
        self
    }
}

struct Builder(Entry);

pub(crate) fn description() -> Description {
    use Element::{F32, I32};
    let fixed = |n: usize| size(n as u64, &[]);
    let (batch, steps) = (size(1, &[B]), size(1, &[T]));
    let port = |name: &str, element: &Element, shape: &[Size]| Port {
        name: name.to_owned(),
        is_target: name == "goal",
        element: element.clone(),
        shape: shape.to_vec(),
        vocabulary: (*element == I32).then_some(5),
    };
    let x = [batch.clone(), fixed(3)];
    let tokens = [batch.clone(), steps];
    let y = [batch.clone(), fixed(N)];
    let w = [fixed(3), fixed(N)];
    let result = |name: &str, role: Role, shape: &[Size]| Output {
        name: name.to_owned(),
        role,
        element: F32,
        shape: shape.to_vec(),
    };
    let tensor = |path: &str, keeping: Keeping, shape: &[usize], initial: Initial| Tensor {
        path: path.to_owned(),
        keeping,
        shape: shape.iter().map(|&n| n as u64).collect(),
        initial,
    };
    let forward = |masked: bool| {
        let mut entry = entry(Task::Forward, masked, false);
        entry.symbols.push(T);
        entry.prepares = true;
        entry.calls.push(Call::MatMul {
            batch: fixed(1),
            m: batch.clone(),
            n: fixed(N),
            k: fixed(3),
            groups: 1,
            is_packed: false,
        });
        let builder = Builder(entry)
            .slot(Source::Port { index: 0 }, F32, &x)
            .slot(Source::Port { index: 1 }, I32, &tokens)
            .slot(Source::Tensor { index: 0 }, F32, &w)
            .slot(Source::Result { index: 0 }, F32, &y)
            .buffer(size(N as u64, &[B]), Home::Workspace { first: 0, last: 1 })
            .buffer(fixed(3 * N), Home::Prepared)
            .buffer(size(1, &[B]), Home::Workspace { first: 1, last: 1 });
        if masked { builder.slot(Source::Lengths { axis: 0 }, I32, std::slice::from_ref(&batch)).0 } else { builder.0 }
    };
    let train = Builder(entry(Task::TrainStep, false, false))
        .slot(Source::Port { index: 0 }, F32, &x)
        .slot(Source::Port { index: 2 }, F32, &y)
        .slot(Source::Tensor { index: 0 }, F32, &w)
        .slot(Source::Tensor { index: 2 }, F32, &w)
        .slot(Source::LearningRate, F32, &[])
        .slot(Source::StepNumber, F32, &[])
        .slot(Source::Key, I32, &[fixed(2)])
        .slot(Source::Result { index: 1 }, F32, &[])
        .slot(Source::Result { index: 2 }, F32, &[])
        .0;
    let recurrent = || Source::Recurrent { name: "sum.h".to_owned(), first: 0.5 };
    let h = [batch.clone(), fixed(3)];
    let begin = Builder(entry(Task::Begin, false, false)).slot(recurrent(), F32, &h).0;
    let stepped = |task: Task, carried: bool| {
        let builder = Builder(entry(task, false, carried)).slot(Source::Port { index: 0 }, F32, &x);
        builder.slot(recurrent(), F32, &h).slot(Source::Result { index: 3 }, F32, &h).0
    };
    Description {
        version: VERSION,
        name: "tiny".to_owned(),
        symbols: vec![Symbol::Batch, Symbol::Axis { index: 0 }],
        axes: vec!["T".to_owned()],
        ports: vec![port("x", &F32, &x), port("tokens", &I32, &tokens), port("goal", &F32, &y)],
        results: vec![
            result("y", Role::Output, &y),
            result("loss", Role::Loss, &[]),
            result("error", Role::Metric, &[]),
            result("total", Role::Output, &h),
        ],
        tensors: vec![
            tensor("w", Keeping::Parameter, &[3, N], Initial::Uniform { low: -1.0, high: 1.0 }),
            tensor("norm.mean", Keeping::State, &[2], Initial::Constant { value: 3.0 }),
            tensor("optimizer.m.w", Keeping::Moment, &[3, N], Initial::Constant { value: 0.0 }),
        ],
        entries: vec![
            forward(false),
            forward(true),
            train,
            begin,
            stepped(Task::Step, false),
            stepped(Task::Forward, true),
        ],
        learning_rate: 0.25,
        seed: 11,
        stepped: vec![0],
    }
}

/// The word of a buffer's address.
unsafe fn floats<'a>(frame: *mut u64, word: usize, len: usize) -> &'a mut [f32] {
    // SAFETY: the frame is one of this entry.
    unsafe { std::slice::from_raw_parts_mut(*frame.add(word) as *mut f32, len) }
}

unsafe extern "C" fn nothing(_: *mut u64) {}

/// Words: pool, B, T; x, tokens, w, y, product, prepared, sums[, lengths].
unsafe extern "C" fn prepare(frame: *mut u64) {
    // SAFETY: the frame is one of this entry.
    unsafe {
        let (w, prepared) = (floats(frame, 5, 3 * N), floats(frame, 8, 3 * N));
        prepared.iter_mut().zip(w).for_each(|(to, from)| *to = 2.0 * *from);
    }
}

unsafe fn forward(frame: *mut u64, is_masked: bool) {
    // SAFETY: the frame is one of this entry.
    unsafe {
        let (batch, steps) = (*frame.add(1) as usize, *frame.add(2) as usize);
        let word = |at: usize| *frame.add(at) as *mut f32;
        let d = MatMul {
            m: batch as i64,
            n: N as i64,
            k: 3,
            a: word(3),
            a_rs: 3,
            a_cs: 1,
            b: word(8),
            b_rs: N as i64,
            b_cs: 1,
            c: word(7),
            c_rs: N as i64,
            packed: std::ptr::null(),
            groups: 1,
            batch: 1,
            a_bs: 0,
            b_bs: 0,
            c_bs: 0,
            turned: 0,
            accumulate: 0,
            rounded: 0,
            has_sums: 0,
            beside: 0,
            pieces: std::ptr::null(),
            piece_count: 0,
            before: std::ptr::null(),
            epilogue: None,
        };
        abi::netc_matmul(frame, &raw const d);
        let tokens = std::slice::from_raw_parts(word(4).cast::<i32>(), batch * steps);
        let sums = floats(frame, 9, batch);
        for (member, sum) in sums.iter_mut().enumerate() {
            let length = if is_masked { *word(10).cast::<i32>().add(member) as usize } else { steps };
            *sum = tokens[member * steps..][..length].iter().sum::<i32>() as f32;
        }
        let (product, y) = (floats(frame, 7, batch * N), floats(frame, 6, batch * N));
        for (at, y) in y.iter_mut().enumerate() {
            *y = product[at] + sums[at / N];
        }
    }
}

unsafe extern "C" fn run(frame: *mut u64) {
    // SAFETY: the frame is one of this entry.
    unsafe { forward(frame, false) };
}

unsafe extern "C" fn run_masked(frame: *mut u64) {
    // SAFETY: the frame is one of this entry.
    unsafe { forward(frame, true) };
}

/// Words: pool, B; x, goal, w, m, rate, step, key, loss, error.
unsafe extern "C" fn train(frame: *mut u64) {
    // SAFETY: the frame is one of this entry.
    unsafe {
        let (w, m) = (floats(frame, 4, 3 * N), floats(frame, 5, 3 * N));
        let (rate, step) = (floats(frame, 6, 1)[0], floats(frame, 7, 1)[0]);
        let key = std::slice::from_raw_parts(*frame.add(8) as *const u32, 2);
        floats(frame, 9, 1)[0] = w[0];
        floats(frame, 10, 1)[0] = key[1] as f32 + key[0] as f32 / 1024.0;
        w.iter_mut().for_each(|w| *w -= rate);
        m.fill(step);
    }
}

/// Words: pool, B; h.
unsafe extern "C" fn begin(frame: *mut u64) {
    // SAFETY: the frame is one of this entry.
    unsafe {
        let batch = *frame.add(1) as usize;
        floats(frame, 2, batch * 3).iter_mut().enumerate().for_each(|(at, h)| *h = at as f32);
    }
}

/// Words: pool, B; x, h, total.
unsafe extern "C" fn step(frame: *mut u64) {
    // SAFETY: the frame is one of this entry.
    unsafe {
        let n = *frame.add(1) as usize * 3;
        let (x, h, total) = (floats(frame, 2, n), floats(frame, 3, n), floats(frame, 4, n));
        h.iter_mut().zip(x).for_each(|(h, x)| *h += *x);
        total.copy_from_slice(h);
    }
}

/// The artifact of these bytes and weights, which live as long as the program.
pub(crate) fn artifact(description: Vec<u8>, weights: Option<Vec<u8>>) -> &'static Artifact {
    let functions = [
        Functions { prepare, run },
        Functions { prepare, run: run_masked },
        Functions { prepare: nothing, run: train },
        Functions { prepare: nothing, run: begin },
        Functions { prepare: nothing, run: step },
        Functions { prepare: nothing, run: step },
    ];
    let (description, functions) = (description.leak(), Box::leak(Box::new(functions)));
    let weights = weights.map(Vec::leak);
    Box::leak(Box::new(Artifact {
        description: description.as_ptr(),
        description_len: description.len() as u64,
        functions: functions.as_ptr(),
        variants: 1,
        needs: Box::leak(Box::new(NEEDS_NOTHING)),
        weights: weights.as_ref().map_or(std::ptr::null(), |weights| weights.as_ptr()),
        weights_len: weights.as_ref().map_or(0, |weights| weights.len() as u64),
    }))
}

pub(crate) fn network() -> Network {
    // SAFETY: the artifact is that of the functions above.
    unsafe { Network::new(artifact(description().to_bytes(), None)) }.unwrap()
}
