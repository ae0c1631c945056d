//! Tiles of a correlation: four of neighbors on its grid by one of weights, which are split on the way.
//!
//! Weights are split while the unit multiplies those before: as they are they take two thirds of the memory that their parts
//! would, and reading them is what small maps wait for. Where there are more neighbors than in four tiles, parts are kept.
#![expect(unsafe_code, reason = "instructions of the matrix unit")]

use std::arch::asm;
use std::arch::x86_64::*;

use super::{DEPTH, PARTS, ROWS, TILE};

/// Tiles of neighbors that are multiplied with the same weights.
pub(super) const TILES: usize = 4;
/// Floats of a pair of rows of a tile of weights that is not split.
pub(super) const PAIR: usize = 32;
/// Floats of such a tile.
pub(super) const WEIGHTS: usize = 2 * TILE;
const _: () = assert!(ROWS == 16 && DEPTH == 32 && PARTS == 3 && TILE == 256);

/// What a correlation reads for tiles of neighbors on its grid.
#[derive(Clone, Copy)]
pub(super) struct Window<'a> {
    /// The first part of the first neighbor, where taps have the offset 0; floats from a part to the next.
    pub(super) from: *const f32,
    pub(super) apart: usize,
    /// Where each tap reads, in floats.
    pub(super) taps: &'a [usize],
    /// Tiles of channels, and floats from one to the next.
    pub(super) tiles: usize,
    pub(super) next: usize,
}

/// Sums of one column's tile, `[pixel][column]`.
#[repr(align(64))]
pub(super) struct Sums(pub(super) [[f32; 16]; TILES * ROWS]);

/// The weights of a panel, a tile for each of 32 channels and each tap: `[pair of a tile][tile][row of a pair][column]`. So tiles
/// are read from sixteen places, and the processor fetches from each of them some tiles ahead, by itself.
#[derive(Clone, Copy)]
pub(super) struct Weights {
    pub(super) whole: *const f32,
    /// Memory for their parts, as [`Weights::parts_len`] says.
    pub(super) parts: *mut f32,
    /// Whether there is memory for all parts, so that others can read them, or for those of two tiles.
    pub(super) keeps: bool,
    /// Whether the parts are there.
    pub(super) are_split: bool,
}

impl Weights {
    /// Floats that parts of so many tiles take.
    pub(super) fn parts_len(tiles: usize, keeps: bool) -> usize {
        PARTS * TILE * if keeps { tiles } else { 2 }
    }

    /// The parts of a tile.
    fn parts(&self, tile: usize) -> *mut f32 {
        self.parts.wrapping_add(PARTS * TILE * if self.keeps { tile } else { tile % 2 })
    }
}

/// Products with the weights of a panel.
///
/// # Safety
/// The unit is in use on this thread; operands are there.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn sums(window: Window<'_>, weights: Weights, sums: &mut Sums) {
    // SAFETY: promised by the caller.
    unsafe {
        if weights.are_split {
            multiply::<false>(window, weights, sums);
        } else {
            multiply::<true>(window, weights, sums);
        }
    }
}

/// [`sums`], which splits each tile of weights while the one before is multiplied, if they are not.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn multiply<const SPLITS: bool>(window: Window<'_>, weights: Weights, sums: &mut Sums) {
    let Window { from, apart, taps, tiles, next } = window;
    let count = tiles * taps.len();
    let mut at = 0;
    // SAFETY: promised by the caller; between the instructions of the unit nobody else uses its registers.
    unsafe {
        if SPLITS && count > 0 {
            (0..16).for_each(|pair| split(weights.whole.wrapping_add(pair * count * PAIR), pair, weights.parts(0)));
        }
        asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nomem, nostack));
        for tile in 0..tiles {
            for &tap in taps {
                let a = from.wrapping_add(tile * next + tap);
                let [a1, a2] = [a.wrapping_add(apart), a.wrapping_add(2 * apart)];
                let now = weights.parts(at);
                at += 1;
                // After the last tile no other is split.
                let pairs = if SPLITS && at < count { 16 } else { 0 };
                let whole = weights.whole.wrapping_add(at * PAIR);
                let later = weights.parts(at);
                asm!(
                    "tileloadd tmm5, [{b} + {line}]",
                    "tileloadd tmm6, [{b} + {line} + 1024]",
                    "tileloadd tmm7, [{b} + {line} + 2048]",
                    b = in(reg) now,
                    line = in(reg) 64_usize,
                    options(nostack, readonly),
                );
                // A part of a tile of neighbors, by parts of weights; and pairs of weights that are split meanwhile.
                macro_rules! step {
                    ($a:expr, $row:literal, [$($right:literal)*], $first:literal, $end:literal) => {
                        asm!(
                            concat!("tileloadd tmm4, [{a} + {line} + 1024 * ", $row, "]"),
                            $(concat!("tdpbf16ps tmm", $row, ", tmm4, tmm", $right),)*
                            a = in(reg) $a,
                            line = in(reg) 64_usize,
                            options(nostack, readonly),
                        );
                        if pairs > 0 {
                            ($first..$end).for_each(|pair| split(whole.wrapping_add(pair * count * PAIR), pair, later));
                        }
                    };
                }
                step!(a2, 0, [5], 0, 1);
                step!(a2, 1, [5], 1, 2);
                step!(a2, 2, [5], 2, 3);
                step!(a2, 3, [5], 3, 4);
                step!(a1, 0, [6 5], 4, 5);
                step!(a1, 1, [6 5], 5, 6);
                step!(a1, 2, [6 5], 6, 7);
                step!(a1, 3, [6 5], 7, 8);
                step!(a, 0, [7 6 5], 8, 10);
                step!(a, 1, [7 6 5], 10, 12);
                step!(a, 2, [7 6 5], 12, 14);
                step!(a, 3, [7 6 5], 14, 16);
            }
        }
        asm!(
            "tilestored [{c} + {line}], tmm0",
            "tilestored [{c} + {line} + 1024], tmm1",
            "tilestored [{c} + {line} + 2048], tmm2",
            "tilestored [{c} + {line} + 3072], tmm3",
            c = in(reg) sums.0.as_mut_ptr(),
            line = in(reg) 64_usize,
            options(nostack),
        );
    }
}

/// Splits a pair of rows of weights, pair `pair` of its tile; in a part, the second row is the upper half of each float.
///
/// # Safety
/// The weights are there, and room for their parts.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn split(from: *const f32, pair: usize, to: *mut f32) {
    let upper = _mm512_set1_epi32(!0xffff);
    // SAFETY: promised by the caller.
    unsafe {
        let mut rows = [0, 1].map(|row| _mm512_loadu_ps(from.wrapping_add(row * 16)));
        for part in 0..PARTS {
            // To the nearest number of 8 bits; what is left after two parts has no more.
            let parts = rows.map(|row| {
                let bits = _mm512_castps_si512(row);
                if part + 1 < PARTS { _mm512_add_epi32(bits, _mm512_set1_epi32(0x8000)) } else { bits }
            });
            let both = _mm512_ternarylogic_epi32::<0xca>(upper, parts[1], _mm512_srli_epi32::<16>(parts[0]));
            _mm512_store_si512(to.wrapping_add(part * TILE + pair * 16).cast(), both);
            for (row, part) in rows.iter_mut().zip(parts) {
                *row = _mm512_sub_ps(*row, _mm512_castsi512_ps(_mm512_and_si512(part, upper)));
            }
        }
    }
}
