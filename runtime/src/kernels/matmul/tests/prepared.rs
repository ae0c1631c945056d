//! Products with an operand that is packed with what their rows may read in its place.

use super::*;

/// How a product is computed: results depend on whether its operand may be rounded or its halves added up, and on nothing else.
#[derive(Clone, Copy)]
pub(super) struct How {
    pub(super) rounds: bool,
    pub(super) adds_up: bool,
    pub(super) accumulates: bool,
    pub(super) transposed: bool,
    pub(super) groups: usize,
    pub(super) threads: usize,
    pub(super) turned: bool,
    /// Pieces of rows.
    pub(super) pieces: usize,
}

pub(super) const AS_IT_IS: How = How {
    rounds: false,
    adds_up: false,
    accumulates: false,
    transposed: false,
    groups: 1,
    threads: 1,
    turned: false,
    pieces: 1,
};

/// A product whose operand is packed for so many rows.
pub(super) fn product(cpu: Cpu, [m, n, k]: [usize; 3], a: &[f32], b: &[f32], how: How) -> Vec<f32> {
    let How { rounds, adds_up, accumulates, transposed, groups, threads, turned, pieces } = how;
    let pool = Pool::new(threads);
    let words = pool_frame(&pool);
    let mut c = vec![if accumulates { 0.5 } else { f32::NAN }; m * n];
    let strides = strides(2 * usize::from(transposed), [m, n, k], n);
    let d = descriptor([m, n, k], strides, a, b, &mut c);
    let mut packed = vec![f32::NAN; packed_len(k, n, groups) + rounded_len(k, n, groups) + sums_len(k, n, groups)];
    let [rows, rounded, has_sums] = [k / pieces, usize::from(rounds), usize::from(adds_up)].map(|x| x as i64);
    let [turned, accumulate] = [turned, accumulates].map(i64::from);
    let beside = rounded * rounded_len(k, n, groups) as i64 + has_sums * sums_len(k, n, groups) as i64;
    let mut d = MatMul { groups: groups as i64, turned, accumulate, rounded, has_sums, beside, ..d };
    // SAFETY: the descriptors are those of the vectors.
    unsafe {
        for piece in 0..pieces as i64 {
            let (row, is_last) = (piece * rows, piece + 1 == pieces as i64);
            let b = b.as_ptr().wrapping_offset((row * d.b_rs) as isize);
            let [rounds, adds_up] = [rounded, has_sums].map(|asked| if is_last { asked } else { 0 });
            let d = PackMatrix { m: m as i64, row, rows, b, rounds, adds_up, beside, ..whole(&d) };
            pack_on(cpu, pool.team(), &d, packed.as_mut_ptr());
        }
        (d.packed, d.b) = (packed.as_ptr(), std::ptr::null());
        matmul_on(cpu, pool.team(), Frame::new(words.as_ptr()), &d);
    }
    c
}

pub(super) fn transpose([k, n]: [usize; 2], b: &[f32]) -> Vec<f32> {
    (0..n).flat_map(|j| (0..k).map(move |i| b[i * n + j])).collect()
}
