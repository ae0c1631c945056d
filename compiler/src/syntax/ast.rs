//! What was written: every node has a span, nothing is resolved.

use crate::diag::Span;

/// One source file.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    pub items: Vec<Item>,
    /// All comments in order; only the formatter looks at them.
    pub comments: Vec<Comment>,
}

/// `# …` to the end of its line.
#[derive(Debug, Clone, PartialEq)]
pub struct Comment {
    pub span: Span,
    /// With its `#`, without spaces at the end.
    pub text: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    pub kind: ItemKind,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ItemKind {
    /// `import "cells.net"`
    Import(Text),
    /// `const width = 64`
    Const { name: Ident, value: Expr },
    /// `block`, `cell` or `net`
    Definition(Definition),
    /// `train NAME { … }` or `generate NAME { … }`
    Settings(Settings),
}

/// `net vgg16(classes = 1000) { … }`
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    pub kind: DefinitionKind,
    pub name: Ident,
    pub params: Vec<Param>,
    pub body: Body,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefinitionKind {
    Block,
    Cell,
    Net,
}

/// A compile-time parameter of a definition: `stride = 1`
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    pub name: Ident,
    pub default: Option<Expr>,
}

/// Statements in braces.
#[derive(Debug, Clone, PartialEq)]
pub struct Body {
    pub stmts: Vec<Stmt>,
    /// From `{` to `}`.
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub kind: SettingsKind,
    /// The net that is trained or run.
    pub target: Ident,
    pub entries: Vec<Setting>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingsKind {
    Train,
    Generate,
}

/// One line of settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    pub name: Ident,
    pub value: SettingValue,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub enum SettingValue {
    /// `optimizer adam(lr = 1e-3)`, `batch 64`; one or more values, separated by commas.
    Values(Vec<Expr>),
    /// `feed text <- sample(logits)`
    Feed { input: Ident, value: Expr },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Stmt {
    pub kind: StmtKind,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub enum StmtKind {
    /// `input image[3, 224, 224]`, `input x`
    Input(Port),
    /// `target label: token(classes)`
    Target(Port),
    /// `state h[hidden], c[hidden]`; at least one
    State(Vec<Decl>),
    /// `param W[hidden, n], b[hidden] = 0`; at least one
    Param(Vec<Decl>),
    /// `layer encoder = lstm(hidden)`
    Layer { name: Ident, value: Expr },
    /// `y = x -> relu`; `h' = …` when primed
    Bind { name: Ident, primed: bool, value: Expr },
    /// An expression alone: `conv3x3(64) -> relu`, `x -> dense(10)`
    Flow(Expr),
    /// `output logits`
    Output(Expr),
    /// `loss cross_entropy(logits, label)`
    Loss(Expr),
    /// `metric accuracy(logits, label)`
    Metric(Expr),
    /// `for channels in [128, 256] { … }`, `for i in 0..4 { … }`
    For { var: Ident, iterable: Expr, body: Body },
    /// An `if` that stands alone, with any statements in its braces; `else if` adds a branch.
    If { branches: Vec<(Expr, Body)>, otherwise: Option<Body> },
}

/// What flows into a network: name, shape without the batch, type.
#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    pub name: Ident,
    /// Empty for a number.
    pub dims: Vec<Expr>,
    /// `token(vocab)`; `f32` when absent.
    pub ty: Option<Expr>,
}

/// What a definition owns: name, shape, and its first value.
#[derive(Debug, Clone, PartialEq)]
pub struct Decl {
    pub name: Ident,
    /// Empty for a number.
    pub dims: Vec<Expr>,
    pub init: Option<Expr>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    pub kind: ExprKind,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    Number(Number),
    Text(String),
    /// `true`, `false`
    Bool(bool),
    /// `x`: a value, or a layer without arguments
    Name(Ident),
    /// `h'`: the next value of a state; the name is without its prime
    Next(Ident),
    /// `encoder.state`; at least two parts, of which those after the first may be digits
    Path(Vec<Ident>),
    /// `[x, h]`, `[[1, 0, 0]]`
    List(Vec<Expr>),
    /// `x[0]`, `x[0..3, ..]`: each part an index or a [`Range`](ExprKind::Range); at least one
    Index {
        base: Box<Expr>,
        parts: Vec<Expr>,
    },
    /// `0..4`, from the first up to but without the second. Stands only as the iterable of a `for`, with both ends, or as a part of an index.
    Range {
        start: Option<Box<Expr>>,
        end: Option<Box<Expr>>,
    },
    Unary {
        op: UnaryOp,
        operand: Box<Expr>,
    },
    /// `op_span` is the place of the sign itself.
    Binary {
        op: BinaryOp,
        op_span: Span,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `conv3x3(64, relu)x2`; the window is still part of the name, see [`split_window`]
    Call {
        callee: Ident,
        args: Vec<Arg>,
        repeat: Option<Box<Expr>>,
    },
    /// `(dense(4096) -> relu)x2`; without a repeat it only groups
    Group {
        inner: Box<Expr>,
        repeat: Option<Box<Expr>>,
    },
    /// `x -> conv3x3(64) -> relu`; at least two stages
    Chain(Vec<Expr>),
    /// `if c { x } else { y }` as a value; `else if` adds a branch
    If {
        branches: Vec<(Expr, Expr)>,
        otherwise: Box<Expr>,
    },
    /// `concat(axis = 0) { … }`, one branch a line
    Combinator {
        kind: CombinatorKind,
        args: Vec<Arg>,
        branches: Vec<Expr>,
        repeat: Option<Box<Expr>>,
    },
}

/// An argument of a call: `64` or `stride = 2`
#[derive(Debug, Clone, PartialEq)]
pub struct Arg {
    pub name: Option<Ident>,
    pub value: Expr,
}

impl Arg {
    /// Name and value together.
    pub fn span(&self) -> Span {
        match &self.name {
            Some(name) => name.span.to(self.value.span),
            None => self.value.span,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CombinatorKind {
    Concat,
    Sum,
    Residual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaryOp {
    Neg,
    Not,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    /// `@`, the matrix product
    MatMul,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    And,
    Or,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Number {
    /// Finite; a percentage is already divided by 100.
    pub value: f64,
    pub form: NumberForm,
    /// As written.
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberForm {
    /// `64`: digits only
    Integer,
    /// `0.5`, `2e-3`
    Decimal,
    /// `50%`
    Percent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ident {
    pub text: String,
    pub span: Span,
}

/// A text in quotes, here without them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub text: String,
    pub span: Span,
}

/// Splits the window off a layer's name: `conv3x5` is `conv` with a window 3 high and 5 wide.
///
/// Numbers too large for a window leave the name whole, as does a name that is nothing but a window.
pub fn split_window(name: &str) -> (&str, Option<(u32, u32)>) {
    fn split(name: &str) -> Option<(&str, (u32, u32))> {
        let rest = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let width = name[rest.len()..].parse().ok()?;
        let rest = rest.strip_suffix('x')?;
        let base = rest.trim_end_matches(|c: char| c.is_ascii_digit());
        let height = rest[base.len()..].parse().ok()?;
        (!base.is_empty()).then_some((base, (height, width)))
    }
    match split(name) {
        Some((base, window)) => (base, Some(window)),
        None => (name, None),
    }
}

#[cfg(test)]
mod tests {
    use super::split_window;

    #[test]
    fn windows_split_off_names() {
        assert_eq!(split_window("conv3x5"), ("conv", Some((3, 5))));
        assert_eq!(split_window("maxpool2x2"), ("maxpool", Some((2, 2))));
        assert_eq!(split_window("conv1d"), ("conv1d", None));
        assert_eq!(split_window("conv3"), ("conv3", None));
        assert_eq!(split_window("x2"), ("x2", None));
        assert_eq!(split_window("3x3"), ("3x3", None));
        assert_eq!(split_window("conv3x99999999999"), ("conv3x99999999999", None));
    }
}
