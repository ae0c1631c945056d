//! `reverse(…)`, `bidirectional(…)`, and what a recurrent layer ends with: `encoder.state`.

use std::rc::Rc;

use super::call::Given;
use super::cx::Cx;
use super::value::{Direction, Function, Node, Tensor, Value};
use crate::diag::{Code, Message, Span};
use crate::layers::Report;
use crate::syntax::ast::Ident;

impl<'a, 'b> Cx<'a, 'b> {
    /// `reverse(lstm(64))`: the one argument is made of cells.
    pub(super) fn bind_direction(
        &mut self,
        direction: Direction,
        given: Vec<Given<'a, 'b>>,
        span: Span,
    ) -> Option<Function<'a, 'b>> {
        let name = direction.name();
        let mut given = given.into_iter();
        let (first, second) = (given.next(), given.next());
        match (first, second) {
            (Some(Given { name: None, value: Value::Layer(inner), .. }), None) if inner.is_cells() => {
                return Some(Function::Direction { direction, inner: Some(inner), span });
            }
            (Some(Given { name: None, value, span }), None) => {
                let text = format!("`{name}` takes a cell, not {}", value.describe());
                let message = Message::new(Code::WrongKind, text).note("only a cell runs along a sequence");
                self.error(message.help(format!("give each cell its own: `{name}(lstm(64))`")).at(span));
            }
            (Some(Given { name: Some(argument), .. }), _) | (_, Some(Given { name: Some(argument), .. })) => {
                let text = format!("`{name}` has no argument `{}`", argument.text);
                self.fail(Code::UnknownArgument, text, argument.span);
            }
            (Some(_), Some(Given { span, .. })) => {
                self.fail(Code::UnknownArgument, format!("`{name}` takes one argument"), span);
            }
            (None, _) => {
                self.without_cell(direction, span);
            }
        }
        None
    }

    pub(super) fn without_cell(&mut self, direction: Direction, span: Span) -> Value<'a, 'b> {
        let name = direction.name();
        let message = Message::new(Code::MissingArgument, format!("`{name}` needs the cell that it runs"));
        self.error(message.help(format!("write `{name}(lstm(64))`")).at(span))
    }

    pub(super) fn direction(
        &mut self,
        direction: Direction,
        inner: &Rc<Node<'a, 'b>>,
        x: Tensor<'b>,
        name: Option<&'a str>,
        span: Span,
    ) -> Value<'a, 'b> {
        match direction {
            Direction::Reverse => self.reversed(|cx| cx.apply(inner, x, name)),
            Direction::Bidirectional => {
                let name = name.or(self.scope().binding);
                let path = self.new_path(direction.name(), name);
                self.direction_at(direction, inner, x, &path, span)
            }
        }
    }

    pub(super) fn direction_at(
        &mut self,
        direction: Direction,
        inner: &Rc<Node<'a, 'b>>,
        x: Tensor<'b>,
        path: &str,
        span: Span,
    ) -> Value<'a, 'b> {
        if direction == Direction::Reverse {
            return self.reversed(|cx| cx.apply_at(path, inner, x));
        }
        let forward = self.apply_at(&format!("{path}.forward"), inner, x.clone());
        let backward = self.reversed(|cx| cx.apply_at(&format!("{path}.backward"), inner, x));
        let (Value::Tensor(forward), Value::Tensor(backward)) = (forward, backward) else { return Value::Poison };
        let outside = self.builder.set_origin(Some(self.builder.add_origin(path)));
        let explanation = vec![format!("{}, {}", forward.show(), backward.show())];
        let result = self.join(&[(forward, span), (backward, span)], 0, span);
        self.builder.set_origin(outside);
        if let Value::Tensor(y) = &result {
            self.row(path.to_owned(), direction.name(), y, Report { explanation, ..Report::default() }, span);
        }
        result
    }

    fn reversed(&mut self, apply: impl FnOnce(&mut Self) -> Value<'a, 'b>) -> Value<'a, 'b> {
        self.reverse = !self.reverse;
        let value = apply(self);
        self.reverse = !self.reverse;
        value
    }

    /// `encoder.state`, `encoder.h`: what a layer named by `layer` has ended with.
    pub(super) fn part(&mut self, parts: &'a [Ident], span: Span) -> Value<'a, 'b> {
        let name = parts[0].text.as_str();
        let path = match self.name(&parts[0]) {
            Value::Poison => return Value::Poison,
            Value::Layer(node) => match &**node {
                Function::Shared { path, inner } if inner.is_cells() => path.clone(),
                Function::Shared { .. } => return self.no_part(parts, "no recurrent layer", span),
                _ => return self.no_part(parts, "no layer that `layer` names", span),
            },
            other => return self.no_part(parts, &other.describe(), span),
        };
        let known = |path: &String| self.finals.get(path).cloned();
        let both = [format!("{path}.forward"), format!("{path}.backward")];
        let finals: Vec<_> = match known(&path) {
            Some(only) => vec![only],
            None => both.iter().filter_map(known).collect(),
        };
        let Some(first) = finals.first() else {
            let stacked = self.finals.keys().any(|known| known.starts_with(&format!("{path}.")));
            // After an error, what would have run may never have been reached.
            if !stacked && !self.errors.is_empty() {
                return Value::Poison;
            }
            let (text, help) = match stacked {
                true => (
                    format!("`{name}` is a stack of cells, each with a state of its own"),
                    "name the cell that is meant: `layer top = lstm(64)`",
                ),
                false => {
                    (format!("`{name}` has not run yet, so it has no state"), "let a sequence flow through it first")
                }
            };
            return self.error(Message::new(Code::UnknownName, text).help(help).at(span));
        };
        if first.uses > 1 {
            let text = format!("`{name}` has run {} times, so its state is not one value", first.uses);
            let message = Message::new(Code::UnknownName, text);
            return self.error(message.help("name a layer for each use").at(span));
        }
        let mut states: Vec<(String, Value<'a, 'b>)> = Vec::new();
        for (number, (state, _)) in first.states.iter().enumerate() {
            let ends: Vec<(Tensor<'b>, Span)> = finals.iter().map(|all| (all.states[number].1.clone(), span)).collect();
            states.push((state.clone(), self.join(&ends, 0, span)));
        }
        let [_, part] = parts else { return self.no_part(parts, "a recurrent layer", span) };
        if part.text == "state" {
            return match states.as_slice() {
                [(_, only)] => only.clone(),
                _ => Value::List(Rc::new(states.into_iter().map(|(_, value)| value).collect())),
            };
        }
        match states.iter().find(|(state, _)| *state == part.text) {
            Some((_, value)) => value.clone(),
            None => {
                let names = states.iter().map(|(state, _)| state.as_str()).chain(["state"]);
                let message = Message::new(Code::UnknownName, format!("`{name}` has no `{}`", part.text));
                let list: Vec<String> = names.clone().map(|name| format!("`.{name}`")).collect();
                let message = message.did_you_mean(&part.text, names).note(format!("it has {}", list.join(", ")));
                self.error(message.at(part.span))
            }
        }
    }

    fn no_part(&mut self, parts: &[Ident], what: &str, span: Span) -> Value<'a, 'b> {
        let named: Vec<&str> = parts[1..].iter().map(|part| part.text.as_str()).collect();
        let text = format!("`{}` is {what}, and has no `{}`", parts[0].text, named.join("."));
        let message = Message::new(Code::UnknownName, text);
        self.error(
            message
                .help("a recurrent layer that is named has parts: `layer encoder = lstm(64)`, `encoder.state`")
                .at(span),
        )
    }
}
