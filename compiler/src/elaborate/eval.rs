//! Expressions: from what was written to what it stands for.

use std::rc::Rc;

use super::cx::{Cx, MAX_DEPTH, MAX_LIST};
use super::value::{Direction, Function, Tensor, Value};
use crate::diag::{Code, Diagnostic, Message, Span};
use crate::graph::Var;
use crate::layers::initial::Init;
use crate::layers::{self, lead, user_shape};
use crate::syntax::ast::{CombinatorKind, Expr, ExprKind, Ident, NumberForm, split_window};
use crate::types::{Dim, show_shape};

/// Names that stand for themselves where nothing else has them: `gelu(none)`, `gru(64, reset = after)`.
pub(super) const WORDS: [&str; 3] = ["none", "before", "after"];
/// Whole numbers beyond this are not exact.
pub(super) const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;

impl<'a, 'b> Cx<'a, 'b> {
    pub(super) fn eval(&mut self, expr: &'a Expr) -> Value<'a, 'b> {
        if !self.step(expr.span) {
            return Value::Poison;
        }
        match self.eval_kind(expr) {
            Value::Layer(node) if node.depth > MAX_DEPTH => {
                self.fail(Code::TooDeep, format!("layers are nested more than {MAX_DEPTH} deep"), expr.span)
            }
            value => value,
        }
    }
    fn eval_kind(&mut self, expr: &'a Expr) -> Value<'a, 'b> {
        match &expr.kind {
            ExprKind::Number(number) => {
                if number.form == NumberForm::Integer && number.value > MAX_WHOLE {
                    return self.fail(Code::BadValue, format!("{} is too large to be exact", number.text), expr.span);
                }
                Value::Number(number.value)
            }
            ExprKind::Text(text) => Value::Text(text),
            ExprKind::Bool(flag) => Value::Bool(*flag),
            ExprKind::Name(name) => self.name(name),
            ExprKind::Next(name) => self.next_name(name),
            ExprKind::Path(parts) => self.part(parts, expr.span),
            ExprKind::List(items) => self.list(items, expr.span),
            ExprKind::Index { base, parts } => self.index(base, parts, expr.span),
            ExprKind::Range { .. } => self.fail(
                Code::WrongKind,
                "a range stands only after `in`, and between the brackets that choose a part",
                expr.span,
            ),
            ExprKind::Unary { op, operand } => {
                let value = self.eval(operand);
                self.unary(*op, value, operand.span)
            }
            ExprKind::Binary { op, op_span, left, right } => self.binary(*op, *op_span, left, right),
            ExprKind::Call { callee, args, repeat } => {
                let value = self.call(expr, callee, args);
                self.repeated(value, repeat.as_deref(), expr.span)
            }
            ExprKind::Group { inner, repeat } => {
                let value = self.eval(inner);
                self.repeated(value, repeat.as_deref(), expr.span)
            }
            ExprKind::Chain(stages) => self.chain(stages),
            ExprKind::If { branches, otherwise } => {
                for (condition, value) in branches {
                    match self.condition(condition) {
                        Some(true) => return self.eval(value),
                        Some(false) => {}
                        None => return Value::Poison,
                    }
                }
                self.eval(otherwise)
            }
            ExprKind::Combinator { kind, args, branches, repeat } => {
                let axis = self.combinator_axis(*kind, args);
                let branches = branches.iter().map(|branch| (self.eval(branch), branch.span)).collect();
                let function = Function::Combine { kind: *kind, axis, branches, span: expr.span };
                self.repeated(Value::layer(function), repeat.as_deref(), expr.span)
            }
        }
    }

    /// A name alone: a value, or a layer without arguments. Names that nothing has were reported before.
    pub(super) fn name(&mut self, name: &'a Ident) -> Value<'a, 'b> {
        let text = name.text.as_str();
        match self.local(text) {
            Some(value) => value,
            None => self.global(name, name.span),
        }
    }
    /// What the innermost body calls so; marks it as used.
    pub(super) fn local(&mut self, name: &str) -> Option<Value<'a, 'b>> {
        let local = self.scopes.last_mut()?.find(name)?;
        local.used = true;
        Some(local.value.clone())
    }
    pub(super) fn global(&mut self, name: &'a Ident, span: Span) -> Value<'a, 'b> {
        let text = name.text.as_str();
        if let Some(constant) = self.constants.get(text) {
            return constant.clone();
        }
        if let Some(function) = self.layer_named(name, span) {
            return Value::layer(function);
        }
        match Init::from_word(text, &[]) {
            Some(init) => Value::Init(init),
            None if let Some(word) = WORDS.iter().find(|word| **word == text) => Value::Text(word),
            None => self.unknown(name),
        }
    }
    /// For names that the check before elaboration let pass, because it cannot see their order.
    fn unknown(&mut self, name: &Ident) -> Value<'a, 'b> {
        let quoted = format!("`{}`", name.text);
        let is_said = |error: &Diagnostic| {
            let Message { code, text, .. } = &*error.message;
            error.span == name.span || (*code == Code::UnknownLayer && text.ends_with(&quoted))
        };
        if self.errors.iter().any(is_said) {
            Value::Poison
        } else {
            self.fail(Code::UnknownName, format!("nothing is called `{}`", name.text), name.span)
        }
    }

    /// `[x, h]` joins values along their first axis; a list of anything else stays a list.
    fn list(&mut self, items: &'a [Expr], span: Span) -> Value<'a, 'b> {
        let values: Vec<(Value<'a, 'b>, Span)> = items.iter().map(|item| (self.eval(item), item.span)).collect();
        if values.iter().any(|(value, _)| matches!(value, Value::Poison)) {
            return Value::Poison;
        }
        if values.iter().any(|(value, _)| matches!(value, Value::Tensor(_))) {
            let mut tensors = Vec::new();
            for (value, span) in values {
                match value {
                    Value::Tensor(tensor) => tensors.push((tensor, span)),
                    other => {
                        let text = format!("brackets join values of the network, and this is {}", other.describe());
                        return self.fail(Code::WrongKind, text, span);
                    }
                }
            }
            return self.join(&tensors, 0, span);
        }
        let list = Value::List(Rc::new(values.into_iter().map(|(value, _)| value).collect()));
        if !is_small(&list, &mut MAX_LIST.clone(), 16) {
            return self.fail(Code::TooLarge, format!("a list has at most {MAX_LIST} elements and 16 levels"), span);
        }
        list
    }

    fn chain(&mut self, stages: &'a [Expr]) -> Value<'a, 'b> {
        let mut value = self.eval(&stages[0]);
        let mut functions = Vec::new();
        if let Value::Layer(function) = &value {
            functions.push(function.clone());
        }
        let is_layers = !functions.is_empty();
        for stage in &stages[1..] {
            match self.eval(stage) {
                Value::Poison => value = Value::Poison,
                Value::Layer(function) if is_layers => functions.push(function),
                Value::Layer(function) => value = self.apply_value(&function, value, None, stage.span),
                other => {
                    let text = format!("after `->` stands a layer, not {}", other.describe());
                    value = self.fail(Code::WrongKind, text, stage.span);
                }
            }
        }
        match value {
            Value::Poison => Value::Poison,
            _ if is_layers => Value::layer(Function::Sequence(functions)),
            value => value,
        }
    }

    /// A layer as often as its repeat says.
    fn repeated(&mut self, value: Value<'a, 'b>, repeat: Option<&'a Expr>, span: Span) -> Value<'a, 'b> {
        let Some(repeat) = repeat else { return value };
        let times = self.eval(repeat);
        let Some(times) = self.whole(&times, "a repeat", 0, repeat.span) else { return Value::Poison };
        match value {
            Value::Layer(inner) => Value::layer(Function::Repeat { inner, times, span }),
            Value::Poison => Value::Poison,
            other => self.fail(Code::WrongKind, format!("only layers can be repeated, not {}", other.describe()), span),
        }
    }

    fn combinator_axis(&mut self, kind: CombinatorKind, args: &'a [crate::syntax::ast::Arg]) -> Option<usize> {
        let mut axis = None;
        for arg in args {
            let value = self.eval(&arg.value);
            let named_axis = arg.name.as_ref().is_none_or(|name| name.text == "axis");
            if kind == CombinatorKind::Concat && named_axis && axis.is_none() {
                axis = self.whole(&value, "an axis", 0, arg.value.span);
                continue;
            }
            let text = format!("`{}` has no such argument", combinator_name(kind));
            let message = Message::new(Code::UnknownArgument, text);
            let help = if kind == CombinatorKind::Concat { "its only argument is `axis`" } else { "it has none" };
            self.error(message.help(help).at(arg.span()));
        }
        axis
    }

    pub(super) fn condition(&mut self, expr: &'a Expr) -> Option<bool> {
        match self.eval(expr) {
            Value::Bool(flag) => Some(flag),
            Value::Poison => None,
            other => {
                let text = format!("a condition is `true` or `false`, not {}", other.describe());
                self.fail(Code::WrongKind, text, expr.span);
                None
            }
        }
    }

    /// A whole number from `least`; says what is wrong if it is none.
    pub(super) fn whole(&mut self, value: &Value<'a, 'b>, what: &str, least: usize, span: Span) -> Option<usize> {
        match value {
            Value::Poison => None,
            Value::Number(n) if n.fract() != 0.0 || *n < least as f64 || *n > 1e12 => {
                let code = if what == "a size" { Code::InvalidSize } else { Code::BadValue };
                self.fail(code, format!("{what} is a whole number from {least}, not {n}"), span);
                None
            }
            Value::Number(n) => Some(*n as usize),
            other => {
                self.fail(Code::WrongKind, format!("{what} is a whole number, not {}", other.describe()), span);
                None
            }
        }
    }

    /// `x[0]`, `x[0..3, ..]` of a value; `list[0]` of a list.
    fn index(&mut self, base: &'a Expr, parts: &'a [Expr], span: Span) -> Value<'a, 'b> {
        match self.eval(base) {
            Value::Poison => Value::Poison,
            Value::List(items) => {
                let [part] = parts else { return self.fail(Code::WrongKind, "a list has one axis", span) };
                let at = self.eval(part);
                let Some(at) = self.whole(&at, "the place in a list", 0, part.span) else { return Value::Poison };
                match items.get(at) {
                    Some(item) => item.clone(),
                    None => {
                        let text = format!("there is no element {at} in a list of {}, counted from 0", items.len());
                        self.fail(Code::BadValue, text, part.span)
                    }
                }
            }
            Value::Tensor(tensor) => self.slice(tensor, parts, span),
            other => self.fail(Code::WrongKind, format!("{} has no parts", other.describe()), base.span),
        }
    }

    fn slice(&mut self, tensor: Tensor<'b>, parts: &'a [Expr], span: Span) -> Value<'a, 'b> {
        let mut var = tensor.var;
        let mut changes = tensor.changes.clone();
        let first = var.rank() - user_shape(&var.shape()).len();
        if parts.len() > var.rank() - first {
            let text = format!("{} parts are chosen of a value of shape {}", parts.len(), tensor.show());
            return self.fail(Code::AxisOutOfRange, text, span);
        }
        let mut axis = first;
        for part in parts {
            let size = var.shape()[axis].clone();
            let range = match &part.kind {
                ExprKind::Range { start: None, end: None } => {
                    axis += 1;
                    continue;
                }
                ExprKind::Range { start, end } => {
                    let start = self.bound(start.as_deref(), 0);
                    let end = self.bound(end.as_deref(), size.as_fixed().unwrap_or(0));
                    start.zip(end)
                }
                _ => self.bound(Some(part), 0).map(|at| (at, at + 1)),
            };
            let Some((start, end)) = range else { return Value::Poison };
            let Some(n) = size.as_fixed() else {
                let text = format!("the sequence axis `{size}` is taken whole: its length is known at run time");
                return self.error(
                    Message::new(Code::NotSupported, text)
                        .help("write `..` for it; `last` takes its last step")
                        .at(part.span),
                );
            };
            if start >= end || end > n {
                let text = format!("there are no elements {start}..{end} along an axis of {n}");
                return self.fail(Code::AxisOutOfRange, text, part.span);
            }
            var = var.slice(axis, start, Dim::fixed(end - start));
            let from_end = var.rank() - 1 - axis;
            if matches!(part.kind, ExprKind::Range { .. }) {
                changes[from_end] = None;
                axis += 1;
            } else {
                let mut shape = var.shape();
                shape.remove(axis);
                changes.remove(from_end);
                var = var.reshape(&shape);
            }
        }
        Value::Tensor(Tensor { var, changes, window: None })
    }
    fn bound(&mut self, expr: Option<&'a Expr>, absent: usize) -> Option<usize> {
        let Some(expr) = expr else { return Some(absent) };
        let value = self.eval(expr);
        self.whole(&value, "an element's number", 0, expr.span)
    }

    /// Joins values along axis `axis` after their sequence axes.
    pub(super) fn join(&mut self, parts: &[(Tensor<'b>, Span)], axis: usize, span: Span) -> Value<'a, 'b> {
        let (first, first_span) = &parts[0];
        let shape = first.var.shape();
        let at = lead(&shape) + axis;
        for (other, other_span) in parts {
            let theirs = other.var.shape();
            let fits = theirs.len() == shape.len()
                && (0..shape.len()).all(|i| i == at || theirs[i] == shape[i])
                && at < shape.len()
                && other.var.ty().element == crate::types::ElementType::F32;
            if !fits {
                let text = match at < shape.len() {
                    true => "what is joined may differ along the joined axis only".to_owned(),
                    false => format!("there is no axis {axis} to join along in {}", first.show()),
                };
                let code = if at < shape.len() { Code::ShapeMismatch } else { Code::AxisOutOfRange };
                let notes = self.differences((other, *other_span), (first, *first_span), Some(at));
                let mut error = Message::new(code, text).at(*other_span).label(other.show());
                error.message.notes = notes;
                if other_span != first_span {
                    error = error.also(*first_span, first.show());
                }
                return self.error(error);
            }
        }
        let vars: Vec<Var<'b>> = parts.iter().map(|(tensor, _)| tensor.var).collect();
        match Var::concat(&vars, at) {
            Ok(var) => {
                let mut joined = first.with_var(var);
                let from_end = shape.len() - 1 - at;
                joined.changes[from_end] = None;
                Value::Tensor(joined)
            }
            Err(message) => self.error(message.at(span)),
        }
    }

    /// The layer of that name, with its window split off.
    pub(super) fn layer_named(&mut self, name: &'a Ident, span: Span) -> Option<Function<'a, 'b>> {
        let text = name.text.as_str();
        if let Some(&definition) = self.program.definitions.get(text) {
            return Some(self.defined_use(definition, span));
        }
        let (base, window) = split_window(text);
        if let Some(direction) = Direction::ALL.into_iter().find(|direction| direction.name() == text) {
            return Some(Function::Direction { direction, inner: None, span });
        }
        let layer = layers::find(base)?;
        if window.is_some() && !layer.window {
            return None;
        }
        Some(self.library_use(layer, text, window, span))
    }
}

pub(super) fn combinator_name(kind: CombinatorKind) -> &'static str {
    match kind {
        CombinatorKind::Concat => "concat",
        CombinatorKind::Sum => "sum",
        CombinatorKind::Residual => "residual",
    }
}

/// Whether a list has at most so many elements in all of its lists, and those are not nested too deeply.
fn is_small(value: &Value<'_, '_>, room: &mut usize, depth: usize) -> bool {
    let Value::List(items) = value else { return true };
    if depth == 0 || items.len() > *room {
        return false;
    }
    *room -= items.len();
    items.iter().all(|item| is_small(item, room, depth - 1))
}

/// `[3, 224, 224]` without the batch.
pub(super) fn show(shape: &[Dim]) -> String {
    show_shape(user_shape(shape))
}
