//! Cells: one step of a recurrence, elaborated once and scanned along a sequence.

use std::rc::Rc;

use super::call::n_inputs;
use super::cx::Cx;
use super::ports::Declared;
use super::scope::{Flow, Scope};
use super::value::{Change, DefinedUse, Tensor, Value};
use crate::diag::{Code, Diagnostic, Message, Span};
use crate::graph::{Recurrence, Var};
use crate::layers::{lead, user_shape};
use crate::network::LayerUse;
use crate::ops::Op;
use crate::syntax::ast::{Decl, Expr, Ident};
use crate::types::{Dim, ElementType, TensorType, product, show_shape};

/// One step of a recurrence, while the body of its cell is elaborated.
#[derive(Debug)]
pub(super) struct Step<'a, 'b> {
    recurrence: Recurrence<'b>,
    /// Of the cell: its states are called `path.h`.
    path: String,
    /// The batch, and sequence axes outside of the one that is scanned.
    outer: Vec<Dim>,
    states: Vec<State<'a, 'b>>,
    init: Init<'a, 'b>,
}

#[derive(Debug)]
struct State<'a, 'b> {
    name: &'a Ident,
    /// Absent after an error.
    previous: Option<Tensor<'b>>,
    next: Option<(Value<'a, 'b>, Span)>,
}

/// What `init =` gave: values for the first states.
#[derive(Debug)]
struct Init<'a, 'b> {
    values: Vec<Value<'a, 'b>>,
    /// Whether there was a list, which has a value for each state.
    is_list: bool,
    span: Span,
}

/// The states of a cell after its last step, by their names.
#[derive(Debug, Clone)]
pub(super) struct Final<'b> {
    pub(super) states: Vec<(String, Tensor<'b>)>,
    /// How often the cell ran.
    pub(super) uses: usize,
}

impl<'a, 'b> Cx<'a, 'b> {
    /// One use of a cell: scans the last sequence axis of `x`.
    pub(super) fn cell(&mut self, used: &DefinedUse<'a, 'b>, x: Tensor<'b>, path: String) -> Value<'a, 'b> {
        let name = &used.definition.name.text;
        let shape = x.var.shape();
        let n = lead(&shape);
        if n < 2 || shape[0] != Dim::batch() {
            let text = format!("`{name}` runs along a sequence such as [T, features], not {}", x.show());
            let message = Message::new(Code::ShapeMismatch, text);
            return self.error(
                message.help("a leading size that is a new name makes a sequence: `input x[T, 8]`").at(used.span),
            );
        }
        let (outer, steps) = (shape[..n - 1].to_vec(), shape[n - 1].clone());
        let Some(init) = self.init_values(used) else { return Value::Poison };
        let n_wanted = n_inputs(used.definition).max(1);
        if n_wanted != used.inputs.len() + 1 {
            return self.wrong_inputs(used, n_wanted);
        }
        let outside = self.builder.set_origin(Some(self.builder.add_origin(&path)));
        let reverse = std::mem::replace(&mut self.reverse, false);
        let mut recurrence = Recurrence::new(self.builder, steps.clone(), reverse);
        let mask = self.store.mask(self.builder, &steps);
        let mask = mask.map(|mask| recurrence.element("mask", mask.transpose(&[1, 0])));
        let mut values = Vec::new();
        for (number, (value, span)) in [(x.clone(), used.span)].iter().chain(&used.inputs).enumerate() {
            values.push((self.element(&mut recurrence, &path, number, value, &steps), *span));
        }
        values.reverse();

        let (n_rows, n_known) = (self.layers.len(), self.store.parameters.len());
        let products = std::mem::take(&mut self.products);
        let mut scope = Scope::new(used.definition, format!("{path}."));
        if n_inputs(used.definition) == 0 {
            scope.flow = Flow::At(Value::Tensor(values[0].0.clone()));
        }
        // What a layer carries has a name of its own at each of its uses.
        let uses = self.finals.get(&path).map_or(0, |known| known.uses);
        let names = if uses == 0 { path.clone() } else { format!("{path}.{}", uses + 1) };
        scope.step = Some(Step { recurrence, path: names, outer, states: Vec::new(), init });
        let n_errors = self.errors.len();
        let (value, step) = self.cell_body(used, scope, values);
        let result = self.close(used, step, value, mask, path.clone(), reverse);
        self.blame_use(used, n_errors);
        self.builder.set_origin(outside);
        self.reverse = reverse;
        let products = std::mem::replace(&mut self.products, products);
        if let Value::Tensor(y) = &result {
            self.cell_row(used, path, y, (n_rows, n_known), &steps, products);
        }
        result
    }

    /// What is wrong within a cell of the library was caused where it is used, and its first error says enough.
    fn blame_use(&mut self, used: &DefinedUse<'a, 'b>, n_errors: usize) {
        let file = used.definition.name.span.file;
        if !self.program.library.contains(&file) {
            return;
        }
        let is_blamed = |error: &Diagnostic| error.labels.iter().any(|(span, _)| *span == used.span);
        let mut n = self.errors[..n_errors].iter().filter(|error| error.span.file == file && is_blamed(error)).count();
        let new = self.errors.split_off(n_errors);
        for mut error in new {
            if error.span.file == file {
                n += 1;
                error.labels.push((used.span, "used here".to_owned()));
            }
            if error.span.file != file || n == 1 {
                self.errors.push(error);
            }
        }
    }

    /// The value at the present step of a sequence along `steps`; what has no such axis is the same at every step.
    fn element(
        &mut self,
        recurrence: &mut Recurrence<'b>,
        path: &str,
        number: usize,
        value: &Tensor<'b>,
        steps: &Dim,
    ) -> Tensor<'b> {
        let shape = value.var.shape();
        let Some(axis) = (1..lead(&shape)).rev().find(|&axis| shape[axis] == *steps) else { return value.clone() };
        let order: Vec<usize> = std::iter::once(axis).chain((0..shape.len()).filter(|&i| i != axis)).collect();
        let sequence = value.var.transpose(&order);
        let element = recurrence.element(&format!("{path}.input{}", number + 1), sequence);
        if let Some(vocabulary) = self.store.vocabulary(value.var) {
            self.store.set_vocabulary(element, vocabulary);
        }
        value.with_var(element)
    }

    /// What `init =` gives the states; `None` after an error.
    fn init_values(&mut self, used: &DefinedUse<'a, 'b>) -> Option<Init<'a, 'b>> {
        let (values, is_list, span) = match &used.init {
            None => (Vec::new(), false, used.span),
            Some((value @ Value::Tensor(_), span)) => (vec![value.clone()], false, *span),
            Some((Value::List(items), span)) if items.iter().all(|item| matches!(item, Value::Tensor(_))) => {
                (items.to_vec(), true, *span)
            }
            Some((Value::Poison, _)) => return None,
            Some((other, span)) => {
                let text = format!(
                    "`init` of `{}` is a value of the network, or a list with one for each state, not {}",
                    used.definition.name.text,
                    other.describe()
                );
                self.fail(Code::WrongKind, text, *span);
                return None;
            }
        };
        Some(Init { values, is_list, span })
    }

    /// Ends the recurrence: each state keeps its value where a member has no step, and the output is 0 there.
    fn close(
        &mut self,
        used: &DefinedUse<'a, 'b>,
        step: Step<'a, 'b>,
        value: Value<'a, 'b>,
        mask: Option<Var<'b>>,
        path: String,
        reverse: bool,
    ) -> Value<'a, 'b> {
        let Step { mut recurrence, outer, states, init, .. } = step;
        if !self.is_right_init(used, &init, &states) {
            return Value::Poison;
        }
        let beside = |var: Var<'b>| {
            mask.map(|mask| mask.reshape(&[vec![Dim::batch()], vec![Dim::ONE; var.rank() - 1]].concat()))
        };
        let mut is_right = true;
        for (number, state) in states.iter().enumerate() {
            match self.next_of_state(state) {
                Some((previous, next)) => {
                    let kept = beside(next).map_or(next, |mask| mask.select(next, previous.var));
                    recurrence.set_next(number, kept);
                }
                None => is_right = false,
            }
        }
        let y = match value {
            Value::Tensor(y) => y,
            _ => return Value::Poison,
        };
        let shape = y.var.shape();
        if !shape.starts_with(&outer) || y.var.ty().element != ElementType::F32 {
            let text = format!("the output of `{}` is a number or numbers for each step", used.definition.name.text);
            let message = Message::new(Code::WrongKind, text).note(format!("this one is {}", y.show()));
            return self.error(message.at(used.definition.name.span));
        }
        if !is_right {
            return Value::Poison;
        }
        let zero = self.builder.scalar(0.0);
        let output = beside(y.var).map_or(y.var, |mask| mask.select(y.var, zero));
        let results = recurrence.finish(&[output]);
        let finals = states.iter().zip(&results.last);
        let finals = finals.map(|(state, last)| (state.name.text.clone(), Tensor::new(*last))).collect();
        let uses = self.finals.get(&path).map_or(0, |known| known.uses) + 1;
        self.finals.insert(path, Final { states: finals, uses });

        // [T, B, …] -> [B, T, …]
        let n = outer.len();
        let order: Vec<usize> = (1..=n).chain([0]).chain(n + 1..=shape.len()).collect();
        let change = Rc::new(Change {
            kind: used.definition.name.text.clone(),
            span: used.span,
            reason: reverse.then(|| "runs in reverse".to_owned()),
            formula: None,
            stride: None,
        });
        let var = results.each[0].transpose(&order);
        Value::Tensor(Tensor { var, changes: vec![Some(change); var.rank()], window: None })
    }

    fn is_right_init(&mut self, used: &DefinedUse<'a, 'b>, init: &Init<'a, 'b>, states: &[State<'a, 'b>]) -> bool {
        let (given, wanted) = (init.values.len(), states.len());
        if given == wanted || given == 0 || (!init.is_list && wanted > 0) {
            return true;
        }
        let names: Vec<&str> = states.iter().map(|state| state.name.text.as_str()).collect();
        let name = &used.definition.name.text;
        let text = match names.as_slice() {
            [] => format!("`{name}` has no states, so it takes no `init`"),
            names => format!("`init` of `{name}` gives {given} values for its states `{}`", names.join("`, `")),
        };
        self.fail(Code::ShapeMismatch, text, init.span);
        false
    }

    /// A state's value before and after the step, when both are right.
    fn next_of_state(&mut self, state: &State<'a, 'b>) -> Option<(Tensor<'b>, Var<'b>)> {
        let previous = state.previous.clone()?;
        let name = &state.name.text;
        match &state.next {
            None => {
                let text = format!("the state `{name}` has no next value");
                let message = Message::new(Code::StateWithoutNext, text);
                self.error(
                    message.help(format!("say what it becomes in each step: `{name}' = …`")).at(state.name.span),
                );
                None
            }
            Some((Value::Poison, _)) => None,
            Some((Value::Tensor(next), span)) => {
                let ty = previous.var.ty();
                let var = spread(next.var, &ty);
                if var.is_none() {
                    let text = format!(
                        "the state `{name}` has the shape {}, and its next value {}",
                        previous.show(),
                        next.show()
                    );
                    let error = Message::new(Code::ShapeMismatch, text).at(*span);
                    self.error(error.also(state.name.span, format!("{} here", previous.show())));
                }
                Some((previous, var?))
            }
            Some((other, span)) => {
                let text = format!("the next value of `{name}` is a value of the network, not {}", other.describe());
                self.fail(Code::WrongKind, text, *span);
                None
            }
        }
    }

    /// One row for the cell: its inner layers at every step.
    fn cell_row(
        &mut self,
        used: &DefinedUse<'a, 'b>,
        path: String,
        y: &Tensor<'b>,
        (n_rows, n_known): (usize, usize),
        steps: &Dim,
        products: Vec<Dim>,
    ) {
        let rows = self.layers.split_off(n_rows);
        let n_parameters = self.store.parameters[n_known..].iter().map(|p| p.shape.iter().product::<usize>()).sum();
        let mut explanation = Vec::new();
        let mut total = Dim::fixed(0);
        let mut others = Vec::new();
        for row in rows {
            let own = row.path.strip_prefix(&format!("{path}.")).unwrap_or(&row.path);
            explanation.extend(row.explanation.iter().map(|line| format!("{own}: {line}")));
            let count = row.multiply_accumulates.times(steps);
            match total.plus(&count) {
                Some(sum) => total = sum,
                // What counts in other sizes keeps a row of its own.
                None => others.push(LayerUse {
                    shape: [std::slice::from_ref(steps), &row.shape].concat(),
                    multiply_accumulates: count,
                    activation_bytes: row.activation_bytes.times(steps),
                    n_parameters: 0,
                    explanation: Vec::new(),
                    ..row
                }),
            }
        }
        for product in products {
            total = total.plus(&product.times(steps)).unwrap_or(total);
        }
        let shape = y.user_shape();
        self.layers.push(LayerUse {
            path,
            kind: used.definition.name.text.clone(),
            activation_bytes: product(&shape).times(&Dim::fixed(4)),
            shape,
            n_parameters,
            multiply_accumulates: total,
            explanation,
            span: used.span,
        });
        self.layers.extend(others);
    }

    /// `state h[hidden]`: its name is the value before the step.
    pub(super) fn state(&mut self, decl: &'a Decl) {
        let value = self.state_value(decl);
        let step = self.scope().step.as_mut().expect("states stand in cells");
        step.states.push(State { name: &decl.name, previous: value.clone(), next: None });
        self.scope().define(&decl.name.text, value.map_or(Value::Poison, Value::Tensor), decl.name.span);
    }

    fn state_value(&mut self, decl: &'a Decl) -> Option<Tensor<'b>> {
        let sizes = self.fixed_shape(decl, Declared::State)?;
        let step = self.scope().step.as_ref().expect("states stand in cells");
        let (number, outer) = (step.states.len(), step.outer.clone());
        let given = step.init.values.get(number).cloned();
        let (init_span, name) = (step.init.span, format!("{}.{}", step.path, decl.name.text));
        let user: Vec<Dim> = sizes.into_iter().map(Dim::fixed).collect();
        let ty = TensorType::f32([outer, user].concat());
        if !self.check_type(&ty, decl.name.span) {
            return None;
        }
        let (first, span) = match (given, &decl.init) {
            (Some(given), _) => (given, init_span),
            (None, Some(expr)) => (self.eval(expr), expr.span),
            (None, None) => (Value::Number(0.0), decl.name.span),
        };
        let initial = match first {
            Value::Number(n) => self.builder.constant(n, ty),
            Value::Poison => return None,
            Value::Tensor(first) => match spread(first.var, &ty) {
                Some(first) if self.is_before_step(first) => first,
                Some(_) => {
                    let text = format!("the first value of `{}` is known before the first step", decl.name.text);
                    self.fail(Code::WrongKind, text, span);
                    return None;
                }
                None => {
                    let text = format!(
                        "the state `{}` has the shape {}, and its first value {}",
                        decl.name.text,
                        show_shape(user_shape(&ty.shape)),
                        first.show()
                    );
                    self.error(Message::new(Code::ShapeMismatch, text).at(span).also(decl.name.span, "declared here"));
                    return None;
                }
            },
            other => {
                let text = format!("the first value of a state is a number or a value, not {}", other.describe());
                self.fail(Code::WrongKind, text, span);
                return None;
            }
        };
        let step = self.scope().step.as_mut().expect("states stand in cells");
        Some(Tensor::new(step.recurrence.state(&name, initial)))
    }

    /// Whether a value depends on nothing of the innermost step.
    fn is_before_step(&mut self, value: Var<'b>) -> bool {
        let step = self.scope().step.as_ref().expect("states stand in cells");
        !step.recurrence.varies(value)
    }

    /// See [`LayerCx::recurrent`](crate::layers::LayerCx).
    pub(super) fn recurrent_parts(&self, x: Var<'b>) -> Vec<(usize, bool)> {
        let Some(step) = self.scopes.iter().rev().find_map(|scope| scope.step.as_ref()) else { return Vec::new() };
        let node = self.builder.node(x.id);
        let size = |var: Var<'b>| var.shape().last().and_then(Dim::as_fixed).unwrap_or(0);
        let parts: Vec<(usize, bool)> = match node.op {
            Op::Concat(concat) if concat.axis + 1 == x.rank() => {
                let parts = node.args.iter().map(|&part| self.builder.var(part));
                parts.map(|part| (size(part), step.recurrence.recurs(part))).collect()
            }
            // The state itself.
            Op::Source(_) => vec![(size(x), step.recurrence.recurs(x))],
            _ => Vec::new(),
        };
        if parts.iter().any(|(_, recurs)| *recurs) { parts } else { Vec::new() }
    }

    /// `h' = …`
    pub(super) fn next_value(&mut self, name: &'a Ident, expr: &'a Expr) {
        let value = self.bound_value(name, expr);
        let step = self.scope().step.as_mut().expect("next values stand in cells");
        if let Some(state) = step.states.iter_mut().find(|state| state.name.text == name.text) {
            // A second one is reported by the check of names.
            state.next.get_or_insert((value, expr.span));
            return;
        }
        let names: Vec<&str> = step.states.iter().map(|state| state.name.text.as_str()).collect();
        let message = Message::new(Code::UnknownName, format!("`{}` is no state of this cell", name.text));
        let message = message.did_you_mean(&name.text, names).help(format!("declare it: `state {}[…]`", name.text));
        self.error(message.at(name.span));
    }

    /// `h'` in an expression.
    pub(super) fn next_name(&mut self, name: &'a Ident) -> Value<'a, 'b> {
        let Some(step) = self.scopes.last().and_then(|scope| scope.step.as_ref()) else {
            let text = format!("`{}'` is the next value of a state, and only a cell has states", name.text);
            return self.fail(Code::Misplaced, text, name.span);
        };
        let text = match step.states.iter().find(|state| state.name.text == name.text) {
            Some(State { next: Some((value, _)), .. }) => return value.clone(),
            Some(State { previous: None, .. }) => return Value::Poison,
            Some(_) => format!("`{0}'` is used before the line that gives it", name.text),
            None => format!("`{}` is no state of this cell", name.text),
        };
        self.fail(Code::UnknownName, text, name.span)
    }
}

/// A value as one of type `ty`, where axes of size one and missing axes after the batch stretch.
fn spread<'b>(value: Var<'b>, ty: &TensorType) -> Option<Var<'b>> {
    let found = value.ty();
    let shape = &found.shape;
    let (mine, theirs) = (user_shape(shape), user_shape(&ty.shape));
    let fits = found.element == ty.element
        && mine.len() <= theirs.len()
        && mine.iter().rev().zip(theirs.iter().rev()).all(|(a, b)| a == b || a.is_one());
    if !fits {
        return None;
    }
    let batch = &shape[..shape.len() - mine.len()];
    let ones = vec![Dim::ONE; theirs.len() - mine.len()];
    Some(value.reshape(&[batch, &ones, mine].concat()).broadcast_to(&ty.shape))
}
