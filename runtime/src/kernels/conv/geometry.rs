//! The forward direction and the data gradient as one thing: a correlation of an image with taps.

use crate::abi::Conv;

/// `to[u] = Σ over taps t, channels c of from[u · scale + offset(t)][c] · weight(t, c)` on a grid of pixels.
///
/// The data gradient of a convolution with strides falls apart into phases: the pixels of `to` whose row and column
/// have the same remainders are reached by the same taps. Forward there is one phase with all taps.
#[derive(Clone, Debug)]
pub(crate) struct Correlation {
    pub(crate) images: usize,
    pub(crate) groups: usize,
    pub(crate) from: Image,
    pub(crate) to: Image,
    pub(crate) phases: Vec<Phase>,
    /// Pixels of `from` per step on the grid of a phase.
    pub(crate) scale: [usize; 2],
    /// Pixels of `to` per step on the grid of a phase.
    pub(crate) step: [usize; 2],
    /// All taps of the kernel.
    pub(crate) taps: usize,
    pub(crate) weight: *const f32,
    /// In `weight`, from a channel of `from` and of `to` to the next within a group, and from a group to the next.
    pub(crate) weight_from: usize,
    pub(crate) weight_to: usize,
    pub(crate) weight_group: usize,
}

// SAFETY: plain sizes and addresses, which only unsafe code follows.
#[expect(unsafe_code, reason = "holds the addresses of images")]
unsafe impl Sync for Correlation {}

/// One of the two images.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image {
    pub(crate) data: *mut f32,
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Channels of a group.
    pub(crate) channels: usize,
    pub(crate) image: isize,
    pub(crate) row: isize,
    pub(crate) col: isize,
    pub(crate) channel: isize,
}

/// The pixels of `to` at `first + u · step`, and the taps that reach them.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    pub(crate) first: [usize; 2],
    pub(crate) taps: Vec<Tap>,
    /// The index of the first tap in the order of all phases.
    pub(crate) first_tap: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Tap {
    /// The index within the kernel, row by row.
    pub(crate) index: usize,
    /// Where it reads: the pixel of `from` for `u = 0`.
    pub(crate) offset: [isize; 2],
}

impl Image {
    /// The address of channel 0 of a pixel.
    pub(crate) fn at(&self, image: usize, row: isize, col: isize) -> *mut f32 {
        self.data.wrapping_offset(image as isize * self.image + row * self.row + col * self.col)
    }

    pub(crate) fn contains(&self, row: isize, col: isize) -> bool {
        row >= 0 && col >= 0 && (row as usize) < self.height && (col as usize) < self.width
    }
}

impl Correlation {
    /// `y` from `x`.
    pub(crate) fn forward(d: &Conv) -> Correlation {
        let [kh, kw] = [d.kh, d.kw].map(|x| x as isize);
        let mut taps = Vec::with_capacity((kh * kw) as usize);
        for a in 0..kh {
            for b in 0..kw {
                let offset =
                    [a * d.dilation_h as isize - d.pad_h as isize, b * d.dilation_w as isize - d.pad_w as isize];
                taps.push(Tap { index: (a * kw + b) as usize, offset });
            }
        }
        let [from, to] = images(d);
        let taps_in_kernel = (kh * kw) as usize;
        Correlation {
            phases: vec![Phase { first: [0, 0], taps, first_tap: 0 }],
            scale: [d.stride_h as usize, d.stride_w as usize],
            step: [1, 1],
            weight_from: taps_in_kernel,
            weight_to: from.channels * taps_in_kernel,
            ..Correlation::new(d, from, to)
        }
    }

    /// `x` from `y`.
    pub(crate) fn data_grad(d: &Conv) -> Correlation {
        let [kh, kw, sh, sw] = [d.kh, d.kw, d.stride_h, d.stride_w].map(|x| x as isize);
        let mut phases = Vec::with_capacity((sh * sw) as usize);
        let mut first_tap = 0;
        for row in 0..sh {
            for col in 0..sw {
                let mut taps = Vec::new();
                for a in 0..kh {
                    for b in 0..kw {
                        // Pixel r of x meets output i at tap a where r + pad - a·dilation = i·stride.
                        let i = row + d.pad_h as isize - a * d.dilation_h as isize;
                        let j = col + d.pad_w as isize - b * d.dilation_w as isize;
                        if i.rem_euclid(sh) == 0 && j.rem_euclid(sw) == 0 {
                            let offset = [i.div_euclid(sh), j.div_euclid(sw)];
                            taps.push(Tap { index: (a * kw + b) as usize, offset });
                        }
                    }
                }
                let count = taps.len();
                phases.push(Phase { first: [row as usize, col as usize], taps, first_tap });
                first_tap += count;
            }
        }
        let [to, from] = images(d);
        let taps_in_kernel = (kh * kw) as usize;
        Correlation {
            phases,
            scale: [1, 1],
            step: [sh as usize, sw as usize],
            weight_from: to.channels * taps_in_kernel,
            weight_to: taps_in_kernel,
            ..Correlation::new(d, from, to)
        }
    }

    fn new(d: &Conv, from: Image, to: Image) -> Correlation {
        let taps = (d.kh * d.kw) as usize;
        Correlation {
            images: d.n as usize,
            groups: d.groups as usize,
            weight_group: from.channels * to.channels * taps,
            from,
            to,
            phases: Vec::new(),
            scale: [1, 1],
            step: [1, 1],
            taps,
            weight: d.weight,
            weight_from: 0,
            weight_to: 0,
        }
    }

    /// Whether every channel is a group of its own, in both images.
    pub(crate) fn is_depthwise(&self) -> bool {
        self.from.channels == 1
            && self.to.channels == 1
            && self.groups > 1
            && self.from.channel == 1
            && self.to.channel == 1
    }

    /// The length of the sums that make an element of `to`, all phases taken together.
    pub(crate) fn depth(&self) -> usize {
        self.taps * self.from.channels
    }
}

/// `x` and `y`.
fn images(d: &Conv) -> [Image; 2] {
    let x = Image {
        data: d.x,
        height: d.h as usize,
        width: d.w as usize,
        channels: (d.c / d.groups) as usize,
        image: d.x_n as isize,
        row: d.x_h as isize,
        col: d.x_w as isize,
        channel: if d.c == 1 { 1 } else { d.x_c as isize },
    };
    let y = Image {
        data: d.y,
        height: d.oh as usize,
        width: d.ow as usize,
        channels: (d.oc / d.groups) as usize,
        image: d.y_n as isize,
        row: d.y_h as isize,
        col: d.y_w as isize,
        channel: 1,
    };
    [x, y]
}
