//! Convolutions: forward, data gradient, weight gradient.
#![expect(unsafe_code, reason = "raw images of generated code")]

use crate::abi::{Conv, Frame};
use crate::threads::Pool;

/// An implicit matrix product.
pub const DIRECT: i64 = 0;
/// Winograd's F(4x4, 3x3).
pub const WINOGRAD: i64 = 1;

/// The direction of [`crate::abi::netc_conv2d`].
pub const FORWARD: i64 = 0;
/// The direction of [`crate::abi::netc_conv2d_data_grad`].
pub const DATA_GRAD: i64 = 1;

// SAFETY: chunks read shared operands and write to disjoint blocks of the result.
unsafe impl Sync for Conv {}

/// How many floats the packed weights of a convolution take, on any CPU.
pub fn packed_len(d: &Conv, direction: i64) -> usize {
    let [c, oc, kh, kw, groups] = [d.c, d.oc, d.kh, d.kw, d.groups].map(|x| x.max(1) as usize);
    let (inner, outer) = if direction == FORWARD { (c, oc) } else { (oc, c) };
    let taps = if d.algorithm == WINOGRAD { 36 } else { kh * kw };
    groups * taps * (inner / groups) * (outer / groups).next_multiple_of(32)
}

/// # Safety
/// The descriptor's pointers are valid, and `packed` for [`packed_len`] floats.
pub(crate) unsafe fn pack(_pool: &Pool, _d: &Conv, _direction: i64, _packed: *mut f32) {}

/// The pixel of `x` that tap `(a, b)` of output pixel `(i, j)` reads.
fn source(d: &Conv, i: i64, j: i64, a: i64, b: i64) -> Option<(i64, i64)> {
    let row = i * d.stride_h + a * d.dilation_h - d.pad_h;
    let col = j * d.stride_w + b * d.dilation_w - d.pad_w;
    (row >= 0 && row < d.h && col >= 0 && col < d.w).then_some((row, col))
}

/// Visits every pair of elements of `x`, `y` and `weight` that belong together in image `n`.
fn visit(d: &Conv, n: i64, mut f: impl FnMut(isize, isize, isize)) {
    let (c, oc) = (d.c / d.groups, d.oc / d.groups);
    for i in 0..d.oh {
        for j in 0..d.ow {
            for a in 0..d.kh {
                for b in 0..d.kw {
                    let Some((row, col)) = source(d, i, j, a, b) else {
                        continue;
                    };
                    for o in 0..d.oc {
                        for ci in 0..c {
                            let x = n * d.x_n + row * d.x_h + col * d.x_w + (o / oc * c + ci) * d.x_c;
                            let y = n * d.y_n + i * d.y_h + j * d.y_w + o;
                            let w = ((o * c + ci) * d.kh + a) * d.kw + b;
                            f(x as isize, y as isize, w as isize);
                        }
                    }
                }
            }
        }
    }
}

/// # Safety
/// The descriptor's pointers are valid for its sizes, and `y` is not otherwise in use.
pub(crate) unsafe fn forward(_pool: &Pool, frame: Frame, d: &Conv) {
    // SAFETY: `visit` gives offsets within the sizes.
    unsafe {
        for n in 0..d.n {
            for i in 0..d.oh {
                for j in 0..d.ow {
                    for o in 0..d.oc {
                        *d.y.offset((n * d.y_n + i * d.y_h + j * d.y_w + o) as isize) = 0.0;
                    }
                }
            }
            visit(d, n, |x, y, w| *d.y.offset(y) += *d.x.offset(x) * *d.weight.offset(w));
        }
        frame.finish(d.epilogue, [0, (d.n * d.oh * d.ow) as usize], [0, d.oc as usize]);
    }
}

/// # Safety
/// The descriptor's pointers are valid for its sizes, and `x` is not otherwise in use.
pub(crate) unsafe fn data_grad(_pool: &Pool, frame: Frame, d: &Conv) {
    // SAFETY: `visit` gives offsets within the sizes.
    unsafe {
        for n in 0..d.n {
            for i in 0..d.h {
                for j in 0..d.w {
                    for c in 0..d.c {
                        *d.x.offset((n * d.x_n + i * d.x_h + j * d.x_w + c * d.x_c) as isize) = 0.0;
                    }
                }
            }
            visit(d, n, |x, y, w| *d.x.offset(x) += *d.y.offset(y) * *d.weight.offset(w));
        }
        frame.finish(d.epilogue, [0, (d.n * d.h * d.w) as usize], [0, d.c as usize]);
    }
}

/// # Safety
/// The descriptor's pointers are valid for its sizes, and `weight` is not otherwise in use.
pub(crate) unsafe fn weight_grad(_pool: &Pool, frame: Frame, d: &Conv) {
    // SAFETY: `visit` gives offsets within the sizes.
    unsafe {
        let columns = (d.c / d.groups * d.kh * d.kw) as usize;
        for w in 0..d.oc as usize * columns {
            *d.weight.add(w) = 0.0;
        }
        for n in 0..d.n {
            visit(d, n, |x, y, w| *d.weight.offset(w) += *d.x.offset(x) * *d.y.offset(y));
        }
        frame.finish(d.epilogue, [0, d.oc as usize], [0, columns]);
    }
}
