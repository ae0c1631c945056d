//! Merges neighboring loop nests over the same domain that share memory traffic, such as an optimizer's
//! moments and the parameter that they update: one pass over memory instead of three.

use std::collections::BTreeSet;

use crate::kernel::import::{Along, Import, Source};
use crate::kernel::{Access, Address, Buffer, IntExpr, Kernel, Mode, Scalar, Step, Store};

/// A merged kernel has at most this many expressions.
const LARGE: usize = 96;

/// How many steps back a loop nest looks for one to merge with.
const REACH: usize = 6;

/// Merges each loop nest into an earlier one near it where that is sound and saves a load.
pub(super) fn siblings(steps: &mut Vec<Step>) {
    let mut merged: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps.drain(..) {
        if !merge_back(&mut merged, &step, REACH, |first, second| merge(first, second, Reason::SavesLoad)) {
            merged.push(step);
        }
    }
    *steps = merged;
}

/// Merges all loop nests of one step of a recurrence that can be one: each is so small that its call counts.
pub(super) fn all(steps: &mut Vec<Step>) {
    loop {
        let before = steps.len();
        let mut merged: Vec<Step> = Vec::with_capacity(before);
        for step in steps.drain(..) {
            if !merge_back(&mut merged, &step, REACH, |first, second| merge(first, second, Reason::SavesCall)) {
                merged.push(step);
            }
        }
        *steps = merged;
        if steps.len() == before {
            return;
        }
    }
}

/// Takes out stores to buffers of `temporary` that no later step reads, and what only they needed. A kernel reads what it
/// writes before it does.
pub(super) fn drop_unread(steps: &mut [Step], temporary: impl Fn(Buffer) -> bool) {
    let mut read: BTreeSet<Buffer> = BTreeSet::new();
    for step in steps.iter_mut().rev() {
        if let Step::Loop(kernel) = step {
            kernel.stores.retain(|store| !temporary(store.buffer) || read.contains(&store.buffer));
        }
        step.for_each_access(&mut |access| {
            if access.mode == Mode::Read {
                read.insert(access.buffer);
            }
        });
    }
}

/// What a merger must gain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    SavesLoad,
    SavesCall,
}

/// Merges `step` into one of the last few steps, if `merge` makes one kernel of both; whether it has.
pub(super) fn merge_back(
    steps: &mut Vec<Step>,
    step: &Step,
    reach: usize,
    merge: impl Fn(&Kernel, &Kernel) -> Option<Kernel>,
) -> bool {
    let Step::Loop(second) = step else { return false };
    for at in (steps.len().saturating_sub(reach)..steps.len()).rev() {
        if let Step::Loop(first) = &steps[at]
            && let Some(both) = merge(first, second)
        {
            let between = &steps[at + 1..];
            let needed = needed(between, step);
            if needed.iter().all(|&other| commute(&steps[at], &between[other])) {
                // The second moves up to the first, and what it needs before the two.
                let (mut before, mut behind) = (Vec::new(), Vec::new());
                for (number, other) in steps.drain(at..).skip(1).enumerate() {
                    if needed.contains(&number) { before.push(other) } else { behind.push(other) }
                }
                steps.extend(before);
                steps.push(Step::Loop(both));
                steps.extend(behind);
                return true;
            }
            if between.iter().all(|other| commute(&steps[at], other)) {
                // The first moves down to the second.
                steps.remove(at);
                steps.push(Step::Loop(both));
                return true;
            }
        }
    }
    false
}

/// Which of some steps must stay before one that follows them.
fn needed(steps: &[Step], by: &Step) -> Vec<usize> {
    let mut needed: Vec<usize> = Vec::new();
    for (at, step) in steps.iter().enumerate().rev() {
        if !commute(step, by) || needed.iter().any(|&later| !commute(step, &steps[later])) {
            needed.push(at);
        }
    }
    needed
}

/// Whether two steps may change places: neither writes what the other touches.
pub(super) fn commute(a: &Step, b: &Step) -> bool {
    let mut touched: Vec<Access> = Vec::new();
    a.for_each_access(&mut |access| touched.push(access));
    let mut free = true;
    b.for_each_access(&mut |access| {
        let clashes =
            |other: &Access| other.buffer == access.buffer && (other.mode == Mode::Write || access.mode == Mode::Write);
        free &= !touched.iter().any(clashes);
    });
    free
}

fn merge(first: &Kernel, second: &Kernel, reason: Reason) -> Option<Kernel> {
    let extents = |kernel: &Kernel| kernel.domain.iter().map(|axis| kernel.axes[*axis].clone()).collect::<Vec<_>>();
    let same_domain = extents(first) == extents(second) && first.parallel == second.parallel;
    let small = first.exprs.len() + second.exprs.len() <= LARGE;
    // One number more to load is nothing, and each may be needed at another time.
    let gains = reason == Reason::SavesCall || !first.domain.is_empty();
    if !same_domain || !small || !gains || has_reduction(first) || has_reduction(second) {
        return None;
    }
    let mut merged = first.clone();
    let axes = second.domain.iter().zip(&first.domain).map(|(&from, &to)| (from, Along::Axis(to)));
    let mut import = Import::new(second, axes);
    let mut shares = false;
    let mut find = |merged: &mut Kernel, buffer: Buffer, at: &Address| {
        match first.stores.iter().find(|store| store.buffer == buffer) {
            // What the first has just computed is still in a register.
            Some(store) if store.at == *at => {
                shares = true;
                Source::Value(store.value)
            }
            Some(_) => Source::Nowhere,
            None => {
                shares |= loads(merged, buffer).any(|known| known == at);
                Source::Memory
            }
        }
    };
    for expr in second.exprs.ids() {
        import.expr(&mut merged, expr, &mut find)?;
    }
    for store in &second.stores {
        let at = import.address(&mut merged, &store.at, &mut find)?;
        let value = import.expr(&mut merged, store.value, &mut find)?;
        add_store(&mut merged, Store { at, value, ..store.clone() })?;
    }
    (shares || reason == Reason::SavesCall).then_some(merged)
}

/// The addresses of a buffer that a kernel reads.
fn loads(kernel: &Kernel, of: Buffer) -> impl Iterator<Item = &Address> {
    kernel.exprs.values().filter_map(move |scalar| match scalar {
        Scalar::Load { buffer, at } if *buffer == of => Some(at),
        _ => None,
    })
}

/// Puts in one more store, if it meets neither other stores nor what is read elsewhere than at its very point.
pub(super) fn add_store(kernel: &mut Kernel, store: Store) -> Option<()> {
    let pointwise = loads(kernel, store.buffer).all(|read| *read == store.at);
    let apart = |other: &Store| other.buffer != store.buffer || are_apart(kernel, &other.at, &store.at);
    let is_free = pointwise && kernel.stores.iter().all(apart);
    is_free.then(|| kernel.stores.push(store))
}

/// Whether two stores to one buffer never meet, at whatever points: the parts of a join that are written in place.
fn are_apart(kernel: &Kernel, a: &Address, b: &Address) -> bool {
    let (Some(from), Some(to)) = (a.offset.as_fixed(), b.offset.as_fixed()) else { return false };
    let distance = from.abs_diff(to);
    // Within the distance no inner axis reaches so far; every outer one goes farther in a single step.
    let mut reach = 0usize;
    let mut outer = usize::MAX;
    for (int, stride) in &a.terms {
        let IntExpr::Axis(axis) = kernel.ints[*int] else { return false };
        match (stride.as_fixed(), kernel.axes[axis].as_fixed()) {
            (Some(stride), Some(n)) if stride <= distance => reach += stride * n.saturating_sub(1),
            // A size that is 0 leaves no point at all.
            _ => outer = outer.min(stride.factor()),
        }
    }
    a.terms == b.terms && reach < distance && distance + reach < outer
}

pub(super) fn has_reduction(kernel: &Kernel) -> bool {
    kernel.exprs.values().any(|scalar| matches!(scalar, Scalar::Reduce { .. }))
}
