//! One instance of a compiled network: its parameters, states and workspace.
#![expect(unsafe_code, reason = "arrays lie in one piece of memory")]

use std::ffi::c_void;
use std::fmt;
use std::ptr::NonNull;

use super::block::Block;
use super::description::{Description, Keeping, Source, Task};
use super::error::{Error, Status, ensure};
use super::layout::{EntryLayout, Layout, State, elements, lay_out};
use super::network::{Network, Options};
use super::prepared::PreparedFor;
use crate::initial;
use crate::scratch::Purpose;
use crate::threads::Pool;

/// A compiled network with its parameters, recurrent states and the optimizer's moments.
///
/// Everything is allocated when it is made: with one thread, no later call that succeeds allocates, locks or makes a
/// system call. An instance may move from thread to thread; several instances share nothing.
pub struct Instance {
    // Dropped before the memory that its threads work with.
    pub(super) pool: Pool,
    pub(super) network: Network,
    pub(super) limits: Options,
    pub(super) memory: Block,
    pub(super) layout: Layout,
    pub(super) entries: Vec<Option<Loaded>>,
    pub(super) states: Vec<State>,
    pub(super) kept: Vec<Kept>,
    /// Parameters and running statistics, by index into the description's tensors.
    pub(super) parameters: Vec<usize>,
    pub(super) carry: bool,
    pub(super) stepping: Option<Stepping>,
    /// The named sizes of the present call.
    pub(super) values: Vec<u64>,
    /// The named sizes of the steps.
    pub(super) stepping_values: Vec<u64>,
    /// Training steps done.
    pub(super) step: u64,
    pub(super) learning_rate: f64,
    /// Grows whenever a parameter changes, so that prepared values are made again.
    pub(super) version: u64,
    /// Read by generated code.
    pub(super) key: [u32; 2],
    pub(super) rates: [f32; 2],
}

/// One entry: its frame, and what its calls need to know.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) frame: Vec<u64>,
    /// The axes that it depends on.
    pub(super) axes: Vec<bool>,
    /// Of each slot that is a recurrent state, its index.
    pub(super) states: Vec<Option<usize>>,
    pub(super) layout: EntryLayout,
    /// The instance's version that `prepare` has seen, and what for.
    pub(super) prepared: u64,
    pub(super) prepared_for: PreparedFor,
}

/// What is known of a recurrent state's values; none when `len` is 0.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kept {
    pub(super) batch: u64,
    pub(super) len: usize,
}

/// What [`Instance::begin`] has settled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stepping {
    pub(super) batch: usize,
    pub(super) has_lengths: bool,
}

// SAFETY: addresses in frames are those of the instance's own memory.
unsafe impl Send for Instance {}

impl Instance {
    /// Bytes of memory that an instance takes, beside some kilobytes of bookkeeping.
    ///
    /// # Errors
    /// As [`Instance::new`].
    pub fn memory_bytes(network: &Network, options: &Options) -> Result<usize, Error> {
        Ok(lay_out(&network.description, &network.description.states(), options)?.bytes)
    }

    /// Allocates an instance and gives parameters the weights that were compiled in, or else their initial values.
    ///
    /// # Errors
    /// When the network was not compiled for a task, an axis has no length, or memory does not suffice.
    pub fn new(network: &Network, options: &Options) -> Result<Instance, Error> {
        Instance::within(network, options, Block::allocate)
    }

    /// [`Instance::new`] in the caller's memory of `size` bytes, aligned to 64.
    ///
    /// # Errors
    /// As [`Instance::new`], and when the memory is smaller than [`Instance::memory_bytes`].
    ///
    /// # Safety
    /// The memory outlives the instance, and nobody else uses it.
    pub unsafe fn new_in(
        network: &Network,
        options: &Options,
        memory: *mut c_void,
        size: usize,
    ) -> Result<Instance, Error> {
        // SAFETY: promised by the caller.
        Instance::within(network, options, |bytes| unsafe { Block::borrow(memory, size, bytes) })
    }

    fn within(
        network: &Network,
        options: &Options,
        block: impl FnOnce(usize) -> Result<Block, Error>,
    ) -> Result<Instance, Error> {
        let description = &*network.description;
        let states = description.states();
        let layout = lay_out(description, &states, options)?;
        let memory = block(layout.bytes)?;
        let mut pool = Pool::new(options.threads);
        for (scratch, pieces) in pool.scratch().iter().zip(&layout.scratch) {
            for (purpose, &(offset, len)) in Purpose::ALL.into_iter().zip(pieces) {
                let floats = memory.floats(offset, len);
                // SAFETY: the layout gives each purpose of each thread lines of its own; the pool is dropped before
                // the memory.
                unsafe { scratch.give(purpose, floats.cast(), len) };
            }
        }
        let entries = description.entries.iter().zip(&layout.entries).map(|(entry, layout)| {
            let layout = layout.clone()?;
            let mut frame = vec![0; 1 + entry.symbols.len() + entry.buffers.len()];
            for (word, offset) in frame[1 + entry.symbols.len()..].iter_mut().zip(&layout.buffers) {
                *word = offset.map_or(0, |offset| memory.address(offset));
            }
            let state_of = |source: &Source| match source {
                Source::Recurrent { name, .. } => states.iter().position(|state| state.name == *name),
                _ => None,
            };
            let states = entry.slots.iter().map(|slot| state_of(&slot.source)).collect();
            let prepared_for = PreparedFor::new(entry.prepared_rows.len());
            Some(Loaded { frame, axes: description.axes_of(entry), states, layout, prepared: 0, prepared_for })
        });
        let is_parameter = |&at: &usize| description.tensors[at].keeping != Keeping::Moment;
        let mut instance = Instance {
            entries: entries.collect(),
            kept: vec![Kept::default(); states.len()],
            parameters: (0..description.tensors.len()).filter(is_parameter).collect(),
            values: vec![0; description.symbols.len()],
            stepping_values: vec![0; description.symbols.len()],
            learning_rate: description.learning_rate,
            network: network.clone(),
            limits: options.clone(),
            pool,
            memory,
            layout,
            states,
            carry: false,
            stepping: None,
            step: 0,
            version: 1,
            key: [0; 2],
            rates: [0.0; 2],
        };
        instance.begin_anew()?;
        Ok(instance)
    }

    fn begin_anew(&mut self) -> Result<(), Error> {
        if let Some(weights) = self.network.weights {
            // Moments and running statistics that the weights lack begin as they do without weights.
            return self.load_memory(weights);
        }
        let network = self.network.clone();
        let (seed, threads) = (self.limits.seed, self.limits.threads);
        for (at, tensor) in network.description.tensors.iter().enumerate() {
            let shape: Vec<usize> = tensor.shape.iter().map(|&n| n as usize).collect();
            if let Some(values) = self.tensor_mut(at) {
                initial::fill(&tensor.path, &shape, &tensor.initial, seed, values, threads);
            }
        }
        Ok(())
    }

    /// The network that it runs.
    pub fn network(&self) -> &Network {
        &self.network
    }
    pub(super) fn description(&self) -> &Description {
        &self.network.description
    }
    /// The largest sizes that it was made for.
    pub fn options(&self) -> &Options {
        &self.limits
    }
    /// Training steps done, those of loaded weights included.
    pub fn steps_done(&self) -> u64 {
        self.step
    }
    /// Goes back to before the first training step, with the parameters as they are.
    pub fn forget_training(&mut self) {
        self.step = 0;
        for at in 0..self.layout.tensors.len() {
            if self.description().tensors[at].keeping == Keeping::Moment
                && let Some(values) = self.tensor_mut(at)
            {
                values.fill(0.0);
            }
        }
    }
    /// The rate of the next training step; at first the optimizer's.
    pub fn learning_rate(&self) -> f64 {
        self.learning_rate
    }
    /// The rate of the next training steps.
    ///
    /// # Errors
    /// When it is not finite.
    pub fn set_learning_rate(&mut self, rate: f64) -> Result<(), Error> {
        // No formatting of numbers: it would be as large as a kernel.
        ensure!(!rate.is_nan(), InvalidArgument, "a learning rate is a finite number, not NaN");
        ensure!(rate.is_finite(), InvalidArgument, "a learning rate is a finite number, not infinite");
        self.learning_rate = rate;
        Ok(())
    }

    /// The paths of parameters, then those of running statistics.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.parameters.iter().map(|&at| self.description().tensors[at].path.as_str())
    }
    /// The values of the parameter of this index, row-major.
    pub fn parameter(&self, index: usize) -> Option<&[f32]> {
        self.tensor(*self.parameters.get(index)?)
    }
    /// The values of the parameter of this index, row-major, to be changed.
    pub fn parameter_mut(&mut self, index: usize) -> Option<&mut [f32]> {
        self.parameters_changed();
        self.tensor_mut(*self.parameters.get(index)?)
    }
    /// Sees to it that what is made of parameters is made again at the next call.
    pub(super) fn parameters_changed(&mut self) {
        self.version += 1;
    }
    pub(super) fn tensor(&self, at: usize) -> Option<&[f32]> {
        // SAFETY: the layout gives each tensor floats of its own, zeroed at first.
        Some(unsafe { self.tensor_place(at)?.as_ref() })
    }
    pub(super) fn tensor_mut(&mut self, at: usize) -> Option<&mut [f32]> {
        // SAFETY: as above, and `self` is borrowed as long.
        Some(unsafe { self.tensor_place(at)?.as_mut() })
    }
    fn tensor_place(&self, at: usize) -> Option<NonNull<[f32]>> {
        let offset = self.layout.tensors[at]?;
        let len = self.description().tensors[at].shape.iter().product::<u64>() as usize;
        Some(self.memory.floats(offset, len))
    }

    /// The recurrent states, in the order of their indices.
    pub fn states(&self) -> &[State] {
        &self.states
    }
    /// The values of a recurrent state, with the batch of the last call; `None` when no call has left any.
    pub fn state(&self, index: usize) -> Option<&[f32]> {
        // SAFETY: the layout gives each state floats of its own, zeroed at first.
        Some(unsafe { self.state_place(index)?.as_ref() })
    }
    /// The values of a recurrent state, to be changed.
    pub fn state_mut(&mut self, index: usize) -> Option<&mut [f32]> {
        // SAFETY: as above, and `self` is borrowed as long.
        Some(unsafe { self.state_place(index)?.as_mut() })
    }
    /// Replaces a recurrent state by that of a batch, for [`Instance::step`] or a carried call: `[batch, …]`, row-major.
    ///
    /// # Errors
    /// When there is no such state, or not as many values as it has.
    pub fn set_state(&mut self, index: usize, batch: usize, values: &[f32]) -> Result<(), Error> {
        let (len, found) = (self.state_len(index, batch)?, values.len());
        let name = &self.states[index].name;
        ensure!(found == len, InvalidArgument, "the state `{name}` has {len} values, not {found}");
        let offset = self.layout.states[index].ok_or_else(|| {
            Error::new(Status::Unavailable, format!("the instance was not made for the state `{name}`"))
        })?;
        let mut place = self.memory.floats(offset, values.len());
        // SAFETY: the layout gives each state floats of its own.
        unsafe { place.as_mut() }.copy_from_slice(values);
        self.kept[index] = Kept { batch: batch as u64, len: values.len() };
        Ok(())
    }
    /// How many values a state has for a batch of this size.
    pub(super) fn state_len(&mut self, index: usize, batch: usize) -> Result<usize, Error> {
        let Some(state) = self.states.get(index) else {
            return Err(Error::new(Status::InvalidArgument, format!("there is no state {index}")));
        };
        let most = self.limits.batch;
        ensure!(batch >= 1 && batch <= most, InvalidArgument, "the batch is from 1 to {most}, not {batch}");
        let steps = &self.limits.steps;
        self.network.description.eval_symbols(batch as u64, |axis| steps[axis] as u64, &mut self.values);
        Ok(elements(&state.shape, &self.values) as usize)
    }
    fn state_place(&self, index: usize) -> Option<NonNull<[f32]>> {
        let kept = self.kept.get(index).filter(|kept| kept.len > 0)?;
        Some(self.memory.floats(self.layout.states[index]?, kept.len))
    }
    /// Lets every recurrence begin anew, and forgets [`Instance::begin`].
    pub fn reset(&mut self) {
        self.kept.fill(Kept::default());
        self.stepping = None;
    }
    /// Whether recurrences go on from call to call of [`Instance::forward`], [`Instance::evaluate`] and
    /// [`Instance::train_step`]; they begin anew here, after [`Instance::reset`], and at a batch of another size.
    ///
    /// # Errors
    /// When the network was not compiled for it.
    pub fn set_carry(&mut self, carry: bool) -> Result<(), Error> {
        let can =
            self.description().entries.iter().zip(&self.entries).any(|(entry, there)| entry.carried && there.is_some());
        ensure!(can || !carry, Unavailable, "the network was compiled without carried states");
        self.reset();
        self.carry = carry;
        Ok(())
    }

    /// The entry for a task; one that reads lengths does for calls without, too.
    pub(super) fn entry(&self, task: &Task, masked: bool, carried: bool) -> Result<usize, Error> {
        let find = |masked: bool| {
            self.description().entries.iter().zip(&self.entries).position(|(entry, there)| {
                there.is_some() && entry.task == *task && entry.masked == masked && entry.carried == carried
            })
        };
        if let Some(at) = find(masked).or_else(|| if masked { None } else { find(true) }) {
            return Ok(at);
        }
        let task = match task {
            Task::Forward => "forward",
            Task::Evaluate => "evaluate",
            Task::TrainStep => "train_step",
            Task::Begin => "begin",
            Task::Step => "step",
        };
        let with = if masked { ", with lengths" } else { "" };
        let carrying = if carried { ", with carried states" } else { "" };
        let message = format!("the network was not compiled, or the instance not made, for `{task}`{with}{carrying}");
        Err(Error::new(Status::Unavailable, message))
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.description().name;
        f.debug_struct("Instance").field("network", name).field("step", &self.step).finish_non_exhaustive()
    }
}
