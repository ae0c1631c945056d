//! The contract with generated code: the `extern "C"` functions it calls and the descriptors it hands over.
//!
//! Generated code addresses everything through a *frame*, an array of words of which the runtime knows only
//! the first: the address of the [`Pool`] to work with. All sizes and strides count elements, not bytes.
#![expect(unsafe_code, reason = "generated code hands over raw pointers")]

use std::sync::atomic::{AtomicI64, Ordering};

use crate::kernels::{conv, matmul, scatter};
use crate::scratch::Scratch;
use crate::threads::{self, Line, Pool, Team};

/// A loop nest compiled for this network: work on `begin..end` of its outermost range.
pub type KernelFn = unsafe extern "C" fn(frame: *const u64, begin: i64, end: i64);

/// A part of a network that is carried out for members `begin..end` of a batch alone, by whom `team` says: the first word of
/// the frames that it makes.
pub type ShareFn = unsafe extern "C" fn(frame: *const u64, team: u64, begin: i64, end: i64);

/// One of two recurrences' loops that go side by side, of which the first tells, and the second waits for, how many steps are
/// done.
pub type BesideFn = unsafe extern "C" fn(frame: *const u64, team: u64, progress: *const AtomicI64);

/// A part of a network.
pub type PartFn = unsafe extern "C" fn(frame: *const u64);

/// What a network does to the elements of a product: applied in place to rows `row..row + rows` and columns
/// `col..col + cols` of the output, once for each element, as soon as a tile is complete and still in the cache,
/// on the thread that made the tile.
///
/// The next tile of these rows will begin `ahead` columns further, if that is known, and 0 if not: what the network reads
/// there can be fetched. When `cols` is 0, no tile is complete, and the `ahead` columns from `col` on are the next.
pub type EpilogueFn = unsafe extern "C" fn(frame: *const u64, row: i64, rows: i64, col: i64, cols: i64, ahead: i64);

/// Some rows of a product's result.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Piece {
    /// Columns are adjacent.
    pub c: *mut f32,
    pub c_rs: i64,
}

/// `c = a · b`, where `a` is `[m, k]`, `b` is `[k, n]` and `c` is `[m, n]`; or `batch` such products.
///
/// The epilogue's rows and columns are those of `c`. When `groups` is more than 1, the columns are as many runs of
/// `n / groups` columns, and the epilogue's columns are those of one run: it is called on rows and columns that are
/// complete in all runs. Products of a batch have neither groups nor an epilogue.
///
/// If `b` is packed, a batch is one product of `batch * m` rows, all with this `b`: `a` has them in runs of `m`, from a run
/// to the next `a_bs`, and `c` one after the other. Its rows are the epilogue's.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct MatMul {
    pub m: i64,
    pub n: i64,
    pub k: i64,
    pub a: *const f32,
    /// From a row of `a` to the next.
    pub a_rs: i64,
    /// From a column of `a` to the next.
    pub a_cs: i64,
    pub b: *const f32,
    pub b_rs: i64,
    pub b_cs: i64,
    /// Columns of `c` are adjacent.
    pub c: *mut f32,
    pub c_rs: i64,
    /// Null, or what [`netc_matmul_pack`] made of `b`, which is then not read.
    pub packed: *const f32,
    /// Divides `n`.
    pub groups: i64,
    pub batch: i64,
    /// From the `a` of a product to that of the next.
    pub a_bs: i64,
    /// As `a_bs`.
    pub b_bs: i64,
    /// As `a_bs`.
    pub c_bs: i64,
    /// Not 0 to walk a packed `b` from its last columns to its first: as each of many products with one `b` ends where the
    /// next begins, part of `b` stays in the cache. Results are the same.
    pub turned: i64,
    /// Not 0 to add the product to what `c` holds, if `b` is packed.
    pub accumulate: i64,
    /// Not 0 if `b` was packed to be rounded ([`PackMatrix::rounds`]).
    pub rounded: i64,
    /// Not 0 if halves of `b` were added up ([`PackMatrix::adds_up`]) and rows may be combined in pairs, an even one with the one
    /// that follows it.
    pub has_sums: i64,
    /// As [`PackMatrix::beside`].
    pub beside: i64,
    /// Null, or where the rows of the result go in place of `c`: as many pieces, of `m / piece_count` rows each, of a single product
    /// that is neither packed nor has groups or an epilogue.
    pub pieces: *const Piece,
    pub piece_count: i64,
    /// Null, or a product that comes before this one, which accumulates and is added to it: a single one of as many rows and columns in as many groups,
    /// of a packed `b` and without an epilogue. Its `c` is this one's.
    pub before: *const MatMul,
    pub epilogue: Option<EpilogueFn>,
}

/// A piece of the right operand of products.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RightPiece {
    pub b: *const f32,
    /// From a row to the next.
    pub b_rs: i64,
    /// From a column to the next.
    pub b_cs: i64,
}

/// Packs the right operand of products, `[k, n]` with columns in `groups` runs.
///
/// It is in pieces of one size, one behind the other: some rows of all columns each, or all rows of some columns, for which
/// [`matmul::are_panels`] holds.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct PackMatrix {
    pub k: i64,
    pub n: i64,
    pub groups: i64,
    pub pieces: *const RightPiece,
    pub piece_count: i64,
    /// Not 0 if pieces have some of the rows.
    pub in_rows: i64,
    /// How many rows the products with it have, or 0 if that is not known: where it is packed in one way for few rows and in
    /// another for many, it is packed in both then.
    pub m: i64,
    /// Not 0 if products of a single row may read the operand rounded to 21 bits, where that is faster: it takes
    /// [`matmul::rounded_len`] floats more then, and [`MatMul::rounded`] says so in all products with it.
    pub rounds: i64,
    /// Not 0 if products of many rows may multiply sums of the operand's halves in its place, as in Strassen's algorithm, where that
    /// is faster: it takes [`matmul::sums_len`] floats more then, behind those for rounding.
    pub adds_up: i64,
    /// How many floats there are for both, whether or not they are used.
    pub beside: i64,
}

/// A convolution `[n, h, w, c] -> [n, oh, ow, oc]`, of which each function computes one of `x`, `y` and `weight`
/// from the other two.
///
/// What the kernel reads outside of `x` is zero, at the end also beyond the padding if `oh` and `ow` ask for it.
///
/// If `pooled`, `y` holds the largest of each 2 by 2 pixels in their place, `[n, oh / 2, ow / 2, oc]`: forward, with weights
/// and channels to which Winograd's algorithms apply.
///
/// The epilogue's rows and columns are those of the output seen as a matrix:
///
/// | function | row | column |
/// |---|---|---|
/// | `netc_conv2d` | pixel `((n * oh) + i) * ow + j` of `y`, of half as many rows and columns if `pooled` | channel of `y` |
/// | `netc_conv2d_data_grad` | pixel `((n * h) + i) * w + j` of `x` | channel of `x` |
/// | `netc_conv2d_weight_grad` | channel of `y` | `((channel in its group) * kh + i) * kw + j` |
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Conv {
    pub n: i64,
    pub h: i64,
    pub w: i64,
    pub c: i64,
    pub oh: i64,
    pub ow: i64,
    pub oc: i64,
    pub kh: i64,
    pub kw: i64,
    pub stride_h: i64,
    pub stride_w: i64,
    pub pad_h: i64,
    pub pad_w: i64,
    pub dilation_h: i64,
    pub dilation_w: i64,
    pub groups: i64,
    pub x: *mut f32,
    pub x_n: i64,
    pub x_h: i64,
    pub x_w: i64,
    /// Usually 1; any stride in the forward direction and in the weight gradient, 1 in the data gradient.
    pub x_c: i64,
    /// Channels of `y` are adjacent.
    pub y: *mut f32,
    pub y_n: i64,
    pub y_h: i64,
    pub y_w: i64,
    /// `[oc, c / groups, kh, kw]`, contiguous.
    pub weight: *mut f32,
    /// Null, or what [`netc_conv2d_pack`] made of the weights for this direction and algorithm.
    pub packed: *const f32,
    /// [`conv::DIRECT`], [`conv::WINOGRAD`] or [`conv::WINOGRAD_2X2`]; Winograd's fall back to direct where they do not
    /// apply.
    pub algorithm: i64,
    /// 1 or 0.
    pub pooled: i64,
    /// Null, or where it is written which neighbor is the largest, if `pooled`, pixel by pixel of `y`: the number of the first one by
    /// rows, 0 to 3, or 4 if none is a number. Channels are adjacent.
    pub positions: *mut f32,
    pub positions_n: i64,
    pub positions_h: i64,
    pub positions_w: i64,
    /// Whether images of what is computed have many pixels, [`conv::MANY`] or more, 1 or 0: how weights are packed depends on it,
    /// so that it is the same in all calls with the same packed weights.
    pub many: i64,
    pub epilogue: Option<EpilogueFn>,
    /// Null, or what is wanted of the output, if that is not a weight gradient.
    pub sums: *const Sums,
}

/// Sums over the rows of a convolution's output, one for each column, of what the epilogue leaves: taken while the output is in
/// the cache. Addresses are null where nothing is asked for; columns are adjacent.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Sums {
    /// The sum of each column. All others need it.
    pub sum: *mut f32,
    /// The sum of the squares of a column's differences from its mean, if no products are asked for.
    pub squares: *mut f32,
    pub products: [Products; PRODUCTS],
}

/// So many sums of products at most.
pub const PRODUCTS: usize = 2;

/// The sum of each column's products with the column of another array, less a number.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Products {
    /// As the output lies in memory.
    pub other: *const f32,
    /// What is subtracted from each column of `other`.
    pub about: *const f32,
    pub sum: *mut f32,
}

/// `table[index[r]] += source[r]` for all rows `r` in order, from a table of zeros.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ScatterAdd {
    pub rows: i64,
    pub cols: i64,
    pub table_rows: i64,
    /// Clamped to `0..table_rows`.
    pub index: *const i32,
    pub index_stride: i64,
    /// Columns are adjacent.
    pub source: *const f32,
    pub source_rs: i64,
    /// `[table_rows, cols]`, contiguous.
    pub table: *mut f32,
}

/// The frame of a running entry, which the chunks of its jobs share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame(*const u64);

// SAFETY: generated code lets several threads use one frame; its kernels and epilogues write to disjoint places.
unsafe impl Send for Frame {}
// SAFETY: as above.
unsafe impl Sync for Frame {}

impl Frame {
    /// A frame that tests have made.
    #[cfg(test)]
    pub(crate) fn new(words: *const u64) -> Frame {
        Frame(words)
    }

    /// # Safety
    /// Word 0 of the frame is the address of a [`Pool`], or what [`netc_share`] gave; the frame is alive for `'a`, and this is
    /// called on the pool's thread, or that of the share.
    unsafe fn team<'a>(self) -> Team<'a> {
        // SAFETY: promised by the caller.
        let word = unsafe { *self.0 };
        if word & ALONE == 0 {
            // SAFETY: as above.
            unsafe { &*(word as *const Pool) }.team()
        } else {
            // SAFETY: as above.
            Team::alone(unsafe { &*((word - ALONE) as *const Scratch) })
        }
    }

    /// Calls the epilogue on a block of the output.
    ///
    /// # Safety
    /// The block is complete, and no other thread uses it.
    pub(crate) unsafe fn finish(self, epilogue: Option<EpilogueFn>, rows: [usize; 2], cols: [usize; 2]) {
        // SAFETY: promised by the caller.
        unsafe { self.finish_before(epilogue, rows, cols, cols[0]) };
    }

    /// Says which block of the output will be the next to be complete.
    ///
    /// # Safety
    /// The epilogue is that of this frame.
    pub(crate) unsafe fn foretell(self, epilogue: Option<EpilogueFn>, rows: [usize; 2], cols: [usize; 2]) {
        let Some(epilogue) = epilogue else { return };
        let [row, rows, col, ahead] = [rows[0], rows[1] - rows[0], cols[0], cols[1] - cols[0]].map(|x| x as i64);
        // SAFETY: promised by the caller; the epilogue changes nothing.
        unsafe { epilogue(self.0, row, rows, col, 0, ahead) };
    }

    /// As [`Frame::finish`], when the block that begins with the column `next` will follow.
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn finish_before(
        self,
        epilogue: Option<EpilogueFn>,
        rows: [usize; 2],
        cols: [usize; 2],
        next: usize,
    ) {
        let Some(epilogue) = epilogue else { return };
        let ahead = next as i64 - cols[0] as i64;
        let [row, rows, col, cols] = [rows[0], rows[1] - rows[0], cols[0], cols[1] - cols[0]].map(|x| x as i64);
        if rows > 0 && cols > 0 {
            // SAFETY: the compiler made the epilogue for this frame and output; the block is the caller's promise.
            unsafe { epilogue(self.0, row, rows, col, cols, ahead) };
        }
    }
}

/// Added to the address of a thread's scratch memory where this stands in the place of the pool's: whoever works with the
/// frame does so alone.
const ALONE: u64 = 1;
const _: () = assert!(align_of::<Pool>() > 1 && align_of::<Scratch>() > 1);

/// So many multiply-adds take several threads no less time than one, for they begin and end together at each step.
const LITTLE: i64 = 400 << 10;

macro_rules! symbols {
    ($($(#[$doc:meta])* fn $name:ident($frame:ident $(, $argument:ident: $type:ty)*) $body:block)*) => {
        $($(#[$doc])*
        ///
        /// # Safety
        /// The frame's first word is the address of a live [`Pool`]; the pointers of the descriptor are valid
        /// for all elements that its sizes and strides name, and what is written is not otherwise in use.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($frame: *const u64 $(, $argument: $type)*) $body)*

        /// Every function that generated code may call, by the name under which it is linked.
        pub fn symbols() -> Vec<(&'static str, *const u8)> {
            vec![$((stringify!($name), $name as *const u8)),*]
        }
    };
}

symbols! {
    /// Calls `kernel` for `0..total` in chunks of `grain`, on all threads of the pool.
    fn netc_parallel_for(frame, kernel: KernelFn, total: i64, grain: i64) {
        let grain = grain.max(1);
        let frame = Frame(frame);
        // SAFETY: promised by the caller.
        let team = unsafe { frame.team() };
        team.run((total.max(0) as u64).div_ceil(grain as u64) as usize, |_, chunk| {
            let Frame(frame) = { frame };
            let begin = chunk as i64 * grain;
            // SAFETY: the compiler made the kernel for this frame, and its chunks are independent.
            unsafe { kernel(frame, begin, (begin + grain).min(total)) };
        });
    }

    /// Calls `work` for `0..total` in nearly equal shares, one for each thread of the pool, if each has `least` or more; else once
    /// for all, with the pool itself. Of an even total each share begins with an even one. It says who works on a share.
    fn netc_share(frame, work: ShareFn, total: i64, least: i64) {
        let frame = Frame(frame);
        // SAFETY: promised by the caller.
        let team = unsafe { frame.team() };
        let threads = team.threads() as i64;
        if threads == 1 || total / threads < least.max(1) {
            let Frame(words) = frame;
            // SAFETY: the compiler made the function for this frame.
            unsafe { work(words, *words, 0, total) };
            return;
        }
        team.run(threads as usize, |scratch, share| {
            let Frame(words) = { frame };
            // An even member and the one that follows stay together.
            let unit = if total % 2 == 0 { 2 } else { 1 };
            let [begin, end] = [share as i64, share as i64 + 1].map(|share| share * (total / unit) / threads * unit);
            // SAFETY: as above, and its shares are independent.
            unsafe { work(words, (&raw const *scratch) as u64 + ALONE, begin, end) };
        });
    }

    /// Carries out two recurrences' loops, side by side if there are two threads, or more and a step's `work`, in multiply-adds of
    /// both, is little, and not `least` of the `total` members for each thread; else as `otherwise` does. Both are told who works.
    fn netc_beside(frame, first: BesideFn, second: BesideFn, otherwise: PartFn, total: i64, least: i64, work: i64) {
        let frame = Frame(frame);
        // SAFETY: promised by the caller.
        let team = unsafe { frame.team() };
        let threads = team.threads() as i64;
        if threads == 1 || (threads > 2 && work > LITTLE) || total / threads >= least {
            // SAFETY: the compiler made the function for this frame.
            unsafe { otherwise(frame.0) };
            return;
        }
        let progress = Line(AtomicI64::new(0));
        team.run(2, |scratch, at| {
            let Frame(words) = { frame };
            let work = if at == 0 { first } else { second };
            // SAFETY: as above. The caller of `run` begins with the first, so that nobody waits for what nobody does.
            unsafe { work(words, (&raw const *scratch) as u64 + ALONE, &raw const progress.0) };
        });
    }

    /// Waits until so many steps are done.
    fn netc_await(_frame, progress: *const AtomicI64, steps: i64) {
        let mut spins = 0;
        // SAFETY: alive as long as the loops that are told of it.
        while unsafe { &*progress }.load(Ordering::Acquire) < steps {
            threads::pause(&mut spins);
        }
    }

    /// See [`MatMul`].
    fn netc_matmul(frame, descriptor: *const MatMul) {
        // SAFETY: promised by the caller.
        unsafe { matmul::matmul(Frame(frame).team(), Frame(frame), &*descriptor) };
    }

    /// Says whether a product is better computed together with one that comes [before](MatMul::before) it than both by themselves: 1
    /// or 0.
    fn netc_matmul_joins(frame, descriptor: *const MatMul, before: *const MatMul, answer: *mut i64) {
        let frame = Frame(frame);
        // SAFETY: promised by the caller.
        unsafe { *answer = i64::from(matmul::joins(frame.team(), frame, &*descriptor, &*before)) };
    }

    /// Packs a piece of a matrix into its place among [`matmul::packed_len`] floats. See [`PackMatrix`].
    fn netc_matmul_pack(frame, descriptor: *const PackMatrix, packed: *mut f32) {
        // SAFETY: promised by the caller.
        unsafe { matmul::pack(Frame(frame).team(), &*descriptor, packed) };
    }

    /// Writes `y` from `x` and `weight`. See [`Conv`].
    fn netc_conv2d(frame, descriptor: *const Conv) {
        // SAFETY: promised by the caller.
        unsafe { conv::forward(Frame(frame).team(), Frame(frame), &*descriptor) };
    }

    /// Writes `x` from its cotangent's source `y` and `weight`. See [`Conv`].
    fn netc_conv2d_data_grad(frame, descriptor: *const Conv) {
        // SAFETY: promised by the caller.
        unsafe { conv::data_grad(Frame(frame).team(), Frame(frame), &*descriptor) };
    }

    /// Writes `weight` from `x` and `y`. See [`Conv`].
    fn netc_conv2d_weight_grad(frame, descriptor: *const Conv) {
        // SAFETY: promised by the caller.
        unsafe { conv::weight_grad(Frame(frame).team(), Frame(frame), &*descriptor) };
    }

    /// Packs `weight` for [`conv::FORWARD`] or [`conv::DATA_GRAD`] into [`conv::packed_len`] floats. See [`Conv`].
    fn netc_conv2d_pack(frame, descriptor: *const Conv, direction: i64, packed: *mut f32) {
        // SAFETY: promised by the caller.
        unsafe { conv::pack(Frame(frame).team(), &*descriptor, direction, packed) };
    }

    /// See [`ScatterAdd`].
    fn netc_scatter_add_rows(frame, descriptor: *const ScatterAdd) {
        // SAFETY: promised by the caller.
        unsafe { scatter::scatter_add_rows(Frame(frame).team(), &*descriptor) };
    }
}

#[cfg(test)]
mod tests;
