//! The header of a safetensors file, of which nothing is trusted.
//!
//! A file is the length of the header (eight bytes), the header (JSON), and the values of all tensors one after the other:
//! <https://github.com/huggingface/safetensors>.

use crate::order::sort_by;

/// The longest header that is read, in bytes.
pub(super) const LONGEST: u64 = 100_000_000;
/// How deep values that nobody knows may be nested.
const DEEPEST: usize = 32;

/// What a file says of its tensors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// In the order of their values, which leave no gap.
    pub(super) tensors: Vec<Entry>,
    pub(super) metadata: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) dtype: String,
    pub(super) shape: Vec<u64>,
    /// Bytes behind the header.
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Header {
    /// Reads a header whose file has so many bytes behind it.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn parse(json: &[u8], data: u64) -> Result<Header, String> {
        let text = std::str::from_utf8(json).map_err(|_| "the header is not text".to_owned())?;
        let mut parser = Parser { text, at: 0 };
        let mut header = parser.header().ok_or_else(|| format!("the header is damaged at byte {}", parser.at))?;
        let mut names: Vec<&str> = header.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        sort_by(&mut names, Ord::cmp);
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("`{}` stands twice in the weights", pair[0]));
        }
        sort_by(&mut header.tensors, |a, b| (a.start, a.end, &a.name).cmp(&(b.start, b.end, &b.name)));
        let mut end = 0;
        for tensor in &header.tensors {
            let name = &tensor.name;
            if tensor.start != end || tensor.end < tensor.start {
                return Err(format!("the values of `{name}` are not where those before them end"));
            }
            end = tensor.end;
            let Some(width) = width(&tensor.dtype) else { continue };
            let bits = tensor.shape.iter().try_fold(width, |n, &size| n.checked_mul(size));
            if bits.is_none_or(|bits| bits.div_ceil(8) != tensor.end - tensor.start) {
                return Err(format!("`{name}` has not as many values as its shape {:?} says", tensor.shape));
            }
        }
        if end != data {
            return Err(format!("there are {data} bytes of values, and the header tells of {end}"));
        }
        Ok(header)
    }
}

/// The bits of an element, where the type is known.
fn width(dtype: &str) -> Option<u64> {
    Some(match dtype {
        "F32" | "I32" | "U32" => 32,
        "F64" | "I64" | "U64" => 64,
        "F16" | "BF16" | "I16" | "U16" => 16,
        "BOOL" | "I8" | "U8" | "F8_E4M3" | "F8_E5M2" => 8,
        _ => return None,
    })
}

/// JSON, as far as headers use it. `None` is a mistake at `at`.
struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn header(&mut self) -> Option<Header> {
        let mut header = Header::default();
        let mut has_metadata = false;
        self.object(&mut |parser, name| {
            if name == "__metadata__" {
                if std::mem::replace(&mut has_metadata, true) {
                    return None;
                }
                return parser.object(&mut |parser, key| {
                    let value = parser.string()?;
                    header.metadata.push((key, value));
                    Some(())
                });
            }
            let mut tensor = Entry { name, start: u64::MAX, ..Entry::default() };
            let mut known = [false; 3];
            parser.object(&mut |parser, key| {
                let which = match key.as_str() {
                    "dtype" => {
                        tensor.dtype = parser.string()?;
                        0
                    }
                    "shape" => {
                        parser.array(&mut |parser| {
                            tensor.shape.push(parser.number()?);
                            Some(())
                        })?;
                        1
                    }
                    "data_offsets" => {
                        let mut offsets = Vec::new();
                        parser.array(&mut |parser| {
                            offsets.push(parser.number()?);
                            Some(())
                        })?;
                        let [start, end] = offsets[..] else { return None };
                        (tensor.start, tensor.end) = (start, end);
                        2
                    }
                    _ => return parser.skip(0),
                };
                (!std::mem::replace(&mut known[which], true)).then_some(())
            })?;
            known.iter().all(|&known| known).then(|| header.tensors.push(tensor))
        })?;
        self.space();
        (self.at == self.text.len()).then_some(header)
    }

    fn space(&mut self) {
        let rest = self.text[self.at..].trim_start_matches([' ', '\t', '\n', '\r']);
        self.at = self.text.len() - rest.len();
    }
    fn peek(&mut self) -> Option<u8> {
        self.space();
        self.text.as_bytes().get(self.at).copied()
    }
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }
    /// A list between two brackets.
    fn list(&mut self, [open, close]: [u8; 2], item: &mut dyn FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.expect(open)?;
        if self.peek()? == close {
            return self.expect(close);
        }
        loop {
            item(self)?;
            if self.peek()? == close {
                return self.expect(close);
            }
            self.expect(b',')?;
        }
    }
    fn array(&mut self, item: &mut dyn FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.list(*b"[]", item)
    }
    fn object(&mut self, member: &mut dyn FnMut(&mut Self, String) -> Option<()>) -> Option<()> {
        self.list(*b"{}", &mut |parser| {
            let key = parser.string()?;
            parser.expect(b':')?;
            member(parser, key)
        })
    }
    fn number(&mut self) -> Option<u64> {
        self.space();
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number = rest[..end].parse().ok()?;
        self.at += end;
        Some(number)
    }
    fn string(&mut self) -> Option<String> {
        self.expect(b'"')?;
        let mut string = String::new();
        loop {
            let rest = &self.text[self.at..];
            let end = rest.find(['"', '\\'])?;
            let plain = &rest[..end];
            if plain.bytes().any(|byte| byte < b' ') {
                return None;
            }
            string.push_str(plain);
            self.at += end + 1;
            if rest.as_bytes()[end] == b'"' {
                return Some(string);
            }
            let escape = *self.text.as_bytes().get(self.at)?;
            self.at += 1;
            string.push(match escape {
                b'"' | b'\\' | b'/' => char::from(escape),
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'u' => self.unicode()?,
                _ => return None,
            });
        }
    }
    /// What follows `\u`: one number, or the two of a surrogate pair.
    fn unicode(&mut self) -> Option<char> {
        let first = self.hex()?;
        let code = if (0xd800..0xdc00).contains(&first) {
            if !self.text[self.at..].starts_with("\\u") {
                return None;
            }
            self.at += 2;
            let second = self.hex()?.checked_sub(0xdc00).filter(|&low| low < 0x400)?;
            0x10000 + ((first - 0xd800) << 10) + second
        } else {
            first
        };
        char::from_u32(code)
    }
    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }
    /// Any value.
    fn skip(&mut self, depth: usize) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        match self.peek()? {
            b'"' => self.string().map(|_| ()),
            b'[' => self.array(&mut |parser| parser.skip(depth + 1)),
            b'{' => self.object(&mut |parser, _| parser.skip(depth + 1)),
            _ => {
                let rest = &self.text[self.at..];
                let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
                let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                self.at += end;
                (end > 0).then_some(())
            }
        }
    }
}

/// Appends a string as JSON writes it.
pub(super) fn put_string(string: &str, to: &mut String) {
    to.push('"');
    for c in string.chars() {
        match c {
            '"' => to.push_str("\\\""),
            '\\' => to.push_str("\\\\"),
            '\n' => to.push_str("\\n"),
            '\r' => to.push_str("\\r"),
            '\t' => to.push_str("\\t"),
            '\u{8}' => to.push_str("\\b"),
            '\u{c}' => to.push_str("\\f"),
            c if c < ' ' => to.push_str(&format!("\\u{:04x}", c as u32)),
            c => to.push(c),
        }
    }
    to.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str, data: u64) -> Result<Header, String> {
        Header::parse(json.as_bytes(), data)
    }

    #[test]
    fn headers_are_read() {
        let json = r#" {"b": {"dtype":"F32", "extra": [1e-3, {"x": null}], "shape":[ 2 ,1],"data_offsets":[4,12]},
            "__metadata__":{"step":"3","quo\"te\u00e9\ud83d\ude00":"\\\n"}, "a":{"data_offsets":[0,4],"shape":[],"dtype":"F32"}} "#;
        let header = parse(json, 12).unwrap();
        let names: Vec<&str> = header.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(header.tensors[1].shape, [2, 1]);
        assert_eq!(header.metadata[1], ("quo\"teé😀".to_owned(), "\\\n".to_owned()));
        assert_eq!(parse("{}", 0), Ok(Header::default()));
    }

    #[test]
    fn what_is_written_is_read() {
        let string = "a\"b\\c\n\r\t\u{8}\u{c}\u{1}é😀/";
        let mut json = String::new();
        put_string(string, &mut json);
        assert_eq!(Parser { text: &json, at: 0 }.string().as_deref(), Some(string));
    }

    #[test]
    fn hostile_headers_are_refused() {
        let tensor = |name: &str, shape: &str, start: u64, end: u64| {
            format!(r#""{name}":{{"dtype":"F32","shape":{shape},"data_offsets":[{start},{end}]}}"#)
        };
        let one = |tensor: String| format!("{{{tensor}}}");
        let cases = [
            (one(tensor("a", "[1]", 0, 4)), 8, "tells of 4"),
            (one(tensor("a", "[2]", 0, 4)), 4, "as its shape"),
            (one(tensor("a", "[4294967296,4294967296]", 0, 0)), 0, "as its shape"),
            (one(tensor("a", "[1]", 4, 8)), 8, "are not where"),
            (one(tensor("a", "[1]", 4, 0)), 4, "are not where"),
            (one(format!("{},{}", tensor("a", "[1]", 0, 4), tensor("a", "[1]", 4, 8))), 8, "twice"),
            (one(format!("{},{}", tensor("a", "[2]", 0, 8), tensor("b", "[2]", 4, 12))), 12, "are not where"),
            (one(tensor("a", "[-1]", 0, 4)), 4, "damaged"),
            (one(tensor("a", "[1.5]", 0, 4)), 4, "damaged"),
            (one(tensor("a", "[18446744073709551616]", 0, 4)), 4, "damaged"),
            (r#"{"a":{"dtype":"F32","shape":[1]}}"#.to_owned(), 4, "damaged"),
            (r#"{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#.to_owned(), 4, "damaged"),
            ("{\"a\": \"\u{1}\"}".to_owned(), 0, "damaged"),
            ("{} {}".to_owned(), 0, "damaged"),
            ("{\"\\ud800\":1}".to_owned(), 0, "damaged"),
            (format!("{{\"a\":{{\"x\":{}", "[".repeat(100_000)), 0, "damaged"),
            (String::new(), 0, "damaged"),
        ];
        for (json, data, expected) in cases {
            let error = parse(&json, data).unwrap_err();
            assert!(error.contains(expected), "{json:.60}: {error}");
        }
        assert!(Header::parse(&[b'{', 0xff, b'}'], 0).is_err());
    }

    #[test]
    fn every_cut_and_flip_is_survived() {
        let json = r#"{"__metadata__":{"k":"v\u00e9"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        for end in 0..json.len() {
            assert!(parse(&json[..end], 4).is_err(), "cut at {end}");
            for byte in 0..=127 {
                let mut bytes = json.as_bytes().to_vec();
                bytes[end] = byte;
                Header::parse(&bytes, 4).ok();
            }
        }
    }
}
