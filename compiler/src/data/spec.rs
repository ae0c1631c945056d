//! Data sources as a user names them: `idx:IMAGES,LABELS`, `npz:FILE`, `text:FILE`, `20%`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use ndarray::{ArrayD, IxDyn};

use super::array::{Array, Values};
use super::examples::{Column, Examples};
use super::file::damaged;
use super::idx::read_idx;
use super::input::{Tensor, check_shape, is_bytes, to_tensor};
use super::npz::Npz;
use super::picture::{Preparation, resize_grey, target_size};
use crate::error::Error;
use crate::network::{Network, Port};
use crate::types::{Dim, ElementType, show_shape};

/// Where examples come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spec {
    /// One file for each input, then for each target, in the order of the network; plain or packed with gzip.
    /// Bytes of pictures are scaled to [0, 1].
    Idx(Vec<PathBuf>),
    /// An archive with an array for each input and target, by name; values are taken as they are. An array with the
    /// name of a sequence axis holds the length of each example.
    Npz(PathBuf),
    /// UTF-8, of which each character tells the next: [`Text::read`](super::Text::read).
    Text(PathBuf),
}

/// What validation uses: a part of the training data, or data of its own.
#[derive(Debug, Clone, PartialEq)]
pub enum Holdout {
    /// Between 0 and 1: the last of the examples.
    Fraction(f64),
    /// A data set of its own.
    Data(Spec),
    /// No validation.
    Nothing,
}

impl FromStr for Spec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = "write `idx:IMAGES,LABELS`, `npz:FILE` or `text:FILE`";
        let Some((kind, rest)) = text.split_once(':') else {
            return Err(format!("`{text}` does not say what kind of data it is; {help}"));
        };
        match kind {
            "idx" | "npz" | "text" if rest.is_empty() => Err(format!("`{text}` names no file; {help}")),
            "idx" if rest.split(',').any(str::is_empty) => Err(format!("`{text}` has a comma and no file beside it")),
            "idx" => Ok(Spec::Idx(rest.split(',').map(PathBuf::from).collect())),
            "npz" => Ok(Spec::Npz(rest.into())),
            "text" => Ok(Spec::Text(rest.into())),
            _ => Err(format!("`{kind}` is no kind of data; {help}")),
        }
    }
}

impl FromStr for Holdout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Holdout::Nothing);
        }
        let Some(percent) = text.strip_suffix('%') else {
            return Spec::from_str(text)
                .map(Holdout::Data)
                .map_err(|error| format!("{error}, a percentage like `20%`, or `none`"));
        };
        match percent.trim().parse::<f64>() {
            Ok(percent) if percent > 0.0 && percent < 100.0 => Ok(Holdout::Fraction(percent / 100.0)),
            _ => Err(format!("`{text}` is no percentage between 0% and 100%")),
        }
    }
}

impl Spec {
    /// Reads everything and checks it against the network's inputs and targets.
    ///
    /// ```no_run
    /// use netc::data::{Preparation, Spec};
    ///
    /// # let network = netc::check_source("m.net", "net m {\n  input x[2]\n  dense(1)\n}")?;
    /// let spec: Spec = "idx:train-images.gz,train-labels.gz".parse().expect("a source of data");
    /// let examples = spec.load(&network, &Preparation::default())?;
    /// # Ok::<(), netc::Error>(())
    /// ```
    ///
    /// # Errors
    /// When a file cannot be read, is damaged, or does not fit.
    pub fn load(&self, network: &Network, preparation: &Preparation) -> Result<Examples, Error> {
        self.load_ports(&network.ports, &network.axes, preparation)
    }

    fn load_ports(&self, ports: &[Port], axes: &[String], preparation: &Preparation) -> Result<Examples, Error> {
        let columns = match self {
            Spec::Npz(path) => {
                let mut archive = Npz::open(path)?;
                let names = archive.names();
                let column = |port: &Port| {
                    let array = archive.read(&port.name)?;
                    check_shape(port, path, &array.shape)?;
                    Column::new(&port.name, to_tensor(port, path, array)?)
                };
                let mut columns = ports.iter().map(column).collect::<Result<Vec<_>, _>>()?;
                for axis in axes.iter().filter(|axis| names.contains(axis)) {
                    let array = archive.read(axis)?;
                    let shape = array.shape.clone();
                    let lengths = array.into_tokens(path, None)?;
                    let lengths = ArrayD::from_shape_vec(IxDyn(&shape), lengths).expect("as many as before");
                    columns.push(Column::new(axis, Tensor::I32(lengths))?);
                }
                columns
            }
            Spec::Text(path) => {
                let message = "is a text, which has no examples: it is read by `Text::read`";
                return Err(damaged(path, message));
            }
            Spec::Idx(paths) => {
                if paths.len() != ports.len() {
                    let names: Vec<String> = ports.iter().map(|port| format!("`{}`", port.name)).collect();
                    let (n, names) = (paths.len(), names.join(", "));
                    return Err(Error::Input(format!(
                        "`idx:` names {n} files; the network takes one for each of {names}"
                    )));
                }
                let columns = ports.iter().zip(paths).map(|(port, path)| idx_column(port, path, preparation));
                columns.collect::<Result<Vec<_>, _>>()?
            }
        };
        Examples::from_columns(columns)
    }
}

impl Holdout {
    /// How many of `n` examples a fraction holds out: the nearest number, and at least one.
    pub fn count(fraction: f64, n: usize) -> usize {
        ((n as f64 * fraction).round() as usize).max(1)
    }
}

fn idx_column(port: &Port, path: &Path, preparation: &Preparation) -> Result<Column, Error> {
    let array = read_idx(path)?;
    // One byte for each example is a label; more of them are a picture.
    let is_pictures = port.ty.element == ElementType::F32 && is_bytes(&array) && array.shape.len() > 1;
    if !is_pictures {
        check_shape(port, path, &array.shape)?;
        return Column::new(&port.name, to_tensor(port, path, array)?);
    }
    // A picture for a sequence: its rows, or whatever its axes are, as they stand.
    let sizes = match port.ty.shape[1..].iter().map(Dim::as_fixed).collect::<Option<Vec<usize>>>() {
        Some(sizes) => sizes,
        None if check_shape(port, path, &array.shape).is_ok() => array.shape[1..].to_vec(),
        None => return Err(misfit(port, path, &array.shape)),
    };
    preparation.check(1)?;
    let (n_examples, bytes) = fit_pictures(port, path, array, &sizes, preparation)?;
    Ok(Column::pictures(&port.name, n_examples, sizes, bytes, preparation))
}

fn misfit(port: &Port, path: &Path, shape: &[usize]) -> Error {
    let (name, expected) = (&port.name, show_shape(&port.ty.shape[1..]));
    damaged(path, format!("has shape {shape:?}, which cannot be made to fit `{name}`{expected}"))
}

/// Pictures as the port takes them: as many bytes in another shape, or resized and repeated over the channels.
fn fit_pictures(
    port: &Port,
    path: &Path,
    array: Array,
    sizes: &[usize],
    preparation: &Preparation,
) -> Result<(usize, Vec<u8>), Error> {
    let misfit = misfit(port, path, &array.shape);
    let (n, shape) = (array.shape[0], &array.shape[1..]);
    let Values::U8(values) = array.values else { unreachable!("pictures are bytes") };
    if shape.iter().product::<usize>() == sizes.iter().product::<usize>() {
        return Ok((n, values));
    }
    let &[from_h, from_w] = shape else { return Err(misfit) };
    let (channels, height, width) = match *sizes {
        [channels @ (1 | 3), height, width] => (channels, height, width),
        [height, width] => (1, height, width),
        _ => return Err(misfit),
    };
    target_size(path, height, width)?;
    if from_h == 0 || from_w == 0 {
        return Err(misfit);
    }
    let mut fitted = Vec::new();
    for picture in values.chunks_exact(from_h * from_w) {
        let Some(resized) = resize_grey(picture, [from_h, from_w], [height, width], preparation) else {
            return Err(misfit);
        };
        (0..channels).for_each(|_| fitted.extend_from_slice(&resized));
    }
    Ok((n, fitted))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use ndarray::ArrayD;

    use super::{Holdout, Spec};
    use crate::data::idx::tests::idx;
    use crate::data::input::tests::{port, tokens};
    use crate::data::{Batch, Dataset, Examples, Preparation, file, write_npz};
    use crate::network::Port;
    use crate::session::TensorView;
    use crate::types::{Dim, TensorType};

    fn load(dir: &Path, spec: &str, ports: &[Port]) -> Result<Examples, String> {
        let spec: Spec = spec.replace("DIR", &dir.display().to_string()).parse().unwrap();
        let examples = spec.load_ports(ports, &[], &Preparation::default());
        examples.map_err(|error| error.to_string().replace(&dir.display().to_string(), "DIR"))
    }

    #[test]
    fn specs_are_read() {
        assert_eq!("idx:a,b.gz".parse(), Ok(Spec::Idx(vec!["a".into(), "b.gz".into()])));
        assert_eq!("npz:a:b".parse(), Ok(Spec::Npz("a:b".into())));
        assert_eq!("text:a".parse(), Ok(Spec::Text("a".into())));
        for wrong in ["", "a.npz", "idx:", "npz:", "text:", "idx:a,", "csv:a", "idx"] {
            assert!(wrong.parse::<Spec>().is_err(), "{wrong}");
        }
        assert_eq!("20%".parse(), Ok(Holdout::Fraction(0.2)));
        assert_eq!("none".parse(), Ok(Holdout::Nothing));
        for wrong in ["0%", "100%", "-5%", "%", "NaN%", "inf%", "20", "x"] {
            assert!(wrong.parse::<Holdout>().is_err(), "{wrong}");
        }
        assert_eq!((Holdout::count(0.2, 10_000), Holdout::count(0.001, 10), Holdout::count(0.5, 3)), (2000, 1, 2));
    }

    #[test]
    fn pictures_and_labels() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("images"), idx(&[2, 2, 2], &[0, 255, 51, 0, 255, 0, 0, 0])).unwrap();
        fs::write(dir.path().join("labels"), idx(&[2], &[3, 9])).unwrap();
        let shape_of = |shape: &[usize]| {
            let ports = [port("x", shape), tokens("y", &[], 10)];
            let examples = load(dir.path(), "idx:DIR/images,DIR/labels", &ports)?;
            let mut batch = Batch::default();
            examples.gather(&[0, 1], &mut batch).unwrap();
            Ok::<_, String>(batch.views()[0].1.shape().to_vec())
        };
        assert_eq!(shape_of(&[1, 2, 2]).unwrap(), [2, 1, 2, 2]);
        assert_eq!(shape_of(&[4]).unwrap(), [2, 4]);
        assert_eq!(shape_of(&[3, 5, 4]).unwrap(), [2, 3, 5, 4]);
        // A picture read row by row.
        let ty = TensorType::f32([Dim::batch(), Dim::axis("T"), Dim::fixed(2)]);
        let rows = Port { ty, ..port("x", &[]) };
        let examples = load(dir.path(), "idx:DIR/images,DIR/labels", &[rows, tokens("y", &[], 10)]).unwrap();
        let mut batch = Batch::default();
        examples.gather(&[1], &mut batch).unwrap();
        let views = batch.views();
        let TensorView::F32(picture) = &views[0].1 else { panic!("features") };
        assert_eq!(picture.iter().copied().collect::<Vec<_>>(), [1.0, 0.0, 0.0, 0.0]);
        assert_eq!(shape_of(&[5]).unwrap_err(), "DIR/images: has shape [2, 2, 2], which cannot be made to fit `x`[5]");
        let ports = [port("x", &[1, 2, 2]), tokens("y", &[], 9)];
        let error = |spec: &str| load(dir.path(), spec, &ports).unwrap_err();
        assert_eq!(error("idx:DIR/images,DIR/labels"), "DIR/labels: holds 9, which is no token from 0 to 8");
        assert_eq!(error("idx:DIR/images"), "`idx:` names 1 files; the network takes one for each of `x`, `y`");
        assert_eq!(error("idx:DIR/images,DIR/none"), "DIR/none: no such file or directory");
        fs::write(dir.path().join("labels"), idx(&[3], &[1, 2, 3])).unwrap();
        assert_eq!(error("idx:DIR/images,DIR/labels"), "`x` has 2 examples, but `y` has 3");
    }

    #[test]
    fn archives_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let (x, y) = (ArrayD::zeros(vec![4, 3]), ArrayD::from_elem(vec![4], 1.0));
        file::write(&dir.path().join("a.npz"), |file| write_npz(file, [("x", x.view()), ("y", y.view())])).unwrap();
        let examples = load(dir.path(), "npz:DIR/a.npz", &[port("x", &[3]), tokens("y", &[], 2)]).unwrap();
        assert_eq!(examples.n_examples(), 4);
        let error = load(dir.path(), "npz:DIR/a.npz", &[port("x", &[2]), tokens("y", &[], 2)]).unwrap_err();
        assert_eq!(error, "DIR/a.npz: has shape [4, 3], but `x` takes [2] for each example");
        let error = load(dir.path(), "npz:DIR/a.npz", &[port("z", &[2])]).unwrap_err();
        assert_eq!(error, "DIR/a.npz: has no array `z`; it has `x`, `y`");
    }
}
