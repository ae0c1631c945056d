//! An array as a file holds it, and its conversion to what a network takes.

use std::io::{self, Read};
use std::path::Path;

use ndarray::{ArrayD, IxDyn, ShapeBuilder};

use super::file;
use crate::error::Error;

/// Row-major values in (nearly) the element type of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Rows first.
    pub shape: Vec<usize>,
    /// In row-major order.
    pub values: Values,
}

/// See [`Array`]; narrower types are held in the next wider of these.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Unsigned bytes, as in pictures.
    U8(Vec<u8>),
    /// Whole numbers.
    I32(Vec<i32>),
    /// Whole numbers.
    I64(Vec<i64>),
    /// Numbers.
    F32(Vec<f32>),
    /// Numbers.
    F64(Vec<f64>),
}

/// The largest whole number below which every one is an `f32`.
const MAX_EXACT: i64 = 1 << 24;

impl Array {
    /// The values as `f32`; what an `f32` cannot hold is an error.
    ///
    /// # Errors
    /// A whole number beyond 2^24, or a number beyond the range.
    pub fn into_features(self, path: &Path) -> Result<Vec<f32>, Error> {
        let refuse = |value: &dyn std::fmt::Display| {
            Err(file::damaged(path, format!("holds {value}, which is no exact `f32`; the network computes in `f32`")))
        };
        match self.values {
            Values::U8(values) => Ok(values.into_iter().map(f32::from).collect()),
            Values::I32(values) => match values.iter().find(|value| i64::from(**value).abs() > MAX_EXACT) {
                Some(value) => refuse(value),
                None => Ok(values.into_iter().map(|value| value as f32).collect()),
            },
            Values::I64(values) => match values.iter().find(|value| !(-MAX_EXACT..=MAX_EXACT).contains(*value)) {
                Some(value) => refuse(value),
                None => Ok(values.into_iter().map(|value| value as f32).collect()),
            },
            Values::F32(values) => Ok(values),
            Values::F64(values) => {
                match values.iter().find(|value| value.is_finite() && value.abs() > f64::from(f32::MAX)) {
                    Some(value) => refuse(value),
                    None => Ok(values.into_iter().map(|value| value as f32).collect()),
                }
            }
        }
    }

    /// The values as tokens: whole numbers from 0 to `vocabulary - 1`.
    ///
    /// # Errors
    /// A value that is no such number.
    pub fn into_tokens(self, path: &Path, vocabulary: Option<usize>) -> Result<Vec<i32>, Error> {
        let most = vocabulary.map_or(i64::from(i32::MAX), |n| n as i64 - 1);
        let token = |value: i64| (0..=most).contains(&value).then_some(value as i32);
        let whole = |value: f64| if value.fract() == 0.0 { token(value as i64) } else { None };
        let refused = match self.values {
            Values::U8(values) => collect(values, |value| token(i64::from(value))),
            Values::I32(values) => collect(values, |value| token(i64::from(value))),
            Values::I64(values) => collect(values, token),
            Values::F32(values) => collect(values, |value| whole(f64::from(value))),
            Values::F64(values) => collect(values, whole),
        };
        refused.map_err(|value| file::damaged(path, format!("holds {value}, which is no token from 0 to {most}")))
    }
}

/// All values converted, or the first one that cannot be.
fn collect<T: Copy + std::fmt::Display>(
    values: Vec<T>,
    convert: impl Fn(T) -> Option<i32>,
) -> Result<Vec<i32>, String> {
    values.into_iter().map(|value| convert(value).ok_or_else(|| value.to_string())).collect()
}

/// The number of elements and bytes of a shape.
pub(super) fn checked_len(shape: &[usize], width: usize) -> Option<(usize, u64)> {
    // Sizes before a 0 count as well, as in numpy.
    let n = shape.iter().filter(|size| **size > 0).try_fold(1usize, |n, size| n.checked_mul(*size))?;
    let bytes = n.checked_mul(width).filter(|bytes| isize::try_from(*bytes).is_ok())?;
    if shape.contains(&0) { Some((0, 0)) } else { Some((n, bytes as u64)) }
}

/// `n` values of `W` bytes each.
pub(super) fn read_values<T, const W: usize>(
    reader: &mut dyn Read,
    n: usize,
    convert: impl Fn([u8; W]) -> T,
) -> io::Result<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(n).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut buffer = vec![0; W << 13];
    while values.len() < n {
        let len = ((n - values.len()) * W).min(buffer.len());
        reader.read_exact(&mut buffer[..len])?;
        values.extend(buffer[..len].as_chunks().0.iter().map(|bytes| convert(*bytes)));
    }
    Ok(values)
}

/// Column-major values in row-major order.
pub(super) fn row_major<T: Clone>(values: Vec<T>, shape: &[usize]) -> Vec<T> {
    let array = ArrayD::from_shape_vec(IxDyn(shape).f(), values).expect("as many values as the shape says");
    array.iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Array, Values};

    fn array(values: Values) -> Array {
        Array { shape: vec![1], values }
    }

    #[test]
    fn features_are_exact_or_refused() {
        let features = |values| array(values).into_features(Path::new("x.npy")).map_err(|error| error.to_string());
        assert_eq!(features(Values::U8(vec![255])).unwrap(), [255.0]);
        assert_eq!(features(Values::I64(vec![-(1 << 24)])).unwrap(), [-16_777_216.0]);
        assert_eq!(
            features(Values::I64(vec![(1 << 24) + 1])).unwrap_err(),
            "x.npy: holds 16777217, which is no exact `f32`; the network computes in `f32`"
        );
        assert!(features(Values::I64(vec![i64::MIN])).is_err());
        assert!(features(Values::I32(vec![i32::MIN])).is_err());
        assert!(features(Values::F64(vec![1e39])).is_err());
        assert_eq!(features(Values::F64(vec![0.1])).unwrap(), [0.1]);
    }

    #[test]
    fn tokens_are_whole_and_known() {
        let tokens =
            |values| array(values).into_tokens(Path::new("x.npy"), Some(10)).map_err(|error| error.to_string());
        assert_eq!(tokens(Values::U8(vec![9])).unwrap(), [9]);
        assert_eq!(tokens(Values::F64(vec![3.0])).unwrap(), [3]);
        assert_eq!(tokens(Values::I64(vec![10])).unwrap_err(), "x.npy: holds 10, which is no token from 0 to 9");
        for bad in
            [Values::I32(vec![-1]), Values::F32(vec![0.5]), Values::F32(vec![f32::NAN]), Values::F64(vec![1e300])]
        {
            assert!(tokens(bad).is_err());
        }
    }
}
