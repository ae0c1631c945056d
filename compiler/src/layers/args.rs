//! The arguments of one use of a layer, checked against its table and ready to be read.

use super::initial::Init;
use super::table::{Layer, Preset};
use crate::graph::Var;
use crate::types::Dim;

/// One argument's value, of the kind its table says.
#[derive(Debug, Clone)]
pub enum Arg<'b> {
    Count(usize),
    Number(f64),
    Pair([usize; 2]),
    Flag(bool),
    /// The name of the activation, for those who choose first values by it.
    Activation(String),
    Initial(Init),
    Value(Var<'b>),
    Axis(Dim),
    Sizes(Vec<i64>),
    Numbers(Vec<f64>),
    Word(&'static str),
}

/// Invariant: one entry for each argument of the layer's table, of that argument's kind; absent only where
/// its preset is [`Preset::Absent`].
#[derive(Debug, Clone)]
pub struct Args<'b> {
    entries: Vec<(&'static str, Option<Arg<'b>>)>,
}

macro_rules! getters {
    ($($get:ident $find:ident $Variant:ident $ty:ty;)*) => {
        $(
            pub fn $find(&self, name: &str) -> Option<$ty> {
                match self.entry(name) {
                    Some(Arg::$Variant(value)) => Some(value.clone()),
                    None => None,
                    Some(other) => panic!("`{name}` is of another kind: {other:?}"),
                }
            }
            pub fn $get(&self, name: &str) -> $ty {
                self.$find(name).unwrap_or_else(|| panic!("`{name}` has no value: {self:?}"))
            }
        )*
    };
}

impl<'b> Args<'b> {
    /// Presets for a layer's arguments; required ones must be set before use.
    pub fn presets(layer: &Layer) -> Self {
        let preset = |preset| match preset {
            Preset::Required | Preset::Absent => None,
            Preset::Count(n) => Some(Arg::Count(n)),
            Preset::Number(n) => Some(Arg::Number(n)),
            Preset::Flag(flag) => Some(Arg::Flag(flag)),
            Preset::Word(word) => Some(Arg::Word(word)),
        };
        let entry = |argument: &super::table::Argument| {
            let value = match (argument.kind, preset(argument.preset)) {
                (super::table::Kind::Pair(_), Some(Arg::Count(n))) => Some(Arg::Pair([n, n])),
                (_, value) => value,
            };
            (argument.name, value)
        };
        Args { entries: layer.arguments.iter().map(entry).collect() }
    }
    /// # Panics
    /// When the layer has no such argument: the caller has checked that.
    pub fn set(&mut self, name: &str, value: Arg<'b>) {
        let entry = self.entries.iter_mut().find(|(known, _)| *known == name);
        entry.unwrap_or_else(|| panic!("no argument `{name}`")).1 = Some(value);
    }
    fn entry(&self, name: &str) -> Option<&Arg<'b>> {
        let entry = self.entries.iter().find(|(known, _)| *known == name);
        entry.unwrap_or_else(|| panic!("no argument `{name}`")).1.as_ref()
    }
    getters! {
        count find_count Count usize;
        number find_number Number f64;
        pair find_pair Pair [usize; 2];
        flag find_flag Flag bool;
        activation find_activation Activation String;
        initial find_initial Initial Init;
        value find_value Value Var<'b>;
        axis find_axis Axis Dim;
        sizes find_sizes Sizes Vec<i64>;
        numbers find_numbers Numbers Vec<f64>;
        word find_word Word &'static str;
    }
}
