//! Products of many rows with an operand whose halves are added up.

use super::prepared::{AS_IT_IS, How, product, transpose};
use super::*;

const SUMS: How = How { adds_up: true, ..AS_IT_IS };

/// Sums of sums lose more than sums of products do, by a factor.
#[test]
fn sums_of_halves_lose_little() {
    for (groups, [k, n]) in
        [(1, [256, 256]), (4, [256, 1024]), (3, [128, 600]), (1, [1104, 130]), (2, [600, 256]), (1, [136, 200])]
    {
        let b = random(k * n, 1);
        for m in [12, 13, 14, 26, 31, 50, 125] {
            let (sizes, a) = ([m, n, k], random(m * k, 0));
            for cpu in cpus() {
                let summed = product(cpu, sizes, &a, &b, How { groups, ..SUMS });
                let vectors = product(Cpu::Portable, sizes, &a, &b, AS_IT_IS);
                let [found, own] = [&summed, &vectors].map(|c| error(c, sizes, &a, &b));
                assert!(found <= 2.5 * own, "{sizes:?} in {groups} on {cpu:?}: {found}, not {own}");
                let is_summed = summed != product(cpu, sizes, &a, &b, How { groups, ..AS_IT_IS });
                assert_eq!(is_summed, cpu == Cpu::Avx512, "{sizes:?} in {groups} on {cpu:?}");
                let other = transpose([k, n], &b);
                for how in [
                    How { threads: 2, turned: true, ..SUMS },
                    How { pieces: 2, threads: 3, ..SUMS },
                    How { transposed: true, turned: true, ..SUMS },
                    How { rounds: true, ..SUMS },
                ] {
                    let b = if how.transposed { &other } else { &b };
                    let same = product(cpu, sizes, &a, b, How { groups, ..how });
                    assert!(same == summed, "{sizes:?} in {groups} on {cpu:?}");
                }
            }
        }
    }
}

#[test]
fn sums_are_added_to_what_is_there() {
    for (groups, sizes @ [m, n, k]) in [(2, [25, 512, 256]), (1, [18, 192, 1104])] {
        let (a, b) = (random(m * k, 0), random(k * n, 1));
        for cpu in cpus() {
            let [set, added] =
                [false, true].map(|accumulates| product(cpu, sizes, &a, &b, How { groups, accumulates, ..SUMS }));
            let largest = set.iter().fold(0.0, |all: f32, x| all.max(x.abs()));
            for (set, added) in set.iter().zip(&added) {
                assert!(
                    (added - (set + 0.5)).abs() <= 3e-6 * largest,
                    "{sizes:?} on {cpu:?}: {added}, not {set} + 0.5"
                );
            }
        }
    }
}

/// Rows from an even one on are the same by themselves.
#[test]
fn pairs_of_rows_are_independent() {
    let [m, n, k] = [40, 256, 256];
    let (a, b) = (random(m * k, 0), random(k * n, 1));
    for cpu in cpus() {
        let all = product(cpu, [m, n, k], &a, &b, SUMS);
        for (first, last) in [(0, 16), (16, 40), (2, 14), (10, 40)] {
            let some = product(cpu, [last - first, n, k], &a[first * k..last * k], &b, SUMS);
            assert!(some == all[first * n..last * n], "{first}..{last} on {cpu:?}");
        }
    }
}

/// Also where a chunk of many rows ends with few.
#[test]
fn a_last_chunk_of_few_rows_has_pairs() {
    let [m, n, k] = [2284, 128, 128];
    let (a, b) = (random(m * k, 0), random(k * n, 1));
    for cpu in cpus() {
        let all = product(cpu, [m, n, k], &a, &b, SUMS);
        let last = product(cpu, [24, n, k], &a[(m - 24) * k..], &b, SUMS);
        assert!(last == all[(m - 24) * n..], "{cpu:?}");
    }
}

#[test]
fn uneven_matrices_have_no_sums() {
    let sizes @ [m, n, k] = [16, 256, 256];
    let a = random(m * k, 0);
    let plain = random(k * n, 1);
    type Change<'a> = &'a dyn Fn(&mut [f32]);
    let uneven: [(&str, Change<'_>); 9] = [
        ("an infinite number", &|b| b[77] = f32::INFINITY),
        ("no number", &|b| b[k * n - 1] = f32::NAN),
        ("a small row", &|b| b[5 * n..][..n].iter_mut().for_each(|x| *x *= 1e-3)),
        ("a row of zeros", &|b| b[255 * n..].fill(0.0)),
        ("a large number", &|b| b[900] = 1e5),
        ("a small column", &|b| (0..k).for_each(|row| b[row * n + 9] *= 1e-3)),
        ("all small", &|b| b.iter_mut().for_each(|x| *x *= 1e-33)),
        ("all large", &|b| b.iter_mut().for_each(|x| *x *= 1e37)),
        ("all zero", &|b| b.fill(0.0)),
    ];
    for (what, change) in uneven {
        let mut b = plain.clone();
        change(&mut b);
        for cpu in cpus() {
            let [summed, exact] = [SUMS, AS_IT_IS].map(|how| product(cpu, sizes, &a, &b, how));
            let are_same = summed.iter().zip(&exact).all(|(x, y)| x.to_bits() == y.to_bits());
            assert!(are_same, "{what} on {cpu:?}");
        }
    }
}

/// A row has no pair if the other is of another size, or has what is no number: its sums are its own.
#[test]
fn uneven_rows_go_by_themselves() {
    let sizes @ [m, n, k] = [37, 256, 256];
    let b = random(k * n, 1);
    let plain = random(m * k, 0);
    let mut a = plain.clone();
    let mut scale = |row: usize, by: f32| a[row * k..][..k].iter_mut().for_each(|x| *x *= by);
    [(1, 1e-4), (4, 1e4), (7, 0.0), (8, 0.0), (9, 0.0), (10, 1e30), (11, 1e30), (12, 1e-30), (13, 1e-30)]
        .into_iter()
        .for_each(|(row, by)| scale(row, by));
    a[20 * k + 7] = f32::INFINITY;
    a[23 * k] = f32::NAN;
    a[30 * k + 255] = f32::NEG_INFINITY;
    let alone = [0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 20, 21, 22, 23, 30, 31, 36];
    for cpu in cpus() {
        let [summed, exact] = [SUMS, AS_IT_IS].map(|how| product(cpu, sizes, &a, &b, how));
        let whole = product(cpu, sizes, &plain, &b, SUMS);
        for row in 0..m {
            let is_alone = alone.contains(&row);
            let same = if is_alone { &exact } else { &whole };
            let [found, same] = [&summed, same].map(|c| &c[row * n..][..n]);
            let are_same = found.iter().zip(same).all(|(x, y)| x.to_bits() == y.to_bits());
            assert!(are_same, "row {row} on {cpu:?}");
        }
    }
}
