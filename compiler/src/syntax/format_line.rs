//! The lines of a formatted file: indentation, blank lines and comments.
//!
//! Comments wait until a line begins that stands after them in the source, so none is lost and none lands inside a line.

use super::ast::{Comment, Expr};
use crate::diag::Span;

pub(super) struct Lines<'a> {
    source: Source<'a>,
    /// How many comments are printed.
    printed: usize,
    done: Vec<Line>,
    current: Line,
    level: usize,
}

/// What was written; empty when an expression is printed by itself.
#[derive(Clone, Copy, Default)]
pub(super) struct Source<'a> {
    pub(super) text: &'a str,
    /// The text with its comments as spaces, byte for byte.
    pub(super) code: &'a str,
    pub(super) comments: &'a [Comment],
}

#[derive(Default)]
struct Line {
    code: String,
    /// The comment at its end. A comment on a line of its own is `code`.
    comment: Option<String>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(source: Source<'a>) -> Self {
        Lines { source, printed: 0, done: Vec::new(), current: Line::default(), level: 0 }
    }

    /// For printing a part aside, without its comments, to see how long it gets.
    pub(super) fn aside(&self) -> Self {
        Lines::new(Source { comments: &[], ..self.source })
    }

    pub(super) fn push(&mut self, text: &str) {
        self.current.code += text;
    }

    /// How many characters the current line has.
    pub(super) fn column(&self) -> usize {
        self.current.code.chars().count()
    }

    /// How many spaces a line begins with here.
    pub(super) fn indentation(&self) -> usize {
        2 * self.level
    }

    pub(super) fn indent(&mut self) {
        self.level += 1;
    }

    /// Ends an indented part that ends in the source at `at`; comments before that belong to it.
    pub(super) fn dedent(&mut self, at: u32) {
        self.print_comments(at);
        self.level -= 1;
    }

    /// Begins a line for what stands in the source at `at`, after its comments and perhaps a blank line.
    pub(super) fn begin_line(&mut self, at: u32) {
        self.print_comments(at);
        self.blank_line(at);
        self.new_line(self.indentation());
    }

    /// Goes on with a statement in a new line that begins at a column.
    pub(super) fn continue_line(&mut self, at: u32, column: usize) {
        self.print_comments(at);
        self.new_line(column);
    }

    /// Begins the line of a closing brace or bracket.
    pub(super) fn close_line(&mut self) {
        self.new_line(self.indentation());
    }

    /// Whether nothing was printed since the brace was opened.
    pub(super) fn is_just_opened(&self) -> bool {
        self.current.code.ends_with('{') && self.current.comment.is_none()
    }

    /// The file, with the comments of neighboring lines in one column.
    pub(super) fn finish(mut self) -> String {
        self.print_comments(u32::MAX);
        self.new_line(0);
        let mut text = String::new();
        for run in self.done.chunk_by(|a, b| a.comment.is_some() == b.comment.is_some()) {
            let widest = run.iter().map(|line| line.code.chars().count()).max().unwrap_or(0);
            for line in run {
                match &line.comment {
                    Some(comment) => text += &format!("{:widest$}  {comment}\n", line.code),
                    None => text += &format!("{}\n", line.code),
                }
            }
        }
        text
    }

    fn new_line(&mut self, column: usize) {
        let line = std::mem::take(&mut self.current);
        let code = line.code.trim_end().to_owned();
        // The first line has none before it.
        if !code.is_empty() || line.comment.is_some() {
            self.done.push(Line { code, comment: line.comment });
        }
        self.current.code = " ".repeat(column);
    }

    /// Keeps one blank line where the source has some, but for those at the beginning of a file or of a body.
    fn blank_line(&mut self, at: u32) {
        let before = self.source.text.get(..at as usize).unwrap_or_default();
        let blanks = &before[before.trim_end().len()..];
        let opened = self.current.code.ends_with('{') || self.current.code.trim().is_empty();
        if blanks.matches('\n').count() > 1 && !opened {
            self.new_line(0);
            self.done.push(Line::default());
        }
    }

    /// Prints the comments that stand before `at` in the source.
    fn print_comments(&mut self, at: u32) {
        while let Some(comment) = self.source.comments.get(self.printed)
            && comment.span.start < at
        {
            self.printed += 1;
            if self.is_trailing(comment) && self.current.comment.is_none() && !self.current.code.trim().is_empty() {
                self.current.comment = Some(comment.text.clone());
                continue;
            }
            self.blank_line(comment.span.start);
            self.new_line(self.indentation());
            self.current.code += &comment.text;
        }
    }

    /// Whether code stands before the comment on its line.
    fn is_trailing(&self, comment: &Comment) -> bool {
        !self.starts_line(comment.span.start)
    }

    /// Whether nothing stands before `at` on its line.
    pub(super) fn starts_line(&self, at: u32) -> bool {
        let before = self.source_before(at).trim_end_matches([' ', '\t', '\r']);
        before.is_empty() && !self.source.code.is_empty() || before.ends_with('\n')
    }

    /// Whether the line breaks before the `->` that stands before a stage of a chain.
    pub(super) fn breaks_before_arrow(&self, stage: &Expr) -> bool {
        let before = self.source_before(stage.span.start).trim_end();
        before.strip_suffix("->").is_some_and(|before| self.starts_line(before.len() as u32))
    }

    /// Whether the line breaks before the `else` between two places.
    pub(super) fn breaks_before_else(&self, start: u32, end: u32) -> bool {
        let between = self.source.code.get(start as usize..end as usize).unwrap_or_default();
        between.find("else").is_some_and(|word| self.starts_line(start + word as u32))
    }

    /// Whether a line ends between two places.
    pub(super) fn breaks_between(&self, start: u32, end: u32) -> bool {
        self.source.code.get(start as usize..end as usize).is_some_and(|between| between.contains('\n'))
    }

    /// Whether one statement stands in the line after the other, once both are formatted.
    pub(super) fn are_neighbors(&self, first: Span, second: Span) -> bool {
        let between = self.source.code.get(first.end as usize..second.start as usize).unwrap_or_default();
        let from = self.source.comments.partition_point(|comment| comment.span.start < first.start);
        let mut comments = self.source.comments[from..].iter().take_while(|comment| comment.span.start < second.start);
        let only_trailing = comments.next().is_none_or(|comment| self.is_trailing(comment));
        between.matches('\n').count() == 1 && only_trailing && comments.next().is_none()
    }

    fn source_before(&self, at: u32) -> &str {
        self.source.code.get(..at as usize).unwrap_or_default()
    }
}
