//! Wide code against Cranelift's, bit for bit, on the inputs that are hard to get right.

use super::dsl::*;
use netc::codegen::{Vectors, asm_with, compile_with};
use netc::interp::program::Memory;
use netc::kernel::*;
use netc::types::{Dim, Extents};
use netc_runtime::Pool;

const ONE: Dim = Dim::ONE;

/// Whether this machine has wide code at all.
fn has_wide() -> bool {
    let mut p = Sketch::default();
    copy(&mut p, 8);
    n_wide(&p.program) == 1
}

fn copy(p: &mut Sketch, n: usize) {
    let [x, y] = [n; 2].map(|n| p.buffer(n));
    p.kernel(&dims(&[n]), 1, |k, i| {
        let value = k.load(x, &[(i[0], ONE)]);
        k.store(y, &[(i[0], ONE)], value);
    });
}

fn n_wide(program: &Program) -> usize {
    asm_with(program, "test", Vectors::Wide).matches("vectors of 256 bits").count()
}

const SPECIAL: [f32; 14] = [
    0.0,
    -0.0,
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::MIN_POSITIVE,
    1e-45,
    -3e-41,
    f32::MAX,
    f32::MIN,
    0.625,
    -88.7,
    89.5,
    0.927_734_4,
];

/// Runs all codes on the special numbers; all kernels must have been made wide.
fn check_bits(program: &Program, extents: &Extents) {
    program.verify();
    let mut memory = fill(program, extents, 11);
    for (buffer, info) in program.buffers.iter() {
        if info.element == netc::types::ElementType::F32 {
            for (i, x) in memory[buffer].iter_mut().enumerate().filter(|(i, _)| i % 3 == 1) {
                *x = f64::from(SPECIAL[(i / 3 + buffer_number(buffer)) % SPECIAL.len()]);
            }
        }
    }
    if has_wide() {
        assert_eq!(n_wide(program), 1, "one kernel, wide:\n{program}");
    }
    let [narrow, wide, widest] = [Vectors::Narrow, Vectors::Wide, Vectors::Widest].map(|vectors| {
        let mut found = memory.clone();
        compile_with(program, "test", vectors).run_copied(&mut found, extents, &Pool::new(2));
        found
    });
    same_bits(program, &memory, &narrow, &wide);
    same_bits(program, &memory, &wide, &widest);
}

fn buffer_number(buffer: Buffer) -> usize {
    netc::index::Id::index(buffer)
}

fn same_bits(program: &Program, before: &Memory, narrow: &Memory, wide: &Memory) {
    for (buffer, _) in program.buffers.iter() {
        for (i, (&x, &y)) in narrow[buffer].iter().zip(&wide[buffer]).enumerate() {
            let same = x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan());
            let inputs: Vec<f64> = before.values().filter_map(|values| values.get(i).copied()).collect();
            let asm = || asm_with(program, "test", Vectors::Widest);
            assert!(same, "{buffer}[{i}] is {y}, not {x}, of {inputs:?} in\n{program}\n{}", asm());
        }
    }
}

#[test]
fn every_function_of_every_length() {
    use BinaryFn::*;
    use CompareFn::*;
    use UnaryFn::*;
    for n in (8..=40).chain([48, 50, 57, 63, 64, 100, 333]) {
        let mut p = Sketch::default();
        // One element before what is read and written: nothing is aligned.
        let [a, b] = [n + 1; 2].map(|n| p.buffer(n));
        let [ints, more_ints] = [n; 2].map(|n| p.ints(n));
        let (y, z, numbers) = (p.buffer(n + 1), p.buffer(n), p.ints(n));
        let near = |int: Int| Address { offset: ONE, terms: vec![(int, ONE)] };
        let functions = [Neg, Abs, Exp, Log, Tanh, Sigmoid, Erf, Sqrt, Floor];
        let pairs = [(Add, Eq), (Sub, Ne), (Mul, Lt), (Div, Le), (Max, Gt), (Min, Ge)];
        for (at, function) in functions.into_iter().enumerate() {
            // All pairs at some length.
            let (combine, compare) = pairs[(at + n) % pairs.len()];
            p.program.steps.clear();
            p.kernel(&dims(&[n]), 1, |k, i| {
                let a = k.push(Scalar::Load { buffer: a, at: near(i[0]) });
                let b = k.push(Scalar::Load { buffer: b, at: near(i[0]) });
                let x = k.unary(function, a);
                let value = k.binary(combine, x, b);
                k.kernel.stores.push(Store { buffer: y, at: near(i[0]), value, streamed: None });
                let at = [(i[0], ONE)];
                let [i1, i2] = [ints, more_ints].map(|ints| k.load(ints, &at));
                let floats = k.compare(compare, a, b);
                let integers = k.compare(compare, i1, i2);
                let converted = k.push(Scalar::Convert(i1));
                let chosen = k.push(Scalar::Select(integers, converted, floats));
                let chosen = k.push(Scalar::Select(i2, chosen, b));
                k.store(z, &at, chosen);
                let value = if combine == Div { i1 } else { k.binary(combine, i1, i2) };
                k.store(numbers, &at, value);
            });
            check_bits(&p.program, &Extents::default());
        }
    }
}

#[test]
fn ranges_of_named_lengths_have_every_tail() {
    let time = Dim::axis("T");
    for parallel in 0..3 {
        for n in 0..=40 {
            let mut p = Sketch::default();
            p.sizes(&[&Dim::batch(), &time]);
            let len = Dim::batch().times(&time);
            let [x, y, z] = [(); 3].map(|()| p.buffer(len.clone()));
            let row = p.buffer(time.clone());
            p.kernel(&[Dim::batch(), time.clone()], parallel, |k, i| {
                let at = [(i[0], time.clone()), (i[1], ONE)];
                let (x, row) = (k.load(x, &at), k.load(row, &[(i[1], ONE)]));
                let value = k.binary(BinaryFn::Mul, x, row);
                let value = k.unary(UnaryFn::Exp, value);
                k.store(y, &at, value);
                let position = k.push(Scalar::Position(i[1]));
                let position = k.push(Scalar::Convert(position));
                let value = k.binary(BinaryFn::Sub, position, x);
                k.store(z, &at, value);
            });
            check_bits(&p.program, &batch_and_time(3, n));
        }
    }
}

#[test]
fn what_is_stored_for_later_is_stored_alike() {
    for (rows, n) in [(5, 64), (5, 61), (3, 16), (2, 333)] {
        for (elements, first) in [(1 << 20, 0), (1 << 20, 1), (100, 0)] {
            let mut p = Sketch::default();
            let x = p.buffer(rows * n);
            let [y, z] = [rows * n + first; 2].map(|n| p.buffer(n));
            p.kernel(&dims(&[rows, n]), 1, |k, i| {
                let row = Dim::fixed(n);
                let at = [(i[0], row), (i[1], ONE)];
                let value = k.load(x, &at);
                let value = k.unary(UnaryFn::Tanh, value);
                for (buffer, streamed) in [(y, Some(Dim::fixed(elements))), (z, None)] {
                    let at = Address { offset: Dim::fixed(first), terms: at.to_vec() };
                    k.kernel.stores.push(Store { buffer, at, value, streamed });
                }
            });
            assert!(!has_wide() || asm_with(&p.program, "test", Vectors::Wide).contains("vmovntps"));
            check_bits(&p.program, &Extents::default());
        }
    }
}

#[test]
fn more_values_than_registers() {
    // All loads come before all sums: forty values wait at once.
    let n = 61;
    let mut p = Sketch::default();
    let buffers: Vec<Buffer> = (0..40).map(|_| p.buffer(n)).collect();
    let y = p.buffer(n);
    p.kernel(&dims(&[n]), 1, |k, i| {
        let at = [(i[0], ONE)];
        let values: Vec<Expr> = buffers
            .iter()
            .map(|&buffer| {
                let x = k.load(buffer, &at);
                k.unary(UnaryFn::Sigmoid, x)
            })
            .collect();
        let forward = values[1..].iter().fold(values[0], |sum, &x| k.binary(BinaryFn::Sub, sum, x));
        let both = values.iter().rev().fold(forward, |sum, &x| k.binary(BinaryFn::Mul, sum, x));
        let sum = k.binary(BinaryFn::Add, both, forward);
        k.store(y, &at, sum);
    });
    check_bits(&p.program, &Extents::default());
}

#[test]
fn swapped_buffers_are_read_before_they_are_written() {
    for n in 8..30 {
        let mut p = Sketch::default();
        let [x, y] = [n; 2].map(|n| p.buffer(n));
        p.kernel(&dims(&[n]), 1, |k, i| {
            let at = [(i[0], ONE)];
            let (a, b) = (k.load(x, &at), k.load(y, &at));
            k.store(x, &at, b);
            k.store(y, &at, a);
        });
        check_bits(&p.program, &Extents::default());
    }
}

#[test]
fn the_classes_that_models_use_are_wide() {
    if !has_wide() {
        return;
    }
    let n_of = |build: &dyn Fn(&mut Sketch)| {
        let mut p = Sketch::default();
        build(&mut p);
        n_wide(&p.program)
    };
    let row_sums = |p: &mut Sketch| {
        let (x, y) = (p.buffer(3 * 40), p.buffer(3usize));
        p.kernel(&dims(&[3]), 1, |k, i| {
            let (axis, j) = k.axis(40);
            let x = k.load(x, &[(i[0], fixed(40)), (j, ONE)]);
            let sum = k.reduce(Combine::Sum, axis, x);
            k.store(y, &[(i[0], ONE)], sum);
        });
    };
    let transposed = |p: &mut Sketch| {
        let [x, y] = [40 * 40; 2].map(|n| p.buffer(n));
        p.kernel(&dims(&[40, 40]), 1, |k, i| {
            let x = k.load(x, &[(i[0], ONE), (i[1], fixed(40))]);
            k.store(y, &[(i[0], fixed(40)), (i[1], ONE)], x);
        });
    };
    let found = [n_of(&|p| copy(p, 9)), n_of(&row_sums), n_of(&transposed), n_of(&|p| copy(p, 7))];
    assert_eq!(found, [1, 1, 0, 0], "neighbors and sums of neighbors; neither strides nor short rows");
}

/// Softmax and what a loss needs of each row: stores outside of the inner loop, two sums along one loop, and one along the
/// domain's. Rows are computed four at a time and one by one.
#[test]
fn sums_of_rows_do_not_tell_how_long_vectors_were() {
    for n in (8..=40).chain([48, 63, 64, 65, 100, 512, 513]) {
        for rows in [0, 1, 3, 4, 5, 11] {
            let mut p = Sketch::default();
            p.sizes(&[&Dim::batch()]);
            let len = Dim::batch().times(&fixed(n));
            let [x, y] = [(); 2].map(|()| p.buffer(len.clone()));
            let [most, all, least, total, polynomial] = [(); 5].map(|()| p.buffer(Dim::batch()));
            p.kernel(&[Dim::batch(), fixed(n)], 1, |k, i| {
                let row = (i[0], fixed(n));
                let at = [row.clone(), (i[1], ONE)];
                let (first, j) = k.axis(n);
                let (second, l) = k.axis(n);
                let value = k.load(x, &[row.clone(), (j, ONE)]);
                let max = k.reduce(Combine::Max, first, value);
                let value = k.load(x, &[row, (l, ONE)]);
                let shifted = k.binary(BinaryFn::Sub, value, max);
                let term = k.unary(UnaryFn::Exp, shifted);
                let sum = k.reduce(Combine::Sum, second, term);
                let min = k.reduce(Combine::Min, second, value);
                let here = k.load(x, &at);
                let shifted = k.binary(BinaryFn::Sub, here, max);
                let scaled = k.binary(BinaryFn::Div, shifted, sum);
                // More work than a maximum, less than an exponential: other sums side by side.
                let (third, m) = k.axis(n);
                let value = k.load(x, &[(i[0], fixed(n)), (m, ONE)]);
                let power = (0..12).fold(value, |power, _| k.binary(BinaryFn::Mul, power, value));
                let powers = k.reduce(Combine::Sum, third, power);
                // Along the loop of the domain itself.
                let inner = k.kernel.domain[1];
                let along = k.reduce(Combine::Sum, inner, shifted);
                k.store(y, &at, scaled);
                for (buffer, value) in [(most, max), (all, sum), (least, min), (total, along), (polynomial, powers)] {
                    k.store(buffer, &[(i[0], ONE)], value);
                }
            });
            check_with(&p.program, &batch(rows), Tolerance::Sums);
            if has_wide() {
                assert_eq!(n_wide(&p.program), 1, "{}", p.program);
            }
            // All rows are the same: so are their results, whichever are computed side by side.
            let mut memory = fill(&p.program, &batch(rows), 13);
            (n..rows * n).for_each(|at| memory[x][at] = memory[x][at - n]);
            let [wide, widest] = [Vectors::Wide, Vectors::Widest].map(|vectors| {
                let mut found = memory.clone();
                compile_with(&p.program, "test", vectors).run_copied(&mut found, &batch(rows), &Pool::new(2));
                found
            });
            same_bits(&p.program, &memory, &wide, &widest);
            for (buffer, len) in [(y, n), (most, 1), (all, 1), (least, 1), (total, 1), (polynomial, 1)] {
                let is_repeated = widest[buffer].iter().skip(len).zip(&widest[buffer]).all(|(a, b)| a == b);
                assert!(is_repeated, "rows of {n} differ in {buffer}: {:?}", widest[buffer]);
            }
        }
    }
}
