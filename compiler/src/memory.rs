//! Program -> Plan: when each workspace buffer lives, and, once sizes are known, where.

pub mod check;

use std::fmt;

use crate::index::IndexVec;
use crate::kernel::{Buffer, Home, Program};
use crate::types::{Extents, Symbol};
pub use netc_runtime::place::{ALIGNMENT, Lifetime};

/// When each workspace buffer is in use. Sizes may still be unknown.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The first and the last of the program's steps at whose time something touches the buffer; `None` when nothing does.
    pub lifetimes: IndexVec<Buffer, Option<Lifetime>>,
}

/// Where each buffer lies, for one set of sizes.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement {
    /// Byte offsets within the workspace (or, for prepared buffers, within their own memory).
    pub offsets: IndexVec<Buffer, usize>,
    pub workspace_bytes: usize,
    pub prepared_bytes: usize,
}

/// Finds every buffer's lifetime.
pub fn plan(program: &Program) -> Plan {
    let mut lifetimes: IndexVec<Buffer, Option<Lifetime>> = IndexVec::filled(None, program.buffers.len());
    for (at, step) in program.steps.iter().enumerate() {
        let [first, last] = program.side_by_side(at);
        step.for_each_access(&mut |access| {
            if program.buffers[access.buffer].home == Home::Workspace {
                let lifetime = lifetimes[access.buffer].get_or_insert(Lifetime { first, last });
                lifetime.last = last;
            }
        });
    }
    Plan { lifetimes }
}

impl Plan {
    /// The bytes that are in use in the workspace at a time, at the most: no placement takes less. And the first step where
    /// it is so.
    pub fn largest_live(&self, program: &Program, extents: &Extents) -> (usize, usize) {
        netc_runtime::place::largest_live(&self.lives(program, extents).1)
    }

    /// Places every buffer: those of the workspace with [`netc_runtime::place`], prepared ones one after the other.
    pub fn place(&self, program: &Program, extents: &Extents) -> Placement {
        let bytes = |buffer: Buffer| program.buffers[buffer].len.eval(extents).saturating_mul(4);
        let mut offsets = IndexVec::filled(0, program.buffers.len());
        let mut prepared_bytes = 0;
        for (buffer, info) in program.buffers.iter() {
            if info.home == Home::Prepared {
                offsets[buffer] = prepared_bytes;
                prepared_bytes += bytes(buffer).next_multiple_of(ALIGNMENT);
            }
        }
        let (used, lives) = self.lives(program, extents);
        let (places, workspace_bytes) = netc_runtime::place::place(&lives);
        for (buffer, offset) in used.into_iter().zip(places) {
            offsets[buffer] = offset;
        }
        Placement { offsets, workspace_bytes, prepared_bytes }
    }
    /// What the workspace has to hold: buffers, when they live, and their bytes.
    fn lives(&self, program: &Program, extents: &Extents) -> (Vec<Buffer>, Vec<(Lifetime, usize)>) {
        let bytes = |buffer: Buffer| program.buffers[buffer].len.eval(extents).saturating_mul(4);
        let lifetimes = self.lifetimes.iter();
        lifetimes.filter_map(|(buffer, lifetime)| Some((buffer, ((*lifetime)?, bytes(buffer))))).unzip()
    }
}

/// Prints a plan beside its program: each workspace buffer with its size and lifetime.
#[derive(Debug)]
pub struct Show<'a> {
    pub program: &'a Program,
    pub plan: &'a Plan,
}

impl fmt::Display for Show<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} steps", self.program.steps.len())?;
        for (buffer, info) in self.program.buffers.iter() {
            let name = if info.name.is_empty() { String::new() } else { format!("  # {}", info.name) };
            match (info.home, self.plan.lifetimes[buffer]) {
                (Home::External(slot), _) => writeln!(f, "{buffer}: {} x 4 bytes, slot {slot}{name}", info.len)?,
                (Home::Slice { of }, _) => writeln!(f, "{buffer}: {} x 4 bytes, a slice of {of}{name}", info.len)?,
                (Home::Prepared, _) => writeln!(f, "{buffer}: {} x 4 bytes, prepared{name}", info.len)?,
                (Home::Workspace, Some(Lifetime { first, last })) => {
                    writeln!(f, "{buffer}: {} x 4 bytes, steps {first} to {last}{name}", info.len)?;
                }
                (Home::Workspace, None) => writeln!(f, "{buffer}: unused{name}")?,
            }
        }
        // With one member in the batch and sequences of one step, as an example of what fits where.
        let mut extents = Extents::default();
        for symbol in &self.program.symbols {
            if !matches!(symbol, Symbol::Derived(_)) {
                extents.set(symbol.clone(), 1);
            }
        }
        let placement = self.plan.place(self.program, &extents);
        let Placement { workspace_bytes, prepared_bytes, .. } = placement;
        let (live, step) = self.plan.largest_live(self.program, &extents);
        writeln!(
            f,
            "with every named size 1: workspace {workspace_bytes} bytes, of which step {step} uses {live}; prepared \
             {prepared_bytes} bytes"
        )
    }
}
