//! Numbers in three parts of 8 significant bits, and matrices of them as tiles.
//!
//! A tile holds pairs of neighbors along the K loop: of a left operand `[row][pair]`, of a right one `[pair][column]`, 16 by
//! 16 in either case. One after the other lie the three parts of the same numbers.
#![expect(unsafe_code, reason = "vector instructions on raw matrices")]

use std::arch::x86_64::*;

use super::{DEPTH, PARTS, ROWS, TILE};

/// Floats of a vector.
const LANES: usize = 16;

/// Splits pairs of numbers, first ones and second ones; each pair of parts takes the place of a float.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn pairs(mut first: __m512, mut second: __m512) -> [__m512i; PARTS] {
    // Words 0 and 16, 1 and 17, …
    const ORDER: [i16; 32] = {
        let mut order = [0; 32];
        let mut at = 0;
        while at < 32 {
            order[at] = (at / 2 + at % 2 * 16) as i16;
            at += 1;
        }
        order
    };
    // SAFETY: an array of 32 words.
    let order = unsafe { _mm512_loadu_si512(ORDER.as_ptr().cast()) };
    let mut parts = [_mm512_setzero_si512(); PARTS];
    for part in &mut parts {
        // SAFETY: both types are 64 bytes.
        let rounded: __m512i = unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(second, first)) };
        *part = _mm512_permutexvar_epi16(order, rounded);
        let [x, y] = numbers(*part);
        (first, second) = (_mm512_sub_ps(first, x), _mm512_sub_ps(second, y));
    }
    parts
}

/// The numbers of pairs, first ones and second ones.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn numbers(pairs: __m512i) -> [__m512; 2] {
    let second = _mm512_and_si512(pairs, _mm512_set1_epi32(!0xffff));
    [_mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs)), _mm512_castsi512_ps(second)]
}

/// The lanes before `count`, which may be negative or beyond the last.
fn first(count: isize) -> __mmask16 {
    ((1_u32 << count.clamp(0, LANES as isize)) - 1) as __mmask16
}

/// Copies 16 numbers that are `stride` floats apart, less than 2²⁷, of which `count` are there; what is missing is zero.
///
/// # Safety
/// The numbers are there, and room for 16.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn gather(from: *const f32, stride: usize, count: usize, to: *mut f32) {
    let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let offsets = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(stride as i32));
    let mask = first(count as isize);
    // SAFETY: promised by the caller; the mask keeps to the numbers.
    unsafe {
        let numbers = _mm512_mask_i32gather_ps::<4>(_mm512_setzero_ps(), mask, offsets, from);
        _mm512_storeu_ps(to, numbers);
    }
}

/// The largest magnitudes of 16 rows or columns, as bits.
pub(super) type Largest = [u32; ROWS];

/// Packs up to 32 steps of 16 columns of a right operand, of which there are `cols`, as a tile of each part, `apart` floats from
/// each other. What is missing is zero.
///
/// # Safety
/// The operand is valid for the sizes, and there is room for the tiles.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn columns(
    from: *const f32,
    [row_stride, col_stride]: [isize; 2],
    [steps, cols]: [usize; 2],
    to: *mut f32,
    apart: usize,
) -> Largest {
    let mut magnitudes = [0; ROWS];
    // SAFETY: promised by the caller; masks and conditions keep to the operand.
    unsafe {
        if row_stride == 1 && col_stride != 1 {
            let masks = [first(steps as isize), first(steps as isize - LANES as isize)];
            for (col, magnitude) in magnitudes.iter_mut().enumerate() {
                let from = from.wrapping_offset(col as isize * col_stride);
                let row = load_row(from, if col < cols { masks } else { [0; 2] });
                let largest = larger(larger(_mm512_setzero_si512(), row[0]), row[1]);
                *magnitude = _mm512_reduce_max_epu32(largest);
                store(along(row), to.wrapping_add(col * LANES), apart);
            }
            (0..PARTS).for_each(|part| transpose(to.wrapping_add(part * apart)));
        } else {
            let mut largest = _mm512_setzero_si512();
            pairs_of_rows(from, [row_stride, col_stride], [steps, cols], to, apart, &mut largest);
            _mm512_storeu_si512(magnitudes.as_mut_ptr().cast(), largest);
        }
    }
    magnitudes
}

/// Notes what is larger.
pub(super) fn note(largest: &mut Largest, other: Largest) {
    largest.iter_mut().zip(other).for_each(|(largest, other)| *largest = other.max(*largest));
}

/// Packs a tile of pairs of rows of a right operand, of which `steps` and `cols` are there, and keeps the largest ones of its
/// columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn pairs_of_rows(
    from: *const f32,
    [row_stride, col_stride]: [isize; 2],
    [steps, cols]: [usize; 2],
    to: *mut f32,
    part: usize,
    largest: &mut __m512i,
) {
    for pair in 0..DEPTH / 2 {
        // SAFETY: promised by the caller; masks and conditions keep to the operand.
        unsafe {
            let row = |step: usize| {
                let from = from.wrapping_offset(step as isize * row_stride);
                let there = if step < steps { cols } else { 0 };
                if col_stride == 1 {
                    return _mm512_maskz_loadu_ps(first(there as isize), from);
                }
                let mut row = [0.0; LANES];
                for (col, x) in row[..there].iter_mut().enumerate() {
                    *x = *from.wrapping_offset(col as isize * col_stride);
                }
                _mm512_loadu_ps(row.as_ptr())
            };
            let both = [row(2 * pair), row(2 * pair + 1)];
            *largest = larger(larger(*largest, both[0]), both[1]);
            store(pairs(both[0], both[1]), to.wrapping_add(pair * LANES), part);
        }
    }
}

/// Packs up to 32 steps of 16 adjacent rows of a left operand, of which there are `rows`, as [`columns`] does.
///
/// # Safety
/// As for [`columns`].
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn adjacent_rows(
    from: *const f32,
    stride: isize,
    [steps, rows]: [usize; 2],
    to: *mut f32,
) -> Largest {
    let mut largest = _mm512_setzero_si512();
    // SAFETY: promised by the caller: this is a tile of columns, but for the order within.
    unsafe {
        pairs_of_rows(from, [stride, 1], [steps, rows], to, TILE, &mut largest);
        (0..PARTS).for_each(|part| transpose(to.wrapping_add(part * TILE)));
        let mut bits = [0; ROWS];
        _mm512_storeu_si512(bits.as_mut_ptr().cast(), largest);
        bits
    }
}

/// The larger ones of magnitudes, as bits, and of those of a vector.
#[inline]
#[target_feature(enable = "avx512f")]
fn larger(largest: __m512i, x: __m512) -> __m512i {
    _mm512_max_epu32(largest, _mm512_castps_si512(_mm512_abs_ps(x)))
}

/// Splits one number, the first or second (`at`) of a pair, `part` floats from a part to the next.
///
/// # Safety
/// The pair's parts are there.
pub(super) unsafe fn number(mut x: f32, pair: *mut f32, at: usize, part: usize) {
    for index in 0..PARTS {
        // To the nearest, of two equally near ones to the even one, as the instruction does; what is no number stays none.
        let bits = x.to_bits();
        let rounded = if x.is_nan() { bits | 0x40_0000 } else { bits.wrapping_add(0x7fff + (bits >> 16 & 1)) };
        // SAFETY: promised by the caller.
        unsafe { pair.wrapping_add(index * part).cast::<u16>().wrapping_add(at).write((rounded >> 16) as u16) };
        x -= f32::from_bits(rounded & !0xffff);
    }
}

/// Two vectors of a row.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load_row(from: *const f32, masks: [__mmask16; 2]) -> [__m512; 2] {
    // SAFETY: promised by the caller.
    unsafe { [_mm512_maskz_loadu_ps(masks[0], from), _mm512_maskz_loadu_ps(masks[1], from.wrapping_add(LANES))] }
}

/// Splits 32 neighbors, whose pairs follow one another.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn along([mut low, mut high]: [__m512; 2]) -> [__m512i; PARTS] {
    let mut parts = [_mm512_setzero_si512(); PARTS];
    for part in &mut parts {
        // SAFETY: both types are 64 bytes.
        *part = unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) };
        let number = |half: __m256i| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(half)));
        low = _mm512_sub_ps(low, number(_mm512_castsi512_si256(*part)));
        high = _mm512_sub_ps(high, number(_mm512_extracti64x4_epi64::<1>(*part)));
    }
    parts
}

#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store(parts: [__m512i; PARTS], to: *mut f32, apart: usize) {
    for (at, part) in parts.into_iter().enumerate() {
        // SAFETY: promised by the caller.
        unsafe { _mm512_storeu_si512(to.wrapping_add(at * apart).cast(), part) };
    }
}

/// Floats from a row of a tile to the same of the next tile along the K loop, and from a part to the next, where parts of a tile
/// lie one after the other.
pub(super) const TOGETHER: [usize; 2] = [PARTS * TILE, TILE];

/// Packs a row of a left operand, `k` floats from `from` on, as a row of tiles, which are `apart` from each other; whether it is
/// one for the vector units, whose row in the tiles is zero then.
///
/// # Safety
/// As for [`columns`].
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn row(from: *const f32, k: usize, to: *mut f32, apart: [usize; 2]) -> bool {
    // SAFETY: promised by the caller; masks keep to the row.
    unsafe {
        let mut largest = _mm512_setzero_si512();
        for (tile, step) in (0..k).step_by(DEPTH).enumerate() {
            let left = (k - step) as isize;
            let row = load_row(from.wrapping_add(step), [first(left), first(left - LANES as isize)]);
            largest = larger(larger(largest, row[0]), row[1]);
            store(along(row), to.wrapping_add(tile * apart[0]), apart[1]);
        }
        let is_odd = is_odd(_mm512_reduce_max_epu32(largest));
        if is_odd {
            no_row(k, to, apart);
        }
        is_odd
    }
}

/// Packs a row of zeros.
///
/// # Safety
/// As for [`columns`].
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn no_row(k: usize, to: *mut f32, apart: [usize; 2]) {
    for tile in 0..k.div_ceil(DEPTH) {
        // SAFETY: promised by the caller.
        unsafe { store([_mm512_setzero_si512(); PARTS], to.wrapping_add(tile * apart[0]), apart[1]) };
    }
}

/// Larger numbers could be rounded to infinite ones.
const LARGE: f32 = 1.7e38;
/// Where the largest is smaller, what the unit takes for zero would be missed.
const SMALL: f32 = 1e-24;

/// Whether numbers, of which the largest has these bits but for the sign, are for the vector units.
pub(super) fn is_odd(largest: u32) -> bool {
    largest >= LARGE.to_bits() || (largest > 0 && largest < SMALL.to_bits())
}

/// Transposes a tile of pairs.
///
/// # Safety
/// A tile begins there.
#[target_feature(enable = "avx512f")]
unsafe fn transpose(tile: *mut f32) {
    // SAFETY: promised by the caller.
    unsafe {
        let mut rows: [__m512i; ROWS] =
            std::array::from_fn(|row| _mm512_loadu_si512(tile.wrapping_add(row * LANES).cast()));
        // Quarters of four rows are transposed, then the quarters change places.
        for four in rows.as_chunks_mut::<4>().0 {
            let [a, b, c, d] = *four;
            let [ab, cd] = [_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d)];
            let [ab_high, cd_high] = [_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d)];
            *four = [
                _mm512_unpacklo_epi64(ab, cd),
                _mm512_unpackhi_epi64(ab, cd),
                _mm512_unpacklo_epi64(ab_high, cd_high),
                _mm512_unpackhi_epi64(ab_high, cd_high),
            ];
        }
        for at in 0..4 {
            let [a, b, c, d] = std::array::from_fn(|four| rows[4 * four + at]);
            let [ab, cd] = [_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0x88>(c, d)];
            let [ab_odd, cd_odd] = [_mm512_shuffle_i32x4::<0xdd>(a, b), _mm512_shuffle_i32x4::<0xdd>(c, d)];
            for (quarter, row) in [
                _mm512_shuffle_i32x4::<0x88>(ab, cd),
                _mm512_shuffle_i32x4::<0x88>(ab_odd, cd_odd),
                _mm512_shuffle_i32x4::<0xdd>(ab, cd),
                _mm512_shuffle_i32x4::<0xdd>(ab_odd, cd_odd),
            ]
            .into_iter()
            .enumerate()
            {
                _mm512_storeu_si512(tile.wrapping_add((4 * quarter + at) * LANES).cast(), row);
            }
        }
    }
}
