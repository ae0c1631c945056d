//! Tiles in the matrix unit's registers: products of a few tiles of either operand along the K loop.
//!
//! Registers 0 to 3 hold sums, the others parts of the operands. A product of two tiles takes 16 cycles, and adds to its sums
//! 52 cycles after it began: four sums take turns. A tile is read in 8 cycles.
#![expect(unsafe_code, reason = "instructions of the matrix unit")]

use std::arch::asm;
use std::marker::PhantomData;

use super::{COLS, DEPTH, PARTS, ROWS, TILE};

/// The unit in use on this thread: all tiles have 16 rows of 64 bytes.
pub(super) struct Unit(PhantomData<*const ()>);

impl Unit {
    /// # Safety
    /// The process may use the unit, and no other `Unit` is alive on this thread.
    pub(super) unsafe fn enter() -> Unit {
        #[repr(align(64))]
        struct Config(#[expect(dead_code, reason = "an instruction reads it")] [u8; 64]);
        static CONFIG: Config = {
            let mut bytes = [0; 64];
            // The first palette, eight tiles; the bytes of rows of each, in two bytes, and how many rows.
            bytes[0] = 1;
            let mut tile = 0;
            while tile < 8 {
                bytes[16 + 2 * tile] = 64;
                bytes[48 + tile] = 16;
                tile += 1;
            }
            Config(bytes)
        };
        // SAFETY: promised by the caller.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(readonly, nostack, preserves_flags)) };
        Unit(PhantomData)
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        // SAFETY: the unit is in use on this thread; the system need not save its registers any more.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
    }
}

/// What the products of two patches of the result have in common. A patch has 16 rows and 32 columns.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    /// The patches, and the bytes from a row of a patch to the next.
    pub(super) patches: [*mut f32; 2],
    pub(super) stride: usize,
    /// Tiles along the K loop, at least one.
    pub(super) tiles: usize,
    /// Whether to add to the patches instead of setting them.
    pub(super) accumulate: bool,
}

const LEFT_BYTES: usize = PARTS * TILE * 4;
const RIGHT_BYTES: usize = 2 * LEFT_BYTES;
const _: () = assert!(ROWS == 16 && COLS == 32 && PARTS == 3 && TILE == 256);

/// Loads the sums, or sets them to zero.
macro_rules! begin {
    () => {
        "test {accumulate:e}, {accumulate:e}
         jnz 2f
         tilezero tmm0
         tilezero tmm1
         tilezero tmm2
         tilezero tmm3
         jmp 3f
         2:
         tileloadd tmm0, [{c0} + {stride}]
         tileloadd tmm1, [{c0} + {stride} + 64]
         tileloadd tmm2, [{c1} + {stride}]
         tileloadd tmm3, [{c1} + {stride} + 64]
         3:"
    };
}

/// Stores the sums.
macro_rules! end {
    () => {
        "tilestored [{c0} + {stride}], tmm0
         tilestored [{c0} + {stride} + 64], tmm1
         tilestored [{c1} + {stride}], tmm2
         tilestored [{c1} + {stride} + 64], tmm3"
    };
}

/// Fetches a sixth of a right operand's next tiles along the K loop.
macro_rules! fetch {
    ($b:literal, $at:literal) => {
        concat!(fetch!(line $b, $at, 0), fetch!(line $b, $at, 1), fetch!(line $b, $at, 2), fetch!(line $b, $at, 3))
    };
    (line $b:literal, $at:literal, $four:literal) => {
        concat!(
            "prefetcht0 [{", $b, "} + 6144 + 1024 * ", $at, " + 256 * ", $four, "]\n",
            "prefetcht0 [{", $b, "} + 6144 + 1024 * ", $at, " + 256 * ", $four, " + 64]\n",
            "prefetcht0 [{", $b, "} + 6144 + 1024 * ", $at, " + 256 * ", $four, " + 128]\n",
            "prefetcht0 [{", $b, "} + 6144 + 1024 * ", $at, " + 256 * ", $four, " + 192]\n",
        )
    };
}

/// Registers 4 and 5: a part of two tiles of rows.
macro_rules! rows {
    ($part:literal) => {
        concat!(
            "tileloadd tmm4, [{a0} + {line} + 1024 * ",
            $part,
            "]\n",
            "tileloadd tmm5, [{a1} + {line} + 1024 * ",
            $part,
            "]",
        )
    };
}

/// Registers 6 and 7: a part of two tiles of columns.
macro_rules! columns {
    ($part:literal) => {
        concat!(
            "tileloadd tmm6, [{b} + {line} + 2048 * ",
            $part,
            "]\n",
            "tileloadd tmm7, [{b} + {line} + 2048 * ",
            $part,
            " + 1024]",
        )
    };
}

/// Products of what registers 4 to 7 hold.
macro_rules! products {
    () => {
        "tdpbf16ps tmm0, tmm4, tmm6
         tdpbf16ps tmm1, tmm4, tmm7
         tdpbf16ps tmm2, tmm5, tmm6
         tdpbf16ps tmm3, tmm5, tmm7"
    };
}

/// Two patches below each other: two tiles of rows, one panel.
///
/// # Safety
/// The unit is in use; operands and patches are there.
#[inline(always)]
pub(super) unsafe fn below([a0, a1]: [*const f32; 2], b: *const f32, sums: Sums) {
    let Sums { patches: [c0, c1], stride, tiles, accumulate } = sums;
    // SAFETY: promised by the caller.
    unsafe {
        asm!(
            begin!(),
            "4:",
            rows!(0), columns!(2), products!(), fetch!("b", 0),
            columns!(1), products!(), fetch!("b", 1),
            rows!(1), products!(), fetch!("b", 2),
            columns!(0), products!(), fetch!("b", 3),
            rows!(2), products!(), fetch!("b", 4),
            rows!(0), products!(), fetch!("b", 5),
            "add {a0}, {left_bytes}",
            "add {a1}, {left_bytes}",
            "add {b}, {right_bytes}",
            "dec {tiles}",
            "jnz 4b",
            end!(),
            a0 = inout(reg) a0 => _,
            a1 = inout(reg) a1 => _,
            b = inout(reg) b => _,
            c0 = in(reg) c0,
            c1 = in(reg) c1,
            stride = in(reg) stride,
            line = in(reg) 64_usize,
            tiles = inout(reg) tiles => _,
            accumulate = in(reg) u32::from(accumulate),
            left_bytes = const LEFT_BYTES,
            right_bytes = const RIGHT_BYTES,
            options(nostack),
        );
    }
}

/// A part of one tile of rows, by a part of four tiles of columns.
macro_rules! four {
    ($left:literal, $right:literal) => {
        concat!(
            "tileloadd tmm4, [{a} + {line} + 1024 * ",
            $left,
            "]\n",
            "tileloadd tmm5, [{b0} + {line} + 2048 * ",
            $right,
            "]\n",
            "tileloadd tmm6, [{b0} + {line} + 2048 * ",
            $right,
            " + 1024]\n",
            "tileloadd tmm7, [{b1} + {line} + 2048 * ",
            $right,
            "]\n",
            "tdpbf16ps tmm0, tmm4, tmm5\n",
            "tileloadd tmm5, [{b1} + {line} + 2048 * ",
            $right,
            " + 1024]\n",
            "tdpbf16ps tmm1, tmm4, tmm6\n",
            "tdpbf16ps tmm2, tmm4, tmm7\n",
            "tdpbf16ps tmm3, tmm4, tmm5",
        )
    };
}

/// Two patches beside each other: one tile of rows, two panels.
///
/// # Safety
/// As for [`below`].
#[inline(always)]
pub(super) unsafe fn beside(a: *const f32, [b0, b1]: [*const f32; 2], sums: Sums) {
    let Sums { patches: [c0, c1], stride, tiles, accumulate } = sums;
    // SAFETY: promised by the caller.
    unsafe {
        asm!(
            begin!(),
            "4:",
            four!(0, 2), fetch!("b0", 0), fetch!("b1", 0),
            four!(0, 1), fetch!("b0", 1), fetch!("b1", 1),
            four!(1, 1), fetch!("b0", 2), fetch!("b1", 2),
            four!(1, 0), fetch!("b0", 3), fetch!("b1", 3),
            four!(2, 0), fetch!("b0", 4), fetch!("b1", 4),
            four!(0, 0), fetch!("b0", 5), fetch!("b1", 5),
            "add {a}, {left_bytes}",
            "add {b0}, {right_bytes}",
            "add {b1}, {right_bytes}",
            "dec {tiles}",
            "jnz 4b",
            end!(),
            a = inout(reg) a => _,
            b0 = inout(reg) b0 => _,
            b1 = inout(reg) b1 => _,
            c0 = in(reg) c0,
            c1 = in(reg) c1,
            stride = in(reg) stride,
            line = in(reg) 64_usize,
            tiles = inout(reg) tiles => _,
            accumulate = in(reg) u32::from(accumulate),
            left_bytes = const LEFT_BYTES,
            right_bytes = const RIGHT_BYTES,
            options(nostack),
        );
    }
}

/// Multiplies tiles in registers, all parts of four tiles in each of `rounds`; says how many multiplications and additions of
/// `f32` these are.
///
/// # Safety
/// The process may use the unit, and does not on this thread.
pub(in super::super) unsafe fn multiply_adds(rounds: usize) -> usize {
    // As operands are, of all kinds: a unit that multiplies zeros is faster.
    let numbers: [u16; 2 * TILE] = std::array::from_fn(|at| (0x3f80 + at as u16 % 128) ^ ((at as u16 % 2) << 15));
    // SAFETY: promised by the caller; tiles are read from an array of their size.
    unsafe {
        let _unit = Unit::enter();
        asm!(
            "tileloadd tmm4, [{from} + {line}]
             tileloadd tmm5, [{from} + {line}]
             tileloadd tmm6, [{from} + {line}]
             tileloadd tmm7, [{from} + {line}]
             tilezero tmm0
             tilezero tmm1
             tilezero tmm2
             tilezero tmm3
             4:",
            products!(), products!(), products!(), products!(), products!(), products!(),
            "dec {rounds}",
            "jnz 4b",
            from = in(reg) numbers.as_ptr(),
            line = in(reg) 64_usize,
            rounds = inout(reg) rounds.max(1) => _,
            options(nostack, readonly),
        );
    }
    4 * 2 * ROWS * (COLS / 2) * DEPTH * rounds.max(1)
}
