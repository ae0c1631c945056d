//! Products against sums in `f64`, on every instruction set of this machine.
#![expect(unsafe_code, reason = "descriptors have raw pointers")]

use crate::abi::RightPiece;

use super::super::testing::{MARK, Marked, assert_near, assert_within, cpus, random};
use super::*;
use crate::threads::Pool;

mod joined;
mod pieces;
mod prepared;
mod rounded;
mod sums;

/// A descriptor without an epilogue; strides in the order `[a_rs, a_cs, b_rs, b_cs, c_rs]`.
fn descriptor(sizes: [usize; 3], strides: [usize; 5], a: &[f32], b: &[f32], c: &mut [f32]) -> MatMul {
    let [m, n, k] = sizes.map(|x| x as i64);
    let [a_rs, a_cs, b_rs, b_cs, c_rs] = strides.map(|x| x as i64);
    let (a, b, c, packed) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr(), std::ptr::null());
    let (groups, batch, [a_bs, b_bs, c_bs], turned, accumulate, rounded, epilogue) = (1, 1, [0; 3], 0, 0, 0, None);
    MatMul {
        m,
        n,
        k,
        a,
        a_rs,
        a_cs,
        b,
        b_rs,
        b_cs,
        c,
        c_rs,
        packed,
        groups,
        batch,
        a_bs,
        b_bs,
        c_bs,
        turned,
        accumulate,
        rounded,
        has_sums: 0,
        beside: 0,
        pieces: std::ptr::null(),
        piece_count: 0,
        before: std::ptr::null(),
        epilogue,
    }
}

/// Packs the right operand of a product, in so many pieces of rows or else of columns that lie apart, in a way that the last argument
/// says.
unsafe fn pack_right(
    (cpu, pool): (Cpu, &Pool),
    d: &MatMul,
    (pieces, in_rows): (usize, bool),
    packed: &mut [f32],
    way: impl FnOnce(PackMatrix) -> PackMatrix,
) {
    let MatMul { k, n, groups, b, b_rs, b_cs, .. } = *d;
    let piece_count = pieces as i64;
    let [rows, cols] = if in_rows { [k / piece_count, n] } else { [k, n / piece_count] };
    let first = if in_rows { rows * b_rs } else { cols * b_cs };
    let len = ((rows - 1) * b_rs + (cols - 1) * b_cs + 1) as usize;
    let copy = |piece: usize| {
        // SAFETY: promised by the caller.
        let all = unsafe { std::slice::from_raw_parts(b.wrapping_offset(piece as isize * first as isize), len) };
        // What follows belongs to no piece.
        [all, &[f32::NAN; 1000]].concat()
    };
    let copies: Vec<Vec<f32>> = (0..pieces).map(copy).collect();
    let pieces: Vec<RightPiece> = copies.iter().map(|copy| RightPiece { b: copy.as_ptr(), b_rs, b_cs }).collect();
    let (in_rows, pieces) = (i64::from(in_rows), pieces.as_ptr());
    let d = PackMatrix { k, n, groups, pieces, piece_count, in_rows, m: 0, rounds: 0, adds_up: 0, beside: 0 };
    // SAFETY: promised by the caller.
    unsafe { pack_on(cpu, pool.team(), &way(d), packed.as_mut_ptr()) };
}

fn strides(transposes: usize, [m, n, k]: [usize; 3], c_rs: usize) -> [usize; 5] {
    let [a_rs, a_cs] = if transposes & 1 == 0 { [k, 1] } else { [1, m] };
    let [b_rs, b_cs] = if transposes & 2 == 0 { [n, 1] } else { [1, k] };
    [a_rs, a_cs, b_rs, b_cs, c_rs]
}

fn pool_frame(pool: &Pool) -> [u64; 1] {
    [(&raw const *pool) as u64]
}

/// A product with every choice of transposes, one and two threads, packed and not, on every instruction set.
fn check(m: usize, n: usize, k: usize, groups: usize) {
    let all = [0, 1, 2, 3].into_iter().flat_map(|t| [(t, false), (t, true)]);
    check_with(m, n, k, groups, &all.collect::<Vec<_>>());
}

/// As [`check`], with some transposes alone.
fn check_with(m: usize, n: usize, k: usize, groups: usize, ways: &[(usize, bool)]) {
    let (a, b) = (random(m * k, 0), random(k * n, 1));
    let sizes = [m, n, k];
    let c_rs = n + 3;
    for &(transposes, is_packed) in ways {
        let strides = strides(transposes, sizes, c_rs);
        let [a_rs, a_cs, b_rs, b_cs, _] = strides;
        let mut truth = vec![f64::from(7.0_f32); m * c_rs];
        for i in 0..m {
            for j in 0..n {
                let products = (0..k).map(|p| f64::from(a[i * a_rs + p * a_cs]) * f64::from(b[p * b_rs + j * b_cs]));
                truth[i * c_rs + j] = products.sum::<f64>() * 2.0 + 1.0;
            }
        }
        for cpu in cpus() {
            let what = format!("{m}x{n}x{k} in {groups}, {cpu:?} {transposes} {is_packed}");
            let results = [1, 2, 3].map(|threads| {
                let mut pool = Pool::new(threads);
                let mut c = vec![7.0; m * c_rs];
                let marked = Marked::new(&pool, c.as_mut_ptr(), c_rs, 0, 0).grouped(groups, n / groups);
                let d = descriptor(sizes, strides, &a, &b, &mut c);
                // Nor does the way through the columns matter.
                let turned = (threads % 2) as i64;
                let mut d = MatMul { groups: groups as i64, turned, epilogue: MARK, ..d };
                let mut packed = vec![f32::NAN; if is_packed { packed_len(k, n, groups) } else { 0 }];
                // SAFETY: the descriptor is that of the vectors.
                unsafe {
                    if is_packed {
                        pack_right((cpu, &pool), &d, (1, false), &mut packed, |d| d);
                        (d.packed, d.b) = (packed.as_ptr(), std::ptr::null());
                    }
                    matmul_on(cpu, pool.team(), marked.frame(), &d);
                }
                assert_within(&mut pool, &needs(1, sizes, groups, is_packed), &what);
                c
            });
            assert_near(&results[0], &truth, k, &what);
            assert!(results.iter().all(|result| *result == results[0]), "threads matter for {what}");
        }
    }
}

#[test]
fn small_sizes() {
    for m in [0, 1, 2, 3, 5, 6, 7, 17] {
        for n in [0, 1, 2, 5, 8, 16, 17, 33, 130] {
            for k in [0, 1, 2, 3, 5, 17, 40] {
                check(m, n, k, 1);
            }
        }
    }
}

#[test]
fn blocks_and_their_ends() {
    for (m, n, k) in [(121, 70, 390), (250, 129, 20), (13, 1100, 400), (1, 4099, 37), (4, 515, 67), (200, 3, 100)] {
        check(m, n, k, 1);
    }
    // Rows so far apart that they exclude each other from a cache.
    check(20, 40, 512, 1);
}

/// Adjacent rows of the left operand: either operand on the left, in several slabs, blocks of rows and of columns.
#[test]
fn long_sums_of_adjacent_rows() {
    for (m, n, k) in [(250, 90, 2300), (135, 300, 700), (2085, 37, 520), (150, 2085, 514), (560, 530, 515)] {
        check_with(m, n, k, 1, &[(1, false), (3, false)]);
    }
}

#[test]
fn a_long_inner_axis_is_split() {
    for (m, n, k) in [(9, 20, 9000), (17, 65, 5001), (64, 27, 8192)] {
        check(m, n, k, 1);
    }
}

#[test]
fn the_epilogue_follows_all_runs_of_columns() {
    for (m, run, k) in [(1, 1, 5), (2, 16, 40), (3, 17, 300), (4, 150, 33), (7, 100, 64), (130, 37, 520), (9, 5, 0)] {
        for groups in [2, 3, 4] {
            check(m, run * groups, k, groups);
        }
    }
    // Several whole panels of each run, few rows of which are computed at once.
    for (m, run) in [(1, 340), (2, 135), (3, 200)] {
        (1..=4).for_each(|groups| check_with(m, run * groups, 19, groups, &[(0, true), (3, true)]));
    }
    check(3, 4 * 4100, 8, 4);
    // Few rows in several parts, and in several blocks of the K loop.
    for (m, run, k) in [(1, 1500, 9), (3, 700, 9), (1, 330, 530), (2, 200, 1030)] {
        [1, 2, 4].iter().for_each(|&groups| check_with(m, run * groups, k, groups, &[(0, true)]));
    }
}

#[test]
fn a_packed_row_depends_neither_on_other_rows_nor_on_turns() {
    // Two blocks of the K loop, and three.
    [[23, 350, 530], [23, 140, 1200]].into_iter().for_each(rows_alone);
}

fn rows_alone([m, n, k]: [usize; 3]) {
    let (a, b) = (random(m * k, 0), random(k * n, 1));
    let pool = Pool::new(2);
    let words = pool_frame(&pool);
    let frame = Frame::new(words.as_ptr());
    for cpu in cpus() {
        let mut packed = vec![f32::NAN; packed_len(k, n, 1)];
        let mut product = |rows: usize, a: &[f32], turned: i64| {
            let mut c = vec![0.0; rows * n];
            let mut d = descriptor([rows, n, k], strides(0, [rows, n, k], n), a, &b, &mut c);
            // SAFETY: the descriptor is that of the vectors.
            unsafe {
                pack_right((cpu, &pool), &d, (1, false), &mut packed, |d| d);
                (d.packed, d.turned) = (packed.as_ptr(), turned);
                matmul_on(cpu, pool.team(), frame, &d);
            }
            c
        };
        // Matrix units compute many rows in another order than vectors a few.
        let ways: &[(usize, &[usize])] = match cpu {
            Cpu::Amx => &[(11, &[1, 2, 3, 5, 8]), (m, &[12, 13, 17, 22])],
            _ => &[(m, &[1, 2, 3, 5, 8, 12, 13, 17, 22])],
        };
        for &(m, parts) in ways {
            let whole = product(m, &a[..m * k], 0);
            for &rows in parts {
                for first in (0..m - rows).step_by(rows) {
                    for turned in [0, 1] {
                        let part = product(rows, &a[first * k..][..rows * k], turned);
                        assert_eq!(part, whole[first * n..][..rows * n], "{rows} rows from {first} on {cpu:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn rows_in_runs_are_as_behind_one_another() {
    for (runs, sizes @ [m, n, k], groups) in
        [(3, [5, 96, 40], 1), (40, [7, 70, 33], 2), (2, [64, 40, 512], 1), (9, [1, 48, 600], 3), (0, [2, 3, 4], 1)]
    {
        let b = random(k * n, 1);
        // Rows far apart, of which those of all runs lie between each other; and columns apart.
        for [a_bs, a_rs, a_cs] in [[k, runs * k, 1], [512, 1024, 1], [1, runs.max(1), runs * m + 3]] {
            let a = random(runs * a_bs + m * a_rs + k * a_cs, 0);
            for (cpu, threads) in cpus().into_iter().flat_map(|cpu| [(cpu, 1), (cpu, 3)]) {
                let mut pool = Pool::new(threads);
                let [mut all, mut each] = [(); 2].map(|()| vec![7.0; runs * m * n]);
                let marked = Marked::new(&pool, all.as_mut_ptr(), n, 0, 0).grouped(groups, n / groups);
                let d = descriptor(sizes, [a_rs, a_cs, n, 1, n], &a, &b, &mut all);
                let mut packed = vec![f32::NAN; packed_len(k, n, groups)];
                let mut d = MatMul { groups: groups as i64, epilogue: MARK, ..d };
                // SAFETY: the descriptors are those of the vectors.
                unsafe { pack_right((cpu, &pool), &d, (1, false), &mut packed, |d| d) };
                d.packed = packed.as_ptr();
                let batch = MatMul { batch: runs as i64, a_bs: a_bs as i64, ..d };
                // SAFETY: as above.
                unsafe { matmul_on(cpu, pool.team(), marked.frame(), &batch) };
                for run in 0..runs {
                    let c = each[run * m * n..].as_mut_ptr();
                    let marked = Marked::new(&pool, c, n, 0, 0).grouped(groups, n / groups);
                    // SAFETY: as above.
                    unsafe {
                        matmul_on(cpu, pool.team(), marked.frame(), &MatMul { a: d.a.add(run * a_bs), c, ..d });
                    };
                }
                assert_within(&mut pool, &needs(runs.max(1), sizes, groups, true), "runs");
                assert_eq!(all, each, "{runs} of {sizes:?}, {a_rs} and {a_cs}, on {cpu:?}");
            }
        }
    }
}

#[test]
fn pieces_are_packed_as_the_whole() {
    // Whole groups, parts of one, and rows in several blocks of the K loop.
    let cases =
        [([70, 192], 4, [70, 48]), ([70, 192], 4, [70, 96]), ([33, 256], 1, [33, 64]), ([1200, 50], 2, [400, 50])];
    for ([k, n], groups, [rows, cols]) in cases {
        assert!(rows < k || are_panels(n, n / cols, groups));
        for (cpu, transposed) in cpus().into_iter().flat_map(|cpu| [(cpu, false), (cpu, true)]) {
            let b = random(k * n, 1);
            let pool = Pool::new(2);
            let len = packed_len(k, n, groups);
            let [mut all, mut pieces] = [(); 2].map(|()| vec![7.0_f32; len]);
            let d = descriptor([0, n, k], strides(2 * usize::from(transposed), [0, n, k], n), &[], &b, &mut []);
            let d = MatMul { groups: groups as i64, ..d };
            for (count, in_rows, packed) in [(1, false, &mut all), (k / rows * (n / cols), rows < k, &mut pieces)] {
                // SAFETY: the descriptors are those of the vectors.
                unsafe { pack_right((cpu, &pool), &d, (count, in_rows), packed, |d| d) };
            }
            assert_eq!(all, pieces, "{k}x{n} in {groups}, pieces of {rows}x{cols}, {transposed} on {cpu:?}");
        }
    }
    assert!(!are_panels(192, 3, 2) && !are_panels(96, 3, 1) && are_panels(256, 4, 1) && are_panels(100, 2, 4));
}

#[test]
fn a_batch_is_its_products() {
    for (batch, sizes) in [(0, [2, 3, 4]), (2, [130, 90, 100]), (37, [5, 9, 40]), (9, [20, 33, 7]), (3, [0, 2, 2])] {
        let [m, n, k] = sizes;
        let (a_bs, b_bs, c_bs) = (m * k + 5, k * n, m * n + 1);
        let (a, b) = (random(batch * a_bs, 0), random(batch * b_bs, 1));
        for (cpu, transposes) in cpus().into_iter().flat_map(|cpu| [0, 1, 2, 3].map(|t| (cpu, t))) {
            for threads in [1, 2] {
                let mut pool = Pool::new(threads);
                let words = pool_frame(&pool);
                let frame = Frame::new(words.as_ptr());
                let [mut all, mut each] = [(); 2].map(|()| vec![7.0; batch * c_bs]);
                let strides = strides(transposes, sizes, n);
                let d = descriptor(sizes, strides, &a, &b, &mut all);
                let [a_bs_word, b_bs_word, c_bs_word] = [a_bs, b_bs, c_bs].map(|x| x as i64);
                let d = MatMul { batch: batch as i64, a_bs: a_bs_word, b_bs: b_bs_word, c_bs: c_bs_word, ..d };
                // SAFETY: the descriptors are those of the vectors.
                unsafe { matmul_on(cpu, pool.team(), frame, &d) };
                for i in 0..batch {
                    let d = descriptor(sizes, strides, &a[i * a_bs..], &b[i * b_bs..], &mut each[i * c_bs..]);
                    // SAFETY: as above.
                    unsafe { matmul_on(cpu, pool.team(), frame, &d) };
                }
                assert_within(&mut pool, &needs(batch, sizes, 1, false), "a batch");
                assert_eq!(all, each, "{batch} of {sizes:?}, {transposes}, on {cpu:?}");
            }
        }
    }
}

/// The product of `rows` rows on a processor, packed for so many.
fn packed_product(cpu: Cpu, [m, n, k]: [usize; 3], a: &[f32], b: &[f32]) -> Vec<f32> {
    let pool = Pool::new(1);
    let words = pool_frame(&pool);
    let mut c = vec![f32::NAN; m * n];
    let mut d = descriptor([m, n, k], strides(0, [m, n, k], n), a, b, &mut c);
    let mut packed = vec![f32::NAN; packed_len(k, n, 1)];
    // SAFETY: the descriptor is that of the vectors.
    unsafe {
        pack_right((cpu, &pool), &d, (1, false), &mut packed, |d| PackMatrix { m: m as i64, ..d });
        d.packed = packed.as_ptr();
        matmul_on(cpu, pool.team(), Frame::new(words.as_ptr()), &d);
    }
    c
}

/// The root of the mean square of errors, over that of the values.
fn error(c: &[f32], [m, n, k]: [usize; 3], a: &[f32], b: &[f32]) -> f64 {
    let (mut errors, mut values) = (0.0, 0.0);
    for i in 0..m {
        for j in 0..n {
            let truth: f64 = (0..k).map(|p| f64::from(a[i * k + p]) * f64::from(b[p * n + j])).sum();
            errors += (f64::from(c[i * n + j]) - truth).powi(2);
            values += truth * truth;
        }
    }
    (errors / values).sqrt()
}

/// Parts of numbers lose no more than chains of multiply-adds do.
#[test]
fn a_matrix_unit_is_as_exact_as_vectors() {
    for sizes @ [m, n, k] in [[32, 64, 64], [48, 96, 512], [16, 32, 2048]] {
        // About one, about a large offset, and of all magnitudes.
        for (offset, spread) in [(0.0, 0.0), (1000.0, 0.0), (0.0, 40.0)] {
            let make = |len, stream| -> Vec<f32> {
                let powers = random(len, stream + 7);
                random(len, stream)
                    .iter()
                    .zip(powers)
                    .map(|(x, power)| (x + offset) * (spread * power).exp2())
                    .collect()
            };
            let (a, b) = (make(m * k, 0), make(k * n, 1));
            for cpu in cpus() {
                let found = error(&packed_product(cpu, sizes, &a, &b), sizes, &a, &b);
                let vectors = error(&packed_product(Cpu::Portable, sizes, &a, &b), sizes, &a, &b);
                assert!(
                    found <= 1.3 * vectors + f64::from(f32::EPSILON),
                    "{sizes:?} {offset} {spread} on {cpu:?}: {found}, not {vectors}"
                );
            }
        }
    }
}

/// What a matrix unit takes for zero, or for no number, is left to vectors, row by row.
#[test]
fn odd_rows_are_as_on_vectors() {
    let sizes @ [m, n, k] = [37, 80, 600];
    let b = random(k * n, 1);
    let plain = random(m * k, 0);
    let mut a = plain.clone();
    let mut scale = |row: usize, by: f32| a[row * k..][..k].iter_mut().for_each(|x| *x *= by);
    [(0, 1e-38), (3, 1e-30), (16, 1e-44), (36, 0.0)].into_iter().for_each(|(row, by)| scale(row, by));
    a[35 * k + 3] = 3.3e38;
    a[5 * k + 7] = f32::INFINITY;
    a[20 * k + 599] = f32::NEG_INFINITY;
    a[21 * k] = f32::NAN;
    // The other half of a long sum is not odd.
    a[22 * k..][..300].iter_mut().for_each(|x| *x *= 1e-30);
    for cpu in cpus() {
        let (c, whole) = (packed_product(cpu, sizes, &a, &b), packed_product(cpu, sizes, &plain, &b));
        for row in 0..m {
            let found = &c[row * n..][..n];
            let truths =
                (0..n).map(|j| -> f64 { (0..k).map(|p| f64::from(a[row * k + p]) * f64::from(b[p * n + j])).sum() });
            match row {
                21 => assert!(found.iter().all(|x| x.is_nan()), "{cpu:?}: {found:?}"),
                5 | 20 => {
                    assert!(found.iter().zip(truths).all(|(&x, truth)| f64::from(x) == truth), "{cpu:?}: {found:?}");
                }
                0 | 3 | 16 | 22 | 35 | 36 => {
                    let largest = truths.clone().fold(0.0, |all: f64, x| all.max(x.abs()));
                    let bound = 1e-5 * largest + f64::from(f32::from_bits(k as u32));
                    let is_near = |(&x, truth): (&f32, f64)| (f64::from(x) - truth).abs() <= bound;
                    assert!(found.iter().zip(truths).all(is_near), "row {row} on {cpu:?}: {found:?}");
                }
                _ => assert_eq!(found, &whole[row * n..][..n], "row {row} on {cpu:?} is as without the odd ones"),
            }
        }
    }
}

/// Operands that are split for one product: rows and columns with numbers that a matrix unit cannot split, or takes for zero.
#[test]
fn odd_rows_and_columns_of_large_products() {
    let sizes @ [m, n, k] = [130, 96, 600];
    let pool = Pool::new(3);
    let words = pool_frame(&pool);
    for (odd_rows, odd_cols) in [(true, true), (true, false), (false, true), (false, false)] {
        let scale = |is_odd: bool, at: usize| -> f32 {
            match at {
                3 if is_odd => 1e-30,
                40 if is_odd => 1e-38,
                90 if is_odd => 1e15,
                _ => 1.0,
            }
        };
        for transposes in 0..4 {
            let strides = strides(transposes, sizes, n);
            let [a_rs, a_cs, b_rs, b_cs, _] = strides;
            let (mut a, mut b) = (random(m * k, 0), random(k * n, 1));
            for p in 0..k {
                (0..m).for_each(|i| a[i * a_rs + p * a_cs] *= scale(odd_rows, i));
                (0..n).for_each(|j| b[p * b_rs + j * b_cs] *= scale(odd_cols, j));
            }
            // In a part of a long sum alone.
            if odd_cols {
                b[550 * b_rs + 60 * b_cs] = f32::INFINITY;
            }
            for cpu in cpus() {
                let mut c = vec![f32::NAN; m * n];
                let d = descriptor(sizes, strides, &a, &b, &mut c);
                // SAFETY: the descriptor is that of the vectors.
                unsafe { matmul_on(cpu, pool.team(), Frame::new(words.as_ptr()), &d) };
                for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                    let products =
                        (0..k).map(|p| f64::from(a[i * a_rs + p * a_cs]) * f64::from(b[p * b_rs + j * b_cs]));
                    let truth: f64 = products.sum();
                    let bound =
                        1e-5 * (k as f64).sqrt() * f64::from(scale(odd_rows, i)) * f64::from(scale(odd_cols, j))
                            + 1e-42;
                    let (found, is_finite) = (f64::from(c[i * n + j]), truth.abs() < f64::from(f32::MAX));
                    let is_near = (found - truth).abs() <= bound || found == truth || !is_finite && !found.is_nan();
                    assert!(is_near, "{cpu:?} {transposes} {odd_rows} {odd_cols}: {i}, {j} is {found}, not {truth}");
                }
            }
        }
    }
}
