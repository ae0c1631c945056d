//! A syntax error in a user's words: what was found, what was expected, what to do.

use pest::error::{Error, ErrorVariant, InputLocation};

use super::layout::token_length;
use super::parse::Rule;
use crate::diag::{Code, Diagnostic, FileId, Message, Span};

/// Turns pest's error into ours. `text` is the text that pest saw, in which comments are spaces.
pub(super) fn explain(file: FileId, text: &str, error: &Error<Rule>) -> Diagnostic {
    let at = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
    };
    let ErrorVariant::ParsingError { positives, .. } = &error.variant else {
        unreachable!("only the builder makes errors of its own: {error:?}")
    };
    let cx = Cx::new(text, at, positives);
    let (message, label) = cx.told();
    message.at(Span::new(file, cx.start, cx.start + cx.found.len())).label(label)
}

struct Cx<'a> {
    /// The token that does not fit; empty at the end of a line or of the file.
    found: &'a str,
    /// Where it stands; at the end of a line, right after the line's last token.
    start: usize,
    /// What follows it.
    rest: &'a str,
    /// The tokens before it on its line. Lines are the grammar's: one may hold several of the file's.
    line: Vec<&'a str>,
    /// Whether the token before touches it.
    glued: bool,
    /// What the grammar would have taken.
    rules: &'a [Rule],
}

const ITEMS: [&str; 7] = ["net", "block", "cell", "const", "import", "train", "generate"];
const KEYWORDS: [&str; 8] = ["input", "target", "state", "param", "layer", "output", "loss", "metric"];
const RESERVED: [&str; 7] = ["if", "else", "for", "in", "and", "or", "not"];

impl<'a> Cx<'a> {
    fn new(text: &'a str, at: usize, rules: &'a [Rule]) -> Self {
        let (mut line, mut end) = (Vec::new(), 0);
        while let Some(blanks) = text[end..].find(|c| !matches!(c, ' ' | '\t' | '\r')) {
            let start = end + blanks;
            if text.as_bytes()[start] == b'\n' {
                if start >= at {
                    break;
                }
                line.clear();
                end = start + 1;
                continue;
            }
            let length = token_length(&text[start..]);
            if start + length > at {
                let glued = start == end && start > 0;
                let (found, rest) = text[start..].split_at(length);
                return Cx { found, start, rest, line, glued, rules };
            }
            line.push(&text[start..start + length]);
            end = start + length;
        }
        // Right after the last token; blank lines at the end of the file are not worth showing.
        let start = text[..at].trim_end().len();
        Cx { found: "", start, rest: &text[end..], line, glued: false, rules }
    }

    /// The message, and the label at the token.
    fn told(&self) -> (Message, String) {
        let special = self.lexical().or_else(|| self.repeat()).or_else(|| self.position());
        let (text, help) = special.unwrap_or_else(|| (self.expected_found(), None));
        let label = match text.contains("expected") {
            true => format!("expected {}", self.expected()),
            false => String::new(),
        };
        let message = Message::new(Code::Syntax, text);
        (if let Some(help) = help { message.help(help) } else { message }, label)
    }

    /// Tokens that belong to other languages, or to none.
    fn lexical(&self) -> Option<Told> {
        let found = self.found;
        let expected = self.expected_found();
        let foreign = format!("`{found}` is not part of the language");
        let told = match found {
            "\"" => ("this text is never closed".to_owned(), help("a text in quotes ends on its line")),
            ";" => (expected, help("a statement ends with its line")),
            "//" => (foreign, help("a comment starts with `#`")),
            "&&" => (foreign, help("write `and`")),
            "||" => (foreign, help("write `or`")),
            "!" => (foreign, help("write `not`")),
            "**" | "^" => (foreign, help("there are no powers; multiply: `x * x`")),
            "." if self.glued && self.before().starts_with(|c: char| c.is_ascii_digit()) => {
                (expected, Some(format!("write `{}.0`", self.before())))
            }
            "." if self.wants_value() && self.rest.starts_with(|c: char| c.is_ascii_digit()) => {
                (expected, help("write the zero before the point: `0.5`"))
            }
            "'" => (expected, help("a prime stands right after the name of a state: `h'`")),
            _ if found.starts_with(|c: char| c.is_ascii_digit()) && found.contains(|c: char| !c.is_ascii_digit()) => {
                (format!("`{found}` is neither a number nor a name"), help("a name begins with a letter"))
            }
            _ if !found.is_ascii() && found.starts_with(char::is_alphabetic) => {
                (expected, help("names are made of the letters a to z, digits and `_`"))
            }
            _ => return None,
        };
        Some(told)
    }

    /// Repeats that are not glued, or not well-formed.
    fn repeat(&self) -> Option<Told> {
        let count = self.found.strip_prefix('x')?;
        let counts = count.bytes().all(|byte| byte.is_ascii_digit());
        let before = self.before();
        let count = if count.is_empty() && self.rest.starts_with('(') { "(…)" } else { count };
        let is_repeat = counts && !count.is_empty();
        if matches!(before, ")" | "}") && is_repeat && !self.glued {
            let text = format!("the repeat `x{count}` is apart from what it repeats");
            return Some((text, Some(format!("glue it on: `{before}x{count}`"))));
        }
        if matches!(before, ")" | "}") && self.glued {
            let text = "a repeat is a number, or a value in parentheses".to_owned();
            return Some((text, help("write `x2`, `x(depth)` or `x(depth - 1)`")));
        }
        if is_repeat && !self.glued && is_word(before) {
            let text = "only what ends in a parenthesis or brace can be repeated".to_owned();
            return Some((text, Some(format!("write `({before})x{count}`"))));
        }
        None
    }

    /// What the place of the token says about the mistake.
    fn position(&self) -> Option<Told> {
        let (found, before) = (self.found, self.before());
        let expected = self.expected_found();
        if self.wants_item() {
            return Some((expected, self.item_help()));
        }
        if RESERVED.contains(&found) && (self.rules.contains(&Rule::name) || KEYWORDS.contains(&before)) {
            return Some((format!("`{found}` is a reserved word and cannot be a name"), help("choose another name")));
        }
        if self.line.len() == 1 && KEYWORDS.contains(&before) && self.wants_operator() {
            let what = if matches!(before, "output" | "loss" | "metric") { "a value" } else { "a name" };
            return Some((format!("`{before}` is followed by {what}, not by {}", self.found_text()), None));
        }
        if found == "else" && !self.wants_operator() {
            return Some(("this `else` has no `if`".to_owned(), None));
        }
        if found == "->" && self.wants_statement() {
            return Some((
                "nothing flows into this `->`".to_owned(),
                help("begin with a value or a layer: `x -> relu`"),
            ));
        }
        if found == "=" && self.line.contains(&"if") {
            return Some((expected, help("compare with `==`")));
        }
        if found == "=" && self.rules.contains(&Rule::name) && self.wants_value() {
            return Some((expected, Some(format!("a setting has no `=`: write `{before} …`"))));
        }
        if found.is_empty() && self.wants_value() && !before.is_empty() {
            let continued = match before {
                "->" => "to go on in the next line, begin that line with `->`",
                _ => "a statement ends with its line; put it in parentheses to go on in the next",
            };
            return Some((
                format!("expected {} after `{before}`, found {}", self.expected(), self.found_text()),
                help(continued),
            ));
        }
        if before == "." || found == "." {
            return Some((expected, help("a part of a value is named right after the point: `encoder.state`")));
        }
        if self.wants_operator() && self.rules.contains(&Rule::line_end) && starts_value(found) {
            return Some((expected, help("join layers with `->`, or give each a line of its own")));
        }
        None
    }

    fn item_help(&self) -> Option<String> {
        if !is_word(self.found) {
            return None;
        }
        if KEYWORDS.contains(&self.found) || RESERVED.contains(&self.found) || !is_word(self.rest.trim_start()) {
            return help("statements stand in the braces of a `net`, `block` or `cell`");
        }
        Message::new(Code::Syntax, "").did_you_mean(self.found, ITEMS).help.pop()
    }

    fn expected_found(&self) -> String {
        format!("expected {}, found {}", self.expected(), self.found_text())
    }

    fn found_text(&self) -> String {
        match self.found.chars().next() {
            None if self.rest.trim_start().is_empty() => "the end of the file".to_owned(),
            None => "the end of the line".to_owned(),
            Some('"') => "a text in quotes".to_owned(),
            Some(c) if c.is_control() || (c.is_whitespace() && c != ' ') || c == '\u{feff}' => {
                format!("the character U+{:04X}", u32::from(c))
            }
            Some(_) => format!("`{}`", self.found),
        }
    }

    /// What could stand here, in words.
    fn expected(&self) -> String {
        let has = |rule| self.rules.contains(&rule);
        let mut words = Vec::new();
        if self.wants_item() {
            words = ITEMS.map(|item| format!("`{item}`")).to_vec();
        } else if self.wants_statement() {
            words.push("a statement".to_owned());
        } else if self.wants_value() {
            words.push(if self.before() == "->" { "a layer" } else { "a value" }.to_owned());
        } else {
            for (rule, word) in SIGNS {
                // After a whole value nearly everything could go on; say what could end it.
                let distracts = self.wants_operator() && matches!(rule, Rule::open_bracket | Rule::equals);
                if has(rule) && !distracts {
                    words.push(word.to_owned());
                }
            }
        }
        let last = words.pop().unwrap_or_else(|| "something else".to_owned());
        if words.is_empty() { last } else { format!("{} or {last}", words.join(", ")) }
    }

    fn before(&self) -> &'a str {
        self.line.last().copied().unwrap_or_default()
    }

    fn wants_item(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule, Rule::file | Rule::definition_kind))
    }

    fn wants_statement(&self) -> bool {
        self.rules.contains(&Rule::input_word)
    }

    /// Whether an expression or a part of one begins here.
    fn wants_value(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule, Rule::expr | Rule::operation | Rule::operand | Rule::number))
    }

    /// Whether a whole value stands before.
    fn wants_operator(&self) -> bool {
        self.rules.contains(&Rule::add)
    }
}

/// What is wrong, and what to do about it.
type Told = (String, Option<String>);

fn help(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

fn starts_value(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '"' | '(' | '['))
}

/// The rules worth naming, in the order in which they are named.
const SIGNS: [(Rule, &str); 16] = [
    (Rule::name, "a name"),
    (Rule::text, "a text in quotes"),
    (Rule::field, "a name"),
    (Rule::in_word, "`in`"),
    (Rule::equals, "`=`"),
    (Rule::colon, "`:`"),
    (Rule::comma, "`,`"),
    (Rule::open_paren, "`(`"),
    (Rule::params, "`(`"),
    (Rule::open_brace, "`{`"),
    (Rule::body, "`{`"),
    (Rule::open_bracket, "`[`"),
    (Rule::close_paren, "`)`"),
    (Rule::close_bracket, "`]`"),
    (Rule::arrow, "`->`"),
    (Rule::line_end, "the end of the line"),
];
