//! Archives of named arrays, as `numpy.savez` and `numpy.savez_compressed` write them.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use ndarray::ArrayViewD;
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::MAX_UNPACKED;
use super::array::Array;
use super::file::{damaged, failed, open};
use super::npy::{read_npy, write_npy};
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
        let array = read_npy(&within, &mut file, size)?;
        // Reaching the end compares the checksum.
        match file.read(&mut [0]) {
            Ok(0) => Ok(array),
            _ => Err(damaged(&within, "is damaged")),
        }
    }
}

fn broken(path: &Path, error: ZipError) -> Error {
    match error {
        ZipError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => failed(path, &error),
        _ => damaged(path, "is no archive of arrays, or is damaged"),
    }
}

/// Writes an archive of arrays, not packed; the same arrays give the same bytes.
///
/// # Errors
/// When `writer` refuses, or the archive would be beyond 4 GB.
pub fn write_npz<'a>(
    writer: &mut dyn Write,
    arrays: impl IntoIterator<Item = (&'a str, ArrayViewD<'a, f32>)>,
) -> io::Result<()> {
    // The zip format, section 4.3: each entry after its header, then the directory and its end.
    let (mut directory, mut offset, mut n_entries) = (Vec::new(), 0, 0);
    for (name, array) in arrays {
        let name = format!("{name}.npy");
        let mut measure = Measure::default();
        write_npy(&mut measure, &array)?;
        let header = Header { crc: measure.crc.sum(), size: limited(measure.len)?, name: &name };
        writer.write_all(b"PK\x03\x04")?;
        header.write(writer)?;
        writer.write_all(name.as_bytes())?;
        write_npy(writer, &array)?;
        // Made by version 2.0; no comment, disk 0, no attributes.
        directory.extend_from_slice(b"PK\x01\x02\x14\x00");
        header.write(&mut directory)?;
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&limited(offset)?.to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
        offset += (4 + HEADER + name.len()) as u64 + measure.len;
        n_entries += 1;
    }
    let n_entries = u16::try_from(n_entries).map_err(|_| io::ErrorKind::InvalidInput)?;
    writer.write_all(&directory)?;
    writer.write_all(b"PK\x05\x06\x00\x00\x00\x00")?;
    writer.write_all(&n_entries.to_le_bytes())?;
    writer.write_all(&n_entries.to_le_bytes())?;
    writer.write_all(&limited(directory.len() as u64)?.to_le_bytes())?;
    writer.write_all(&limited(offset)?.to_le_bytes())?;
    writer.write_all(&[0, 0])
}

/// Sizes and places are 32 bits wide.
fn limited(n: u64) -> io::Result<u32> {
    u32::try_from(n).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "an .npz holds at most 4 GB"))
}

/// What stands before an entry and in the directory alike.
struct Header<'a> {
    crc: u32,
    size: u32,
    name: &'a str,
}

/// Bytes of a [`Header`].
const HEADER: usize = 26;

impl Header<'_> {
    fn write(&self, writer: &mut dyn Write) -> io::Result<()> {
        let name_len = u16::try_from(self.name.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        // Needs version 2.0; names are UTF-8; stored; the first of January 1980.
        writer.write_all(&[20, 0, 0, 8, 0, 0, 0, 0, 0x21, 0])?;
        writer.write_all(&self.crc.to_le_bytes())?;
        writer.write_all(&self.size.to_le_bytes())?;
        writer.write_all(&self.size.to_le_bytes())?;
        writer.write_all(&name_len.to_le_bytes())?;
        writer.write_all(&[0, 0])
    }
}

/// Counts what is written, and its checksum.
#[derive(Default)]
struct Measure {
    len: u64,
    crc: flate2::Crc,
}

impl Write for Measure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.crc.update(bytes);
        self.len += bytes.len() as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
        file::write(&path, |file| write_npz(file, arrays())).unwrap();
        let mut npz = Npz::open(&path).unwrap();
        assert_eq!(npz.names(), ["x", "y"]);
        assert_eq!(npz.read("x").unwrap().values, Values::F32(vec![1.0, 2.0]));
        let error = npz.read("z").unwrap_err().to_string();
        assert!(error.ends_with("a.npz: has no array `z`; it has `x`, `y`"), "{error}");
        let bytes = fs::read(&path).unwrap();
        file::write(&path, |file| write_npz(file, arrays())).unwrap();
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
        // Whatever is cut or changed, there is an error or the same array.
        let damaged = dir.path().join("damaged.npz");
        for at in 0..bytes.len() {
            fs::write(&damaged, &bytes[..at]).unwrap();
            assert!(Npz::open(&damaged).and_then(|mut npz| npz.read("x")).is_err(), "cut at {at}");
            let mut changed = bytes.clone();
            changed[at] ^= 0x55;
            fs::write(&damaged, changed).unwrap();
            if let Ok(array) = Npz::open(&damaged).and_then(|mut npz| npz.read("x")) {
                assert_eq!(array.values, Values::U8(vec![7; 1000]), "changed at {at}");
            }
        }
    }
}
