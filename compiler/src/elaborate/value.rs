//! What an expression can stand for while a file is elaborated.

use std::ops::Deref;
use std::rc::Rc;

use crate::diag::Span;
use crate::graph::Var;
use crate::layers::initial::Init;
use crate::layers::{Args, Class, Layer, user_shape};
use crate::syntax::ast::{CombinatorKind, Definition, DefinitionKind};
use crate::types::{Dim, show_shape};

#[derive(Debug, Clone)]
pub(super) enum Value<'a, 'b> {
    /// What an error was already reported for; everything made of it stays silent.
    Poison,
    Number(f64),
    Bool(bool),
    Text(&'a str),
    /// The length of a sequence axis.
    Size(Dim),
    List(Rc<Vec<Value<'a, 'b>>>),
    /// A way to choose first values.
    Init(Init),
    Layer(Rc<Node<'a, 'b>>),
    Tensor(Tensor<'b>),
}

/// A value of the network, with the story of its shape.
#[derive(Debug, Clone)]
pub(super) struct Tensor<'b> {
    pub(super) var: Var<'b>,
    /// For each axis, counted from the last, the layer that last changed it.
    pub(super) changes: Vec<Option<Rc<Change>>>,
    /// The last layer with a window before it.
    pub(super) window: Option<Rc<Change>>,
}

/// A layer that gave an axis its size.
#[derive(Debug)]
pub(super) struct Change {
    /// As written: `conv3x3`.
    pub(super) kind: String,
    /// The whole call.
    pub(super) span: Span,
    /// `has stride 2`
    pub(super) reason: Option<String>,
    /// `floor((56 + 2*1 - 3) / 2) + 1 = 28`
    pub(super) formula: Option<String>,
    /// Where the call says its stride.
    pub(super) stride: Option<Span>,
}

/// A [`Function`] and how deeply others are nested in it, which bounds the recursion of all that walk it.
#[derive(Debug)]
pub(super) struct Node<'a, 'b> {
    function: Function<'a, 'b>,
    pub(super) depth: usize,
}

/// Something that can be applied to a value: one layer or what is made of layers.
#[derive(Debug, Clone)]
pub(super) enum Function<'a, 'b> {
    Library(LibraryUse<'a, 'b>),
    Defined(DefinedUse<'a, 'b>),
    /// `a -> b`
    Sequence(Vec<Rc<Node<'a, 'b>>>),
    /// `(…)x3`
    Repeat {
        inner: Rc<Node<'a, 'b>>,
        times: usize,
        span: Span,
    },
    /// `concat { … }`
    Combine {
        kind: CombinatorKind,
        axis: Option<usize>,
        branches: Vec<(Value<'a, 'b>, Span)>,
        span: Span,
    },
    /// `layer encoder = …`: uses of it share their parameters, which lie under `path`.
    Shared {
        path: String,
        inner: Rc<Node<'a, 'b>>,
    },
    /// `reverse(…)`, `bidirectional(…)`; without `inner` until its argument is given.
    Direction {
        direction: Direction,
        inner: Option<Rc<Node<'a, 'b>>>,
        span: Span,
    },
}

/// In which direction cells run along a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Reverse,
    Bidirectional,
}

#[derive(Debug, Clone)]
pub(super) struct LibraryUse<'a, 'b> {
    pub(super) layer: &'static Layer,
    /// As written, with its window.
    pub(super) kind: &'a str,
    pub(super) args: Args<'b>,
    /// The arguments that were given, and where.
    pub(super) given: Vec<(&'static str, Span)>,
    /// Applied to the result.
    pub(super) act: Option<Rc<Node<'a, 'b>>>,
    pub(super) span: Span,
}

#[derive(Debug, Clone)]
pub(super) struct DefinedUse<'a, 'b> {
    pub(super) definition: &'a Definition,
    /// By the names of its parameters.
    pub(super) args: Vec<(&'a str, Value<'a, 'b>)>,
    /// Values for the inputs after the first.
    pub(super) inputs: Vec<(Tensor<'b>, Span)>,
    /// What a cell's states begin as.
    pub(super) init: Option<(Value<'a, 'b>, Span)>,
    pub(super) span: Span,
}

impl<'a, 'b> Value<'a, 'b> {
    pub(super) fn layer(function: Function<'a, 'b>) -> Self {
        Value::Layer(Node::new(function))
    }
    fn depth(&self) -> usize {
        match self {
            Value::Layer(node) => node.depth,
            Value::List(items) => items.iter().map(Value::depth).max().unwrap_or(0),
            _ => 0,
        }
    }
    /// As it is written, or what it is where that is long.
    pub(super) fn show(&self) -> String {
        match self {
            Value::Number(n) => n.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Text(text) => format!("\"{text}\""),
            Value::Size(dim) => dim.to_string(),
            Value::List(items) => format!("[{}]", items.iter().map(Value::show).collect::<Vec<_>>().join(", ")),
            Value::Poison | Value::Init(_) | Value::Layer(_) | Value::Tensor(_) => self.describe(),
        }
    }
    /// What it is, for messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Value::Poison => "an error".to_owned(),
            Value::Number(n) => format!("the number {n}"),
            Value::Bool(flag) => format!("`{flag}`"),
            Value::Text(text) => format!("the text \"{text}\""),
            Value::Size(dim) => format!("the length `{dim}` of a sequence"),
            Value::List(_) => "a list".to_owned(),
            Value::Init(_) => "a way to choose first values".to_owned(),
            Value::Layer(_) => "a layer".to_owned(),
            Value::Tensor(tensor) => format!("a value of shape {}", tensor.show()),
        }
    }
}

impl<'a, 'b> Node<'a, 'b> {
    pub(super) fn new(function: Function<'a, 'b>) -> Rc<Self> {
        let depth = match &function {
            Function::Library(used) => used.act.as_ref().map_or(0, |act| act.depth),
            Function::Defined(used) => used.args.iter().map(|(_, value)| value.depth()).max().unwrap_or(0),
            Function::Sequence(stages) => stages.iter().map(|stage| stage.depth).max().unwrap_or(0),
            Function::Repeat { inner, .. } | Function::Shared { inner, .. } => inner.depth,
            Function::Combine { branches, .. } => branches.iter().map(|(value, _)| value.depth()).max().unwrap_or(0),
            Function::Direction { inner, .. } => inner.as_ref().map_or(0, |inner| inner.depth),
        };
        Rc::new(Node { function, depth: depth + 1 })
    }
}

impl<'a, 'b> Deref for Node<'a, 'b> {
    type Target = Function<'a, 'b>;
    fn deref(&self) -> &Function<'a, 'b> {
        &self.function
    }
}

impl<'b> Tensor<'b> {
    /// A value whose shape nothing has changed yet.
    pub(super) fn new(var: Var<'b>) -> Self {
        Tensor { var, changes: vec![None; var.rank()], window: None }
    }
    /// The shape as users see it.
    pub(super) fn show(&self) -> String {
        show_shape(user_shape(&self.var.shape()))
    }
    pub(super) fn user_shape(&self) -> Vec<Dim> {
        user_shape(&self.var.shape()).to_vec()
    }
    /// The same story for `var`, whose shape elementwise functions have not changed.
    pub(super) fn with_var(&self, var: Var<'b>) -> Self {
        let mut changes = self.changes.clone();
        changes.resize(var.rank(), None);
        Tensor { var, changes, window: self.window.clone() }
    }
}

impl Function<'_, '_> {
    /// The name that paths count: the kind without its window.
    pub(super) fn base_name(&self) -> Option<&str> {
        match self {
            Function::Library(used) => Some(used.layer.name),
            Function::Defined(used) => Some(&used.definition.name.text),
            Function::Sequence(_) | Function::Repeat { .. } | Function::Combine { .. } | Function::Shared { .. } => {
                None
            }
            Function::Direction { direction, .. } => Some(direction.name()),
        }
    }
    /// Whether it has a path, to which a name can be given.
    pub(super) fn takes_name(&self) -> bool {
        match self {
            Function::Library(used) => used.layer.class != Class::Activation,
            Function::Shared { .. } => false,
            Function::Defined(_)
            | Function::Sequence(_)
            | Function::Repeat { .. }
            | Function::Combine { .. }
            | Function::Direction { .. } => true,
        }
    }
    /// Whether it is made of cells alone.
    pub(super) fn is_cells(&self) -> bool {
        match self {
            Function::Shared { inner, .. } | Function::Repeat { inner, .. } => inner.is_cells(),
            Function::Direction { inner, .. } => inner.is_some(),
            Function::Sequence(stages) => stages.iter().all(|stage| stage.is_cells()),
            Function::Defined(used) => used.definition.kind == DefinitionKind::Cell,
            Function::Library(_) | Function::Combine { .. } => false,
        }
    }
}

impl Direction {
    pub(super) const ALL: [Direction; 2] = [Direction::Reverse, Direction::Bidirectional];

    pub(super) fn name(self) -> &'static str {
        match self {
            Direction::Reverse => "reverse",
            Direction::Bidirectional => "bidirectional",
        }
    }
}
