//! Products with an operand that is packed with what their rows may read in its place.

use super::*;

/// How a product is computed: results depend on whether its operand may be rounded or its halves added up, and on nothing else.
#[derive(Clone, Copy)]
pub(super) struct How {
    pub(super) rounds: bool,
    pub(super) adds_up: bool,
    /// Whether the operand is packed for so many rows, and not for any number.
    pub(super) is_known: bool,
    pub(super) accumulates: bool,
    pub(super) transposed: bool,
    pub(super) groups: usize,
    pub(super) threads: usize,
    pub(super) turned: bool,
    /// Pieces of rows, or else of columns.
    pub(super) pieces: usize,
    pub(super) in_rows: bool,
}

pub(super) const AS_IT_IS: How = How {
    rounds: false,
    adds_up: false,
    is_known: true,
    accumulates: false,
    transposed: false,
    groups: 1,
    threads: 1,
    turned: false,
    pieces: 1,
    in_rows: true,
};

/// A product whose operand is packed for so many rows.
pub(super) fn product(cpu: Cpu, [m, n, k]: [usize; 3], a: &[f32], b: &[f32], how: How) -> Vec<f32> {
    let How { rounds, adds_up, is_known, accumulates, transposed, groups, threads, turned, pieces, in_rows } = how;
    let pool = Pool::new(threads);
    let words = pool_frame(&pool);
    let mut c = vec![if accumulates { 0.5 } else { f32::NAN }; m * n];
    let strides = strides(2 * usize::from(transposed), [m, n, k], n);
    let d = descriptor([m, n, k], strides, a, b, &mut c);
    let mut packed = vec![f32::NAN; packed_len(k, n, groups) + rounded_len(k, n, groups) + sums_len(k, n, groups)];
    let [rounded, has_sums] = [rounds, adds_up].map(i64::from);
    let [turned, accumulate] = [turned, accumulates].map(i64::from);
    let beside = rounded * rounded_len(k, n, groups) as i64 + has_sums * sums_len(k, n, groups) as i64;
    let mut d = MatMul { groups: groups as i64, turned, accumulate, rounded, has_sums, beside, ..d };
    // SAFETY: the descriptors are those of the vectors.
    unsafe {
        let m = if is_known { m as i64 } else { 0 };
        let way = |d| PackMatrix { m, rounds: rounded, adds_up: has_sums, beside, ..d };
        pack_right((cpu, &pool), &d, (pieces, in_rows), &mut packed, way);
        (d.packed, d.b) = (packed.as_ptr(), std::ptr::null());
        matmul_on(cpu, pool.team(), Frame::new(words.as_ptr()), &d);
    }
    c
}

pub(super) fn transpose([k, n]: [usize; 2], b: &[f32]) -> Vec<f32> {
    (0..n).flat_map(|j| (0..k).map(move |i| b[i * n + j])).collect()
}

#[test]
fn zeros_times_numbers_are_zeros() {
    let how = How { rounds: true, adds_up: true, groups: 2, ..AS_IT_IS };
    for m in [1, 2, 16, 31] {
        let sizes @ [m, n, k] = [m, 256, 256];
        let (zeros, b) = (vec![0.0; m * k], random(k * n, 1));
        let mut infinite = b.clone();
        infinite[9] = f32::INFINITY;
        for cpu in cpus() {
            assert!(product(cpu, sizes, &zeros, &b, how).iter().all(|&x| x == 0.0), "{sizes:?} on {cpu:?}");
            let added = product(cpu, sizes, &zeros, &b, How { accumulates: true, ..how });
            assert!(added.iter().all(|&x| x == 0.5), "{sizes:?} on {cpu:?}");
            let result = product(cpu, sizes, &zeros, &infinite, how);
            assert!(result.iter().enumerate().all(|(at, x)| x.is_nan() == (at % n == 9)), "{sizes:?} on {cpu:?}");
            let mut last = zeros.clone();
            last[m * k - 1] = f32::NAN;
            let result = product(cpu, sizes, &last, &b, how);
            assert!(result[(m - 1) * n..].iter().all(|x| x.is_nan()), "{sizes:?} on {cpu:?}");
        }
    }
}
