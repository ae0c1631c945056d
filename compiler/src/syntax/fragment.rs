//! Parts of a file as they are typed at a prompt: statements of a net, or what stands beside nets.

use pest::Parser;
use pest::error::InputLocation;

use super::ast::{Item, Stmt};
use super::explain::explain;
use super::layout::{layout, token_length};
use super::parse::{Cx, Grammar, Rule, parse};
use crate::diag::{Diagnostic, FileId};

/// What was typed.
#[derive(Debug, Clone, PartialEq)]
pub enum Fragment {
    /// Definitions, constants, imports and settings.
    Items(Vec<Item>),
    /// Statements as the body of a net has them; none in an empty text.
    Statements(Vec<Stmt>),
}

/// Why a text is no fragment.
#[derive(Debug, Clone, PartialEq)]
pub enum Refused {
    /// A bracket is open, which a longer one may close.
    Open(Diagnostic),
    /// It ends where something must follow.
    Unfinished(Diagnostic),
    Wrong(Diagnostic),
}

/// Reads what was typed; stops at the first mistake.
///
/// ```
/// # #[cfg(feature = "internals")] {
/// use netc::diag::Sources;
/// use netc::syntax::{Fragment, Refused, fragment};
///
/// let read = |text: &str| fragment(Sources::new().add("typed", text), text);
/// assert!(matches!(read("conv3x3(16, relu) -> maxpool2x2"), Ok(Fragment::Statements(list)) if list.len() == 1));
/// assert!(matches!(read("block twice(f) { f -> f }"), Ok(Fragment::Items(list)) if list.len() == 1));
/// assert!(matches!(read("block twice(f) {"), Err(Refused::Open(_))));
/// assert!(matches!(read("conv3x3(16) ->"), Err(Refused::Unfinished(_))));
/// assert!(matches!(read("conv3x3(16]"), Err(Refused::Wrong(_))));
/// # }
/// ```
///
/// # Errors
/// The first mistake, and whether going on might mend it.
pub fn fragment(file: FileId, text: &str) -> Result<Fragment, Refused> {
    let layout = layout(file, text).map_err(Refused::Wrong)?;
    let is_items = Grammar::parse(Rule::item_start, layout.text.trim_start()).is_ok();
    let rule = if is_items { Rule::file } else { Rule::statements };
    match (Grammar::parse(rule, &layout.text), layout.mismatch) {
        (Ok(_), None) if is_items => {
            let file = parse(file, text).map_err(|mut errors| Refused::Wrong(errors.swap_remove(0)))?;
            Ok(Fragment::Items(file.items))
        }
        (Ok(pairs), None) => {
            let cx = Cx { file };
            let pairs = pairs.flat_map(pest::iterators::Pair::into_inner);
            let statements = pairs.filter(|pair| !matches!(pair.as_rule(), Rule::line_end | Rule::EOI));
            let statements = statements.map(|pair| cx.stmt(pair)).collect::<Result<_, _>>();
            statements.map(Fragment::Statements).map_err(Refused::Wrong)
        }
        (Ok(_), Some(mismatch)) => Err(Refused::Wrong(mismatch)),
        (Err(error), mismatch) => {
            let at = match error.location {
                InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
            };
            let diagnostic = explain(file, &layout.text, &error);
            match mismatch {
                _ if !layout.text[at..].trim().is_empty() && layout.is_open => Err(Refused::Wrong(diagnostic)),
                Some(bracket) if layout.is_open => Err(Refused::Open(bracket)),
                Some(bracket) if bracket.span.start <= diagnostic.span.start => Err(Refused::Wrong(bracket)),
                _ if layout.text[at..].trim().is_empty() => Err(Refused::Unfinished(diagnostic)),
                _ => Err(Refused::Wrong(diagnostic)),
            }
        }
    }
}

/// Whether a text goes on with the statement before it, for it begins with `->` or `else`.
pub fn continues(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.next().is_some_and(|line| matches!(&line[..token_length(line)], "->" | "else"))
}

#[cfg(test)]
mod tests {
    use super::{Fragment, Refused, continues, fragment};
    use crate::diag::Sources;

    fn read(text: &str) -> Result<Fragment, Refused> {
        fragment(Sources::new().add("typed", text), text)
    }

    #[test]
    fn what_may_go_on() {
        for text in ["conv3x3(16, relu) ->", "y =", "a +", "if a == b", "block b"] {
            assert!(matches!(read(text), Err(Refused::Unfinished(_))), "{text}: {:?}", read(text));
        }
        for text in ["input x[3,", "cell c(n) {\n  input x[k]", "concat {", "train n {\n  optimizer adam("] {
            assert!(matches!(read(text), Err(Refused::Open(_))), "{text}: {:?}", read(text));
        }
    }

    #[test]
    fn what_no_more_text_mends() {
        for text in [
            "dense(4) x2",
            "}",
            "y = = x",
            "concat {\n  ) ->",
            "\"text",
            "conv(16,, ",
            "relu } net other {",
            "input x[3] ]",
        ] {
            assert!(matches!(read(text), Err(Refused::Wrong(_))), "{text}: {:?}", read(text));
        }
    }

    #[test]
    fn statements_and_items() {
        for (text, n) in [("", 0), ("# nothing", 0), ("\n x -> relu\n\n y = x\n", 2), ("net -> relu", 1)] {
            assert!(matches!(read(text), Ok(Fragment::Statements(list)) if list.len() == n), "{text}");
        }
        for (text, n) in [("const a = 1\nconst b = 2", 2), ("  # one\nimport \"a.net\"", 1), ("net n { }", 1)] {
            assert!(matches!(read(text), Ok(Fragment::Items(list)) if list.len() == n), "{text}");
        }
    }

    #[test]
    fn lines_that_go_on() {
        assert!(continues("# and then\n  -> relu") && continues("else { relu }"));
        assert!(!continues("relu -> relu") && !continues("elsewhere -> relu") && !continues(""));
    }
}
