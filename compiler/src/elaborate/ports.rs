//! Declarations: inputs, targets and parameters, with their shapes.

use std::fmt;

use super::body::Inputs;
use super::cx::Cx;
use super::value::{Tensor, Value};
use crate::diag::{At, Code, Message, Span};
use crate::layers::initial::{Fans, Init};
use crate::layers::{lead, user_shape};
use crate::network::{Initial, Port};
use crate::ops::Role;
use crate::syntax::ast::{self, Decl, Expr, ExprKind};
use crate::types::{Dim, ElementType, TensorType};

/// More axes than this no layer can use.
const MAX_RANK: usize = 8;

/// What a declaration declares.
#[derive(Debug, Clone, Copy)]
pub(super) enum Declared {
    Param,
    State,
}

impl fmt::Display for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Declared::Param => "a parameter",
            Declared::State => "a state",
        })
    }
}

impl<'a, 'b> Cx<'a, 'b> {
    pub(super) fn input(&mut self, port: &'a ast::Port, is_target: bool, inputs: &mut Inputs<'a, 'b>) {
        let value = match inputs {
            Inputs::Ports => self.port(port, is_target),
            Inputs::Values { .. } => match inputs.next() {
                Some((tensor, span)) => self.matched(port, tensor, span),
                None => Value::Poison,
            },
        };
        self.start_flow(&port.name, value, is_target);
    }

    /// An input or target of the net.
    fn port(&mut self, port: &'a ast::Port, is_target: bool) -> Value<'a, 'b> {
        let vocabulary = match &port.ty {
            None => Some(None),
            Some(ty) => self.port_type(ty),
        };
        let mut shape = vec![Dim::batch()];
        let mut is_right = true;
        if port.dims.len() > MAX_RANK {
            self.fail(Code::TooLarge, format!("a value has at most {MAX_RANK} axes"), port.name.span);
            is_right = false;
        }
        for dim in port.dims.iter().take(MAX_RANK) {
            match self.port_size(dim) {
                Some(size) => {
                    let after_features = shape.last().is_some_and(|last| last.as_fixed().is_some());
                    if after_features && size.as_fixed().is_none() {
                        let text = format!("`{size}` is a sequence axis, and those stand before all others");
                        let message = Message::new(Code::NotSupported, text);
                        self.error(
                            message
                                .note("a size that no parameter or constant has is the length of a sequence")
                                .at(dim.span),
                        );
                        is_right = false;
                    }
                    shape.push(size);
                }
                None => is_right = false,
            }
        }
        let Some(vocabulary) = vocabulary.filter(|_| is_right) else { return Value::Poison };
        let element = if vocabulary.is_some() { ElementType::I32 } else { ElementType::F32 };
        let ty = TensorType { element, shape };
        if !self.check_type(&ty, port.name.span) {
            return Value::Poison;
        }
        let name = &port.name.text;
        let role = if is_target { Role::Target } else { Role::Input };
        let var = self.builder.source(role, name, ty.clone());
        if let Some(n) = vocabulary {
            self.store.set_vocabulary(var, n);
        }
        self.ports.push(Port { name: name.clone(), is_target, ty, vocabulary });
        Value::Tensor(Tensor::new(var))
    }

    /// `f32`, `token(n)`: how many tokens, or none for numbers.
    fn port_type(&mut self, ty: &'a Expr) -> Option<Option<usize>> {
        match &ty.kind {
            ExprKind::Name(name) if name.text == "f32" => return Some(None),
            ExprKind::Call { callee, args, repeat: None } if callee.text == "token" => {
                let [arg] = args.as_slice() else {
                    self.fail(Code::WrongKind, "`token` takes one argument: how many tokens there are", ty.span);
                    return None;
                };
                let value = self.eval(&arg.value);
                let n = self.whole(&value, "the number of tokens", 1, arg.value.span)?;
                if n > 1 << 24 {
                    self.fail(
                        Code::TooLarge,
                        format!("at most {} tokens are supported, not {n}", 1 << 24),
                        arg.value.span,
                    );
                    return None;
                }
                return Some(Some(n));
            }
            _ => {}
        }
        let message = Message::new(Code::WrongKind, format!("`{}` is no type", self.sources.slice(ty.span)));
        self.error(message.help("a type is `f32` or `token(n)`, integers from 0 to n - 1").at(ty.span));
        None
    }

    /// A size: a number, or a name of its own for a sequence.
    fn port_size(&mut self, dim: &'a Expr) -> Option<Dim> {
        if let ExprKind::Name(name) = &dim.kind
            && self.known(&name.text).is_none()
        {
            let axis = Dim::axis(&name.text);
            self.axes.push(name.text.clone());
            self.scope().define(&name.text, Value::Size(axis.clone()), name.span);
            return Some(axis);
        }
        self.size(dim)
    }
    fn size(&mut self, dim: &'a Expr) -> Option<Dim> {
        match self.eval(dim) {
            Value::Size(axis) => Some(axis),
            value => self.whole(&value, "a size", 1, dim.span).map(Dim::fixed),
        }
    }
    /// A compile-time value of that name; layers do not count.
    fn known(&mut self, name: &str) -> Option<Value<'a, 'b>> {
        self.local(name).or_else(|| self.constants.get(name).cloned())
    }

    /// An input of a block: gives names to the sizes of the value it is given, and checks those that are said.
    fn matched(&mut self, port: &'a ast::Port, tensor: Tensor<'b>, span: Span) -> Value<'a, 'b> {
        if let Some(ty) = &port.ty {
            self.port_type(ty);
        }
        let shape = tensor.var.shape();
        let user = user_shape(&shape);
        let wanted = || {
            let dims: Vec<&str> = port.dims.iter().map(|dim| self.sources.slice(dim.span)).collect();
            format!("[{}]", dims.join(", "))
        };
        if port.dims.is_empty() {
            return Value::Tensor(tensor);
        }
        // Blocks, as layers, map over the sequence axes that they do not name.
        let n_mapped = user.len().checked_sub(port.dims.len());
        let n_sequences = lead(&shape) - (shape.len() - user.len());
        let Some(n_mapped) = n_mapped.filter(|&n| n <= n_sequences) else {
            let text = format!(
                "`{}` takes a value of shape {}, not {}",
                self.scope().definition.name.text,
                wanted(),
                tensor.show()
            );
            let error = Message::new(Code::ShapeMismatch, text).at(span).also(port.name.span, "declared here");
            return self.poison_sizes(port, error);
        };
        for (dim, size) in port.dims.iter().zip(&user[n_mapped..]) {
            if let ExprKind::Name(name) = &dim.kind
                && self.known(&name.text).is_none()
            {
                self.scope().define(&name.text, Self::sequence_size(size), name.span);
                continue;
            }
            let Some(said) = self.size(dim) else { return Value::Poison };
            if said != *size {
                let text = format!(
                    "`{}` takes a value of shape {}, not {}",
                    self.scope().definition.name.text,
                    wanted(),
                    tensor.show()
                );
                let message = Message::new(Code::ShapeMismatch, text)
                    .note(format!("`{}` is {said} here", self.sources.slice(dim.span)));
                let error = message.at(span).also(dim.span, format!("this is {said}, and the value has {size}"));
                return self.poison_sizes(port, error);
            }
        }
        Value::Tensor(tensor)
    }
    /// After an error the names of sizes exist, so that their uses stay silent.
    fn poison_sizes(&mut self, port: &'a ast::Port, error: crate::diag::Diagnostic) -> Value<'a, 'b> {
        for dim in &port.dims {
            if let ExprKind::Name(name) = &dim.kind
                && self.known(&name.text).is_none()
            {
                self.scope().define(&name.text, Value::Poison, name.span);
            }
        }
        self.error(error)
    }

    /// `param W[hidden, n] = 0`
    pub(super) fn param(&mut self, decl: &'a Decl) {
        let value = self.param_value(decl).map_or(Value::Poison, Value::Tensor);
        self.scope().define(&decl.name.text, value, decl.name.span);
    }
    fn param_value(&mut self, decl: &'a Decl) -> Option<Tensor<'b>> {
        let shape = self.fixed_shape(decl, Declared::Param)?;
        let fans = match shape.as_slice() {
            [] => Fans { inputs: 1, outputs: 1 },
            [n] => Fans { inputs: *n, outputs: *n },
            [outputs, rest @ ..] => {
                Fans { inputs: rest.iter().fold(1, |n, &size| usize::saturating_mul(n, size)), outputs: *outputs }
            }
        };
        let initial = match &decl.init {
            // Matrices as weights, vectors as biases.
            None if shape.len() < 2 => Initial::Constant { value: 0.0 },
            None => Init::Xavier.with_fans(fans),
            Some(expr) => match self.eval(expr) {
                Value::Number(n) => Initial::Constant { value: n },
                Value::Init(init) => init.with_fans(fans),
                list @ Value::List(_) => {
                    let mut values = Vec::new();
                    if !flattened(&list, &shape, &mut values) {
                        let dims: Vec<Dim> = shape.iter().map(|&n| Dim::fixed(n)).collect();
                        let text = format!("these numbers do not fill the shape {}", super::eval::show(&dims));
                        self.error(
                            Message::new(Code::ShapeMismatch, text)
                                .help("one list for each axis: `[[1, 2], [3, 4]]` for [2, 2]")
                                .at(expr.span),
                        );
                        return None;
                    }
                    Initial::Values { values }
                }
                Value::Poison => return None,
                other => {
                    let text = format!(
                        "first values are a number, lists of numbers, or a way to choose them such as `he`, not {}",
                        other.describe()
                    );
                    self.fail(Code::WrongKind, text, expr.span);
                    return None;
                }
            },
        };
        let path = self.new_path("", Some(&decl.name.text));
        let n_known = self.store.parameters.len();
        match self.store.parameter(self.builder, path, &shape, initial).at(decl.name.span) {
            Ok(var) => {
                for parameter in &mut self.store.parameters[n_known..] {
                    parameter.span = Some(decl.name.span);
                }
                Some(Tensor::new(var))
            }
            Err(error) => {
                self.error(error);
                None
            }
        }
    }

    /// The sizes of a parameter or of a state; says what is wrong when they are not fixed.
    pub(super) fn fixed_shape(&mut self, decl: &'a Decl, what: Declared) -> Option<Vec<usize>> {
        let mut shape = Vec::new();
        if decl.dims.len() > MAX_RANK {
            self.fail(Code::TooLarge, format!("{what} has at most {MAX_RANK} axes"), decl.name.span);
            return None;
        }
        for dim in &decl.dims {
            let size = self.size(dim)?;
            let Some(n) = size.as_fixed() else {
                let text = format!("{what} has a fixed size, not the length `{size}` of a sequence");
                self.fail(Code::WrongKind, text, dim.span);
                return None;
            };
            shape.push(n);
        }
        Some(shape)
    }
}

/// The numbers of nested lists in row-major order, when their lengths are those of `shape`.
fn flattened(value: &Value<'_, '_>, shape: &[usize], numbers: &mut Vec<f64>) -> bool {
    match (value, shape) {
        (Value::Number(n), []) => {
            numbers.push(*n);
            true
        }
        (Value::List(items), [n, rest @ ..]) => {
            items.len() == *n && items.iter().all(|item| flattened(item, rest, numbers))
        }
        _ => false,
    }
}
