//! What the steps of a recurrence store for later goes past the caches.
//!
//! Gates are kept for the backward pass, results for the caller: no step reads them, nor any of a recurrence beside. An ordinary store first reads the line
//! that it is going to overwrite, and what was in the cache makes room for it.

use std::collections::BTreeSet;

use crate::index::IndexVec;
use crate::kernel::{Buffer, BufferInfo, Program, Scan, Step, Turns};
use crate::types::Dim;

/// Marks such stores of the steps.
pub(super) fn of_scans(program: &mut Program) {
    for at in 0..program.steps.len() {
        let [first, last] = program.side_by_side(at);
        let Program { steps, buffers, .. } = &mut *program;
        let is_read = |of: Buffer| steps[first..=last].iter().any(|step| step.reads(of));
        let Step::Scan(scan) = &steps[at] else { continue };
        let read = scan.slices.iter().map(|slice| slice.of).filter(|&of| is_read(of)).collect();
        let Step::Scan(scan) = &mut steps[at] else { continue };
        mark(scan, &read, buffers);
    }
}

fn mark(scan: &mut Scan, read: &BTreeSet<Buffer>, buffers: &IndexVec<Buffer, BufferInfo>) {
    let kept = scan.slices.iter().filter(|slice| slice.turns == Turns::All && !read.contains(&slice.of));
    let kept: Vec<(Buffer, Dim)> = kept.map(|slice| (slice.buffer, buffers[slice.of].len.clone())).collect();
    for step in &mut scan.body {
        let Some(kernel) = step.kernel_mut() else { continue };
        for store in &mut kernel.stores {
            store.streamed = kept.iter().find(|(buffer, _)| *buffer == store.buffer).map(|(_, len)| len.clone());
        }
    }
}
