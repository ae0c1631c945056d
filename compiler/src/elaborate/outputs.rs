//! What comes out of a body: the output of a block or cell; a net's outputs, loss and metrics.

use std::collections::BTreeSet;

use super::body::Inputs;
use super::cx::Cx;
use super::scope::Flow;
use super::value::{Tensor, Value};
use crate::diag::{Code, Message, Span};
use crate::graph::{self, Output, OutputRole};
use crate::network::LastValue;
use crate::ops::{Op, Role};
use crate::syntax::ast::{Body, DefinitionKind, Expr, ExprKind, StmtKind};
use crate::types::{Dim, ElementType};

impl<'a, 'b> Cx<'a, 'b> {
    pub(super) fn output(&mut self, expr: &'a Expr, inputs: &mut Inputs<'a, 'b>) {
        let value = self.flowing(expr, None);
        self.scope().flow = Flow::Over;
        let tensor = match value {
            Value::Tensor(tensor) => tensor,
            Value::Poison => {
                if let Inputs::Values { output, .. } = inputs {
                    *output = Some(Value::Poison);
                }
                return;
            }
            other => {
                self.fail(
                    Code::WrongKind,
                    format!("an output is a value of the network, not {}", other.describe()),
                    expr.span,
                );
                return;
            }
        };
        match inputs {
            Inputs::Ports => {
                let name = match &expr.kind {
                    ExprKind::Name(name) => name.text.clone(),
                    _ => "output".to_owned(),
                };
                self.push_output(name, &tensor, expr.span);
            }
            Inputs::Values { output: Some(_), .. } => {
                let kind = self.scope().definition.kind;
                let message = Message::new(Code::DuplicateName, format!("a {kind} has one `output`"));
                self.error(message.help("join what it gives: `output [a, b]`").at(expr.span));
            }
            Inputs::Values { output, .. } => *output = Some(Value::Tensor(tensor)),
        }
    }

    /// What a caller receives: something for each member of the batch, from the inputs alone.
    pub(super) fn push_output(&mut self, name: String, tensor: &Tensor<'b>, span: Span) {
        if tensor.var.shape().first() != Some(&Dim::batch()) {
            let message = Message::new(Code::WrongKind, format!("`{name}` is one value for the whole batch"));
            let message = message.note("an output is computed for each member of the batch from its inputs");
            self.error(message.at(span));
            return;
        }
        if let Some(target) = self.target_of(tensor.var.id) {
            let message =
                Message::new(Code::WrongKind, format!("the output `{name}` depends on the target `{target}`"));
            let message =
                message.note("targets are known in training alone; what a network infers comes from its inputs");
            self.error(message.help(format!("declare it as an input: `input {target}`")).at(span));
            return;
        }
        // Beyond the end of a member's sequence there is nothing to see.
        let zero = || self.builder.scalar(0.0);
        let var = self.store.mask_of(tensor.var).map_or(tensor.var, |mask| mask.select(tensor.var, zero()));
        self.outputs.push(Output { role: OutputRole::Output, name, value: var.id });
    }

    /// Tells what the last statement gives, and makes it an output where it can be one.
    pub(super) fn tell_last(&mut self) {
        let told = match self.last.clone() {
            None | Some(Value::Poison) => return,
            Some(Value::Tensor(tensor)) => {
                if self.can_be_output(&tensor) {
                    self.push_output("last".to_owned(), &tensor, self.scopes[0].definition.name.span);
                    LastValue::Output(tensor.user_shape())
                } else {
                    LastValue::Inner(tensor.user_shape())
                }
            }
            Some(value) => LastValue::Known(value.show()),
        };
        self.told = Some(told);
    }

    /// Whether a caller can receive it.
    pub(super) fn can_be_output(&self, tensor: &Tensor<'b>) -> bool {
        tensor.var.shape().first() == Some(&Dim::batch())
            && tensor.var.ty().element == ElementType::F32
            && self.target_of(tensor.var.id).is_none()
    }

    /// A target that a value is computed from.
    fn target_of(&self, value: graph::Value) -> Option<String> {
        let mut open = vec![value];
        let mut seen = BTreeSet::new();
        while let Some(value) = open.pop() {
            if !seen.insert(value) {
                continue;
            }
            let node = self.builder.node(value);
            match node.op {
                Op::Source(source) if source.role == Role::Target => return Some(source.name),
                _ => open.extend(node.args),
            }
        }
        None
    }

    /// A loss or a metric: one number.
    pub(super) fn scalar(&mut self, expr: &'a Expr, role: OutputRole, span: Span, what: &str) {
        if self.scope().definition.kind != DefinitionKind::Net {
            return self.misplaced(&format!("a `{what}` belongs to a `net`"), span);
        }
        let tensor = match self.eval(expr) {
            Value::Tensor(tensor) => tensor,
            Value::Poison => return,
            other => {
                let text = format!("a {what} is a number made of the network's values, not {}", other.describe());
                let message = Message::new(Code::WrongKind, text);
                self.error(message.help("name what it compares: `cross_entropy(logits, label)`").at(expr.span));
                return;
            }
        };
        if tensor.var.rank() != 0 {
            let text = format!("a {what} is one number, not a value of shape {}", tensor.show());
            self.error(
                Message::new(Code::ShapeMismatch, text)
                    .help("compare it with a target: `mse(y, target)`")
                    .at(expr.span),
            );
            return;
        }
        if role == OutputRole::Loss {
            self.n_losses += 1;
            if self.n_losses > 1 {
                self.error(
                    Message::new(Code::DuplicateName, "the net has a second loss")
                        .help("add them: `loss a + b`")
                        .at(span),
                );
                return;
            }
        }
        let name = match &expr.kind {
            ExprKind::Call { callee, .. } => callee.text.clone(),
            ExprKind::Name(name) => name.text.clone(),
            _ => what.to_owned(),
        };
        let name = if role == OutputRole::Loss { what.to_owned() } else { name };
        self.outputs.push(Output { role, name, value: tensor.var.id });
    }

    /// Outputs, then the loss, then metrics; each name once.
    pub(super) fn order_outputs(&mut self) {
        let rank = |role: OutputRole| match role {
            OutputRole::Output => 0,
            OutputRole::Loss => 1,
            OutputRole::Metric => 2,
            OutputRole::Gradient | OutputRole::Update => 3,
        };
        self.outputs.sort_by_key(|output| rank(output.role));
        let mut names: BTreeSet<String> = BTreeSet::new();
        for mut output in std::mem::take(&mut self.outputs) {
            let base = output.name.clone();
            let mut number = 1;
            while !names.insert(output.name.clone()) {
                number += 1;
                output.name = format!("{base}{number}");
            }
            self.builder.add_output(output);
        }
        self.store.add_update_outputs(self.builder);
    }
}

pub(super) fn has_output(body: &Body) -> bool {
    body.stmts.iter().any(|stmt| match &stmt.kind {
        StmtKind::Output(_) => true,
        StmtKind::For { body, .. } => has_output(body),
        StmtKind::If { branches, otherwise } => {
            branches.iter().any(|(_, body)| has_output(body)) || otherwise.as_ref().is_some_and(has_output)
        }
        _ => false,
    })
}
