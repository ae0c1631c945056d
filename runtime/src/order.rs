//! Sorting by one function for items of all types: it seldom runs, and libraries that are shipped stay small.

use std::cmp::Ordering;

/// Puts items in an order. Equal ones may change places.
pub(crate) fn sort_by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let mut order: Vec<usize> = (0..items.len()).collect();
    sort_numbers(&mut order, &|a, b| compare(&items[a], &items[b]));
    // Where each item goes is known: along the cycles.
    for start in 0..order.len() {
        let mut at = start;
        while order[at] != start {
            let next = std::mem::replace(&mut order[at], at);
            items.swap(at, next);
            at = next;
        }
        order[at] = at;
    }
}

/// Puts numbers in the order of what they stand for.
pub(crate) fn sort_numbers(numbers: &mut [usize], compare: &dyn Fn(usize, usize) -> Ordering) {
    numbers.sort_unstable_by(|&a, &b| compare(a, b));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Key;

    #[test]
    fn items_are_in_order() {
        for len in [0, 1, 2, 3, 50, 1000] {
            let mut items: Vec<(u32, usize)> = (0..len).map(|at| (Key::new(3).bits(0, at as u32) % 40, at)).collect();
            let mut truth = items.clone();
            truth.sort();
            sort_by(&mut items, Ord::cmp);
            assert_eq!(items, truth);
            sort_by(&mut items, |a, b| b.cmp(a));
            truth.reverse();
            assert_eq!(items, truth);
        }
    }
}
