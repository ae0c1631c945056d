//! Calls of the library: products, convolutions, what packs their weights, and sums of rows at indices.

use netc_runtime::kernels::matmul::{packed_len, rounded_len, sums_len};

use super::{Buffer, ColumnSums, Kernel, View};
use crate::types::Dim;

/// `c = a @ b`, then the epilogue on each finished tile. `a` is `[m, k]`, `b` `[k, n]`, `c` `[m, n]`;
/// the columns of `c` are contiguous.
///
/// Unless `batch` is one, all three have a leading axis of that length: as many products, with neither packed
/// operands, nor groups, nor an epilogue.
///
/// With several groups, the columns of `c` are as many runs of `n / groups` columns. The epilogue's domain is then
/// `[m, n / groups]`: at a point, all runs are complete at its row and column, and it may load `c` at any of them.
#[derive(Debug, Clone, PartialEq)]
pub struct MatMulCall {
    pub batch: Dim,
    pub m: Dim,
    pub n: Dim,
    pub k: Dim,
    pub a: View,
    pub b: View,
    pub c: View,
    /// Where the rows of the result go, if not all to `c`: pieces of equally many rows, of which `c` takes the first. Of products of
    /// matrices as they are, without an epilogue.
    pub more: Vec<View>,
    /// What [`PackMatrixCall`] made of `b` for the same sizes and groups.
    pub packed: Option<Buffer>,
    pub groups: usize,
    /// Adds to what `c` holds: `c += a @ b`, of a packed `b`.
    pub accumulate: bool,
    /// Those of what packs `packed`.
    pub shortcuts: Shortcuts,
    pub epilogue: Option<Kernel>,
}

impl MatMulCall {
    /// The pieces of the result.
    pub fn pieces(&self) -> impl Iterator<Item = &View> {
        std::iter::once(&self.c).chain(&self.more)
    }
    /// As [`PackMatrixCall::floats_beside`].
    pub fn floats_beside(&self) -> usize {
        let sizes = self.k.as_fixed().zip(self.n.as_fixed());
        sizes.map_or(0, |(k, n)| self.shortcuts.floats([k, n], self.groups))
    }
}

/// Packs the right operand of a matrix product, `[k, n]`, into [`netc_runtime::kernels::matmul::packed_len`] floats.
///
/// The operand is in one piece, or in several of one size, one behind the other.
#[derive(Debug, Clone, PartialEq)]
pub struct PackMatrixCall {
    pub k: usize,
    pub n: usize,
    pub groups: usize,
    pub pieces: Vec<View>,
    pub along: Along,
    pub packed: Buffer,
    /// How many rows the products with it have, if that is known: what is packed for one row is for one, so that whoever prepares
    /// it does so again for more ([`Program::prepared_rows`](super::Program::prepared_rows)).
    pub rows: Option<Dim>,
    /// Of products of several steps at once, how many rows a step has: there are no pairs of a single one, and no sums for them.
    pub rows_of_a_step: Option<Dim>,
    pub shortcuts: Shortcuts,
}

/// What products may read in place of a packed operand, at the price of last bits of their results.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shortcuts {
    /// The operand rounded to 21 bits, for a single row.
    pub rounded: bool,
    /// Sums of its halves, for many rows: Strassen's algorithm.
    pub sums: bool,
}

impl Shortcuts {
    /// How many floats an operand of such a size takes more, in so many runs of columns.
    pub fn floats(self, [k, n]: [usize; 2], groups: usize) -> usize {
        let rounded = if self.rounded { rounded_len(k, n, groups) } else { 0 };
        rounded + if self.sums { sums_len(k, n, groups) } else { 0 }
    }
}

/// Of what pieces of a matrix hold some: its rows, or its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Along {
    Rows,
    Columns,
}

impl PackMatrixCall {
    /// Packs an operand that is in one piece.
    pub fn whole([k, n]: [usize; 2], groups: usize, b: View, packed: Buffer) -> Self {
        PackMatrixCall {
            k,
            n,
            groups,
            pieces: vec![b],
            along: Along::Columns,
            packed,
            rows: None,
            rows_of_a_step: None,
            shortcuts: Shortcuts::default(),
        }
    }
    /// How many floats it makes.
    pub fn floats(&self) -> usize {
        packed_len(self.k, self.n, self.groups) + self.floats_beside()
    }
    /// How many of them are there for shortcuts.
    pub fn floats_beside(&self) -> usize {
        self.shortcuts.floats([self.k, self.n], self.groups)
    }
    /// The rows and columns of a piece.
    pub fn size(&self) -> [usize; 2] {
        match self.along {
            Along::Rows => [self.k / self.pieces.len(), self.n],
            Along::Columns => [self.k, self.n / self.pieces.len()],
        }
    }
    /// The first row and column of a piece.
    pub fn first(&self, piece: usize) -> [usize; 2] {
        match self.along {
            Along::Rows => [piece * self.k / self.pieces.len(), 0],
            Along::Columns => [0, piece * self.n / self.pieces.len()],
        }
    }
}

/// A convolution in one of its three directions. Strides of `x` and `y` stand in the order `[n, c, h, w]`.
///
/// Forward reads `x` and `weight` and writes `y`; the data gradient reads `y` and `weight` and writes `x`;
/// the weight gradient reads `x` and `y` and writes `weight`. The channels of what is written are contiguous.
#[derive(Debug, Clone, PartialEq)]
pub struct ConvCall {
    pub direction: Direction,
    pub geometry: Geometry,
    pub algorithm: Algorithm,
    pub x: View,
    pub y: View,
    /// `[oc, c / groups, kh, kw]`, contiguous.
    pub weight: View,
    /// The weight packed for this direction, when it was packed beforehand.
    pub packed: Option<Buffer>,
    /// Whether `y` is `[n, oc, oh / 2, ow / 2]`, the largest of each 2 by 2 neighbors: forward, by one of Winograd's algorithms.
    pub pooled: bool,
    /// Where the numbers of the largest of neighbors go, if they are kept, with adjacent channels as `y`, which is pooled.
    pub positions: Option<View>,
    pub epilogue: Option<Kernel>,
    /// Of what is not a weight's gradient.
    pub sums: Option<ColumnSums>,
}

/// Packs a convolution's weight for one direction and algorithm.
#[derive(Debug, Clone, PartialEq)]
pub struct PackCall {
    pub direction: Direction,
    pub geometry: Geometry,
    pub algorithm: Algorithm,
    pub weight: View,
    pub packed: Buffer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    Forward,
    DataGrad,
    WeightGrad,
}

/// How a convolution is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// An implicit matrix product, or a direct loop for few channels.
    Direct,
    /// Winograd F(4x4, 3x3), for the weight gradient F(3x3, 4x4).
    Winograd,
    /// Winograd F(2x2, 3x3).
    Winograd2x2,
}

/// The sizes of a convolution. `x` is `[n, c, h, w]`, `y` is `[n, oc, oh, ow]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Geometry {
    pub n: Dim,
    pub c: usize,
    pub h: Dim,
    pub w: Dim,
    pub oc: usize,
    pub oh: Dim,
    pub ow: Dim,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub pad: [usize; 2],
    pub dilation: [usize; 2],
    pub groups: usize,
}

impl Geometry {
    /// Whether images of what is computed have many pixels, for which weights are packed in another way; a size that is known at
    /// run time is taken for a large one.
    pub fn is_of_many(&self, direction: Direction) -> bool {
        let [height, width] = if direction == Direction::DataGrad { [&self.h, &self.w] } else { [&self.oh, &self.ow] };
        let size = |dim: &Dim| dim.as_fixed().unwrap_or(usize::MAX);
        size(height).saturating_mul(size(width)) >= netc_runtime::kernels::conv::MANY as usize
    }
}

/// `table = 0; table[index[r], :] += source[r, :]` for each row `r`, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct ScatterAddCall {
    pub rows: Dim,
    pub cols: usize,
    pub table_rows: usize,
    /// `[rows]` of `i32`.
    pub index: View,
    /// `[rows, cols]`, columns contiguous.
    pub source: View,
    /// `[table_rows, cols]`, contiguous.
    pub table: View,
}
