//! Calls: which layer is meant, and its arguments checked against what it takes.

use std::rc::Rc;

use super::cx::Cx;
use super::value::{DefinedUse, Function, LibraryUse, Node, Value};
use crate::diag::{Code, Message, Span};
use crate::layers::initial::{Init, WORDS};
use crate::layers::{Arg, Args, Argument, Kind, Layer, Preset};
use crate::syntax::ast::{self, Definition, DefinitionKind, Expr, Ident, StmtKind};

/// An argument of a call, evaluated.
pub(super) struct Given<'a, 'b> {
    pub(super) name: Option<&'a Ident>,
    pub(super) value: Value<'a, 'b>,
    pub(super) span: Span,
}

/// More arguments than this no layer has.
pub(super) const MAX_ARGUMENTS: usize = 256;
/// The largest window, stride or size of a layer that is taken for one.
const MAX_COUNT: usize = (1 << 24) - 1;

impl<'a, 'b> Cx<'a, 'b> {
    pub(super) fn library_use(
        &mut self,
        layer: &'static Layer,
        kind: &'a str,
        window: Option<(u32, u32)>,
        span: Span,
    ) -> Function<'a, 'b> {
        let mut args = Args::presets(layer);
        let mut given = Vec::new();
        if let Some((height, width)) = window {
            args.set("k", Arg::Pair([height as usize, width as usize]));
            given.push(("k", span));
            if height == 0 || width == 0 {
                self.fail(Code::BadValue, format!("the window of `{kind}` is empty"), span);
                args.set("k", Arg::Pair([1, 1]));
            }
        }
        Function::Library(LibraryUse { layer, kind, args, given, act: None, span })
    }
    pub(super) fn defined_use(&mut self, definition: &'a Definition, span: Span) -> Function<'a, 'b> {
        Function::Defined(DefinedUse { definition, args: Vec::new(), inputs: Vec::new(), init: None, span })
    }

    /// `conv3x3(64)` of `conv3x3(64)x2`
    fn without_repeat(&self, expr: &Expr, callee: &Ident) -> Span {
        match &expr.kind {
            ast::ExprKind::Call { repeat: Some(repeat), .. } => {
                let before = Span { end: repeat.span.start, ..expr.span };
                let text = self.sources.slice(before).trim_end_matches(|c: char| c == '(' || c.is_whitespace());
                let text = text.strip_suffix('x').unwrap_or(text);
                Span::new(callee.span.file, callee.span.start as usize, callee.span.start as usize + text.len())
            }
            _ => expr.span,
        }
    }

    /// A call: a layer with its arguments, or, when values of the network are among them, its result.
    pub(super) fn call(&mut self, expr: &'a Expr, callee: &'a Ident, args: &'a [ast::Arg]) -> Value<'a, 'b> {
        let call_span = self.without_repeat(expr, callee);
        if args.len() > MAX_ARGUMENTS {
            return self.fail(Code::TooLarge, format!("a call has at most {MAX_ARGUMENTS} arguments"), callee.span);
        }
        let given: Vec<Given<'a, 'b>> = args
            .iter()
            .map(|arg| Given { name: arg.name.as_ref(), value: self.argument(arg), span: arg.value.span })
            .collect();
        let function = match self.local(&callee.text) {
            Some(value) => value,
            None => match WORDS.iter().find(|(word, _)| *word == callee.text) {
                Some(&(word, n)) => return self.initializer(word, n, &given, call_span),
                None => self.global(callee, callee.span),
            },
        };
        if given.iter().any(|given| matches!(given.value, Value::Poison)) {
            return Value::Poison;
        }
        let function = match function {
            Value::Layer(function) => function,
            Value::Poison => return Value::Poison,
            other => {
                let text = format!("`{}` is {}, and only layers take arguments", callee.text, other.describe());
                return self.fail(Code::WrongKind, text, callee.span);
            }
        };
        self.with_arguments(&function, given, call_span)
    }

    /// `init = [a, b]` is a value for each state; elsewhere brackets join.
    fn argument(&mut self, arg: &'a ast::Arg) -> Value<'a, 'b> {
        match &arg.value.kind {
            ast::ExprKind::List(items) if arg.name.as_ref().is_some_and(|name| name.text == "init") => {
                Value::List(Rc::new(items.iter().map(|item| self.eval(item)).collect()))
            }
            _ => self.eval(&arg.value),
        }
    }

    /// The function with more arguments; applied, when the first of them is the value it applies to.
    fn with_arguments(
        &mut self,
        function: &Rc<Node<'a, 'b>>,
        mut given: Vec<Given<'a, 'b>>,
        span: Span,
    ) -> Value<'a, 'b> {
        let is_tensor = |given: &Given<'a, 'b>| given.name.is_none() && matches!(given.value, Value::Tensor(_));
        let n_tensors = given.iter().take_while(|given| is_tensor(given)).count();
        // How many values it takes besides the one that flows in.
        let n_others = match &***function {
            Function::Library(used) => {
                let positional = used.layer.arguments.iter().take(used.layer.positional);
                positional.filter(|argument| argument.kind == Kind::Value).count()
            }
            Function::Defined(used) => n_inputs(used.definition).saturating_sub(1),
            _ => 0,
        };
        let flow = (n_tensors > n_others).then(|| given.remove(0));
        let bound = match &***function {
            Function::Library(used) => self.bind_library(used.clone(), given, span).map(Function::Library),
            Function::Defined(used) => self.bind_defined(used.clone(), given, span).map(Function::Defined),
            Function::Direction { direction, .. } => self.bind_direction(*direction, given, span),
            other if given.is_empty() => Some(other.clone()),
            _ => {
                self.fail(Code::WrongKind, "this is a chain of layers and takes no arguments", span);
                None
            }
        };
        let Some(bound) = bound else { return Value::Poison };
        match flow {
            Some(Given { value, .. }) => self.apply_value(&Node::new(bound), value, None, span),
            None => Value::layer(bound),
        }
    }

    fn bind_library(
        &mut self,
        mut used: LibraryUse<'a, 'b>,
        given: Vec<Given<'a, 'b>>,
        span: Span,
    ) -> Option<LibraryUse<'a, 'b>> {
        let layer = used.layer;
        used.span = span;
        let mut position = 0;
        let mut is_right = true;
        for Given { name, value, span } in given {
            let argument = match name {
                Some(name) => match layer.argument(&name.text) {
                    Some(argument) => argument,
                    None => {
                        is_right = false;
                        let message = unknown_argument(used.kind, &name.text, layer.arguments.iter().map(|a| a.name));
                        self.error(message.at(name.span));
                        continue;
                    }
                },
                None => {
                    // A window in the name has taken the place of `k`.
                    while used
                        .given
                        .iter()
                        .any(|(name, _)| layer.arguments.get(position).is_some_and(|a| a.name == *name))
                    {
                        position += 1;
                    }
                    position += 1;
                    match layer.arguments.get(position - 1).filter(|_| position <= layer.positional) {
                        Some(argument) => argument,
                        None => {
                            is_right = false;
                            let text = match layer.positional {
                                0 => format!("`{}` takes no arguments by position", used.kind),
                                n => format!("`{}` takes at most {n} arguments by position", used.kind),
                            };
                            let message = Message::new(Code::WrongKind, text)
                                .help(format!("its arguments are `{}`", layer.signature()));
                            self.error(message.at(span));
                            continue;
                        }
                    }
                }
            };
            if let Some((_, first)) = used.given.iter().find(|(name, _)| *name == argument.name) {
                is_right = false;
                let first = *first;
                let text = format!("`{}` of `{}` is given twice", argument.name, used.kind);
                let place = name.map_or(span, |name| name.span);
                let error = Message::new(Code::DuplicateArgument, text).at(place).label("again here");
                self.error(if first == span { error } else { error.also(first, "first here") });
                continue;
            }
            used.given.push((argument.name, span));
            match self.convert(&mut used, argument, value, span) {
                Some(arg) => used.args.set(argument.name, arg),
                None => is_right = false,
            }
        }
        is_right.then_some(used)
    }

    /// A value as the kind that an argument takes; says what is wrong if it is of another.
    fn convert(
        &mut self,
        used: &mut LibraryUse<'a, 'b>,
        argument: &Argument,
        value: Value<'a, 'b>,
        span: Span,
    ) -> Option<Arg<'b>> {
        let out_of_range = |n: f64| {
            let text = format!("`{}` of `{}` is {}, not {n}", argument.name, used.kind, argument.kind);
            Message::new(Code::BadValue, text)
        };
        let whole = |n: f64, least: usize| {
            if n > MAX_COUNT as f64 {
                let text = format!("`{}` of `{}` is at most {MAX_COUNT}, not {n}", argument.name, used.kind);
                return Err(Message::new(Code::TooLarge, text));
            }
            let fits = n.fract() == 0.0 && n >= least as f64;
            if fits { Ok(n as usize) } else { Err(out_of_range(n)) }
        };
        let list_of_numbers = |items: &[Value<'a, 'b>]| -> Option<Vec<f64>> {
            items.iter().map(|item| if let Value::Number(n) = item { Some(*n) } else { None }).collect()
        };
        let result = match (argument.kind, &value) {
            (Kind::Count(least), Value::Number(n)) => whole(*n, least).map(Arg::Count),
            (Kind::Number(bounds), Value::Number(n)) if bounds.hold(*n) => Ok(Arg::Number(*n)),
            (Kind::Number(_), Value::Number(n)) => Err(out_of_range(*n)),
            (Kind::Pair(least), Value::Number(n)) => whole(*n, least).map(|n| Arg::Pair([n, n])),
            (Kind::Pair(least), Value::List(items)) if items.len() == 2 && list_of_numbers(items).is_some() => {
                let numbers = list_of_numbers(items).expect("just seen");
                whole(numbers[0], least).and_then(|h| whole(numbers[1], least).map(|w| Arg::Pair([h, w])))
            }
            (Kind::Flag, Value::Bool(flag)) => Ok(Arg::Flag(*flag)),
            (Kind::Activation, Value::Layer(function)) => {
                used.act = Some(function.clone());
                Ok(Arg::Activation(function.base_name().unwrap_or("").to_owned()))
            }
            (Kind::Initial, Value::Number(n)) => Ok(Arg::Initial(Init::Constant(*n))),
            (Kind::Initial, Value::Init(init)) => Ok(Arg::Initial(*init)),
            (Kind::Value, Value::Tensor(tensor)) => Ok(Arg::Value(tensor.var)),
            (Kind::Axis, Value::Size(dim)) => Ok(Arg::Axis(dim.clone())),
            (Kind::Sizes, Value::List(items))
                if list_of_numbers(items)
                    .is_some_and(|all| all.iter().all(|n| n.fract() == 0.0 && n.abs() <= MAX_COUNT as f64)) =>
            {
                Ok(Arg::Sizes(list_of_numbers(items).expect("just seen").iter().map(|&n| n as i64).collect()))
            }
            (Kind::Numbers, Value::List(items)) if list_of_numbers(items).is_some() => {
                Ok(Arg::Numbers(list_of_numbers(items).expect("just seen")))
            }
            (Kind::Word(words), value) => {
                let said = match value {
                    Value::Text(text) => Some(*text),
                    // Some words are also the names of layers.
                    Value::Layer(function) => function.base_name(),
                    _ => None,
                };
                match words.iter().find(|word| said == Some(word)) {
                    Some(word) => Ok(Arg::Word(word)),
                    None => Err(wrong_kind(used.kind, argument, &value.describe())),
                }
            }
            (_, value) => Err(wrong_kind(used.kind, argument, &value.describe())),
        };
        match result {
            Ok(arg) => Some(arg),
            Err(message) => {
                self.error(message.at(span));
                None
            }
        }
    }

    fn bind_defined(
        &mut self,
        mut used: DefinedUse<'a, 'b>,
        given: Vec<Given<'a, 'b>>,
        span: Span,
    ) -> Option<DefinedUse<'a, 'b>> {
        let definition = used.definition;
        used.span = span;
        let kind = definition.name.text.as_str();
        let mut position = 0;
        let mut is_right = true;
        for Given { name, value, span } in given {
            if name.is_some_and(|name| name.text == "init") && definition.kind == DefinitionKind::Cell {
                used.init = Some((value, span));
                continue;
            }
            let param = match name {
                Some(name) => match definition.params.iter().find(|param| param.name.text == name.text) {
                    Some(param) => param,
                    None => {
                        is_right = false;
                        let message =
                            unknown_argument(kind, &name.text, definition.params.iter().map(|p| p.name.text.as_str()));
                        self.error(message.at(name.span));
                        continue;
                    }
                },
                None => {
                    if let Value::Tensor(tensor) = value {
                        used.inputs.push((tensor, span));
                        continue;
                    }
                    position += 1;
                    let Some(param) = definition.params.get(position - 1) else {
                        is_right = false;
                        let text = format!("`{kind}` takes {} arguments", definition.params.len());
                        self.fail(Code::UnknownArgument, text, span);
                        continue;
                    };
                    param
                }
            };
            let given_name = name;
            let name = param.name.text.as_str();
            if used.args.iter().any(|(given, _)| *given == name) {
                is_right = false;
                let place = given_name.map_or(span, |name| name.span);
                self.fail(Code::DuplicateArgument, format!("`{name}` of `{kind}` is given twice"), place);
                continue;
            }
            used.args.push((name, value));
        }
        is_right.then_some(used)
    }

    /// Whether all that a layer needs was given; says what is missing.
    pub(super) fn is_complete(&mut self, used: &LibraryUse<'a, 'b>) -> bool {
        let is_missing = |argument: &&Argument| {
            argument.preset == Preset::Required && !used.given.iter().any(|(name, _)| *name == argument.name)
        };
        let Some(missing) = used.layer.arguments.iter().find(is_missing) else { return true };
        let text = format!("`{}` needs its argument `{}`: {}", used.kind, missing.name, missing.doc);
        let message = Message::new(Code::MissingArgument, text);
        let name = used.layer.name;
        let message = match missing.name {
            "k" if used.layer.window => {
                message.help(format!("put the window in the name, `{name}3x3`, or write `k = 3`"))
            }
            _ => message.help(format!("its arguments are `{}`", used.layer.signature())),
        };
        self.error(message.at(used.span));
        false
    }

    fn initializer(&mut self, word: &str, n: usize, given: &[Given<'a, 'b>], span: Span) -> Value<'a, 'b> {
        let mut numbers = Vec::new();
        for given in given {
            match &given.value {
                Value::Number(n) if given.name.is_none() => numbers.push(*n),
                Value::Poison => return Value::Poison,
                other => {
                    let text = format!("`{word}` takes numbers by position, not {}", other.describe());
                    return self.fail(Code::WrongKind, text, given.span);
                }
            }
        }
        match Init::from_word(word, &numbers) {
            Some(Init::Uniform { low, high }) if low > high => self.fail(
                Code::BadValue,
                format!("`uniform` goes from its first number up to its second, not from {low} to {high}"),
                span,
            ),
            Some(Init::Normal { deviation, .. }) if deviation < 0.0 => {
                self.fail(Code::BadValue, format!("a standard deviation is not below 0: {deviation}"), span)
            }
            Some(init) => Value::Init(init),
            None => {
                let code = if numbers.len() < n { Code::MissingArgument } else { Code::UnknownArgument };
                self.fail(code, format!("`{word}` takes {n} numbers, not {}", numbers.len()), span)
            }
        }
    }
}

/// How many inputs a definition declares.
pub(super) fn n_inputs(definition: &Definition) -> usize {
    definition.body.stmts.iter().filter(|stmt| matches!(stmt.kind, StmtKind::Input(_))).count()
}

pub(super) fn unknown_argument<'n>(layer: &str, name: &str, valid: impl Iterator<Item = &'n str> + Clone) -> Message {
    let message = Message::new(Code::UnknownArgument, format!("`{layer}` has no argument `{name}`"));
    let list: Vec<String> = valid.clone().map(|name| format!("`{name}`")).collect();
    let suggested = message.did_you_mean(name, valid);
    match list.is_empty() {
        true => suggested.note("it takes no arguments"),
        false => suggested.note(format!("its arguments are {}", list.join(", "))),
    }
}

fn wrong_kind(layer: &str, argument: &Argument, found: &str) -> Message {
    Message::new(Code::WrongKind, format!("`{}` of `{layer}` is {}, not {found}", argument.name, argument.kind))
}
