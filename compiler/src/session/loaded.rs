//! One compiled entry of a session: its frame, and a call through it.
#![expect(unsafe_code, reason = "generated code is called with a frame of addresses")]

use std::time::Instant;

use ndarray::{ArrayD, ArrayViewMutD};
use netc_runtime::artifact::PreparedFor;

use super::inputs::Bound;
use super::memory::Aligned;
use super::profile::Parts;
use super::{Outputs, Session, shelf};
use crate::error::Error;
use crate::graph::OutputRole;
use crate::kernel::{Home, Mode, Program, Step};
use crate::memory::Placement;
use crate::network::{LEARNING_RATE, Network, STEP};
use crate::ops::Role;
use crate::pipeline::CompiledEntry;
use crate::schedule::{Scheduled, Slot, SlotKind};
use crate::types::{Dim, Extents, Symbol, show_shape};

/// A compiled entry, and what it keeps from call to call.
pub(super) struct Loaded {
    pub(super) compiled: CompiledEntry,
    /// Where everything lies, for the sizes of the last call.
    placed: Option<(Extents, Placement)>,
    prepared: Aligned,
    /// The session's version that `prepared` was made from, and what for.
    prepared_version: u64,
    prepared_for: PreparedFor,
    prepared_rows: Vec<Dim>,
    frame: Vec<u64>,
    uses: Vec<Use>,
    /// While it is profiled.
    pub(super) parts: Option<Parts>,
}

impl Loaded {
    pub(super) fn new(compiled: CompiledEntry) -> Self {
        let frame = vec![0; compiled.scheduled.program.frame_words()];
        let uses = uses(&compiled.scheduled);
        let prepared_rows: Vec<Dim> = compiled.scheduled.program.prepared_rows().into_iter().cloned().collect();
        let prepared_for = PreparedFor::new(prepared_rows.len());
        Loaded {
            compiled,
            placed: None,
            prepared: Aligned::default(),
            prepared_version: 0,
            prepared_for,
            prepared_rows,
            frame,
            uses,
            parts: None,
        }
    }

    /// Runs the entry; outputs that `into` names are written there.
    pub(super) fn call(
        &mut self,
        session: &mut Session,
        bound: Bound<'_>,
        into: &mut [(&str, ArrayViewMutD<'_, f32>)],
    ) -> Result<Outputs, Error> {
        self.require(&session.network, &bound)?;
        self.require_windows(&bound.extents)?;
        self.require_fitting(&bound.extents, into)?;
        session.states.prepare(&self.compiled, &bound.extents, &session.tensors)?;
        self.place(session, bound.extents.clone());
        let (extents, _) = self.placed.as_ref().expect("placed above");

        let program = &self.compiled.scheduled.program;
        let mut outputs: Vec<(OutputRole, String, ArrayD<f32>)> = Vec::new();
        let mut used = session.shelf.take();
        // The words of the key and the rates must outlive the call too.
        let mut key = [session.seed as u32 ^ (session.seed >> 32) as u32, session.step as u32];
        let mut rates = [session.learning_rate as f32, (session.step + 1) as f32];
        for (slot, uses) in self.compiled.scheduled.slots.iter().zip(&self.uses) {
            let address = match slot.kind {
                SlotKind::Source(Role::Input | Role::Target) => {
                    bound.array(&slot.name).expect("required above").address()
                }
                SlotKind::Source(Role::Key) => key.as_mut_ptr().expose_provenance() as u64,
                SlotKind::Source(Role::Rate) => {
                    let rate = match slot.name.as_str() {
                        LEARNING_RATE => &mut rates[0],
                        STEP => &mut rates[1],
                        name => unreachable!("nobody sets the rate `{name}`"),
                    };
                    std::ptr::from_mut(rate).expose_provenance() as u64
                }
                SlotKind::Source(role @ (Role::Mask | Role::Local)) => {
                    unreachable!("nobody sets the {role:?} `{}`", slot.name)
                }
                SlotKind::Source(Role::Param | Role::State | Role::Moment | Role::Carry) => {
                    let stored = match session.tensors.get_mut(&slot.name) {
                        Some(stored) => stored,
                        None => session.states.get_mut(&slot.name).expect("tensors and states are allocated"),
                    };
                    if uses.is_written { stored.values.address_mut() } else { stored.values.address() }
                }
                SlotKind::Output(role) => match destination(into, slot).filter(|array| array.is_standard_layout()) {
                    Some(array) => array.as_mut_ptr().expose_provenance() as u64,
                    None => {
                        let mut array = shelf::array(&mut used, &slot.ty.eval(extents));
                        let address = array.as_mut_ptr().expose_provenance() as u64;
                        outputs.push((role, slot.name.clone(), array));
                        address
                    }
                },
            };
            self.frame[program.buffer_word(slot.buffer)] = address;
        }
        self.frame[Program::POOL_WORD] = std::ptr::from_ref(&session.pool).expose_provenance() as u64;

        let rows = self.prepared_rows.iter().map(|rows| rows.eval(extents));
        if self.prepared_for.lacks(rows, self.prepared_version != session.version) {
            // SAFETY: as below; what `prepare` reads and writes was set above, too.
            unsafe { self.compiled.code.prepare(&mut self.frame) };
            self.prepared_version = session.version;
            let slots = self.compiled.scheduled.slots.iter().zip(&self.uses);
            for (slot, _) in slots.filter(|(_, uses)| !uses.is_run) {
                if let Some(stored) = session.tensors.get(&slot.name) {
                    stored.values.release();
                }
            }
        }
        // SAFETY: word 0 is the session's pool. Each slot's word is the address of an array that was checked to have
        // the slot's shape and lives in `bound`, `outputs`, `key`, `rates` or the session until after the call; the
        // other buffers lie in `workspace` and `prepared`, as long as the placement says, where the plan keeps apart
        // what is in use at the same time. `&mut self` and `&mut Session` keep everyone else away.
        unsafe {
            match &mut self.parts {
                Some(parts) if parts.by_step => {
                    let mut seconds = Vec::with_capacity(parts.programs.len());
                    for part in &parts.programs {
                        let start = Instant::now();
                        // One step of the same program, on the same frame.
                        part.run(&mut self.frame);
                        seconds.push(start.elapsed().as_secs_f64());
                    }
                    parts.seconds.push(seconds);
                }
                _ => self.compiled.code.run(&mut self.frame),
            }
        }

        // What could not be written in place.
        outputs.retain(|(role, name, array)| {
            let is_output = *role == OutputRole::Output;
            let place = into.iter_mut().find(|(known, _)| is_output && known == name);
            place.map(|(_, place)| place.assign(array)).is_none()
        });
        Ok(Outputs { values: outputs, shelf: session.shelf.clone() })
    }

    /// Every array of the caller's is one of an output, and of its shape.
    fn require_fitting(&self, extents: &Extents, into: &[(&str, ArrayViewMutD<'_, f32>)]) -> Result<(), Error> {
        for (name, array) in into {
            let is_named = |slot: &&Slot| slot.kind == SlotKind::Output(OutputRole::Output) && slot.name == *name;
            let Some(slot) = self.compiled.scheduled.slots.iter().find(is_named) else {
                return Err(Error::Input(format!("the network has no output `{name}`")));
            };
            let (expected, found) = (slot.ty.eval(extents), array.shape());
            if expected != found {
                return Err(Error::Input(format!("the output `{name}` has shape {expected:?}, not {found:?}")));
            }
        }
        Ok(())
    }

    /// Everything the entry reads must be there: inputs and targets, then what tells lengths.
    fn require(&self, network: &Network, bound: &Bound<'_>) -> Result<(), Error> {
        let slots = self.compiled.scheduled.slots.iter();
        let missing = slots.filter(|slot| {
            let is_port = matches!(slot.kind, SlotKind::Source(Role::Input | Role::Target));
            is_port && bound.array(&slot.name).is_none()
        });
        let is_length = |slot: &&Slot| !network.ports.iter().any(|port| port.name == slot.name);
        let Some(slot) = missing.min_by_key(is_length) else { return Ok(()) };
        let what = if slot.kind == SlotKind::Source(Role::Target) { "target" } else { "input" };
        let shape = show_shape(&slot.ty.shape);
        let message = format!("the {what} `{}` of shape {shape}, B being the batch, is missing", slot.name);
        Err(Error::Input(message))
    }

    /// Every window along a sequence must find as many steps as it is long.
    fn require_windows(&self, extents: &Extents) -> Result<(), Error> {
        for symbol in &self.compiled.scheduled.program.symbols {
            let Symbol::Derived(derived) = symbol else { continue };
            let [of @ Symbol::Axis(name)] = derived.of.symbols() else { continue };
            if extents.find(symbol) == Some(0) {
                // floor((n + add) / div) >= 1
                let least = derived.div - derived.add;
                let n = extents.find(of).unwrap_or(0);
                let message = format!("the sequence `{name}` has {n} steps, and a window of the network needs {least}");
                return Err(Error::Input(message));
            }
        }
        Ok(())
    }

    /// Places every buffer for these sizes, unless they are those of the last call.
    fn place(&mut self, session: &mut Session, extents: Extents) {
        let program = &self.compiled.scheduled.program;
        if self.placed.as_ref().is_none_or(|(known, _)| *known != extents) {
            let placement = self.compiled.plan.place(program, &extents);
            self.placed = Some((extents, placement));
        }
        let (extents, placement) = self.placed.as_ref().expect("placed above");
        if session.workspace.len() * 4 < placement.workspace_bytes {
            // Freed before the larger one is taken.
            session.workspace = Aligned::default();
            session.workspace = Aligned::zeroed(placement.workspace_bytes / 4);
        }
        if self.prepared.len() * 4 < placement.prepared_bytes {
            self.prepared = Aligned::zeroed_together(placement.prepared_bytes / 4);
            self.prepared_version = 0;
        }
        let (workspace, prepared) = (session.workspace.address(), self.prepared.address());
        for symbol in &program.symbols {
            let value = extents.find(symbol).unwrap_or_else(|| panic!("no array has told the size `{symbol}`"));
            self.frame[program.symbol_word(symbol)] = value as u64;
        }
        for (buffer, info) in program.buffers.iter() {
            let base = match info.home {
                Home::External(_) | Home::Slice { .. } => continue,
                Home::Workspace => workspace,
                Home::Prepared => prepared,
            };
            self.frame[program.buffer_word(buffer)] = base + placement.offsets[buffer] as u64;
        }
    }
}

/// How an entry uses a slot.
#[derive(Debug, Clone, Copy, Default)]
struct Use {
    is_written: bool,
    /// Whether a call touches it, beside what is prepared.
    is_run: bool,
}

/// By slot.
fn uses(scheduled: &Scheduled) -> Vec<Use> {
    let Program { buffers, prepare, steps, .. } = &scheduled.program;
    let mut uses = vec![Use::default(); scheduled.slots.len()];
    let steps = prepare.iter().map(|step| (step, false)).chain(steps.iter().map(|step| (step, true)));
    for (step, is_run) in steps {
        // A convolution that has its weight packed does not read it.
        let unread = match step {
            Step::Conv(call) if call.packed.is_some() => Some(call.weight.buffer),
            _ => None,
        };
        step.for_each_access(&mut |access| {
            if let Home::External(slot) = buffers[access.buffer].home {
                uses[slot].is_written |= access.mode == Mode::Write;
                uses[slot].is_run |= is_run && unread != Some(access.buffer);
            }
        });
    }
    uses
}

/// The caller's array for a slot.
fn destination<'i, 'a>(
    into: &'i mut [(&str, ArrayViewMutD<'a, f32>)],
    slot: &Slot,
) -> Option<&'i mut ArrayViewMutD<'a, f32>> {
    let is_output = slot.kind == SlotKind::Output(OutputRole::Output);
    into.iter_mut().find(|(name, _)| is_output && *name == slot.name).map(|(_, array)| array)
}
