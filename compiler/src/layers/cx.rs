//! What a layer may use while it is composed: parameters, states, random streams, and a report for the table.

use std::collections::BTreeMap;

use super::initial::{Fans, Init};
use super::support::{lead, user_shape};
use crate::diag::Message;
use crate::ensure;
use crate::graph::{Builder, Output, OutputRole, Value, Var};
use crate::kernel::CompareFn;
use crate::network::{Initial, KEY, Parameter, StateVariable};
use crate::ops::{Random, Role};
use crate::types::{Dim, MAX_ELEMENTS, Symbol, TensorType, product, show_shape};

/// Which of a network's two graphs is being built; dropout and normalization differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Inference,
    Training,
}

/// What all layers of a network share.
#[derive(Debug, Default)]
pub struct Store<'b> {
    pub parameters: Vec<Parameter>,
    pub states: Vec<StateVariable>,
    parameter_vars: BTreeMap<String, Var<'b>>,
    /// The newest value of each state: its source, then its update.
    state_vars: BTreeMap<String, Var<'b>>,
    /// The mask of each sequence axis that was asked for.
    masks: BTreeMap<Dim, Var<'b>>,
    /// In the order of first update.
    updates: Vec<String>,
    /// How many tokens there are, for values that are tokens.
    vocabularies: BTreeMap<Value, usize>,
    key: Option<Var<'b>>,
    /// Random numbers asked for so far; each use has a stream of its own.
    streams: u32,
}

/// One use of a layer.
#[derive(Debug)]
pub struct LayerCx<'c, 'b> {
    pub builder: &'b Builder,
    pub mode: Mode,
    path: &'c str,
    store: &'c mut Store<'b>,
    pub report: Report,
    /// In a cell, the parts that are joined in what flows in: how many features each has, and whether it depends on
    /// a state. Empty where no state does.
    pub recurrent: Vec<(usize, bool)>,
}

/// What one use of a layer tells about itself.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub explanation: Vec<String>,
    /// For one member of the batch.
    pub multiply_accumulates: Option<Dim>,
    pub sizes: Vec<Size>,
    /// Elements of the parameters that this use is the first to need.
    pub n_parameters: usize,
    /// Multiply-accumulates that are counted in other sizes.
    pub others: Vec<Apart>,
}

/// What has a row of its own in the table.
#[derive(Debug, Clone)]
pub struct Apart {
    pub name: &'static str,
    /// What is counted over, the batch left out.
    pub shape: Vec<Dim>,
    pub multiply_accumulates: Dim,
}

/// How one size of the result came about.
#[derive(Debug, Clone)]
pub struct Size {
    /// Counted from the last axis, which is 0.
    pub from_end: usize,
    /// `has stride 2`, when there is such a reason.
    pub reason: Option<String>,
    /// `floor((56 + 2*1 - 3) / 2) + 1 = 28`
    pub formula: String,
}

impl<'b> Store<'b> {
    /// Says that `value` holds tokens below `vocabulary`.
    pub fn set_vocabulary(&mut self, value: Var<'b>, vocabulary: usize) {
        self.vocabularies.insert(value.id, vocabulary);
    }
    pub fn vocabulary(&self, value: Var<'b>) -> Option<usize> {
        self.vocabularies.get(&value.id).copied()
    }
    /// The parameter at `path`: the one that is there, or a new one.
    ///
    /// # Errors
    /// When a shared layer is used on inputs that need weights of different shapes, or it is too large.
    pub fn parameter(
        &mut self,
        builder: &'b Builder,
        path: String,
        shape: &[usize],
        initial: Initial,
    ) -> Result<Var<'b>, Message> {
        let dims: Vec<Dim> = shape.iter().map(|&n| Dim::fixed(n)).collect();
        if let Some(&var) = self.parameter_vars.get(&path) {
            let first = show_shape(&var.shape());
            let now = show_shape(&dims);
            ensure!(
                first == now,
                ShapeMismatch,
                "`{path}` is shared, but here it would need the shape {now}, and at its first use {first}"
            );
            return Ok(var);
        }
        let n = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size)).filter(|&n| n <= MAX_ELEMENTS);
        ensure!(n.is_some(), TooLarge, "the parameter `{path}` of shape {} is too large", show_shape(&dims));
        ensure!(n != Some(0), InvalidSize, "the parameter `{path}` of shape {} is empty", show_shape(&dims));
        let var = builder.source(Role::Param, &path, TensorType::f32(dims));
        self.parameters.push(Parameter { path: path.clone(), shape: shape.to_vec(), initial, span: None });
        self.parameter_vars.insert(path, var);
        Ok(var)
    }
    /// 1 where a member of the batch has a step along the sequence axis `axis`, else 0, `[B, axis]`. None when `axis`
    /// is not the size of one.
    pub fn mask(&mut self, builder: &'b Builder, axis: &Dim) -> Option<Var<'b>> {
        if let Some(&mask) = self.masks.get(axis) {
            return Some(mask);
        }
        let [symbol] = axis.symbols() else { return None };
        let ty = TensorType::f32([Dim::batch(), axis.clone()]);
        // A mask belongs to no layer.
        let outside = builder.set_origin(None);
        let mask = match symbol {
            _ if axis.factor() != 1 => None,
            Symbol::Batch => None,
            Symbol::Axis(name) => Some(builder.source(Role::Mask, name, ty)),
            // p < floor((n + add) / div) is (p + 1) * div <= n + add.
            Symbol::Derived(derived) => self.mask(builder, &derived.of).map(|of| {
                let steps = of.sum(&[1]) + derived.add as f64;
                let position = builder.iota(0, vec![axis.clone()]).to_f32();
                let needed = (position + 1.0) * derived.div as f64;
                needed.reshape(&[Dim::ONE, axis.clone()]).compare(CompareFn::Le, steps)
            }),
        };
        builder.set_origin(outside);
        self.masks.insert(axis.clone(), mask?);
        mask
    }
    /// 1 where the steps along one sequence axis of `x` exist, in a shape that stretches to that of `x`.
    pub fn mask_along(&mut self, x: Var<'b>, axis: usize) -> Option<Var<'b>> {
        let shape = x.shape();
        let mask = self.mask(x.builder, &shape[axis])?;
        let beside = |(i, size): (usize, &Dim)| if i == 0 || i == axis { size.clone() } else { Dim::ONE };
        Some(mask.reshape(&shape.iter().enumerate().map(beside).collect::<Vec<_>>()))
    }
    /// The same for all sequence axes of `x` together; none when it has none.
    pub fn mask_of(&mut self, x: Var<'b>) -> Option<Var<'b>> {
        let shape = x.shape();
        let n = lead(&shape);
        let mask = (1..n).filter_map(|axis| self.mask_along(x, axis)).reduce(|a, b| a * b)?;
        Some(mask.broadcast_to(&[&shape[..n], &vec![Dim::ONE; shape.len() - n]].concat()))
    }
    /// Leaves an output for each state that training replaces.
    pub fn add_update_outputs(&self, builder: &'b Builder) {
        for path in &self.updates {
            let value = self.state_vars[path].id;
            builder.add_output(Output { role: OutputRole::Update, name: path.clone(), value });
        }
    }
}

impl<'c, 'b> LayerCx<'c, 'b> {
    pub fn new(builder: &'b Builder, mode: Mode, path: &'c str, store: &'c mut Store<'b>) -> Self {
        LayerCx { builder, mode, path, store, report: Report::default(), recurrent: Vec::new() }
    }
    /// A trained tensor of this layer; `fans` are those of the weight it belongs to.
    ///
    /// # Errors
    /// See [`Store::parameter`].
    pub fn parameter(&mut self, name: &str, shape: &[usize], init: Init, fans: Fans) -> Result<Var<'b>, Message> {
        self.parameter_from(name, shape, init.with_fans(fans))
    }
    /// The same with first values that are chosen already.
    ///
    /// # Errors
    /// See [`Store::parameter`].
    pub fn parameter_from(&mut self, name: &str, shape: &[usize], initial: Initial) -> Result<Var<'b>, Message> {
        let before = self.store.parameters.len();
        let var = self.store.parameter(self.builder, format!("{}.{name}", self.path), shape, initial)?;
        if self.store.parameters.len() > before {
            self.report.n_parameters += shape.iter().product::<usize>();
        }
        Ok(var)
    }
    /// A parameter that begins as `value` everywhere.
    ///
    /// # Errors
    /// See [`Store::parameter`].
    pub fn filled(&mut self, name: &str, shape: &[usize], value: f64) -> Result<Var<'b>, Message> {
        self.parameter(name, shape, Init::Constant(value), Fans { inputs: 1, outputs: 1 })
    }
    /// A running statistic, as it is now.
    pub fn state(&mut self, name: &str, shape: &[usize], initial: f64) -> Var<'b> {
        let path = format!("{}.{name}", self.path);
        if let Some(&var) = self.store.state_vars.get(&path) {
            return var;
        }
        let var = self.builder.source(Role::State, &path, TensorType::f32(shape.to_vec()));
        self.store.states.push(StateVariable { path: path.clone(), shape: shape.to_vec(), initial });
        self.store.state_vars.insert(path, var);
        var
    }
    /// The value that a running statistic has after this step of training.
    pub fn update(&mut self, name: &str, value: Var<'b>) {
        let path = format!("{}.{name}", self.path);
        if !self.store.updates.contains(&path) {
            self.store.updates.push(path.clone());
        }
        self.store.state_vars.insert(path, value);
    }
    /// Uniform numbers from 0 up to but without 1, new in each step; no two uses share them.
    pub fn random(&mut self, shape: Vec<Dim>) -> Var<'b> {
        let builder = self.builder;
        let key = *self.store.key.get_or_insert_with(|| builder.source(Role::Key, KEY, TensorType::i32([2])));
        let stream = self.store.streams;
        self.store.streams += 1;
        builder.emit(Random { stream, shape }, &[key])
    }
    /// How many tokens there are, when `value` is tokens.
    pub fn vocabulary(&self, value: Var<'b>) -> Option<usize> {
        self.store.vocabulary(value)
    }
    /// See [`Store::mask_along`].
    pub fn mask_along(&mut self, x: Var<'b>, axis: usize) -> Option<Var<'b>> {
        self.store.mask_along(x, axis)
    }
    /// See [`Store::mask_of`].
    pub fn mask_of(&mut self, x: Var<'b>) -> Option<Var<'b>> {
        self.store.mask_of(x)
    }
    /// `x`, and 0 where a step along `axis` does not exist.
    pub fn existing_along(&mut self, x: Var<'b>, axis: usize) -> Var<'b> {
        let zero = self.builder.scalar(0.0);
        self.mask_along(x, axis).map_or(x, |mask| mask.select(x, zero))
    }
    pub fn explain(&mut self, line: String) {
        self.report.explanation.push(line);
    }
    /// Tells how the size of an axis, counted from the last, came about.
    pub fn sized(&mut self, from_end: usize, name: &str, reason: Option<String>, formula: String) {
        self.explain(format!("{name}: {formula}"));
        self.report.sizes.push(Size { from_end, reason, formula });
    }
    /// Counts multiply-accumulates: `each` for every member of `axes`, the batch left out.
    pub fn count(&mut self, axes: &[Dim], each: usize) {
        let all = of_one_member(axes, each);
        let known = self.report.multiply_accumulates.take().unwrap_or(Dim::fixed(0));
        let sum = known.plus(&all);
        self.report.multiply_accumulates = Some(sum.expect("a layer counts in one size, or apart"));
    }
    /// Counts them in a row of their own.
    pub fn count_apart(&mut self, name: &'static str, axes: &[Dim], each: usize) {
        let all = of_one_member(axes, each);
        if let Some(known) = self.report.others.iter_mut().find(|known| known.name == name)
            && let Some(sum) = known.multiply_accumulates.plus(&all)
        {
            known.multiply_accumulates = sum;
            return;
        }
        self.report.others.push(Apart { name, shape: user_shape(axes).to_vec(), multiply_accumulates: all });
    }
}

fn of_one_member(axes: &[Dim], each: usize) -> Dim {
    let all = product(axes).times(&Dim::fixed(each));
    all.divided_by(&Dim::batch()).unwrap_or(all)
}
