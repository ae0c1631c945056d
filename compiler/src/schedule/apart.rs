//! Recurrences that threads share by members: each carries some of them from the first step to the last.
//!
//! Otherwise threads divide the columns of each step's product, wait for each other at each step, and read what the others
//! have written in between. Sharing by members, each thread reads all weights at each step: they should stay in its core's
//! second cache.

use crate::kernel::{Program, Scan, Step};

/// The most weights that the products of a step have.
const WEIGHTS: usize = 512 << 10;

/// Says of each recurrence whether, and how, its members are apart.
pub(super) fn of_scans(program: &mut Program) {
    for step in &mut program.steps {
        if let Step::Scan(scan) = step {
            scan.members = scan.members_apart().filter(|_| weights(scan) <= WEIGHTS);
        }
    }
}

/// The weights of all products of a step, and of those ahead of it.
fn weights(scan: &Scan) -> usize {
    let weights = |step: &Step| match step {
        Step::MatMul(call) => call.k.times(&call.n).as_fixed().unwrap_or(usize::MAX),
        _ => 0,
    };
    scan.ahead.iter().chain(&scan.body).map(weights).fold(0, usize::saturating_add)
}
