//! Arrays in numpy's format (NEP 1), read and written.

use std::io::{self, Read, Write};
use std::path::Path;

use ndarray::ArrayViewD;
pub(super) use netc_runtime::npy::MAGIC;
use netc_runtime::npy::{Element, Header, f32_header, half};

use super::array::{Array, Values, checked_len, read_values, row_major};
use super::file::{damaged, failed};
use crate::error::Error;

/// A header says one shape: it is never longer than this.
const MAX_HEADER: usize = 1 << 16;
/// Bytes that are written at a time.
const CHUNK: usize = 1 << 15;

/// Reads an array from what is `available` bytes long; `path` is for messages.
pub(super) fn read_npy(path: &Path, reader: &mut dyn Read, available: u64) -> Result<Array, Error> {
    let (header, header_len) = read_header(path, reader)?;
    let unknown = || {
        let descr = &header.descr;
        damaged(path, format!("has elements of type `{descr}`; numbers of at most 64 bits and booleans can be read"))
    };
    let Element { is_big_endian, kind, width } = header.element().ok_or_else(unknown)?;
    let shape = &header.shape;
    let (n, bytes) = checked_len(shape, width)
        .ok_or_else(|| damaged(path, format!("declares an array of shape {shape:?}, too large to be addressed")))?;
    let found = available.saturating_sub(header_len);
    if bytes != found {
        return Err(damaged(
            path,
            format!("declares {bytes} bytes of values, but has {found}: it is damaged or incomplete"),
        ));
    }
    // `read!(f32, W, Variant)`: little- or big-endian, perhaps widened.
    macro_rules! read {
        ($from:ty, $Variant:ident) => {
            read!($from, $Variant, |value| value.into())
        };
        ($from:ty, $Variant:ident, $widen:expr) => {
            read_values(reader, n, |bytes| {
                let value = if is_big_endian { <$from>::from_be_bytes(bytes) } else { <$from>::from_le_bytes(bytes) };
                ($widen)(value)
            })
            .map(Values::$Variant)
        };
    }
    let values = match kind {
        "b1" | "u1" => read!(u8, U8, |value| value),
        "i1" => read!(i8, I32, i32::from),
        "i2" => read!(i16, I32, i32::from),
        "u2" => read!(u16, I32, i32::from),
        "i4" => read!(i32, I32, |value| value),
        "u4" => read!(u32, I64, i64::from),
        "i8" => read!(i64, I64, |value| value),
        // What is beyond an `i64` is beyond every check that follows, too.
        "u8" => read!(u64, I64, |value| i64::try_from(value).unwrap_or(i64::MAX)),
        "f2" => read!(u16, F32, half),
        "f4" => read!(f32, F32, |value| value),
        "f8" => read!(f64, F64, |value| value),
        _ => return Err(unknown()),
    };
    let values = values.map_err(|error| incomplete(path, &error))?;
    let values = if header.is_column_major { reorder(values, shape) } else { values };
    Ok(Array { shape: header.shape, values })
}

fn incomplete(path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            damaged(path, "is damaged or incomplete")
        }
        _ => failed(path, error),
    }
}

fn reorder(values: Values, shape: &[usize]) -> Values {
    match values {
        Values::U8(values) => Values::U8(row_major(values, shape)),
        Values::I32(values) => Values::I32(row_major(values, shape)),
        Values::I64(values) => Values::I64(row_major(values, shape)),
        Values::F32(values) => Values::F32(row_major(values, shape)),
        Values::F64(values) => Values::F64(row_major(values, shape)),
    }
}

/// The header and the number of bytes before the values.
fn read_header(path: &Path, reader: &mut dyn Read) -> Result<(Header, u64), Error> {
    let mut take = |n: usize| {
        let mut bytes = vec![0; n];
        reader.read_exact(&mut bytes).map(|()| bytes).map_err(|error| incomplete(path, &error))
    };
    let start = take(8)?;
    if !start.starts_with(MAGIC) {
        return Err(damaged(path, "is no array in numpy's format"));
    }
    let (len, prefix) = match start[6] {
        1 => (take(2)?.iter().rev().fold(0, |len, byte| len << 8 | usize::from(*byte)), 10),
        2 | 3 => (take(4)?.iter().rev().fold(0, |len, byte| len << 8 | usize::from(*byte)), 12),
        version => return Err(damaged(path, format!("has version {version} of numpy's format; 1 to 3 can be read"))),
    };
    if len > MAX_HEADER {
        return Err(damaged(path, format!("has a header of {len} bytes, more than any array needs")));
    }
    let text = take(len)?;
    let header = std::str::from_utf8(&text).ok().and_then(Header::parse);
    let header = header.ok_or_else(|| damaged(path, "has a damaged header"))?;
    Ok((header, (prefix + len) as u64))
}

/// Writes an array of `f32`.
///
/// # Errors
/// When `writer` refuses.
pub fn write_npy(writer: &mut dyn Write, array: &ArrayViewD<'_, f32>) -> io::Result<()> {
    writer.write_all(&f32_header(array.shape())?)?;
    let mut bytes = Vec::with_capacity(CHUNK);
    for value in array {
        bytes.extend_from_slice(&value.to_le_bytes());
        if bytes.len() >= CHUNK {
            writer.write_all(&bytes)?;
            bytes.clear();
        }
    }
    writer.write_all(&bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use ndarray::{ArrayD, Dimension, IxDyn};

    use super::{Array, Values, read_npy, write_npy};

    fn read(bytes: &[u8]) -> Result<Array, String> {
        read_npy(Path::new("a.npy"), &mut &*bytes, bytes.len() as u64).map_err(|error| error.to_string())
    }

    pub(in crate::data) fn npy(descr: &str, order: &str, shape: &str, values: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let len = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", &len[..], header.as_bytes(), values].concat()
    }

    #[test]
    fn what_is_written_is_read() {
        for shape in [vec![], vec![0], vec![3], vec![2, 3, 4]] {
            let n = shape.iter().product::<usize>();
            let array = ArrayD::from_shape_fn(IxDyn(&shape), |index| index.slice().iter().sum::<usize>() as f32);
            let mut bytes = Vec::new();
            write_npy(&mut bytes, &array.view()).unwrap();
            assert_eq!((bytes.len() - 4 * n) % 64, 0);
            let values = array.iter().copied().collect();
            assert_eq!(read(&bytes).unwrap(), Array { shape, values: Values::F32(values) });
        }
    }

    #[test]
    fn types_and_orders() {
        assert_eq!(read(&npy("|u1", "False", "(3,)", &[1, 2, 3])).unwrap().values, Values::U8(vec![1, 2, 3]));
        assert_eq!(read(&npy(">i2", "False", "(1,)", &[255, 254])).unwrap().values, Values::I32(vec![-2]));
        assert_eq!(read(&npy("<u8", "False", "(1,)", &[255; 8])).unwrap().values, Values::I64(vec![i64::MAX]));
        assert_eq!(read(&npy(">f8", "False", "()", &1.5f64.to_be_bytes())).unwrap().values, Values::F64(vec![1.5]));
        // [[1, 2, 3], [4, 5, 6]] by columns.
        let by_columns = read(&npy("|u1", "True", "(2, 3)", &[1, 4, 2, 5, 3, 6])).unwrap();
        assert_eq!(by_columns.values, Values::U8(vec![1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn damage_is_told() {
        let check = |bytes: &[u8], expected: &str| assert_eq!(read(bytes).unwrap_err(), format!("a.npy: {expected}"));
        check(b"PK", "is damaged or incomplete");
        check(b"01234567890123", "is no array in numpy's format");
        check(b"\x93NUMPY\x07\x00", "has version 7 of numpy's format; 1 to 3 can be read");
        check(b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "has a header of 4294967295 bytes, more than any array needs");
        check(b"\x93NUMPY\x01\x00\x02\x00{]", "has a damaged header");
        let huge = npy("<f4", "False", "(4611686018427387904, 4)", &[]);
        check(&huge, "declares an array of shape [4611686018427387904, 4], too large to be addressed");
        let large = npy("<f4", "False", "(1000000000000,)", &[0; 8]);
        check(&large, "declares 4000000000000 bytes of values, but has 8: it is damaged or incomplete");
        let short = npy("<f4", "False", "(2,)", &[0; 7]);
        check(&short, "declares 8 bytes of values, but has 7: it is damaged or incomplete");
        let long = npy("<f4", "False", "(2,)", &[0; 9]);
        check(&long, "declares 8 bytes of values, but has 9: it is damaged or incomplete");
        let text = npy("<U5", "False", "(1,)", &[0; 5]);
        check(&text, "has elements of type `<U5`; numbers of at most 64 bits and booleans can be read");
        assert!(read(&npy("é", "False", "(1,)", &[0])).is_err());
    }
}
