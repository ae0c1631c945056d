//! Products that are computed at once with one that goes before them.

use super::prepared::{AS_IT_IS, product};
use super::*;

/// A product's operands, and whether halves of the right one are added up.
#[derive(Clone)]
struct Operands {
    k: usize,
    a: Vec<f32>,
    /// From a row of `a` to the next.
    a_rs: usize,
    b: Vec<f32>,
    adds_up: bool,
}

impl Operands {
    fn random([m, n, k]: [usize; 3], stream: u32) -> Operands {
        let a_rs = k + 5;
        Operands { k, a: random(m * a_rs, stream), a_rs, b: random(k * n, stream + 1), adds_up: true }
    }
    /// What they add to an element.
    fn sum(&self, n: usize, row: usize, col: usize) -> f64 {
        (0..self.k).map(|p| f64::from(self.a[row * self.a_rs + p]) * f64::from(self.b[p * n + col])).sum()
    }
}

/// How two products are computed: one before the other, or together where that is possible.
#[derive(Clone, Copy)]
struct How {
    together: bool,
    groups: usize,
    threads: usize,
    accumulates: bool,
}

const TOGETHER: How = How { together: true, groups: 1, threads: 1, accumulates: false };
const ONE_BY_ONE: How = How { together: false, ..TOGETHER };

/// Twice the sum of two products and one, which the epilogue makes of it.
fn both(cpu: Cpu, [m, n]: [usize; 2], operands: &[Operands; 2], how: How) -> Vec<f32> {
    let How { together, groups, threads, accumulates } = how;
    let mut pool = Pool::new(threads);
    let mut c = vec![if accumulates { 0.5 } else { f32::NAN }; m * n];
    let marked = Marked::new(&pool, c.as_mut_ptr(), n, 0, 0).grouped(groups, n / groups);
    let mut packed =
        operands.each_ref().map(|of| vec![f32::NAN; packed_len(of.k, n, groups) + sums_len(of.k, n, groups)]);
    let [mut first, mut own] = [0, 1].map(|at| {
        let Operands { k, ref a, a_rs, ref b, adds_up } = operands[at];
        let d = descriptor([m, n, k], [a_rs, 1, n, 1, n], a, b, &mut c);
        let has_sums = i64::from(adds_up);
        let beside = sums_len(k, n, groups) as i64;
        let d = MatMul { groups: groups as i64, has_sums, beside, ..d };
        let way = |d| PackMatrix { m: m as i64, adds_up: has_sums, beside, ..d };
        // SAFETY: the descriptor is that of the vectors.
        unsafe { pack_right((cpu, &pool), &d, (1, false), &mut packed[at], way) };
        MatMul { packed: packed[at].as_ptr(), b: std::ptr::null(), ..d }
    });
    first.accumulate = i64::from(accumulates);
    (own.accumulate, own.epilogue) = (1, MARK);
    // SAFETY: as above.
    unsafe {
        if together {
            // Its own result is not looked at.
            first.c = std::ptr::null_mut();
            own.before = &raw const first;
        } else {
            matmul_on(cpu, pool.team(), marked.frame(), &first);
        }
        matmul_on(cpu, pool.team(), marked.frame(), &own);
    }
    let all = needs(1, [m, n, operands[0].k + operands[1].k], groups, true);
    assert_within(&mut pool, &all, "together");
    c
}

/// The same as one product of all steps, without sums of halves.
fn in_one([m, n]: [usize; 2], operands: &[Operands; 2]) -> Vec<f32> {
    let row = |of: &Operands, row: usize| of.a[row * of.a_rs..][..of.k].to_vec();
    let a: Vec<f32> = (0..m).flat_map(|at| operands.iter().flat_map(move |of| row(of, at))).collect();
    let b = operands.each_ref().map(|of| of.b.as_slice()).concat();
    let k = operands.iter().map(|of| of.k).sum();
    let sums = product(Cpu::Portable, [m, n, k], &a, &b, AS_IT_IS);
    sums.into_iter().map(|sum| sum * 2.0 + 1.0).collect()
}

/// The root of the mean square of the errors of twice the sum and one.
fn error(found: &[f32], [m, n]: [usize; 2], operands: &[Operands; 2]) -> f64 {
    let truth = |row, col| operands.iter().map(|of| of.sum(n, row, col)).sum::<f64>() * 2.0 + 1.0;
    let rows = (0..m).flat_map(|row| (0..n).map(move |col| (row, col)));
    let squares: f64 = rows.map(|(row, col)| (f64::from(found[row * n + col]) - truth(row, col)).powi(2)).sum();
    (squares / (m * n) as f64).sqrt()
}

#[test]
fn products_together_lose_little() {
    for (groups, n, [k, more]) in
        [(4, 1024, [128, 256]), (1, 256, [256, 128]), (3, 600, [136, 144]), (2, 200, [512, 512])]
    {
        for m in [12, 13, 16, 26, 32, 125] {
            let operands = [Operands::random([m, n, k], 0), Operands::random([m, n, more], 2)];
            for cpu in cpus() {
                let what = format!("{m}x{n}x({k} + {more}) in {groups} on {cpu:?}");
                let [together, one_by_one] =
                    [TOGETHER, ONE_BY_ONE].map(|how| both(cpu, [m, n], &operands, How { groups, ..how }));
                let [found, own] = [&together, &in_one([m, n], &operands)].map(|c| error(c, [m, n], &operands));
                // Chains of sums of halves go on through both.
                assert!(found <= 3.0 * own, "{what}: {found}, not {own}");
                assert_eq!(together != one_by_one, cpu == Cpu::Avx512, "{what}");
                for threads in [2, 3] {
                    let same = both(cpu, [m, n], &operands, How { groups, threads, ..TOGETHER });
                    assert!(same == together, "threads matter for {what}");
                }
                let added = both(cpu, [m, n], &operands, How { groups, accumulates: true, ..TOGETHER });
                let is_added = |(set, added): (&f32, &f32)| (added - (set + 1.0)).abs() <= 1e-4;
                assert!(together.iter().zip(&added).all(is_added), "{what}");
            }
        }
    }
}

/// Operands without sums, and more steps than a block of the K loop has.
#[test]
fn others_go_one_by_one() {
    let [m, n] = [16, 256];
    let plain = [128, 256].map(|k| Operands::random([m, n, k], k as u32));
    let [mut without, mut uneven, mut long, mut short] = [(); 4].map(|()| plain.clone());
    without[1].adds_up = false;
    uneven[0].b[77] = f32::INFINITY;
    long[0] = Operands::random([m, n, 520], 1);
    short[0] = Operands::random([m, n, 64], 1);
    for (what, operands) in [("without sums", without), ("uneven", uneven), ("long", long), ("short", short)] {
        for cpu in cpus() {
            let [together, one_by_one] = [TOGETHER, ONE_BY_ONE].map(|how| both(cpu, [m, n], &operands, how));
            let are_same = together.iter().zip(&one_by_one).all(|(x, y)| x.to_bits() == y.to_bits());
            assert!(are_same, "{what} on {cpu:?}");
        }
    }
}

/// Rows that differ in either of what they are multiplied with: both products are their own.
#[test]
fn uneven_rows_go_by_themselves() {
    let [m, n] = [37, 256];
    let plain = [128, 256].map(|k| Operands::random([m, n, k], k as u32));
    let mut uneven = plain.clone();
    let mut scale = |of: usize, row: usize, by: f32| {
        let Operands { ref mut a, a_rs, .. } = uneven[of];
        a[row * a_rs..][..a_rs].iter_mut().for_each(|x| *x *= by);
    };
    [(0, 1, 1e-4), (1, 4, 1e4), (0, 7, 0.0), (1, 8, f32::INFINITY), (0, 12, f32::NAN)]
        .into_iter()
        .for_each(|(of, row, by)| scale(of, row, by));
    let alone = [0, 1, 4, 5, 6, 7, 8, 9, 12, 13, 36];
    let exact = uneven.clone().map(|of| Operands { adds_up: false, ..of });
    for cpu in cpus() {
        let [together, one_by_one] =
            [(&uneven, TOGETHER), (&exact, ONE_BY_ONE)].map(|(of, how)| both(cpu, [m, n], of, how));
        let whole = both(cpu, [m, n], &plain, TOGETHER);
        for row in 0..m {
            let same = if alone.contains(&row) { &one_by_one } else { &whole };
            let [found, same] = [&together, same].map(|c| &c[row * n..][..n]);
            let are_same = found.iter().zip(same).all(|(x, y)| x.to_bits() == y.to_bits());
            assert!(are_same, "row {row} on {cpu:?}");
        }
    }
}

/// As at a recurrence's first step: what is added up is the same, whoever computes which rows.
#[test]
fn zeros_add_nothing() {
    let [m, n] = [32, 256];
    let plain = [128, 256].map(|k| Operands::random([m, n, k], k as u32));
    let zero = |rows: usize| {
        let mut operands = plain.clone();
        let a_rs = operands[1].a_rs;
        operands[1].a[..rows * a_rs].fill(0.0);
        operands
    };
    let half =
        |operands: &[Operands; 2]| operands.clone().map(|of| Operands { a: of.a[..m / 2 * of.a_rs].to_vec(), ..of });
    for cpu in cpus() {
        let [all, some] = [zero(m), zero(m / 2)].map(|operands| {
            assert!(
                both(cpu, [m / 2, n], &half(&operands), TOGETHER)
                    == both(cpu, [m, n], &operands, TOGETHER)[..m / 2 * n]
            );
            both(cpu, [m, n], &operands, TOGETHER)
        });
        assert!(all[..m / 2 * n] == some[..m / 2 * n], "{cpu:?}");
        assert!(all[m / 2 * n..] != some[m / 2 * n..], "{cpu:?}");
        let alone = &plain[0];
        let truth = (0..m).flat_map(|row| (0..n).map(move |col| alone.sum(n, row, col) * 2.0 + 1.0));
        assert_near(&all, &truth.collect::<Vec<_>>(), 128, "zeros");
        let mut infinite = zero(m);
        infinite[1].b[9] = f32::INFINITY;
        let result = both(cpu, [m, n], &infinite, TOGETHER);
        assert!((0..m).all(|row| result[row * n + 9].is_nan() && result[row * n + 8].is_finite()), "{cpu:?}");
    }
}
