//! A recurrence: one body, once for each step of a sequence.

use std::sync::Arc;

use super::{Op, Primitive};
use crate::diag::Message;
use crate::ensure;
use crate::graph::{Builder, Graph, Output, OutputRole, Value, Var};
use crate::interp::{self, Scope, Tensor};
use crate::kernel::{Expr, Int};
use crate::ops::{Role, Source};
use crate::schedule::Lowering;
use crate::types::{Dim, TensorType};

/// One result of a recurrence: output number `output` of the body at every step, `[steps, …]`.
///
/// The arguments are `states` initial states, then `sequences` sequences `[steps, …]`, then what is the same at
/// every step. The body's sources stand for them in this order, and its first outputs are the next states.
/// Results of one recurrence are several `Scan`s with the same body and arguments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scan {
    pub body: Arc<Graph>,
    pub states: usize,
    pub sequences: usize,
    pub output: usize,
}

impl Scan {
    /// The body's sources, one for each argument.
    fn sources(&self) -> impl Iterator<Item = &Source> {
        self.body.nodes().filter_map(|(_, node)| match &node.op {
            Op::Source(source) => Some(source),
            _ => None,
        })
    }
    fn is_sequence(&self, arg: usize) -> bool {
        (self.states..self.states + self.sequences).contains(&arg)
    }
}

impl Primitive for Scan {
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        let inputs = self.sources().count();
        ensure!(inputs == args.len(), ShapeMismatch, "a step has {inputs} inputs, not {}", args.len());
        let steps = args.get(self.states).and_then(|ty| ty.shape.first()).filter(|_| self.sequences > 0);
        let Some(steps) = steps else {
            return Err(Message::new(crate::diag::Code::ShapeMismatch, "there is no sequence"));
        };
        for (arg, (ty, source)) in args.iter().zip(self.sources()).enumerate() {
            let lead = if self.is_sequence(arg) { std::slice::from_ref(steps) } else { &[] };
            let expected = source.ty.with_shape([lead, &source.ty.shape].concat());
            ensure!(**ty == expected, ShapeMismatch, "`{}` of a recurrence is {expected}, not {ty}", source.name);
        }
        let outputs = &self.body.outputs;
        ensure!(
            self.states.max(self.output + 1) <= outputs.len(),
            ShapeMismatch,
            "a step has {} results",
            outputs.len()
        );
        for (state, output) in args[..self.states].iter().zip(outputs) {
            let next = self.body.ty(output.value);
            ensure!(next == *state, ShapeMismatch, "the state `{}` is {state}, but {next} after a step", output.name);
        }
        let ty = self.body.ty(outputs[self.output].value);
        Ok(ty.with_shape([std::slice::from_ref(steps), &ty.shape].concat()))
    }

    fn eval(&self, args: &[&Tensor], shape: &[usize], scope: &Scope) -> Tensor {
        let mut inputs: Vec<Tensor> = args.iter().map(|&arg| arg.clone()).collect();
        let names: Vec<&Source> = self.sources().collect();
        let mut data = Vec::new();
        for step in 0..shape[0] {
            for (arg, input) in inputs.iter_mut().enumerate().filter(|(arg, _)| self.is_sequence(*arg)) {
                let element: &[usize] = &args[arg].shape[1..];
                let n: usize = element.iter().product();
                *input = Tensor::new(args[arg].element, element, args[arg].data[step * n..][..n].to_vec());
            }
            let find = |source: &Source| {
                let at = names.iter().position(|known| *known == source).expect("the body's own source");
                inputs[at].clone()
            };
            let values = interp::eval(&self.body, &find, scope);
            let result = |output: usize| values[self.body.outputs[output].value].clone();
            data.extend(result(self.output).data);
            for (state, input) in inputs[..self.states].iter_mut().enumerate() {
                *input = result(state);
            }
        }
        let element = self.body.ty(self.body.outputs[self.output].value).element;
        Tensor::new(element, shape, data)
    }

    /// Recurrences are differentiated by a later capability; until then nothing makes a `Scan`.
    fn vjp<'b>(&self, _: usize, _: &[Var<'b>], y: Var<'b>, _: Var<'b>) -> Option<Var<'b>> {
        panic!("the gradient of the recurrence {} is made by a later capability", y.id)
    }

    fn element(&self, _: &mut Lowering<'_>, _: &[Value], _: &[Int]) -> Option<Expr> {
        None
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        // h = tanh(h * w + x), of which the second result is 2 h.
        let (state, weight) = (TensorType::f32([Dim::batch(), Dim::fixed(2)]), TensorType::f32([2]));
        let builder = Builder::default();
        let h = builder.source(Role::State, "h", state.clone());
        let x = builder.source(Role::Input, "x", state.clone());
        let w = builder.source(Role::Param, "w", weight.clone());
        let next = (h * w + x).tanh();
        for (name, var) in [("h", next), ("twice", next + next)] {
            builder.add_output(Output { role: OutputRole::Output, name: name.to_owned(), value: var.id });
        }
        let body = Arc::new(builder.finish());
        let sequence = state.with_shape([&[Dim::axis("T")], state.shape.as_slice()].concat());
        let types = vec![state, sequence, weight];
        [0, 1].map(|output| (Scan { body: body.clone(), states: 1, sequences: 1, output }, types.clone())).to_vec()
    }
}
