//! A recurrence: one body, once for each step of a sequence.

use std::sync::Arc;

use super::{Op, Primitive};
use crate::diag::Message;
use crate::ensure;
use crate::graph::{Builder, Graph, Recurrence, Value, Var};
use crate::interp::{self, Scope, Tensor};
use crate::kernel::{Expr, Int};
use crate::ops::{Role, Source};
use crate::schedule::Lowering;
use crate::types::{Dim, TensorType};

/// One result of a recurrence.
///
/// The arguments are the initial states, then sequences `[steps, …]`, then what is the same at every step. The body's
/// sources stand for them in this order, and its outputs are the next states. The results of one recurrence are
/// several `Scan`s that differ in `result` alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scan {
    pub body: Arc<Graph>,
    pub steps: Dim,
    /// How many arguments are initial states.
    pub states: usize,
    /// How many arguments after them are sequences.
    pub sequences: usize,
    /// Whether the last step comes first.
    pub reverse: bool,
    pub result: ScanResult,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScanResult {
    /// The state of this number after all steps; the initial one when there are none.
    Final(usize),
    /// A value of the body at every step, `[steps, …]`.
    Each(Value),
}

impl Scan {
    /// The body's sources, one for each argument.
    pub fn sources(&self) -> impl Iterator<Item = (Value, &Source)> {
        self.body.nodes().filter_map(|(value, node)| match &node.op {
            Op::Source(source) => Some((value, source)),
            _ => None,
        })
    }
    /// Whether two nodes are results of the same recurrence, given the same arguments.
    pub fn is_same_recurrence(&self, other: &Scan) -> bool {
        let body = Arc::ptr_eq(&self.body, &other.body) || self.body == other.body;
        body && self.reverse == other.reverse && self.steps == other.steps && self.states == other.states
    }
    fn is_sequence(&self, arg: usize) -> bool {
        (self.states..self.states + self.sequences).contains(&arg)
    }
}

impl Primitive for Scan {
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        let inputs = self.sources().count();
        ensure!(inputs == args.len(), ShapeMismatch, "a step has {inputs} inputs, not {}", args.len());
        ensure!(self.states + self.sequences <= inputs, ShapeMismatch, "a step has {inputs} inputs");
        for (arg, (ty, (_, source))) in args.iter().zip(self.sources()).enumerate() {
            let lead = if self.is_sequence(arg) { std::slice::from_ref(&self.steps) } else { &[] };
            let is_expected =
                ty.element == source.ty.element && ty.shape.iter().eq(lead.iter().chain(&source.ty.shape));
            let expected = || source.ty.with_shape([lead, &source.ty.shape].concat());
            ensure!(is_expected, ShapeMismatch, "`{}` of a recurrence is {}, not {ty}", source.name, expected());
        }
        let outputs = &self.body.outputs;
        ensure!(outputs.len() == self.states, ShapeMismatch, "a step has {} next states", outputs.len());
        for (state, output) in args[..self.states].iter().zip(outputs) {
            let next = self.body.ty(output.value);
            ensure!(next == *state, ShapeMismatch, "the state `{}` is {state}, but {next} after a step", output.name);
        }
        match self.result {
            ScanResult::Final(state) => {
                ensure!(state < self.states, ShapeMismatch, "there is no state {state}");
                Ok(args[state].clone())
            }
            ScanResult::Each(value) => {
                let ty = self.body.ty(value);
                Ok(ty.with_shape([std::slice::from_ref(&self.steps), &ty.shape].concat()))
            }
        }
    }

    fn eval(&self, args: &[&Tensor], _: &[usize], scope: &Scope) -> Tensor {
        let steps = self.steps.eval(&scope.extents);
        let mut inputs: Vec<Tensor> = args.iter().map(|&arg| arg.clone()).collect();
        let names: Vec<&Source> = self.sources().map(|(_, source)| source).collect();
        let mut elements = vec![Vec::new(); steps];
        for at in 0..steps {
            let step = if self.reverse { steps - 1 - at } else { at };
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
            if let ScanResult::Each(value) = self.result {
                elements[step].clone_from(&values[value].data);
            }
            for (state, output) in inputs.iter_mut().zip(&self.body.outputs) {
                *state = values[output.value].clone();
            }
        }
        match self.result {
            ScanResult::Final(state) => inputs.swap_remove(state),
            ScanResult::Each(value) => {
                let ty = self.body.ty(value);
                let shape = [vec![steps], ty.eval(&scope.extents)].concat();
                Tensor::new(ty.element, &shape, elements.concat())
            }
        }
    }

    /// All results of a recurrence are differentiated together: see `autodiff`.
    fn vjp<'b>(&self, _: usize, _: &[Var<'b>], y: Var<'b>, _: Var<'b>) -> Option<Var<'b>> {
        panic!("{} is differentiated with the other results of its recurrence", y.id)
    }

    fn element(&self, _: &mut Lowering<'_>, _: &[Value], _: &[Int]) -> Option<Expr> {
        None
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        // h = tanh(h * w + x), forwards and backwards; of each step the state before it, too.
        let (state, weight) = (TensorType::f32([Dim::batch(), Dim::fixed(2)]), TensorType::f32([2]));
        let steps = Dim::axis("T");
        let sequence = state.with_shape([std::slice::from_ref(&steps), state.shape.as_slice()].concat());
        let mut samples = Vec::new();
        for reverse in [false, true] {
            let builder = Builder::default();
            let initial = builder.source(Role::Input, "initial", state.clone());
            let xs = builder.source(Role::Input, "xs", sequence.clone());
            let w = builder.source(Role::Param, "w", weight.clone());
            let mut recurrence = Recurrence::new(&builder, steps.clone(), reverse);
            let h = recurrence.state("h", initial);
            let x = recurrence.element("x", xs);
            recurrence.set_next(0, (h * w + x).tanh());
            let results = recurrence.finish(&[h]);
            for var in [results.last[0], results.each[0]] {
                let Op::Scan(scan) = builder.node(var.id).op else { unreachable!("results are scans") };
                samples.push((scan, vec![state.clone(), sequence.clone(), weight.clone()]));
            }
        }
        samples
    }
}
