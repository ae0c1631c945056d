//! Kernels by Cranelift and by the emitter of wide vectors, on one thread: nanoseconds an element, and microseconds to
//! compile. `cargo bench --bench pointwise`.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "../tests/codegen/dsl.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod dsl;

use std::time::Instant;

use dsl::{K, Sketch, dims, fill, fixed};
use netc::codegen::{Vectors, compile_with};
use netc::kernel::*;
use netc::types::{Dim, Extents};
use netc_runtime::Pool;

const ONE: Dim = Dim::ONE;

fn main() {
    println!("{:24} {:>10} {:>10} {:>14} {:>14}", "kernel", "narrow ns", "wide ns", "narrow compile", "wide compile");
    let cases: [(&str, usize, Sketch); 7] = [
        ("lstm gates 32x1024", 32 * 1024, lstm(32, 1024)),
        ("adam 64K", 1 << 16, adam(1 << 16)),
        ("adam 16K", 1 << 14, adam(1 << 14)),
        ("softmax 64x1000", 64 * 1000, softmax(64, 1000)),
        ("relu mask 64K", 1 << 16, relu_mask(1 << 16)),
        ("dropout 64K", 1 << 16, dropout(1 << 16)),
        ("column sums 256x256", 1 << 16, columns(256, 256)),
    ];
    for (name, n, sketch) in cases {
        let figures = [Vectors::Narrow, Vectors::Wide].map(|vectors| measure(&sketch.program, n, vectors));
        let [(narrow, narrow_compile), (wide, wide_compile)] = figures;
        println!("{name:24} {narrow:>10.3} {wide:>10.3} {narrow_compile:>14.0} {wide_compile:>14.0}");
    }
}

/// Nanoseconds of an element, and microseconds of compiling the kernel.
fn measure(program: &Program, n: usize, vectors: Vectors) -> (f64, f64) {
    // A run is short, so that some are not disturbed.
    let repeats = (200_000 / n).clamp(2, 50);
    let step = &program.steps[0];
    let [once, often] = [1, 1 + repeats].map(|times| Program { steps: vec![step.clone(); times], ..program.clone() });
    let nothing = Program { steps: Vec::new(), ..program.clone() };
    let pool = Pool::new(1);
    let memory = fill(program, &Extents::default(), 7);
    let [once_code, often_code] = [&once, &often].map(|program| compile_with(program, "bench", vectors));
    let run = |code: &netc::codegen::CompiledProgram| {
        least(40, || {
            let mut memory = memory.clone();
            let start = Instant::now();
            code.run_copied(&mut memory, &Extents::default(), &pool);
            start.elapsed().as_secs_f64()
        })
    };
    let nanoseconds = (run(&often_code) - run(&once_code)) * 1e9 / (repeats * n) as f64;
    let compile = |program: &Program| {
        least(40, || {
            let start = Instant::now();
            drop(compile_with(program, "bench", vectors));
            start.elapsed().as_secs_f64()
        })
    };
    (nanoseconds, (compile(&once) - compile(&nothing)) * 1e6)
}

fn least(times: usize, mut figure: impl FnMut() -> f64) -> f64 {
    (0..times).map(|_| figure()).fold(f64::INFINITY, f64::min)
}

/// `c' = f * c + i * g`, `h' = o * tanh(c')`, of the sums of gates `[batch, 4 * units]`.
fn lstm(batch: usize, units: usize) -> Sketch {
    let mut p = Sketch::default();
    let z = p.buffer(batch * 4 * units);
    let [c, next_c, next_h] = [(); 3].map(|()| p.buffer(batch * units));
    p.kernel(&dims(&[batch, units]), 1, |k, i| {
        let gate = |k: &mut K, number: usize, function: UnaryFn| {
            let mut at = K::at(&[(i[0], fixed(4 * units)), (i[1], ONE)]);
            at.offset = fixed(number * units);
            let x = k.push(Scalar::Load { buffer: z, at });
            k.unary(function, x)
        };
        let [input, forget, output] = [0, 1, 3].map(|number| gate(k, number, UnaryFn::Sigmoid));
        let cell = gate(k, 2, UnaryFn::Tanh);
        let at = [(i[0], fixed(units)), (i[1], ONE)];
        let old = k.load(c, &at);
        let kept = k.binary(BinaryFn::Mul, forget, old);
        let new = k.binary(BinaryFn::Mul, input, cell);
        let sum = k.binary(BinaryFn::Add, kept, new);
        k.store(next_c, &at, sum);
        let squashed = k.unary(UnaryFn::Tanh, sum);
        let h = k.binary(BinaryFn::Mul, output, squashed);
        k.store(next_h, &at, h);
    });
    p
}

fn adam(n: usize) -> Sketch {
    let mut p = Sketch::default();
    let [weight, first, second, gradient] = [n; 4].map(|n| p.buffer(n));
    let rate = p.buffer(1);
    p.kernel(&dims(&[n]), 1, |k, i| {
        let at = [(i[0], ONE)];
        let [w, m, v, g] = [weight, first, second, gradient].map(|buffer| k.load(buffer, &at));
        let mean = |k: &mut K, old: Expr, new: Expr, decay: f64| {
            let [a, b] = [decay, 1.0 - decay].map(|x| k.number(x));
            let (old, new) = (k.binary(BinaryFn::Mul, old, a), k.binary(BinaryFn::Mul, new, b));
            k.binary(BinaryFn::Add, old, new)
        };
        let square = k.binary(BinaryFn::Mul, g, g);
        let (m, v) = (mean(k, m, g, 0.9), mean(k, v, square, 0.999));
        k.store(first, &at, m);
        // A square, so that the root of hand-made values is a number.
        let v = k.unary(UnaryFn::Abs, v);
        k.store(second, &at, v);
        let root = k.unary(UnaryFn::Sqrt, v);
        let epsilon = k.number(1e-8);
        let root = k.binary(BinaryFn::Add, root, epsilon);
        let rate = k.load(rate, &[]);
        let step = k.binary(BinaryFn::Mul, m, rate);
        let step = k.binary(BinaryFn::Div, step, root);
        let w = k.binary(BinaryFn::Sub, w, step);
        k.store(weight, &at, w);
    });
    p
}

fn softmax(rows: usize, n: usize) -> Sketch {
    let mut p = Sketch::default();
    let [x, y] = [rows * n; 2].map(|n| p.buffer(n));
    p.kernel(&dims(&[rows, n]), 1, |k, i| {
        let (axis, j) = k.axis(n);
        let value = k.load(x, &[(i[0], fixed(n)), (j, ONE)]);
        let max = k.reduce(Combine::Max, axis, value);
        let term = |k: &mut K, j: Int| {
            let value = k.load(x, &[(i[0], fixed(n)), (j, ONE)]);
            let value = k.binary(BinaryFn::Sub, value, max);
            k.unary(UnaryFn::Exp, value)
        };
        let (axis, j) = k.axis(n);
        let value = term(k, j);
        let sum = k.reduce(Combine::Sum, axis, value);
        let value = term(k, i[1]);
        let value = k.binary(BinaryFn::Div, value, sum);
        k.store(y, &[(i[0], fixed(n)), (i[1], ONE)], value);
    });
    p
}

fn relu_mask(n: usize) -> Sketch {
    let mut p = Sketch::default();
    let [x, ct, y] = [n; 3].map(|n| p.buffer(n));
    p.kernel(&dims(&[n]), 1, |k, i| {
        let at = [(i[0], ONE)];
        let (x, ct) = (k.load(x, &at), k.load(ct, &at));
        let zero = k.number(0.0);
        let positive = k.compare(CompareFn::Gt, x, zero);
        let value = k.push(Scalar::Select(positive, ct, zero));
        k.store(y, &at, value);
    });
    p
}

fn dropout(n: usize) -> Sketch {
    let mut p = Sketch::default();
    let key = p.ints(2);
    let [x, y] = [n; 2].map(|n| p.buffer(n));
    p.kernel(&dims(&[n]), 1, |k, i| {
        let at = [(i[0], ONE)];
        let [zero, one] = [0, 1].map(|word| k.int(IntExpr::Const(word)));
        let key = [zero, one].map(|word| k.load(key, &[(word, ONE)]));
        let random = k.push(Scalar::Random { key, stream: 3, index: i[0] });
        let rate = k.number(0.1);
        let kept = k.compare(CompareFn::Ge, random, rate);
        let x = k.load(x, &at);
        let scale = k.number(1.0 / 0.9);
        let scaled = k.binary(BinaryFn::Mul, x, scale);
        let value = k.binary(BinaryFn::Mul, scaled, kept);
        k.store(y, &at, value);
    });
    p
}

fn columns(m: usize, n: usize) -> Sketch {
    let mut p = Sketch::default();
    let (x, y) = (p.buffer(m * n), p.buffer(n));
    p.kernel(&dims(&[n]), 1, |k, j| {
        let (axis, i) = k.axis(m);
        let value = k.load(x, &[(i, fixed(n)), (j[0], ONE)]);
        let sum = k.reduce(Combine::Sum, axis, value);
        k.store(y, &[(j[0], ONE)], sum);
    });
    p
}
