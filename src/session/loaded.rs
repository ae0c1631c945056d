//! One compiled entry of a session: its frame, and a call through it.
#![expect(unsafe_code, reason = "generated code is called with a frame of addresses")]

use std::borrow::Cow;

use ndarray::{ArrayD, IxDyn};

use super::memory::Aligned;
use super::{Outputs, Session, TensorView, inputs};
use crate::error::Error;
use crate::kernel::{Home, Program};
use crate::memory::Placement;
use crate::network::{LEARNING_RATE, STEP};
use crate::ops::Role;
use crate::pipeline::CompiledEntry;
use crate::schedule::SlotKind;
use crate::types::{Extents, Symbol, show_shape};

/// A compiled entry, and what it keeps from call to call.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) compiled: CompiledEntry,
    /// Where everything lies, for the sizes of the last call.
    placed: Option<(Extents, Placement)>,
    prepared: Aligned,
    /// The session's version that `prepared` was made from.
    prepared_version: u64,
    frame: Vec<u64>,
}

impl Loaded {
    pub(super) fn new(compiled: CompiledEntry) -> Self {
        let frame = vec![0; compiled.scheduled.program.frame_words()];
        Loaded { compiled, placed: None, prepared: Aligned::default(), prepared_version: 0, frame }
    }

    pub(super) fn call(&mut self, session: &mut Session, inputs: &[(&str, TensorView<'_>)]) -> Result<Outputs, Error> {
        let extents = inputs::bind(&session.network, inputs)?;
        // Arrays that are not in row-major order are copied; they must live until the call is over.
        let arrays: Vec<(&str, Contiguous<'_>)> =
            inputs.iter().map(|(name, tensor)| (*name, Contiguous::of(tensor))).collect();
        self.require(&arrays)?;
        self.require_windows(&extents)?;
        self.place(session, extents);
        let (extents, _) = self.placed.as_ref().expect("placed above");

        let program = &self.compiled.scheduled.program;
        let mut outputs: Vec<ArrayD<f32>> = Vec::new();
        // The words of the key and the rates must outlive the call too.
        let mut key = [session.seed as u32 ^ (session.seed >> 32) as u32, session.step as u32];
        let mut rates = [session.learning_rate as f32, (session.step + 1) as f32];
        for slot in &self.compiled.scheduled.slots {
            let address = match slot.kind {
                SlotKind::Source(Role::Input | Role::Target) => {
                    let (_, array) = arrays.iter().find(|(name, _)| *name == slot.name).expect("required above");
                    array.address()
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
                SlotKind::Source(role @ (Role::Mask | Role::Carry | Role::Local)) => {
                    unreachable!("nobody sets the {role:?} `{}`", slot.name)
                }
                SlotKind::Source(Role::Param | Role::State | Role::Moment) => {
                    session.tensors.get_mut(&slot.name).expect("the network's tensors are allocated").values.address()
                }
                SlotKind::Output(_) => {
                    outputs.push(ArrayD::zeros(IxDyn(&slot.ty.eval(extents))));
                    let array = outputs.last_mut().expect("pushed above");
                    array.as_mut_ptr().expose_provenance() as u64
                }
            };
            self.frame[program.buffer_word(slot.buffer)] = address;
        }
        self.frame[Program::POOL_WORD] = std::ptr::from_ref(&session.pool).expose_provenance() as u64;

        if self.prepared_version != session.version {
            // SAFETY: as below; what `prepare` reads and writes was set above, too.
            unsafe { self.compiled.code.prepare(&mut self.frame) };
            self.prepared_version = session.version;
        }
        // SAFETY: word 0 is the session's pool. Each slot's word is the address of an array that was checked to have
        // the slot's shape and lives in `arrays`, `outputs`, `key`, `rates` or the session until after the call; the
        // other buffers lie in `workspace` and `prepared`, as long as the placement says, where the plan keeps apart
        // what is in use at the same time. `&mut self` and `&mut Session` keep everyone else away.
        unsafe { self.compiled.code.run(&mut self.frame) };

        let roles = self.compiled.scheduled.slots.iter().filter_map(|slot| match slot.kind {
            SlotKind::Output(role) => Some((role, slot.name.clone())),
            SlotKind::Source(_) => None,
        });
        Ok(Outputs { values: roles.zip(outputs).map(|((role, name), array)| (role, name, array)).collect() })
    }

    /// Everything the entry reads must be there.
    fn require(&self, arrays: &[(&str, Contiguous<'_>)]) -> Result<(), Error> {
        for slot in &self.compiled.scheduled.slots {
            let is_port = matches!(slot.kind, SlotKind::Source(Role::Input | Role::Target));
            if is_port && !arrays.iter().any(|(name, _)| *name == slot.name) {
                let what = if slot.kind == SlotKind::Source(Role::Target) { "target" } else { "input" };
                let shape = show_shape(&slot.ty.shape);
                let message = format!("the {what} `{}` of shape {shape}, B being the batch, is missing", slot.name);
                return Err(Error::Input(message));
            }
        }
        Ok(())
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
            self.prepared = Aligned::zeroed(placement.prepared_bytes / 4);
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

/// A caller's array in row-major order: borrowed when it is so already.
enum Contiguous<'a> {
    F32(Cow<'a, [f32]>),
    I32(Cow<'a, [i32]>),
}

impl<'a> Contiguous<'a> {
    fn of(tensor: &'a TensorView<'_>) -> Self {
        match tensor {
            TensorView::F32(array) => Contiguous::F32(match array.as_slice() {
                Some(slice) => Cow::Borrowed(slice),
                None => Cow::Owned(array.iter().copied().collect()),
            }),
            TensorView::I32(array) => Contiguous::I32(match array.as_slice() {
                Some(slice) => Cow::Borrowed(slice),
                None => Cow::Owned(array.iter().copied().collect()),
            }),
        }
    }
    fn address(&self) -> u64 {
        match self {
            Contiguous::F32(values) => values.as_ptr().expose_provenance() as u64,
            Contiguous::I32(values) => values.as_ptr().expose_provenance() as u64,
        }
    }
}
