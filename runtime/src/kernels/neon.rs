//! AArch64: thirty-two registers of four floats.
#![expect(unsafe_code, reason = "vector instructions")]

use std::arch::aarch64::*;

use super::simd::{Simd, Task};

#[derive(Clone, Copy)]
pub(crate) struct Neon;

#[target_feature(enable = "neon")]
unsafe fn enter<T: Task>(task: T) {
    // SAFETY: this function has the instructions.
    unsafe { task.run::<Neon>() };
}

// SAFETY: `vectorize` enables the instructions of all others.
unsafe impl Simd for Neon {
    type V = float32x4_t;
    const LANES: usize = 4;
    const MR: usize = 6;
    const WIDTH: usize = 4;

    unsafe fn vectorize<T: Task>(task: T) {
        // SAFETY: the caller has detected the instructions.
        unsafe { enter(task) };
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        // SAFETY: promised by the caller.
        unsafe { vdupq_n_f32(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        // SAFETY: promised by the caller.
        unsafe { vld1q_f32(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: Self::V) {
        // SAFETY: promised by the caller.
        unsafe { vst1q_f32(to, x) }
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: promised by the caller.
        unsafe { vaddq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: promised by the caller.
        unsafe { vsubq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: promised by the caller.
        unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
    }
    #[inline(always)]
    unsafe fn where_equal(a: Self::V, b: Self::V, then: Self::V, otherwise: Self::V) -> Self::V {
        // SAFETY: promised by the caller.
        unsafe { vbslq_f32(vceqq_f32(a, b), then, otherwise) }
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: promised by the caller.
        unsafe { vmulq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: promised by the caller.
        unsafe { vfmaq_f32(c, a, b) }
    }
}
