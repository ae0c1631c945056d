//! Bodies: the statements of nets and blocks, one after the other.

use super::Extent;
use super::call::n_inputs;
use super::cell::Step;
use super::cx::Cx;
use super::eval::combinator_name;
use super::outputs::has_output;
use super::scope::{Flow, Local, Scope};
use super::value::{DefinedUse, Function, Tensor, Value};
use crate::diag::{Code, Message, Span};
use crate::graph::OutputRole;
use crate::layers::{self, Class};
use crate::syntax::ast::{Body, Definition, DefinitionKind, Expr, ExprKind, Ident, Stmt, StmtKind, split_window};
use crate::types::Dim;

impl<'a, 'b> Cx<'a, 'b> {
    /// The whole net, with its outputs.
    pub(super) fn net(&mut self, net: &'a Definition, args: &[(&'a str, Value<'a, 'b>)]) {
        self.scopes.push(Scope::new(net, String::new()));
        self.parameters_of(net, args, net.name.span);
        self.statements(&net.body, &mut Inputs::Ports);
        if let Flow::At(Value::Tensor(last)) = self.scope().flow.clone()
            && !has_output(&net.body)
            && (self.extent == Extent::Whole || self.can_be_output(&last))
        {
            self.push_output("output".to_owned(), &last, net.name.span);
        }
        if self.extent == Extent::Last {
            self.tell_last();
        }
        let unused = self.scope().unused_ports();
        // After an error, what would have used it may never have been reached.
        if self.errors.is_empty() && self.extent == Extent::Whole {
            for (name, span) in unused {
                let message = Message::new(Code::UnusedInput, format!("nothing uses `{name}`"));
                self.error(
                    message
                        .help("take it away, or let the flow start from it: `NAME -> …`".replace("NAME", name))
                        .at(span),
                );
            }
        }
        self.scopes.pop();
        self.order_outputs();
    }

    /// One use of a block.
    pub(super) fn block(&mut self, used: &DefinedUse<'a, 'b>, x: Tensor<'b>, prefix: String) -> Value<'a, 'b> {
        let definition = used.definition;
        let n_wanted = n_inputs(definition).max(1);
        if n_wanted != used.inputs.len() + 1 {
            return self.wrong_inputs(used, n_wanted);
        }
        let mut scope = Scope::new(definition, prefix);
        if n_inputs(definition) == 0 {
            scope.flow = Flow::At(Value::Tensor(x.clone()));
        }
        let mut values = vec![(x, used.span)];
        values.extend(used.inputs.iter().cloned());
        values.reverse();
        self.body_of(used, scope, values).0
    }

    /// A cell's body, and its step when it is over.
    pub(super) fn cell_body(
        &mut self,
        used: &DefinedUse<'a, 'b>,
        scope: Scope<'a, 'b>,
        values: Vec<(Tensor<'b>, Span)>,
    ) -> (Value<'a, 'b>, Step<'a, 'b>) {
        let (value, scope) = self.body_of(used, scope, values);
        (value, scope.step.expect("a cell's scope has a step"))
    }

    /// How many values a block or cell wants beside how many it is given.
    pub(super) fn wrong_inputs(&mut self, used: &DefinedUse<'a, 'b>, n_wanted: usize) -> Value<'a, 'b> {
        let n_given = used.inputs.len() + 1;
        let text = format!("`{}` takes {n_wanted} values, and here it is given {n_given}", used.definition.name.text);
        let code = if n_given < n_wanted { Code::MissingArgument } else { Code::UnknownArgument };
        self.fail(code, text, used.span)
    }

    /// What a body gives for the values of its inputs, the first last.
    fn body_of(
        &mut self,
        used: &DefinedUse<'a, 'b>,
        scope: Scope<'a, 'b>,
        values: Vec<(Tensor<'b>, Span)>,
    ) -> (Value<'a, 'b>, Scope<'a, 'b>) {
        let definition = used.definition;
        self.scopes.push(scope);
        self.parameters_of(definition, &used.args, used.span);
        let mut inputs = Inputs::Values { values, output: None };
        self.statements(&definition.body, &mut inputs);
        let unused = self.scope().unused_ports();
        if self.errors.is_empty() {
            for (name, span) in unused {
                self.fail(Code::UnusedInput, format!("nothing uses `{name}`"), span);
            }
        }
        let scope = self.scopes.pop().expect("the body's own");
        let Inputs::Values { output, .. } = inputs else { unreachable!("blocks have values") };
        let value = match (output, scope.flow.clone()) {
            (Some(value), _) | (None, Flow::At(value)) => value,
            (None, _) => {
                let text = format!("the {} `{}` gives nothing", definition.kind, definition.name.text);
                let message = Message::new(Code::NoFlow, text);
                self.error(message.help("end it with an `output`").at(definition.name.span))
            }
        };
        (value, scope)
    }

    /// Defines the compile-time parameters: as given, or by their defaults, which may use those before them.
    fn parameters_of(&mut self, definition: &'a Definition, args: &[(&'a str, Value<'a, 'b>)], span: Span) {
        for param in &definition.params {
            let name = param.name.text.as_str();
            let given = args.iter().find(|(given, _)| *given == name).map(|(_, value)| value.clone());
            let value = match (given, &param.default) {
                (Some(value), _) => value,
                (None, Some(default)) => self.eval(default),
                (None, None) => {
                    let text = format!("`{}` needs its argument `{name}`", definition.name.text);
                    self.error(
                        Message::new(Code::MissingArgument, text).at(span).also(param.name.span, "declared here"),
                    )
                }
            };
            self.scope().define(name, value, param.name.span);
        }
    }

    fn statements(&mut self, body: &'a Body, inputs: &mut Inputs<'a, 'b>) {
        for stmt in &body.stmts {
            if !self.step(stmt.span) {
                self.scope().flow = Flow::At(Value::Poison);
                return;
            }
            self.statement(stmt, inputs);
        }
    }

    fn statement(&mut self, stmt: &'a Stmt, inputs: &mut Inputs<'a, 'b>) {
        let kind = self.scope().definition.kind;
        self.last = None;
        match &stmt.kind {
            StmtKind::Input(port) => self.input(port, false, inputs),
            StmtKind::Target(port) if kind == DefinitionKind::Net => self.input(port, true, inputs),
            StmtKind::Target(port) => self.misplaced("a `target` belongs to a `net`", port.name.span),
            StmtKind::State(decls) if kind == DefinitionKind::Cell => decls.iter().for_each(|decl| self.state(decl)),
            StmtKind::State(decls) => self.misplaced("a `state` belongs to a `cell`", decls[0].name.span),
            StmtKind::Param(decls) => decls.iter().for_each(|decl| self.param(decl)),
            StmtKind::Layer { name, value } => self.instance(name, value),
            StmtKind::Bind { name, primed: true, value } if kind == DefinitionKind::Cell => {
                self.next_value(name, value);
            }
            StmtKind::Bind { name, primed: true, .. } => {
                self.misplaced(
                    &format!("`{}'` is the next value of a state, and only a cell has states", name.text),
                    name.span,
                );
            }
            StmtKind::Bind { name, value, .. } => self.bind(name, value),
            StmtKind::Flow(expr) => {
                let value = self.flowing(expr, None);
                self.last = Some(value.clone());
                self.scope().flow = Flow::At(value);
            }
            StmtKind::Output(expr) => self.output(expr, inputs),
            StmtKind::Loss(expr) => self.scalar(expr, OutputRole::Loss, stmt.span, "loss"),
            StmtKind::Metric(expr) => self.scalar(expr, OutputRole::Metric, stmt.span, "metric"),
            StmtKind::For { var, iterable, body } => self.repeat_body(var, iterable, body, inputs),
            StmtKind::If { branches, otherwise } => {
                for (condition, body) in branches {
                    match self.condition(condition) {
                        Some(true) => return self.braces(body, inputs),
                        Some(false) => {}
                        None => return self.scope().flow = Flow::At(Value::Poison),
                    }
                }
                if let Some(body) = otherwise {
                    self.braces(body, inputs);
                }
            }
        }
    }

    pub(super) fn misplaced(&mut self, text: &str, span: Span) {
        self.fail(Code::Misplaced, text, span);
    }

    /// Statements whose names are known only within.
    fn braces(&mut self, body: &'a Body, inputs: &mut Inputs<'a, 'b>) {
        self.scope().open_frame();
        self.statements(body, inputs);
        self.scope().close_frame();
    }

    fn repeat_body(&mut self, var: &'a Ident, iterable: &'a Expr, body: &'a Body, inputs: &mut Inputs<'a, 'b>) {
        let items = match &iterable.kind {
            ExprKind::Range { start, end } => {
                let mut bound = |expr: &'a Option<Box<Expr>>| {
                    let Some(expr) = expr else { return Some(0) };
                    let value = self.eval(expr);
                    self.whole(&value, "an end of a range", 0, expr.span)
                };
                let (start, end) = (bound(start), bound(end));
                match start.zip(end) {
                    Some((start, end)) => Items::Range(start, end),
                    None => return self.scope().flow = Flow::At(Value::Poison),
                }
            }
            _ => match self.eval(iterable) {
                Value::List(items) => Items::List(items),
                Value::Poison => return self.scope().flow = Flow::At(Value::Poison),
                other => {
                    let text = format!("`for` goes over a list or a range, not {}", other.describe());
                    self.fail(Code::WrongKind, text, iterable.span);
                    return self.scope().flow = Flow::At(Value::Poison);
                }
            },
        };
        let n = match &items {
            Items::Range(start, end) => end.saturating_sub(*start),
            Items::List(items) => items.len(),
        };
        self.scope().begin_iterations();
        for i in 0..n {
            if !self.step(iterable.span) {
                break;
            }
            let value = match &items {
                Items::Range(start, _) => Value::Number((start + i) as f64),
                Items::List(items) => items[i].clone(),
            };
            self.scope().next_iteration();
            self.scope().open_frame();
            self.scope().define(&var.text, value, var.span);
            self.statements(body, inputs);
            self.scope().close_frame();
        }
        self.scope().end_iterations();
    }

    /// The value of a statement: layers apply to the flow, anything else stands for itself.
    pub(super) fn flowing(&mut self, expr: &'a Expr, name: Option<&'a str>) -> Value<'a, 'b> {
        let value = self.eval(expr);
        let Value::Layer(function) = value else { return value };
        let flow = self.take_flow(expr, &function);
        // Only a layer of its own takes the name; the parts of a chain keep theirs.
        self.apply_value(&function, flow, name, expr.span)
    }

    fn take_flow(&mut self, expr: &'a Expr, function: &Function<'a, 'b>) -> Value<'a, 'b> {
        let flow = self.scope().flow.clone();
        let why = match flow {
            Flow::At(value) => return value,
            Flow::Input(name) => return self.local(name).expect("an input is a name of its body"),
            Flow::Before => "before any input".to_owned(),
            Flow::Several => "after several inputs".to_owned(),
            Flow::Over => "after the `output`".to_owned(),
        };
        let what = match function {
            Function::Combine { kind, .. } => format!("`{}`", combinator_name(*kind)),
            function => function.base_name().map_or_else(|| "this chain".to_owned(), |name| format!("`{name}`")),
        };
        let text = format!("{what} stands {why}, so no value flows into it");
        let inputs: Vec<&str> = self
            .scope()
            .definition
            .body
            .stmts
            .iter()
            .filter_map(|stmt| match &stmt.kind {
                StmtKind::Input(port) => Some(port.name.text.as_str()),
                _ => None,
            })
            .collect();
        let start = inputs.first().copied().unwrap_or("x");
        let message = Message::new(Code::NoFlow, text).help(format!("start from a value: `{start} -> …`"));
        self.error(message.at(expr.span))
    }

    fn bind(&mut self, name: &'a Ident, expr: &'a Expr) {
        let value = self.bound_value(name, expr);
        self.last = Some(value.clone());
        self.scope().define(&name.text, value, name.span);
    }

    /// The value that a name is bound to; layers alone move the flow.
    pub(super) fn bound_value(&mut self, name: &'a Ident, expr: &'a Expr) -> Value<'a, 'b> {
        let is_cell = self.scope().definition.kind == DefinitionKind::Cell;
        let outside = self.scope().binding;
        self.scope().binding = (is_cell && self.n_layers(expr) == 1).then_some(name.text.as_str());
        let value = match self.eval(expr) {
            Value::Layer(function) => {
                let flow = self.take_flow(expr, &function);
                // A name that is defined twice is an error; parameters of both would have one path.
                let is_new = self.scope().find(&name.text).is_none();
                let given = (is_new && is_one_layer(expr)).then_some(name.text.as_str());
                let value = self.apply_value(&function, flow, given, expr.span);
                self.scope().flow = Flow::At(value.clone());
                value
            }
            value => value,
        };
        self.scope().binding = outside;
        value
    }

    /// How many layers with a path of their own an expression names; activations have none to speak of.
    fn n_layers(&mut self, expr: &'a Expr) -> usize {
        let mut n = 0;
        super::walk::expr(expr, &mut |name| {
            let base = split_window(&name.text).0;
            let is_layer = match self.scope().peek(&name.text) {
                Some(Value::Layer(function)) => function.takes_name(),
                Some(_) => false,
                None => {
                    self.program.definitions.contains_key(name.text.as_str())
                        || layers::find(base).is_some_and(|layer| layer.class != Class::Activation)
                }
            };
            n += usize::from(is_layer);
        });
        n
    }

    /// `layer encoder = …`
    fn instance(&mut self, name: &'a Ident, expr: &'a Expr) {
        let value = match self.eval(expr) {
            Value::Layer(inner) => {
                let path = self.scope().named_path(&name.text);
                let path = self.unique(path);
                Value::layer(Function::Shared { path, inner })
            }
            Value::Poison => Value::Poison,
            other => self.fail(Code::WrongKind, format!("`layer` names a layer, not {}", other.describe()), expr.span),
        };
        self.scope().define(&name.text, value, name.span);
    }
}

/// Where a body's inputs come from.
pub(super) enum Inputs<'a, 'b> {
    /// A net's are its ports.
    Ports,
    /// A block's are given, the next one last; its output goes back.
    Values { values: Vec<(Tensor<'b>, Span)>, output: Option<Value<'a, 'b>> },
}

enum Items<'a, 'b> {
    Range(usize, usize),
    List(std::rc::Rc<Vec<Value<'a, 'b>>>),
}

/// A call or a name alone, perhaps repeated: it takes the name of its binding.
fn is_one_layer(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::Call { .. } | ExprKind::Name(_))
}

impl<'b> Inputs<'_, 'b> {
    /// The next value that was given, for the next `input`.
    pub(super) fn next(&mut self) -> Option<(Tensor<'b>, Span)> {
        match self {
            Inputs::Ports => None,
            Inputs::Values { values, .. } => values.pop(),
        }
    }
}

impl<'a, 'b> Cx<'a, 'b> {
    /// Adds an input to the names of its body; the flow starts at the only one, or the only one that is not tokens.
    pub(super) fn start_flow(&mut self, name: &'a Ident, value: Value<'a, 'b>, is_target: bool) {
        let is_tokens = |value: &Value<'_, '_>| match value {
            Value::Tensor(tensor) => tensor.var.ty().element == crate::types::ElementType::I32,
            _ => false,
        };
        let new = is_tokens(&value);
        let scope = self.scope();
        scope.insert(Local { name: &name.text, value, span: name.span, used: false, is_port: true });
        if is_target {
            return;
        }
        scope.flow = match std::mem::replace(&mut scope.flow, Flow::Before) {
            Flow::Before => Flow::Input(&name.text),
            Flow::Input(first) => {
                let old = is_tokens(&scope.find(first).expect("an input is a name of its body").value);
                match (old, new) {
                    (true, false) => Flow::Input(&name.text),
                    (false, true) => Flow::Input(first),
                    _ => Flow::Several,
                }
            }
            // A third input decides nothing.
            flow => flow,
        };
    }
    pub(super) fn sequence_size(dim: &Dim) -> Value<'a, 'b> {
        match dim.as_fixed() {
            Some(n) => Value::Number(n as f64),
            None => Value::Size(dim.clone()),
        }
    }
}
