//! A compiled network, ready to make instances of.
#![expect(unsafe_code, reason = "an object file holds addresses")]

use std::sync::Arc;

use super::check;
use super::description::{Description, Size, Symbol, Task};
use super::error::{Error, Status, ensure};
use super::raw::{self, Artifact, Functions};
use crate::kernels::cpu;

/// A compiled network: its description and the code for this processor. Cheap to clone; all instances share it.
#[derive(Clone, Debug)]
pub struct Network {
    pub(super) description: Arc<Description>,
    /// One for each entry.
    pub(super) functions: &'static [Functions],
    /// Weights as safetensors.
    pub(super) weights: Option<&'static [u8]>,
}

// SAFETY: functions and weights are constants of the program.
unsafe impl Send for Network {}
// SAFETY: as above.
unsafe impl Sync for Network {}

/// What an instance may be asked for: bits of `NET_TASK_…`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tasks(pub u32);

impl Tasks {
    /// All that the network was compiled for.
    pub const ALL: Tasks = Tasks(0);
    pub const FORWARD: Tasks = Tasks(1);
    pub const EVALUATE: Tasks = Tasks(2);
    pub const TRAIN_STEP: Tasks = Tasks(4);
    /// Begin, and single steps.
    pub const STEP: Tasks = Tasks(8);

    /// Both.
    #[must_use]
    pub fn and(self, other: Tasks) -> Tasks {
        Tasks(self.0 | other.0)
    }
    pub(super) fn have(self, task: &Task) -> bool {
        self.0 == 0 || self.0 & Tasks::of(task).0 != 0
    }
    pub(super) fn of(task: &Task) -> Tasks {
        match task {
            Task::Forward => Tasks::FORWARD,
            Task::Evaluate => Tasks::EVALUATE,
            Task::TrainStep => Tasks::TRAIN_STEP,
            Task::Begin | Task::Step => Tasks::STEP,
        }
    }
}

/// How an instance is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The most members that the batch of a call may have.
    pub batch: usize,
    /// The most steps that a call may have along each axis, in the order of the file.
    pub steps: Vec<usize>,
    /// Threads that share the work. Results never depend on it.
    pub threads: usize,
    /// Of initial values and dropout.
    pub seed: u64,
    pub tasks: Tasks,
}

impl Network {
    /// The network of an object file.
    ///
    /// # Errors
    /// When the description is damaged or of another version, or there is no code for this processor.
    ///
    /// # Safety
    /// The artifact and all that it points to are what the compiler has written, and stay as they are.
    pub unsafe fn new(artifact: *const Artifact) -> Result<Network, Error> {
        ensure!(!artifact.is_null(), InvalidArgument, "the network is NULL");
        // SAFETY: promised by the caller.
        let artifact = unsafe { &*artifact };
        let bytes = |start: *const u8, len: u64| match start.is_null() {
            true => &[],
            // SAFETY: promised by the caller.
            false => unsafe { std::slice::from_raw_parts(start, len as usize) },
        };
        let description = Description::from_bytes(bytes(artifact.description, artifact.description_len))
            .filter(check::is_sound)
            .ok_or_else(|| Error::new(Status::Incompatible, "the network was compiled by another version of netc"))?;
        let entries = description.entries.len();
        let cpu = cpu::cpu();
        // SAFETY: promised by the caller: there are so many variants.
        let mut needs = (0..artifact.variants as usize).map(|variant| unsafe { *artifact.needs.add(variant) });
        let variant = needs.position(|needs| raw::suits(needs, cpu));
        let variant = variant.ok_or_else(|| {
            let message = format!("the network has no code that goes with the instructions {cpu:?} of this processor");
            Error::new(Status::Incompatible, message)
        })?;
        let functions = match entries {
            0 => &[][..],
            // SAFETY: promised by the caller: there are as many for each variant as entries.
            _ => unsafe { std::slice::from_raw_parts(artifact.functions.add(variant * entries), entries) },
        };
        let weights = bytes(artifact.weights, artifact.weights_len);
        Ok(Network {
            description: Arc::new(description),
            functions,
            weights: (!artifact.weights.is_null()).then_some(weights),
        })
    }

    /// What the network says of itself.
    pub fn description(&self) -> &Description {
        &self.description
    }
    /// Whether weights were compiled in.
    pub fn has_weights(&self) -> bool {
        self.weights.is_some()
    }
    /// A batch of 1, sequences of no steps, one thread, the seed of the network's file, all tasks.
    pub fn options(&self) -> Options {
        let Description { axes, seed, .. } = &*self.description;
        Options { batch: 1, steps: vec![0; axes.len()], threads: 1, seed: *seed, tasks: Tasks::ALL }
    }
}

impl Description {
    /// The size as the network's author would write it, `B` being the batch: `3*T*B`.
    pub fn show(&self, size: &Size) -> String {
        let symbols: Vec<String> = size.symbols.iter().map(|&symbol| self.show_symbol(symbol)).collect();
        match (size.factor, symbols.is_empty()) {
            (factor, true) => factor.to_string(),
            (1, false) => symbols.join("*"),
            (factor, false) => format!("{factor}*{}", symbols.join("*")),
        }
    }
    /// A shape as the network's author would write it: `[B, 3, T]`.
    pub fn show_shape(&self, shape: &[Size]) -> String {
        let sizes: Vec<String> = shape.iter().map(|size| self.show(size)).collect();
        format!("[{}]", sizes.join(", "))
    }
    fn show_symbol(&self, symbol: u32) -> String {
        match &self.symbols[symbol as usize] {
            Symbol::Batch => "B".to_owned(),
            Symbol::Axis { index } => self.axes[*index as usize].clone(),
            Symbol::Derived { of, add, div } => format!("floor(({} + {add})/{div})", self.show(of)),
        }
    }
}
