//! Merges neighboring loop nests over the same domain that share memory traffic, such as an optimizer's
//! moments and the parameter that they update: one pass over memory instead of three.

use crate::index::{Id, IndexVec};
use crate::kernel::{Access, Address, Axis, Buffer, Condition, Expr, Int, IntExpr, Kernel, Mode, Scalar, Step, Store};

/// A merged kernel has at most this many expressions.
const LARGE: usize = 96;

/// How many steps back a loop nest looks for one to merge with.
const REACH: usize = 6;

/// Merges each loop nest into an earlier one near it where that is sound and saves a load.
pub(super) fn siblings(steps: &mut Vec<Step>) {
    let mut merged: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps.drain(..) {
        if !merge_back(&mut merged, &step, Reason::SavesLoad) {
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
            if !merge_back(&mut merged, &step, Reason::SavesCall) {
                merged.push(step);
            }
        }
        *steps = merged;
        if steps.len() == before {
            return;
        }
    }
}

/// Takes out stores to buffers of `temporary` that nothing reads any more, and what only they needed.
pub(super) fn drop_unread(steps: &mut [Step], temporary: impl Fn(Buffer) -> bool) {
    let mut read: Vec<Buffer> = Vec::new();
    for step in steps.iter() {
        step.for_each_access(&mut |access| {
            if access.mode == Mode::Read {
                read.push(access.buffer);
            }
        });
    }
    for step in steps {
        if let Step::Loop(kernel) = step {
            kernel.stores.retain(|store| !temporary(store.buffer) || read.contains(&store.buffer));
        }
    }
}

/// What a merger must gain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    SavesLoad,
    SavesCall,
}

/// Merges `step` into one of the last few steps; whether it has.
fn merge_back(steps: &mut Vec<Step>, step: &Step, reason: Reason) -> bool {
    let Step::Loop(second) = step else { return false };
    for at in (steps.len().saturating_sub(REACH)..steps.len()).rev() {
        let between = &steps[at + 1..];
        if let Step::Loop(first) = &steps[at]
            && let Some(both) = merge(first, second, reason)
        {
            if between.iter().all(|other| commute(other, step)) {
                // The second moves up to the first.
                steps[at] = Step::Loop(both);
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
    if !same_domain || !small || has_reduction(first) || has_reduction(second) {
        return None;
    }
    let mut cx = Merger {
        merged: first.clone(),
        ints: IndexVec::new(),
        exprs: IndexVec::new(),
        axes: second.domain.iter().copied().zip(first.domain.iter().copied()).collect(),
    };
    for (_, int) in second.ints.iter() {
        let int = cx.int(int)?;
        let id = intern(&mut cx.merged.ints, int);
        cx.ints.push(id);
    }
    let mut shares = false;
    for (_, scalar) in second.exprs.iter() {
        let id = match cx.scalar(scalar)? {
            Scalar::Load { buffer, at } => match cx.stored(buffer) {
                // What the first has just computed is still in a register.
                Some(store) if store.at == at => {
                    shares = true;
                    store.value
                }
                Some(_) => return None,
                None => {
                    let n = cx.merged.exprs.len();
                    let id = intern(&mut cx.merged.exprs, Scalar::Load { buffer, at });
                    shares |= id.index() < n;
                    id
                }
            },
            scalar => intern(&mut cx.merged.exprs, scalar),
        };
        cx.exprs.push(id);
    }
    for store in &second.stores {
        let at = cx.address(&store.at);
        // Whoever reads what is stored here reads it at this very point, before.
        let pointwise = cx.merged.exprs.values().all(|scalar| match scalar {
            Scalar::Load { buffer, at: read } => *buffer != store.buffer || *read == at,
            _ => true,
        });
        let apart = |other: &Store| other.buffer != store.buffer || are_apart(&cx.merged, &other.at, &at);
        if !pointwise || !first.stores.iter().all(apart) {
            return None;
        }
        let value = cx.exprs[store.value];
        cx.merged.stores.push(Store { buffer: store.buffer, at, value, streamed: None });
    }
    (shares || reason == Reason::SavesCall).then_some(cx.merged)
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

fn has_reduction(kernel: &Kernel) -> bool {
    kernel.exprs.values().any(|scalar| matches!(scalar, Scalar::Reduce { .. }))
}

fn intern<I: Id, T: PartialEq>(items: &mut IndexVec<I, T>, item: T) -> I {
    let known = items.iter().find(|(_, known)| **known == item).map(|(id, _)| id);
    known.unwrap_or_else(|| items.push(item))
}

/// Translates the second kernel's ids into the merged kernel's.
struct Merger {
    merged: Kernel,
    ints: IndexVec<Int, Int>,
    exprs: IndexVec<Expr, Expr>,
    axes: Vec<(Axis, Axis)>,
}

impl Merger {
    fn stored(&self, buffer: Buffer) -> Option<Store> {
        self.merged.stores.iter().find(|store| store.buffer == buffer).cloned()
    }
    fn int(&self, int: &IntExpr) -> Option<IntExpr> {
        Some(match int {
            IntExpr::Const(_) | IntExpr::Size(_) => int.clone(),
            IntExpr::Axis(axis) => IntExpr::Axis(self.axes.iter().find(|(from, _)| from == axis)?.1),
            IntExpr::Add(a, b) => IntExpr::Add(self.ints[*a], self.ints[*b]),
            IntExpr::Mul(a, factor) => IntExpr::Mul(self.ints[*a], *factor),
            IntExpr::Div(a, divisor) => IntExpr::Div(self.ints[*a], *divisor),
            IntExpr::Rem(a, divisor) => IntExpr::Rem(self.ints[*a], *divisor),
            IntExpr::MulSize(a, size) => IntExpr::MulSize(self.ints[*a], size.clone()),
            IntExpr::DivSize(a, size) => IntExpr::DivSize(self.ints[*a], size.clone()),
            IntExpr::RemSize(a, size) => IntExpr::RemSize(self.ints[*a], size.clone()),
            IntExpr::Clamp(a, limit) => IntExpr::Clamp(self.ints[*a], *limit),
            // Integers come before the expressions here; one that reads an expression is left alone.
            IntExpr::Value(_) => return None,
        })
    }
    fn address(&self, at: &Address) -> Address {
        let terms = at.terms.iter().map(|(int, stride)| (self.ints[*int], stride.clone())).collect();
        Address { offset: at.offset.clone(), terms }
    }
    fn scalar(&self, scalar: &Scalar) -> Option<Scalar> {
        let expr = |expr: &Expr| self.exprs[*expr];
        Some(match scalar {
            Scalar::Const(value) => Scalar::Const(*value),
            Scalar::Load { buffer, at } => Scalar::Load { buffer: *buffer, at: self.address(at) },
            Scalar::Position(int) => Scalar::Position(self.ints[*int]),
            Scalar::Convert(x) => Scalar::Convert(expr(x)),
            Scalar::Unary(function, x) => Scalar::Unary(*function, expr(x)),
            Scalar::Binary(function, a, b) => Scalar::Binary(*function, expr(a), expr(b)),
            Scalar::Compare(function, a, b) => Scalar::Compare(*function, expr(a), expr(b)),
            Scalar::Select(c, a, b) => Scalar::Select(expr(c), expr(a), expr(b)),
            Scalar::Reduce { .. } => return None,
            Scalar::Guard { conditions, body, otherwise } => {
                let conditions = conditions.iter().map(|condition| match condition {
                    Condition::InRange(int, limit) => Condition::InRange(self.ints[*int], limit.clone()),
                    Condition::Multiple(int, factor) => Condition::Multiple(self.ints[*int], *factor),
                });
                Scalar::Guard { conditions: conditions.collect(), body: expr(body), otherwise: *otherwise }
            }
            Scalar::Random { key, stream, index } => {
                let key = [expr(&key[0]), expr(&key[1])];
                Scalar::Random { key, stream: *stream, index: self.ints[*index] }
            }
        })
    }
}
