//! Where the time of an entry goes: each of its steps on the clock.

use std::collections::BTreeSet;
use std::time::Instant;

use super::inputs::{Bound, bind};
use super::{Session, TensorView};
use crate::codegen::{self, CompiledProgram};
use crate::error::Error;
use crate::graph::OutputRole;
use crate::kernel::cost::{Cost, cost};
use crate::kernel::{Buffer, Mode, Program, Step};
use crate::ops::Role;
use crate::pipeline::{Entry, Variant};
use crate::schedule::{Scheduled, SlotKind};
use crate::types::Extents;

/// How long an entry and each of its steps takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Seconds of the whole entry, the median of its calls.
    pub seconds: f64,
    /// In the order in which they run.
    pub steps: Vec<StepProfile>,
}

/// One step of an entry: a loop nest, a library call or a recurrence.
#[derive(Debug, Clone, PartialEq)]
pub struct StepProfile {
    /// The path of the layer that asked for it; empty for what no layer did.
    pub layer: String,
    /// What it is a part of.
    pub phase: Phase,
    /// What it does: `matmul`, `conv`, `conv (Winograd)`, `loop`, `scan`, …; `scan (beside)` may go beside the scan before it.
    pub kind: &'static str,
    /// The median of its calls.
    pub seconds: f64,
    /// Multiplications and additions of products, as the direct algorithm does them, and other operations.
    pub operations: [f64; 2],
    /// Of what it reads and writes, each buffer once.
    pub bytes: f64,
}

/// A part of a training step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Outputs, loss and metrics; and what gradients need, where one loop computes both: a loss has its gradient with it.
    Forward,
    /// Gradients.
    Backward,
    /// The optimizer's step.
    Update,
}

/// The steps of an entry, each compiled by itself between the buffers of the whole.
pub(super) struct Parts {
    pub(super) programs: Vec<CompiledProgram>,
    /// Of each call, the seconds of each step.
    pub(super) seconds: Vec<Vec<f64>>,
    /// How the next call runs: step by step, or as a whole.
    pub(super) by_step: bool,
}

impl Session {
    /// Runs an entry `rounds` times as it is and as often step by step, on the clock. Parameters change as in as many
    /// training steps.
    ///
    /// # Errors
    /// As the entry itself.
    pub fn profile(
        &mut self,
        entry: Entry,
        inputs: &[(&str, TensorView<'_>)],
        rounds: usize,
    ) -> Result<Profile, Error> {
        let Bound { extents, has_lengths, .. } = bind(&self.network, &self.network.ports, inputs, Extents::default())?;
        let variant = self.variant(entry, has_lengths);
        let mut whole = Vec::new();
        // Compiled and warm.
        self.advance(entry, inputs)?;
        let loaded = self.entries.get_mut(&variant).expect("called above");
        let Scheduled { program, .. } = &loaded.compiled.scheduled;
        let parts = program.steps.iter().map(|step| {
            let part = Program { prepare: Vec::new(), steps: vec![step.clone()], ..program.clone() };
            codegen::compile(&part, "part")
        });
        loaded.parts = Some(Parts { programs: parts.collect(), seconds: Vec::new(), by_step: false });
        for round in 0..2 * rounds.max(1) {
            self.by_step(&variant, round % 2 == 1);
            let start = Instant::now();
            self.advance(entry, inputs)?;
            if round % 2 == 0 {
                whole.push(start.elapsed().as_secs_f64());
            }
        }
        let loaded = self.entries.get_mut(&variant).expect("called above");
        let parts = loaded.parts.take().expect("set above");
        let Scheduled { program, .. } = &loaded.compiled.scheduled;
        let forward = forward_steps(&loaded.compiled.scheduled);
        let steps = program.steps.iter().enumerate().map(|(at, step)| {
            let Cost { products, others, bytes } = cost(program, step, &extents);
            let (buffer, kind) = written(step);
            StepProfile {
                layer: buffer.map_or(String::new(), |buffer| layer_of(&loaded.compiled.scheduled, step, buffer)),
                phase: phase(&loaded.compiled.scheduled, step, forward.contains(&at)),
                kind,
                seconds: median(parts.seconds.iter().map(|call| call[at])),
                operations: [products, others],
                bytes,
            }
        });
        let steps = steps.collect();
        Ok(Profile { seconds: median(whole), steps })
    }
    /// Any entry, a training step with all that belongs to it.
    fn advance(&mut self, entry: Entry, inputs: &[(&str, TensorView<'_>)]) -> Result<(), Error> {
        match entry {
            Entry::TrainStep => self.train_step(inputs)?,
            Entry::Backward => self.backward(inputs)?,
            entry => self.call(entry, inputs)?,
        };
        Ok(())
    }
    fn by_step(&mut self, variant: &Variant, by_step: bool) {
        if let Some(parts) = self.entries.get_mut(variant).and_then(|loaded| loaded.parts.as_mut()) {
            parts.by_step = by_step;
        }
    }
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The steps that outputs, loss and metrics depend on.
fn forward_steps(scheduled: &Scheduled) -> BTreeSet<usize> {
    let is_result = |kind| matches!(kind, SlotKind::Output(OutputRole::Output | OutputRole::Loss | OutputRole::Metric));
    let results = scheduled.slots.iter().filter(|slot| is_result(slot.kind) && slot.name != "gradient_norm");
    let mut needed: BTreeSet<Buffer> = results.map(|slot| slot.buffer).collect();
    let mut steps = BTreeSet::new();
    for (at, step) in scheduled.program.steps.iter().enumerate().rev() {
        let (mut reads, mut is_needed) = (Vec::new(), false);
        step.for_each_access(&mut |access| match access.mode {
            Mode::Write => is_needed |= needed.contains(&access.buffer),
            Mode::Read => reads.push(access.buffer),
        });
        if is_needed {
            steps.insert(at);
            needed.extend(reads);
        }
    }
    steps
}

/// What a step writes in the first place, and what it is.
fn written(step: &Step) -> (Option<Buffer>, &'static str) {
    use crate::kernel::{Algorithm, Direction};
    match step {
        Step::Loop(kernel) => (kernel.stores.first().map(|store| store.buffer), "loop"),
        Step::MatMul(call) => (Some(call.c.buffer), "matmul"),
        Step::Conv(call) => {
            let (direct, winograd) = match call.direction {
                Direction::Forward => ("conv", "conv (Winograd)"),
                Direction::DataGrad => ("conv data gradient", "conv data gradient (Winograd)"),
                Direction::WeightGrad => ("conv weight gradient", "conv weight gradient (Winograd)"),
            };
            (Some(call.result().buffer), if call.algorithm == Algorithm::Direct { direct } else { winograd })
        }
        Step::Pack(call) => (Some(call.packed), "pack"),
        Step::PackMatrix(call) => (Some(call.packed), "pack"),
        Step::ScatterAdd(call) => (Some(call.table.buffer), "scatter"),
        Step::Scan(scan) => {
            (scan.slices.first().map(|slice| slice.of), if scan.beside { "scan (beside)" } else { "scan" })
        }
    }
}

/// The layer by whose name a step, or what it writes, goes; for an optimizer's step that of its parameter.
fn layer_of(scheduled: &Scheduled, step: &Step, buffer: Buffer) -> String {
    let is_changed = |kind| matches!(kind, SlotKind::Source(Role::Param | Role::Moment | Role::State));
    let slot = scheduled.slots.iter().find(|slot| slot.buffer == buffer && is_changed(slot.kind));
    let name = match (slot, step) {
        (Some(slot), _) => {
            let path = slot.name.strip_prefix("optimizer.").and_then(|name| name.split_once('.')).map(|(_, path)| path);
            let path = path.unwrap_or(&slot.name);
            return path.rsplit_once('.').map_or(path, |(layer, _)| layer).to_owned();
        }
        (None, Step::Loop(kernel)) => kernel.name.as_str(),
        (None, _) => scheduled.program.buffers[buffer].name.as_str(),
    };
    let name = name.split(' ').next().unwrap_or_default();
    if name.starts_with('%') { String::new() } else { name.to_owned() }
}

fn phase(scheduled: &Scheduled, step: &Step, is_forward: bool) -> Phase {
    if is_forward {
        return Phase::Forward;
    }
    let is_kept = |kind| matches!(kind, SlotKind::Source(Role::Param | Role::Moment));
    let mut updates = false;
    step.for_each_access(&mut |access| {
        let is_write = access.mode == Mode::Write;
        updates |= is_write && scheduled.slots.iter().any(|slot| slot.buffer == access.buffer && is_kept(slot.kind));
    });
    if updates { Phase::Update } else { Phase::Backward }
}
