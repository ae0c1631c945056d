//! Data sets: examples that can be gathered into batches.

use std::fmt;
use std::ops::Range;

use ndarray::{ArrayD, ArrayViewD, IxDyn};

use super::input::Tensor;
use super::picture::Preparation;
use crate::error::Error;
use crate::session::TensorView;

/// What a network is trained and validated on.
pub trait Dataset {
    /// How many examples there are; at least one.
    fn n_examples(&self) -> usize;
    /// Replaces `batch` by the examples of these numbers, in this order.
    ///
    /// # Errors
    /// When they cannot be read.
    fn gather(&self, examples: &[usize], batch: &mut Batch) -> Result<(), Error>;
    /// What a step of its sequences is, for reports.
    fn unit(&self) -> Unit {
        Unit::Step
    }
}

/// What losses are means over, and speeds count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// One member of a batch.
    Example,
    /// A step of a sequence that is cut into windows.
    Step,
    /// One character of a text.
    Character,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unit::Example => "examples",
            Unit::Step => "steps",
            Unit::Character => "characters",
        })
    }
}

/// Some examples, one array for each input and target. Its memory is used again from batch to batch.
#[derive(Debug, Default)]
pub struct Batch {
    columns: Vec<(String, Vec<usize>, Buffer)>,
}

#[derive(Debug)]
enum Buffer {
    F32(Vec<f32>),
    I32(Vec<i32>),
}

impl Batch {
    /// Makes tokens the array at this place, which is there or the next.
    pub(super) fn set_tokens(&mut self, at: usize, name: &str, shape: &[usize], tokens: impl Iterator<Item = i32>) {
        let mut values = match self.columns.get_mut(at) {
            Some((.., Buffer::I32(values))) => std::mem::take(values),
            _ => Vec::new(),
        };
        values.clear();
        values.extend(tokens);
        let column = (name.to_owned(), shape.to_vec(), Buffer::I32(values));
        match self.columns.get_mut(at) {
            Some(old) => *old = column,
            None => self.columns.push(column),
        }
    }
    /// Keeps the first arrays.
    pub(super) fn truncate(&mut self, n: usize) {
        self.columns.truncate(n);
    }
    /// Views with the names of the inputs and targets, as a [`Session`](crate::Session) takes them.
    pub fn views(&self) -> Vec<(&str, TensorView<'_>)> {
        let views = self.columns.iter().map(|(name, shape, buffer)| {
            let shape = IxDyn(shape);
            let expect = "as many values as the shape says";
            let view = match buffer {
                Buffer::F32(values) => TensorView::F32(ArrayViewD::from_shape(shape, values).expect(expect)),
                Buffer::I32(values) => TensorView::I32(ArrayViewD::from_shape(shape, values).expect(expect)),
            };
            (name.as_str(), view)
        });
        views.collect()
    }
}

/// Examples in memory, one column for each input and target.
#[derive(Debug, Clone, PartialEq)]
pub struct Examples {
    n_examples: usize,
    columns: Vec<Column>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) n_examples: usize,
    /// The shape of one example.
    pub(super) shape: Vec<usize>,
    pub(super) values: ColumnValues,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum ColumnValues {
    F32(Vec<f32>),
    I32(Vec<i32>),
    /// Pictures as bytes; they become numbers when a batch is gathered.
    Bytes {
        values: Vec<u8>,
        table: Box<[f32; 256]>,
    },
}

impl Examples {
    /// Arrays by the names of the inputs and targets; the first axis counts the examples.
    ///
    /// ```
    /// use netc::data::{Dataset, Examples, Tensor};
    ///
    /// let (x, label) = (ndarray::Array2::<f32>::zeros((50, 4)), ndarray::Array1::<i32>::zeros(50));
    /// let data = Examples::new([("x", Tensor::from(x.view())), ("label", Tensor::from(label.view()))])?;
    /// assert_eq!(data.n_examples(), 50);
    /// # Ok::<(), netc::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the arrays are not all of the same number of examples, or there is none.
    pub fn new<'a>(arrays: impl IntoIterator<Item = (&'a str, Tensor)>) -> Result<Self, Error> {
        let columns = arrays.into_iter().map(|(name, tensor)| Column::new(name, tensor)).collect::<Result<_, _>>()?;
        Examples::from_columns(columns)
    }

    pub(super) fn from_columns(columns: Vec<Column>) -> Result<Self, Error> {
        let Some(first) = columns.first() else {
            return Err(Error::Input("the data has no arrays".to_owned()));
        };
        let n_examples = first.n_examples;
        if let Some(other) = columns.iter().find(|other| other.n_examples != n_examples) {
            let (a, b, n) = (&first.name, &other.name, other.n_examples);
            return Err(Error::Input(format!("`{a}` has {n_examples} examples, but `{b}` has {n}")));
        }
        if n_examples == 0 {
            return Err(Error::Input("the data has no examples".to_owned()));
        }
        Ok(Examples { n_examples, columns })
    }
}

impl Column {
    pub(super) fn new(name: &str, tensor: Tensor) -> Result<Self, Error> {
        let Some((&n_examples, shape)) = tensor.shape().split_first() else {
            return Err(Error::Input(format!("`{name}` is one number; its first axis counts the examples")));
        };
        let shape = shape.to_vec();
        let values = match tensor {
            Tensor::F32(array) => ColumnValues::F32(row_major(array)),
            Tensor::I32(array) => ColumnValues::I32(row_major(array)),
        };
        Ok(Column { name: name.to_owned(), n_examples, shape, values })
    }
    /// Grey pictures.
    pub(super) fn pictures(
        name: &str,
        n_examples: usize,
        shape: Vec<usize>,
        values: Vec<u8>,
        preparation: &Preparation,
    ) -> Self {
        let values = ColumnValues::Bytes { values, table: Box::new(preparation.table(0)) };
        Column { name: name.to_owned(), n_examples, shape, values }
    }

    fn gather(&self, examples: &[usize], to: Buffer) -> Buffer {
        let len = self.shape.iter().product::<usize>();
        let range = |example: &usize| example * len..(example + 1) * len;
        match (&self.values, to) {
            (ColumnValues::I32(values), to) => {
                let mut to = if let Buffer::I32(to) = to { to } else { Vec::new() };
                to.clear();
                examples.iter().for_each(|example| to.extend_from_slice(&values[range(example)]));
                Buffer::I32(to)
            }
            (ColumnValues::F32(values), to) => {
                let mut to = floats(to);
                examples.iter().for_each(|example| to.extend_from_slice(&values[range(example)]));
                Buffer::F32(to)
            }
            (ColumnValues::Bytes { values, table }, to) => {
                let mut to = floats(to);
                let number = |byte: &u8| table[usize::from(*byte)];
                examples.iter().for_each(|example| to.extend(values[range(example)].iter().map(number)));
                Buffer::F32(to)
            }
        }
    }
}

/// An empty buffer of floats, with the memory of `buffer` if it is one.
fn floats(buffer: Buffer) -> Vec<f32> {
    match buffer {
        Buffer::F32(mut values) => {
            values.clear();
            values
        }
        Buffer::I32(_) => Vec::new(),
    }
}

fn row_major<T: Copy>(array: ArrayD<T>) -> Vec<T> {
    if array.is_standard_layout() {
        let (values, offset) = array.into_raw_vec_and_offset();
        if offset.unwrap_or(0) == 0 {
            return values;
        }
        unreachable!("arrays that own their values begin with them")
    }
    array.iter().copied().collect()
}

impl Dataset for Examples {
    fn n_examples(&self) -> usize {
        self.n_examples
    }
    fn gather(&self, examples: &[usize], batch: &mut Batch) -> Result<(), Error> {
        let mut old = std::mem::take(&mut batch.columns).into_iter().map(|(.., buffer)| buffer);
        for column in &self.columns {
            let buffer = column.gather(examples, old.next().unwrap_or(Buffer::F32(Vec::new())));
            let shape = [&[examples.len()], column.shape.as_slice()].concat();
            batch.columns.push((column.name.clone(), shape, buffer));
        }
        Ok(())
    }
}

/// Consecutive examples of another data set.
#[derive(Clone)]
pub struct Part<'a> {
    of: &'a dyn Dataset,
    range: Range<usize>,
}

impl<'a> Part<'a> {
    /// All of them.
    pub fn whole(of: &'a dyn Dataset) -> Self {
        Part { range: 0..of.n_examples(), of }
    }
}

impl Dataset for Part<'_> {
    fn n_examples(&self) -> usize {
        self.range.len()
    }
    fn gather(&self, examples: &[usize], batch: &mut Batch) -> Result<(), Error> {
        let examples: Vec<usize> = examples.iter().map(|example| self.range.start + example).collect();
        self.of.gather(&examples, batch)
    }
    fn unit(&self) -> Unit {
        self.of.unit()
    }
}

impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("range", &self.range).finish_non_exhaustive()
    }
}

/// All but the last `n` examples, and the last `n`.
///
/// # Errors
/// When one of the two would be empty.
pub fn split(data: &dyn Dataset, n: usize) -> Result<(Part<'_>, Part<'_>), Error> {
    let all = data.n_examples();
    if n == 0 || n >= all {
        return Err(Error::Input(format!("of {all} examples, {n} cannot be held out: both parts need at least one")));
    }
    Ok((Part { of: data, range: 0..all - n }, Part { of: data, range: all - n..all }))
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::{Batch, Column, Dataset, Examples, split};
    use crate::data::{Preparation, Tensor};
    use crate::session::TensorView;

    fn numbers(views: &[(&str, TensorView<'_>)]) -> Vec<f32> {
        let (_, TensorView::F32(array)) = &views[0] else { panic!("features") };
        array.iter().copied().collect()
    }

    #[test]
    fn batches_are_gathered_in_order() {
        let x = Tensor::F32(array![[0.0, 0.5], [1.0, 1.5], [2.0, 2.5]].into_dyn());
        let label = Tensor::I32(array![0, 1, 2].into_dyn());
        let examples = Examples::new([("x", x), ("label", label)]).unwrap();
        let mut batch = Batch::default();
        for _ in 0..2 {
            examples.gather(&[2, 0], &mut batch).unwrap();
            let views = batch.views();
            assert_eq!((views[0].0, views[1].0), ("x", "label"));
            assert_eq!((views[0].1.shape(), numbers(&views)), (&[2, 2][..], vec![2.0, 2.5, 0.0, 0.5]));
            assert!(matches!(&views[1].1, TensorView::I32(label) if label.as_slice() == Some(&[2, 0])));
        }
        let (train, held_out) = split(&examples, 1).unwrap();
        assert_eq!((train.n_examples(), held_out.n_examples()), (2, 1));
        held_out.gather(&[0], &mut batch).unwrap();
        assert_eq!(numbers(&batch.views()), [2.0, 2.5]);
        assert!(split(&examples, 0).is_err() && split(&examples, 3).is_err() && split(&examples, 4).is_err());
    }

    #[test]
    fn columns_by_columns_and_bytes() {
        let by_columns = Array2::from_shape_fn((3, 2), |(i, j)| (10 * i + j) as f32).reversed_axes();
        let examples = Examples::new([("x", Tensor::F32(by_columns.into_dyn()))]).unwrap();
        let mut batch = Batch::default();
        examples.gather(&[1], &mut batch).unwrap();
        assert_eq!(numbers(&batch.views()), [1.0, 11.0, 21.0]);
        let bytes = Column::pictures("x", 2, vec![1, 1, 2], vec![0, 51, 255, 0], &Preparation::default());
        Examples::from_columns(vec![bytes]).unwrap().gather(&[1, 0], &mut batch).unwrap();
        assert_eq!(numbers(&batch.views()), [1.0, 0.0, 0.0, 0.2]);
    }

    #[test]
    fn numbers_of_examples_agree() {
        let of = |n: usize| Tensor::F32(ndarray::ArrayD::zeros(vec![n, 1]));
        let error = Examples::new([("x", of(2)), ("y", of(3))]).unwrap_err().to_string();
        assert_eq!(error, "`x` has 2 examples, but `y` has 3");
        assert_eq!(Examples::new([("x", of(0))]).unwrap_err().to_string(), "the data has no examples");
        assert!(Examples::new([]).is_err());
    }
}
