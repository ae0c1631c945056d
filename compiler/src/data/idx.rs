//! Arrays in the format of the MNIST database, plain or packed with gzip.

use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::MAX_UNPACKED;
use super::array::{Array, Values, checked_len, read_values};
use super::file::{damaged, failed, open};
use crate::error::Error;

/// Deflate packs at most this many bytes into one.
const MAX_RATIO: u64 = 1032;

/// Reads a file of either kind; what it begins with tells which.
pub(super) fn read_idx(path: &Path) -> Result<Array, Error> {
    let file = open(path)?;
    let len = file.metadata().map_err(|error| failed(path, &error))?.len();
    let mut file = BufReader::with_capacity(1 << 16, file);
    let is_packed = io::BufRead::fill_buf(&mut file).map_err(|error| failed(path, &error))?.starts_with(&[0x1f, 0x8b]);
    if is_packed {
        let most = len.saturating_mul(MAX_RATIO).min(MAX_UNPACKED);
        read_array(path, &mut MultiGzDecoder::new(file), most, true)
    } else {
        read_array(path, &mut file, len, false)
    }
}

fn read_array(path: &Path, reader: &mut dyn Read, available: u64, is_packed: bool) -> Result<Array, Error> {
    let incomplete = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            damaged(path, "is damaged or incomplete")
        }
        _ => failed(path, &error),
    };
    let mut magic = [0; 4];
    reader.read_exact(&mut magic).map_err(incomplete)?;
    let [0, 0, kind, rank] = magic else {
        return Err(damaged(path, "is no array in MNIST's format (idx)"));
    };
    let width = match kind {
        0x08 | 0x09 => 1,
        0x0b => 2,
        0x0c | 0x0d => 4,
        0x0e => 8,
        _ => return Err(damaged(path, "is no array in MNIST's format (idx)")),
    };
    let sizes = read_values(reader, rank.into(), u32::from_be_bytes).map_err(incomplete)?;
    let shape: Vec<usize> = sizes.into_iter().map(|size| size as usize).collect();
    let (n, bytes) = checked_len(&shape, width)
        .ok_or_else(|| damaged(path, format!("declares an array of shape {shape:?}, too large to be addressed")))?;
    let found = available.saturating_sub(4 + 4 * u64::from(rank));
    // Of a packed file the true length is known at its end only.
    if if is_packed { bytes > found } else { bytes != found } {
        let at_most = if is_packed { "at most " } else { "" };
        let message =
            format!("declares {bytes} bytes of values, but has {at_most}{found}: it is damaged or incomplete");
        return Err(damaged(path, message));
    }
    let values = match kind {
        0x08 => read_values(reader, n, u8::from_be_bytes).map(Values::U8),
        0x09 => read_values(reader, n, |bytes| i8::from_be_bytes(bytes).into()).map(Values::I32),
        0x0b => read_values(reader, n, |bytes| i16::from_be_bytes(bytes).into()).map(Values::I32),
        0x0c => read_values(reader, n, i32::from_be_bytes).map(Values::I32),
        0x0d => read_values(reader, n, f32::from_be_bytes).map(Values::F32),
        _ => read_values(reader, n, f64::from_be_bytes).map(Values::F64),
    };
    let values = values.map_err(incomplete)?;
    // Reaching the end also compares the checksum of a packed file.
    if reader.read(&mut [0]).map_err(incomplete)? > 0 {
        return Err(damaged(path, format!("has more than the {bytes} bytes of values that it declares")));
    }
    Ok(Array { shape, values })
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::io::Write;
    use std::path::Path;

    use super::read_idx;
    use crate::data::{Array, Values};

    pub(in crate::data) fn idx(shape: &[u32], values: &[u8]) -> Vec<u8> {
        let sizes: Vec<u8> = shape.iter().flat_map(|size| size.to_be_bytes()).collect();
        [&[0, 0, 8, shape.len() as u8], &sizes[..], values].concat()
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(path: &Path, bytes: &[u8]) -> Result<Array, String> {
        fs::write(path, bytes).unwrap();
        read_idx(path).map_err(|error| error.to_string().replace(&path.display().to_string(), "FILE"))
    }

    #[test]
    fn plain_and_packed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let bytes = idx(&[2, 3], &[1, 2, 3, 4, 5, 6]);
        let array = Array { shape: vec![2, 3], values: Values::U8(vec![1, 2, 3, 4, 5, 6]) };
        assert_eq!(read(&path, &bytes).unwrap(), array);
        assert_eq!(read(&path, &gz(&bytes)).unwrap(), array);
        let floats = [&[0, 0, 0x0d, 1, 0, 0, 0, 1][..], &1.5f32.to_be_bytes()].concat();
        assert_eq!(read(&path, &floats).unwrap().values, Values::F32(vec![1.5]));
    }

    #[test]
    fn damage_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let good = idx(&[2, 3], &[1, 2, 3, 4, 5, 6]);
        for bytes in [good.clone(), gz(&good)] {
            for end in 0..bytes.len() {
                assert!(read(&path, &bytes[..end]).is_err(), "cut at {end}");
            }
        }
        let mut wrong_checksum = gz(&good);
        let at = wrong_checksum.len() - 8;
        wrong_checksum[at] ^= 1;
        assert_eq!(read(&path, &wrong_checksum).unwrap_err(), "FILE: is damaged or incomplete");
        let longer = [&good[..], &[7]].concat();
        let expected = "FILE: declares 6 bytes of values, but has 7: it is damaged or incomplete";
        assert_eq!(read(&path, &longer).unwrap_err(), expected);
        let expected = "FILE: has more than the 6 bytes of values that it declares";
        assert_eq!(read(&path, &gz(&longer)).unwrap_err(), expected);
        let bomb = gz(&idx(&[u32::MAX, 2], &[]));
        assert!(read(&path, &bomb).unwrap_err().contains("declares 8589934590 bytes of values, but has at most"));
        let huge = idx(&[u32::MAX, u32::MAX, 4], &[]);
        assert!(read(&path, &huge).unwrap_err().ends_with("too large to be addressed"));
        assert_eq!(read(&path, b"\x89PNG....").unwrap_err(), "FILE: is no array in MNIST's format (idx)");
    }
}
