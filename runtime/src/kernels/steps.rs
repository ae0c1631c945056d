//! Steps of the micro-kernel's K loop for x86-64, in assembly: compilers move loads ahead until the sums no longer fit the
//! registers.

/// The instructions of a step: vectors of the right operand, and for each row an element that all of them are multiplied with.
macro_rules! step {
    ([$($b:ident $at:literal)*] $([$a:ident $($c:ident $by:ident)*])*) => {
        concat!(
            $("vmovups {", stringify!($b), "}, [{right} + ", $at, "]\n",)*
            $(
                "vbroadcastss {a}, dword ptr [{", stringify!($a), "} + {offset}]\n",
                $("vfmadd231ps {", stringify!($c), "}, {a}, {", stringify!($by), "}\n",)*
            )*
            "add {offset}, {step}"
        )
    };
}

/// Four steps in rows of four vectors of 16 floats.
macro_rules! steps_of_four_vectors {
    ($sums:ident, $left:ident, $offset:ident, $step:ident, $right:ident;
        $($row:literal $a:ident $c0:ident $c1:ident $c2:ident $c3:ident)*) => {
        asm!(
            step!([b0 0 b1 64 b2 128 b3 192] $([$a $c0 b0 $c1 b1 $c2 b2 $c3 b3])*),
            step!([b0 256 b1 320 b2 384 b3 448] $([$a $c0 b0 $c1 b1 $c2 b2 $c3 b3])*),
            step!([b0 512 b1 576 b2 640 b3 704] $([$a $c0 b0 $c1 b1 $c2 b2 $c3 b3])*),
            step!([b0 768 b1 832 b2 896 b3 960] $([$a $c0 b0 $c1 b1 $c2 b2 $c3 b3])*),
            right = in(reg) $right,
            offset = inout(reg) $offset,
            step = in(reg) $step,
            $($a = in(reg) $left[$row],)*
            $($c0 = inout(zmm_reg) $sums[$row][0],)*
            $($c1 = inout(zmm_reg) $sums[$row][1],)*
            $($c2 = inout(zmm_reg) $sums[$row][2],)*
            $($c3 = inout(zmm_reg) $sums[$row][3],)*
            a = out(zmm_reg) _,
            b0 = out(zmm_reg) _,
            b1 = out(zmm_reg) _,
            b2 = out(zmm_reg) _,
            b3 = out(zmm_reg) _,
            options(pure, readonly, nostack)
        )
    };
}

/// Four steps in rows of two vectors of 8 floats, of names for four.
macro_rules! steps_of_two_vectors {
    ($sums:ident, $left:ident, $offset:ident, $step:ident, $right:ident; $($row:literal $a:ident $c0:ident $c1:ident $c2:ident $c3:ident)*) => {
        asm!(
            step!([b0 0 b1 32] $([$a $c0 b0 $c1 b1])*),
            step!([b0 64 b1 96] $([$a $c0 b0 $c1 b1])*),
            step!([b0 128 b1 160] $([$a $c0 b0 $c1 b1])*),
            step!([b0 192 b1 224] $([$a $c0 b0 $c1 b1])*),
            right = in(reg) $right,
            offset = inout(reg) $offset,
            step = in(reg) $step,
            $($a = in(reg) $left[$row],)*
            $($c0 = inout(ymm_reg) $sums[$row][0],)*
            $($c1 = inout(ymm_reg) $sums[$row][1],)*
            a = out(ymm_reg) _,
            b0 = out(ymm_reg) _,
            b1 = out(ymm_reg) _,
            options(pure, readonly, nostack)
        )
    };
}

/// The function behind [`Simd::add_steps`](super::simd::Simd::add_steps) for an instruction set.
macro_rules! add_steps {
    ($features:literal, $vector:ty, $steps:ident) => {
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn add_steps<const R: usize, const W: usize, const CALLER: usize>(
            sums: &mut [[$vector; W]; R],
            left: &[*const f32; R],
            mut offset: isize,
            step: isize,
            right: *const f32,
        ) -> isize {
            // SAFETY: the instructions read what the caller promises.
            unsafe {
                match R {
                    4 => $steps!(sums, left, offset, step, right;
                        0 a0 c00 c01 c02 c03 1 a1 c10 c11 c12 c13 2 a2 c20 c21 c22 c23 3 a3 c30 c31 c32 c33),
                    5 => $steps!(sums, left, offset, step, right;
                        0 a0 c00 c01 c02 c03 1 a1 c10 c11 c12 c13 2 a2 c20 c21 c22 c23 3 a3 c30 c31 c32 c33
                        4 a4 c40 c41 c42 c43),
                    6 => $steps!(sums, left, offset, step, right;
                        0 a0 c00 c01 c02 c03 1 a1 c10 c11 c12 c13 2 a2 c20 c21 c22 c23 3 a3 c30 c31 c32 c33
                        4 a4 c40 c41 c42 c43 5 a5 c50 c51 c52 c53),
                    _ => unreachable!("a tile of {R} rows"),
                }
            }
            offset
        }
    };
}

pub(crate) use {add_steps, step, steps_of_four_vectors, steps_of_two_vectors};
