//! Sums over the pixels of a convolution's result, which are taken while the result is in the cache.

use super::{Access, Buffer, ConvCall, Direction, Mode, View};
use crate::types::Dim;

/// For each channel of a convolution's result the sum over its pixels, of what the epilogue leaves; and what else is asked for.
///
/// Every buffer but [`ProductSum::other`] has an element for each channel.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnSums {
    /// The sum of each channel.
    pub sum: Buffer,
    pub more: MoreSums,
}

/// What goes with the sum of each channel.
#[derive(Debug, Clone, PartialEq)]
pub enum MoreSums {
    /// The sum of the squares of its differences from its mean.
    Squares(Buffer),
    /// Sums of products with other arrays: [`MOST_PRODUCTS`] at most, or none.
    Products(Vec<ProductSum>),
}

/// `sum = Σ result · (other - about)` for each channel.
#[derive(Debug, Clone, PartialEq)]
pub struct ProductSum {
    /// `[n, c, h, w]`, with the strides of the result.
    pub other: View,
    pub about: Buffer,
    pub sum: Buffer,
}

/// So many sums of products at most.
pub const MOST_PRODUCTS: usize = netc_runtime::abi::PRODUCTS;

impl ColumnSums {
    pub fn products(&self) -> &[ProductSum] {
        match &self.more {
            MoreSums::Squares(_) => &[],
            MoreSums::Products(products) => products,
        }
    }
    pub fn squares(&self) -> Option<Buffer> {
        match self.more {
            MoreSums::Squares(squares) => Some(squares),
            MoreSums::Products(_) => None,
        }
    }
    /// The buffers with an element for each channel that are written.
    pub fn written(&self) -> impl Iterator<Item = Buffer> {
        std::iter::once(self.sum).chain(self.squares()).chain(self.products().iter().map(|product| product.sum))
    }
    pub(super) fn for_each_access(&self, visit: &mut dyn FnMut(Access)) {
        for product in self.products() {
            [product.other.buffer, product.about]
                .into_iter()
                .for_each(|buffer| visit(Access { buffer, mode: Mode::Read }));
        }
        self.written().for_each(|buffer| visit(Access { buffer, mode: Mode::Write }));
    }
    /// Rows of sums that the runtime keeps of each part of a result.
    pub fn rows(&self) -> usize {
        netc_runtime::kernels::conv::rows_of_sums(self.squares().is_some(), self.products().len())
    }
}

impl ConvCall {
    /// Where the result lies.
    pub fn result(&self) -> &View {
        match self.direction {
            Direction::Forward => &self.y,
            Direction::DataGrad => &self.x,
            Direction::WeightGrad => &self.weight,
        }
    }
    /// The sizes of a result that is a whole map: `[n, c, h, w]`.
    pub fn result_shape(&self) -> [Dim; 4] {
        let g = &self.geometry;
        let (channels, height, width) =
            if self.direction == Direction::DataGrad { (g.c, &g.h, &g.w) } else { (g.oc, &g.oh, &g.ow) };
        [g.n.clone(), Dim::fixed(channels), height.clone(), width.clone()]
    }
    /// Checks what [`ColumnSums`] promises.
    pub(super) fn verify_sums(&self, len: impl Fn(Buffer) -> Dim) {
        let Some(sums) = &self.sums else { return };
        assert!(self.direction != Direction::WeightGrad && !self.pooled, "sums are of whole maps: {self}");
        assert!(sums.products().len() <= MOST_PRODUCTS, "too many sums of products: {self}");
        let [_, channels, ..] = self.result_shape();
        let of_channels = sums.written().chain(sums.products().iter().map(|product| product.about));
        of_channels.for_each(|buffer| assert_eq!(len(buffer), channels, "{buffer} is not of channels: {self}"));
        let lie_alike = sums.products().iter().all(|product| product.other.strides == self.result().strides);
        assert!(lie_alike, "what the result is multiplied with lies as it does: {self}");
    }
}
