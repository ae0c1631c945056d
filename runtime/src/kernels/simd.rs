//! Vectors of floats as the kernels see them: one trait, implemented for each instruction set.
#![expect(unsafe_code, reason = "vector instructions")]

/// The most rows of a micro-kernel's tile on any CPU.
pub(crate) const TALLEST: usize = 16;
/// The most columns of a micro-kernel's tile on any CPU.
pub(crate) const WIDEST: usize = 64;

/// Steps of the K loop that are written out.
pub(crate) const STEPS: usize = 4;

/// The most floats of a vector on any CPU.
pub(crate) const LONGEST: usize = 16;

/// An instruction set.
///
/// # Safety
/// Implementors' `vectorize` enables the instructions that their other functions use; all others may be
/// called only from within it. Pointers must be valid for the floats they name and need no alignment.
pub(crate) unsafe trait Simd: Copy + Send + Sync + 'static {
    /// A vector register.
    type V: Copy;
    /// Floats in a vector.
    const LANES: usize;
    /// Rows of a micro-kernel's tile.
    const MR: usize;
    /// Vectors in a row of a micro-kernel's tile.
    const WIDTH: usize;
    /// Columns of a micro-kernel's tile.
    const NR: usize = Self::LANES * Self::WIDTH;

    /// Whether few shapes of tiles do: for what seldom runs.
    const COMPACT: bool = false;
    /// Whether there are thirty-two registers, and not sixteen.
    const MANY_REGISTERS: bool = false;
    /// Floats of Winograd's products that a chunk keeps in the second cache, beside what it reads.
    const PRODUCTS: usize = 56 << 10;
    /// Floats of Winograd's transformed tiles of a chunk that has its own, beside these products.
    const TRANSFORMED: usize = 72 << 10;

    /// Whether there are kernels for sums of halves: see [`strassen`](super::strassen).
    const HAS_SUMS: bool = false;

    /// Whether the micro-kernel's steps are written out: where a step's sums take little longer than its loop.
    const UNROLLS: bool = true;

    /// Runs a task compiled for this instruction set.
    unsafe fn vectorize<T: Task>(task: T);

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, x: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// `a` where it is larger, else `b`: also where one of them is no number.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// `then` where `a` equals `b`, else `otherwise`.
    unsafe fn where_equal(a: Self::V, b: Self::V, then: Self::V, otherwise: Self::V) -> Self::V;
    /// `a * b + c`, fused where the instruction set has it.
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;

    /// Adds the products of [`STEPS`] steps of the K loop to the sums of a tile of `R` rows and [`Simd::WIDTH`] vectors: of elements
    /// of each row, the first `offset` bytes from where it begins and the next `step` bytes further, and of rows of `right`.
    /// Returns the offset of the element that follows. Callers have numbers, and so each a copy of its own, which is inlined.
    #[inline(always)]
    unsafe fn add_steps<const R: usize, const W: usize, const CALLER: usize>(
        sums: &mut [[Self::V; W]; R],
        left: &[*const f32; R],
        mut offset: isize,
        step: isize,
        right: *const f32,
    ) -> isize {
        for at in 0..STEPS {
            // SAFETY: promised by the caller.
            unsafe {
                let left = |i: usize| *left[i].byte_offset(offset);
                add_step::<Self, R, W>(sums, left, right.add(at * Self::NR));
            }
            offset += step;
        }
        offset
    }

    /// The numbers of three vectors that [`fixed21`](super::fixed21) made two of, in units of 2⁻³¹ of their column's.
    #[inline(always)]
    unsafe fn widen(_: *const f32) -> [Self::V; 3] {
        unreachable!("no operand is rounded for these instructions")
    }

    /// The same address, of which the compiler knows no more how it came about: so that it keeps it in a register of its
    /// own and does not make it anew in an inner loop.
    #[inline(always)]
    fn settled(address: *const f32) -> *const f32 {
        address
    }

    /// Brings a line into the cache, from any address.
    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}
    /// As `prefetch`, of a panel that will be read next: if panels are larger than the first cache, into the second alone.
    #[inline(always)]
    unsafe fn prefetch_panel(address: *const f32) {
        // SAFETY: promised by the caller.
        unsafe { Self::prefetch(address) };
    }

    /// The sum of the lanes, by halves.
    #[inline(always)]
    unsafe fn sum(x: Self::V) -> f32 {
        let mut lanes = [0.0_f32; 16];
        // SAFETY: no vector has more than 16 lanes.
        unsafe { Self::store(lanes.as_mut_ptr(), x) };
        let mut half = Self::LANES / 2;
        while half > 0 {
            for lane in 0..half {
                lanes[lane] += lanes[lane + half];
            }
            half /= 2;
        }
        lanes[0]
    }

    /// The vector whose lanes are these of another.
    #[inline(always)]
    unsafe fn permute(x: Self::V, lanes: &[u32; LONGEST]) -> Self::V {
        let (mut from, mut to) = ([0.0_f32; LONGEST], [0.0_f32; LONGEST]);
        // SAFETY: no vector is longer.
        unsafe {
            Self::store(from.as_mut_ptr(), x);
            for (to, &lane) in to.iter_mut().zip(&lanes[..Self::LANES]) {
                *to = from[lane as usize];
            }
            Self::load(to.as_ptr())
        }
    }

    /// Loads the first `count` lanes, at most [`Simd::LANES`]; the others are zero.
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self::V {
        let mut lanes = [0.0_f32; 16];
        // SAFETY: `count` floats are valid, and no vector has more than 16 lanes.
        unsafe {
            std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count.min(Self::LANES));
            Self::load(lanes.as_ptr())
        }
    }

    /// Stores the first `count` lanes, at most [`Simd::LANES`].
    #[inline(always)]
    unsafe fn store_first(to: *mut f32, x: Self::V, count: usize) {
        let mut lanes = [0.0_f32; 16];
        // SAFETY: `count` floats are valid, and no vector has more than 16 lanes.
        unsafe {
            Self::store(lanes.as_mut_ptr(), x);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count.min(Self::LANES));
        }
    }

    /// Writes the transpose of an 8 by 8 block.
    #[inline(always)]
    unsafe fn transpose_8x8(from: *const f32, from_stride: isize, to: *mut f32, to_stride: usize) {
        for i in 0..8 {
            for j in 0..8 {
                // SAFETY: the caller's block.
                unsafe {
                    *to.add(j * to_stride + i) = *from.offset(i as isize * from_stride).add(j);
                };
            }
        }
    }
}

/// Work written over any instruction set.
pub(crate) trait Task {
    /// # Safety
    /// Called by [`Simd::vectorize`] only. Implementations are `#[inline(always)]`, so that they are compiled with
    /// its instructions.
    unsafe fn run<S: Simd>(self);
}

/// Adds the products of one step of the K loop to the sums of a tile.
///
/// # Safety
/// As for the instructions of `S`; `right` has `W` vectors.
#[expect(clippy::needless_range_loop, reason = "indices that are constants once unrolled: sums stay in registers")]
#[inline(always)]
pub(crate) unsafe fn add_step<S: Simd, const R: usize, const W: usize>(
    sums: &mut [[S::V; W]; R],
    left: impl Fn(usize) -> f32,
    right: *const f32,
) {
    // SAFETY: promised by the caller.
    unsafe {
        let b: [S::V; W] = std::array::from_fn(|j| S::load(right.add(j * S::LANES)));
        for i in 0..R {
            let a = S::splat(left(i));
            for j in 0..W {
                sums[i][j] = S::mul_add(a, b[j], sums[i][j]);
            }
        }
    }
}
