//! Two layers of a stack of recurrences may go side by side, if two threads are there and each layer's weights stay in its
//! core's own cache.

use super::merge::commute;
use crate::kernel::{Program, Scan, Step};

/// Weights of a layer, with which a core's second cache of 2 MiB has room for all else that its steps touch.
const WEIGHTS: usize = 400 << 10;

/// Marks scans that may go beside the one before them, each of which is in one pair at most.
pub(super) fn of_scans(program: &mut Program) {
    let mut at = 0;
    while at < program.steps.len() {
        at = pair(program, at).unwrap_or(at) + 1;
    }
}

/// Finds a follower for the scan at `at`, and says where it is then. What stands between the two moves before the first, or behind
/// the second, as what each reads and writes allows.
fn pair(program: &mut Program, at: usize) -> Option<usize> {
    let steps = &program.steps;
    let Step::Scan(leader) = &steps[at] else { return None };
    let next = (at + 1..steps.len()).find(|&next| matches!(steps[next], Step::Scan(_)))?;
    let Step::Scan(follower) = &steps[next] else { return None };
    if !follower.follows(leader) || [leader, follower].into_iter().any(|scan| weights(scan) > WEIGHTS) {
        return None;
    }
    let (mut before, mut behind): (Vec<Step>, Vec<Step>) = Default::default();
    for step in &steps[at + 1..next] {
        if commute(step, &steps[at]) && behind.iter().all(|other| commute(step, other)) {
            before.push(step.clone());
        } else if commute(step, &steps[next]) {
            behind.push(step.clone());
        } else {
            return None;
        }
    }
    let second = Scan { beside: true, ..follower.clone() };
    let second_at = at + before.len() + 1;
    let pair = [steps[at].clone(), Step::Scan(second)];
    program.steps.splice(at..=next, before.into_iter().chain(pair).chain(behind));
    Some(second_at)
}

/// Elements of the packed matrices that the steps read.
fn weights(scan: &Scan) -> usize {
    let of = |step: &Step| match step {
        Step::MatMul(call) if call.packed.is_some() => call.k.times(&call.n).as_fixed().unwrap_or(usize::MAX),
        Step::Loop(_) => 0,
        _ => usize::MAX,
    };
    scan.ahead.iter().chain(&scan.body).map(of).fold(0, usize::saturating_add)
}
