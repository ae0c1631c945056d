//! Files, definitions, settings and statements: from pest's pairs to the Ast.

use pest::Parser;
use pest::iterators::{Pair, Pairs};

use super::ast::{
    Body, Decl, Definition, DefinitionKind, Expr, ExprKind, File, Ident, Item, ItemKind, Param, Port, Setting,
    SettingValue, Settings, SettingsKind, Stmt, StmtKind, Text,
};
use super::explain::explain;
use super::layout::layout;
use crate::diag::{Code, Diagnostic, FileId, Message, Span};

/// A description of a network is small; this bounds time and memory on a stranger's file.
const MAX_BYTES: usize = 1 << 19;

#[derive(pest_derive::Parser)]
#[grammar = "../grammar/net.pest"]
pub(super) struct Grammar;

/// Parses one source file. Stops at the first mistake, which is then the only one reported.
pub fn parse(file: FileId, text: &str) -> Result<File, Vec<Diagnostic>> {
    parse_file(file, text).map_err(|diagnostic| vec![diagnostic])
}

/// The text of a file's bytes, if they are text.
pub fn decode(bytes: &[u8]) -> Result<&str, Message> {
    crate::ensure!(bytes.len() <= MAX_BYTES, TooLarge, "{}", too_large(bytes.len()));
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let text = format!("byte {} is not UTF-8 text", error.valid_up_to());
        Message::new(Code::NotText, text).help("save the file as UTF-8")
    })?;
    match text.find('\0') {
        Some(at) => Err(Message::new(Code::NotText, format!("byte {at} is 0, so this is not a text file"))),
        None => Ok(text),
    }
}

fn too_large(bytes: usize) -> String {
    format!("a source file has at most {MAX_BYTES} bytes, and this one has {bytes}")
}

fn parse_file(file: FileId, text: &str) -> Result<File, Diagnostic> {
    if text.len() > MAX_BYTES {
        let message = Message::new(Code::TooLarge, too_large(text.len()));
        return Err(message.at(Span::new(file, 0, 0)));
    }
    let layout = layout(file, text)?;
    let pairs = match (Grammar::parse(Rule::file, &layout.text), layout.mismatch) {
        (Ok(pairs), None) => pairs,
        (Ok(_), Some(mismatch)) => return Err(mismatch),
        (Err(error), mismatch) => {
            let diagnostic = explain(file, &layout.text, &error);
            // Of two mistakes the first is told; a lost bracket makes nonsense of what follows it.
            return Err(mismatch.filter(|bracket| bracket.span.start <= diagnostic.span.start).unwrap_or(diagnostic));
        }
    };
    let cx = Cx { file };
    let mut items = Vec::new();
    for pair in pairs.flat_map(Pair::into_inner) {
        if !matches!(pair.as_rule(), Rule::line_end | Rule::EOI) {
            items.push(cx.item(pair)?);
        }
    }
    Ok(File { items, comments: layout.comments })
}

/// Builds the Ast. The grammar has made sure of the form, so a missing part is our bug.
pub(super) struct Cx {
    pub(super) file: FileId,
}

impl Cx {
    /// Where a pair stands, without the blanks that pest leaves at its end.
    pub(super) fn span(&self, pair: &Pair<'_, Rule>) -> Span {
        let start = pair.as_span().start();
        Span::new(self.file, start, start + pair.as_str().trim_end().len())
    }

    pub(super) fn ident(&self, pair: Pair<'_, Rule>) -> Ident {
        Ident { text: pair.as_str().to_owned(), span: self.span(&pair) }
    }

    pub(super) fn text(&self, pair: Pair<'_, Rule>) -> Text {
        let text = pair.as_str().trim_matches('"').to_owned();
        Text { text, span: self.span(&pair) }
    }

    fn item(&self, pair: Pair<'_, Rule>) -> Result<Item, Diagnostic> {
        let span = self.span(&pair);
        let rule = pair.as_rule();
        let mut parts = Parts::of(pair);
        let kind = match rule {
            Rule::import => ItemKind::Import(self.text(parts.next(Rule::text))),
            Rule::constant => {
                let name = self.defined(parts.next(Rule::name))?;
                ItemKind::Const { name, value: self.expr(parts.next(Rule::expr))? }
            }
            Rule::definition => ItemKind::Definition(self.definition(parts)?),
            Rule::settings => ItemKind::Settings(self.settings(parts)?),
            _ => unreachable!("not an item: {rule:?}"),
        };
        Ok(Item { kind, span })
    }

    fn definition(&self, mut parts: Parts<'_>) -> Result<Definition, Diagnostic> {
        let kind = match parts.next(Rule::definition_kind).as_str() {
            "block" => DefinitionKind::Block,
            "cell" => DefinitionKind::Cell,
            _ => DefinitionKind::Net,
        };
        let name = self.defined(parts.next(Rule::name))?;
        let mut params = Vec::new();
        if let Some(pair) = parts.optional(Rule::params) {
            for param in Parts::of(pair).all(Rule::param) {
                let mut parts = Parts::of(param);
                let name = self.defined(parts.next(Rule::name))?;
                params.push(Param { name, default: self.optional_expr(&mut parts)? });
            }
        }
        let body = self.body(parts.next(Rule::body))?;
        Ok(Definition { kind, name, params, body })
    }

    fn settings(&self, mut parts: Parts<'_>) -> Result<Settings, Diagnostic> {
        let kind = match parts.next(Rule::settings_kind).as_str() {
            "train" => SettingsKind::Train,
            _ => SettingsKind::Generate,
        };
        let target = self.ident(parts.next(Rule::name));
        let mut entries = Vec::new();
        for pair in parts.all(Rule::setting) {
            let span = self.span(&pair);
            let mut parts = Parts::of(pair);
            let name = self.ident(parts.next(Rule::name));
            let value = match parts.optional(Rule::feed) {
                Some(feed) => {
                    let mut parts = Parts::of(feed);
                    let input = self.ident(parts.next(Rule::name));
                    SettingValue::Feed { input, value: self.expr(parts.next(Rule::expr))? }
                }
                None => SettingValue::Values(self.exprs(parts.next(Rule::values))?),
            };
            entries.push(Setting { name, value, span });
        }
        Ok(Settings { kind, target, entries })
    }

    pub(super) fn body(&self, pair: Pair<'_, Rule>) -> Result<Body, Diagnostic> {
        let span = self.span(&pair);
        let mut stmts = Vec::new();
        for pair in Parts::of(pair) {
            stmts.push(self.stmt(pair)?);
        }
        Ok(Body { stmts, span })
    }

    pub(super) fn stmt(&self, pair: Pair<'_, Rule>) -> Result<Stmt, Diagnostic> {
        let span = self.span(&pair);
        let rule = pair.as_rule();
        if rule == Rule::expr {
            return Ok(Stmt { kind: self.flow(pair)?, span });
        }
        let mut parts = Parts::of(pair);
        let kind = match rule {
            Rule::input => StmtKind::Input(self.port(parts.next(Rule::port))?),
            Rule::target => StmtKind::Target(self.port(parts.next(Rule::port))?),
            Rule::state => StmtKind::State(self.decls(parts)?),
            Rule::parameter => StmtKind::Param(self.decls(parts)?),
            Rule::layer => {
                let name = self.defined(parts.next(Rule::name))?;
                StmtKind::Layer { name, value: self.expr(parts.next(Rule::expr))? }
            }
            Rule::output => StmtKind::Output(self.expr(parts.next(Rule::expr))?),
            Rule::loss => StmtKind::Loss(self.expr(parts.next(Rule::expr))?),
            Rule::metric => StmtKind::Metric(self.expr(parts.next(Rule::expr))?),
            Rule::for_loop => {
                let var = self.defined(parts.next(Rule::name))?;
                let iterable = self.iterable(parts.next(Rule::iterable))?;
                StmtKind::For { var, iterable, body: self.body(parts.next(Rule::body))? }
            }
            Rule::bind => {
                let mut target = Parts::of(parts.next(Rule::bind_target));
                let (name, primed) = match target.optional(Rule::next) {
                    Some(next) => (Parts::of(next).next(Rule::name), true),
                    None => (target.next(Rule::name), false),
                };
                StmtKind::Bind { name: self.defined(name)?, primed, value: self.expr(parts.next(Rule::expr))? }
            }
            _ => unreachable!("not a statement: {rule:?}"),
        };
        Ok(Stmt { kind, span })
    }

    /// A statement that is an expression; an `if` that stands alone chooses between statements.
    fn flow(&self, pair: Pair<'_, Rule>) -> Result<StmtKind, Diagnostic> {
        match lone_choice(pair.clone()) {
            Some(choice) => {
                let (branches, otherwise) = self.choice(choice)?;
                Ok(StmtKind::If { branches, otherwise })
            }
            None => Ok(StmtKind::Flow(self.expr(pair)?)),
        }
    }

    fn port(&self, pair: Pair<'_, Rule>) -> Result<Port, Diagnostic> {
        let mut parts = Parts::of(pair);
        let name = self.defined(parts.next(Rule::name))?;
        let dims = self.dims(&mut parts)?;
        Ok(Port { name, dims, ty: self.optional_expr(&mut parts)? })
    }

    fn decls(&self, parts: Parts<'_>) -> Result<Vec<Decl>, Diagnostic> {
        let mut decls = Vec::new();
        for pair in parts.all(Rule::decl) {
            let mut parts = Parts::of(pair);
            let name = self.defined(parts.next(Rule::name))?;
            let dims = self.dims(&mut parts)?;
            decls.push(Decl { name, dims, init: self.optional_expr(&mut parts)? });
        }
        Ok(decls)
    }

    fn dims(&self, parts: &mut Parts<'_>) -> Result<Vec<Expr>, Diagnostic> {
        match parts.optional(Rule::dims) {
            Some(dims) => self.exprs(dims),
            None => Ok(Vec::new()),
        }
    }

    fn optional_expr(&self, parts: &mut Parts<'_>) -> Result<Option<Expr>, Diagnostic> {
        parts.optional(Rule::expr).map(|pair| self.expr(pair)).transpose()
    }

    fn iterable(&self, pair: Pair<'_, Rule>) -> Result<Expr, Diagnostic> {
        let span = self.span(&pair);
        let mut parts = Parts::of(pair);
        let start = self.operation(parts.next(Rule::operation))?;
        if parts.optional(Rule::dots).is_none() {
            return Ok(start);
        }
        let end = self.operation(parts.next(Rule::operation))?;
        Ok(Expr { kind: ExprKind::Range { start: Some(Box::new(start)), end: Some(Box::new(end)) }, span })
    }

    /// A name at its definition, where `true` and `false` cannot stand.
    fn defined(&self, pair: Pair<'_, Rule>) -> Result<Ident, Diagnostic> {
        let name = self.ident(pair);
        if matches!(name.text.as_str(), "true" | "false") {
            let text = format!("`{}` is a value and cannot be a name", name.text);
            return Err(Message::new(Code::Syntax, text).at(name.span).label("expected a name"));
        }
        Ok(name)
    }
}

/// The `if` that an expression consists of, if it does.
fn lone_choice(mut pair: Pair<'_, Rule>) -> Option<Pair<'_, Rule>> {
    while pair.as_rule() != Rule::choice {
        if !matches!(pair.as_rule(), Rule::expr | Rule::operation | Rule::operand) {
            return None;
        }
        let mut inner = pair.into_inner();
        pair = inner.next()?;
        if inner.next().is_some() {
            return None;
        }
    }
    Some(pair)
}

/// The parts of a pair that mean something, without brackets, words and signs that only hold it together.
pub(super) struct Parts<'a>(Pairs<'a, Rule>);

impl<'a> Parts<'a> {
    pub(super) fn of(pair: Pair<'a, Rule>) -> Self {
        Parts(pair.into_inner())
    }

    /// The next part, which the grammar says is there.
    #[track_caller]
    pub(super) fn next(&mut self, rule: Rule) -> Pair<'a, Rule> {
        self.optional(rule).unwrap_or_else(|| panic!("the grammar has {rule:?} here, not {:?}", self.0))
    }

    /// The next part if it is of this rule.
    pub(super) fn optional(&mut self, rule: Rule) -> Option<Pair<'a, Rule>> {
        while let Some(pair) = self.0.peek() {
            if pair.as_rule() == rule {
                return self.0.next();
            }
            if !is_glue(pair.as_rule()) {
                return None;
            }
            self.0.next();
        }
        None
    }

    /// All that is left, every part of this rule.
    pub(super) fn all(self, rule: Rule) -> impl Iterator<Item = Pair<'a, Rule>> {
        self.inspect(move |pair| debug_assert_eq!(pair.as_rule(), rule))
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Pair<'a, Rule>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.find(|pair| !is_glue(pair.as_rule()))
    }
}

/// Brackets, words and signs that say nothing once the form is known.
fn is_glue(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::line_end
            | Rule::prime
            | Rule::open_paren
            | Rule::close_paren
            | Rule::open_bracket
            | Rule::close_bracket
            | Rule::open_brace
            | Rule::close_brace
            | Rule::comma
            | Rule::colon
            | Rule::arrow
            | Rule::feed_arrow
            | Rule::dots
            | Rule::equals
            | Rule::if_word
            | Rule::else_word
            | Rule::for_word
            | Rule::in_word
            | Rule::import_word
            | Rule::constant_word
            | Rule::input_word
            | Rule::target_word
            | Rule::state_word
            | Rule::parameter_word
            | Rule::layer_word
            | Rule::output_word
            | Rule::loss_word
            | Rule::metric_word
    )
}
