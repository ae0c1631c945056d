//! Measures matrix products and convolutions against the core's peak, side by side in one run.
#![expect(clippy::print_stdout, reason = "the purpose of the program")]
#![expect(unsafe_code, reason = "calls the runtime as generated code does")]

use std::time::Instant;

use netc_runtime::Pool;
use netc_runtime::abi::{self, Conv, MatMul};
use netc_runtime::kernels::{conv, matmul};

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
    let seconds = time(Clock::Core, || unsafe {
        std::hint::black_box(chains(std::hint::black_box(rounds)));
    });
    (rounds * 12 * 16) as f64 / seconds / 1e9
}

#[cfg(not(target_arch = "x86_64"))]
fn peak() -> f64 {
    f64::NAN
}

/// Seconds of wall-clock time, or of this thread's time on a core where it is known: on a shared machine the latter
/// says more, as long as only one thread works.
fn time(clock: Clock, mut work: impl FnMut()) -> f64 {
    let (start, start_on_core) = (Instant::now(), on_core());
    work();
    match (clock, start_on_core, on_core()) {
        (Clock::Core, Some(start), Some(end)) => end - start,
        _ => start.elapsed().as_secs_f64(),
    }
}

#[derive(Clone, Copy)]
enum Clock {
    Core,
    Wall,
}

#[cfg(target_os = "linux")]
fn on_core() -> Option<f64> {
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut [i64; 2]) -> i32;
    }
    const THREAD_CPUTIME: i32 = 3;
    let mut time = [0; 2];
    // SAFETY: `time` is a `timespec` of this system.
    let failed = unsafe { clock_gettime(THREAD_CPUTIME, &raw mut time) };
    (failed == 0).then_some(time[0] as f64 + time[1] as f64 * 1e-9)
}

#[cfg(not(target_os = "linux"))]
fn on_core() -> Option<f64> {
    None
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The medians of the peak and of some work's rate in operations a second (1e9), measured alternately.
fn beside_peak(threads: usize, repeats: usize, operations: f64, mut work: impl FnMut()) -> (f64, f64) {
    work();
    let clock = if threads == 1 { Clock::Core } else { Clock::Wall };
    let (mut peaks, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..repeats {
        peaks.push(peak());
        rates.push(operations / time(clock, &mut work) / 1e9);
    }
    (median(peaks), median(rates))
}

/// A descriptor without strides.
fn matrix_product(m: i64, n: i64, k: i64, a: *const f32, b: *const f32, c: *mut f32) -> MatMul {
    let (packed, epilogue) = (std::ptr::null(), None);
    let [a_rs, a_cs, b_rs, b_cs, c_rs, a_bs, b_bs, c_bs] = [0; 8];
    MatMul { m, n, k, a, a_rs, a_cs, b, b_rs, b_cs, c, c_rs, packed, groups: 1, batch: 1, a_bs, b_bs, c_bs, epilogue }
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

/// A product of few rows with a right operand that was packed before, at once after one another as in a recurrence.
fn packed_product(threads: usize, m: usize, n: usize, k: usize, groups: usize) {
    let pool = Pool::new(threads);
    let frame = [(&raw const pool) as u64];
    let (a, b, mut c) = (vec![0.5_f32; m * k], vec![0.25_f32; k * n], vec![0.0_f32; m * n]);
    let mut packed = vec![0.0_f32; matmul::packed_len(k, n, groups) + 16];
    let start = packed.as_ptr().align_offset(64);
    let (a, b, c, packed) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr(), packed[start..].as_mut_ptr());
    let operations = (2 * m * n * k) as f64;
    let [m, n, k, groups] = [m, n, k, groups].map(|x| x as i64);
    let d = MatMul { a_rs: k, a_cs: 1, b_rs: n, b_cs: 1, c_rs: n, packed, groups, ..matrix_product(m, n, k, a, b, c) };
    let calls = (2e8 / operations).clamp(10.0, 1000.0);
    // SAFETY: the descriptor is that of the vectors above.
    unsafe { abi::netc_matmul_pack(frame.as_ptr(), &raw const d, packed) };
    let (peak, rate) = beside_peak(threads, 25, operations * calls, || {
        for _ in 0..calls as usize {
            // SAFETY: as above.
            unsafe { abi::netc_matmul(frame.as_ptr(), &raw const d) };
        }
    });
    let share = 100.0 * rate / peak / threads as f64;
    let time = operations / rate / 1e3;
    let bytes = 4.0 * (k * n) as f64 / operations * rate;
    println!(
        "{m:5} x {n:5} x {k:6} packed {threads} threads: {rate:6.1} GFLOP/s, {share:5.1}% of {peak:.1}, {time:7.2} us, {bytes:5.1} GB/s"
    );
}

/// The rates of the three directions of a convolution on `n` images of `size` squared.
fn convolution(threads: usize, [n, c, oc, size, kernel, stride]: [i64; 6], algorithm: i64) {
    let pool = Pool::new(threads);
    let frame = [(&raw const pool) as u64];
    let pad = kernel / 2;
    let out = (size + 2 * pad - kernel) / stride + 1;
    let mut x = vec![0.5_f32; (n * size * size * c) as usize];
    let mut y = vec![0.25_f32; (n * out * out * oc) as usize];
    let mut weight = vec![0.125_f32; (oc * c * kernel * kernel) as usize];
    let (x_h, x_w, x_c) = if c < 8 { (size, 1, size * size) } else { (size * c, c, 1) };
    let mut d = Conv {
        n,
        h: size,
        w: size,
        c,
        oh: out,
        ow: out,
        oc,
        kh: kernel,
        kw: kernel,
        stride_h: stride,
        stride_w: stride,
        pad_h: pad,
        pad_w: pad,
        dilation_h: 1,
        dilation_w: 1,
        groups: 1,
        x: x.as_mut_ptr(),
        x_n: size * size * c,
        x_h,
        x_w,
        x_c,
        y: y.as_mut_ptr(),
        y_n: out * out * oc,
        y_h: out * oc,
        y_w: oc,
        weight: weight.as_mut_ptr(),
        packed: std::ptr::null(),
        algorithm,
        epilogue: None,
    };
    let operations = (2 * n * out * out * oc * c * kernel * kernel) as f64;
    let repeats = (2e10 / operations).clamp(5.0, 50.0) as usize;
    print!(
        "{n} x {c:3} -> {oc:3} at {size:3}, {kernel}x{kernel} stride {stride}, algorithm {algorithm}, {threads} threads:"
    );
    for direction in [conv::FORWARD, conv::DATA_GRAD, 2] {
        if direction == conv::DATA_GRAD && c < 8 {
            continue;
        }
        let mut packed = vec![0.0_f32; if direction == 2 { 0 } else { conv::packed_len(&d, direction) }];
        d.packed = std::ptr::null();
        // SAFETY: the descriptor is that of the vectors above, here and below.
        unsafe {
            if direction != 2 {
                abi::netc_conv2d_pack(frame.as_ptr(), &raw const d, direction, packed.as_mut_ptr());
                d.packed = packed.as_ptr();
            }
        }
        let call = [abi::netc_conv2d, abi::netc_conv2d_data_grad, abi::netc_conv2d_weight_grad][direction as usize];
        let (peak, rate) = beside_peak(threads, repeats, operations, || {
            // SAFETY: as above.
            unsafe { call(frame.as_ptr(), &raw const d) };
        });
        let name = ["forward", "data", "weight"][direction as usize];
        print!("  {name} {rate:6.1} ({:5.1}%)", 100.0 * rate / peak / threads as f64);
    }
    println!();
}

fn convolutions(threads: usize) {
    for (c, oc, size) in
        [(3, 64, 224), (64, 64, 224), (128, 128, 112), (256, 256, 56), (512, 512, 28), (512, 512, 14), (512, 512, 7)]
    {
        for algorithm in [conv::DIRECT, conv::WINOGRAD] {
            convolution(threads, [1, c, oc, size, 3, 1], algorithm);
        }
    }
    convolution(threads, [1, 3, 64, 224, 7, 2], conv::DIRECT);
    convolution(threads, [1, 64, 128, 56, 3, 2], conv::DIRECT);
    convolution(threads, [1, 64, 128, 56, 1, 2], conv::DIRECT);
    convolution(threads, [1, 64, 256, 56, 1, 1], conv::DIRECT);
    convolution(threads, [8, 256, 256, 14, 3, 1], conv::DIRECT);
    convolution(threads, [8, 256, 256, 14, 3, 1], conv::WINOGRAD);
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
            packed_product(threads, m, n, k, 1);
        }
    }
    packed_product(threads, 32, 1024, 256, 4);
    packed_product(threads, 1024, 1024, 1024, 1);
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
    let wanted = std::env::args().nth(1).unwrap_or_default();
    for threads in [1, 2] {
        let runs = |name: &str| wanted.is_empty() || wanted == name;
        if runs("convolutions") {
            convolutions(threads);
        }
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
