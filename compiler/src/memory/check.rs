//! An independent checker of a placement: runs the steps in order and watches who owns each byte range.
//!
//! It shares nothing with the planner. It keeps, for each range of addresses, the buffer that wrote there
//! last, and refuses a read of what was never written or has been written over since.

use crate::kernel::{Buffer, Home, Mode, Program, Step};
use crate::memory::Placement;
use crate::types::Extents;

/// What is wrong with a placement, in words; empty when it is sound.
pub fn check(program: &Program, placement: &Placement, extents: &Extents) -> Vec<String> {
    let range = |buffer: Buffer| {
        let start = placement.offsets[buffer];
        (start, start + program.buffers[buffer].len.eval(extents) * 4)
    };
    let mut problems = Vec::new();
    // Ranges of the workspace and the buffer whose values they hold.
    let mut held: Vec<(usize, usize, Buffer)> = Vec::new();
    // What goes side by side is as one step.
    let is_beside = |step: &Step| matches!(step, Step::Scan(scan) if scan.beside);
    for (at, steps) in program.steps.chunk_by(|_, next| is_beside(next)).enumerate() {
        let mut accesses = Vec::new();
        steps.iter().for_each(|step| step.for_each_access(&mut |access| accesses.push(access)));
        for access in &accesses {
            let (start, end) = range(access.buffer);
            if program.buffers[access.buffer].home != Home::Workspace || start == end {
                continue;
            }
            if !start.is_multiple_of(super::ALIGNMENT) || placement.workspace_bytes < end {
                problems.push(format!("step {at}: {} lies outside the workspace or askew", access.buffer));
            }
            let is_written_here =
                accesses.iter().any(|other| other.buffer == access.buffer && other.mode == Mode::Write);
            let is_held = held.iter().any(|&(_, _, buffer)| buffer == access.buffer);
            if access.mode == Mode::Read && !is_held && !is_written_here {
                problems.push(format!("step {at} reads {}, which holds nothing or was written over", access.buffer));
            }
        }
        let written =
            |buffer: Buffer| accesses.iter().any(|access| access.buffer == buffer && access.mode == Mode::Write);
        for access in accesses.iter().filter(|access| access.mode == Mode::Write) {
            if program.buffers[access.buffer].home != Home::Workspace {
                continue;
            }
            let (start, end) = range(access.buffer);
            // What a step reads or writes beside it must not be in the same place.
            for other in &accesses {
                let (other_start, other_end) = range(other.buffer);
                let is_other = other.buffer != access.buffer && program.buffers[other.buffer].home == Home::Workspace;
                if is_other && start < other_end && other_start < end {
                    problems.push(format!("step {at}: {} and {} share memory", access.buffer, other.buffer));
                }
            }
            held.retain(|&(held_start, held_end, buffer)| {
                buffer == access.buffer || written(buffer) || held_end <= start || end <= held_start
            });
            if !held.iter().any(|&(_, _, buffer)| buffer == access.buffer) {
                held.push((start, end, access.buffer));
            }
        }
    }
    problems
}
