//! Expressions: from pest's pairs to the Ast; the table of operators.

use std::sync::LazyLock;

use pest::iterators::Pair;
use pest::pratt_parser::{Assoc, Op, PrattParser};

use super::ast::{Arg, BinaryOp, Body, CombinatorKind, Expr, ExprKind, Number, NumberForm, UnaryOp};
use super::parse::{Cx, Parts, Rule};
use crate::diag::{Code, Diagnostic, Message};

/// From the loosest to the tightest. `not a == b` denies the comparison, `-a @ b` negates `a`.
static OPERATORS: LazyLock<PrattParser<Rule>> = LazyLock::new(|| {
    let infix = |rule| Op::infix(rule, Assoc::Left);
    PrattParser::new()
        .op(infix(Rule::or))
        .op(infix(Rule::and))
        .op(Op::prefix(Rule::not))
        .op(infix(Rule::equal)
            | infix(Rule::not_equal)
            | infix(Rule::less)
            | infix(Rule::less_equal)
            | infix(Rule::greater)
            | infix(Rule::greater_equal))
        .op(infix(Rule::add) | infix(Rule::subtract))
        .op(infix(Rule::multiply) | infix(Rule::divide) | infix(Rule::matmul))
        .op(Op::prefix(Rule::negate))
});

type Built = Result<Expr, Diagnostic>;
/// Conditions with their bodies, and the last `else`.
type Choice = (Vec<(Expr, Body)>, Option<Body>);

impl Cx {
    pub(super) fn expr(&self, pair: Pair<'_, Rule>) -> Built {
        let span = self.span(&pair);
        let mut stages = Vec::new();
        for operation in Parts::of(pair).all(Rule::operation) {
            stages.push(self.operation(operation)?);
        }
        if stages.len() == 1 {
            return Ok(stages.remove(0));
        }
        Ok(Expr { kind: ExprKind::Chain(stages), span })
    }

    pub(super) fn exprs(&self, pair: Pair<'_, Rule>) -> Result<Vec<Expr>, Diagnostic> {
        Parts::of(pair).all(Rule::expr).map(|pair| self.expr(pair)).collect()
    }

    pub(super) fn operation(&self, pair: Pair<'_, Rule>) -> Built {
        OPERATORS
            .map_primary(|operand| self.operand(operand))
            .map_prefix(|op, operand| {
                let operand = Box::new(operand?);
                let span = self.span(&op).to(operand.span);
                let op = if op.as_rule() == Rule::not { UnaryOp::Not } else { UnaryOp::Neg };
                Ok(Expr { kind: ExprKind::Unary { op, operand }, span })
            })
            .map_infix(|left, op, right| self.binary(left?, op, right?))
            .parse(pair.into_inner())
    }

    fn binary(&self, left: Expr, sign: Pair<'_, Rule>, right: Expr) -> Built {
        let op = binary_op(sign.as_rule());
        let op_span = self.span(&sign);
        if let ExprKind::Binary { op: first, op_span: first_span, .. } = &left.kind
            && is_comparison(*first)
            && is_comparison(op)
        {
            let message =
                Message::new(Code::Syntax, "comparisons do not chain").help("join two comparisons: `a < b and b < c`");
            return Err(message.at(op_span).label("second comparison").also(*first_span, "first comparison"));
        }
        let span = left.span.to(right.span);
        let (left, right) = (Box::new(left), Box::new(right));
        Ok(Expr { kind: ExprKind::Binary { op, op_span, left, right }, span })
    }

    fn operand(&self, pair: Pair<'_, Rule>) -> Built {
        let mut parts = Parts::of(pair);
        let primary = Iterator::next(&mut parts).expect("an operand has a primary");
        let mut base = self.primary(primary)?;
        for index in parts.all(Rule::index) {
            let span = base.span.to(self.span(&index));
            let mut indices = Vec::new();
            for part in Parts::of(index).all(Rule::part) {
                indices.push(self.part(part)?);
            }
            base = Expr { kind: ExprKind::Index { base: Box::new(base), parts: indices }, span };
        }
        Ok(base)
    }

    /// `3`, `0..3`, `..3`, `3..`, `..`
    fn part(&self, pair: Pair<'_, Rule>) -> Built {
        let span = self.span(&pair);
        let (mut start, mut end, mut is_range) = (None, None, false);
        for pair in pair.into_inner() {
            match pair.as_rule() {
                Rule::dots => is_range = true,
                _ if is_range => end = Some(Box::new(self.operation(pair)?)),
                _ => start = Some(self.operation(pair)?),
            }
        }
        match start {
            Some(index) if !is_range => Ok(index),
            start => Ok(Expr { kind: ExprKind::Range { start: start.map(Box::new), end }, span }),
        }
    }

    fn primary(&self, pair: Pair<'_, Rule>) -> Built {
        let span = self.span(&pair);
        let kind = match pair.as_rule() {
            Rule::number => self.number(&pair)?,
            Rule::text => ExprKind::Text(self.text(pair).text),
            Rule::named => self.named(pair)?,
            Rule::list => ExprKind::List(self.exprs(pair)?),
            Rule::group => {
                let mut parts = Parts::of(pair);
                let inner = Parts::of(parts.next(Rule::paren)).next(Rule::expr);
                ExprKind::Group { inner: Box::new(self.expr(inner)?), repeat: self.repeat(&mut parts)? }
            }
            Rule::combinator => self.combinator(pair)?,
            Rule::choice => self.choice_value(pair)?,
            rule => unreachable!("not an operand: {rule:?}"),
        };
        Ok(Expr { kind, span })
    }

    /// A name, the next value of a state, a path or a call.
    fn named(&self, pair: Pair<'_, Rule>) -> Result<ExprKind, Diagnostic> {
        let whole = pair.as_str();
        let is_next = whole.ends_with('\'');
        let mut parts = Parts::of(pair);
        let name = self.ident(parts.next(Rule::name));
        if let Some(args) = parts.optional(Rule::arguments) {
            let args = self.arguments(args)?;
            return Ok(ExprKind::Call { callee: name, args, repeat: self.repeat(&mut parts)? });
        }
        let fields: Vec<_> = parts.map(|part| self.ident(part)).collect();
        Ok(match name.text.as_str() {
            _ if !fields.is_empty() => ExprKind::Path([vec![name], fields].concat()),
            _ if is_next => ExprKind::Next(name),
            "true" => ExprKind::Bool(true),
            "false" => ExprKind::Bool(false),
            _ => ExprKind::Name(name),
        })
    }

    fn number(&self, pair: &Pair<'_, Rule>) -> Result<ExprKind, Diagnostic> {
        let text = pair.as_str();
        let (digits, percent) = match text.strip_suffix('%') {
            Some(digits) => (digits, true),
            None => (text, false),
        };
        let value: f64 = digits.parse().expect("the grammar's numbers are Rust's");
        if !value.is_finite() {
            let message = Message::new(Code::BadValue, format!("the number `{text}` is too large"));
            return Err(message.at(self.span(pair)));
        }
        let (value, form) = match percent {
            true => (value / 100.0, NumberForm::Percent),
            false if digits.bytes().all(|byte| byte.is_ascii_digit()) => (value, NumberForm::Integer),
            false => (value, NumberForm::Decimal),
        };
        Ok(ExprKind::Number(Number { value, form, text: text.to_owned() }))
    }

    fn arguments(&self, pair: Pair<'_, Rule>) -> Result<Vec<Arg>, Diagnostic> {
        let mut args = Vec::new();
        for argument in Parts::of(pair).all(Rule::argument) {
            let mut parts = Parts::of(argument);
            let name = parts.optional(Rule::argument_name).map(|name| self.ident(Parts::of(name).next(Rule::name)));
            args.push(Arg { name, value: self.expr(parts.next(Rule::expr))? });
        }
        Ok(args)
    }

    fn repeat(&self, parts: &mut Parts<'_>) -> Result<Option<Box<Expr>>, Diagnostic> {
        let Some(repeat) = parts.optional(Rule::repeat) else {
            return Ok(None);
        };
        let mut parts = Parts::of(repeat);
        let count = match parts.optional(Rule::repeat_count) {
            Some(count) => Expr { span: self.span(&count), kind: self.number(&count)? },
            None => self.expr(Parts::of(parts.next(Rule::repeat_value)).next(Rule::expr))?,
        };
        Ok(Some(Box::new(count)))
    }

    /// Without braces, `concat`, `sum` and `residual` are names like any other.
    fn combinator(&self, pair: Pair<'_, Rule>) -> Result<ExprKind, Diagnostic> {
        let mut parts = Parts::of(pair);
        let callee = self.ident(parts.next(Rule::combinator_kind));
        let args = parts.optional(Rule::arguments).map(|args| self.arguments(args)).transpose()?;
        let branches = parts.optional(Rule::branches).map(|branches| self.exprs(branches)).transpose()?;
        let repeat = self.repeat(&mut parts)?;
        let Some(branches) = branches else {
            return Ok(match args {
                Some(args) => ExprKind::Call { callee, args, repeat },
                None => ExprKind::Name(callee),
            });
        };
        let kind = match callee.text.as_str() {
            "concat" => CombinatorKind::Concat,
            "sum" => CombinatorKind::Sum,
            _ => CombinatorKind::Residual,
        };
        Ok(ExprKind::Combinator { kind, args: args.unwrap_or_default(), branches, repeat })
    }

    pub(super) fn choice(&self, pair: Pair<'_, Rule>) -> Result<Choice, Diagnostic> {
        let mut branches = Vec::new();
        let mut otherwise = None;
        for part in Parts::of(pair) {
            let is_branch = part.as_rule() == Rule::branch;
            let mut parts = Parts::of(part);
            if is_branch {
                let condition = self.operation(parts.next(Rule::operation))?;
                branches.push((condition, self.body(parts.next(Rule::body))?));
            } else {
                otherwise = Some(self.body(parts.next(Rule::body))?);
            }
        }
        Ok((branches, otherwise))
    }

    /// An `if` that is a value: every case is there and is one expression.
    fn choice_value(&self, pair: Pair<'_, Rule>) -> Result<ExprKind, Diagnostic> {
        let span = self.span(&pair);
        let (branches, otherwise) = self.choice(pair)?;
        let Some(otherwise) = otherwise else {
            let message = Message::new(Code::Syntax, "an `if` that is a value needs an `else`")
                .help("say what the value is otherwise: `if … { … } else { … }`");
            return Err(message.at(span).label("no `else`"));
        };
        let mut values = Vec::new();
        for (condition, body) in branches {
            values.push((condition, value(body)?));
        }
        Ok(ExprKind::If { branches: values, otherwise: Box::new(value(otherwise)?) })
    }
}

/// The one expression in the braces of an `if` that is a value.
fn value(mut body: Body) -> Built {
    use super::ast::StmtKind;

    let message = |text: &str| Message::new(Code::Syntax, text);
    let Some(first) = body.stmts.pop() else {
        return Err(message("an `if` that is a value has a value in each of its braces")
            .at(body.span)
            .label("no value"));
    };
    if let Some(other) = body.stmts.pop() {
        return Err(message("an `if` that is a value has one expression in each of its braces")
            .help("an `if` with several statements stands alone on its line")
            .at(first.span)
            .label("a second statement")
            .also(other.span, "the statement before"));
    }
    match first.kind {
        StmtKind::Flow(expr) => Ok(expr),
        StmtKind::If { branches, otherwise: Some(otherwise) } => {
            let mut values = Vec::new();
            for (condition, body) in branches {
                values.push((condition, value(body)?));
            }
            let kind = ExprKind::If { branches: values, otherwise: Box::new(value(otherwise)?) };
            Ok(Expr { kind, span: first.span })
        }
        _ => Err(message("an `if` that is a value has expressions in its braces")
            .at(first.span)
            .label("not an expression")),
    }
}

fn is_comparison(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge)
}

fn binary_op(rule: Rule) -> BinaryOp {
    match rule {
        Rule::add => BinaryOp::Add,
        Rule::subtract => BinaryOp::Sub,
        Rule::multiply => BinaryOp::Mul,
        Rule::divide => BinaryOp::Div,
        Rule::matmul => BinaryOp::MatMul,
        Rule::equal => BinaryOp::Eq,
        Rule::not_equal => BinaryOp::Ne,
        Rule::less => BinaryOp::Lt,
        Rule::less_equal => BinaryOp::Le,
        Rule::greater => BinaryOp::Gt,
        Rule::greater_equal => BinaryOp::Ge,
        Rule::and => BinaryOp::And,
        Rule::or => BinaryOp::Or,
        rule => unreachable!("not an operator: {rule:?}"),
    }
}
