//! Matrix products beside the core's multiply-add limit, measured in turn in one run:
//! `cargo bench -p netc-runtime --bench products -- [products|packed|M,N,K,nn]`, where `t` in place of `n` means a
//! transposed operand and `packed` in place of both one that was packed before, `rounded` one that is rounded, too, and `sums` one
//! whose halves were added up; of them, `4packed` has columns in four runs.
#![expect(clippy::print_stdout, reason = "the purpose of the program")]
#![expect(unsafe_code, reason = "calls the runtime as generated code does")]

use std::time::Instant;

use netc_runtime::Pool;
use netc_runtime::abi::{self, MatMul, PackMatrix, RightPiece};
use netc_runtime::kernels::limits::{multiply_adds, thread_seconds};
use netc_runtime::kernels::matmul;
use netc_runtime::rng::Key;

/// Operations a second of independent multiply-adds, in units of 1e9.
fn peak() -> f64 {
    let start = thread_seconds();
    multiply_adds(400_000) as f64 / (thread_seconds() - start) / 1e9
}

/// Seconds of this thread, or of the clock when others work with it.
fn time(threads: usize, mut work: impl FnMut()) -> f64 {
    let (start, start_of_thread) = (Instant::now(), thread_seconds());
    work();
    if threads == 1 { thread_seconds() - start_of_thread } else { start.elapsed().as_secs_f64() }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The medians of the peak and of some work's rate in operations a second (1e9), measured alternately.
fn beside_peak(threads: usize, repeats: usize, operations: f64, mut work: impl FnMut()) -> (f64, f64) {
    work();
    let (mut peaks, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..repeats {
        peaks.push(peak());
        rates.push(operations / time(threads, &mut work) / 1e9);
    }
    (median(peaks), median(rates))
}

/// A descriptor without strides.
fn matrix_product(m: i64, n: i64, k: i64, a: *const f32, b: *const f32, c: *mut f32) -> MatMul {
    let (packed, epilogue) = (std::ptr::null(), None);
    let [a_rs, a_cs, b_rs, b_cs, c_rs, a_bs, b_bs, c_bs] = [0; 8];
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
        groups: 1,
        batch: 1,
        a_bs,
        b_bs,
        c_bs,
        turned: 0,
        accumulate: 0,
        rounded: 0,
        has_sums: 0,
        beside: 0,
        pieces: std::ptr::null(),
        piece_count: 0,
        before: std::ptr::null(),
        epilogue,
    }
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
    let d = MatMul { a_rs, a_cs, b_rs, b_cs, c_rs, ..matrix_product(m, n, k, a, b, c) };
    let (peak, rate) = beside_peak(threads, repeats, operations, || {
        // SAFETY: the descriptor is that of the vectors above.
        unsafe { abi::netc_matmul(frame.as_ptr(), &raw const d) };
    });
    let share = 100.0 * rate / peak / threads as f64;
    let bytes = 4.0 * (m * k + k * n + m * n) as f64 / operations * rate;
    println!(
        "{m:5} x {n:5} x {k:6} {transposes} {threads} threads: {rate:6.1} GFLOP/s, {share:5.1}% of {peak:.1}, {bytes:5.1} GB/s"
    );
}

/// Numbers in `[-0.5, 0.5)`: a core multiplies constants at less power, and so in less time.
fn numbers(len: usize) -> Vec<f32> {
    let key = Key::new(1);
    (0..len).map(|i| key.uniform(0, i as u32) - 0.5).collect()
}

/// A product of few rows with a right operand that was packed before, at once after one another as in a recurrence.
fn packed_product(threads: usize, [m, n, k]: [usize; 3], groups: usize, kind: &str) {
    let pool = Pool::new(threads);
    let frame = [(&raw const pool) as u64];
    let (a, b, mut c) = (numbers(m * k), numbers(k * n), vec![0.0_f32; m * n]);
    let [rounded, sums] = [matmul::rounded_len(k, n, groups), matmul::sums_len(k, n, groups)];
    let mut packed = vec![0.0_f32; matmul::packed_len(k, n, groups) + rounded + sums + 16];
    let start = packed.as_ptr().align_offset(64);
    let (a, b, c, packed) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr(), packed[start..].as_mut_ptr());
    let operations = (2 * m * n * k) as f64;
    let [m, n, k, groups] = [m, n, k, groups].map(|x| x as i64);
    let [rounds, adds_up] = ["rounded", "sums"].map(|other| i64::from(kind == other));
    let beside = rounds * rounded as i64 + adds_up * sums as i64;
    let d = matrix_product(m, n, k, a, b, c);
    let d = MatMul { a_rs: k, a_cs: 1, b_rs: n, b_cs: 1, c_rs: n, ..d };
    let mut d = MatMul { packed, groups, rounded: rounds, has_sums: adds_up, beside, ..d };
    let piece = RightPiece { b, b_rs: n, b_cs: 1 };
    let (pieces, piece_count, in_rows) = (&raw const piece, 1, 0);
    let whole = PackMatrix { k, n, groups, pieces, piece_count, in_rows, m, rounds, adds_up, beside };
    let calls = (2e8 / operations).clamp(10.0, 1000.0);
    // SAFETY: the descriptor is that of the vectors above.
    unsafe { abi::netc_matmul_pack(frame.as_ptr(), &raw const whole, packed) };
    let (peak, rate) = beside_peak(threads, 25, operations * calls, || {
        for call in 0..calls as i64 {
            d.turned = call & 1;
            // SAFETY: as above.
            unsafe { abi::netc_matmul(frame.as_ptr(), &raw const d) };
        }
    });
    let share = 100.0 * rate / peak / threads as f64;
    let time = operations / rate / 1e3;
    let bytes = 4.0 * (k * n) as f64 / operations * rate;
    println!(
        "{m:5} x {n:5} x {k:6} {kind} {threads} threads: {rate:6.1} GFLOP/s, {share:5.1}% of {peak:.1}, {time:7.2} us, {bytes:5.1} GB/s"
    );
}

fn products(threads: usize) {
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

fn packed_products(threads: usize) {
    for (n, k) in [(1024, 256), (256, 1024), (2048, 512), (256, 256)] {
        for m in [1, 4, 16, 32, 50] {
            packed_product(threads, [m, n, k], 1, "packed");
        }
    }
    packed_product(threads, [32, 1024, 256], 4, "packed");
    packed_product(threads, [1024, 1024, 1024], 1, "packed");
    packed_product(threads, [1, 1024, 256], 4, "rounded");
    packed_product(threads, [32, 1024, 256], 4, "sums");
}

/// The scores of attention in a batch: `queries [batch, rows, d] · keys [batch, cols, d]ᵀ`.
fn batched_product(threads: usize, batch: usize, rows: usize, cols: usize, d: usize) {
    let pool = Pool::new(threads);
    let frame = [(&raw const pool) as u64];
    let (a, b) = (vec![0.5_f32; batch * rows * d], vec![0.25_f32; batch * cols * d]);
    let mut c = vec![0.0_f32; batch * rows * cols];
    let operations = (2 * batch * rows * cols * d) as f64;
    let [batch, m, n, k] = [batch, rows, cols, d].map(|x| x as i64);
    let whole = matrix_product(m, n, k, a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
    let strides = MatMul { a_rs: k, a_cs: 1, b_rs: 1, b_cs: k, c_rs: n, ..whole };
    let d = MatMul { batch, a_bs: m * k, b_bs: n * k, c_bs: m * n, ..strides };
    let (peak, rate) = beside_peak(threads, 50, operations, || {
        // SAFETY: the descriptor is that of the vectors above.
        unsafe { abi::netc_matmul(frame.as_ptr(), &raw const d) };
    });
    let share = 100.0 * rate / peak / threads as f64;
    println!("{batch} of {m} x {n} x {k} nt {threads} threads: {rate:6.1} GFLOP/s, {share:5.1}% of {peak:.1}");
}

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with("--")).unwrap_or_default();
    for threads in [1, 2] {
        if let [m, n, k, kind] = wanted.split(',').collect::<Vec<_>>()[..] {
            let [m, n, k] = [m, n, k].map(|size| size.parse().expect("a size"));
            let name = kind.trim_start_matches(|digit: char| digit.is_ascii_digit());
            match name {
                "packed" | "rounded" | "sums" => {
                    let groups = kind[..kind.len() - name.len()].parse().unwrap_or(1);
                    packed_product(threads, [m, n, k], groups, name);
                }
                transposes => product(threads, m, n, k, transposes),
            }
            continue;
        }
        let runs = |name: &str| wanted.is_empty() || wanted == name;
        if runs("products") {
            products(threads);
        }
        if runs("packed") {
            packed_products(threads);
            for (batch, rows, cols) in [(32, 50, 50), (32, 1, 50), (8, 200, 200), (256, 10, 10)] {
                batched_product(threads, batch, rows, cols, 64);
            }
        }
    }
}
