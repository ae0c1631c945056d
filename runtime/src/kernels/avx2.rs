//! x86-64 with AVX2 and FMA: sixteen registers of eight floats.
#![expect(unsafe_code, reason = "vector instructions")]

use std::arch::asm;
use std::arch::x86_64::*;

use super::simd::{LONGEST, Simd, Task};
#[cfg(not(netc_unoptimized))]
use super::steps::{add_steps, step, steps_of_two_vectors};

#[derive(Clone, Copy)]
pub(crate) struct Avx2;

#[target_feature(enable = "avx2,fma")]
unsafe fn enter<T: Task>(task: T) {
    // SAFETY: this function has the instructions.
    unsafe { task.run::<Avx2>() };
}

// SAFETY: `vectorize` enables the instructions of all others.
unsafe impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = 8;
    const MR: usize = 6;
    const WIDTH: usize = 2;

    unsafe fn vectorize<T: Task>(task: T) {
        // SAFETY: the caller has detected the instructions.
        unsafe { enter(task) };
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        // SAFETY: promised by the caller.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        // SAFETY: promised by the caller.
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: Self::V) {
        // SAFETY: promised by the caller.
        unsafe { _mm256_storeu_ps(to, x) }
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: promised by the caller.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: promised by the caller.
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: promised by the caller.
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn where_equal(a: Self::V, b: Self::V, then: Self::V, otherwise: Self::V) -> Self::V {
        // SAFETY: promised by the caller.
        unsafe { _mm256_blendv_ps(otherwise, then, _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b)) }
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: promised by the caller.
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    #[expect(clippy::pointers_in_nomem_asm_block, reason = "the address only passes through")]
    fn settled(mut address: *const f32) -> *const f32 {
        // SAFETY: no instruction at all.
        unsafe { asm!("/* {0} */", inout(reg) address, options(pure, nomem, nostack, preserves_flags)) };
        address
    }
    #[inline(always)]
    unsafe fn prefetch(address: *const f32) {
        // SAFETY: fetching does not access memory.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[inline(always)]
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: promised by the caller.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[cfg(not(netc_unoptimized))]
    #[inline(always)]
    unsafe fn add_steps<const R: usize, const W: usize, const CALLER: usize>(
        sums: &mut [[Self::V; W]; R],
        left: &[*const f32; R],
        offset: isize,
        step: isize,
        right: *const f32,
    ) -> isize {
        // SAFETY: promised by the caller.
        unsafe { add_steps::<R, W, CALLER>(sums, left, offset, step, right) }
    }
    #[inline(always)]
    unsafe fn transpose_8x8(from: *const f32, from_stride: isize, to: *mut f32, to_stride: usize) {
        // SAFETY: the caller's block, and instructions of AVX2.
        unsafe { transpose_8x8(from, from_stride, to, to_stride) };
    }
    #[inline(always)]
    unsafe fn permute(x: Self::V, lanes: &[u32; LONGEST]) -> Self::V {
        // SAFETY: promised by the caller; as many lanes as a vector has.
        unsafe { _mm256_permutevar8x32_ps(x, _mm256_loadu_si256(lanes.as_ptr().cast())) }
    }
    #[inline(always)]
    unsafe fn sum(x: Self::V) -> f32 {
        // SAFETY: instructions of AVX2.
        unsafe {
            let fours = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let twos = _mm_add_ps(fours, _mm_movehl_ps(fours, fours));
            _mm_cvtss_f32(_mm_add_ss(twos, _mm_movehdup_ps(twos)))
        }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self::V {
        // SAFETY: promised by the caller; lanes that are masked out are not read.
        unsafe { _mm256_maskload_ps(from, first_lanes(count)) }
    }
    #[inline(always)]
    unsafe fn store_first(to: *mut f32, x: Self::V, count: usize) {
        // SAFETY: promised by the caller; lanes that are masked out are not written.
        unsafe { _mm256_maskstore_ps(to, first_lanes(count), x) };
    }
}

/// Eight rows of eight floats become eight columns: pairs, then fours, then halves are exchanged.
#[target_feature(enable = "avx2,fma")]
#[inline]
pub(crate) unsafe fn transpose_8x8(from: *const f32, from_stride: isize, to: *mut f32, to_stride: usize) {
    // SAFETY: the caller's block.
    unsafe {
        let row = |i: isize| _mm256_loadu_ps(from.offset(i * from_stride));
        let (r0, r1, r2, r3) = (row(0), row(1), row(2), row(3));
        let (r4, r5, r6, r7) = (row(4), row(5), row(6), row(7));
        let (p0, p1) = (_mm256_unpacklo_ps(r0, r1), _mm256_unpackhi_ps(r0, r1));
        let (p2, p3) = (_mm256_unpacklo_ps(r2, r3), _mm256_unpackhi_ps(r2, r3));
        let (p4, p5) = (_mm256_unpacklo_ps(r4, r5), _mm256_unpackhi_ps(r4, r5));
        let (p6, p7) = (_mm256_unpacklo_ps(r6, r7), _mm256_unpackhi_ps(r6, r7));
        let low = |a, b| _mm256_shuffle_ps::<0b01_00_01_00>(a, b);
        let high = |a, b| _mm256_shuffle_ps::<0b11_10_11_10>(a, b);
        let upper = [low(p0, p2), high(p0, p2), low(p1, p3), high(p1, p3)];
        let lower = [low(p4, p6), high(p4, p6), low(p5, p7), high(p5, p7)];
        for i in 0..4 {
            let first = _mm256_permute2f128_ps::<0x20>(upper[i], lower[i]);
            let second = _mm256_permute2f128_ps::<0x31>(upper[i], lower[i]);
            _mm256_storeu_ps(to.add(i * to_stride), first);
            _mm256_storeu_ps(to.add((i + 4) * to_stride), second);
        }
    }
}

/// All ones in the first `count` lanes.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn first_lanes(count: usize) -> __m256i {
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_cmpgt_epi32(_mm256_set1_epi32(count.min(8) as i32), lanes)
}

#[cfg(not(netc_unoptimized))]
add_steps!("avx2,fma", __m256, steps_of_two_vectors);
