//! The convolutions of VGG-16 and ResNet-18, each direction by each algorithm, on one thread: milliseconds, what the direct
//! sum's operations make of them, and the share of the multiply-add limit that was measured in turn with them.
//! `cargo bench -p netc-runtime --bench convolution -- [WORDS]` runs the lines that contain all words.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(unsafe_code, reason = "calls the runtime as generated code does")]

use std::hint::black_box;

use netc_runtime::Pool;
use netc_runtime::abi::{Conv, netc_conv2d, netc_conv2d_data_grad, netc_conv2d_pack, netc_conv2d_weight_grad};
use netc_runtime::kernels::conv::{DATA_GRAD, DIRECT, FORWARD, WEIGHT_GRAD, WINOGRAD, WINOGRAD_2X2, packed_len};
use netc_runtime::kernels::limits::{multiply_adds, thread_seconds};
use netc_runtime::pages::advise;

/// Name, channels, side of the map, channels of the result, side of the kernel, stride.
const LAYERS: [(&str, [i64; 5]); 23] = [
    ("vgg 1.1", [3, 224, 64, 3, 1]),
    ("vgg 1.2", [64, 224, 64, 3, 1]),
    ("vgg 2.1", [64, 112, 128, 3, 1]),
    ("vgg 2.2", [128, 112, 128, 3, 1]),
    ("vgg 3.1", [128, 56, 256, 3, 1]),
    ("vgg 3.2", [256, 56, 256, 3, 1]),
    ("vgg 4.1", [256, 28, 512, 3, 1]),
    ("vgg 4.2", [512, 28, 512, 3, 1]),
    ("vgg 5.1", [512, 14, 512, 3, 1]),
    ("resnet 1", [3, 224, 64, 7, 2]),
    ("resnet 2", [64, 56, 64, 3, 1]),
    ("resnet 3a", [64, 56, 128, 3, 2]),
    ("resnet 3s", [64, 56, 128, 1, 2]),
    ("resnet 3", [128, 28, 128, 3, 1]),
    ("resnet 4a", [128, 28, 256, 3, 2]),
    ("resnet 4s", [128, 28, 256, 1, 2]),
    ("resnet 4", [256, 14, 256, 3, 1]),
    ("resnet 5a", [256, 14, 512, 3, 2]),
    ("resnet 5s", [256, 14, 512, 1, 2]),
    ("resnet 5", [512, 7, 512, 3, 1]),
    ("lenet 1", [1, 28, 6, 5, 1]),
    ("lenet 2", [6, 14, 16, 5, 1]),
    ("wide 1", [3, 112, 128, 3, 2]),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    println!("{:54} {:>9} {:>9} {:>7}", "layer", "ms", "GFLOP/s", "share");
    for (name, sizes) in LAYERS {
        for n in [1, 8] {
            for direction in [FORWARD, DATA_GRAD, WEIGHT_GRAD] {
                for algorithm in [DIRECT, WINOGRAD, WINOGRAD_2X2] {
                    let plain = sizes[3] == 3 && sizes[4] == 1 && sizes[0] > 3;
                    let first = sizes[0] <= 3 && direction == DATA_GRAD;
                    // The weight gradient has one Winograd algorithm, and large maps have no use for small tiles.
                    let small = direction != WEIGHT_GRAD && sizes[1] <= 28;
                    if (algorithm != DIRECT && !plain) || (algorithm == WINOGRAD_2X2 && !small) || first {
                        continue;
                    }
                    let [c, side, oc, kernel, stride] = sizes;
                    let what = ["forward", "data_grad", "weight_grad"][direction as usize];
                    let how = ["direct", "winograd", "winograd 2x2"][algorithm as usize];
                    let line = format!("{name} [{n}, {c}, {side}] {oc} {kernel}x{kernel}/{stride} {what} {how}");
                    if words.iter().all(|word| line.contains(word.as_str())) {
                        measure(&line, n, sizes, direction, algorithm);
                    }
                }
            }
        }
    }
}

fn measure(line: &str, n: i64, [c, side, oc, kernel, stride]: [i64; 5], direction: i64, algorithm: i64) {
    let out = (side - 1) / stride + 1;
    // The picture of the first layer is a caller's: its channels are not adjacent.
    let (x_h, x_w, x_c) = if c == 3 { (side, 1, side * side) } else { (side * c, c, 1) };
    let [mut x, mut y, mut weight] =
        [n * c * side * side, n * oc * out * out, oc * c * kernel * kernel].map(|len| Numbers::new(len as usize));
    let mut d = Conv {
        n,
        h: side,
        w: side,
        c,
        oh: out,
        ow: out,
        oc,
        kh: kernel,
        kw: kernel,
        stride_h: stride,
        stride_w: stride,
        pad_h: kernel / 2,
        pad_w: kernel / 2,
        dilation_h: 1,
        dilation_w: 1,
        groups: 1,
        x: x.get().as_mut_ptr(),
        x_n: c * side * side,
        x_h,
        x_w,
        x_c,
        y: y.get().as_mut_ptr(),
        y_n: out * out * oc,
        y_h: out * oc,
        y_w: oc,
        weight: weight.get().as_mut_ptr(),
        packed: std::ptr::null(),
        algorithm,
        pooled: 0,
        positions: std::ptr::null_mut(),
        positions_n: 0,
        positions_h: 0,
        positions_w: 0,
        many: 1,
        epilogue: None,
        sums: std::ptr::null(),
    };
    let pool = Pool::new(1);
    let frame = [(&raw const pool) as u64];
    let mut packed = Numbers::new(if direction == WEIGHT_GRAD { 0 } else { packed_len(&d, direction) });
    let packed = packed.get();
    // Longer than the caches: between two calls, a network reads other layers' memory.
    let others = vec![1.0_f32; 12 << 20];
    // SAFETY: the descriptor is that of the vectors, and the frame holds a pool.
    unsafe {
        // Inference packs weights once; a training step packs them in each call.
        if direction == FORWARD {
            netc_conv2d_pack(frame.as_ptr(), &raw const d, direction, packed.as_mut_ptr());
            d.packed = packed.as_ptr();
        }
    }
    let operations = 2.0 * (n * out * out * oc * c * kernel * kernel) as f64;
    let rounds = (2e10 / operations).clamp(5.0, 40.0) as usize;
    let [mut least, mut peak] = [f64::INFINITY, 0.0_f64];
    for _ in 0..rounds {
        peak = peak.max(limit());
        black_box(others.iter().sum::<f32>());
        let start = thread_seconds();
        // SAFETY: as above.
        unsafe {
            match direction {
                FORWARD => netc_conv2d(frame.as_ptr(), &raw const d),
                DATA_GRAD => netc_conv2d_data_grad(frame.as_ptr(), &raw const d),
                _ => netc_conv2d_weight_grad(frame.as_ptr(), &raw const d),
            }
        }
        least = least.min(thread_seconds() - start);
    }
    let rate = operations / least / 1e9;
    println!("{line:54} {:>9.3} {rate:>9.1} {:>7.2}", least * 1e3, rate / peak);
}

/// Memory as compiled networks have it: in large pages, from the start of a line of the caches on.
struct Numbers(Vec<f32>);

impl Numbers {
    fn new(len: usize) -> Numbers {
        let mut numbers: Vec<f32> = Vec::with_capacity(len + 16);
        advise(numbers.as_ptr().cast(), (len + 16) * size_of::<f32>());
        numbers.extend((0..len + 16).map(|i| (i * 7919 % 1009) as f32 / 1009.0 - 0.5));
        Numbers(numbers)
    }

    fn get(&mut self) -> &mut [f32] {
        let first = self.0.as_ptr().align_offset(64);
        &mut self.0[first..]
    }
}

/// GFLOP/s of independent multiply-adds, in some tenths of a millisecond.
fn limit() -> f64 {
    let start = thread_seconds();
    multiply_adds(20_000) as f64 / (thread_seconds() - start) / 1e9
}
