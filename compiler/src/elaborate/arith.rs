//! Operators, on numbers while a file is elaborated and on values of the network.

use super::cx::Cx;
use super::value::{Tensor, Value};
use crate::diag::{Code, Message, Span};
use crate::graph::Var;
use crate::graph::build::common_shape;
use crate::kernel::{BinaryFn, CompareFn};
use crate::layers::{lead, user_shape};
use crate::ops::MatMul;
use crate::syntax::ast::{BinaryOp, Expr, UnaryOp};
use crate::types::{Dim, ElementType, TensorType};

impl<'a, 'b> Cx<'a, 'b> {
    pub(super) fn unary(&mut self, op: UnaryOp, value: Value<'a, 'b>, span: Span) -> Value<'a, 'b> {
        match (op, value) {
            (_, Value::Poison) => Value::Poison,
            (UnaryOp::Neg, Value::Number(n)) => Value::Number(-n),
            (UnaryOp::Neg, Value::Tensor(x)) if x.var.ty().element == ElementType::F32 => {
                Value::Tensor(x.with_var(-x.var))
            }
            (UnaryOp::Not, Value::Bool(flag)) => Value::Bool(!flag),
            (UnaryOp::Neg, other) => {
                self.fail(Code::WrongKind, format!("`-` takes a number, not {}", other.describe()), span)
            }
            (UnaryOp::Not, other) => {
                self.fail(Code::WrongKind, format!("`not` takes `true` or `false`, not {}", other.describe()), span)
            }
        }
    }

    pub(super) fn binary(&mut self, op: BinaryOp, op_span: Span, left: &'a Expr, right: &'a Expr) -> Value<'a, 'b> {
        let a = self.eval(left);
        // The second operand of `and` and `or` is not looked at when the first decides.
        match (op, &a) {
            (BinaryOp::And, Value::Bool(false)) | (BinaryOp::Or, Value::Bool(true)) => return a,
            _ => {}
        }
        let b = self.eval(right);
        match (a, b) {
            (Value::Poison, _) | (_, Value::Poison) => Value::Poison,
            (Value::Number(a), Value::Number(b)) => self.numbers(op, a, b, op_span),
            (Value::Tensor(a), Value::Tensor(b)) => self.tensors(op, op_span, (a, left.span), (b, right.span)),
            (Value::Tensor(a), Value::Number(n)) => {
                let b = Tensor::new(self.builder.scalar(n));
                self.tensors(op, op_span, (a, left.span), (b, right.span))
            }
            (Value::Number(n), Value::Tensor(b)) => {
                let a = Tensor::new(self.builder.scalar(n));
                self.tensors(op, op_span, (a, left.span), (b, right.span))
            }
            (Value::Bool(a), Value::Bool(b))
                if matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Eq | BinaryOp::Ne) =>
            {
                Value::Bool(match op {
                    BinaryOp::And => a && b,
                    BinaryOp::Or => a || b,
                    BinaryOp::Eq => a == b,
                    _ => a != b,
                })
            }
            (Value::Text(a), Value::Text(b)) if matches!(op, BinaryOp::Eq | BinaryOp::Ne) => {
                Value::Bool((a == b) == (op == BinaryOp::Eq))
            }
            (Value::Size(a), Value::Size(b)) if matches!(op, BinaryOp::Eq | BinaryOp::Ne) => {
                Value::Bool((a == b) == (op == BinaryOp::Eq))
            }
            (a, b) => {
                let text = format!("`{}` does not work on {} and {}", symbol(op), a.describe(), b.describe());
                let is_size = |value: &Value<'_, '_>| matches!(value, Value::Size(_));
                let message = Message::new(Code::WrongKind, text);
                let message = match is_size(&a) || is_size(&b) {
                    true => message.note("the length of a sequence is known at run time only"),
                    false => message,
                };
                self.error(message.at(op_span))
            }
        }
    }

    fn numbers(&mut self, op: BinaryOp, a: f64, b: f64, span: Span) -> Value<'a, 'b> {
        let n = match op {
            BinaryOp::Add => a + b,
            BinaryOp::Sub => a - b,
            BinaryOp::Mul => a * b,
            BinaryOp::Div if b == 0.0 => return self.fail(Code::BadValue, format!("{a} is divided by 0"), span),
            BinaryOp::Div => a / b,
            BinaryOp::Eq => return Value::Bool(a == b),
            BinaryOp::Ne => return Value::Bool(a != b),
            BinaryOp::Lt => return Value::Bool(a < b),
            BinaryOp::Le => return Value::Bool(a <= b),
            BinaryOp::Gt => return Value::Bool(a > b),
            BinaryOp::Ge => return Value::Bool(a >= b),
            BinaryOp::MatMul | BinaryOp::And | BinaryOp::Or => {
                return self.fail(Code::WrongKind, format!("`{}` does not work on numbers", symbol(op)), span);
            }
        };
        let whole = a.fract() == 0.0 && b.fract() == 0.0 && op != BinaryOp::Div;
        if !n.is_finite() || (whole && n.abs() > super::eval::MAX_WHOLE) {
            return self.fail(Code::BadValue, format!("{a} {} {b} is too large to be exact", symbol(op)), span);
        }
        Value::Number(n)
    }

    fn tensors(&mut self, op: BinaryOp, op_span: Span, a: (Tensor<'b>, Span), b: (Tensor<'b>, Span)) -> Value<'a, 'b> {
        for (tensor, span) in [&a, &b] {
            if tensor.var.ty().element == ElementType::I32 {
                let message =
                    Message::new(Code::WrongKind, format!("`{}` works on numbers, not on tokens", symbol(op)));
                return self.error(message.help("give each token a vector: `embed(64)`").at(*span));
            }
        }
        if op == BinaryOp::MatMul {
            return self.matmul(a, b);
        }
        if matches!(op, BinaryOp::And | BinaryOp::Or) {
            return self.fail(Code::WrongKind, format!("`{}` works on `true` and `false`", symbol(op)), op_span);
        }
        let Some((x, y)) = aligned(a.0.var, b.0.var) else {
            let (left, right) = (&a, &b);
            let mut error = Message::new(Code::ShapeMismatch, "these two values have different shapes")
                .at(left.1)
                .label(left.0.show());
            error.message.notes = self.differences((&left.0, left.1), (&right.0, right.1), None);
            error.message.help = self.repair((&left.0, left.1), (&right.0, right.1));
            return self.error(error.also(right.1, right.0.show()));
        };
        let ty = TensorType::f32(common_shape(&x.shape(), &y.shape()));
        if !self.check_type(&ty, op_span) {
            return Value::Poison;
        }
        let compare = |function| x.compare(function, y);
        let var = match op {
            BinaryOp::Add => x.binary(BinaryFn::Add, y),
            BinaryOp::Sub => x.binary(BinaryFn::Sub, y),
            BinaryOp::Mul => x.binary(BinaryFn::Mul, y),
            BinaryOp::Div => x.binary(BinaryFn::Div, y),
            BinaryOp::Eq => compare(CompareFn::Eq),
            BinaryOp::Ne => compare(CompareFn::Ne),
            BinaryOp::Lt => compare(CompareFn::Lt),
            BinaryOp::Le => compare(CompareFn::Le),
            BinaryOp::Gt => compare(CompareFn::Gt),
            BinaryOp::Ge => compare(CompareFn::Ge),
            BinaryOp::MatMul | BinaryOp::And | BinaryOp::Or => unreachable!("handled above: {op:?}"),
        };
        let story = if a.0.var.rank() >= b.0.var.rank() { &a.0 } else { &b.0 };
        Value::Tensor(story.with_var(var))
    }

    /// `W @ x` of a matrix and a vector, `x @ W` of a vector and a matrix, where the matrix is a `param`.
    fn matmul(&mut self, a: (Tensor<'b>, Span), b: (Tensor<'b>, Span)) -> Value<'a, 'b> {
        let is_matrix = |x: &Tensor<'b>| x.var.rank() == 2 && lead(&x.var.shape()) == 0;
        let (matrix, vectors, transpose) = match (is_matrix(&a.0), is_matrix(&b.0)) {
            (true, _) => (a.0.var, b.0.var, true),
            (false, true) => (b.0.var, a.0.var, false),
            (false, false) => {
                let text =
                    format!("`@` takes a matrix from `param` on one side, not {} and {}", a.0.show(), b.0.show());
                return self.error(Message::new(Code::NotSupported, text).at(a.1).also(b.1, b.0.show()));
            }
        };
        let shape = vectors.shape();
        let [rows, columns] = [0, 1].map(|axis| matrix.shape()[axis].clone());
        let (inner, outer) = if transpose { (columns, rows) } else { (rows, columns) };
        if shape.last() != Some(&inner) {
            let text = format!("cannot multiply {} by {}", a.0.show(), b.0.show());
            let vector = if transpose { &b } else { &a };
            let message = Message::new(Code::ShapeMismatch, text).note(format!(
                "the matrix takes vectors of {inner}, and this one has {}",
                shape.last().map_or_else(|| "no axis".to_owned(), Dim::to_string)
            ));
            return self.error(message.at(vector.1));
        }
        let (lead_dims, last) = shape.split_at(shape.len() - 1);
        let count = crate::types::product(lead_dims).times(&inner).times(&outer);
        self.products.extend(count.divided_by(&Dim::batch()));
        let flat = vectors.reshape(&[crate::types::product(lead_dims), last[0].clone()]);
        match self.builder.apply(MatMul { transpose: [false, transpose] }, &[flat, matrix]) {
            Ok(product) => Value::Tensor(Tensor::new(product.reshape(&[lead_dims, &[outer]].concat()))),
            Err(message) => self.error(message.at(a.1)),
        }
    }
}

/// Both values with their batch axes in line and all other axes aligned at the end, when their sizes agree or are one.
fn aligned<'b>(a: Var<'b>, b: Var<'b>) -> Option<(Var<'b>, Var<'b>)> {
    let (left, right) = (a.shape(), b.shape());
    let (user_left, user_right) = (user_shape(&left), user_shape(&right));
    let agree = user_left.iter().rev().zip(user_right.iter().rev()).all(|(a, b)| a == b || a.is_one() || b.is_one());
    if !agree {
        return None;
    }
    // A batch of vectors beside a batch of sequences: [B, n] -> [B, 1, n].
    let rank = user_left.len().max(user_right.len());
    let widen = |x: Var<'b>, shape: &[Dim], user: &[Dim]| {
        if shape.len() == user.len() {
            return x;
        }
        let ones = vec![Dim::ONE; rank - user.len()];
        x.reshape(&[&shape[..1], &ones, user].concat())
    };
    Some((widen(a, &left, user_left), widen(b, &right, user_right)))
}

fn symbol(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul => "*",
        BinaryOp::Div => "/",
        BinaryOp::MatMul => "@",
        BinaryOp::Eq => "==",
        BinaryOp::Ne => "!=",
        BinaryOp::Lt => "<",
        BinaryOp::Le => "<=",
        BinaryOp::Gt => ">",
        BinaryOp::Ge => ">=",
        BinaryOp::And => "and",
        BinaryOp::Or => "or",
    }
}
