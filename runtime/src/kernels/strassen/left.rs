//! Sums of the halves of a left operand's rows.
#![expect(unsafe_code, reason = "raw matrices")]

use super::super::packed::{LINES, Layout, Packed};
use super::super::simd::{LONGEST, Simd};
use super::chains::{CHAINS, Chain, LATER, PRODUCTS, Products, SIDES};
use super::right::Sums;
use super::{COLS, Pairs, SUMS, halves};

/// The squares of two rows of a pair differ by this factor at most, as their columns' do, and lie between these.
const RATIO: f32 = 65536.0;
const SQUARES: [f32; 2] = [1e-30, 1e30];
/// Floats between sums of rows, beside their own: lines of the first cache of which they would else share a few.
const APART: usize = LONGEST;

/// The most pairs of a chunk's rows.
const PAIRS: usize = LINES / 2;
/// A pointer for each pair.
type Table<T> = [T; PAIRS];

/// The pairs of a chunk's rows, with a block of the K loop.
pub(in super::super) struct Left<'a> {
    /// The product that goes before, and the product itself.
    sides: [Side<'a>; SIDES],
    pub(super) first_side: usize,
    pairs: Pairs,
    /// From a pair's sums to the next's.
    stride: usize,
    /// The even and the odd rows of the result.
    pub(super) results: [Table<*mut f32>; 2],
    /// Pairs of rows.
    pub(super) rows: usize,
}

/// A product of the two that may be computed at once.
struct Side<'a> {
    all: &'a Packed<'a>,
    sums: Sums,
    layout: Layout,
    block: usize,
    /// The even and the odd rows.
    rows: [Table<*const f32>; 2],
    /// The sums of the first pair.
    scratch: *const f32,
}

/// What a product of halves multiplies.
enum Factor {
    /// A half of the even row or of the odd one, as it is: `A` of these numbers, less one.
    Half([usize; 2]),
    /// The sum of this number, less one.
    Sum(usize),
}

/// Of each product, in the order of [`CHAINS`].
const FACTORS: [Factor; PRODUCTS] = {
    use Factor::{Half, Sum};
    [Half([0, 0]), Sum(1), Sum(0), Half([0, 1]), Sum(3), Sum(2), Half([1, 1])]
};

/// How many floats [`Left`] takes for so many rows and steps, of both products if there are two.
pub(in super::super) fn left_len(rows: usize, steps: usize) -> usize {
    rows / 2 * SUMS * (steps / 2 + SIDES * APART)
}

impl<'a> Left<'a> {
    /// No pairs of rows.
    #[inline(always)]
    pub(in super::super) fn new(all: &'a Packed<'a>, sums: Sums, layout: Layout, block: usize) -> Left<'a> {
        let side = |all: &'a Packed<'a>, sums: Sums, layout: Layout| Side {
            all,
            sums,
            layout,
            block,
            rows: [[std::ptr::null(); PAIRS]; 2],
            scratch: std::ptr::null(),
        };
        let own = side(all, sums, layout);
        let before = all.before.and_then(|before| Some(side(before, before.sums?, layout.of_steps(before.g.b.rows))));
        let first_side = usize::from(before.is_none());
        let sides = [before.unwrap_or_else(|| side(all, sums, layout)), own];
        let pairs = Pairs::new(layout.run, layout.groups);
        let stride = sides[first_side..].iter().map(Side::len).sum();
        Left { sides, first_side, pairs, stride, results: [[std::ptr::null_mut(); PAIRS]; 2], rows: 0 }
    }

    /// Adds up the halves of rows where nothing is lost by it; the others, which have no pair, are said one by one.
    ///
    /// # Safety
    /// The product's pointers are valid for its sizes, elements of rows of the left operand are adjacent, and `scratch` has room for
    /// [`left_len`] floats; called with the instructions of `S` enabled.
    #[inline(always)]
    pub(in super::super) unsafe fn add_up<S: Simd>(
        &mut self,
        [first_row, last_row]: [usize; 2],
        scratch: *mut f32,
        mut other: impl FnMut(usize),
    ) {
        let mut to = scratch;
        for side in &mut self.sides[self.first_side..] {
            side.scratch = to;
            to = to.wrapping_add(side.len());
        }
        for row in (first_row..last_row).step_by(2) {
            let (pair, stride) = (self.rows, self.stride);
            let are_paired = row + 2 <= last_row
                && self.sides[self.first_side..].iter_mut().all(|side| {
                    // SAFETY: promised by the caller.
                    unsafe { side.add_rows::<S>(row, pair, stride) }
                });
            if !are_paired {
                (row..last_row.min(row + 2)).for_each(&mut other);
                continue;
            }
            let g = &self.sides[SIDES - 1].all.g;
            for (half, table) in self.results.iter_mut().enumerate() {
                table[pair] = g.c.wrapping_offset((row + half) as isize * g.c_rs);
            }
            self.rows += 1;
        }
    }

    /// Multiplies with the pairs in panels `first..last` of all runs; returns the first panel that has none. Where the pairs of
    /// `next` are multiplied with later, they are fetched.
    ///
    /// # Safety
    /// As for [`Left::add_up`].
    #[inline(always)]
    pub(in super::super) unsafe fn multiply<S: Simd>(&self, panels: [usize; 2], next: usize) -> usize {
        let ([first, last], until) = self.pairs.within(panels);
        let ([next, _], _) = self.pairs.within([next, next]);
        for pair in first..last {
            let next = if pair + 1 < last { pair + 1 } else { next.min(self.pairs.count - 1) };
            let products = self.products::<S>(pair, next);
            for links in CHAINS {
                // SAFETY: promised by the caller.
                unsafe { S::vectorize(Chain { products: &products, links }) };
            }
        }
        until
    }

    /// The products of a pair of panels, after which those of `next` are computed.
    fn products<S: Simd>(&self, pair: usize, next: usize) -> Products<'_> {
        let own = &self.sides[SIDES - 1];
        let columns = self.pairs.panels(pair).map(|[group, panel]| group * own.layout.run + panel * COLS);
        let adds = self.sides[self.first_side].all.g.accumulate || own.block > 0;
        let mut right = [[std::ptr::null(); PRODUCTS + LATER]; SIDES];
        for (right, side) in right.iter_mut().zip(&self.sides).skip(self.first_side) {
            right[..PRODUCTS].copy_from_slice(&side.right::<S>(&self.pairs, pair));
            right[PRODUCTS..].copy_from_slice(&side.right::<S>(&self.pairs, next)[..LATER]);
        }
        Products { left: self, right, len: self.sides.each_ref().map(Side::half), columns, adds }
    }
    /// The factors of a product of halves, of `R` pairs from `pair` on.
    #[inline(always)]
    pub(super) unsafe fn factors<const R: usize>(&self, side: usize, product: usize, pair: usize) -> [*const f32; R] {
        let side = &self.sides[side];
        match FACTORS[product] {
            Factor::Half([row, half]) => {
                let (rows, half) = (side.rows[row].as_ptr().wrapping_add(pair), half * side.half());
                // SAFETY: promised by the caller: there are so many pairs.
                std::array::from_fn(|i| unsafe { (*rows.add(i)).wrapping_add(half) })
            }
            Factor::Sum(number) => {
                let first = side.sum(number).wrapping_add(pair * self.stride);
                std::array::from_fn(|i| first.wrapping_add(i * self.stride))
            }
        }
    }
}

impl Side<'_> {
    /// Steps of half a block.
    fn half(&self) -> usize {
        halves(&self.layout, self.block)
    }
    /// The right operands of a pair's products, in the order of [`CHAINS`].
    fn right<S: Simd>(&self, pairs: &Pairs, pair: usize) -> [*const f32; PRODUCTS] {
        let half = self.half() * COLS;
        let [b11, b12] = pairs
            .panels(pair)
            .map(|[group, panel]| self.all.packed.wrapping_add(self.layout.at::<S>(self.block, group, panel)));
        let [t2, t1, t3, t4] = self.sums.of_pair(&self.layout, pairs, self.block, pair);
        [b11, t2, t1, b11.wrapping_add(half), b12.wrapping_add(half), t3, t4]
    }
    /// Floats that the sums of a pair take.
    fn len(&self) -> usize {
        SUMS * (self.half() + APART)
    }
    /// A sum of the first pair.
    fn sum(&self, number: usize) -> *const f32 {
        self.scratch.wrapping_add(number * (self.half() + APART))
    }
    /// Adds up the halves of a row and the next, which are this pair; whether nothing is lost by it.
    #[inline(always)]
    unsafe fn add_rows<S: Simd>(&mut self, row: usize, pair: usize, stride: usize) -> bool {
        let (half, step) = (self.half(), self.layout.steps(self.block)[0]);
        let rows = [row, row + 1].map(|row| self.all.left(row, step));
        for (table, row) in self.rows.iter_mut().zip(rows) {
            table[pair] = row;
        }
        // SAFETY: promised by the caller.
        unsafe {
            let are_near = add_rows::<S>(rows, half, self.scratch.wrapping_add(pair * stride).cast_mut());
            are_near || rows.into_iter().all(|row| (0..2 * half).all(|at| *row.add(at) == 0.0))
        }
    }
}

/// Adds up the halves of two rows; whether they are of about one size. The sums of others mean nothing. What lies behind the rows
/// is fetched: often it is the next step's.
#[inline(always)]
unsafe fn add_rows<S: Simd>(rows: [*const f32; 2], half: usize, to: *mut f32) -> bool {
    let whole = half - half % S::LANES;
    // SAFETY: promised by the caller.
    unsafe {
        let mut squares = [S::splat(0.0); 2];
        for at in (0..whole).step_by(S::LANES) {
            for row in rows {
                S::prefetch_panel(row.wrapping_add(2 * half + at));
                S::prefetch_panel(row.wrapping_add(3 * half + at));
            }
            add_vectors::<S>(rows, half, [at, S::LANES], to, &mut squares);
        }
        if whole < half {
            add_vectors::<S>(rows, half, [whole, half - whole], to, &mut squares);
        }
        let [even, odd] = [S::sum(squares[0]), S::sum(squares[1])];
        let are_near = even <= RATIO * odd && odd <= RATIO * even;
        are_near && [even, odd].iter().all(|&row| row > SQUARES[0] && row < SQUARES[1])
    }
}

/// Adds up so many numbers of each half, no more than a vector has; `squares` get those of both rows.
#[inline(always)]
unsafe fn add_vectors<S: Simd>(
    [even, odd]: [*const f32; 2],
    half: usize,
    [at, count]: [usize; 2],
    to: *mut f32,
    squares: &mut [S::V; 2],
) {
    // SAFETY: promised by the caller.
    unsafe {
        let load = |from: *const f32| if count == S::LANES { S::load(from) } else { S::load_first(from, count) };
        let [a11, a12] = [load(even.add(at)), load(even.add(half + at))];
        let [a21, a22] = [load(odd.add(at)), load(odd.add(half + at))];
        let s1 = S::add(a21, a22);
        let s2 = S::sub(s1, a11);
        let sums = [s1, s2, S::sub(a11, a21), S::sub(a12, s2)];
        for (number, sum) in sums.into_iter().enumerate() {
            let to = to.add(number * (half + APART) + at);
            if count == S::LANES { S::store(to, sum) } else { S::store_first(to, sum, count) }
        }
        squares[0] = S::mul_add(a11, a11, S::mul_add(a12, a12, squares[0]));
        squares[1] = S::mul_add(a21, a21, S::mul_add(a22, a22, squares[1]));
    }
}
