//! Host tensors of the interpreter, and walks over their elements.

use crate::types::ElementType;

/// Row-major elements, as `f64` whatever their type: every `f32` and `i32` is one.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    pub element: ElementType,
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

impl Tensor {
    /// # Panics
    /// When the data do not fill the shape.
    pub fn new(element: ElementType, shape: &[usize], data: Vec<f64>) -> Self {
        assert_eq!(data.len(), shape.iter().product::<usize>(), "a tensor of shape {shape:?}");
        Tensor { element, shape: shape.to_vec(), data }
    }
    pub fn f32(shape: &[usize], data: Vec<f64>) -> Self {
        Tensor::new(ElementType::F32, shape, data)
    }
    pub fn i32(shape: &[usize], data: Vec<f64>) -> Self {
        Tensor::new(ElementType::I32, shape, data)
    }
    pub fn scalar(value: f64) -> Self {
        Tensor::f32(&[], vec![value])
    }
    /// `value` everywhere, as `f32`.
    pub fn filled(shape: &[usize], value: f64) -> Self {
        Tensor::f32(shape, vec![value; shape.iter().product()])
    }
    pub fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Tensor::new(self.element, &self.shape, self.data.iter().map(|&x| f(x)).collect())
    }
    /// `f` of the elements of two tensors of the same shape, as `f32`.
    pub fn zip(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        assert_eq!(self.shape, other.shape, "elements are paired");
        let data = self.data.iter().zip(&other.data).map(|(&a, &b)| f(a, b)).collect();
        Tensor::f32(&self.shape, data)
    }
    /// A tensor of `shape` whose elements stand in `self` at `offsets`, in that order.
    pub fn pick(&self, shape: &[usize], offsets: Offsets) -> Self {
        Tensor::new(self.element, shape, offsets.map(|offset| self.data[offset]).collect())
    }
    pub fn strides(&self) -> Vec<usize> {
        strides(&self.shape)
    }
}

/// Row-major strides.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// For each index within a shape, in row-major order: its offset under other strides.
#[derive(Debug, Clone)]
pub struct Offsets {
    shape: Vec<usize>,
    strides: Vec<usize>,
    index: Vec<usize>,
    offset: usize,
    left: usize,
}

impl Offsets {
    pub fn new(shape: &[usize], strides: &[usize], start: usize) -> Self {
        assert_eq!(shape.len(), strides.len(), "a stride for each axis");
        let left = shape.iter().product();
        Offsets { shape: shape.to_vec(), strides: strides.to_vec(), index: vec![0; shape.len()], offset: start, left }
    }
}

impl Iterator for Offsets {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let offset = self.offset;
        for axis in (0..self.shape.len()).rev() {
            self.index[axis] += 1;
            self.offset += self.strides[axis];
            if self.index[axis] < self.shape[axis] {
                break;
            }
            self.offset -= self.index[axis] * self.strides[axis];
            self.index[axis] = 0;
        }
        Some(offset)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Offsets {}
