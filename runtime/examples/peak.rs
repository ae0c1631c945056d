//! Measures matrix products and convolutions against the core's peak, side by side in one run.
#![expect(clippy::print_stdout, reason = "the purpose of the program")]
#![expect(unsafe_code, reason = "calls the runtime as generated code does")]

use std::time::Instant;

use netc_runtime::Pool;
use netc_runtime::abi::{self, MatMul};

/// Floating-point operations a second of independent fused multiply-adds, in units of 1e9.
#[cfg(target_arch = "x86_64")]
fn peak() -> f64 {
    use std::arch::x86_64::*;
    #[target_feature(enable = "avx2,fma")]
    fn chains(rounds: usize) -> f32 {
        let factor = _mm256_set1_ps(0.999);
        let mut sums = [_mm256_set1_ps(1.0); 12];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, factor, factor);
            }
        }
        let total = sums.into_iter().reduce(|a, b| _mm256_add_ps(a, b)).expect("twelve chains");
        _mm256_cvtss_f32(total)
    }
    let rounds = 400_000;
    // SAFETY: the examples are run on machines with AVX2.
    let seconds = time(|| unsafe {
        std::hint::black_box(chains(std::hint::black_box(rounds)));
    });
    (rounds * 12 * 16) as f64 / seconds / 1e9
}

#[cfg(not(target_arch = "x86_64"))]
fn peak() -> f64 {
    f64::NAN
}

fn time(mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The medians of the peak and of some work's rate in operations a second (1e9), measured alternately.
fn beside_peak(repeats: usize, operations: f64, mut work: impl FnMut()) -> (f64, f64) {
    work();
    let (mut peaks, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..repeats {
        peaks.push(peak());
        rates.push(operations / time(&mut work) / 1e9);
    }
    (median(peaks), median(rates))
}

fn product(threads: usize, m: usize, n: usize, k: usize, transposes: &str) {
    let pool = Pool::new(threads);
    let frame = [(&raw const pool) as u64];
    let (a, b, mut c) = (vec![0.5_f32; m * k], vec![0.25_f32; k * n], vec![0.0_f32; m * n]);
    let (a_rs, a_cs) = if transposes.starts_with('n') { (k, 1) } else { (1, m) };
    let (b_rs, b_cs) = if transposes.ends_with('n') { (n, 1) } else { (1, k) };
    let [a_rs, a_cs, b_rs, b_cs] = [a_rs, a_cs, b_rs, b_cs].map(|x| x as i64);
    let operations = (2 * m * n * k) as f64;
    let repeats = (2e9 / operations).clamp(15.0, 200.0) as usize;
    let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
    let c_rs = n as i64;
    let [m, n, k] = [m, n, k].map(|x| x as i64);
    let d = MatMul { m, n, k, a, a_rs, a_cs, b, b_rs, b_cs, c, c_rs, epilogue: None };
    let (peak, rate) = beside_peak(repeats, operations, || {
        // SAFETY: the descriptor is that of the vectors above.
        unsafe { abi::netc_matmul(frame.as_ptr(), &raw const d) };
    });
    let share = 100.0 * rate / peak / threads as f64;
    let bytes = 4.0 * (m * k + k * n + m * n) as f64 / operations * rate;
    println!(
        "{m:5} x {n:5} x {k:6} {transposes} {threads} threads: {rate:6.1} GFLOP/s, {share:5.1}% of {peak:.1}, {bytes:5.1} GB/s"
    );
}

fn main() {
    for threads in [1, 2] {
        for transposes in ["nn", "nt", "tn", "tt"] {
            product(threads, 1024, 1024, 1024, transposes);
        }
        for transposes in ["nn", "nt"] {
            product(threads, 1, 4096, 25088, transposes);
            product(threads, 1, 1024, 256, transposes);
            for m in [2, 4, 8, 16, 32, 64] {
                product(threads, m, 1024, 256, transposes);
            }
        }
        product(threads, 25088, 1, 4096, "nn");
        product(threads, 64, 576, 50176, "tn");
        product(threads, 64, 64, 100_000, "tn");
        product(threads, 3000, 27, 64, "nn");
    }
}
