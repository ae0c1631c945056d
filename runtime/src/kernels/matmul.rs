//! The matrix product.
#![expect(unsafe_code, reason = "raw matrices of generated code")]

use crate::abi::{Frame, MatMul};
use crate::threads::Pool;

// SAFETY: chunks read shared operands and write to disjoint blocks of the result.
unsafe impl Sync for MatMul {}

/// # Safety
/// The descriptor's pointers are valid for its sizes, and `c` is not otherwise in use.
pub(crate) unsafe fn matmul(pool: &Pool, frame: Frame, d: &MatMul) {
    let [m, n, k] = [d.m, d.n, d.k].map(|x| x.max(0) as usize);
    pool.run(m.div_ceil(16), |chunk| {
        for i in chunk * 16..(chunk * 16 + 16).min(m) {
            // SAFETY: indices within the sizes.
            unsafe {
                let c = d.c.offset(i as isize * d.c_rs as isize);
                for j in 0..n {
                    *c.add(j) = 0.0;
                }
                for p in 0..k {
                    let a = *d.a.offset(i as isize * d.a_rs as isize + p as isize * d.a_cs as isize);
                    let b = d.b.offset(p as isize * d.b_rs as isize);
                    for j in 0..n {
                        *c.add(j) += a * *b.offset(j as isize * d.b_cs as isize);
                    }
                }
                frame.finish(d.epilogue, [i, i + 1], [0, n]);
            }
        }
    });
}
