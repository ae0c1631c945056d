//! What happens to a block of a convolution's result while it is in the cache: the network's epilogue, then sums over its pixels.
//!
//! Each *part* of a result has sums of its own, which chunks add to, block after block, each for columns that no other chunk of the
//! part has; parts do not depend on the number of threads. At the end the parts are added up in their order.
#![expect(unsafe_code, reason = "vector instructions on raw images")]

use crate::abi::{EpilogueFn, Frame, Products, Sums};
use crate::scratch::{Needs, Purpose, Scratch};

use super::super::gemm::Output;
use super::super::simd::{LONGEST, Simd, Task};
use super::geometry::{Correlation, Image};

/// What is asked for behind a result.
#[derive(Clone, Copy)]
pub(crate) struct Finish<'a> {
    pub(crate) frame: Frame,
    pub(crate) epilogue: Option<EpilogueFn>,
    pub(crate) g: &'a Correlation<'a>,
    pub(crate) sums: Option<&'a Sums>,
}

/// What [`Finish::with`] takes for so many parts, of so many rows of sums.
pub(crate) fn needs(g: &Correlation<'_>, parts: usize, rows: usize) -> Needs {
    Needs::default().caller(Purpose::Partial, parts.saturating_mul(rows).saturating_mul(columns(g)))
}

/// Columns of a part's sums.
fn columns(g: &Correlation<'_>) -> usize {
    g.all_channels().next_multiple_of(LONGEST)
}

/// Rows of a part's sums.
pub(crate) fn rows_of(sums: Option<&Sums>) -> usize {
    sums.map_or(0, |sums| rows(!sums.squares.is_null(), products(sums).count()))
}

/// Rows of the sums of a part of a result, with squares of differences or with so many sums of products.
pub fn rows(squares: bool, products: usize) -> usize {
    if squares { SPREAD } else { 1 + products }
}

/// Rows of a part's sums where squares are wanted: how many pixels there were, what is subtracted from each, and the sums and
/// squares of the differences. What is subtracted is the mean of the first run of pixels: numbers far from zero with little
/// between them keep their digits.
const SPREAD: usize = 4;

fn products(sums: &Sums) -> impl Iterator<Item = &Products> {
    sums.products.iter().filter(|products| !products.sum.is_null())
}

impl<'a> Finish<'a> {
    /// Whether anything is asked for.
    pub(crate) fn is_wanted(&self) -> bool {
        self.epilogue.is_some() || self.has_sums()
    }
    pub(crate) fn has_sums(&self) -> bool {
        self.sums.is_some()
    }

    /// Carries out `work`, which finishes blocks of so many parts, and then adds the parts up.
    #[inline(always)]
    pub(crate) unsafe fn with<S: Simd>(self, scratch: &Scratch, parts: usize, work: impl FnOnce(Blocks<'a>)) {
        let part = rows_of(self.sums) * columns(self.g);
        let mut room = scratch.lend(Purpose::Partial, parts * part);
        room.fill(0.0);
        let blocks = Blocks { finish: self, room: Output(room.as_mut_ptr()) };
        work(blocks);
        if let Some(sums) = self.sums {
            // SAFETY: the parts' memory, and the caller's results.
            unsafe { S::vectorize(Total { blocks: &blocks, sums, parts }) };
        }
    }

    /// What there is of a result without pixels.
    ///
    /// # Safety
    /// The caller's results are there.
    pub(crate) unsafe fn without_pixels(&self) {
        let Some(sums) = self.sums else { return };
        let written = [sums.sum, sums.squares].into_iter().chain(products(sums).map(|products| products.sum));
        for to in written.filter(|to| !to.is_null()) {
            // SAFETY: promised by the caller.
            unsafe { to.write_bytes(0, self.g.all_channels()) };
        }
    }
}

/// A result whose blocks become complete one by one.
#[derive(Clone, Copy)]
pub(crate) struct Blocks<'a> {
    finish: Finish<'a>,
    room: Output,
}

impl Blocks<'_> {
    pub(crate) fn is_wanted(&self) -> bool {
        self.finish.is_wanted()
    }

    /// Finishes a block of pixels and columns, which belongs to a part of the result.
    ///
    /// # Safety
    /// The block is complete, and no other thread uses it, nor these columns of the part. Blocks of a part have the same columns or
    /// none in common.
    #[inline(always)]
    pub(crate) unsafe fn finish<S: Simd>(&self, part: usize, pixels: [usize; 2], cols: [usize; 2]) {
        let Finish { frame, epilogue, sums, .. } = self.finish;
        // SAFETY: promised by the caller.
        unsafe {
            frame.finish(epilogue, pixels, cols);
            if let Some(sums) = sums.filter(|_| pixels[0] < pixels[1]) {
                S::vectorize(Add { blocks: self, sums, part, pixels, cols });
            }
        }
    }

    /// A row of a part's sums, from a column on.
    fn row(&self, part: usize, row: usize, col: usize) -> *mut f32 {
        let Finish { g, sums, .. } = self.finish;
        self.room.get().wrapping_add((part * rows_of(sums) + row) * columns(g) + col)
    }
}

/// Adds a block's pixels to the sums of its part.
struct Add<'a> {
    blocks: &'a Blocks<'a>,
    sums: &'a Sums,
    part: usize,
    pixels: [usize; 2],
    cols: [usize; 2],
}

/// So many vectors of columns are added up side by side: the additions of one wait for each other.
const VECTORS: usize = 4;

impl Task for Add<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let [mut col, end] = self.cols;
        // SAFETY: promised by the caller.
        unsafe {
            while S::MANY_REGISTERS && col + 2 * VECTORS * S::LANES <= end {
                self.columns::<S, { 2 * VECTORS }>(col, S::LANES);
                col += 2 * VECTORS * S::LANES;
            }
            while !S::COMPACT && col + VECTORS * S::LANES <= end {
                self.columns::<S, VECTORS>(col, S::LANES);
                col += VECTORS * S::LANES;
            }
            while col < end {
                self.columns::<S, 1>(col, S::LANES.min(end - col));
                col += S::LANES;
            }
        }
    }
}

impl Add<'_> {
    /// Some vectors of columns, all but one alone of whole lanes.
    #[inline(always)]
    unsafe fn columns<S: Simd, const V: usize>(&self, col: usize, lanes: usize) {
        let (sums, g) = (self.sums, self.blocks.finish.g);
        // SAFETY: promised by the caller.
        unsafe {
            if !sums.squares.is_null() {
                self.spread::<S, V>(col, lanes);
                return;
            }
            let mut sum = self.kept::<S, V>(0, col, lanes);
            if sums.products[0].sum.is_null() {
                runs(g, self.pixels).for_each(|(from, _, pitch, count)| {
                    for pixel in 0..count {
                        for (v, sum) in sum.iter_mut().enumerate() {
                            let at = pixel * pitch + (col + v * S::LANES) as isize;
                            *sum = S::add(*sum, first::<S>(from.wrapping_offset(at), lanes));
                        }
                    }
                });
            }
            for (row, products) in products(sums).enumerate() {
                let mut total = self.kept::<S, V>(1 + row, col, lanes);
                let mut about = [S::splat(0.0); V];
                for (v, about) in about.iter_mut().enumerate() {
                    *about = first::<S>(products.about.wrapping_add(col + v * S::LANES), lanes);
                }
                runs(g, self.pixels).for_each(|(from, offset, pitch, count)| {
                    let other = products.other.wrapping_offset(offset);
                    for pixel in 0..count {
                        for v in 0..V {
                            let at = pixel * pitch + (col + v * S::LANES) as isize;
                            let x = first::<S>(from.wrapping_offset(at), lanes);
                            let difference = S::sub(first::<S>(other.wrapping_offset(at), lanes), about[v]);
                            total[v] = S::mul_add(difference, x, total[v]);
                            // The sum itself goes along with the first.
                            if row == 0 {
                                sum[v] = S::add(sum[v], x);
                            }
                        }
                    }
                });
                self.keep::<S, V>(1 + row, col, lanes, total);
            }
            self.keep::<S, V>(0, col, lanes, sum);
        }
    }

    /// Sums and squares of differences from the mean of the part's first run of pixels.
    #[inline(always)]
    unsafe fn spread<S: Simd, const V: usize>(&self, col: usize, lanes: usize) {
        let g = self.blocks.finish.g;
        // SAFETY: promised by the caller.
        unsafe {
            let pixels = (self.pixels[1] - self.pixels[0]) as f32;
            let mut seen = self.kept::<S, V>(0, col, lanes);
            let mut about = self.kept::<S, V>(1, col, lanes);
            if *self.blocks.row(self.part, 0, col) == 0.0 {
                let (from, _, pitch, count) = runs(g, self.pixels).next().expect("a block has pixels");
                for pixel in 0..count {
                    for (v, about) in about.iter_mut().enumerate() {
                        let x = first::<S>(from.wrapping_offset(pixel * pitch).wrapping_add(col + v * S::LANES), lanes);
                        *about = S::add(*about, x);
                    }
                }
                for about in &mut about {
                    let mean = S::mul(*about, S::splat(1.0 / count as f32));
                    // Nothing where that is no finite number: sums stay as infinite as they are.
                    let zero = S::splat(0.0);
                    let mean = S::add(mean, S::sub(mean, mean));
                    *about = S::sub(S::max(mean, zero), S::max(S::sub(zero, mean), zero));
                }
                self.keep::<S, V>(1, col, lanes, about);
            }
            seen.iter_mut().for_each(|seen| *seen = S::add(*seen, S::splat(pixels)));
            self.keep::<S, V>(0, col, lanes, seen);
            let mut total = self.kept::<S, V>(2, col, lanes);
            let mut squares = self.kept::<S, V>(3, col, lanes);
            runs(g, self.pixels).for_each(|(from, _, pitch, count)| {
                for pixel in 0..count {
                    for v in 0..V {
                        let x = first::<S>(from.wrapping_offset(pixel * pitch).wrapping_add(col + v * S::LANES), lanes);
                        let difference = S::sub(x, about[v]);
                        total[v] = S::add(total[v], difference);
                        squares[v] = S::mul_add(difference, difference, squares[v]);
                    }
                }
            });
            self.keep::<S, V>(2, col, lanes, total);
            self.keep::<S, V>(3, col, lanes, squares);
        }
    }

    #[inline(always)]
    unsafe fn kept<S: Simd, const V: usize>(&self, row: usize, col: usize, lanes: usize) -> [S::V; V] {
        let at = self.blocks.row(self.part, row, col);
        // SAFETY: a row of the part.
        unsafe {
            let mut sums = [S::splat(0.0); V];
            for (v, sum) in sums.iter_mut().enumerate() {
                *sum = first::<S>(at.wrapping_add(v * S::LANES), lanes);
            }
            sums
        }
    }
    #[inline(always)]
    unsafe fn keep<S: Simd, const V: usize>(&self, row: usize, col: usize, lanes: usize, sums: [S::V; V]) {
        let at = self.blocks.row(self.part, row, col);
        for (v, sum) in sums.into_iter().enumerate() {
            let at = at.wrapping_add(v * S::LANES);
            // SAFETY: a row of the part; other threads have the columns behind.
            unsafe { if lanes == S::LANES { S::store(at, sum) } else { S::store_first(at, sum, lanes) } };
        }
    }
}

/// Runs of pixels within a row of the image: the first one's address and its offset, the distance from each to the next, and how
/// many there are.
#[inline(always)]
fn runs(g: &Correlation<'_>, [mut pixel, end]: [usize; 2]) -> impl Iterator<Item = (*const f32, isize, isize, isize)> {
    let (to, [height, width]) = (g.to, in_memory(g));
    std::iter::from_fn(move || {
        (pixel < end).then(|| {
            let (row, col) = (pixel / width, pixel % width);
            let count = (width - col).min(end - pixel);
            let from = to.at(row / height, (row % height) as isize, col as isize).cast_const();
            pixel += count;
            (from, offset(&to, from), to.col, count as isize)
        })
    })
}

/// A vector, or its first lanes.
#[inline(always)]
unsafe fn first<S: Simd>(from: *const f32, lanes: usize) -> S::V {
    // SAFETY: promised by the caller.
    unsafe { if lanes == S::LANES { S::load(from) } else { S::load_first(from, lanes) } }
}

/// Pixels of the result from one in memory to the next, in each direction.
pub(crate) fn apart(g: &Correlation<'_>) -> usize {
    if g.pooled { 2 } else { 1 }
}

/// Rows and columns of pixels of the result in memory.
pub(crate) fn in_memory(g: &Correlation<'_>) -> [usize; 2] {
    [g.to.height, g.to.width].map(|n| n / apart(g))
}

/// How many elements behind the image's first an address is.
fn offset(image: &Image, at: *const f32) -> isize {
    (at as isize - image.data as isize) / size_of::<f32>() as isize
}

/// Columns whose sums are added up side by side.
const COLUMNS: usize = 4;

/// Adds up the parts.
struct Total<'a> {
    blocks: &'a Blocks<'a>,
    sums: &'a Sums,
    parts: usize,
}

impl Task for Total<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Total { blocks: Blocks { finish: Finish { g, .. }, .. }, sums, .. } = self;
        let all = g.all_channels();
        for col in (0..all).step_by(COLUMNS) {
            let cols = COLUMNS.min(all - col);
            if sums.squares.is_null() {
                for (row, to) in
                    std::iter::once(sums.sum).chain(products(sums).map(|products| products.sum)).enumerate()
                {
                    let mut total = [0.0_f64; COLUMNS];
                    for part in 0..self.parts {
                        let [x] = self.columns([row], part, col);
                        total.iter_mut().zip(x).for_each(|(total, x)| *total += x);
                    }
                    self.store(to, col, cols, total);
                }
                continue;
            }
            let (mut pixels, mut total, mut squares) = ([0.0; COLUMNS], [0.0; COLUMNS], [0.0; COLUMNS]);
            for part in 0..self.parts {
                let [n, about, sum] = self.columns([0, 1, 2], part, col);
                for lane in 0..COLUMNS {
                    pixels[lane] += n[lane];
                    total[lane] += sum[lane] + n[lane] * about[lane];
                }
            }
            let mean: [f64; COLUMNS] = std::array::from_fn(|lane| total[lane] / pixels[lane]);
            for part in 0..self.parts {
                let [n, about, sum, square] = self.columns([0, 1, 2, 3], part, col);
                for lane in 0..COLUMNS {
                    let apart = mean[lane] - about[lane];
                    let here = square[lane] - 2.0 * apart * sum[lane] + n[lane] * apart * apart;
                    squares[lane] += if n[lane] == 0.0 { 0.0 } else { here };
                }
            }
            self.store(sums.sum, col, cols, total);
            // Where all numbers are alike, rounding must not leave less than nothing; a NaN stays.
            self.store(sums.squares, col, cols, squares.map(|x| if x < 0.0 { 0.0 } else { x }));
        }
    }
}

impl Total<'_> {
    /// Some columns of rows of a part's sums.
    #[inline(always)]
    fn columns<const ROWS: usize>(&self, rows: [usize; ROWS], part: usize, col: usize) -> [[f64; COLUMNS]; ROWS] {
        // SAFETY: rows have whole lines, of several times as many columns.
        rows.map(|row| unsafe { *self.blocks.row(part, row, col).cast::<[f32; COLUMNS]>() }.map(f64::from))
    }
    fn store(&self, to: *mut f32, col: usize, cols: usize, values: [f64; COLUMNS]) {
        for (at, value) in values[..cols].iter().enumerate() {
            // SAFETY: the caller's results have as many columns.
            unsafe { *to.wrapping_add(col + at) = *value as f32 };
        }
    }
}
