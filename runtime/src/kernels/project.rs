//! Projections in `f64`, for orthogonal initial values: the same bits on every CPU.
#![expect(unsafe_code, reason = "loops are compiled for the instruction set that is there")]

use super::cpu;
use super::simd::{Simd, Task};

/// Takes from each of the vectors, `len` numbers long, its part in the span of an orthonormal basis.
pub(crate) fn project(basis: &[f64], vectors: &mut [f64], len: usize) {
    for vector in vectors.chunks_exact_mut(len) {
        cpu::run_on(cpu::cpu(), Project { basis, vector });
    }
}

struct Project<'a> {
    basis: &'a [f64],
    vector: &'a mut [f64],
}

/// Vectors of the basis that are looked at together: they load the vector once.
const WIDE: usize = 4;
/// Sums that a product is added up in.
const LANES: usize = 4;

impl Task for Project<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let len = self.vector.len();
        let whole = len - len % LANES;
        for basis in self.basis.chunks(WIDE * len) {
            let row = |k: usize| basis.get(k * len..(k + 1) * len).unwrap_or_default();
            // Rows that are missing are empty, and add nothing.
            let rows = [row(0), row(1), row(2), row(3)];
            let mut dots = [0.0; WIDE];
            if basis.len() == WIDE * len {
                let mut sums = [[0.0; LANES]; WIDE];
                for at in (0..whole).step_by(LANES) {
                    let x: [f64; LANES] = std::array::from_fn(|lane| self.vector[at + lane]);
                    for (sums, row) in sums.iter_mut().zip(rows) {
                        let row = &row[at..at + LANES];
                        sums.iter_mut().zip(row).zip(x).for_each(|((sum, q), x)| *sum += q * x);
                    }
                }
                for ((dot, sums), row) in dots.iter_mut().zip(sums).zip(rows) {
                    *dot = (sums[0] + sums[1]) + (sums[2] + sums[3]);
                    row[whole..].iter().zip(&self.vector[whole..]).for_each(|(q, x)| *dot += q * x);
                }
                let [a, b, c, d] = dots;
                for ((((x, q0), q1), q2), q3) in
                    self.vector.iter_mut().zip(rows[0]).zip(rows[1]).zip(rows[2]).zip(rows[3])
                {
                    *x -= (a * q0 + b * q1) + (c * q2 + d * q3);
                }
            } else {
                for row in rows.into_iter().filter(|row| !row.is_empty()) {
                    let dot: f64 = row.iter().zip(&*self.vector).map(|(q, x)| q * x).sum();
                    self.vector.iter_mut().zip(row).for_each(|(x, q)| *x -= dot * q);
                }
            }
        }
    }
}
