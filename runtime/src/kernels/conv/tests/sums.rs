//! Sums over the pixels of a result, against `f64`, on every instruction set, with one and two threads.

use super::super::super::testing::{Marked, assert_within, cpus, random};
use super::super::cases::{CASE, Case, STEM};
use super::super::finish::rows_of;
use super::*;
use crate::abi::{Products, Sums};
use crate::threads::Pool;

/// What a convolution with sums left: its result, and the sums.
#[derive(Debug, PartialEq)]
struct Found {
    result: Vec<f32>,
    sums: Vec<Vec<f32>>,
}

/// Arrays of the lengths that a result has, and numbers for each of its columns.
struct Others([(Vec<f32>, Vec<f32>); 2]);

fn run(cpu: Cpu, threads: usize, what: What, squares: bool, d: &Conv, arrays: [&[f32]; 3], others: &Others) -> Found {
    let mut pool = Pool::new(threads);
    let [mut x, mut y, mut w] = arrays.map(<[f32]>::to_vec);
    let mut d = Conv { x: x.as_mut_ptr(), y: y.as_mut_ptr(), weight: w.as_mut_ptr(), ..*d };
    let (direction, pixels, columns) = match what {
        What::Forward => (FORWARD, d.oh * d.ow, d.oc),
        What::DataGrad => (DATA_GRAD, d.h * d.w, d.c),
        What::WeightGrad => unreachable!("has no sums"),
    };
    d.many = (pixels >= MANY).into();
    let mut sums = vec![vec![f32::NAN; columns as usize]; 3];
    let [sum, first, second] = &mut sums[..] else { unreachable!("three") };
    let null = std::ptr::null_mut();
    let mut wanted =
        Sums { sum: sum.as_mut_ptr(), squares: null, products: [Products { other: null, about: null, sum: null }; 2] };
    if squares {
        wanted.squares = first.as_mut_ptr();
    } else {
        for (to, (sum, (other, about))) in wanted.products.iter_mut().zip([first, second].into_iter().zip(&others.0)) {
            *to = Products { other: other.as_ptr(), about: about.as_ptr(), sum: sum.as_mut_ptr() };
        }
    }
    d.sums = &raw const wanted;
    let marked = match what {
        What::Forward => Marked::new(&pool, d.y, d.y_w as usize, (d.ow >> d.pooled) as usize, d.y_h as usize),
        _ => Marked::new(&pool, d.x, d.x_w as usize, d.w as usize, d.x_h as usize),
    };
    // SAFETY: the descriptor is that of the vectors.
    unsafe { correlate(cpu, pool.team(), marked.frame(), &d, direction) };
    let rows = rows_of(Some(&wanted));
    let wider = Conv { n: d.n + 3, h: d.h + 9, w: d.w + 11, oh: d.oh + 9, ow: d.ow + 11, ..d };
    assert_within(&mut pool, &needs(cpu, &d, direction, false, rows), "a convolution with sums");
    assert_within(&mut pool, &needs(cpu, &wider, direction, true, rows), "one of varying sizes");
    Found { result: if what == What::Forward { y } else { x }, sums }
}

fn check(case: Case) {
    check_descriptor(&case.descriptor(), case);
}

fn check_descriptor(d: &Conv, case: Case) {
    let [x_len, y_len] = [d.n * d.x_n, d.n * d.y_n].map(|len| len as usize);
    let w_len = (d.oc * d.c / d.groups * d.kh * d.kw) as usize;
    let [x, y, w] = [random(x_len, 0), random(y_len, 1), random(w_len, 2)];
    for what in [What::Forward, What::DataGrad] {
        if what == What::DataGrad && (case.channels_first || d.pooled != 0) {
            continue;
        }
        let pool = 1 << d.pooled;
        let (len, sizes, strides) = match what {
            What::Forward => (y_len, [d.n, d.oh / pool, d.ow / pool, d.oc], [d.y_n, d.y_h, d.y_w]),
            _ => (x_len, [d.n, d.h, d.w, d.c], [d.x_n, d.x_h, d.x_w]),
        };
        let others = [3, 4].map(|stream| (random(len, stream), random(sizes[3] as usize, stream + 2)));
        let others = Others(others);
        for (cpu, squares) in cpus().into_iter().flat_map(|cpu| [(cpu, true), (cpu, false)]) {
            let [found, two] = [1, 2].map(|threads| run(cpu, threads, what, squares, d, [&x, &y, &w], &others));
            let text = format!("{what:?} {cpu:?} squares {squares} {case:?}");
            let bits = |found: &Found| found.sums.iter().flatten().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!((&found.result, bits(&found)), (&two.result, bits(&two)), "threads matter: {text}");
            assert_eq!(found.result, super::run(cpu, 1, what, false, d, [&x, &y, &w]), "{text}");
            for column in 0..sizes[3] {
                let at = pixels_of(sizes, strides, column);
                let values = || at.iter().map(|&at| f64::from(found.result[at]));
                let n = at.len() as f64;
                let sum: f64 = values().sum();
                assert_close(found.sums[0][column as usize], sum, values().map(f64::abs).sum(), &text);
                if squares {
                    let expected: f64 = values().map(|x| (x - sum / n).powi(2)).sum();
                    assert_close(found.sums[1][column as usize], expected, expected, &text);
                    continue;
                }
                for ((other, about), found) in others.0.iter().zip(&found.sums[1..]) {
                    let about = f64::from(about[column as usize]);
                    let products = || at.iter().zip(values()).map(|(&at, x)| x * (f64::from(other[at]) - about));
                    assert_close(found[column as usize], products().sum(), products().map(f64::abs).sum(), &text);
                }
            }
        }
    }
}

/// The places of a column's elements.
fn pixels_of(sizes: [i64; 4], strides: [i64; 3], column: i64) -> Vec<usize> {
    let pixels = (0..sizes[0]).flat_map(|n| (0..sizes[1]).flat_map(move |i| (0..sizes[2]).map(move |j| [n, i, j])));
    pixels.map(|at| (at.iter().zip(strides).map(|(i, stride)| i * stride).sum::<i64>() + column) as usize).collect()
}

/// Within some last places of sums of numbers that are so large in all.
fn assert_close(found: f32, expected: f64, scale: f64, what: &str) {
    assert!((f64::from(found) - expected).abs() <= 3e-6 * scale, "{what}: {found}, not {expected}");
}

#[test]
fn sums_of_direct_convolutions() {
    for (c, oc) in [(3, 5), (17, 33), (40, 70), (33, 130)] {
        check(Case { c, oc, ..CASE });
        check(Case { n: 1, size: [23, 31], c, oc, stride: [2, 2], ..CASE });
        check(Case { size: [8, 6], c, oc, kernel: [1, 1], pad: [0, 0], stride: [2, 1], ..CASE });
    }
    check(Case { n: 3, size: [1, 1], c: 40, oc: 24, ..CASE });
    check(Case { n: 0, c: 40, oc: 24, ..CASE });
    check(Case { c: 34, oc: 36, groups: 2, ..CASE });
    check(STEM);
}

#[test]
fn sums_of_channels_by_themselves() {
    for c in [2, 19, 70] {
        check(Case { c, oc: c, groups: c, ..CASE });
        check(Case { c, oc: c, groups: c, stride: [2, 2], ..CASE });
    }
}

#[test]
fn sums_of_tiles() {
    check(Case { n: 1, size: [40, 40], c: 64, oc: 96, ..CASE });
    check(Case { n: 3, size: [31, 29], c: 32, oc: 200, stride: [2, 2], ..CASE });
    check(Case { size: [9, 8], c: 128, oc: 192, groups: 2, ..CASE });
}

#[test]
fn sums_of_winograd() {
    for algorithm in [WINOGRAD, WINOGRAD_2X2] {
        let case = Case { algorithm, ..CASE };
        for (c, oc) in [(16, 16), (17, 33), (40, 70)] {
            check(Case { c, oc, ..case });
            check(Case { n: 3, size: [37, 21], c, oc, ..case });
        }
        // Tiles that are transformed some at a time.
        check(Case { n: 2, size: [52, 50], c: 600, oc: 20, ..case });
        let case = Case { n: 3, size: [22, 18], c: 20, oc: 40, ..case };
        check_descriptor(&pooled(&case), case);
    }
}

/// Every 2 by 2 pixels become one.
fn pooled(case: &Case) -> Conv {
    let d = case.descriptor();
    let y_h = (d.ow / 2) * d.y_w + 2;
    Conv { pooled: 1, y_h, y_n: (d.oh / 2) * y_h, ..d }
}

/// The squares of differences that are small beside the numbers.
#[test]
fn squares_of_what_is_far_from_zero() {
    let d = Conv {
        epilogue: None,
        ..Case { n: 4, size: [16, 16], c: 16, oc: 32, kernel: [1, 1], pad: [0, 0], ..CASE }.descriptor()
    };
    let x: Vec<f32> = random((d.n * d.x_n) as usize, 0).iter().map(|x| 1000.0 + x).collect();
    let y = vec![0.0; (d.n * d.y_n) as usize];
    let w: Vec<f32> = random((d.oc * d.c) as usize, 2);
    let others = Others([const { (Vec::new(), Vec::new()) }; 2]);
    for cpu in cpus() {
        let found = run(cpu, 1, What::Forward, true, &d, [&x, &y, &w], &others);
        for column in 0..d.oc {
            let at = pixels_of([d.n, d.oh, d.ow, d.oc], [d.y_n, d.y_h, d.y_w], column);
            let values = || at.iter().map(|&at| f64::from(found.result[at]));
            let mean = values().sum::<f64>() / at.len() as f64;
            let expected: f64 = values().map(|x| (x - mean).powi(2)).sum();
            assert_close(found.sums[1][column as usize], expected, 10.0 * expected, &format!("{cpu:?}"));
        }
    }
}

/// A sum is infinite where one of its numbers is, wherever that lies.
#[test]
fn sums_of_infinite_numbers() {
    let case = Case { n: 2, size: [12, 10], c: 16, oc: 20, kernel: [1, 1], pad: [0, 0], ..CASE };
    let d = Conv { epilogue: None, ..case.descriptor() };
    let y = vec![0.0; (d.n * d.y_n) as usize];
    let w: Vec<f32> = random((d.oc * d.c) as usize, 2);
    let others = Others([const { (Vec::new(), Vec::new()) }; 2]);
    for pixel in [0, 57, 119] {
        let mut x = random((d.n * d.x_n) as usize, 0);
        x[(pixel / 10 * d.x_h + pixel % 10 * d.x_w) as usize] = f32::INFINITY;
        for cpu in cpus() {
            let found = run(cpu, 1, What::Forward, true, &d, [&x, &y, &w], &others);
            for column in 0..d.oc {
                let at = (pixel / 10 * d.y_h + pixel % 10 * d.y_w + column) as usize;
                assert!(found.result[at].is_infinite());
                assert_eq!(found.sums[0][column as usize], found.result[at], "{cpu:?}, pixel {pixel}");
                assert!(found.sums[1][column as usize].is_nan());
            }
        }
    }
}
