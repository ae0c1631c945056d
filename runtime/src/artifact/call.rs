//! Calls of an instance: what the caller hands in is checked, then generated code runs.
#![expect(unsafe_code, reason = "generated code is called with a frame of addresses")]

use std::ffi::c_void;

use super::description::{Element, Entry, Slot, Source, Symbol, Task};
use super::error::{Error, Status, ensure};
use super::instance::{Instance, Kept, Stepping};
use super::layout::elements;

/// What a caller hands in. Null pointers stand for what is not given.
pub(super) struct Arguments<'a> {
    pub(super) batch: usize,
    /// The steps along an axis, and the lengths of the members.
    pub(super) axis: &'a dyn Fn(usize) -> (usize, *const i32),
    /// Inputs and targets, by index into the description's ports.
    pub(super) port: &'a dyn Fn(usize) -> *const c_void,
    /// By index into the description's results.
    pub(super) result: &'a dyn Fn(usize) -> *mut c_void,
    /// By index into the instance's states, when they are the caller's.
    pub(super) states: Option<&'a dyn Fn(usize) -> *mut f32>,
}

/// Nothing of one kind.
pub(super) fn none<T>(_: usize) -> *mut T {
    std::ptr::null_mut()
}

impl Instance {
    /// Carries out a task.
    ///
    /// # Safety
    /// Pointers that are not null are those of arrays as long as the sizes say, which nobody else uses.
    pub(super) unsafe fn run(&mut self, task: Task, call: &Arguments<'_>) -> Result<(), Error> {
        let n_axes = self.description().axes.len();
        let (batch, has_lengths) = match (&task, self.stepping) {
            (Task::Step, None) => return Err(Error::new(Status::NotBegun, "call `begin` before the first step")),
            (Task::Step, Some(Stepping { batch, has_lengths })) => (batch, has_lengths),
            (Task::Begin, _) => {
                // Of the axes that the beginning depends on; each step is one of the other.
                let at = self.entry(&task, false, false).or_else(|_| self.entry(&task, true, false))?;
                let used = self.entries[at].as_ref().map_or(&[][..], |loaded| &loaded.axes);
                (call.batch, (0..n_axes).any(|axis| used[axis] && !(call.axis)(axis).1.is_null()))
            }
            _ => (call.batch, (0..n_axes).any(|axis| !(call.axis)(axis).1.is_null())),
        };
        let carried = self.carry && !matches!(task, Task::Begin | Task::Step);
        let at = self.entry(&task, has_lengths, carried)?;
        let network = self.network.clone();
        let (description, entry) = (&*network.description, &network.description.entries[at]);

        if task == Task::Step {
            self.values.copy_from_slice(&self.stepping_values);
        } else {
            self.check_sizes(at, batch, call)?;
            description.eval_symbols(batch as u64, |axis| (call.axis)(axis).0 as u64, &mut self.values);
        }
        self.check_windows(entry)?;
        for number in 0..entry.slots.len() {
            // SAFETY: promised by the caller.
            unsafe { self.check_slot(at, entry, number, batch, call)? };
        }
        self.check_states(at, entry, batch, call)?;

        // Nothing fails from here on.
        if task == Task::Begin {
            self.reset();
        }
        self.key = [self.limits.seed as u32 ^ (self.limits.seed >> 32) as u32, self.step as u32];
        self.rates = [self.learning_rate as f32, (self.step + 1) as f32];
        for (number, slot) in entry.slots.iter().enumerate() {
            let address = self.address(at, number, slot, batch, call);
            let word = 1 + entry.symbols.len() + slot.buffer as usize;
            if let Some(loaded) = &mut self.entries[at] {
                loaded.frame[word] = address;
            }
        }
        let pool = (&raw const self.pool).expose_provenance() as u64;
        let (functions, version) = (network.functions[at], self.version);
        let Some(loaded) = &mut self.entries[at] else { return Ok(()) };
        loaded.frame[0] = pool;
        for (word, &symbol) in loaded.frame[1..].iter_mut().zip(&entry.symbols) {
            *word = self.values[symbol as usize];
        }
        let frame = loaded.frame.as_mut_ptr();
        let rows = entry.prepared_rows.iter().map(|rows| rows.eval(&self.values) as usize);
        let must_prepare = entry.prepares && loaded.prepared_for.lacks(rows, loaded.prepared != version);
        loaded.prepared = version;
        // SAFETY: word 0 is the instance's pool, which is used by this thread alone. Each slot's word is the address of
        // an array that was checked to be there, of the caller or in the instance's memory; the other buffers lie where
        // the layout keeps apart what is in use at the same time, at sizes no smaller than these. `&mut self` keeps
        // everyone else away.
        unsafe {
            if must_prepare {
                (functions.prepare)(frame);
            }
            (functions.run)(frame);
        }
        match task {
            Task::TrainStep => {
                self.step += 1;
                self.version += 1;
            }
            Task::Begin => {
                self.stepping = Some(Stepping { batch, has_lengths });
                self.stepping_values.copy_from_slice(&self.values);
            }
            Task::Forward | Task::Evaluate | Task::Step => {}
        }
        Ok(())
    }

    fn check_sizes(&self, at: usize, batch: usize, call: &Arguments<'_>) -> Result<(), Error> {
        let most = self.limits.batch;
        ensure!(batch >= 1 && batch <= most, InvalidArgument, "the batch is from 1 to {most}, not {batch}");
        let used = self.entries[at].as_ref().map_or(&[][..], |loaded| &loaded.axes);
        for (axis, name) in self.description().axes.iter().enumerate().filter(|(axis, _)| used[*axis]) {
            let ((steps, _), most) = ((call.axis)(axis), self.limits.steps[axis]);
            ensure!(steps <= most, InvalidArgument, "the axis `{name}` has at most {most} steps, not {steps}");
        }
        Ok(())
    }

    /// Every window along a sequence must find as many steps as it is long.
    fn check_windows(&self, entry: &Entry) -> Result<(), Error> {
        let d = self.description();
        for &symbol in &entry.symbols {
            let Symbol::Derived { of, add, div } = &d.symbols[symbol as usize] else { continue };
            let [of] = of.symbols[..] else { continue };
            let Symbol::Axis { index } = d.symbols[of as usize] else { continue };
            let (name, n, least) = (&d.axes[index as usize], self.values[of as usize], div - add);
            ensure!(
                self.values[symbol as usize] > 0,
                InvalidInput,
                "the sequence `{name}` has {n} steps, and a window of the network needs {least}"
            );
        }
        Ok(())
    }

    /// # Safety
    /// As for [`Instance::run`].
    unsafe fn check_slot(
        &self,
        at: usize,
        entry: &Entry,
        number: usize,
        batch: usize,
        call: &Arguments<'_>,
    ) -> Result<(), Error> {
        let (d, slot) = (self.description(), &entry.slots[number]);
        let len = entry.buffers[slot.buffer as usize].len.eval(&self.values) as usize;
        match slot.source {
            Source::Port { index } => {
                let port = &d.ports[index as usize];
                let (what, name) = (if port.is_target { "target" } else { "input" }, &port.name);
                let array = (call.port)(index as usize);
                if array.is_null() && len > 0 {
                    let shape = d.show_shape(&port.shape);
                    let message = format!("the {what} `{name}` of shape {shape}, B being the batch, is missing");
                    return Err(Error::new(Status::InvalidArgument, message));
                }
                let (Some(n), Element::I32, true) = (port.vocabulary, &port.element, len > 0) else { return Ok(()) };
                // SAFETY: the caller's array is as long as the sizes say.
                let tokens = unsafe { std::slice::from_raw_parts(array.cast::<i32>(), len) };
                let bad = tokens.iter().find(|&&token| u64::try_from(token).map_or(true, |token| token >= n));
                if let Some(token) = bad {
                    let last = n.saturating_sub(1);
                    let message = format!("`{name}` takes tokens from 0 to {last}, not {token}");
                    return Err(Error::new(Status::InvalidInput, message));
                }
            }
            Source::Lengths { axis } => {
                let ((steps, lengths), name) = ((call.axis)(axis as usize), &d.axes[axis as usize]);
                if lengths.is_null() {
                    return Ok(());
                }
                // SAFETY: the caller's lengths are one for each member.
                let lengths = unsafe { std::slice::from_raw_parts(lengths, batch) };
                let bad = lengths.iter().find(|&&length| usize::try_from(length).map_or(true, |n| n > steps));
                if let Some(length) = bad {
                    let message =
                        format!("the lengths `{name}` are from 0 to {steps}, as the arrays are long, not {length}");
                    return Err(Error::new(Status::InvalidInput, message));
                }
            }
            Source::Result { index } => {
                let can_lack = self.entries[at].as_ref().is_some_and(|loaded| loaded.layout.unwanted[number].is_some());
                let name = &d.results[index as usize].name;
                let given = can_lack || len == 0 || !(call.result)(index as usize).is_null();
                ensure!(given, InvalidArgument, "the output `{name}` has no array");
            }
            Source::Tensor { .. }
            | Source::Recurrent { .. }
            | Source::Key
            | Source::LearningRate
            | Source::StepNumber => {}
        }
        Ok(())
    }

    /// Steps go on with what is there; all else begins where states are not of this batch.
    fn check_states(&self, at: usize, entry: &Entry, batch: usize, call: &Arguments<'_>) -> Result<(), Error> {
        let Some(loaded) = &self.entries[at] else { return Ok(()) };
        for (slot, state) in entry.slots.iter().zip(&loaded.states) {
            let Some(state) = *state else { continue };
            let name = &self.states[state].name;
            if let Some(states) = call.states {
                ensure!(!states(state).is_null(), InvalidArgument, "the state `{name}` is missing");
            } else if entry.task == Task::Step {
                let kept = self.kept[state];
                let same = kept.batch == batch as u64 && kept.len as u64 == elements(&slot.shape, &self.values);
                ensure!(same, NotBegun, "the state `{name}` is not that of these steps: call `begin`");
            }
        }
        Ok(())
    }

    /// Where a slot's memory is, for a call that was checked.
    fn address(&mut self, at: usize, number: usize, slot: &Slot, batch: usize, call: &Arguments<'_>) -> u64 {
        let Some(loaded) = &self.entries[at] else { return 0 };
        match &slot.source {
            Source::Port { index } => (call.port)(*index as usize).expose_provenance() as u64,
            Source::Lengths { axis } => {
                let (steps, lengths) = (call.axis)(*axis as usize);
                if !lengths.is_null() {
                    return lengths.expose_provenance() as u64;
                }
                let offset = self.layout.lengths[*axis as usize];
                let mut own = self.memory.floats(offset, batch);
                // SAFETY: the layout has room for the largest batch.
                unsafe { own.as_mut() }.fill(f32::from_bits(steps as u32));
                self.memory.address(offset)
            }
            Source::Tensor { index } => self.layout.tensors[*index as usize].map_or(0, |at| self.memory.address(at)),
            Source::Recurrent { first, .. } => {
                let Some(state) = loaded.states[number] else { return 0 };
                if let Some(states) = call.states {
                    return states(state).expose_provenance() as u64;
                }
                let Some(offset) = self.layout.states[state] else { return 0 };
                let (batch, len) = (batch as u64, elements(&slot.shape, &self.values) as usize);
                let kept = &mut self.kept[state];
                if kept.batch != batch || kept.len != len {
                    *kept = Kept { batch, len };
                    let mut values = self.memory.floats(offset, len);
                    // SAFETY: the layout has room for the largest sizes.
                    unsafe { values.as_mut() }.fill(*first);
                }
                self.memory.address(offset)
            }
            Source::Key => (&raw mut self.key).expose_provenance() as u64,
            Source::LearningRate => (&raw mut self.rates[0]).expose_provenance() as u64,
            Source::StepNumber => (&raw mut self.rates[1]).expose_provenance() as u64,
            Source::Result { index } => match (call.result)(*index as usize) {
                array if array.is_null() => loaded.layout.unwanted[number].map_or(0, |at| self.memory.address(at)),
                array => array.expose_provenance() as u64,
            },
        }
    }
}
