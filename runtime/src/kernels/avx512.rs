//! x86-64 with AVX-512F and BW: thirty-two registers of sixteen floats.
#![expect(unsafe_code, reason = "vector instructions")]

use std::arch::asm;
use std::arch::x86_64::*;

use super::simd::{LONGEST, Simd, Task};
#[cfg(not(netc_unoptimized))]
use super::steps::{add_steps, step, steps_of_four_vectors};

#[derive(Clone, Copy)]
pub(crate) struct Avx512;

#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
unsafe fn enter<T: Task>(task: T) {
    // SAFETY: this function has the instructions.
    unsafe { task.run::<Avx512>() };
}

// SAFETY: `vectorize` enables the instructions of all others.
unsafe impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;
    const MR: usize = 6;
    const MANY_REGISTERS: bool = true;
    const HAS_SUMS: bool = true;
    // Processors with these instructions have a second cache of at least 1 MiB.
    const PRODUCTS: usize = 96 << 10;
    const TRANSFORMED: usize = 72 << 10;
    const WIDTH: usize = 4;

    unsafe fn vectorize<T: Task>(task: T) {
        // SAFETY: the caller has detected the instructions.
        unsafe { enter(task) };
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        // SAFETY: promised by the caller.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        // SAFETY: promised by the caller.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: Self::V) {
        // SAFETY: promised by the caller.
        unsafe { _mm512_storeu_ps(to, x) }
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: promised by the caller.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: promised by the caller.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: promised by the caller.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn where_equal(a: Self::V, b: Self::V, then: Self::V, otherwise: Self::V) -> Self::V {
        // SAFETY: promised by the caller.
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b), otherwise, then) }
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: promised by the caller.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    #[expect(clippy::pointers_in_nomem_asm_block, reason = "the address only passes through")]
    fn settled(mut address: *const f32) -> *const f32 {
        // SAFETY: no instruction at all.
        unsafe { asm!("/* {0} */", inout(reg) address, options(pure, nomem, nostack, preserves_flags)) };
        address
    }
    #[inline(always)]
    unsafe fn prefetch_panel(address: *const f32) {
        // SAFETY: any address may be fetched.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) };
    }
    #[inline(always)]
    unsafe fn prefetch(address: *const f32) {
        // SAFETY: fetching does not access memory.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[inline(always)]
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: promised by the caller.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn widen(from: *const f32) -> [Self::V; 3] {
        // SAFETY: promised by the caller.
        unsafe { widen(from) }
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
        unsafe { super::avx2::transpose_8x8(from, from_stride, to, to_stride) };
    }
    #[inline(always)]
    unsafe fn permute(x: Self::V, lanes: &[u32; LONGEST]) -> Self::V {
        // SAFETY: promised by the caller; as many lanes as a vector has.
        unsafe { _mm512_permutexvar_ps(_mm512_loadu_si512(lanes.as_ptr().cast()), x) }
    }
    #[inline(always)]
    unsafe fn sum(x: Self::V) -> f32 {
        // SAFETY: instructions of AVX-512F.
        unsafe { _mm512_reduce_add_ps(x) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self::V {
        let mask = ((1_u32 << count.min(16)) - 1) as __mmask16;
        // SAFETY: promised by the caller; lanes that are masked out are not read.
        unsafe { _mm512_maskz_loadu_ps(mask, from) }
    }
    #[inline(always)]
    unsafe fn store_first(to: *mut f32, x: Self::V, count: usize) {
        let mask = ((1_u32 << count.min(16)) - 1) as __mmask16;
        // SAFETY: promised by the caller; lanes that are masked out are not written.
        unsafe { _mm512_mask_storeu_ps(to, mask, x) };
    }
}

#[cfg(not(netc_unoptimized))]
add_steps!("avx512f", __m512, steps_of_four_vectors);

/// As [`Simd::widen`]: the first numbers are the first words, the second ones in the lower bits of the second words, the third ones
/// from the lower bits of the first words to the upper bits of the second. In assembly, since compilers are not told of AVX-512VBMI2.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn widen(from: *const f32) -> [__m512; 3] {
    // SAFETY: promised by the caller; who rounds has seen that the instruction is there.
    unsafe {
        let [first, second] = [0, 16].map(|at| _mm512_loadu_si512(from.add(at).cast()));
        #[cfg(not(netc_unoptimized))]
        let third = {
            let third: __m512i;
            asm!(
                "vpshldd {third}, {first}, {second}, 21",
                third = lateout(zmm_reg) third,
                first = in(zmm_reg) first,
                second = in(zmm_reg) second,
                options(pure, nomem, nostack, preserves_flags)
            );
            third
        };
        #[cfg(netc_unoptimized)]
        let third = _mm512_or_si512(_mm512_slli_epi32::<21>(first), _mm512_srli_epi32::<11>(second));
        [first, _mm512_slli_epi32::<11>(second), third].map(|x| _mm512_cvtepi32_ps(x))
    }
}
