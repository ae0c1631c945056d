//! The convolutions that tests check, and their definition.

use super::super::testing::MARK;
use super::DIRECT;
use crate::abi::Conv;

/// Sizes as a test writes them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) n: i64,
    pub(super) size: [i64; 2],
    pub(super) c: i64,
    pub(super) oc: i64,
    pub(super) kernel: [i64; 2],
    pub(super) stride: [i64; 2],
    pub(super) pad: [i64; 2],
    pub(super) dilation: [i64; 2],
    pub(super) groups: i64,
    /// Whether `x` is `[n, c, h, w]` in memory.
    pub(super) channels_first: bool,
    pub(super) algorithm: i64,
}

pub(super) const CASE: Case = Case {
    n: 2,
    size: [7, 9],
    c: 5,
    oc: 6,
    kernel: [3, 3],
    stride: [1, 1],
    pad: [1, 1],
    dilation: [1, 1],
    groups: 1,
    channels_first: false,
    algorithm: DIRECT,
};

/// What a network of pictures begins with.
pub(super) const STEM: Case =
    Case { size: [30, 30], c: 3, oc: 20, kernel: [7, 7], stride: [2, 2], pad: [3, 3], channels_first: true, ..CASE };

impl Case {
    pub(super) fn descriptor(&self) -> Conv {
        let out = |axis: usize| {
            let reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
            (self.size[axis] + 2 * self.pad[axis] - reach) / self.stride[axis] + 1
        };
        let ([h, w], [oh, ow]) = (self.size, [out(0), out(1)]);
        // A gap after each pixel and each row shows whether strides are obeyed.
        let (x_h, x_w, x_c, x_n) = if self.channels_first {
            (w, 1, h * w, self.c * h * w)
        } else {
            let pixel = self.c + 2;
            (w * pixel + 3, pixel, 1, h * (w * pixel + 3))
        };
        let (y_w, y_h) = (self.oc + 1, ow * (self.oc + 1) + 2);
        Conv {
            n: self.n,
            h,
            w,
            c: self.c,
            oh,
            ow,
            oc: self.oc,
            kh: self.kernel[0],
            kw: self.kernel[1],
            stride_h: self.stride[0],
            stride_w: self.stride[1],
            pad_h: self.pad[0],
            pad_w: self.pad[1],
            dilation_h: self.dilation[0],
            dilation_w: self.dilation[1],
            groups: self.groups,
            x: std::ptr::null_mut(),
            x_n,
            x_h,
            x_w,
            x_c,
            y: std::ptr::null_mut(),
            y_n: oh * y_h,
            y_h,
            y_w,
            weight: std::ptr::null_mut(),
            packed: std::ptr::null(),
            algorithm: self.algorithm,
            pooled: 0,
            positions: std::ptr::null_mut(),
            positions_n: 0,
            positions_h: 0,
            positions_w: 0,
            many: 0,
            epilogue: MARK,
            sums: std::ptr::null(),
        }
    }
}

/// Visits the offsets of every pair of elements of `x`, `y` and `weight` that belong together.
pub(super) fn visit(d: &Conv, mut f: impl FnMut(usize, usize, usize)) {
    let (c, oc) = (d.c / d.groups, d.oc / d.groups);
    for n in 0..d.n {
        for i in 0..d.oh {
            for j in 0..d.ow {
                for tap in 0..d.kh * d.kw {
                    let (a, b) = (tap / d.kw, tap % d.kw);
                    let row = i * d.stride_h + a * d.dilation_h - d.pad_h;
                    let col = j * d.stride_w + b * d.dilation_w - d.pad_w;
                    if row < 0 || row >= d.h || col < 0 || col >= d.w {
                        continue;
                    }
                    for o in 0..d.oc {
                        for ci in 0..c {
                            let x = n * d.x_n + row * d.x_h + col * d.x_w + (o / oc * c + ci) * d.x_c;
                            let y = n * d.y_n + i * d.y_h + j * d.y_w + o;
                            f(x as usize, y as usize, ((o * c + ci) * d.kh * d.kw + tap) as usize);
                        }
                    }
                }
            }
        }
    }
}
