//! Where buffers lie in one workspace, so that those that are in use at the same time are apart.

use std::cmp::Reverse;

use crate::order::sort_numbers;

/// The alignment of every buffer in bytes: a cache line, and the widest vectors.
pub const ALIGNMENT: usize = 64;

/// Steps `first..=last` of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    pub first: usize,
    pub last: usize,
}

/// How often buffers are placed at the most, when the placement is not near the best there is.
const ROUNDS: usize = 40;

/// The byte offset of each buffer, given when it lives and its size in bytes, and the bytes of the whole workspace.
///
/// The largest comes first, each at the lowest address where nothing that lives at the same time lies (Pisarchyk and Lee
/// 2020, "greedy by size"). Where that takes much more than what lives at one time, the buffer that ends last is placed first
/// and all others after it, a few times; the best counts. Sizes that overflow give a workspace of `usize::MAX` bytes.
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
    // Within three percent is near.
    let least = largest_live(buffers).0;
    let near = least.saturating_add(least / 32);
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    let key = |at: usize| (Reverse(aligned(buffers[at].1)), buffers[at].0.first, at);
    sort_numbers(&mut order, &|a, b| key(a).cmp(&key(b)));
    let (mut offsets, mut workspace) = place_in(&order, buffers);
    let mut last = (offsets.clone(), workspace);
    for _ in 1..ROUNDS {
        let ends = |at: usize| last.0[at].saturating_add(aligned(buffers[at].1)) == last.1;
        let Some(highest) = order.iter().position(|&at| ends(at)).filter(|_| workspace > near) else { break };
        order[..=highest].rotate_right(1);
        last = place_in(&order, buffers);
        if last.1 < workspace {
            (offsets, workspace) = last.clone();
        }
    }
    (offsets, workspace)
}

/// The most bytes that live at a time, and the first step where it is so. No placement takes less.
pub fn largest_live(buffers: &[(Lifetime, usize)]) -> (usize, usize) {
    // What begins at each step, and what has ended before it.
    let steps = buffers.iter().map(|(lifetime, _)| lifetime.last + 1).max().unwrap_or(0);
    let mut changes = vec![[0_usize; 2]; steps + 1];
    for (lifetime, bytes) in buffers {
        for (step, change) in [(lifetime.first, 0), (lifetime.last + 1, 1)] {
            changes[step][change] = changes[step][change].saturating_add(aligned(*bytes));
        }
    }
    let (mut live, mut largest) = (0_usize, (0, 0));
    for (step, [begun, ended]) in changes.into_iter().enumerate() {
        live = live.saturating_sub(ended).saturating_add(begun);
        if largest.0 < live {
            largest = (live, step);
        }
    }
    largest
}

fn aligned(bytes: usize) -> usize {
    bytes.checked_next_multiple_of(ALIGNMENT).unwrap_or(usize::MAX)
}

/// Each buffer, in this order, at the lowest address where it can lie.
fn place_in(order: &[usize], buffers: &[(Lifetime, usize)]) -> (Vec<usize>, usize) {
    let mut offsets = vec![0; buffers.len()];
    // What has been placed, by address.
    let mut placed: Vec<(usize, usize, Lifetime)> = Vec::with_capacity(order.len());
    let mut workspace = 0;
    for &at in order {
        let (lifetime, n) = (buffers[at].0, aligned(buffers[at].1));
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
            assert!(largest_live(&buffers).0 <= bytes);
            for (i, (a, n)) in buffers.iter().enumerate() {
                assert!(offsets[i].is_multiple_of(ALIGNMENT) && offsets[i] + n <= bytes);
                for (j, (b, m)) in buffers.iter().enumerate().skip(i + 1) {
                    let apart = offsets[i] + n <= offsets[j] || offsets[j] + m <= offsets[i];
                    assert!(apart || a.last < b.first || b.last < a.first, "{i} and {j} of round {round}");
                }
            }
        }
    }

    /// Greedy by size alone leaves a hole under the last.
    #[test]
    fn what_ends_last_is_placed_anew() {
        let life = |first, last| Lifetime { first, last };
        let buffers = [(life(0, 0), 192), (life(0, 1), 128), (life(1, 2), 128), (life(2, 2), 192)];
        assert_eq!(largest_live(&buffers), (320, 0));
        let by_size = place_in(&[0, 3, 1, 2], &buffers).1;
        assert!(320 < by_size && place(&buffers).1 == 320, "{by_size}");
    }

    #[test]
    fn sizes_that_overflow_are_seen() {
        let life = Lifetime { first: 0, last: 0 };
        assert_eq!(place(&[(life, usize::MAX), (life, 64)]).1, usize::MAX);
    }
}
