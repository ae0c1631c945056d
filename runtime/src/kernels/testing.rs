//! What the tests of kernels share: random matrices, an epilogue that shows where it was, and comparisons.
#![expect(unsafe_code, reason = "an epilogue gets raw pointers")]

use crate::abi::{EpilogueFn, Frame};
use crate::rng::Key;
use crate::scratch::Needs;
use crate::threads::Pool;

use super::cpu::{self, Cpu};

/// The instruction sets of this machine.
pub(crate) fn cpus() -> Vec<Cpu> {
    [Cpu::Portable, Cpu::Avx2, Cpu::Avx512, Cpu::Amx, Cpu::Neon].into_iter().filter(|&cpu| cpu::has(cpu)).collect()
}

/// Numbers in `[-1, 1)`.
pub(crate) fn random(len: usize, stream: u32) -> Vec<f32> {
    let key = Key::new(1);
    (0..len).map(|i| 2.0 * key.uniform(stream, i as u32) - 1.0).collect()
}

/// A frame whose epilogue is [`MARK`]: it replaces each element `x` of an output by `2x + 1`.
#[derive(Debug)]
pub(crate) struct Marked([u64; 7]);

impl Marked {
    /// Rows `row` of the output lie at `row * row_stride` when `width` is 0, else those of an image of that width at
    /// `row / width * image_stride + row % width * row_stride`.
    pub(crate) fn new(pool: &Pool, output: *mut f32, row_stride: usize, width: usize, image_stride: usize) -> Marked {
        let [pool, output] = [(&raw const *pool) as u64, output as u64];
        Marked([pool, output, row_stride as u64, width as u64, image_stride as u64, 1, 0])
    }

    /// The columns are those of each of `groups` runs of `run` columns.
    pub(crate) fn grouped(self, groups: usize, run: usize) -> Marked {
        let [pool, output, row_stride, width, image_stride, ..] = self.0;
        Marked([pool, output, row_stride, width, image_stride, groups as u64, run as u64])
    }

    pub(crate) fn frame(&self) -> Frame {
        Frame::new(self.0.as_ptr())
    }
}

/// See [`Marked`].
pub(crate) const MARK: Option<EpilogueFn> = Some(mark);

unsafe extern "C" fn mark(frame: *const u64, row: i64, rows: i64, col: i64, cols: i64, _ahead: i64) {
    // SAFETY: the frame is one of `Marked`.
    let [_, output, row_stride, width, image_stride, groups, run] = unsafe { *frame.cast::<[u64; 7]>() };
    for row in row as u64..(row + rows) as u64 {
        let start = match width {
            0 => row * row_stride,
            _ => row / width * image_stride + row % width * row_stride,
        };
        let cols = (0..groups).flat_map(|group| (col as u64..(col + cols) as u64).map(move |col| group * run + col));
        for col in cols {
            // SAFETY: an element of the output that this call may change.
            unsafe {
                let x = (output as *mut f32).add((start + col) as usize);
                *x = *x * 2.0 + 1.0;
            }
        }
    }
}

/// Asserts that the pool's scratch memory is no larger than what the calls so far were said to take.
pub(crate) fn assert_within(pool: &mut Pool, needs: &Needs, what: &str) {
    for (thread, scratch) in pool.scratch().iter().enumerate() {
        let most = needs.of_thread(thread).map(|len| len.next_multiple_of(16));
        for (purpose, (len, most)) in scratch.lens().into_iter().zip(most).enumerate() {
            assert!(len <= most, "{what}: purpose {purpose} of thread {thread} takes {len} floats, not {most}");
        }
    }
}

/// Asserts that each element is near its true value, on the scale of a sum of `terms` products.
pub(crate) fn assert_near(found: &[f32], truth: &[f64], terms: usize, what: &str) {
    assert_eq!(found.len(), truth.len());
    let bound = 1e-6 * (terms as f64).sqrt().max(1.0) * 4.0;
    for (index, (&x, &y)) in found.iter().zip(truth).enumerate() {
        assert!((f64::from(x) - y).abs() <= bound, "{what}: element {index} is {x}, not {y}");
    }
}
