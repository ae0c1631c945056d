//! A compiled network with its parameters and states: run it, train it, save and load it.

mod flow;
mod generate;
mod inputs;
mod loaded;
mod memory;
mod profile;
mod shelf;
mod states;
mod steps;
mod tensor;
mod weights;

use std::collections::BTreeMap;
use std::fmt;

use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD, IxDyn};
use netc_runtime::Pool;

pub use flow::{GradientFlow, StateFlow};
pub use generate::Generator;
pub use profile::{Phase, Profile, StepProfile};
pub use tensor::{Element, TensorView};
pub use weights::read_notes;

use crate::data::Weights;
use crate::entries;
use crate::error::Error;
use crate::graph::OutputRole;
use crate::network::{Network, Parameter};
use crate::pipeline::{CompiledEntry, Entry, Observer, Variant, compile};
use crate::types::Extents;
use inputs::Bound;
use loaded::Loaded;
use memory::{Aligned, Values};
use shelf::Shelf;
use states::States;

/// How a session is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOptions {
    /// Threads that share the work. Results never depend on it.
    pub threads: usize,
    /// Of initial values and dropout.
    pub seed: u64,
}

impl Default for SessionOptions {
    /// As many threads as the machine has cores, and the seed 0. The seed that the file asks for is
    /// `network.settings.seed`.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        SessionOptions { threads, seed: 0 }
    }
}

/// A network in machine code, its parameters, states and the optimizer's moments.
///
/// Each [`Entry`] is compiled when it is first used, in some tens of milliseconds; [`Session::compile`] does so earlier.
/// Arrays are handed in by the names of the inputs and targets, with the batch as their first axis: an input
/// `image[3, 224, 224]` takes an array of shape `[batch, 3, 224, 224]`, and a target `label: token(10)` one of shape
/// `[batch]` of `i32`. The batch may change from call to call.
///
/// An input with a sequence axis, `text[T]: token(65)`, takes an array of shape `[batch, T]`, whose length may change
/// from call to call, too. Members of a batch that are shorter say so with their lengths: an array of shape `[batch]` of
/// `i32` under the name of the axis, `("T", lengths)`. What stands in the array behind a member's length does not matter
/// then. Lengths change without compiling again, and 0 is one.
///
/// # Examples
/// ```
/// use ndarray::Array2;
/// use netc::{Session, SessionOptions};
///
/// let network = netc::check_source("mlp.net", "net mlp {\n  input x[4]\n  dense(2, relu)\n}")?;
/// let mut session = Session::new(network, &SessionOptions { threads: 1, seed: 7 });
/// for batch in [1, 5] {
///     let x = Array2::<f32>::ones((batch, 4));
///     let outputs = session.forward(&[("x", x.view().into())])?;
///     assert_eq!(outputs.get("output").unwrap().shape(), [batch, 2]);
/// }
/// let error = session.forward(&[]).unwrap_err();
/// assert_eq!(error.to_string(), "the input `x` of shape [B, 4], B being the batch, is missing");
/// # Ok::<(), netc::Error>(())
/// ```
pub struct Session {
    network: Network,
    pool: Pool,
    seed: u64,
    /// Training steps done.
    step: u64,
    learning_rate: f64,
    /// Parameters, states and moments, by name.
    tensors: BTreeMap<String, Stored>,
    /// Grows whenever a parameter or state changes, so that prepared values are made again.
    version: u64,
    entries: BTreeMap<Variant, Loaded>,
    /// What recurrences keep from call to call.
    states: States,
    workspace: Aligned,
    /// Arrays of earlier outputs, to be written again.
    shelf: Shelf,
}

#[derive(Debug)]
struct Stored {
    shape: Vec<usize>,
    values: Values,
}

/// What an entry computed. Arrays have the batch as their first axis; the loss and metrics are means over the batch.
///
/// When it is dropped, its arrays go back to the session, whose next call writes them again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outputs {
    values: Vec<(OutputRole, String, ArrayD<f32>)>,
    shelf: Shelf,
}

impl Drop for Outputs {
    fn drop(&mut self) {
        let arrays: Vec<ArrayD<f32>> = self.values.drain(..).map(|(_, _, array)| array).collect();
        if !arrays.is_empty() {
            self.shelf.put_back(arrays);
        }
    }
}

impl Outputs {
    /// The network's output of that name, `[batch, …]`; an output that has no name in the file is called `output`.
    pub fn get(&self, name: &str) -> Option<ArrayViewD<'_, f32>> {
        self.of(OutputRole::Output).find(|(known, _)| *known == name).map(|(_, array)| array)
    }
    /// The network's outputs in the order of the file.
    pub fn outputs(&self) -> impl Iterator<Item = (&str, ArrayViewD<'_, f32>)> {
        self.of(OutputRole::Output)
    }
    /// The network's output at this place in the file, from 0.
    pub fn at(&self, index: usize) -> Option<ArrayViewD<'_, f32>> {
        self.of(OutputRole::Output).nth(index).map(|(_, array)| array)
    }
    /// The network's output of that name as an array of one's own, without a copy.
    ///
    /// ```
    /// use netc::{Net, SessionOptions, inputs};
    /// let net = netc::Net::from_source("m.net", "net m {\n  input x[2]\n  y = dense(1)\n  output y\n}");
    /// let mut session = net.compile(&SessionOptions::default())?;
    /// let y = session.forward(inputs![ndarray::array![[1.0_f32, 2.0]]])?.take("y").unwrap();
    /// assert_eq!(y.shape(), [1, 1]);
    /// # Ok::<(), netc::Error>(())
    /// ```
    pub fn take(mut self, name: &str) -> Option<ArrayD<f32>> {
        let at = self.values.iter().position(|(role, known, _)| *role == OutputRole::Output && known == name)?;
        Some(self.values.swap_remove(at).2)
    }
    /// The mean loss over the batch; `None` after [`Session::forward`].
    pub fn loss(&self) -> Option<f32> {
        self.of(OutputRole::Loss).next().and_then(|(_, array)| array.first().copied())
    }
    /// Metrics by name, each the mean over the batch.
    pub fn metrics(&self) -> impl Iterator<Item = (&str, f32)> {
        self.of(OutputRole::Metric).map(|(name, array)| (name, array.first().copied().unwrap_or(f32::NAN)))
    }
    /// The gradient of the loss with respect to each parameter, by path and in the parameter's shape; only after
    /// [`Session::gradients`].
    pub fn gradients(&self) -> impl Iterator<Item = (&str, ArrayViewD<'_, f32>)> {
        self.of(OutputRole::Gradient)
    }
    fn of(&self, role: OutputRole) -> impl Iterator<Item = (&str, ArrayViewD<'_, f32>)> {
        let of_role = self.values.iter().filter(move |(known, ..)| *known == role);
        of_role.map(|(_, name, array)| (name.as_str(), array.view()))
    }
}

impl Session {
    /// Allocates parameters and states and gives them their initial values.
    pub fn new(network: Network, options: &SessionOptions) -> Self {
        let mut session = Session::allocate(network, options);
        for parameter in &session.network.parameters {
            let stored = session.tensors.get_mut(&parameter.path).expect("allocated");
            let values = stored.values.as_mut_slice();
            let Parameter { path, shape, initial, .. } = parameter;
            netc_runtime::initial::fill(path, shape, initial, options.seed, values, options.threads);
        }
        session
    }
    /// A session with saved parameters and states, and the moments and the step where the bytes have them.
    ///
    /// # Errors
    /// As [`Session::load_safetensors`].
    pub fn with_weights(network: Network, options: &SessionOptions, bytes: &[u8]) -> Result<Self, Error> {
        let mut session = Session::allocate(network, options);
        session.load_safetensors(bytes)?;
        Ok(session)
    }
    /// As [`Session::with_weights`], with the bytes of a file, of which the session reads what it needs where it lies:
    /// see [`Weights`] for what that asks of the file.
    ///
    /// # Errors
    /// As [`Session::load_safetensors`].
    pub fn with_weights_file(network: Network, options: &SessionOptions, weights: &Weights) -> Result<Self, Error> {
        let mut session = Session::allocate(network, options);
        session.load_weights(weights)?;
        Ok(session)
    }
    /// Parameters are 0, states have their initial values.
    fn allocate(network: Network, options: &SessionOptions) -> Self {
        let mut session = Session {
            learning_rate: network.settings.optimizer.lr(),
            pool: Pool::new(options.threads.max(1)),
            seed: options.seed,
            step: 0,
            tensors: BTreeMap::new(),
            version: 1,
            entries: BTreeMap::new(),
            states: States::default(),
            workspace: Aligned::default(),
            shelf: Shelf::default(),
            network,
        };
        for parameter in &session.network.parameters {
            let values = Values::zeroed(parameter.shape.iter().product());
            session.tensors.insert(parameter.path.clone(), Stored { shape: parameter.shape.clone(), values });
        }
        for state in &session.network.states {
            let mut values = Values::zeroed(state.shape.iter().product());
            values.as_mut_slice().fill(state.initial as f32);
            session.tensors.insert(state.path.clone(), Stored { shape: state.shape.clone(), values });
        }
        session
    }

    /// The network that it runs.
    pub fn network(&self) -> &Network {
        &self.network
    }
    /// The seed of the initial values and of dropout.
    pub fn seed(&self) -> u64 {
        self.seed
    }
    /// Threads that share the work.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }
    /// Training steps done so far.
    pub fn step(&self) -> u64 {
        self.step
    }
    /// Goes back to before the first step, with the parameters and states as they are.
    pub fn forget_training(&mut self) {
        self.step = 0;
        for (name, stored) in &mut self.tensors {
            if name.starts_with("optimizer.") {
                stored.values = Values::zeroed(stored.values.len());
            }
        }
    }
    /// The rate of the next training step; at first the optimizer's, without the schedule that [`crate::fit`] follows.
    pub fn learning_rate(&self) -> f64 {
        self.learning_rate
    }
    /// The rate of the next training steps.
    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        self.learning_rate = learning_rate;
    }
    /// Parameters by path, then states, in the order of the network.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, ArrayViewD<'_, f32>)> {
        let parameters = self.network.parameters.iter().map(|parameter| parameter.path.as_str());
        let states = self.network.states.iter().map(|state| state.path.as_str());
        parameters.chain(states).map(|path| (path, self.tensor(path)))
    }
    /// The values of a parameter or state.
    pub fn parameter(&self, path: &str) -> Option<ArrayViewD<'_, f32>> {
        self.tensors.contains_key(path).then(|| self.tensor(path))
    }
    /// Replaces a parameter or state.
    ///
    /// ```
    /// # use netc::{Session, SessionOptions};
    /// # let network = netc::check_source("m.net", "net m {\n  input x[2]\n  y = dense(1)\n}")?;
    /// # let mut session = Session::new(network, &SessionOptions { threads: 1, seed: 0 });
    /// session.set_parameter("y.weight", ndarray::array![[1.0, 2.0]].into_dyn().view())?;
    /// assert_eq!(session.parameter("y.weight").unwrap().sum(), 3.0);
    /// # Ok::<(), netc::Error>(())
    /// ```
    ///
    /// # Errors
    /// When there is none of that path, or its shape is another.
    pub fn set_parameter(&mut self, path: &str, values: ArrayViewD<'_, f32>) -> Result<(), Error> {
        let Some(stored) = self.tensors.get_mut(path) else {
            return Err(Error::Weights(format!("the network has no parameter `{path}`")));
        };
        if stored.shape != values.shape() {
            let (expected, found) = (&stored.shape, values.shape());
            return Err(Error::Weights(format!("`{path}` has shape {expected:?}, not {found:?}")));
        }
        stored.values.as_mut_slice().iter_mut().zip(&values).for_each(|(to, from)| *to = *from);
        self.version += 1;
        Ok(())
    }
    fn tensor(&self, path: &str) -> ArrayViewD<'_, f32> {
        let stored = &self.tensors[path];
        ArrayViewD::from_shape(IxDyn(&stored.shape), stored.values.as_slice())
            .expect("as many values as its shape says")
    }

    /// Compiles an entry now rather than when it is first used: without lengths, and with carried states if
    /// [`Session::set_carry`] asks for them.
    ///
    /// # Errors
    /// When the network lacks what the entry needs: a loss, or for [`Entry::Begin`] and [`Entry::Step`] layers that can
    /// take one step at a time.
    pub fn compile(&mut self, entry: Entry, observer: &mut dyn Observer) -> Result<&CompiledEntry, Error> {
        let variant = self.variant(entry, false);
        self.compile_variant(&variant, observer)
    }
    fn variant(&self, entry: Entry, masked: bool) -> Variant {
        let carried = self.states.carries() && !matches!(entry, Entry::Begin | Entry::Step);
        Variant { masked, carried, ..Variant::from(entry) }
    }
    fn compile_variant(&mut self, variant: &Variant, observer: &mut dyn Observer) -> Result<&CompiledEntry, Error> {
        if !self.entries.contains_key(variant) {
            entries::check(&self.network, variant)?;
            let compiled = compile(&self.network, variant.clone(), observer);
            self.add_moments(&compiled);
            self.entries.insert(variant.clone(), Loaded::new(compiled));
        }
        Ok(&self.entries[variant].compiled)
    }
    /// The optimizer's moments start at zero.
    fn add_moments(&mut self, compiled: &CompiledEntry) {
        use crate::ops::Role;
        use crate::schedule::SlotKind;
        for slot in &compiled.scheduled.slots {
            if slot.kind == SlotKind::Source(Role::Moment) && !self.tensors.contains_key(&slot.name) {
                let shape = slot.ty.eval(&Extents::default());
                let values = Values::zeroed(shape.iter().product());
                self.tensors.insert(slot.name.clone(), Stored { shape, values });
            }
        }
    }

    /// Inputs to outputs, as the network infers.
    ///
    /// # Errors
    /// When an input is missing or does not fit.
    pub fn forward(&mut self, inputs: &[(&str, TensorView<'_>)]) -> Result<Outputs, Error> {
        self.call(Entry::Forward, inputs)
    }
    /// As [`Session::forward`], with outputs written to arrays of the caller's, by name. An array in row-major order is
    /// written in place; outputs that no array is given for are returned.
    ///
    /// ```
    /// use ndarray::{Array2, array};
    /// use netc::{Net, SessionOptions, inputs};
    /// let net = Net::from_source("m.net", "net m {\n  input x[2]\n  y = dense(3)\n  output y\n}");
    /// let mut session = net.compile(&SessionOptions::default())?;
    /// let x = array![[1.0_f32, 2.0]];
    /// let mut y = Array2::zeros((1, 3));
    /// session.forward_into(inputs![x], &mut [("y", y.view_mut().into_dyn())])?;
    /// assert_eq!(y.into_dyn(), session.forward(inputs![x])?.take("y").unwrap());
    /// # Ok::<(), netc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Session::forward`], and when there is no output of a name, or its shape is another. Nothing is written then.
    pub fn forward_into(
        &mut self,
        inputs: &[(&str, TensorView<'_>)],
        outputs: &mut [(&str, ArrayViewMutD<'_, f32>)],
    ) -> Result<Outputs, Error> {
        let bound = inputs::bind(&self.network, &self.network.ports, inputs, Extents::default())?;
        let variant = self.variant(Entry::Forward, bound.has_lengths);
        self.run_into(&variant, bound, outputs)
    }
    /// Inputs and targets to outputs, loss and metrics, as the network infers.
    ///
    /// # Errors
    /// When an input or target is missing or does not fit, or there is no loss.
    pub fn evaluate(&mut self, inputs: &[(&str, TensorView<'_>)]) -> Result<Outputs, Error> {
        self.call(Entry::Evaluate, inputs)
    }
    /// The loss and its gradients, as the network trains; changes nothing.
    ///
    /// # Errors
    /// When an input or target is missing or does not fit, or there is no loss.
    pub fn gradients(&mut self, inputs: &[(&str, TensorView<'_>)]) -> Result<Outputs, Error> {
        self.call(Entry::Gradients, inputs)
    }
    /// One step of the optimizer on one batch, at [`Session::learning_rate`]; returns the loss and metrics before it.
    ///
    /// # Errors
    /// When an input or target is missing or does not fit, or there is no loss.
    pub fn train_step(&mut self, inputs: &[(&str, TensorView<'_>)]) -> Result<Outputs, Error> {
        let outputs = self.call(Entry::TrainStep, inputs)?;
        self.step += 1;
        self.version += 1;
        Ok(outputs)
    }

    fn call(&mut self, entry: Entry, inputs: &[(&str, TensorView<'_>)]) -> Result<Outputs, Error> {
        let bound = inputs::bind(&self.network, &self.network.ports, inputs, Extents::default())?;
        let variant = self.variant(entry, bound.has_lengths);
        self.run(&variant, bound)
    }
    fn run(&mut self, variant: &Variant, bound: Bound<'_>) -> Result<Outputs, Error> {
        self.run_into(variant, bound, &mut [])
    }
    fn run_into(
        &mut self,
        variant: &Variant,
        bound: Bound<'_>,
        into: &mut [(&str, ArrayViewMutD<'_, f32>)],
    ) -> Result<Outputs, Error> {
        self.compile_variant(variant, &mut ())?;
        let mut loaded = self.entries.remove(variant).expect("compiled above");
        let result = loaded.call(self, bound, into);
        self.entries.insert(variant.clone(), loaded);
        result
    }

    /// Bytes of scratch memory that the entry needs for a batch of this size, as planned.
    ///
    /// # Errors
    /// As [`Session::compile`].
    pub fn workspace_bytes(&mut self, entry: Entry, extents: &Extents) -> Result<usize, Error> {
        let compiled = self.compile(entry, &mut ())?;
        Ok(compiled.plan.place(&compiled.scheduled.program, extents).workspace_bytes)
    }
    /// [`Session::workspace_bytes`], and the most of them that are in use at a time: no plan takes less.
    ///
    /// # Errors
    /// As [`Session::compile`].
    pub fn workspace_least(&mut self, entry: Entry, extents: &Extents) -> Result<(usize, usize), Error> {
        let compiled = self.compile(entry, &mut ())?;
        let (program, plan) = (&compiled.scheduled.program, &compiled.plan);
        Ok((plan.place(program, extents).workspace_bytes, plan.largest_live(program, extents).0))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("network", &self.network.name).field("step", &self.step).finish_non_exhaustive()
    }
}
