//! Calls of an instance with arrays of Rust.
#![expect(unsafe_code, reason = "arrays become addresses once their lengths were checked")]

use std::ffi::c_void;

use super::call::{Arguments, none};
use super::description::{Element, Port, Role, Size, Source, Task};
use super::error::{Error, Status, ensure};
use super::instance::Instance;
use super::layout::elements;

/// How large the arrays of a call are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes<'a> {
    /// Members of the batch.
    pub batch: usize,
    /// In the order of the file.
    pub axes: &'a [Steps<'a>],
}

/// How long sequences are along an axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps<'a> {
    /// As long as the arrays.
    pub steps: usize,
    /// Of each member of the batch, from 0 to `steps`; `None` when all are as long as the arrays.
    pub lengths: Option<&'a [i32]>,
}

/// An array of the caller, row-major, with the batch as its first axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Array<'a> {
    F32(&'a [f32]),
    /// Tokens.
    I32(&'a [i32]),
}

impl<'a> From<&'a [f32]> for Array<'a> {
    fn from(values: &'a [f32]) -> Self {
        Array::F32(values)
    }
}

impl<'a> From<&'a [i32]> for Array<'a> {
    fn from(values: &'a [i32]) -> Self {
        Array::I32(values)
    }
}

impl Array<'_> {
    fn len(&self) -> usize {
        match self {
            Array::F32(values) => values.len(),
            Array::I32(values) => values.len(),
        }
    }
    fn element(&self) -> Element {
        match self {
            Array::F32(_) => Element::F32,
            Array::I32(_) => Element::I32,
        }
    }
    fn address(&self) -> *const c_void {
        match self {
            Array::F32(values) => values.as_ptr().cast(),
            Array::I32(values) => values.as_ptr().cast(),
        }
    }
}

/// What a call says beside its outputs. Means over the batch.
#[derive(Debug, Default)]
pub struct Figures<'a> {
    pub loss: f32,
    /// One for each metric, or fewer if nobody wants the others.
    pub metrics: &'a mut [f32],
}

impl Instance {
    /// Inputs to outputs, all in the order of the file. An array that the call does not read or write may be empty, as may an
    /// output that nobody wants, unless it is the only one.
    ///
    /// # Errors
    /// When an array does not fit or a size is larger than the instance was made for.
    pub fn forward(
        &mut self,
        sizes: &Sizes<'_>,
        inputs: &[Array<'_>],
        outputs: &mut [&mut [f32]],
    ) -> Result<(), Error> {
        self.call(Task::Forward, sizes, inputs, &[], outputs, &mut Figures::default())
    }
    /// Inputs and targets to outputs, loss and metrics, as the network infers.
    ///
    /// # Errors
    /// As [`Instance::forward`].
    pub fn evaluate(
        &mut self,
        sizes: &Sizes<'_>,
        inputs: &[Array<'_>],
        targets: &[Array<'_>],
        outputs: &mut [&mut [f32]],
        figures: &mut Figures<'_>,
    ) -> Result<(), Error> {
        self.call(Task::Evaluate, sizes, inputs, targets, outputs, figures)
    }
    /// One step of the optimizer on one batch; the loss and metrics are those before it.
    ///
    /// # Errors
    /// As [`Instance::forward`].
    pub fn train_step(
        &mut self,
        sizes: &Sizes<'_>,
        inputs: &[Array<'_>],
        targets: &[Array<'_>],
        figures: &mut Figures<'_>,
    ) -> Result<(), Error> {
        self.call(Task::TrainStep, sizes, inputs, targets, &mut [], figures)
    }
    /// Begins to take one step at a time: computes the first states from the inputs that do not have the stepped axis.
    /// Arrays of the others may be empty, and so may be `inputs` when there are no others.
    ///
    /// # Errors
    /// As [`Instance::forward`].
    pub fn begin(&mut self, sizes: &Sizes<'_>, inputs: &[Array<'_>], outputs: &mut [&mut [f32]]) -> Result<(), Error> {
        self.call(Task::Begin, sizes, inputs, &[], outputs, &mut Figures::default())
    }
    /// One step: inputs that have the stepped axis, without it, to outputs without it.
    ///
    /// # Errors
    /// As [`Instance::forward`], and before [`Instance::begin`].
    pub fn step(&mut self, inputs: &[Array<'_>], outputs: &mut [&mut [f32]]) -> Result<(), Error> {
        self.call(Task::Step, &Sizes::default(), inputs, &[], outputs, &mut Figures::default())
    }
    /// [`Instance::step`] of the caller's own states, one array for each of [`Instance::states`], which are replaced: so
    /// one instance serves many sequences. States of [`Instance::begin`] are what they begin with.
    ///
    /// # Errors
    /// As [`Instance::step`], and when a state has another size.
    pub fn step_with(
        &mut self,
        states: &mut [&mut [f32]],
        inputs: &[Array<'_>],
        outputs: &mut [&mut [f32]],
    ) -> Result<(), Error> {
        ensure!(self.stepping.is_some(), NotBegun, "call `begin` before the first step");
        let (known, given) = (self.states.len(), states.len());
        ensure!(known == given, InvalidArgument, "the network has {known} states, and {given} were given");
        for (state, values) in self.states.iter().zip(states.iter()) {
            let (name, len) = (&state.name, elements(&state.shape, &self.stepping_values));
            let found = values.len();
            ensure!(found as u64 == len, InvalidArgument, "the state `{name}` has {len} values, not {found}");
        }
        let pointers = as_pointers(states);
        let states: &dyn Fn(usize) -> *mut f32 = &|at| pointers.get(at);
        self.call_with(Some(states), Task::Step, &Sizes::default(), [inputs, &[]], outputs, &mut Figures::default())
    }

    fn call(
        &mut self,
        task: Task,
        sizes: &Sizes<'_>,
        inputs: &[Array<'_>],
        targets: &[Array<'_>],
        outputs: &mut [&mut [f32]],
        figures: &mut Figures<'_>,
    ) -> Result<(), Error> {
        self.call_with(None, task, sizes, [inputs, targets], outputs, figures)
    }
    fn call_with(
        &mut self,
        states: Option<&dyn Fn(usize) -> *mut f32>,
        task: Task,
        sizes: &Sizes<'_>,
        [inputs, targets]: [&[Array<'_>]; 2],
        outputs: &mut [&mut [f32]],
        figures: &mut Figures<'_>,
    ) -> Result<(), Error> {
        let n = self.description().ports.iter().take_while(|port| !port.is_target).count();
        self.check_outputs(task.clone(), sizes, inputs, targets, outputs)?;
        let port = |at: usize| {
            let array = if at < n { inputs.get(at) } else { targets.get(at - n) };
            array.filter(|array| array.len() > 0).map_or(std::ptr::null(), Array::address)
        };
        let roles = self.network.clone();
        let outputs = as_pointers(outputs);
        let (loss, metrics) = (&raw mut figures.loss, as_pointer(figures.metrics));
        let result = |at: usize| -> *mut c_void {
            let results = &roles.description.results;
            let before = results[..at].iter().filter(|other| other.role == results[at].role).count();
            match results[at].role {
                Role::Output => outputs.get(before).cast(),
                Role::Loss => loss.cast(),
                Role::Metric if before < metrics.1 => metrics.0.wrapping_add(before).cast(),
                Role::Metric => none(at),
            }
        };
        let axis = |at: usize| {
            let Some(steps) = sizes.axes.get(at) else { return (0, std::ptr::null()) };
            (steps.steps, steps.lengths.map_or(std::ptr::null(), <[i32]>::as_ptr))
        };
        let arguments = Arguments { batch: sizes.batch, axis: &axis, port: &port, result: &result, states };
        // SAFETY: all arrays were checked to be as long as the sizes say, and are borrowed.
        unsafe { self.run(task, &arguments) }
    }

    /// Arrays that the task touches are as long as the sizes say.
    fn check_outputs(
        &mut self,
        task: Task,
        sizes: &Sizes<'_>,
        inputs: &[Array<'_>],
        targets: &[Array<'_>],
        outputs: &[&mut [f32]],
    ) -> Result<(), Error> {
        let network = self.network.clone();
        let d = &*network.description;
        if task == Task::Step {
            ensure!(self.stepping.is_some(), NotBegun, "call `begin` before the first step");
            self.values.copy_from_slice(&self.stepping_values);
        } else {
            let steps = |axis: usize| sizes.axes.get(axis).map_or(0, |steps| steps.steps as u64);
            d.eval_symbols(sizes.batch as u64, steps, &mut self.values);
        }
        for (steps, name) in sizes.axes.iter().zip(&d.axes) {
            let lengths = steps.lengths.map_or(sizes.batch, <[i32]>::len);
            ensure!(lengths == sizes.batch, InvalidArgument, "the lengths `{name}` are {lengths}, not {}", sizes.batch);
        }
        let n = d.ports.iter().take_while(|port| !port.is_target).count();
        // Variants of an entry have the same ports and results.
        let entries =
            d.entries.iter().zip(&self.entries).filter(|(entry, there)| entry.task == task && there.is_some());
        for (entry, slot) in entries.flat_map(|(entry, _)| entry.slots.iter().map(move |slot| (entry, slot))) {
            let len = entry.buffers[slot.buffer as usize].len.eval(&self.values);
            match slot.source {
                Source::Port { index } => {
                    let at = index as usize;
                    let array = if at < n { inputs.get(at) } else { targets.get(at - n) };
                    array.map_or(Ok(()), |array| check_array(&d.ports[at], array, len))?;
                }
                Source::Result { index } => {
                    let result = &d.results[index as usize];
                    let before = d.results[..index as usize].iter().filter(|other| other.role == Role::Output).count();
                    let array = outputs.get(before).filter(|array| result.role == Role::Output && !array.is_empty());
                    let (name, found) = (&result.name, array.map_or(len, |array| array.len() as u64));
                    ensure!(found == len, InvalidArgument, "the output `{name}` has {len} values, not {found}");
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The sizes of an array's axes for a call.
    pub fn shape(&self, shape: &[Size], sizes: &Sizes<'_>) -> Vec<usize> {
        let d = self.description();
        let mut values = vec![0; d.symbols.len()];
        let steps = |axis: usize| sizes.axes.get(axis).map_or(0, |steps| steps.steps as u64);
        d.eval_symbols(sizes.batch as u64, steps, &mut values);
        shape.iter().map(|size| size.eval(&values) as usize).collect()
    }
}

fn check_array(port: &Port, array: &Array<'_>, len: u64) -> Result<(), Error> {
    let (name, found) = (&port.name, array.len());
    if port.element != array.element() && found > 0 {
        let expected = if port.element == Element::F32 { "numbers (f32)" } else { "tokens (i32)" };
        return Err(Error::new(Status::InvalidArgument, format!("`{name}` takes {expected}")));
    }
    ensure!(found as u64 == len, InvalidArgument, "`{name}` has {len} values, not {found}");
    Ok(())
}

/// Where arrays are, while they are borrowed.
struct Pointers<'a> {
    arrays: *mut &'a mut [f32],
    len: usize,
}

impl Pointers<'_> {
    /// Null when there is none, or it is empty.
    fn get(&self, at: usize) -> *mut f32 {
        if at >= self.len {
            return std::ptr::null_mut();
        }
        // SAFETY: one of the arrays of the slice, which is borrowed as long.
        let array = unsafe { &mut *self.arrays.add(at) };
        if array.is_empty() { std::ptr::null_mut() } else { array.as_mut_ptr() }
    }
}

fn as_pointers<'a>(arrays: &mut [&'a mut [f32]]) -> Pointers<'a> {
    Pointers { arrays: arrays.as_mut_ptr(), len: arrays.len() }
}

fn as_pointer(values: &mut [f32]) -> (*mut f32, usize) {
    (values.as_mut_ptr(), values.len())
}
