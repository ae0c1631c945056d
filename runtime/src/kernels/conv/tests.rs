//! Each direction against sums in `f64`, on every instruction set, with one and two threads.

mod sums;

use super::super::testing::{Marked, assert_near, assert_within, cpus, random};
use super::cases::{CASE, Case, STEM, visit};
use super::*;
use crate::threads::Pool;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Forward,
    DataGrad,
    WeightGrad,
}

fn check(case: Case) {
    let d = case.descriptor();
    let x_len = (d.n * d.x_n) as usize;
    let y_len = (d.n * d.y_n) as usize;
    let w_len = (d.oc * d.c / d.groups * d.kh * d.kw) as usize;
    let [x, y, w] = [random(x_len, 0), random(y_len, 1), random(w_len, 2)];
    for what in [What::Forward, What::DataGrad, What::WeightGrad] {
        if what == What::DataGrad && case.channels_first {
            continue;
        }
        // Elements that the kernel must not touch keep their values.
        let (before, mut mine) = match what {
            What::Forward => (&y, pixels(y_len, [d.n, d.oh, d.ow, d.oc], [d.y_n, d.y_h, d.y_w, 1])),
            What::DataGrad => (&x, pixels(x_len, [d.n, d.h, d.w, d.c], [d.x_n, d.x_h, d.x_w, d.x_c])),
            What::WeightGrad => (&w, vec![true; w_len]),
        };
        let mut truth: Vec<f64> =
            before.iter().zip(&mine).map(|(&x, &mine)| if mine { 0.0 } else { f64::from(x) }).collect();
        let mut terms = 1;
        visit(&d, |xi, yi, wi| match what {
            What::Forward => truth[yi] += f64::from(x[xi]) * f64::from(w[wi]),
            What::DataGrad => truth[xi] += f64::from(y[yi]) * f64::from(w[wi]),
            What::WeightGrad => truth[wi] += f64::from(x[xi]) * f64::from(y[yi]),
        });
        terms = terms.max((d.kh * d.kw * d.c.max(d.oc)).max(d.n * d.oh * d.ow) as usize);
        for (x, mine) in truth.iter_mut().zip(&mut mine) {
            if *mine {
                *x = *x * 2.0 + 1.0;
            }
        }
        for cpu in cpus() {
            for packed in [false, true] {
                let results = [1, 2].map(|threads| run(cpu, threads, what, packed, &d, [&x, &y, &w]));
                // Winograd's sums are of larger numbers.
                let terms = if case.algorithm == DIRECT { terms } else { 16 * terms };
                assert_near(&results[0], &truth, terms, &format!("{what:?} {cpu:?} packed {packed} {case:?}"));
                assert_eq!(results[0], results[1], "threads matter: {what:?} {cpu:?} {case:?}");
            }
        }
    }
}

/// Which elements belong to an image.
fn pixels(len: usize, sizes: [i64; 4], strides: [i64; 4]) -> Vec<bool> {
    let mut mine = vec![false; len];
    for n in 0..sizes[0] {
        for i in 0..sizes[1] {
            for j in 0..sizes[2] {
                for c in 0..sizes[3] {
                    mine[(n * strides[0] + i * strides[1] + j * strides[2] + c * strides[3]) as usize] = true;
                }
            }
        }
    }
    mine
}

fn run(cpu: Cpu, threads: usize, what: What, packed: bool, d: &Conv, [x, y, w]: [&[f32]; 3]) -> Vec<f32> {
    let mut pool = Pool::new(threads);
    let [mut x, mut y, mut w] = [x, y, w].map(<[f32]>::to_vec);
    let mut d = Conv { x: x.as_mut_ptr(), y: y.as_mut_ptr(), weight: w.as_mut_ptr(), ..*d };
    let direction = if what == What::Forward { FORWARD } else { DATA_GRAD };
    let pixels = if what == What::DataGrad { d.h * d.w } else { d.oh * d.ow };
    d.many = (pixels >= MANY).into();
    let mut room = vec![f32::NAN; packed_len(&d, direction)];
    if packed {
        // SAFETY: the descriptor is that of the vectors.
        unsafe { pack_on(cpu, pool.team(), &d, direction, room.as_mut_ptr()) };
        d.packed = room.as_ptr();
    }
    let columns = (d.c / d.groups * d.kh * d.kw) as usize;
    let marked = match what {
        What::Forward => Marked::new(&pool, d.y, d.y_w as usize, (d.ow >> d.pooled) as usize, d.y_h as usize),
        What::DataGrad => Marked::new(&pool, d.x, d.x_w as usize, d.w as usize, d.x_h as usize),
        What::WeightGrad => Marked::new(&pool, d.weight, columns, 0, 0),
    };
    // SAFETY: the descriptor is that of the vectors.
    unsafe {
        match what {
            What::Forward => correlate(cpu, pool.team(), marked.frame(), &d, FORWARD),
            What::DataGrad => correlate(cpu, pool.team(), marked.frame(), &d, DATA_GRAD),
            What::WeightGrad => weight_grad_on(cpu, pool.team(), marked.frame(), &d),
        }
    }
    let packing = needs(cpu, &d, direction, false, 0);
    let direction = [FORWARD, DATA_GRAD, WEIGHT_GRAD][what as usize];
    assert_within(&mut pool, &packing.max(needs(cpu, &d, direction, false, 0)), "a convolution");
    let wider = Conv { n: d.n + 3, h: d.h + 9, w: d.w + 11, oh: d.oh + 9, ow: d.ow + 11, ..d };
    assert_within(&mut pool, &packing.max(needs(cpu, &wider, direction, true, 0)), "one of varying sizes");
    match what {
        What::Forward => y,
        What::DataGrad => x,
        What::WeightGrad => w,
    }
}

#[test]
fn channels() {
    for (c, oc) in [(1, 1), (2, 3), (3, 17), (5, 16), (16, 5), (17, 33), (33, 70)] {
        for channels_first in [false, true] {
            check(Case { c, oc, channels_first, ..CASE });
        }
    }
}

#[test]
fn kernels_strides_paddings_and_dilations() {
    for kernel in [[1, 1], [2, 3], [3, 3], [5, 1]] {
        for stride in [[1, 1], [2, 2], [3, 1], [2, 3]] {
            for (pad, dilation) in [([0, 0], [1, 1]), ([1, 1], [1, 1]), ([2, 1], [1, 2]), ([0, 2], [1, 3])] {
                if dilation[0] * (kernel[0] - 1) < 7 + 2 * pad[0] && dilation[1] * (kernel[1] - 1) < 9 + 2 * pad[1] {
                    for (c, oc) in [(3, 5), (18, 20)] {
                        check(Case { c, oc, kernel, stride, pad, dilation, ..CASE });
                    }
                }
            }
        }
    }
}

#[test]
fn groups() {
    for (c, oc, groups) in [(4, 6, 2), (34, 36, 2), (9, 9, 3), (6, 12, 6)] {
        check(Case { c, oc, groups, ..CASE });
        check(Case { c, oc, groups, stride: [2, 2], channels_first: true, ..CASE });
    }
}

#[test]
fn depthwise() {
    for c in [2, 3, 8, 19, 70] {
        for (stride, pad, kernel) in [([1, 1], [1, 1], [3, 3]), ([2, 2], [1, 1], [3, 3]), ([1, 2], [0, 2], [2, 5])] {
            check(Case { c, oc: c, groups: c, stride, pad, kernel, ..CASE });
        }
        check(Case { c, oc: c, groups: c, dilation: [2, 2], pad: [2, 2], ..CASE });
    }
}

#[test]
fn groups_of_few_channels() {
    for few in [2, 4, 8] {
        for groups in [2, 3, 9] {
            let case = Case { c: few * groups, oc: few * groups, groups, ..CASE };
            for (stride, pad, kernel) in [([1, 1], [1, 1], [3, 3]), ([2, 3], [1, 0], [3, 3]), ([1, 2], [0, 2], [2, 5])]
            {
                check(Case { stride, pad, kernel, ..case });
            }
            check(Case { n: 1, size: [6, 29], dilation: [2, 2], pad: [2, 2], ..case });
            check(Case { stride: [2, 2], channels_first: true, ..case });
        }
    }
}

#[test]
fn few_channels_of_many() {
    for (c, oc) in [(16, 1), (33, 2), (20, 3), (50, 4)] {
        for (kernel, stride, pad) in
            [([3, 3], [1, 1], [1, 1]), ([5, 4], [2, 3], [2, 0]), ([1, 7], [1, 2], [1, 5]), ([9, 9], [1, 1], [4, 4])]
        {
            let case = Case { kernel, stride, pad, size: [9, 12], ..CASE };
            check(Case { c, oc, ..case });
            // The data gradient.
            check(Case { c: oc, oc: c, ..case });
            check(Case { c, oc, channels_first: true, ..case });
        }
    }
}

/// More taps than are looked at together, of which some read no pixel at all.
#[test]
fn groups_of_large_kernels() {
    for few in [1, 2, 4] {
        let case = Case { c: few * 5, oc: few * 5, groups: 5, ..CASE };
        check(Case { kernel: [9, 11], pad: [4, 5], ..case });
        check(Case { kernel: [13, 9], pad: [8, 7], stride: [2, 1], size: [3, 17], ..case });
    }
}

#[test]
fn blocks_and_their_ends() {
    check(Case { n: 1, size: [23, 31], c: 20, oc: 18, ..CASE });
    check(Case { n: 1, size: [5, 5], c: 400, oc: 40, ..CASE });
    check(Case { n: 1, size: [4, 4], c: 40, oc: 400, kernel: [1, 1], pad: [0, 0], ..CASE });
    check(Case { n: 3, size: [1, 1], c: 40, oc: 24, ..CASE });
    check(Case { n: 1, ..STEM });
    check(Case { n: 1, size: [300, 3], c: 17, oc: 3, ..CASE });
    check(Case { n: 1, size: [3, 700], c: 17, oc: 3, ..CASE });
}

#[test]
fn few_channels() {
    for c in [1, 2, 3, 4, 6] {
        for channels_first in [false, true] {
            for (kernel, stride, pad) in [
                ([3, 3], [1, 1], [1, 1]),
                ([7, 7], [2, 2], [3, 3]),
                ([5, 3], [3, 2], [0, 2]),
                ([2, 4], [1, 3], [4, 0]),
                ([1, 5], [1, 1], [0, 9]),
            ] {
                for oc in [1, 6, 64, 70, 80] {
                    check(Case { n: 3, size: [9, 11], c, oc, kernel, stride, pad, channels_first, ..CASE });
                }
            }
        }
    }
}

/// Blocks of several rows, parts of rows, several windows of an image, and more windows than parts of a sum.
#[test]
fn windows_and_their_ends() {
    let case = Case { n: 1, c: 3, oc: 64, channels_first: true, ..CASE };
    check(Case { n: 2, size: [35, 12], ..case });
    check(Case { size: [9, 131], oc: 32, ..case });
    check(Case { size: [18, 270], kernel: [5, 5], stride: [2, 2], pad: [2, 2], oc: 16, ..case });
    check(Case { size: [3, 1100], c: 1, oc: 5, ..case });
    check(Case { size: [1, 1700], c: 2, oc: 9, kernel: [1, 4], stride: [1, 3], pad: [0, 2], ..case });
    check(Case { n: 9, size: [30, 5], c: 1, oc: 17, ..case });
    // Smaller than the kernel, and with more padding than image.
    check(Case { n: 2, size: [2, 1], kernel: [5, 5], pad: [3, 4], oc: 8, ..case });
    check(Case { n: 0, ..case });
    // Rows of the kernel that are apart are as good as neighbors; columns that are apart are not.
    check(Case { size: [15, 9], dilation: [3, 1], ..case });
    check(Case { size: [15, 9], dilation: [1, 3], ..case });
    // Pixels that no tap reads.
    check(Case { size: [15, 9], kernel: [2, 2], stride: [3, 3], pad: [0, 0], ..case });
}

/// Each image gives the bits that it gives alone.
#[test]
fn an_image_does_not_depend_on_its_batch() {
    for size in [[9, 11], [20, 300]] {
        let case = Case { n: 3, size, c: 3, oc: 20, channels_first: true, ..CASE };
        let d = Conv { epilogue: None, ..case.descriptor() };
        let [x_n, y_n] = [d.x_n as usize, d.y_n as usize];
        let [x, y, w] = [random(3 * x_n, 0), random(3 * y_n, 1), random((d.oc * d.c * 9) as usize, 2)];
        for cpu in cpus() {
            let together = run(cpu, 1, What::Forward, true, &d, [&x, &y, &w]);
            for image in 0..3 {
                let [mine, of_y] = [image * x_n..(image + 1) * x_n, image * y_n..(image + 1) * y_n];
                let alone = run(cpu, 1, What::Forward, true, &Conv { n: 1, ..d }, [&x[mine], &y[of_y.clone()], &w]);
                assert_eq!(alone, together[of_y], "image {image} {cpu:?} {case:?}");
            }
        }
    }
}

/// What a matrix unit computes, with tiles that are not full, blocks of an image and several planes.
#[test]
fn tiles_of_many_channels() {
    let case = Case { c: 32, oc: 32, ..CASE };
    for (c, oc) in [(32, 32), (64, 96), (30, 45), (96, 130)] {
        for channels_first in [false, true] {
            check(Case { c, oc, channels_first, ..case });
        }
    }
    for kernel in [[1, 1], [2, 3], [5, 1], [7, 7]] {
        for stride in [[1, 1], [2, 2], [3, 1]] {
            for (pad, dilation) in [([0, 0], [1, 1]), ([1, 2], [1, 2]), ([3, 3], [2, 1])] {
                let reach = [0, 1].map(|axis| dilation[axis] * (kernel[axis] - 1) < case.size[axis] + 2 * pad[axis]);
                if reach == [true; 2] {
                    check(Case { kernel, stride, pad, dilation, oc: 130, ..case });
                }
            }
        }
    }
    check(Case { c: 128, oc: 192, groups: 2, ..case });
    check(Case { c: 64, oc: 64, groups: 2, stride: [2, 2], channels_first: true, ..case });
    check(Case { n: 1, size: [40, 40], c: 256, oc: 32, ..case });
    check(Case { n: 1, size: [3, 200], c: 512, oc: 16, ..case });
    check(Case { n: 1, size: [31, 29], stride: [2, 2], oc: 200, ..case });
    check(Case { n: 3, size: [5, 6], oc: 300, ..case });
}

/// Pixels that a matrix unit takes for zero or for no numbers.
#[test]
fn tiles_with_the_least_and_the_largest_numbers() {
    for (c, oc, stride) in [(40, 150, 1), (64, 64, 2)] {
        let case = Case { n: 1, c, oc, stride: [stride; 2], ..CASE };
        let d = Conv { epilogue: None, ..case.descriptor() };
        let mut x = random(d.x_n as usize, 0);
        let y = random(d.y_n as usize, 1);
        let w = random((oc * c * 9) as usize, 2);
        let pixel = |row: i64, col: i64| (row * d.x_h + col * d.x_w) as usize..;
        x[pixel(1, 1)][..c as usize].iter_mut().for_each(|x| *x *= 1e-39);
        x[pixel(2, 5)][..c as usize].iter_mut().for_each(|x| *x *= 3e38);
        x[pixel(5, 3)][3] = f32::INFINITY;
        x[pixel(5, 8)][c as usize - 1] = f32::NAN;
        for (row, col) in [(1, 0), (0, 1), (0, 0), (2, 1), (1, 2), (2, 2), (0, 2), (2, 0)] {
            x[pixel(row, col)][..c as usize].fill(0.0);
        }
        let [expected, packed, two] = [(Cpu::Portable, true, 1), (cpu::cpu(), true, 1), (cpu::cpu(), false, 2)]
            .map(|(cpu, packed, threads)| run(cpu, threads, What::Forward, packed, &d, [&x, &y, &w]));
        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&packed), bits(&two), "{case:?}");
        assert!(expected.iter().any(|x| x.is_nan()) && expected.iter().any(|x| x.is_infinite()));
        assert!(expected.iter().any(|x| *x != 0.0 && x.abs() < 1e-37), "a sum of denormal numbers");
        for (at, (found, expected)) in packed.iter().zip(&expected).enumerate() {
            let near = (found - expected).abs() <= 1e-5 * expected.abs().max(1.0) || found == expected;
            let near = if expected.abs() < 1e-30 { (found - expected).abs() <= 1e-43 } else { near };
            assert!(near || expected.is_nan() && found.is_nan(), "{found:e}, not {expected:e}, at {at} in {case:?}");
        }
    }
}

#[test]
fn winograd() {
    for algorithm in [WINOGRAD, WINOGRAD_2X2] {
        let case = Case { algorithm, ..CASE };
        for (c, oc) in [(16, 16), (17, 33), (40, 70), (5, 20)] {
            for (size, pad) in [([7, 9], [1, 1]), ([3, 4], [0, 0]), ([5, 5], [2, 2]), ([8, 12], [0, 1])] {
                check(Case { c, oc, size, pad, ..case });
            }
        }
        check(Case { n: 3, size: [37, 21], c: 20, oc: 100, ..case });
        check(Case { n: 1, size: [15, 18], c: 150, oc: 140, ..case });
        check(Case { c: 16, oc: 16, stride: [2, 1], ..case });
        check(Case { c: 16, oc: 16, dilation: [2, 2], ..case });
        check(Case { c: 32, oc: 32, groups: 2, ..case });
    }
}

/// Enough tiles for chunks that transform their own, and for weight gradients in parts.
#[test]
fn winograd_of_many_tiles() {
    let case = Case { n: 2, size: [59, 50], c: 18, oc: 20, algorithm: WINOGRAD, ..CASE };
    for algorithm in [WINOGRAD, WINOGRAD_2X2] {
        check(Case { algorithm, ..case });
    }
    check(Case { n: 1, c: 20, oc: 17, channels_first: true, ..case });
    check(Case { n: 1, c: 16, oc: 130, pad: [0, 2], ..case });
}

/// To the bit what is made of the whole map, at every border; nothing beside is touched.
#[test]
fn winograd_keeps_the_largest_of_neighbors() {
    for algorithm in [WINOGRAD, WINOGRAD_2X2] {
        for (n, size, c, oc) in
            [(2, [7, 9], 17, 33), (1, [8, 12], 40, 70), (3, [5, 5], 16, 16), (2, [59, 50], 18, 20), (1, [1, 3], 16, 20)]
        {
            let whole = Case { n, size, c, oc, algorithm, ..CASE }.descriptor();
            let [oh, ow] = [whole.oh / 2, whole.ow / 2];
            // A gap after each pixel and each row.
            let (y_w, y_h) = (oc + 2, ow * (oc + 2) + 3);
            let pooled = Conv { pooled: 1, y_w, y_h, y_n: oh * y_h, ..whole };
            let x = random((n * whole.x_n) as usize, 0);
            let mut w = random((oc * c * 9) as usize, 2);
            // Neighbors of the first channel are the same.
            w[..(c * 9) as usize].fill(0.0);
            let [before, y] = [&whole, &pooled].map(|d| random((n * d.y_n) as usize, 1));
            for cpu in cpus() {
                for packed in [false, true] {
                    let all = run(cpu, 1, What::Forward, packed, &whole, [&x, &before, &w]);
                    let mut expected = y.clone();
                    // Positions lie without gaps.
                    let mut which = vec![-1.0; (n * oh * ow * oc) as usize];
                    for (image, i, j, o) in (0..n).flat_map(|n| {
                        (0..oh).flat_map(move |i| (0..ow).flat_map(move |j| (0..oc).map(move |o| (n, i, j, o))))
                    }) {
                        let at = |a: i64, b: i64| {
                            let (i, j) = (2 * i + a, 2 * j + b);
                            all[(image * whole.y_n + i * whole.y_h + j * whole.y_w + o) as usize]
                        };
                        let to = (image * pooled.y_n + i * y_h + j * y_w + o) as usize;
                        let four = [at(0, 0), at(0, 1), at(1, 0), at(1, 1)];
                        expected[to] = four.into_iter().fold(f32::MIN, f32::max);
                        which[(((image * oh + i) * ow + j) * oc + o) as usize] =
                            four.iter().position(|x| *x == expected[to]).expect("it is one of them") as f32;
                    }
                    for threads in [1, 2] {
                        let found = run(cpu, threads, What::Forward, packed, &pooled, [&x, &y, &w]);
                        assert_eq!(found, expected, "{algorithm} {cpu:?} packed {packed} {size:?}");
                        let mut positions = vec![-1.0; which.len()];
                        let to = positions.as_mut_ptr();
                        let (positions_n, positions_h, positions_w) = (oh * ow * oc, ow * oc, oc);
                        let says = Conv { positions: to, positions_n, positions_h, positions_w, ..pooled };
                        let found = run(cpu, threads, What::Forward, packed, &says, [&x, &y, &w]);
                        assert_eq!(
                            (found, positions),
                            (expected.clone(), which.clone()),
                            "{algorithm} {cpu:?} {size:?}"
                        );
                    }
                }
            }
        }
    }
}

/// Neighbors that are no numbers have no largest: a network does not hide them.
#[test]
fn winograd_keeps_what_is_no_number() {
    for algorithm in [WINOGRAD, WINOGRAD_2X2] {
        let whole = Case { n: 1, size: [8, 8], c: 16, oc: 16, algorithm, ..CASE }.descriptor();
        let d = Conv { pooled: 1, y_w: 16, y_h: 4 * 16, y_n: 16 * 16, ..whole };
        let [x, y] = [d.x_n, d.y_n].map(|len| vec![f32::NAN; len as usize]);
        let w = random(16 * 16 * 9, 2);
        for cpu in cpus() {
            let mut positions = vec![-1.0; y.len()];
            let (positions_n, positions_h, positions_w) = (d.y_n, d.y_h, d.y_w);
            let d = Conv { positions: positions.as_mut_ptr(), positions_n, positions_h, positions_w, ..d };
            let found = run(cpu, 1, What::Forward, true, &d, [&x, &vec![0.0; y.len()], &w]);
            assert!(found.iter().all(|x| x.is_nan()), "{algorithm} {cpu:?}");
            assert!(positions.iter().all(|x| *x == 4.0), "{algorithm} {cpu:?}");
        }
    }
}

/// The largest error over the largest value, the measure in which oneDNN states its bound of 2e-5.
#[test]
fn winograd_is_accurate() {
    for (algorithm, bound) in [(WINOGRAD, 4e-6), (WINOGRAD_2X2, 2e-6)] {
        let case = Case { n: 1, size: [12, 12], c: 256, oc: 256, algorithm, ..CASE };
        for what in [What::Forward, What::DataGrad, What::WeightGrad] {
            let error = relative_error(case, what);
            assert!(error < bound, "{what:?} {algorithm}: {error:e}");
        }
    }
}

/// The error of a sum of random products grows with the root of their number.
#[test]
fn weight_gradients_of_many_pixels_are_accurate() {
    for (n, size) in [(2, 16), (2, 64), (4, 130)] {
        let case = Case { n, size: [size, size], c: 16, oc: 16, algorithm: WINOGRAD, ..CASE };
        let error = relative_error(case, What::WeightGrad);
        let bound = 5e-8 * ((n * size * size) as f64).sqrt();
        assert!(error < bound, "{n} {size}: {error:e}, not {bound:e}");
    }
}

/// On any instruction set.
fn relative_error(case: Case, what: What) -> f64 {
    let d = Conv { epilogue: None, ..case.descriptor() };
    let lens = [(d.n * d.x_n) as usize, (d.n * d.y_n) as usize, (d.oc * d.c * 9) as usize];
    let [x, y, w] = [0, 1, 2].map(|i| random(lens[i], i as u32));
    let (mut truth, mine) = match what {
        What::Forward => (vec![0.0; lens[1]], pixels(lens[1], [d.n, d.oh, d.ow, d.oc], [d.y_n, d.y_h, d.y_w, 1])),
        What::DataGrad => (vec![0.0; lens[0]], pixels(lens[0], [d.n, d.h, d.w, d.c], [d.x_n, d.x_h, d.x_w, d.x_c])),
        What::WeightGrad => (vec![0.0; lens[2]], vec![true; lens[2]]),
    };
    visit(&d, |xi, yi, wi| match what {
        What::Forward => truth[yi] += f64::from(x[xi]) * f64::from(w[wi]),
        What::DataGrad => truth[xi] += f64::from(y[yi]) * f64::from(w[wi]),
        What::WeightGrad => truth[wi] += f64::from(x[xi]) * f64::from(y[yi]),
    });
    let largest = truth.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    let error = |cpu| {
        let found = run(cpu, 1, what, true, &d, [&x, &y, &w]);
        let errors = found.iter().zip(&truth).zip(&mine).filter(|(_, mine)| **mine);
        errors.fold(0.0_f64, |most, ((&x, y), _)| most.max((f64::from(x) - y).abs()))
    };
    cpus().into_iter().map(error).fold(0.0, f64::max) / largest
}

#[test]
fn an_empty_batch_gives_zero_gradients() {
    check(Case { n: 0, ..CASE });
    check(Case { n: 0, c: 20, oc: 20, algorithm: WINOGRAD, ..CASE });
    check(Case { n: 0, c: 6, oc: 6, groups: 6, ..CASE });
}
