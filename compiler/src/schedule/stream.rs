//! What the steps of a recurrence store for later goes past the caches.
//!
//! Gates are kept for the backward pass, results for the caller: no step reads them. An ordinary store first reads the line
//! that it is going to overwrite, and what was in the cache makes room for it.

use crate::index::IndexVec;
use crate::kernel::{Buffer, BufferInfo, Program, Scan, Step, Turns};
use crate::types::Dim;

/// Marks such stores of the steps.
pub(super) fn of_scans(program: &mut Program) {
    let Program { steps, buffers, .. } = program;
    for step in steps {
        if let Step::Scan(scan) = step {
            mark(scan, buffers);
        }
    }
}

fn mark(scan: &mut Scan, buffers: &IndexVec<Buffer, BufferInfo>) {
    let is_read = |of: Buffer| {
        let slices = scan.slices.iter().filter(|slice| slice.of == of).map(|slice| slice.buffer);
        slices.chain([of]).any(|buffer| scan.steps().any(|step| step.reads(buffer)))
    };
    let kept = scan.slices.iter().filter(|slice| slice.turns == Turns::All && !is_read(slice.of));
    let kept: Vec<(Buffer, Dim)> = kept.map(|slice| (slice.buffer, buffers[slice.of].len.clone())).collect();
    for step in &mut scan.body {
        let Some(kernel) = step.kernel_mut() else { continue };
        for store in &mut kernel.stores {
            store.streamed = kept.iter().find(|(buffer, _)| *buffer == store.buffer).map(|(_, len)| len.clone());
        }
    }
}
