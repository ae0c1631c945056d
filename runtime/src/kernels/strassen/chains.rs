//! The seven products: which are added up, where they go, and the tiles that compute them.
#![expect(unsafe_code, reason = "raw matrices")]

use super::super::micro::Ahead;
use super::super::simd::{STEPS, Simd, Task, add_step};
use super::left::Left;

/// Products of halves, and how many later is what one fetches: those of a chain follow at once.
pub(super) const PRODUCTS: usize = 7;
pub(super) const LATER: usize = 3;
/// Products that are computed at once, of which the first may be missing.
pub(super) const SIDES: usize = 2;

/// A quarter of the result: the half of its rows, and of its columns.
type Quarter = [usize; 2];

/// What is done with the sum of some products.
pub(super) struct Link {
    /// Which product is added to it first.
    product: usize,
    /// Where it is added to, then.
    quarters: &'static [Quarter],
    /// Whether something of the whole product is there already.
    is_later: bool,
}

const fn link(product: usize, quarters: &'static [Quarter], is_later: bool) -> Link {
    Link { product, quarters, is_later }
}

/// The sums, each of which a tile holds in registers from its first link to its last.
pub(super) const CHAINS: [&[Link]; 4] = [
    // P1, + P6, + P5
    &[link(0, &[[0, 0]], false), link(1, &[[1, 0]], false), link(2, &[[0, 1], [1, 1]], false)],
    // P2; P3
    &[link(3, &[[0, 0]], true)],
    &[link(4, &[[0, 1]], true)],
    // P7, + P4
    &[link(5, &[[1, 1]], true), link(6, &[[1, 0]], true)],
];

/// The products of all pairs of rows with a pair of panels.
pub(super) struct Products<'a> {
    pub(super) left: &'a Left<'a>,
    /// Right operands of both sides, and behind them those of what is computed next.
    pub(super) right: [[*const f32; PRODUCTS + LATER]; SIDES],
    /// Steps of each.
    pub(super) len: [usize; SIDES],
    pub(super) columns: [usize; 2],
    /// Whether to add to the result instead of setting it.
    pub(super) adds: bool,
}

/// One of their sums. A task, so that its tiles are compiled once.
pub(super) struct Chain<'a> {
    pub(super) products: &'a Products<'a>,
    pub(super) links: &'static [Link],
}

impl Task for Chain<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Chain { products, links } = self;
        let pairs = products.left.rows;
        let tiles = pairs.div_ceil(S::MR).max(1);
        let (height, higher) = (pairs / tiles, pairs % tiles);
        let (mut row, mut index) = (0, 0);
        while row < pairs {
            // SAFETY: the pointers are valid for the sizes.
            unsafe {
                row += match height + usize::from(index < higher) {
                    4 => products.tile::<S, 4, 4>(links, row, [index, tiles]),
                    5 => products.tile::<S, 5, 4>(links, row, [index, tiles]),
                    6 => products.tile::<S, 6, 4>(links, row, [index, tiles]),
                    _ => products.tile::<S, 1, 4>(links, row, [index, tiles]),
                };
            }
            index += 1;
        }
    }
}

impl Products<'_> {
    /// A chain for `R` pairs of rows from `row` on, by the tile at `index` of so many; returns how many pairs.
    #[expect(clippy::needless_range_loop, reason = "indices that are constants once unrolled: sums stay in registers")]
    #[inline(always)]
    unsafe fn tile<S: Simd, const R: usize, const W: usize>(
        &self,
        links: &[Link],
        row: usize,
        [index, tiles]: [usize; 2],
    ) -> usize {
        if !S::HAS_SUMS {
            return R;
        }
        // SAFETY: promised by the caller.
        unsafe {
            let mut sums = [[S::splat(0.0); W]; R];
            for &Link { product, quarters, is_later } in links {
                let rows = |[rows, half]: Quarter| -> [*mut f32; R] {
                    let first = self.left.results[rows].as_ptr().wrapping_add(row);
                    std::array::from_fn(|i| (*first.wrapping_add(i)).wrapping_add(self.columns[half]))
                };
                for &quarter in quarters {
                    let to = rows(quarter);
                    for i in 0..R {
                        for j in 0..W {
                            S::prefetch(to[i].wrapping_add(j * S::LANES));
                        }
                    }
                }
                for side in self.left.first_side..SIDES {
                    let left = self.left.factors::<R>(side, product, row).map(|row| S::settled(row));
                    let (right, len) = (&self.right[side], self.len[side]);
                    let (mut from, mut offset) = (right[product], 0);
                    if 2 * R > S::MR {
                        let ahead = Ahead::share::<S>(0, len, [index, tiles]);
                        let mut next = ahead.from(right[product + LATER]);
                        for _ in 0..len / STEPS {
                            next = ahead.fetch::<S>(next);
                            offset = S::add_steps::<R, W, 1>(&mut sums, &left, offset, 4, from);
                            from = from.wrapping_add(STEPS * S::NR);
                        }
                    } else {
                        for at in 0..len {
                            add_step::<S, R, W>(&mut sums, |i| *left[i].add(at), from);
                            from = from.wrapping_add(S::NR);
                        }
                    }
                }
                for &quarter in quarters {
                    let to = rows(quarter);
                    if self.adds || is_later {
                        for i in 0..R {
                            for j in 0..W {
                                let to = to[i].add(j * S::LANES);
                                S::store(to, S::add(S::load(to), sums[i][j]));
                            }
                        }
                    } else {
                        for i in 0..R {
                            for j in 0..W {
                                S::store(to[i].add(j * S::LANES), sums[i][j]);
                            }
                        }
                    }
                }
            }
        }
        R
    }
}
