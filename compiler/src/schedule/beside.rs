//! Two layers of a stack of recurrences may go side by side, if two threads are there and each layer's weights stay in its
//! core's own cache.

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

/// Finds a follower for the scan at `at`, and says where it is; what stands between the two, and has nothing to do with the
/// first, moves before it.
fn pair(program: &mut Program, at: usize) -> Option<usize> {
    let Step::Scan(leader) = &program.steps[at] else { return None };
    let next = (at + 1..program.steps.len()).find(|&next| matches!(program.steps[next], Step::Scan(_)));
    let next = next?;
    let Step::Scan(follower) = &program.steps[next] else { return None };
    let is_free = |step: &Step| {
        let mut is_free = true;
        step.for_each_access(&mut |access| {
            is_free &= !program.steps[at].writes(access.buffer);
            is_free &= !(step.writes(access.buffer) && program.steps[at].touches(access.buffer));
        });
        is_free
    };
    let are_free = program.steps[at + 1..next].iter().all(is_free);
    if !are_free || !follower.follows(leader) || [leader, follower].into_iter().any(|scan| weights(scan) > WEIGHTS) {
        return None;
    }
    program.steps[at..next].rotate_left(1);
    let Step::Scan(follower) = &mut program.steps[next] else { return None };
    follower.beside = true;
    Some(next)
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
