//! What recurrences keep from call to call: from window to window, and from step to step.

use std::collections::BTreeMap;

use ndarray::{ArrayViewD, IxDyn};

use super::inputs::bind;
use super::{Outputs, Session, Stored, TensorView, Values};
use crate::entries::{self, FirstState};
use crate::error::Error;
use crate::network::{Network, Port};
use crate::ops::Role;
use crate::pipeline::{CompiledEntry, Entry, Variant};
use crate::schedule::SlotKind;
use crate::types::{Dim, Extents, Symbol, show_shape};

/// The states of a session's recurrences.
#[derive(Debug, Default)]
pub(super) struct States {
    /// What they begin with, when they are carried from call to call.
    carried: Option<BTreeMap<String, FirstState>>,
    /// `[batch, …]`, by name.
    values: BTreeMap<String, Stored>,
    stepping: Option<Stepping>,
}

/// What [`Session::begin`] has settled for the steps.
#[derive(Debug, Clone)]
struct Stepping {
    axis: String,
    has_lengths: bool,
    extents: Extents,
}

impl States {
    pub(super) fn carries(&self) -> bool {
        self.carried.is_some()
    }
    /// What goes on in the next window.
    pub(super) fn carried_values(&self) -> impl Iterator<Item = (&String, &Stored)> {
        self.values.iter().filter(|_| self.carries())
    }
    /// A state of a checkpoint, for [`Session::set_state`] when states are carried again.
    pub(super) fn keep(&mut self, name: &str, stored: Stored) {
        self.values.insert(name.to_owned(), stored);
    }
    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Stored> {
        self.values.get_mut(name)
    }
    /// Sees to it that all that the entry keeps is there for a batch of this size.
    pub(super) fn prepare(
        &mut self,
        compiled: &CompiledEntry,
        extents: &Extents,
        tensors: &BTreeMap<String, Stored>,
    ) -> Result<(), Error> {
        let is_state = |kind| matches!(kind, SlotKind::Source(Role::Carry | Role::State));
        for slot in compiled.scheduled.slots.iter().filter(|slot| is_state(slot.kind)) {
            if tensors.contains_key(&slot.name) {
                continue;
            }
            let shape = slot.ty.eval(extents);
            let known = self.values.get(&slot.name);
            if known.is_some_and(|known| known.shape == shape) {
                continue;
            }
            if compiled.variant.entry == Entry::Step {
                let message = format!("the state `{}` is not that of these steps: call `begin`", slot.name);
                return Err(Error::Input(message));
            }
            let first = self.carried.as_ref().and_then(|carried| carried.get(&slot.name));
            let mut values = Values::zeroed(shape.iter().product());
            values.as_mut_slice().fill(first.map_or(0.0, |first| first.value as f32));
            self.values.insert(slot.name.clone(), Stored { shape, values });
        }
        Ok(())
    }
}

impl Session {
    /// Whether recurrences go on from call to call: [`Session::forward`], [`Session::evaluate`], [`Session::gradients`]
    /// and [`Session::train_step`] begin with the states that the last call of any of them left, for each member of the
    /// batch, and no gradient flows into the call before (truncated backpropagation through time). A batch of another
    /// size begins anew, as does [`Session::reset_state`].
    ///
    /// Only recurrences are carried: a window or a mean along the sequence knows its own call alone.
    ///
    /// ```
    /// use ndarray::{Array2, Axis, Slice};
    /// # use netc::{Session, SessionOptions};
    /// let network = netc::check_source("m.net", "net m {\n  input text[T]: token(5)\n  embed(4) -> lstm(3)\n}")?;
    /// let mut session = Session::new(network, &SessionOptions { threads: 1, seed: 0 });
    /// let text = Array2::from_shape_fn((1, 6), |(_, t)| t as i32 % 5);
    /// let whole = session.forward(&[("text", text.view().into())])?;
    /// session.set_carry(true)?;
    /// let window = |range: std::ops::Range<usize>| text.slice_axis(Axis(1), Slice::from(range));
    /// session.forward(&[("text", window(0..4).into())])?;
    /// let rest = session.forward(&[("text", window(4..6).into())])?;
    /// let (last, same) = (whole.get("output").unwrap(), rest.get("output").unwrap());
    /// assert!((last[[0, 5, 0]] - same[[0, 1, 0]]).abs() < 1e-6);
    /// # Ok::<(), netc::Error>(())
    /// ```
    ///
    /// # Errors
    /// When there is nothing to carry; when a layer reads its sequence backwards, and so needs the future; when a
    /// recurrence begins with a value of the network (`init = …`), which says for each call where it begins.
    pub fn set_carry(&mut self, carry: bool) -> Result<(), Error> {
        self.reset_state();
        self.states.carried = if carry { Some(entries::first_states(&self.network)?) } else { None };
        Ok(())
    }
    /// Whether [`Session::set_carry`] is on.
    pub fn carries(&self) -> bool {
        self.states.carries()
    }
    /// Lets every recurrence begin anew, and forgets what [`Session::begin`] has computed.
    pub fn reset_state(&mut self) {
        self.states.values.clear();
        self.states.stepping = None;
    }

    /// Begins to take one step at a time, for streams and for writing sequences: computes the first states of `batch`
    /// sequences from the inputs that are not sequences, and all else that [`Session::take_step`] needs. Outputs that no step
    /// changes are returned.
    ///
    /// The axis is that of the input which the file's `generate` block feeds, else the only one of the outputs, else the
    /// only one there is.
    ///
    /// # Errors
    /// When a layer cannot take one step at a time: it reads the sequence backwards, or needs all of it at once. When an
    /// input is missing or does not fit.
    pub fn begin(&mut self, batch: usize, inputs: &[(&str, TensorView<'_>)]) -> Result<Outputs, Error> {
        let axis = entries::step_axis(&self.network)?;
        self.begin_along(&axis, batch, inputs)
    }
    /// [`Session::begin`] along the axis of this name.
    ///
    /// # Errors
    /// As [`Session::begin`], and when there is no such axis.
    pub fn begin_along(
        &mut self,
        axis: &str,
        batch: usize,
        inputs: &[(&str, TensorView<'_>)],
    ) -> Result<Outputs, Error> {
        if !self.network.axes.iter().any(|known| known == axis) {
            return Err(entries::unknown_axis(&self.network, axis));
        }
        self.reset_state();
        for (name, _) in inputs {
            let is_stepped = |port: &&Port| port.name == *name && has_axis(port, axis);
            if self.network.ports.iter().any(|port| is_stepped(&port)) {
                let message = format!("`{name}` has the axis `{axis}`: give it to `take_step`, one step at a time");
                return Err(Error::Input(message));
            }
            if *name == axis {
                return Err(Error::Input(format!("steps along `{axis}` need no lengths: take as many as there are")));
            }
        }
        let ports = inputs_where(&self.network, |port| !has_axis(port, axis));
        let bound = bind(&self.network, &ports, inputs, Extents::with_batch(batch))?;
        let stepping =
            Stepping { axis: axis.to_owned(), has_lengths: bound.has_lengths, extents: bound.extents.clone() };
        let variant = stepping.variant(Entry::Begin);
        let outputs = self.run(&variant, bound)?;
        self.states.stepping = Some(stepping);
        Ok(outputs)
    }
    /// Takes one step: arrays of the inputs that have the axis, without it (`[batch, …]`; tokens `[batch]`), to outputs
    /// without it. An output that is no sequence is what the steps so far have come to.
    ///
    /// # Examples
    /// ```
    /// use ndarray::{Array2, array};
    /// # use netc::{Session, SessionOptions};
    /// let network = netc::check_source("m.net", "net m {\n  input x[T, 2]\n  dense(3)\n}")?;
    /// let mut session = Session::new(network, &SessionOptions { threads: 1, seed: 0 });
    /// session.begin(1, &[])?;
    /// let x: Array2<f32> = array![[1.0, 2.0]];
    /// let y = session.take_step(&[("x", x.view().into())])?;
    /// assert_eq!(y.get("output").unwrap().shape(), [1, 3]);
    /// # Ok::<(), netc::Error>(())
    /// ```
    ///
    /// # Errors
    /// Before [`Session::begin`], or when an input is missing or does not fit.
    pub fn take_step(&mut self, inputs: &[(&str, TensorView<'_>)]) -> Result<Outputs, Error> {
        let Some(stepping) = self.states.stepping.clone() else {
            return Err(Error::Input("call `begin` before the first step".to_owned()));
        };
        let axis = &stepping.axis;
        for (name, _) in inputs {
            if self.network.ports.iter().any(|port| port.name == *name && !port.is_target && !has_axis(port, axis)) {
                return Err(Error::Input(format!("`{name}` does not have the axis `{axis}`: give it to `begin`")));
            }
        }
        let mut ports = inputs_where(&self.network, |port| has_axis(port, axis));
        for port in &mut ports {
            port.ty.shape.retain(|dim| *dim != Dim::axis(axis));
        }
        let bound = bind(&self.network, &ports, inputs, stepping.extents.clone())?;
        self.run(&stepping.variant(Entry::Step), bound)
    }
    /// What is kept for the next step or call: `<layer>.<state>`, and as `begin.<layer>` what steps read of the inputs
    /// that are no sequences.
    pub fn states(&self) -> impl Iterator<Item = (&str, ArrayViewD<'_, f32>)> {
        self.states.values.iter().map(|(name, stored)| {
            let view = ArrayViewD::from_shape(IxDyn(&stored.shape), stored.values.as_slice());
            (name.as_str(), view.expect("as many values as its shape says"))
        })
    }
    /// Replaces a state: of a stepped network after [`Session::begin`], of a carried one at any time.
    ///
    /// # Errors
    /// When there is none of that name, or its shape is another.
    pub fn set_state(&mut self, name: &str, values: ArrayViewD<'_, f32>) -> Result<(), Error> {
        let shape = values.shape().to_vec();
        let states = &mut self.states;
        let first = states.carried.as_ref().and_then(|carried| carried.get(name));
        let fits = match (states.values.get(name), first) {
            (Some(stored), _) if states.stepping.is_some() => stored.shape == shape,
            // The batch may be another.
            (_, Some(first)) => {
                let pairs = first.ty.shape.iter().zip(&shape);
                first.ty.rank() == shape.len()
                    && pairs.into_iter().all(|(dim, &n)| dim.as_fixed().is_none_or(|m| m == n))
            }
            (Some(stored), None) => stored.shape == shape,
            (None, None) => {
                let names: Vec<&str> = states.values.keys().map(String::as_str).collect();
                let known = if names.is_empty() { "none".to_owned() } else { format!("`{}`", names.join("`, `")) };
                return Err(Error::Input(format!("there is no state `{name}`; kept are {known}")));
            }
        };
        if !fits {
            let expected = match (states.values.get(name), first) {
                (Some(stored), _) => format!("{:?}", stored.shape),
                (None, first) => first.map_or(String::new(), |first| show_shape(&first.ty.shape)),
            };
            return Err(Error::Input(format!("the state `{name}` has shape {expected}, not {shape:?}")));
        }
        let mut stored = Stored { values: Values::zeroed(values.len()), shape };
        stored.values.as_mut_slice().iter_mut().zip(&values).for_each(|(to, from)| *to = *from);
        states.values.insert(name.to_owned(), stored);
        Ok(())
    }
}

impl Stepping {
    fn variant(&self, entry: Entry) -> Variant {
        Variant { masked: self.has_lengths, axis: Some(self.axis.clone()), ..Variant::from(entry) }
    }
}

fn has_axis(port: &Port, axis: &str) -> bool {
    let symbol = Symbol::Axis(axis.into());
    port.ty.shape.iter().any(|dim| dim.symbols().contains(&symbol))
}

fn inputs_where(network: &Network, takes: impl Fn(&Port) -> bool) -> Vec<Port> {
    network.ports.iter().filter(|port| !port.is_target && takes(port)).cloned().collect()
}
