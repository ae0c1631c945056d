//! Numpy's format for arrays (NEP 1): what stands before the values.

use std::io;

/// What every file begins with.
pub const MAGIC: &[u8] = b"\x93NUMPY";

/// What a file says of its array.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// The type of an element: `<f4`.
    pub descr: String,
    /// Whether the first axis is the innermost in memory.
    pub is_column_major: bool,
    pub shape: Vec<usize>,
}

/// How an element lies in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Element<'h> {
    pub is_big_endian: bool,
    /// Without the order of bytes: `f4`.
    pub kind: &'h str,
    /// In bytes, at least 1.
    pub width: usize,
}

impl Header {
    /// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
    pub fn parse(text: &str) -> Option<Header> {
        let mut rest = text.trim().strip_prefix('{')?.trim_start();
        let (mut descr, mut is_column_major, mut shape) = (None, None, None);
        while rest != "}" {
            let (key, after) = quoted(rest)?;
            let value = after.trim_start().strip_prefix(':')?.trim_start();
            rest = match key {
                "descr" => match quoted(value) {
                    Some((text, after)) => {
                        descr = Some(text.to_owned());
                        after
                    }
                    // A record: its type is shown as it stands.
                    None => {
                        let end = value.find(']')? + 1;
                        descr = Some(value[..end].to_owned());
                        &value[end..]
                    }
                },
                "fortran_order" => {
                    is_column_major = Some(value.starts_with("True"));
                    value.strip_prefix("True").or_else(|| value.strip_prefix("False"))?
                }
                "shape" => {
                    let (sizes, after) = value.strip_prefix('(')?.split_once(')')?;
                    let sizes = sizes.split(',').map(str::trim).filter(|size| !size.is_empty());
                    let size = |size: &str| size.trim_end_matches('L').parse().ok();
                    shape = Some(sizes.map(size).collect::<Option<Vec<usize>>>()?);
                    after
                }
                _ => return None,
            };
            rest = rest.trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        }
        Some(Header { descr: descr?, is_column_major: is_column_major?, shape: shape? })
    }

    /// The type of an element; `None` when it is no plain number.
    pub fn element(&self) -> Option<Element<'_>> {
        let (order, kind) = self.descr.split_at_checked(1)?;
        let is_big_endian = match order {
            "<" | "|" => false,
            "=" => cfg!(target_endian = "big"),
            ">" => true,
            _ => return None,
        };
        let width: usize = kind.get(1..)?.parse().ok()?;
        Some(Element { is_big_endian, kind, width: width.max(1) })
    }
}

fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    text[1..].split_once(quote)
}

/// What stands before the values of a row-major array of `f32`; these begin at a multiple of 64 bytes.
///
/// # Errors
/// When there are too many axes for a header.
pub fn f32_header(shape: &[usize]) -> io::Result<Vec<u8>> {
    let sizes: Vec<String> = shape.iter().map(|size| format!("{size},")).collect();
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", sizes.join(" "));
    let len = (header.len() + 11).next_multiple_of(64) - 10;
    let field = u16::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?.to_le_bytes();
    let padded = format!("{header:<width$}\n", width = len - 1);
    Ok([MAGIC, &[1, 0], &field, padded.as_bytes()].concat())
}

/// An IEEE 754 number of 16 bits.
pub fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023) / 1024.0);
    sign * match exponent {
        0 => fraction * 2.0f32.powi(-14),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction) * 2.0f32.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::{Header, half};

    #[test]
    fn headers_cut_anywhere_are_refused() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }";
        assert!(Header::parse(header).is_some());
        assert!(Header::parse("{'shape': (3L,), 'descr': \"<f4\", 'fortran_order': True}").is_some());
        for end in 0..header.len() - 1 {
            assert_eq!(Header::parse(&header[..end]), None, "{}", &header[..end]);
        }
        let record = Header::parse("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': ()}").unwrap();
        assert_eq!((record.descr.as_str(), record.element()), ("[('a', '<f4')]", None));
    }

    #[test]
    fn halves() {
        assert_eq!(
            (half(0x3c00), half(0xc000), half(0x0001), half(0x7c00)),
            (1.0, -2.0, 2.0f32.powi(-24), f32::INFINITY)
        );
    }
}
