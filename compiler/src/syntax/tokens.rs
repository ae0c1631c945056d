//! The words of a text, for highlighting and completion: right or wrong, every text has them.

use super::layout::token_length;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A name, a keyword or a layer.
    Word,
    Number,
    /// In quotes, closed or not.
    Text,
    Sign,
    /// To the end of its line.
    Comment,
}

/// A word and where it stands, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'t> {
    pub kind: TokenKind,
    pub start: usize,
    pub text: &'t str,
}

/// The tokens of a text in order, without blanks.
///
/// ```
/// # #[cfg(feature = "internals")] {
/// use netc::syntax::{TokenKind, tokens};
///
/// let kinds: Vec<_> = tokens("conv3x3(0.5)  # half").map(|token| (token.kind, token.text)).collect();
/// assert_eq!(kinds[0], (TokenKind::Word, "conv3x3"));
/// assert_eq!(kinds[2], (TokenKind::Number, "0.5"));
/// assert_eq!(kinds[4], (TokenKind::Comment, "# half"));
/// # }
/// ```
pub fn tokens(text: &str) -> impl Iterator<Item = Token<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at += text[at..].find(|c: char| !c.is_whitespace())?;
        let rest = &text[at..];
        let first = rest.chars().next().expect("something is no blank");
        let (kind, length) = match first {
            '#' => (TokenKind::Comment, rest.find('\n').unwrap_or(rest.len())),
            '"' => match token_length(rest) {
                1 => (TokenKind::Text, rest.find('\n').unwrap_or(rest.len())),
                length => (TokenKind::Text, length),
            },
            '0'..='9' => (TokenKind::Number, number_length(rest)),
            _ if first.is_ascii_alphabetic() || first == '_' => (TokenKind::Word, token_length(rest)),
            _ => (TokenKind::Sign, token_length(rest)),
        };
        let token = Token { kind, start: at, text: &rest[..length] };
        at += length;
        Some(token)
    })
}

/// `0.5`, `2e-3`; in `0..4` the point belongs to the range.
fn number_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut end = digits(0);
    if bytes.get(end) == Some(&b'.') && digits(end + 1) > 0 {
        end += 1 + digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits((end + 1 + sign).min(bytes.len()));
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::tokens;

    #[test]
    fn any_text_has_tokens() {
        let of = |text| tokens(text).map(|token| token.text).collect::<Vec<_>>();
        assert_eq!(of("x[0..4] -> é \"a"), ["x", "[", "0", "..", "4", "]", "->", "é", "\"a"]);
        assert_eq!(of("lr=2e-3\n1e 3x2#"), ["lr", "=", "2e-3", "1", "e", "3", "x2", "#"]);
        assert_eq!(of(" \n\t"), [""; 0]);
    }
}
