//! Archives of named arrays, as `numpy.savez` and `numpy.savez_compressed` write them.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use ndarray::ArrayViewD;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::array::Array;
use super::file::{Sink, damaged, failed, open};
use super::npy::{read_npy, write_npy};
use super::MAX_UNPACKED;
use crate::error::Error;

pub(super) const MAGIC: &[u8] = b"PK";

/// An open archive.
pub(super) struct Npz {
    path: PathBuf,
    archive: ZipArchive<BufReader<File>>,
}

impl Npz {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let archive = ZipArchive::new(BufReader::new(open(path)?)).map_err(|error| broken(path, error))?;
        Ok(Npz { path: path.to_owned(), archive })
    }

    /// The arrays' names, in the order of the archive.
    pub(super) fn names(&self) -> Vec<String> {
        self.archive.file_names().map(|name| name.strip_suffix(".npy").unwrap_or(name).to_owned()).collect()
    }

    /// The array of that name.
    pub(super) fn read(&mut self, name: &str) -> Result<Array, Error> {
        let path = self.path.as_path();
        let entry = [format!("{name}.npy"), name.to_owned()];
        let at = entry.iter().find_map(|entry| self.archive.index_for_name(entry));
        let Some(at) = at else {
            let names = self.names().join("`, `");
            return Err(damaged(path, format!("has no array `{name}`; it has `{names}`")));
        };
        let within = PathBuf::from(format!("{}:{name}", path.display()));
        let mut file = self.archive.by_index(at).map_err(|error| broken(&within, error))?;
        let size = file.size();
        if file.compression() != CompressionMethod::Stored && size > MAX_UNPACKED {
            return Err(damaged(&within, format!("unpacks to {size} bytes, more than the limit of {MAX_UNPACKED}")));
        }
        read_npy(&within, &mut file, size)
    }
}

fn broken(path: &Path, error: ZipError) -> Error {
    match error {
        ZipError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => failed(path, &error),
        _ => damaged(path, "is no archive of arrays, or is damaged"),
    }
}

/// Writes an archive of arrays; the same arrays give the same bytes.
///
/// # Errors
/// When `sink` refuses.
pub fn write_npz<'a>(
    sink: &mut dyn Sink,
    arrays: impl IntoIterator<Item = (&'a str, ArrayViewD<'a, f32>)>,
) -> io::Result<()> {
    let mut archive = ZipWriter::new(sink);
    for (name, array) in arrays {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(zip::DateTime::default())
            .large_file(array.len() >= 1 << 29);
        archive.start_file(format!("{name}.npy"), options)?;
        write_npy(&mut io::BufWriter::new(&mut archive), &array)?;
    }
    archive.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use ndarray::array;

    use super::{Npz, write_npz};
    use crate::data::{Values, file};

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npz");
        let (x, y) = (array![[1.0f32, 2.0]].into_dyn(), array![3.0f32].into_dyn());
        let arrays = || [("x", x.view()), ("y", y.view())];
        file::write(&path, |sink| write_npz(sink, arrays())).unwrap();
        let mut npz = Npz::open(&path).unwrap();
        assert_eq!(npz.names(), ["x", "y"]);
        assert_eq!(npz.read("x").unwrap().values, Values::F32(vec![1.0, 2.0]));
        let error = npz.read("z").unwrap_err().to_string();
        assert!(error.ends_with("a.npz: has no array `z`; it has `x`, `y`"), "{error}");
        let bytes = fs::read(&path).unwrap();
        file::write(&path, |sink| write_npz(sink, arrays())).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }

    #[test]
    fn packed_arrays_and_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npz");
        let npy = super::super::npy::tests::npy("|u1", "False", "(1000,)", &[7; 1000]);
        let mut archive = zip::ZipWriter::new(fs::File::create(&path).unwrap());
        archive.start_file("x.npy", zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(&npy).unwrap();
        archive.finish().unwrap();
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.len() < 500);
        assert_eq!(Npz::open(&path).unwrap().read("x").unwrap().values, Values::U8(vec![7; 1000]));
        // Whatever is cut or changed, there is an error or an array, and no panic.
        let damaged = dir.path().join("damaged.npz");
        for at in 0..bytes.len() {
            fs::write(&damaged, &bytes[..at]).unwrap();
            assert!(Npz::open(&damaged).and_then(|mut npz| npz.read("x")).is_err(), "cut at {at}");
            let mut changed = bytes.clone();
            changed[at] ^= 0x55;
            fs::write(&damaged, changed).unwrap();
            let _ = Npz::open(&damaged).and_then(|mut npz| npz.read("x"));
        }
    }
}
