//! The matrix product: chooses between dot products, sums of rows, and the blocked product.
#![expect(unsafe_code, reason = "raw matrices of generated code")]

use crate::abi::{Frame, MatMul};
use crate::threads::Pool;

use super::cpu::{self, Cpu};
use super::gemm::Gemm;
use super::pack::Matrix;
use super::{dots, rows};

/// # Safety
/// The descriptor's pointers are valid for its sizes, and `c` is not otherwise in use.
pub(crate) unsafe fn matmul(pool: &Pool, frame: Frame, d: &MatMul) {
    // SAFETY: promised by the caller.
    unsafe { matmul_on(cpu::cpu(), pool, frame, d) };
}

/// # Safety
/// As for [`matmul`].
pub(crate) unsafe fn matmul_on(cpu: Cpu, pool: &Pool, frame: Frame, d: &MatMul) {
    let [m, n, k] = [d.m, d.n, d.k].map(|x| x.max(0) as usize);
    if m == 0 || n == 0 {
        return;
    }
    let [a_rs, a_cs, b_rs, b_cs] = [d.a_rs, d.a_cs, d.b_rs, d.b_cs].map(|x| x as isize);
    // The stride of an axis of one element means nothing; 1 lets the faster kernels take it.
    let unit = |len: usize, stride: isize| if len == 1 { 1 } else { stride };
    let a = Matrix { data: d.a, rows: m, cols: k, row_stride: unit(m, a_rs), col_stride: unit(k, a_cs) };
    let b = Matrix { data: d.b, rows: k, cols: n, row_stride: unit(k, b_rs), col_stride: unit(n, b_cs) };
    let g = Gemm { pool, frame, a, b, c: d.c, c_rs: d.c_rs as isize, epilogue: d.epilogue };
    if m <= dots::ROWS && b.row_stride == 1 && a.col_stride == 1 && k >= 32 {
        let few = dots::Dots { g, left: a, right: b.transposed(), transposed: false };
        cpu::run_on(cpu, few);
    } else if n <= 4 && b.row_stride == 1 && a.col_stride == 1 && k >= 32 {
        let few = dots::Dots { g, left: b.transposed(), right: a, transposed: true };
        cpu::run_on(cpu, few);
    } else if m <= 4 && b.col_stride == 1 && n >= 64 {
        cpu::run_on(cpu, rows::Rows { g });
    } else {
        cpu::run_on(cpu, g);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MARK, Marked, assert_near, cpus, random};
    use super::*;

    /// A product with every choice of transposes, one and two threads, on every instruction set.
    fn check(m: usize, n: usize, k: usize) {
        let (a, b) = (random(m * k, 0), random(k * n, 1));
        let c_rs = n + 3;
        for transposes in 0..4 {
            let (a_rs, a_cs) = if transposes & 1 == 0 { (k, 1) } else { (1, m) };
            let (b_rs, b_cs) = if transposes & 2 == 0 { (n, 1) } else { (1, k) };
            let mut truth = vec![f64::from(7.0_f32); m * c_rs];
            for i in 0..m {
                for j in 0..n {
                    let products =
                        (0..k).map(|p| f64::from(a[i * a_rs + p * a_cs]) * f64::from(b[p * b_rs + j * b_cs]));
                    truth[i * c_rs + j] = products.sum::<f64>() * 2.0 + 1.0;
                }
            }
            for cpu in cpus() {
                let results = [1, 2].map(|threads| {
                    let pool = Pool::new(threads);
                    let mut c = vec![7.0; m * c_rs];
                    let marked = Marked::new(&pool, c.as_mut_ptr(), c_rs, 0, 0);
                    let [m, n, k] = [m, n, k].map(|x| x as i64);
                    let [a_rs, a_cs, b_rs, b_cs, c_rs] = [a_rs, a_cs, b_rs, b_cs, c_rs].map(|x| x as i64);
                    let (a, b, c_data) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
                    let d = MatMul { m, n, k, a, a_rs, a_cs, b, b_rs, b_cs, c: c_data, c_rs, epilogue: MARK };
                    // SAFETY: the descriptor is that of the vectors.
                    unsafe { matmul_on(cpu, &pool, marked.frame(), &d) };
                    c
                });
                assert_near(&results[0], &truth, k, &format!("{m}x{n}x{k} {cpu:?} {transposes}"));
                assert_eq!(results[0], results[1], "threads matter for {m}x{n}x{k} on {cpu:?}");
            }
        }
    }

    #[test]
    fn small_sizes() {
        for m in [0, 1, 2, 3, 5, 6, 7, 17] {
            for n in [0, 1, 2, 5, 8, 16, 17, 33, 130] {
                for k in [0, 1, 2, 3, 5, 17, 40] {
                    check(m, n, k);
                }
            }
        }
    }

    #[test]
    fn blocks_and_their_ends() {
        for (m, n, k) in [(121, 70, 390), (250, 129, 20), (13, 1100, 400), (1, 4099, 37), (4, 515, 67), (200, 3, 100)] {
            check(m, n, k);
        }
    }

    #[test]
    fn a_long_inner_axis_is_split() {
        for (m, n, k) in [(9, 20, 9000), (17, 65, 5001), (64, 27, 8192)] {
            check(m, n, k);
        }
    }
}
