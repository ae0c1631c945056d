//! Arrays in numpy's format (NEP 1), read and written.

use std::io::{self, Write};

use crate::artifact::weights::write_floats;
use crate::npy::{Element, Header, MAGIC, f32_header, half};

/// An array of a file, row-major.
#[derive(Debug, PartialEq)]
pub(super) struct Npy {
    pub(super) shape: Vec<usize>,
    pub(super) values: Values,
}

#[derive(Debug, PartialEq)]
pub(super) enum Values {
    Float(Vec<f64>),
    Int(Vec<i64>),
}

/// Reads the bytes of a file; on failure what is wrong with it.
pub(super) fn read(bytes: &[u8]) -> Result<Npy, String> {
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return Err("is no array in numpy's format; `--raw` reads plain numbers".to_owned());
    };
    let cut = || "is damaged or incomplete".to_owned();
    let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
    let (len, rest) = match version[0] {
        1 => rest.split_first_chunk().map(|(len, rest)| (usize::from(u16::from_le_bytes(*len)), rest)),
        2 | 3 => rest.split_first_chunk().map(|(len, rest)| (u32::from_le_bytes(*len) as usize, rest)),
        version => return Err(format!("has version {version} of numpy's format; 1 to 3 can be read")),
    }
    .ok_or_else(cut)?;
    let (header, data) = rest.split_at_checked(len).ok_or_else(cut)?;
    let header = std::str::from_utf8(header).ok().and_then(Header::parse).ok_or("has a damaged header")?;
    let unknown =
        || format!("has elements of type `{}`; numbers of at most 64 bits and booleans can be read", header.descr);
    let Element { is_big_endian, kind, width } = header.element().ok_or_else(unknown)?;
    let shape = &header.shape;
    let n = shape.iter().try_fold(1_usize, |n, &m| n.checked_mul(m));
    let len = n.and_then(|n| n.checked_mul(width));
    if len != Some(data.len()) {
        return Err(format!("declares an array of shape {shape:?}, but has {} bytes of values", data.len()));
    }
    // An element as an integer whose first byte is the lowest.
    let word = |bytes: &[u8]| {
        let fold = |word: u64, byte: &u8| word << 8 | u64::from(*byte);
        if is_big_endian { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) }
    };
    let words = data.chunks_exact(width).map(word);
    let values = match kind {
        "b1" | "u1" | "u2" | "u4" => Values::Int(words.map(|word| word as i64).collect()),
        // What is beyond an `i64` is no token and no number that `f32` knows.
        "u8" => Values::Int(words.map(|word| i64::try_from(word).unwrap_or(i64::MAX)).collect()),
        "i1" => Values::Int(words.map(|word| i64::from(word as i8)).collect()),
        "i2" => Values::Int(words.map(|word| i64::from(word as i16)).collect()),
        "i4" => Values::Int(words.map(|word| i64::from(word as i32)).collect()),
        "i8" => Values::Int(words.map(|word| word as i64).collect()),
        "f2" => Values::Float(words.map(|word| f64::from(half(word as u16))).collect()),
        "f4" => Values::Float(words.map(|word| f64::from(f32::from_bits(word as u32))).collect()),
        "f8" => Values::Float(words.map(f64::from_bits).collect()),
        _ => return Err(unknown()),
    };
    let values = match values {
        values if !header.is_column_major => values,
        Values::Float(values) => Values::Float(row_major(&values, shape)),
        Values::Int(values) => Values::Int(row_major(&values, shape)),
    };
    Ok(Npy { shape: header.shape, values })
}

/// The elements of an array whose first axis is the innermost in memory.
fn row_major<T: Copy>(values: &[T], shape: &[usize]) -> Vec<T> {
    let mut index = vec![0; shape.len()];
    let next = |_| {
        let at = index.iter().zip(shape).rev().fold(0, |at, (i, n)| at * n + i);
        for (i, n) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < *n {
                break;
            }
            *i = 0;
        }
        values[at]
    };
    (0..values.len()).map(next).collect()
}

/// Writes an array.
pub(super) fn write(to: &mut dyn Write, shape: &[usize], values: &[f32]) -> io::Result<()> {
    to.write_all(&f32_header(shape)?)?;
    write_floats(values, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(descr: &str, order: &str, shape: &str, values: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let len = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", &len[..], header.as_bytes(), values].concat()
    }

    #[test]
    fn what_is_written_is_read() {
        for shape in [vec![], vec![0], vec![3], vec![2, 3, 4]] {
            let values: Vec<f32> = (0..shape.iter().product()).map(|i: usize| i as f32 - 1.5).collect();
            let mut bytes = Vec::new();
            write(&mut bytes, &shape, &values).unwrap();
            assert_eq!((bytes.len() - 4 * values.len()) % 64, 0);
            let values = Values::Float(values.into_iter().map(f64::from).collect());
            assert_eq!(read(&bytes), Ok(Npy { shape, values }));
        }
    }

    #[test]
    fn types_and_orders() {
        let values = |bytes: &[u8]| read(bytes).unwrap().values;
        assert_eq!(values(&npy("|u1", "False", "(3,)", &[1, 2, 255])), Values::Int(vec![1, 2, 255]));
        assert_eq!(values(&npy(">i2", "False", "(1,)", &[255, 254])), Values::Int(vec![-2]));
        assert_eq!(values(&npy("<u8", "False", "(1,)", &[255; 8])), Values::Int(vec![i64::MAX]));
        assert_eq!(values(&npy(">f8", "False", "()", &1.5f64.to_be_bytes())), Values::Float(vec![1.5]));
        assert_eq!(values(&npy("<f2", "False", "(2,)", &[0, 0x3c, 1, 0])), Values::Float(vec![1.0, 2.0f64.powi(-24)]));
        // [[1, 2, 3], [4, 5, 6]] by columns.
        let by_columns = values(&npy("|u1", "True", "(2, 3)", &[1, 4, 2, 5, 3, 6]));
        assert_eq!(by_columns, Values::Int(vec![1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn damage_is_told() {
        let check = |bytes: &[u8], expected: &str| {
            let error = read(bytes).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        };
        check(b"PK", "is no array in numpy's format");
        check(b"\x93NUMPY\x07\x00", "has version 7");
        check(b"\x93NUMPY\x01\x00\x02\x00{]", "has a damaged header");
        check(&npy("<f4", "False", "(4611686018427387904, 4)", &[]), "declares an array of shape");
        check(&npy("<f4", "False", "(2,)", &[0; 7]), "declares an array of shape");
        check(&npy("<c8", "False", "(1,)", &[0; 8]), "has elements of type `<c8`");
        check(&npy("é4", "False", "(1,)", &[0; 4]), "has elements of type");
        let good = npy("<f4", "False", "(2,)", &[0; 8]);
        for end in 0..good.len() {
            assert!(read(&good[..end]).is_err(), "cut at {end}");
        }
    }
}
