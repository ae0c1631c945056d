//! Layout: which newlines end a statement, where the comments are, whether brackets match; one pass before the grammar.

use super::ast::Comment;
use crate::diag::{Code, Diagnostic, FileId, Message, Span};

/// How deep brackets and operators may nest, counted together. No network comes near it, and recursion over what was
/// parsed needs no other guard.
const MAX_DEPTH: usize = 128;

pub(super) struct Layout {
    /// As long as the source, byte for byte: comments, and newlines that end no statement, are spaces.
    pub(super) text: String,
    pub(super) comments: Vec<Comment>,
    /// The first bracket without its partner. The grammar may find a mistake that comes earlier.
    pub(super) mismatch: Option<Diagnostic>,
    /// Whether brackets are open at the end, which a longer text might close.
    pub(super) is_open: bool,
}

/// Reads the layout of a source; fails when it nests too deeply to be parsed at all.
pub(super) fn layout(file: FileId, source: &str) -> Result<Layout, Diagnostic> {
    let mut cx = Cx {
        file,
        source,
        masked: source.as_bytes().to_vec(),
        comments: Vec::new(),
        open: Vec::new(),
        operators: 0,
        depth: 0,
        newlines: Vec::new(),
        last: None,
        suspect: None,
        at_end: false,
    };
    let mismatch = cx.scan()?;
    let is_open = mismatch.is_some() && cx.at_end;
    let text = String::from_utf8(cx.masked).expect("whole characters are replaced by spaces");
    Ok(Layout { text, comments: cx.comments, mismatch, is_open })
}

/// A bracket that was opened and not yet closed.
struct Open {
    bracket: u8,
    at: usize,
    /// The operators of the expression around it, to go on with after it closes.
    outer_operators: usize,
}

struct Cx<'a> {
    file: FileId,
    source: &'a str,
    masked: Vec<u8>,
    comments: Vec<Comment>,
    open: Vec<Open>,
    /// Operators so far in the innermost expression.
    operators: usize,
    /// Open brackets, and the operators of all the expressions we are in.
    depth: usize,
    /// Newlines since the last token: what comes next decides whether they count.
    newlines: Vec<usize>,
    /// Where the last token stands.
    last: Option<usize>,
    /// A `}` further left than the line of its `{`: here another one is probably missing.
    suspect: Option<(usize, usize)>,
    /// Whether the whole source was read.
    at_end: bool,
}

impl Cx<'_> {
    /// Returns the first mismatched bracket, if any.
    fn scan(&mut self) -> Result<Option<Diagnostic>, Diagnostic> {
        let bytes = self.source.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            match bytes[at] {
                b'#' => at = self.comment(at),
                b'\n' => {
                    self.newline(at);
                    at += 1;
                }
                b' ' | b'\t' | b'\r' => at += 1,
                _ => {
                    let length = token_length(&self.source[at..]);
                    self.join_lines(at, length);
                    if self.begins_item(at, length) && !self.open.is_empty() {
                        let word = &self.source[at..at + length];
                        let span = self.span(at, length);
                        return Ok(Some(self.unclosed().also(span, format!("a new `{word}` begins here"))));
                    }
                    if let Some(mismatch) = self.token(at, length)? {
                        return Ok(Some(mismatch));
                    }
                    self.last = Some(at + length - 1);
                    at += length;
                }
            }
        }
        self.at_end = true;
        if self.open.is_empty() {
            return Ok(None);
        }
        let mut diagnostic = self.unclosed();
        if let Some((open, close)) = self.suspect {
            diagnostic = diagnostic
                .also(self.span(open, 1), "perhaps this one was meant to close earlier")
                .also(self.span(close, 1), "it is closed here, further to the left");
        }
        Ok(Some(diagnostic))
    }

    fn comment(&mut self, start: usize) -> usize {
        let end = self.source[start..].find('\n').map_or(self.source.len(), |length| start + length);
        self.masked[start..end].fill(b' ');
        let text = self.source[start..end].trim_end();
        self.comments.push(Comment { span: self.span(start, text.len()), text: text.to_owned() });
        end
    }

    fn newline(&mut self, at: usize) {
        match self.open.last() {
            Some(Open { bracket: b'(' | b'[', .. }) => self.masked[at] = b' ',
            _ => self.newlines.push(at),
        }
    }

    /// Decides about the newlines before a token: `->` and, after `}`, `else` continue the line before.
    fn join_lines(&mut self, at: usize, length: usize) {
        let continues = match &self.source[at..at + length] {
            "->" => true,
            "else" => self.last.is_some_and(|last| self.source.as_bytes()[last] == b'}'),
            _ => false,
        };
        if continues {
            for &newline in &self.newlines {
                self.masked[newline] = b' ';
            }
        } else if !self.newlines.is_empty() {
            self.end_expression();
        }
        self.newlines.clear();
    }

    fn token(&mut self, at: usize, length: usize) -> Result<Option<Diagnostic>, Diagnostic> {
        match &self.source[at..at + length] {
            "(" | "[" | "{" => {
                let bracket = self.source.as_bytes()[at];
                if bracket == b'[' && self.is_glued_to_value(at) {
                    // `x[0][0]…` nests to the left as `a + b + …` does.
                    self.operator(at, 1)?;
                }
                self.open.push(Open { bracket, at, outer_operators: self.operators });
                self.operators = 0;
                self.deeper(at, 1)?;
            }
            ")" | "]" | "}" => return Ok(self.close(at)),
            "," | "->" => self.end_expression(),
            "+" | "-" | "*" | "/" | "@" | "<" | ">" | "==" | "!=" | "<=" | ">=" | "and" | "or" | "not" => {
                self.operator(at, length)?;
            }
            _ => {}
        }
        Ok(None)
    }

    fn is_glued_to_value(&self, at: usize) -> bool {
        let before = self.source[..at].chars().next_back();
        before.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '\'' | ')' | ']' | '}'))
    }

    fn close(&mut self, at: usize) -> Option<Diagnostic> {
        let close = self.source.as_bytes()[at];
        let partner = match close {
            b')' => b'(',
            b']' => b'[',
            _ => b'{',
        };
        let sign = char::from(close);
        let Some(innermost) = self.open.last() else {
            return Some(self.stray(at));
        };
        if innermost.bracket != partner {
            let opened = char::from(innermost.bracket);
            if self.open.iter().any(|open| open.bracket == partner) {
                let label = format!("this `{sign}` comes first");
                return Some(self.unclosed().also(self.span(at, 1), label));
            }
            if innermost.bracket == b'{' {
                return Some(self.stray(at));
            }
            let text = format!("`{opened}` is closed by `{sign}`");
            let opened_here = self.span(innermost.at, 1);
            return Some(
                Message::new(Code::Syntax, text)
                    .at(self.span(at, 1))
                    .label("wrong bracket")
                    .also(opened_here, "opened here"),
            );
        }
        let indentation = |offset: usize| {
            let line = self.source[..offset].rfind('\n').map_or(0, |newline| newline + 1);
            self.source[line..].bytes().take_while(|&byte| byte == b' ').count()
        };
        if self.suspect.is_none() && close == b'}' && indentation(at) < indentation(innermost.at) {
            self.suspect = Some((innermost.at, at));
        }
        let open = self.open.pop()?;
        self.depth -= self.operators + 1;
        self.operators = open.outer_operators;
        None
    }

    fn stray(&self, at: usize) -> Diagnostic {
        let sign = &self.source[at..=at];
        Message::new(Code::Syntax, format!("this `{sign}` closes nothing"))
            .at(self.span(at, 1))
            .label("nothing is open here")
    }

    fn unclosed(&self) -> Diagnostic {
        let open = self.open.last().expect("the caller found an open bracket");
        let text = format!("this `{}` is never closed", char::from(open.bracket));
        Message::new(Code::Syntax, text).at(self.span(open.at, 1)).label("opened here")
    }

    fn operator(&mut self, at: usize, length: usize) -> Result<(), Diagnostic> {
        self.operators += 1;
        self.deeper(at, length)
    }

    fn end_expression(&mut self) {
        self.depth -= self.operators;
        self.operators = 0;
    }

    fn deeper(&mut self, at: usize, length: usize) -> Result<(), Diagnostic> {
        self.depth += 1;
        if self.depth <= MAX_DEPTH {
            return Ok(());
        }
        let text = format!("brackets and operators nest more than {MAX_DEPTH} levels deep");
        let message = Message::new(Code::TooDeep, text).help("give an inner part a name, and use the name");
        Err(message.at(self.span(at, length)).label("one level too many"))
    }

    /// Whether a definition or settings begin here, which they can nowhere but outside all brackets.
    fn begins_item(&self, at: usize, length: usize) -> bool {
        let before = self.source[..at].trim_end_matches([' ', '\t']);
        if !matches!(&self.source[at..at + length], "net" | "block" | "cell" | "train" | "generate")
            || !(before.is_empty() || before.ends_with('\n'))
        {
            return false;
        }
        let is_blank = |c: char| c == ' ' || c == '\t';
        let rest = &self.source[at + length..];
        let name = rest.trim_start_matches(is_blank);
        let after = name.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        name.len() < rest.len()
            && after.len() < name.len()
            && after.trim_start_matches(is_blank).starts_with(['(', '{'])
    }

    fn span(&self, at: usize, length: usize) -> Span {
        Span::new(self.file, at, at + length)
    }
}

/// The length in bytes of the token that `rest` begins with.
pub(super) fn token_length(rest: &str) -> usize {
    const SIGNS: [&str; 11] = ["->", "<-", "==", "!=", "<=", ">=", "..", "&&", "||", "**", "//"];
    let first = rest.chars().next().expect("a token has a first character");
    if first.is_ascii_alphanumeric() || first == '_' {
        return rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    }
    if first == '"' {
        // An unclosed text is the grammar's to report.
        let line = rest[1..].split('\n').next().unwrap_or_default();
        return line.find('"').map_or(1, |quote| quote + 2);
    }
    match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        Some(sign) => sign.len(),
        None => first.len_utf8(),
    }
}
