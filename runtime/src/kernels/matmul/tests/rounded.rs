//! Products of a single row with an operand that is rounded to 21 bits.

use super::prepared::{AS_IT_IS, How, product, transpose};
use super::*;
use crate::kernels::fixed21;

const ROUNDED: How = How { rounds: true, ..AS_IT_IS };

/// The error to expect of a product that has another when its weights, evenly spread up to 1, are not rounded: each then is off by half
/// of a last bit at most, which adds to the variance.
fn rounded_error(own: f64) -> f64 {
    (1.2 * own).hypot(2_f64.powi(-21))
}

#[test]
fn rounding_loses_a_little() {
    for (groups, [k, n]) in [(1, [256, 256]), (4, [256, 1024]), (3, [300, 600]), (1, [530, 130]), (2, [1200, 128])] {
        let b = random(k * n, 1);
        // Of half a run, or of two runs.
        let parts =
            [groups / 2, 2 * groups].into_iter().find(|&parts| parts > 0 && are_panels(n, parts, groups)).unwrap_or(1);
        for m in 1..=3 {
            let (sizes, a) = ([m, n, k], random(m * k, 0));
            for cpu in cpus() {
                let rounded = product(cpu, sizes, &a, &b, How { groups, ..ROUNDED });
                let vectors = product(Cpu::Portable, sizes, &a, &b, AS_IT_IS);
                let [found, own] = [&rounded, &vectors].map(|c| error(c, sizes, &a, &b));
                assert!(found <= rounded_error(own), "{sizes:?} in {groups} on {cpu:?}: {found}, not {own}");
                let is_rounded = rounded != product(cpu, sizes, &a, &b, How { groups, ..AS_IT_IS });
                assert_eq!(is_rounded, fixed21::pays(cpu) && m < SEVERAL, "{sizes:?} in {groups} on {cpu:?}");
                let other = transpose([k, n], &b);
                for how in [
                    How { is_known: false, threads: 2, ..ROUNDED },
                    How { threads: 2, turned: true, ..ROUNDED },
                    How { pieces: 2, threads: 3, ..ROUNDED },
                    How { transposed: true, turned: true, ..ROUNDED },
                    How { transposed: true, pieces: 2, threads: 3, ..ROUNDED },
                    How { pieces: groups, in_rows: false, threads: 2, ..ROUNDED },
                    How { transposed: true, pieces: groups, in_rows: false, is_known: false, threads: 3, ..ROUNDED },
                    How { pieces: parts, in_rows: false, threads: 2, ..ROUNDED },
                    How { transposed: true, pieces: parts, in_rows: false, threads: 2, ..ROUNDED },
                ] {
                    let b = if how.transposed { &other } else { &b };
                    let same = product(cpu, sizes, &a, b, How { groups, ..how });
                    assert!(same == rounded, "{sizes:?} in {groups} on {cpu:?}");
                }
            }
        }
    }
}

/// Rows of a unit matrix bring out each weight.
#[test]
fn what_a_weight_loses_is_bounded() {
    let [n, k] = [192, 200];
    // Of all bits that an `f32` has.
    let mut b: Vec<f32> = random(k * n, 1).iter().map(|x| x * 0.731).collect();
    // Columns and rows of different sizes, zeros, and numbers next to a power of two.
    (0..k * n).step_by(n).for_each(|row| b[row + 5] *= 50.0);
    (0..k * n).step_by(n).for_each(|row| b[row + 6] = 0.0);
    b[3 * n..][..n].iter_mut().for_each(|x| *x *= 0.5);
    b[4 * n..][..n].fill(0.0);
    b[9 * n + 5] = f32::from_bits(64_f32.to_bits() - 1);
    b[10 * n + 5] = -f32::from_bits(64_f32.to_bits() - 1);
    let largest = |of: &mut dyn Iterator<Item = f32>| of.fold(0.0, |all: f32, x| all.max(x.abs()));
    let mut lost = 0.0_f32;
    for i in 0..k {
        let mut a = vec![0.0; k];
        a[i] = 1.0;
        let of_row = largest(&mut b[i * n..][..n].iter().copied());
        for cpu in cpus() {
            let c = product(cpu, [1, n, k], &a, &b, ROUNDED);
            for j in 0..n {
                let of_column = largest(&mut (0..k).map(|i| b[i * n + j]));
                let off = (c[j] - b[i * n + j]).abs();
                assert!(off <= of_column * 2_f32.powi(-20), "{i}, {j} on {cpu:?}: {} is {}", b[i * n + j], c[j]);
                // Half of the last bit, and what converting a word to `f32` loses.
                let unit = if of_column > 0.0 { (of_column.log2().floor() - 30.0).exp2() } else { 0.0 };
                assert!(off <= 1088.0 * unit, "{i}, {j} on {cpu:?}: {} is {}", b[i * n + j], c[j]);
                assert!(of_row == 0.0 || off <= of_row * 2_f32.powi(-14), "{i}, {j} on {cpu:?}");
                lost = lost.max(off);
            }
        }
    }
    assert_eq!(lost > 0.0, cpus().into_iter().any(fixed21::pays));
}

#[test]
fn odd_matrices_stay_as_they_are() {
    let sizes @ [_, n, k] = [1, 256, 300];
    let a = random(k, 0);
    let plain = random(k * n, 1);
    type Change<'a> = &'a dyn Fn(&mut [f32]);
    let odd: [(&str, Change<'_>); 10] = [
        ("an infinite number", &|b| b[77] = f32::INFINITY),
        ("no number", &|b| b[k * n - 1] = f32::NAN),
        ("a small row", &|b| b[5 * n..][..n].iter_mut().for_each(|x| *x *= 1e-4)),
        ("a row that is not as large", &|b| b[5 * n..][..n].iter_mut().for_each(|x| *x *= 5e-3)),
        ("a small row of the second half", &|b| b[160 * n..][..n].iter_mut().for_each(|x| *x *= 1e-4)),
        ("a small row near the end", &|b| b[290 * n..][..n].iter_mut().for_each(|x| *x *= 1e-4)),
        ("a large number", &|b| b[900] = 1e5),
        ("a denormal column", &|b| (0..k).for_each(|row| b[row * n + 9] *= 1e-40)),
        ("all small", &|b| b.iter_mut().for_each(|x| *x *= 1e-33)),
        ("all large", &|b| b.iter_mut().for_each(|x| *x *= 1e37)),
    ];
    let ways = [
        ROUNDED,
        How { is_known: false, threads: 2, ..ROUNDED },
        How { pieces: 2, threads: 2, ..ROUNDED },
        How { transposed: true, threads: 2, ..ROUNDED },
        How { transposed: true, pieces: 2, ..ROUNDED },
    ];
    for (what, change) in odd {
        let mut b = plain.clone();
        change(&mut b);
        let other = transpose([k, n], &b);
        for cpu in cpus() {
            let exact = product(cpu, sizes, &a, &b, AS_IT_IS);
            for (number, how) in ways.into_iter().enumerate() {
                let rounded = product(cpu, sizes, &a, if how.transposed { &other } else { &b }, how);
                let are_same = rounded.iter().zip(&exact).all(|(x, y)| x.to_bits() == y.to_bits());
                assert!(are_same, "{what} on {cpu:?}, way {number}");
            }
        }
    }
    for cpu in cpus() {
        let zero = product(cpu, sizes, &a, &vec![0.0; k * n], ROUNDED);
        assert!(zero.iter().all(|&x| x == 0.0), "{cpu:?}");
    }
}

/// Sums that overflow in the units of the words, and infinite ones, are those of the matrix as it is; if there is no such, of the
/// numbers that the words stand for.
#[test]
fn large_rows_do_not_overflow() {
    let [n, k] = [256, 256];
    for (sizes @ [_, n, k], accumulates) in [([1, n, k], false), ([1, 192, 1200], true)] {
        let mut b = random(k * n, 1);
        for (large, at) in [(1e34, 3), (f32::INFINITY, 200), (f32::NEG_INFINITY, 0), (f32::NAN, 255)] {
            // Whatever word it has, infinite times zero is no number.
            (0..n).step_by(5).for_each(|column| b[at * n + column] = 0.0);
            let mut a = random(k, 0);
            a[at] = large;
            for cpu in cpus() {
                let ways = [ROUNDED, How { is_known: false, ..ROUNDED }, AS_IT_IS];
                let [alone, rounded, exact] = ways.map(|how| product(cpu, sizes, &a, &b, How { accumulates, ..how }));
                let are_same = rounded.iter().zip(&exact).all(|(x, y)| x.to_bits() == y.to_bits());
                // Of several blocks of the K loop, those that overflow are.
                assert!(are_same || k > 1000, "{large} on {cpu:?}");
                for (x, y) in alone.iter().zip(&exact).chain(rounded.iter().zip(&exact)) {
                    let is_near =
                        if y.is_finite() { (x - y).abs() <= 1e-6 * large } else { x == y || x.is_nan() && y.is_nan() };
                    assert!(is_near, "{x}, not {y}, with {large} on {cpu:?}");
                }
            }
        }
    }
    let (sizes, b) = ([1, n, k], random(k * n, 1));
    // Small ones lose no more than others.
    let a: Vec<f32> = random(k, 0).iter().map(|x| x * 1e-36).collect();
    for cpu in cpus() {
        let [found, own] = [ROUNDED, AS_IT_IS].map(|how| error(&product(cpu, sizes, &a, &b, how), sizes, &a, &b));
        assert!(found <= rounded_error(own), "{cpu:?}: {found}, not {own}");
    }
}

/// An operand may be packed for one number of rows and then for another: what is there for the first stays.
#[test]
fn each_number_of_rows_finds_what_was_packed_for_it() {
    for (groups, [k, n]) in [(1, [300, 200]), (3, [256, 600])] {
        let b = random(k * n, 1);
        let other = transpose([k, n], &b);
        let rows = [1_usize, 3, 16];
        for (cpu, transposed) in cpus().into_iter().flat_map(|cpu| [(cpu, false), (cpu, true)]) {
            let b = if transposed { &other } else { &b };
            for order in [[0, 1, 2], [1, 0, 2], [2, 1, 0], [2, 0, 1]] {
                let pool = Pool::new(2);
                let words = pool_frame(&pool);
                let mut packed = vec![f32::NAN; packed_len(k, n, groups) + rounded_len(k, n, groups)];
                let beside = rounded_len(k, n, groups) as i64;
                let strides = |m: usize| strides(2 * usize::from(transposed), [m, n, k], n);
                for m in order.map(|number| rows[number]) {
                    let d = descriptor([m, n, k], strides(m), &[], b, &mut []);
                    let d = MatMul { groups: groups as i64, ..d };
                    let way = |d| PackMatrix { m: m as i64, rounds: 1, beside, ..d };
                    // SAFETY: the descriptors are those of the vectors.
                    unsafe { pack_right((cpu, &pool), &d, (1, false), &mut packed, way) };
                }
                for m in rows {
                    let (a, mut c) = (random(m * k, 2), vec![f32::NAN; m * n]);
                    let d = descriptor([m, n, k], strides(m), &a, b, &mut c);
                    let d = MatMul { packed: packed.as_ptr(), groups: groups as i64, rounded: 1, beside, ..d };
                    // SAFETY: as above.
                    unsafe { matmul_on(cpu, pool.team(), Frame::new(words.as_ptr()), &d) };
                    let how = How { transposed, groups, ..ROUNDED };
                    assert!(c == product(cpu, [m, n, k], &a, b, how), "{m} rows in {groups} on {cpu:?}, {order:?}");
                }
            }
        }
    }
}
