//! One input of a network from a file: an array, an array of an archive, or a picture.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, ArrayView, Axis, Dimension, IxDyn, concatenate};

use super::array::{Array, Values};
use super::file::{self, damaged, failed};
use super::npz::Npz;
use super::picture::{Preparation, read_picture};
use super::{npy, npz};
use crate::error::Error;
use crate::network::Port;
use crate::session::TensorView;
use crate::types::{Dim, ElementType, show_shape};

/// An array that a session takes: features as `f32`, tokens as `i32`.
#[derive(Debug, Clone, PartialEq)]
pub enum Tensor {
    /// Numbers.
    F32(ArrayD<f32>),
    /// Tokens.
    I32(ArrayD<i32>),
}

impl Tensor {
    /// With the batch axis first.
    pub fn shape(&self) -> &[usize] {
        match self {
            Tensor::F32(array) => array.shape(),
            Tensor::I32(array) => array.shape(),
        }
    }
    /// What a session takes.
    pub fn view(&self) -> TensorView<'_> {
        match self {
            Tensor::F32(array) => TensorView::from(array.view()),
            Tensor::I32(array) => TensorView::from(array.view()),
        }
    }
}

/// Copies a view of features.
impl<D: Dimension> From<ArrayView<'_, f32, D>> for Tensor {
    fn from(array: ArrayView<'_, f32, D>) -> Self {
        Tensor::F32(array.to_owned().into_dyn())
    }
}

/// Copies a view of tokens.
impl<D: Dimension> From<ArrayView<'_, i32, D>> for Tensor {
    fn from(array: ArrayView<'_, i32, D>) -> Self {
        Tensor::I32(array.to_owned().into_dyn())
    }
}

/// Reads a file for an input, with the batch axis first: a file without one is a batch of one.
///
/// `.npy`, `.npz` (the array named like the input, or the only one; `FILE.npz:NAME` names another), `.png` and
/// `.jpg` are told apart by what they hold.
///
/// # Errors
/// When the file cannot be read, is damaged or does not fit the input.
pub fn read_input(port: &Port, path: &str, preparation: &Preparation) -> Result<Tensor, Error> {
    let (path, key) = split_key(path);
    let path = path.as_path();
    let file = file::open(path)?;
    let len = file.metadata().map_err(|error| failed(path, &error))?.len();
    let mut start = Vec::new();
    (&file).take(8).read_to_end(&mut start).map_err(|error| failed(path, &error))?;
    if start.starts_with(npz::MAGIC) {
        let mut archive = Npz::open(path)?;
        let names = archive.names();
        let name = match (&key, names.as_slice()) {
            (Some(key), _) => key,
            (None, [only]) if *only != port.name => only,
            _ => &port.name,
        };
        return fit(port, path, archive.read(name)?);
    }
    if key.is_some() {
        return Err(damaged(path, "is no archive of arrays, so no array of it can be named"));
    }
    if start.starts_with(npy::MAGIC) {
        let mut reader = start.as_slice().chain(BufReader::new(file));
        return fit(port, path, npy::read_npy(path, &mut reader, len)?);
    }
    if start.starts_with(b"\x89PNG") || start.starts_with(b"\xff\xd8\xff") {
        return picture(port, path, preparation);
    }
    Err(damaged(path, "holds neither an array (.npy, .npz) nor a picture (.png, .jpg)"))
}

/// Whether a file is a picture, by what it holds; one that cannot be read is none.
pub fn is_picture(path: &str) -> bool {
    let mut start = Vec::new();
    let read = file::open(Path::new(path)).is_ok_and(|file| file.take(8).read_to_end(&mut start).is_ok());
    read && (start.starts_with(b"\x89PNG") || start.starts_with(b"\xff\xd8\xff"))
}

/// `FILE.npz:NAME`; a path that exists as it stands has no name.
fn split_key(path: &str) -> (PathBuf, Option<String>) {
    match path.rsplit_once(':') {
        Some((file, key)) if file.ends_with(".npz") && !key.is_empty() && !Path::new(path).exists() => {
            (file.into(), Some(key.to_owned()))
        }
        _ => (path.into(), None),
    }
}

fn picture(port: &Port, path: &Path, preparation: &Preparation) -> Result<Tensor, Error> {
    let shape: Vec<Option<usize>> = port.ty.shape[1..].iter().map(Dim::as_fixed).collect();
    let (name, written) = (&port.name, show_shape(&port.ty.shape[1..]));
    let (channels, height, width) = match shape.as_slice() {
        _ if port.ty.element == ElementType::I32 => {
            return Err(damaged(path, format!("is a picture, but `{name}` takes tokens")));
        }
        [Some(channels), Some(height), Some(width)] => (*channels, *height, *width),
        [Some(height), Some(width)] => (1, *height, *width),
        _ => {
            let message =
                format!("is a picture, but `{name}` has shape {written}: a picture needs [channels, height, width]");
            return Err(damaged(path, message));
        }
    };
    let values = read_picture(path, [channels, height, width], preparation)?;
    let shape: Vec<usize> = std::iter::once(1).chain(shape.into_iter().flatten()).collect();
    Ok(Tensor::F32(ArrayD::from_shape_vec(IxDyn(&shape), values).expect("as many values as were asked for")))
}

/// An array as the port takes it, with the batch axis.
fn fit(port: &Port, path: &Path, mut array: Array) -> Result<Tensor, Error> {
    let shape = array.shape.clone();
    if shape.len() + 1 == port.ty.rank() {
        array.shape.insert(0, 1);
    }
    if !fits(port, &array.shape) {
        let (name, expected) = (&port.name, show_shape(&port.ty.shape[1..]));
        let message = match shape.contains(&0) {
            true => {
                format!("has shape {shape:?}: it holds no values, and `{name}` takes {expected}, or a batch of such")
            }
            false => {
                let help = help_of_ones(port, &shape).unwrap_or_default();
                format!("has shape {shape:?}, but `{name}` takes {expected}, or a batch of such{help}")
            }
        };
        return Err(damaged(path, message));
    }
    to_tensor(port, path, array)
}

/// How to make an array fit that differs by axes of length one alone.
fn help_of_ones(port: &Port, shape: &[usize]) -> Option<String> {
    let without_ones = |sizes: &[usize]| sizes.iter().copied().filter(|size| *size != 1).collect::<Vec<_>>();
    let expected: Vec<usize> = port.ty.shape[1..].iter().map(Dim::as_fixed).collect::<Option<_>>()?;
    let shape_of_one = if without_ones(shape) == without_ones(&expected) { Some(expected.clone()) } else { None };
    let of_many = || {
        let (&n, rest) = shape.split_first()?;
        (without_ones(rest) == without_ones(&expected)).then(|| [&[n], expected.as_slice()].concat())
    };
    let fitting = shape_of_one.or_else(of_many)?;
    Some(format!("; `array.reshape{}` has the same values", format!("{fitting:?}").replace('[', "(").replace(']', ")")))
}

/// Whether the shape, with the batch axis first, is the port's.
fn fits(port: &Port, shape: &[usize]) -> bool {
    let mut sizes = shape.iter().zip(&port.ty.shape);
    let is_same = shape.len() == port.ty.rank() && sizes.all(|(n, dim)| dim.as_fixed().is_none_or(|fixed| fixed == *n));
    is_same && !shape.contains(&0)
}

/// Whether an array of examples is one for the port.
pub(super) fn check_shape(port: &Port, path: &Path, shape: &[usize]) -> Result<(), Error> {
    if fits(port, shape) {
        return Ok(());
    }
    let (name, expected) = (&port.name, show_shape(&port.ty.shape[1..]));
    Err(damaged(path, format!("has shape {shape:?}, but `{name}` takes {expected} for each example")))
}

/// Converts the values to the port's element type.
pub(super) fn to_tensor(port: &Port, path: &Path, array: Array) -> Result<Tensor, Error> {
    let shape = IxDyn(&array.shape);
    let tensor = match port.ty.element {
        ElementType::F32 => {
            Tensor::F32(ArrayD::from_shape_vec(shape, array.into_features(path)?).expect("as many as before"))
        }
        ElementType::I32 => {
            let tokens = array.into_tokens(path, port.vocabulary)?;
            Tensor::I32(ArrayD::from_shape_vec(shape, tokens).expect("as many as before"))
        }
    };
    Ok(tensor)
}

/// Several files for one input as one batch.
///
/// # Errors
/// When their named sizes differ.
pub fn stack(port: &Port, mut tensors: Vec<Tensor>) -> Result<Tensor, Error> {
    if tensors.len() == 1 {
        return Ok(tensors.remove(0));
    }
    let (mut features, mut tokens) = (Vec::new(), Vec::new());
    for tensor in &tensors {
        match tensor {
            Tensor::F32(array) => features.push(array.view()),
            Tensor::I32(array) => tokens.push(array.view()),
        }
    }
    let stacked = match port.ty.element {
        ElementType::F32 => concatenate(Axis(0), &features).map(Tensor::F32),
        ElementType::I32 => concatenate(Axis(0), &tokens).map(Tensor::I32),
    };
    stacked.map_err(|_| {
        let shapes: Vec<String> = tensors.iter().map(|tensor| format!("{:?}", tensor.shape())).collect();
        Error::Input(format!("the files for `{}` have different shapes: {}", port.name, shapes.join(", ")))
    })
}

/// Whether the values are bytes, as pictures are stored.
pub(super) fn is_bytes(array: &Array) -> bool {
    matches!(array.values, Values::U8(_))
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;

    use ndarray::array;

    use super::{Tensor, help_of_ones, read_input, stack};
    use crate::data::npy::tests::npy;
    use crate::data::{Preparation, file, write_npz};
    use crate::network::Port;
    use crate::types::{Dim, TensorType};

    pub(in crate::data) fn port(name: &str, shape: &[usize]) -> Port {
        let sizes = std::iter::once(Dim::batch()).chain(shape.iter().copied().map(Dim::fixed));
        Port { name: name.to_owned(), is_target: false, ty: TensorType::f32(sizes), vocabulary: None }
    }
    pub(in crate::data) fn tokens(name: &str, shape: &[usize], vocabulary: usize) -> Port {
        let sizes = std::iter::once(Dim::batch()).chain(shape.iter().copied().map(Dim::fixed));
        Port { name: name.to_owned(), is_target: true, ty: TensorType::i32(sizes), vocabulary: Some(vocabulary) }
    }

    fn read(port: &Port, path: &std::path::Path) -> Result<Tensor, String> {
        let name = path.display().to_string();
        read_input(port, &name, &Preparation::default())
            .map_err(|error| error.to_string().replace(&path.parent().unwrap().display().to_string(), "DIR"))
    }

    #[test]
    fn axes_of_one_are_explained() {
        let help = |expected: &[usize], shape: &[usize]| help_of_ones(&port("x", expected), shape);
        assert_eq!(help(&[1, 28, 28], &[28, 28]).unwrap(), "; `array.reshape(1, 28, 28)` has the same values");
        assert_eq!(help(&[28, 28], &[5, 1, 28, 28]).unwrap(), "; `array.reshape(5, 28, 28)` has the same values");
        assert_eq!(help(&[28, 28], &[27, 28]), None);
    }

    #[test]
    fn one_axis_more_is_a_batch() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        let x = port("x", &[3]);
        fs::write(&path, npy("|u1", "False", "(3,)", &[1, 2, 3])).unwrap();
        assert_eq!(read(&x, &path).unwrap(), Tensor::F32(array![[1.0, 2.0, 3.0]].into_dyn()));
        fs::write(&path, npy("|u1", "False", "(2, 3)", &[1, 2, 3, 4, 5, 6])).unwrap();
        assert_eq!(read(&x, &path).unwrap().shape(), [2, 3]);
        fs::write(&path, npy("|u1", "False", "(2, 4)", &[0; 8])).unwrap();
        let expected = "DIR/a.npy: has shape [2, 4], but `x` takes [3], or a batch of such";
        assert_eq!(read(&x, &path).unwrap_err(), expected);
        fs::write(&path, npy("|u1", "False", "(0, 3)", &[])).unwrap();
        assert!(read(&x, &path).is_err());
        let expected = "DIR/a.npy: has shape [0, 3]: it holds no values, and `y` takes [], or a batch of such";
        assert_eq!(read(&port("y", &[]), &path).unwrap_err(), expected);
        fs::write(&path, npy("|u1", "False", "(2,)", &[0, 9])).unwrap();
        let expected = "DIR/a.npy: holds 9, which is no token from 0 to 8";
        assert_eq!(read(&tokens("t", &[], 9), &path).unwrap_err(), expected);
        fs::write(&path, "hello").unwrap();
        let expected = "DIR/a.npy: holds neither an array (.npy, .npz) nor a picture (.png, .jpg)";
        assert_eq!(read(&x, &path).unwrap_err(), expected);
    }

    #[test]
    fn archives_by_name_by_key_or_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npz");
        let (one, two) = (array![1.0f32].into_dyn(), array![2.0f32].into_dyn());
        let x = port("x", &[1]);
        file::write(&path, |file| write_npz(file, [("x", one.view()), ("y", two.view())])).unwrap();
        assert_eq!(read(&x, &path).unwrap(), Tensor::F32(array![[1.0]].into_dyn()));
        assert_eq!(read(&x, &dir.path().join("a.npz:y")).unwrap(), Tensor::F32(array![[2.0]].into_dyn()));
        assert_eq!(read(&port("z", &[1]), &path).unwrap_err(), "DIR/a.npz: has no array `z`; it has `x`, `y`");
        file::write(&path, |file| write_npz(file, [("y", two.view())])).unwrap();
        assert_eq!(read(&x, &path).unwrap(), Tensor::F32(array![[2.0]].into_dyn()));
    }

    #[test]
    fn pictures_need_a_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        image::GrayImage::new(4, 4).save(&path).unwrap();
        assert_eq!(read(&port("x", &[1, 2, 2]), &path).unwrap().shape(), [1, 1, 2, 2]);
        assert_eq!(read(&port("x", &[2, 2]), &path).unwrap().shape(), [1, 2, 2]);
        let expected = "DIR/a.png: is a picture, but `x` has shape [4]: a picture needs [channels, height, width]";
        assert_eq!(read(&port("x", &[4]), &path).unwrap_err(), expected);
        let batch = vec![read(&port("x", &[2, 2]), &path).unwrap(), read(&port("x", &[2, 2]), &path).unwrap()];
        assert_eq!(stack(&port("x", &[2, 2]), batch).unwrap().shape(), [2, 2, 2]);
    }
}
