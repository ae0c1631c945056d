//! Host data: what a caller hands in.

use ndarray::{ArrayBase, ArrayView, ArrayViewD, Data, Dimension};

use crate::types::ElementType;

/// A view of a caller's array: features as `f32`, tokens as `i32`. The batch axis comes first. Strides may be any.
///
/// ```
/// let tokens = ndarray::array![[1, 2, 3], [4, 5, 6]];
/// let view: netc::TensorView<'_> = tokens.view().into();
/// assert_eq!(view.shape(), [2, 3]);
/// ```
#[derive(Debug, Clone)]
pub enum TensorView<'a> {
    /// Numbers.
    F32(ArrayViewD<'a, f32>),
    /// Tokens and lengths.
    I32(ArrayViewD<'a, i32>),
}

impl TensorView<'_> {
    /// With the batch axis first.
    pub fn shape(&self) -> &[usize] {
        match self {
            TensorView::F32(array) => array.shape(),
            TensorView::I32(array) => array.shape(),
        }
    }
    /// What it holds.
    pub fn element(&self) -> ElementType {
        match self {
            TensorView::F32(_) => ElementType::F32,
            TensorView::I32(_) => ElementType::I32,
        }
    }
}

impl<'a, D: Dimension> From<ArrayView<'a, f32, D>> for TensorView<'a> {
    fn from(array: ArrayView<'a, f32, D>) -> Self {
        TensorView::F32(array.into_dyn())
    }
}

impl<'a, D: Dimension> From<ArrayView<'a, i32, D>> for TensorView<'a> {
    fn from(array: ArrayView<'a, i32, D>) -> Self {
        TensorView::I32(array.into_dyn())
    }
}

/// What arrays of a network hold: `f32` or `i32`.
pub trait Element: Sized {
    /// A view of an array of such.
    fn view(array: ArrayViewD<'_, Self>) -> TensorView<'_>;
}

impl Element for f32 {
    fn view(array: ArrayViewD<'_, f32>) -> TensorView<'_> {
        TensorView::F32(array)
    }
}

impl Element for i32 {
    fn view(array: ArrayViewD<'_, i32>) -> TensorView<'_> {
        TensorView::I32(array)
    }
}

impl<'a, A: Element, S: Data<Elem = A>, D: Dimension> From<&'a ArrayBase<S, D>> for TensorView<'a> {
    fn from(array: &'a ArrayBase<S, D>) -> Self {
        A::view(array.view().into_dyn())
    }
}

impl<'a, A: Element, S: Data<Elem = A>, D: Dimension> From<&&'a ArrayBase<S, D>> for TensorView<'a> {
    fn from(array: &&'a ArrayBase<S, D>) -> Self {
        TensorView::from(*array)
    }
}
