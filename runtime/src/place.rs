//! Where buffers lie in one workspace, so that those that are in use at the same time are apart.

use std::cmp::Reverse;

/// The alignment of every buffer in bytes: a cache line, and the widest vectors.
pub const ALIGNMENT: usize = 64;

/// Steps `first..=last` of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    pub first: usize,
    pub last: usize,
}

/// The byte offset of each buffer, given when it lives and its size in bytes, and the bytes of the whole workspace.
///
/// The largest comes first, each at the lowest address where nothing that lives at the same time lies (Pisarchyk and Lee
/// 2020, "greedy by size"). Sizes that overflow give a workspace of `usize::MAX` bytes.
///
/// ```
/// use netc_runtime::place::{Lifetime, place};
///
/// let life = |first, last| Lifetime { first, last };
/// let (offsets, bytes) = place(&[(life(0, 1), 100), (life(1, 2), 64), (life(2, 3), 128)]);
/// assert_eq!(offsets, [0, 128, 0]);
/// assert_eq!(bytes, 192);
/// ```
pub fn place(buffers: &[(Lifetime, usize)]) -> (Vec<usize>, usize) {
    let bytes = |at: usize| buffers[at].1.checked_next_multiple_of(ALIGNMENT).unwrap_or(usize::MAX);
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&at| (Reverse(bytes(at)), buffers[at].0.first, at));
    let mut offsets = vec![0; buffers.len()];
    // What has been placed, by address.
    let mut placed: Vec<(usize, usize, Lifetime)> = Vec::with_capacity(order.len());
    let mut workspace = 0;
    for at in order {
        let (lifetime, n) = (buffers[at].0, bytes(at));
        let mut offset: usize = 0;
        for &(start, end, other) in &placed {
            let overlaps = lifetime.first <= other.last && other.first <= lifetime.last;
            if !overlaps {
                continue;
            }
            if offset.saturating_add(n) <= start {
                break;
            }
            offset = offset.max(end);
        }
        offsets[at] = offset;
        let end = offset.saturating_add(n);
        workspace = workspace.max(end);
        let place = placed.partition_point(|&(start, ..)| start < offset);
        placed.insert(place, (offset, end, lifetime));
    }
    (offsets, workspace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Key;

    #[test]
    fn what_lives_at_the_same_time_lies_apart() {
        let key = Key::new(3);
        for round in 0..100 {
            let random = |i: usize, below: u32| key.bits(round, i as u32) % below;
            let buffers: Vec<(Lifetime, usize)> = (0..20)
                .map(|i| {
                    let first = random(3 * i, 10) as usize;
                    let last = first + random(3 * i + 1, 4) as usize;
                    (Lifetime { first, last }, random(3 * i + 2, 500) as usize)
                })
                .collect();
            let (offsets, bytes) = place(&buffers);
            for (i, (a, n)) in buffers.iter().enumerate() {
                assert!(offsets[i].is_multiple_of(ALIGNMENT) && offsets[i] + n <= bytes);
                for (j, (b, m)) in buffers.iter().enumerate().skip(i + 1) {
                    let apart = offsets[i] + n <= offsets[j] || offsets[j] + m <= offsets[i];
                    assert!(apart || a.last < b.first || b.last < a.first, "{i} and {j} of round {round}");
                }
            }
        }
    }

    #[test]
    fn sizes_that_overflow_are_seen() {
        let life = Lifetime { first: 0, last: 0 };
        assert_eq!(place(&[(life, usize::MAX), (life, 64)]).1, usize::MAX);
    }
}
