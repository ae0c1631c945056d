//! Applies layers to values: extends the graph, keeps the story of shapes, adds rows to the table.

use std::rc::Rc;

use super::cx::{Cx, MAX_DEPTH};
use super::eval::combinator_name;
use super::value::{Change, DefinedUse, Function, LibraryUse, Node, Tensor, Value};
use crate::diag::{Code, Message, Span};
use crate::layers::{Apart, Class, LayerCx, Report, Tokens, user_shape};
use crate::network::LayerUse;
use crate::syntax::ast::{CombinatorKind, DefinitionKind};
use crate::types::{Dim, ElementType, TensorType, product, show_shape};

impl<'a, 'b> Cx<'a, 'b> {
    /// Applies to whatever `value` is: only values of the network take layers.
    pub(super) fn apply_value(
        &mut self,
        function: &Rc<Node<'a, 'b>>,
        value: Value<'a, 'b>,
        name: Option<&'a str>,
        span: Span,
    ) -> Value<'a, 'b> {
        match value {
            Value::Tensor(tensor) => self.apply(function, tensor, name),
            Value::Poison => Value::Poison,
            other => self.fail(
                Code::WrongKind,
                format!("a layer applies to a value of the network, not to {}", other.describe()),
                span,
            ),
        }
    }

    pub(super) fn apply(&mut self, function: &Function<'a, 'b>, x: Tensor<'b>, name: Option<&'a str>) -> Value<'a, 'b> {
        match function {
            Function::Library(used) => {
                let binding = if used.layer.class == Class::Activation { None } else { self.scope().binding };
                let path = self.new_path(used.layer.name, name.or(binding));
                self.library(used, x, path)
            }
            Function::Defined(used) => {
                let name = name.or(self.scope().binding);
                let path = self.new_path(&used.definition.name.text, name);
                self.defined(used, x, path)
            }
            Function::Direction { direction, inner, span } => {
                let Some(inner) = inner else { return self.without_cell(*direction, *span) };
                self.direction(*direction, inner, x, name, *span)
            }
            Function::Sequence(stages) => {
                let mut value = Value::Tensor(x);
                for stage in stages {
                    match value {
                        Value::Tensor(x) => value = self.apply(stage, x, None),
                        other => return other,
                    }
                }
                value
            }
            Function::Repeat { inner, times, span } => self.repeat(inner, *times, x, name, *span),
            Function::Combine { kind, axis, branches, span } => self.combine(*kind, *axis, branches, x, *span),
            Function::Shared { path, inner } => self.shared(path, inner, x),
        }
    }

    fn net_as_layer(&mut self, used: &DefinedUse<'a, 'b>) -> Value<'a, 'b> {
        let name = &used.definition.name.text;
        let message = Message::new(Code::WrongKind, format!("`{name}` is a net, and a net is no layer"));
        self.error(message.help("make the part to share a `block`").at(used.span))
    }

    fn repeat(
        &mut self,
        inner: &Rc<Node<'a, 'b>>,
        times: usize,
        x: Tensor<'b>,
        name: Option<&'a str>,
        span: Span,
    ) -> Value<'a, 'b> {
        let ordinals = self.scope().ordinals();
        let mut value = Value::Tensor(x);
        for number in 1..=times {
            if !self.step(span) {
                return Value::Poison;
            }
            let Value::Tensor(x) = value else { return value };
            self.scope().begin_repetition(number, &ordinals);
            value = self.apply(inner, x, name);
            self.scope().end_repetition();
        }
        value
    }

    /// One layer of the library, with its activation.
    fn library(&mut self, used: &LibraryUse<'a, 'b>, x: Tensor<'b>, path: String) -> Value<'a, 'b> {
        if !self.step(used.span) || !self.is_complete(used) {
            return Value::Poison;
        }
        let ty = x.var.ty();
        if ty.element == ElementType::I32 && used.layer.tokens == Tokens::Refused {
            let text = format!("`{}` takes numbers, not tokens of shape {}", used.kind, x.show());
            let message = Message::new(Code::WrongKind, text);
            return self.error(message.help("give each token a vector first: `embed(64)`").at(used.span));
        }
        if used.layer.class == Class::Layer && ty.shape.first() != Some(&Dim::batch()) {
            let text = format!(
                "`{}` applies to what flows from an input, and this is the same for the whole batch",
                used.kind
            );
            return self.fail(Code::NotSupported, text, used.span);
        }
        let is_in_cell = self.scopes.iter().any(|scope| scope.step.is_some());
        if is_in_cell && used.layer.name == "batchnorm" {
            let text = "`batchnorm` stands in a cell, where each step would have statistics of its own";
            let message = Message::new(Code::NotSupported, text);
            return self.error(message.help("use `layernorm`, which needs none").at(used.span));
        }
        let outside = self.builder.set_origin(Some(self.builder.add_origin(&path)));
        let n_known = self.store.parameters.len();
        let recurrent = self.recurrent_parts(x.var);
        let mut cx = LayerCx::new(self.builder, self.mode, &path, &mut self.store);
        cx.recurrent = recurrent;
        let result = (used.layer.apply)(&mut cx, x.var, &used.args);
        let report = cx.report;
        for parameter in &mut self.store.parameters[n_known..] {
            parameter.span = Some(used.span);
        }
        let result = match result {
            Ok(var) => {
                let tensor = self.changed(used, &x, var, &report);
                match &used.act {
                    Some(act) => self.activation(act, tensor, &path),
                    None => Value::Tensor(tensor),
                }
            }
            Err(message) => self.refused(used, &x, message),
        };
        self.builder.set_origin(outside);
        // Losses and metrics are no part of the network's table.
        if let (Value::Tensor(y), Class::Layer | Class::Activation) = (&result, used.layer.class) {
            let others = report.others.clone();
            self.row(path.clone(), used.kind, y, report, used.span);
            self.rows_apart(&path, used.kind, others, used.span);
        }
        result
    }

    /// An activation belongs to its layer: it has no row, and its path is the layer's.
    fn activation(&mut self, act: &Rc<Node<'a, 'b>>, x: Tensor<'b>, path: &str) -> Value<'a, 'b> {
        let n_rows = self.layers.len();
        let value = match &***act {
            Function::Library(used) => self.library(used, x, path.to_owned()),
            function => {
                let outside = self.scope().enter(format!("{path}."));
                let value = self.apply(function, x, None);
                self.scope().leave(outside);
                value
            }
        };
        // Rows of activations that own nothing say nothing.
        if self.layers[n_rows..].iter().all(|row| row.n_parameters == 0) {
            self.layers.truncate(n_rows);
        }
        value
    }

    fn refused(&mut self, used: &LibraryUse<'a, 'b>, x: &Tensor<'b>, message: Message) -> Value<'a, 'b> {
        // A primitive says it of the graph's types, which users do not know.
        let message = match message.code {
            Code::TooLarge if message.text.contains("f32[") => {
                let text = format!("the result of `{}` on {} is too large to be addressed", used.kind, x.show());
                Message::new(Code::TooLarge, text)
            }
            _ => message,
        };
        let mut error = message.at(used.span);
        let origin = x.changes.first().cloned().flatten().or_else(|| x.window.clone());
        if let (Code::ShapeMismatch | Code::InvalidSize, Some(change)) = (error.message.code, origin)
            && change.span != used.span
        {
            error = error.also(change.span, format!("this gives {}", x.show()));
        }
        self.error(error)
    }

    /// The result of a layer with the story of its shape: an axis whose size changed was changed by this layer.
    fn changed(
        &self,
        used: &LibraryUse<'a, 'b>,
        x: &Tensor<'b>,
        var: crate::graph::Var<'b>,
        report: &Report,
    ) -> Tensor<'b> {
        let (before, after) = (x.var.shape(), var.shape());
        let stride = used.given.iter().find(|(name, _)| *name == "stride").map(|(_, span)| *span);
        let change = |from_end: usize| {
            let size = report.sizes.iter().find(|size| size.from_end == from_end);
            Rc::new(Change {
                kind: used.kind.to_owned(),
                span: used.span,
                reason: size.and_then(|size| size.reason.clone()),
                formula: size.map(|size| size.formula.clone()),
                stride,
            })
        };
        let changes = (0..after.len()).map(|from_end| {
            let is_same =
                before.len() == after.len() && before[before.len() - 1 - from_end] == after[after.len() - 1 - from_end];
            if is_same { x.changes.get(from_end).cloned().flatten() } else { Some(change(from_end)) }
        });
        let window = if used.layer.argument("stride").is_some() { Some(change(1)) } else { x.window.clone() };
        Tensor { var, changes: changes.collect(), window }
    }

    pub(super) fn row(&mut self, path: String, kind: &str, y: &Tensor<'b>, report: Report, span: Span) {
        let shape = y.user_shape();
        self.layers.push(LayerUse {
            path,
            kind: kind.to_owned(),
            activation_bytes: product(&shape).times(&Dim::fixed(4)),
            shape,
            n_parameters: report.n_parameters,
            multiply_accumulates: report.multiply_accumulates.unwrap_or(Dim::fixed(0)),
            explanation: report.explanation,
            span,
        });
    }

    /// Rows for what a layer counts in other sizes.
    fn rows_apart(&mut self, path: &str, kind: &str, others: Vec<Apart>, span: Span) {
        for Apart { name, shape, multiply_accumulates } in others {
            self.layers.push(LayerUse {
                path: format!("{path}.{name}"),
                kind: kind.to_owned(),
                shape,
                n_parameters: 0,
                multiply_accumulates,
                activation_bytes: Dim::fixed(0),
                explanation: Vec::new(),
                span,
            });
        }
    }

    fn defined(&mut self, used: &DefinedUse<'a, 'b>, x: Tensor<'b>, path: String) -> Value<'a, 'b> {
        let name = &used.definition.name.text;
        if !self.step(used.span) {
            return Value::Poison;
        }
        if let Some(start) = self.scopes.iter().position(|scope| std::ptr::eq(scope.definition, used.definition)) {
            let chain: Vec<String> =
                self.scopes[start..].iter().map(|scope| format!("`{}`", scope.definition.name.text)).collect();
            let text = format!("`{name}` uses itself: {} uses `{name}`", chain.join(" uses "));
            // Most circles are seen before anything expands; this one goes through a layer given as an argument.
            if self.errors.iter().any(|error| error.message.code == Code::BlockCycle) {
                return Value::Poison;
            }
            return self.fail(Code::BlockCycle, text, used.span);
        }
        if self.scopes.len() >= MAX_DEPTH {
            return self.fail(Code::TooDeep, format!("blocks are nested more than {MAX_DEPTH} deep"), used.span);
        }
        match used.definition.kind {
            DefinitionKind::Block => self.block(used, x, format!("{path}.")),
            DefinitionKind::Cell => self.cell(used, x, path),
            DefinitionKind::Net => self.net_as_layer(used),
        }
    }

    fn shared(&mut self, path: &str, inner: &Rc<Node<'a, 'b>>, x: Tensor<'b>) -> Value<'a, 'b> {
        self.n_shared += 1;
        let value = self.apply_at(path, inner, x);
        self.n_shared -= 1;
        value
    }

    /// Applies so that what it owns lies under `path`.
    pub(super) fn apply_at(&mut self, path: &str, inner: &Rc<Node<'a, 'b>>, x: Tensor<'b>) -> Value<'a, 'b> {
        match &***inner {
            Function::Library(used) => self.library(used, x, path.to_owned()),
            Function::Defined(used) => self.defined(used, x, path.to_owned()),
            Function::Direction { direction, inner: Some(inner), span } => {
                self.direction_at(*direction, inner, x, path, *span)
            }
            function => {
                let outside = self.scope().enter(format!("{path}."));
                let value = self.apply(function, x, None);
                self.scope().leave(outside);
                value
            }
        }
    }

    /// `concat`, `sum` and `residual`: every branch takes the same value.
    fn combine(
        &mut self,
        kind: CombinatorKind,
        axis: Option<usize>,
        branches: &[(Value<'a, 'b>, Span)],
        x: Tensor<'b>,
        span: Span,
    ) -> Value<'a, 'b> {
        let name = combinator_name(kind);
        let mut results = Vec::new();
        if kind == CombinatorKind::Residual {
            results.push((x.clone(), span));
        }
        for (branch, span) in branches {
            let value = match branch {
                Value::Layer(function) => self.apply(function, x.clone(), None),
                value => value.clone(),
            };
            match value {
                Value::Tensor(tensor) => results.push((tensor, *span)),
                Value::Poison => {}
                other => {
                    let text = format!("a branch of `{name}` is layers or a value, not {}", other.describe());
                    self.fail(Code::WrongKind, text, *span);
                }
            }
        }
        let n_expected = branches.len() + usize::from(kind == CombinatorKind::Residual);
        if results.len() < n_expected {
            return Value::Poison;
        }
        if results.is_empty() {
            return self.fail(Code::MissingArgument, format!("`{name}` has no branches"), span);
        }
        let path = self.new_path(name, None);
        let outside = self.builder.set_origin(Some(self.builder.add_origin(&path)));
        let result = match kind {
            CombinatorKind::Concat => self.join(&results, axis.unwrap_or(0), span),
            CombinatorKind::Sum | CombinatorKind::Residual => self.sum(&results, name),
        };
        self.builder.set_origin(outside);
        if let Value::Tensor(y) = &result {
            let shapes: Vec<String> = results.iter().map(|(tensor, _)| tensor.show()).collect();
            let sign = if kind == CombinatorKind::Concat { ", " } else { " + " };
            let report = Report { explanation: vec![shapes.join(sign)], ..Report::default() };
            self.row(path, name, y, report, span);
        }
        result
    }

    fn sum(&mut self, parts: &[(Tensor<'b>, Span)], name: &str) -> Value<'a, 'b> {
        let (first, first_span) = &parts[0];
        let mut sum = first.clone();
        for (other, span) in &parts[1..] {
            if other.var.ty() != first.var.ty() {
                let text = match name {
                    "residual" => "what `residual` adds must keep the shape of its input".to_owned(),
                    _ => format!("what `{name}` adds must have one shape"),
                };
                let mut error = Message::new(Code::ShapeMismatch, text).at(*span).label(other.show());
                error.message.notes = self.differences((other, *span), (first, *first_span), None);
                error = match name {
                    "residual" => {
                        if error.message.notes.is_empty() {
                            error.message.notes.push(format!("its input is {}", first.show()));
                        }
                        error
                    }
                    _ => error.also(*first_span, first.show()),
                };
                return self.error(error);
            }
            sum = sum.with_var(sum.var + other.var);
        }
        Value::Tensor(sum)
    }

    /// What a shape would weigh: for ports and parameters of the wrong size.
    pub(super) fn check_type(&mut self, ty: &TensorType, span: Span) -> bool {
        match crate::graph::check_size(ty) {
            Ok(()) => true,
            Err(_) => {
                let text =
                    format!("a value of shape {} is too large to be addressed", show_shape(user_shape(&ty.shape)));
                self.fail(Code::TooLarge, text, span);
                false
            }
        }
    }
}
