//! What the caller's memory alone tells comes first: how many steps exist, the weights of all targets together.
//!
//! A loss that is divided by such a number has a gradient that is, too. With the number known before the loss is computed, both
//! are one kernel (`rows`); where it was written it stands between them.

use std::collections::BTreeSet;

use crate::kernel::{Buffer, Kernel, Mode, Scalar, Step};

/// Moves sums of what is known from the start, and numbers that are made of these, before all other steps.
pub(super) fn first(steps: &mut Vec<Step>) {
    // What the steps that stay have written, and what they have touched.
    let (mut written, mut touched): (BTreeSet<Buffer>, BTreeSet<Buffer>) = Default::default();
    let (mut first, mut others) = (Vec::new(), Vec::new());
    for step in steps.drain(..) {
        let mut is_first = matches!(&step, Step::Loop(kernel) if leaves_little(kernel));
        step.for_each_access(&mut |access| {
            let before = if access.mode == Mode::Read { &written } else { &touched };
            is_first &= !before.contains(&access.buffer);
        });
        if is_first {
            first.push(step);
            continue;
        }
        step.for_each_access(&mut |access| {
            touched.insert(access.buffer);
            if access.mode == Mode::Write {
                written.insert(access.buffer);
            }
        });
        others.push(step);
    }
    steps.extend(first.into_iter().chain(others));
}

/// Whether a kernel only adds up, or computes a number: what it leaves may wait in memory.
fn leaves_little(kernel: &Kernel) -> bool {
    let reduces = |value| matches!(kernel.exprs[value], Scalar::Reduce { .. });
    kernel.domain.is_empty() || kernel.stores.iter().all(|store| reduces(store.value))
}
