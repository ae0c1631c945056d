//! Program -> Plan: when each workspace buffer lives, and, once sizes are known, where.

pub mod check;

use std::fmt;

use crate::index::IndexVec;
use crate::kernel::{Buffer, Home, Program};
use crate::types::{Extents, Symbol};

/// The alignment of every buffer in bytes: a cache line, and the widest vectors.
pub const ALIGNMENT: usize = 64;

/// When each workspace buffer is in use. Sizes may still be unknown.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The first and the last of the program's steps that touch the buffer; `None` when none does.
    pub lifetimes: IndexVec<Buffer, Option<Lifetime>>,
}

/// Steps `first..=last` of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    pub first: usize,
    pub last: usize,
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
        step.for_each_access(&mut |access| {
            if program.buffers[access.buffer].home == Home::Workspace {
                let lifetime = lifetimes[access.buffer].get_or_insert(Lifetime { first: at, last: at });
                lifetime.last = at;
            }
        });
    }
    Plan { lifetimes }
}

impl Plan {
    /// Places every buffer: the largest first, each at the lowest address where nothing that lives at the
    /// same time lies (Pisarchyk and Lee 2020, "greedy by size").
    pub fn place(&self, program: &Program, extents: &Extents) -> Placement {
        let bytes =
            |buffer: Buffer| program.buffers[buffer].len.eval(extents).saturating_mul(4).next_multiple_of(ALIGNMENT);
        let mut offsets = IndexVec::filled(0, program.buffers.len());
        let mut prepared_bytes = 0;
        for (buffer, info) in program.buffers.iter() {
            if info.home == Home::Prepared {
                offsets[buffer] = prepared_bytes;
                prepared_bytes += bytes(buffer);
            }
        }
        let mut order: Vec<(Buffer, Lifetime, usize)> = self
            .lifetimes
            .iter()
            .filter_map(|(buffer, lifetime)| Some((buffer, (*lifetime)?, bytes(buffer))))
            .collect();
        order.sort_by_key(|&(buffer, lifetime, n)| (std::cmp::Reverse(n), lifetime.first, buffer));
        // What has been placed, by address.
        let mut placed: Vec<(usize, usize, Lifetime)> = Vec::with_capacity(order.len());
        let mut workspace_bytes = 0;
        for (buffer, lifetime, n) in order {
            let mut offset = 0;
            for &(start, end, other) in &placed {
                let overlaps = lifetime.first <= other.last && other.first <= lifetime.last;
                if !overlaps {
                    continue;
                }
                if offset + n <= start {
                    break;
                }
                offset = offset.max(end);
            }
            offsets[buffer] = offset;
            workspace_bytes = workspace_bytes.max(offset + n);
            let at = placed.partition_point(|&(start, ..)| start < offset);
            placed.insert(at, (offset, offset + n, lifetime));
        }
        Placement { offsets, workspace_bytes, prepared_bytes }
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
        writeln!(f, "with every named size 1: workspace {workspace_bytes} bytes, prepared {prepared_bytes} bytes")
    }
}
