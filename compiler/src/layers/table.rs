//! What a layer's file says about itself: one [`Layer`], from which calls are checked and the reference page is made.

use std::fmt;

use super::args::Args;
use super::cx::LayerCx;
use crate::diag::Message;
use crate::graph::Var;

/// A layer, loss or metric of the library.
#[derive(Debug)]
pub struct Layer {
    /// Without a window: `conv`, `maxpool`.
    pub name: &'static str,
    pub class: Class,
    pub doc: LayerDoc,
    pub arguments: &'static [Argument],
    /// How many of `arguments`, from the first, may be given by position.
    pub positional: usize,
    /// Whether the name may carry a window, `conv3x3`: it then gives the argument `k`.
    pub window: bool,
    /// Whether the layer takes tokens; all others refuse them.
    pub tokens: Tokens,
    /// Composes the layer from primitives. An argument `act` is applied to the result by the caller.
    pub apply: Apply,
}

/// From the value that flows in to the layer's result.
pub(super) type Apply = for<'c, 'b> fn(&mut LayerCx<'c, 'b>, Var<'b>, &Args<'b>) -> Result<Var<'b>, Message>;

/// The text of the reference page.
#[derive(Debug)]
pub struct LayerDoc {
    /// One sentence.
    pub summary: &'static str,
    /// `[in, h, w] -> [channels, oh, ow]`
    pub shapes: &'static str,
    pub formula: &'static str,
    /// The paper or the library whose convention is followed.
    pub source: &'static str,
    /// The statements of a network that uses it; they compile.
    pub example: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Layer,
    /// A function of each element; may stand as the argument `act` of another layer.
    Activation,
    /// From a prediction and a target to one number, to be made small.
    Loss,
    /// From a prediction and a target to one number, to be looked at.
    Metric,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokens {
    Refused,
    Taken,
}

/// One argument of a layer.
#[derive(Debug)]
pub struct Argument {
    pub name: &'static str,
    pub kind: Kind,
    pub preset: Preset,
    pub doc: &'static str,
}

/// What may be given for an argument.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A whole number, at least this.
    Count(usize),
    Number(Bounds),
    /// A whole number, at least this, for both directions, or `[height, width]`.
    Pair(usize),
    Flag,
    /// The name of a layer, applied to the result.
    Activation,
    /// How a parameter gets its first values.
    Initial,
    /// A value of the network.
    Value,
    /// The name of a sequence axis.
    Axis,
    /// A list of whole numbers; -1 stands for what is left over, where a layer says so.
    Sizes,
    /// A list of numbers.
    Numbers,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// The range of a [`Kind::Number`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bounds {
    Any,
    Positive,
    NonNegative,
    /// From 0 up to but without 1.
    Fraction,
    /// From 0 to 1.
    Unit,
}

/// What holds when an argument is not given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Preset {
    Required,
    /// The layer's documentation says what then happens.
    Absent,
    Count(usize),
    Number(f64),
    Flag(bool),
    Word(&'static str),
}

impl Layer {
    pub const fn new(
        name: &'static str,
        class: Class,
        doc: LayerDoc,
        arguments: &'static [Argument],
        apply: Apply,
    ) -> Self {
        Layer { name, class, doc, arguments, positional: 0, window: false, tokens: Tokens::Refused, apply }
    }
    /// The first `n` arguments may be given by position.
    pub const fn positional(mut self, n: usize) -> Self {
        self.positional = n;
        self
    }
    pub const fn windowed(mut self) -> Self {
        self.window = true;
        self
    }
    pub const fn takes_tokens(mut self) -> Self {
        self.tokens = Tokens::Taken;
        self
    }
    pub fn argument(&self, name: &str) -> Option<&Argument> {
        self.arguments.iter().find(|argument| argument.name == name)
    }
    /// `conv(channels, act, k, stride = 1, …)`, as the reference prints it.
    pub fn signature(&self) -> String {
        let arguments: Vec<String> = self.arguments.iter().map(Argument::to_string).collect();
        if arguments.is_empty() { self.name.to_owned() } else { format!("{}({})", self.name, arguments.join(", ")) }
    }
}

impl Argument {
    pub const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Argument { name, kind, preset: Preset::Required, doc }
    }
    pub const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Argument { name, kind, preset: Preset::Absent, doc }
    }
    pub const fn preset(name: &'static str, kind: Kind, preset: Preset, doc: &'static str) -> Self {
        Argument { name, kind, preset, doc }
    }
}

/// What most layers with weights share.
pub(super) const ACT: Argument = Argument::optional("act", Kind::Activation, "an activation applied to the result");
/// See [`super::initial`].
pub(super) const INIT: Argument = Argument::optional(
    "init",
    Kind::Initial,
    "first values of the weight: by default He's for `act` of relu's kind, else Xavier's",
);

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name;
        match self.preset {
            Preset::Required => write!(f, "{name}"),
            Preset::Absent => write!(f, "{name} = …"),
            Preset::Count(n) => write!(f, "{name} = {n}"),
            Preset::Number(n) => write!(f, "{name} = {n}"),
            Preset::Flag(flag) => write!(f, "{name} = {flag}"),
            Preset::Word(word) => write!(f, "{name} = {word}"),
        }
    }
}

impl Bounds {
    pub fn hold(self, n: f64) -> bool {
        match self {
            Bounds::Any => true,
            Bounds::Positive => n > 0.0,
            Bounds::NonNegative => n >= 0.0,
            Bounds::Fraction => (0.0..1.0).contains(&n),
            Bounds::Unit => (0.0..=1.0).contains(&n),
        }
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bounds::Any => "a number",
            Bounds::Positive => "a number above 0",
            Bounds::NonNegative => "a number from 0",
            Bounds::Fraction => "a number from 0 up to but without 1",
            Bounds::Unit => "a number from 0 to 1",
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Count(least) => write!(f, "a whole number from {least}"),
            Kind::Number(bounds) => write!(f, "{bounds}"),
            Kind::Pair(least) => write!(f, "a whole number from {least}, or two as `[height, width]`"),
            Kind::Flag => write!(f, "`true` or `false`"),
            Kind::Activation => write!(f, "a layer such as `relu`"),
            Kind::Initial => write!(f, "a number or a way to choose first values such as `he`"),
            Kind::Value => write!(f, "a value of the network"),
            Kind::Axis => write!(f, "the name of a sequence axis"),
            Kind::Sizes => write!(f, "a list of whole numbers"),
            Kind::Numbers => write!(f, "a list of numbers"),
            Kind::Word(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
                write!(f, "one of {}", words.join(", "))
            }
        }
    }
}
