//! Generated code does what the interpreter says, on hand-made programs.

#[path = "codegen/calls.rs"]
mod calls;
#[path = "codegen/dsl.rs"]
mod dsl;
#[path = "codegen/random.rs"]
mod random;
#[path = "codegen/wide.rs"]
mod wide;

use dsl::*;
use netc::kernel::*;
use netc::types::Dim;

const SIZES: [usize; 13] = [0, 1, 2, 3, 4, 5, 7, 15, 16, 17, 20, 33, 64];
const ONE: Dim = Dim::ONE;

#[test]
fn pointwise_of_every_size() {
    for n in SIZES {
        for parallel in 0..2 {
            let mut p = Sketch::default();
            let [a, b, c] = [n, n, n].map(|n| p.buffer(n));
            p.kernel(&dims(&[n]), parallel, |k, i| {
                let at = [(i[0], ONE)];
                let (x, y) = (k.load(a, &at), k.load(b, &at));
                let sum = k.binary(BinaryFn::Add, x, y);
                let zero = k.number(0.0);
                let relu = k.binary(BinaryFn::Max, sum, zero);
                k.store(c, &at, relu);
            });
            check(&p.program, Tolerance::Exact);
        }
    }
}

#[test]
fn broadcasts_over_both_loops() {
    for (m, n) in [(1, 5), (3, 17), (5, 1), (4, 64), (7, 3), (0, 4), (4, 0)] {
        for parallel in 0..3 {
            let mut p = Sketch::default();
            let [x, row, col, one, y] = [m * n, n, m, 1, m * n].map(|n| p.buffer(n));
            p.kernel(&dims(&[m, n]), parallel, |k, i| {
                let at = [(i[0], fixed(n)), (i[1], ONE)];
                let x = k.load(x, &at);
                let row = k.load(row, &[(i[1], ONE)]);
                let col = k.load(col, &[(i[0], ONE)]);
                let one = k.load(one, &[]);
                let value = k.binary(BinaryFn::Mul, x, row);
                let value = k.binary(BinaryFn::Sub, value, col);
                let value = k.binary(BinaryFn::Div, value, one);
                k.store(y, &at, value);
            });
            check(&p.program, Tolerance::Exact);
        }
    }
}

#[test]
fn flat_ranges_carry_through_three_loops_and_many_chunks() {
    let mut p = Sketch::default();
    let (a, b, c) = (37, 29, 71);
    let [x, y] = [a * b * c; 2].map(|n| p.buffer(n));
    p.kernel(&dims(&[a, b, c]), 3, |k, i| {
        let at = [(i[0], fixed(b * c)), (i[1], fixed(c)), (i[2], ONE)];
        let value = k.load(x, &at);
        let position = k.push(Scalar::Position(i[1]));
        let position = k.push(Scalar::Convert(position));
        let value = k.binary(BinaryFn::Add, value, position);
        k.store(y, &at, value);
    });
    check(&p.program, Tolerance::Exact);
}

#[test]
fn elementary_functions_have_the_bits_of_the_runtime() {
    use UnaryFn::*;
    for function in [Neg, Abs, Exp, Log, Tanh, Sigmoid, Erf, Sqrt, Floor] {
        let mut p = Sketch::default();
        let [x, y] = [103; 2].map(|n| p.buffer(n));
        p.kernel(&dims(&[103]), 1, |k, i| {
            let at = [(i[0], ONE)];
            let value = k.load(x, &at);
            let value = k.unary(function, value);
            k.store(y, &at, value);
        });
        check(&p.program, Tolerance::Exact);
    }
}

#[test]
fn nan_survives_where_it_comes_first() {
    let mut p = Sketch::default();
    let [x, y] = [21, 21].map(|n| p.buffer(n));
    p.kernel(&dims(&[21]), 1, |k, i| {
        let at = [(i[0], ONE)];
        let value = k.load(x, &at);
        // The logarithm of a negative number, then relu.
        let value = k.unary(UnaryFn::Log, value);
        let zero = k.number(0.0);
        let value = k.binary(BinaryFn::Max, value, zero);
        let value = k.binary(BinaryFn::Min, value, zero);
        k.store(y, &at, value);
    });
    check(&p.program, Tolerance::Exact);
    let mut memory = fill(&p.program, &Default::default(), 7);
    netc::codegen::compile(&p.program, "test").run_copied(
        &mut memory,
        &Default::default(),
        &netc_runtime::Pool::new(1),
    );
    assert!(memory[y].iter().any(|x| x.is_nan()), "some inputs are negative: {:?}", memory[x]);
}

#[test]
fn reductions_of_rows_and_columns() {
    for combine in [Combine::Sum, Combine::Max, Combine::Min] {
        for (m, n) in [(1, 1), (3, 0), (0, 3), (5, 4), (4, 5), (17, 33), (33, 17), (2, 3), (16, 64)] {
            let mut p = Sketch::default();
            let [x, rows, cols, all] = [m * n, m, n, 1].map(|n| p.buffer(n));
            p.kernel(&dims(&[m]), 1, |k, i| {
                let (axis, j) = k.axis(n);
                let x = k.load(x, &[(i[0], fixed(n)), (j, ONE)]);
                let sum = k.reduce(combine, axis, x);
                k.store(rows, &[(i[0], ONE)], sum);
            });
            p.kernel(&dims(&[n]), 1, |k, j| {
                let (axis, i) = k.axis(m);
                let x = k.load(x, &[(i, fixed(n)), (j[0], ONE)]);
                let sum = k.reduce(combine, axis, x);
                k.store(cols, &[(j[0], ONE)], sum);
            });
            p.kernel(&[], 0, |k, _| {
                let ((rows, i), (cols, j)) = (k.axis(m), k.axis(n));
                let x = k.load(x, &[(i, fixed(n)), (j, ONE)]);
                let square = k.binary(BinaryFn::Mul, x, x);
                let sum = k.reduce(combine, cols, square);
                let sum = k.reduce(combine, rows, sum);
                k.store(all, &[], sum);
            });
            check(&p.program, Tolerance::Sums);
        }
    }
}

/// `exp(x - max) / sum(exp(x - max))` along the last axis.
fn softmax(p: &mut Sketch, rows: &Dim, n: &Dim) {
    let len = rows.times(n);
    let [x, y] = [len.clone(), len].map(|len| p.buffer(len));
    p.kernel(&[rows.clone(), n.clone()], 1, |k, i| {
        let max_of = |k: &mut K| {
            let (axis, j) = k.axis(n.clone());
            let x = k.load(x, &[(i[0], n.clone()), (j, ONE)]);
            k.reduce(Combine::Max, axis, x)
        };
        let max = max_of(k);
        let (axis, j) = k.axis(n.clone());
        let term = k.load(x, &[(i[0], n.clone()), (j, ONE)]);
        let term = k.binary(BinaryFn::Sub, term, max);
        let term = k.unary(UnaryFn::Exp, term);
        let sum = k.reduce(Combine::Sum, axis, term);
        let at = [(i[0], n.clone()), (i[1], ONE)];
        let x = k.load(x, &at);
        let x = k.binary(BinaryFn::Sub, x, max);
        let x = k.unary(UnaryFn::Exp, x);
        let value = k.binary(BinaryFn::Div, x, sum);
        k.store(y, &at, value);
    });
}

#[test]
fn softmax_of_fixed_and_named_rows() {
    for n in SIZES {
        let mut p = Sketch::default();
        softmax(&mut p, &fixed(3), &fixed(n));
        check(&p.program, Tolerance::Sums);
    }
    let mut p = Sketch::default();
    let (rows, time) = (Dim::batch(), Dim::axis("T"));
    p.sizes(&[&rows, &time]);
    softmax(&mut p, &rows, &time);
    for n in SIZES {
        for rows in [0, 1, 3] {
            check_with(&p.program, &batch_and_time(rows, n), Tolerance::Sums);
        }
    }
}

/// Max pooling of `[n, h, w, c]` with padding: guards that are the same for a whole vector.
fn pool(p: &mut Sketch, channels_last: bool) {
    let (n, h, w, c) = (2, 7, 9, 6);
    let (oh, ow) = (4, 5);
    let [x, y] = [n * h * w * c, n * oh * ow * c].map(|n| p.buffer(n));
    let domain = if channels_last { [n, oh, ow, c] } else { [n, c, oh, ow] };
    p.kernel(&dims(&domain), 2, |k, i| {
        let (row, col, channel) = if channels_last { (i[1], i[2], i[3]) } else { (i[2], i[3], i[1]) };
        let ((rows, a), (cols, b)) = (k.axis(3), k.axis(3));
        let [y_at, x_at] = [(row, a), (col, b)].map(|(outer, inner)| {
            let twice = k.int(IntExpr::Mul(outer, 2));
            let sum = k.int(IntExpr::Add(twice, inner));
            k.plus(sum, -1)
        });
        let strides = |h: usize, w: usize| {
            if channels_last { [h * w * c, w * c, c, 1] } else { [c * h * w, w, 1, h * w] }.map(fixed)
        };
        let terms = |row: Int, col: Int, h: usize, w: usize| {
            let [sn, sh, sw, sc] = strides(h, w);
            [(i[0], sn), (row, sh), (col, sw), (channel, sc)]
        };
        let value = k.load(x, &terms(y_at, x_at, h, w));
        let conditions = vec![Condition::InRange(y_at, fixed(h)), Condition::InRange(x_at, fixed(w))];
        let value = k.push(Scalar::Guard { conditions, body: value, otherwise: f64::NEG_INFINITY });
        let value = k.reduce(Combine::Max, cols, value);
        let value = k.reduce(Combine::Max, rows, value);
        k.store(y, &terms(row, col, oh, ow), value);
    });
}

#[test]
fn windows_with_padding_in_both_layouts() {
    for channels_last in [true, false] {
        let mut p = Sketch::default();
        pool(&mut p, channels_last);
        check(&p.program, Tolerance::Exact);
    }
}

/// The gradient of a sum over windows of 3 at stride 2: each input sums the windows that hold it.
#[test]
fn spread_windows_divide() {
    for (n, windows) in [(9, 4), (17, 8), (40, 20)] {
        let mut p = Sketch::default();
        let [ct, x] = [windows, n].map(|n| p.buffer(n));
        p.kernel(&dims(&[n]), 1, |k, i| {
            let (axis, tap) = k.axis(3);
            let back = k.int(IntExpr::Mul(tap, -1));
            let start = k.int(IntExpr::Add(i[0], back));
            let window = k.int(IntExpr::Div(start, 2));
            let value = k.load(ct, &[(window, ONE)]);
            let conditions = vec![Condition::Multiple(start, 2), Condition::InRange(window, fixed(windows))];
            let value = k.push(Scalar::Guard { conditions, body: value, otherwise: 0.0 });
            let sum = k.reduce(Combine::Sum, axis, value);
            k.store(x, &[(i[0], ONE)], sum);
        });
        check(&p.program, Tolerance::Exact);
    }
}

#[test]
fn padding_along_the_vector_axis() {
    for n in SIZES {
        let mut p = Sketch::default();
        let [x, y] = [n, n + 5].map(|n| p.buffer(n));
        p.kernel(&dims(&[n + 5]), 1, |k, i| {
            let from = k.plus(i[0], -3);
            let value = k.load(x, &[(from, ONE)]);
            let conditions = vec![Condition::InRange(from, fixed(n))];
            let value = k.push(Scalar::Guard { conditions, body: value, otherwise: 1.5 });
            k.store(y, &[(i[0], ONE)], value);
        });
        check(&p.program, Tolerance::Exact);
    }
}

#[test]
fn positions_comparisons_and_selections() {
    for n in SIZES {
        let mut p = Sketch::default();
        let tokens = p.ints(3);
        let [x, hot, y] = [3 * n, 3 * n, 3 * n].map(|n| p.buffer(n));
        let numbers = p.ints(3 * n);
        p.kernel(&dims(&[3, n]), 1, |k, i| {
            let at = [(i[0], fixed(n)), (i[1], ONE)];
            let token = k.load(tokens, &[(i[0], ONE)]);
            let position = k.push(Scalar::Position(i[1]));
            let equal = k.compare(CompareFn::Eq, token, position);
            k.store(hot, &at, equal);
            let x = k.load(x, &at);
            let zero = k.number(0.0);
            let positive = k.compare(CompareFn::Gt, x, zero);
            let product = k.binary(BinaryFn::Mul, x, positive);
            let negated = k.unary(UnaryFn::Neg, x);
            let value = k.push(Scalar::Select(equal, negated, product));
            let value = k.push(Scalar::Select(x, value, equal));
            k.store(y, &at, value);
            let twice = k.int(IntExpr::Mul(i[1], -3));
            let half = k.int(IntExpr::Rem(twice, 5));
            let half = k.push(Scalar::Position(half));
            let twice = k.push(Scalar::Position(twice));
            let number = k.push(Scalar::Select(positive, half, twice));
            k.store(numbers, &at, number);
        });
        check(&p.program, Tolerance::Exact);
    }
}

#[test]
fn gathers_of_rows_and_of_single_elements() {
    for (rows, cols) in [(5, 8), (3, 17), (9, 1), (1, 64)] {
        let mut p = Sketch::default();
        let index = p.ints(rows);
        let [table, y, z] = [7 * cols, rows * cols, rows].map(|n| p.buffer(n));
        p.kernel(&dims(&[rows, cols]), 1, |k, i| {
            let token = k.load(index, &[(i[0], ONE)]);
            let token = k.int(IntExpr::Value(token));
            let token = k.int(IntExpr::Clamp(token, 7));
            let value = k.load(table, &[(token, fixed(cols)), (i[1], ONE)]);
            k.store(y, &[(i[0], fixed(cols)), (i[1], ONE)], value);
        });
        p.kernel(&dims(&[rows]), 1, |k, i| {
            let token = k.load(index, &[(i[0], ONE)]);
            let token = k.int(IntExpr::Value(token));
            let token = k.int(IntExpr::Clamp(token, 6));
            let value = k.load(table, &[(token, fixed(cols))]);
            let value = k.unary(UnaryFn::Exp, value);
            let value = k.unary(UnaryFn::Tanh, value);
            k.store(z, &[(i[0], ONE)], value);
        });
        check(&p.program, Tolerance::Exact);
    }
}

#[test]
fn random_numbers() {
    let mut p = Sketch::default();
    let key = p.ints(2);
    let [y, z] = [3 * 37, 3 * 37].map(|n| p.buffer(n));
    p.kernel(&dims(&[3, 37]), 2, |k, i| {
        let zero = k.int(IntExpr::Const(0));
        let one = k.int(IntExpr::Const(1));
        let key = [zero, one].map(|word| k.load(key, &[(word, ONE)]));
        let row = k.int(IntExpr::Mul(i[0], 37));
        let index = k.int(IntExpr::Add(row, i[1]));
        let at = [(i[0], fixed(37)), (i[1], ONE)];
        let value = k.push(Scalar::Random { key, stream: 3, index });
        k.store(y, &at, value);
        let index = k.int(IntExpr::Div(index, 2));
        let value = k.push(Scalar::Random { key, stream: 4, index });
        k.store(z, &at, value);
    });
    check(&p.program, Tolerance::Exact);
}

#[test]
fn updates_in_place_see_the_old_values() {
    for n in SIZES {
        let mut p = Sketch::default();
        let [weight, moment, gradient] = [n; 3].map(|n| p.buffer(n));
        p.kernel(&dims(&[n]), 1, |k, i| {
            let at = [(i[0], ONE)];
            let [w, m, g] = [weight, moment, gradient].map(|buffer| k.load(buffer, &at));
            let decay = k.number(0.9);
            let kept = k.binary(BinaryFn::Mul, m, decay);
            let new = k.binary(BinaryFn::Add, kept, g);
            k.store(moment, &at, new);
            let step = k.binary(BinaryFn::Add, m, g);
            let value = k.binary(BinaryFn::Sub, w, step);
            k.store(weight, &at, value);
        });
        check(&p.program, Tolerance::Exact);
    }
}

#[test]
fn transposed_stores_and_loads() {
    for (m, n) in [(5, 7), (16, 4), (4, 17), (33, 9)] {
        let mut p = Sketch::default();
        let [x, y, z] = [m * n; 3].map(|n| p.buffer(n));
        p.kernel(&dims(&[m, n]), 2, |k, i| {
            let (across, along) = ([(i[0], ONE), (i[1], fixed(m))], [(i[0], fixed(n)), (i[1], ONE)]);
            let x = k.load(x, &across);
            let value = k.unary(UnaryFn::Tanh, x);
            k.store(y, &along, value);
            let value = k.unary(UnaryFn::Neg, value);
            k.store(z, &across, value);
        });
        check(&p.program, Tolerance::Exact);
    }
}

#[test]
fn named_sizes_multiply_divide_and_flatten() {
    let (batch, time) = (Dim::batch(), Dim::axis("T"));
    let mut p = Sketch::default();
    p.sizes(&[&batch, &time]);
    let rows = batch.times(&time);
    let [x, y, z] = [rows.times(&fixed(5)), rows.clone(), rows.clone()].map(|n| p.buffer(n));
    // Reads `[B, T, 5]` by the flat row, and writes it transposed.
    p.kernel(&[rows], 1, |k, i| {
        let b = k.int(IntExpr::DivSize(i[0], time.clone()));
        let t = k.int(IntExpr::RemSize(i[0], time.clone()));
        let (axis, j) = k.axis(5);
        let row = k.int(IntExpr::MulSize(b, time.clone()));
        let row = k.int(IntExpr::Add(row, t));
        let value = k.load(x, &[(row, fixed(5)), (j, ONE)]);
        let sum = k.reduce(Combine::Sum, axis, value);
        let n = k.int(IntExpr::Size(time.clone()));
        let n = k.push(Scalar::Position(n));
        let n = k.push(Scalar::Convert(n));
        let mean = k.binary(BinaryFn::Div, sum, n);
        k.store(y, &[(t, batch.clone()), (b, ONE)], mean);
    });
    p.kernel(&[batch.clone(), time.clone()], 2, |k, i| {
        let value = k.load(y, &[(i[1], batch.clone()), (i[0], ONE)]);
        k.store(z, &[(i[0], time.clone()), (i[1], ONE)], value);
    });
    for (b, t) in [(0, 3), (3, 0), (1, 1), (2, 5), (4, 16), (3, 33), (17, 2)] {
        check_with(&p.program, &batch_and_time(b, t), Tolerance::Sums);
    }
}

/// Loops that walk through memory as one become one, whatever part of them is parallel; others do not.
#[test]
fn neighboring_loops_collapse() {
    for parallel in 0..4 {
        for named in [false, true] {
            let first = if named { Dim::batch() } else { fixed(3) };
            let extents = [first.clone(), fixed(5), fixed(7)];
            let mut p = Sketch::default();
            if named {
                p.sizes(&[&first]);
            }
            let [x, noise, bias, y] =
                [first.times(&fixed(35)), first.times(&fixed(35)), fixed(5), first.times(&fixed(35))]
                    .map(|n| p.buffer(n));
            let key = p.ints(2);
            let at = |i: &[Int]| [(i[0], fixed(35)), (i[1], fixed(7)), (i[2], ONE)];
            p.kernel(&extents, parallel, |k, i| {
                let [zero, one] = [0, 1].map(|word| k.int(IntExpr::Const(word)));
                let key = [zero, one].map(|word| k.load(key, &[(word, ONE)]));
                let row = k.int(IntExpr::Mul(i[0], 5));
                let row = k.int(IntExpr::Add(row, i[1]));
                let row = k.int(IntExpr::Mul(row, 7));
                let index = k.int(IntExpr::Add(row, i[2]));
                let random = k.push(Scalar::Random { key, stream: 1, index });
                let x = k.load(x, &[(index, ONE)]);
                let value = k.binary(BinaryFn::Mul, random, x);
                k.store(noise, &at(i), value);
            });
            p.kernel(&extents, parallel, |k, i| {
                let x = k.load(noise, &at(i));
                let bias = k.load(bias, &[(i[1], ONE)]);
                let value = k.binary(BinaryFn::Add, x, bias);
                k.store(y, &at(i), value);
            });
            for n in [0, 1, 3] {
                check_with(&p.program, &batch(n), Tolerance::Exact);
            }
        }
    }
}

#[test]
fn random_kernels() {
    for seed in 0..300 {
        random::check_seed(seed);
    }
}
