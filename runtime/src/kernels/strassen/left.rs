//! Sums of the halves of a left operand's rows.
#![expect(unsafe_code, reason = "raw matrices")]

use super::super::gemm::MC;
use super::super::packed::{Layout, Lines, Packed};
use super::super::simd::{LONGEST, Simd};
use super::chains::{CHAINS, Chain, LATER, PRODUCTS, Products};
use super::right::Sums;
use super::{COLS, Pairs, SUMS, halves};

/// The squares of two rows of a pair differ by this factor at most, as their columns' do, and lie between these.
const RATIO: f32 = 65536.0;
const SQUARES: [f32; 2] = [1e-30, 1e30];
/// Floats between sums of rows, beside their own: lines of the first cache of which they would else share a few.
const APART: usize = LONGEST;

/// Pointers to rows, or to pairs of rows, of a chunk.
type Table<T> = [T; MC + 16];

/// The pairs of a chunk's rows, with a block of the K loop.
pub(in super::super) struct Left<'a> {
    all: &'a Packed<'a>,
    sums: Sums,
    layout: Layout,
    pairs: Pairs,
    block: usize,
    /// What the products multiply, in the order of [`CHAINS`].
    pub(super) products: [Table<*const f32>; PRODUCTS],
    /// The even and the odd rows of the result.
    pub(super) results: [Table<*mut f32>; 2],
    /// Pairs of rows.
    pub(super) rows: usize,
}

/// How many floats [`Left`] takes for so many rows and steps.
pub(in super::super) fn left_len(rows: usize, steps: usize) -> usize {
    rows / 2 * SUMS * (steps / 2 + APART)
}

impl<'a> Left<'a> {
    /// No rows, neither in pairs nor without.
    pub(in super::super) fn new(all: &'a Packed<'a>, sums: Sums, layout: Layout, block: usize) -> (Left<'a>, Lines) {
        let pairs = Pairs::new(layout.run, layout.groups);
        let (products, results) = ([[std::ptr::null(); MC + 16]; PRODUCTS], [[std::ptr::null_mut(); MC + 16]; 2]);
        let left = Left { all, sums, layout, pairs, block, products, results, rows: 0 };
        (left, Lines { left: products[0], results: results[0], rows: 0 })
    }

    /// Adds up the halves of rows where nothing is lost by it; the others have no pair.
    ///
    /// # Safety
    /// The product's pointers are valid for its sizes, elements of rows of the left operand are adjacent, and `scratch` has room for
    /// [`left_len`] floats; called with the instructions of `S` enabled.
    #[inline(always)]
    pub(in super::super) unsafe fn add_up<S: Simd>(
        &mut self,
        [first_row, last_row]: [usize; 2],
        mut scratch: *mut f32,
        others: &mut Lines,
    ) {
        let Left { all, layout, block, .. } = *self;
        let (half, step) = (halves(&layout, block), layout.steps(block)[0]);
        let result = |row: usize| all.g.c.wrapping_offset(row as isize * all.g.c_rs);
        for row in (first_row..last_row).step_by(2) {
            let last = last_row.min(row + 2);
            let rows = [row, row + 1].map(|row| all.left(row.min(last - 1), step));
            // SAFETY: promised by the caller.
            if last == row + 2 && unsafe { add_rows::<S>(rows, half, scratch) } {
                let sum = |number: usize| scratch.wrapping_add(number * (half + APART)).cast_const();
                let [a11, a12, a22] = [rows[0], rows[0].wrapping_add(half), rows[1].wrapping_add(half)];
                let factors = [a11, sum(1), sum(0), a12, sum(3), sum(2), a22];
                for (table, factor) in self.products.iter_mut().zip(factors) {
                    table[self.rows] = factor;
                }
                for (half, table) in self.results.iter_mut().enumerate() {
                    table[self.rows] = result(row + half);
                }
                self.rows += 1;
                scratch = scratch.wrapping_add(SUMS * (half + APART));
                continue;
            }
            for (row, from) in (row..last).zip(rows) {
                (others.left[others.rows], others.results[others.rows]) = (from, result(row));
                others.rows += 1;
            }
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
        let mut right = [std::ptr::null(); PRODUCTS + LATER];
        right[..PRODUCTS].copy_from_slice(&self.right::<S>(pair));
        right[PRODUCTS..].copy_from_slice(&self.right::<S>(next)[..LATER]);
        let columns = self.pairs.panels(pair).map(|[group, panel]| group * self.layout.run + panel * COLS);
        let adds = self.all.g.accumulate || self.block > 0;
        Products { left: self, right, len: halves(&self.layout, self.block), columns, adds }
    }

    /// The right operands of a pair's products, in the order of [`CHAINS`].
    fn right<S: Simd>(&self, pair: usize) -> [*const f32; PRODUCTS] {
        let half = halves(&self.layout, self.block) * COLS;
        let [b11, b12] = self
            .pairs
            .panels(pair)
            .map(|[group, panel]| self.all.packed.wrapping_add(self.layout.at::<S>(self.block, group, panel)));
        let [t2, t1, t3, t4] = self.sums.of_pair(&self.layout, &self.pairs, self.block, pair);
        [b11, t2, t1, b11.wrapping_add(half), b12.wrapping_add(half), t3, t4]
    }
}

/// Adds up the halves of two rows; whether they are of about one size. The sums of others mean nothing.
#[inline(always)]
unsafe fn add_rows<S: Simd>([even, odd]: [*const f32; 2], half: usize, to: *mut f32) -> bool {
    // SAFETY: promised by the caller.
    unsafe {
        let mut squares = [S::splat(0.0); 2];
        for at in (0..half).step_by(S::LANES) {
            let count = S::LANES.min(half - at);
            let [a11, a12] = [S::load_first(even.add(at), count), S::load_first(even.add(half + at), count)];
            let [a21, a22] = [S::load_first(odd.add(at), count), S::load_first(odd.add(half + at), count)];
            let s1 = S::add(a21, a22);
            let s2 = S::sub(s1, a11);
            let sums = [s1, s2, S::sub(a11, a21), S::sub(a12, s2)];
            for (number, sum) in sums.into_iter().enumerate() {
                S::store_first(to.add(number * (half + APART) + at), sum, count);
            }
            squares[0] = S::mul_add(a11, a11, S::mul_add(a12, a12, squares[0]));
            squares[1] = S::mul_add(a21, a21, S::mul_add(a22, a22, squares[1]));
        }
        let [even, odd] = [S::sum(squares[0]), S::sum(squares[1])];
        let are_near = even <= RATIO * odd && odd <= RATIO * even;
        are_near && [even, odd].iter().all(|&row| row > SQUARES[0] && row < SQUARES[1])
    }
}
