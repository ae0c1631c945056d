//! Functions that generated code calls, called by tests.
#![expect(unsafe_code, reason = "frames and descriptors have raw pointers")]

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

unsafe extern "C" fn count(frame: *const u64, begin: i64, end: i64) {
    // SAFETY: the test's frame holds the address of 100 counters.
    let counts = unsafe { &*(*frame.add(1) as *const [AtomicU32; 100]) };
    for i in begin..end {
        counts[i as usize].fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_range_is_covered_once_for_any_grain() {
    for threads in [1, 3] {
        let pool = Pool::new(threads);
        for grain in [-1, 1, 7, 100, 1000] {
            let counts = [const { AtomicU32::new(0) }; 100];
            let frame = [(&raw const pool) as u64, (&raw const counts) as u64];
            // SAFETY: the frame is what `count` expects.
            unsafe {
                netc_parallel_for(frame.as_ptr(), count, 100, grain);
                netc_parallel_for(frame.as_ptr(), count, -5, grain);
            }
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        }
    }
}

/// Counts its members, and that nobody works on a share but the thread that has it.
unsafe extern "C" fn share(frame: *const u64, team: u64, begin: i64, end: i64) {
    // SAFETY: the test's frame, and one that begins with the word of the share.
    unsafe {
        let inner = [team, *frame.add(1)];
        let is_whole = (begin, end) == (0, 100) && team == *frame;
        assert!(is_whole || Frame::new(inner.as_ptr()).team().threads() == 1);
        netc_parallel_for(inner.as_ptr(), count, end - begin, 3);
        count(inner.as_ptr(), begin, end);
    }
}

#[test]
fn members_are_shared_once() {
    for threads in [1, 2, 3, 7] {
        let pool = Pool::new(threads);
        for least in [1, 33, 101] {
            let shares = if threads > 1 && 100 / threads < least as usize { 1 } else { threads };
            let counts = [const { AtomicU32::new(0) }; 100];
            let frame = [(&raw const pool) as u64, (&raw const counts) as u64];
            // SAFETY: the frame is what `share` expects.
            unsafe { netc_share(frame.as_ptr(), share, 100, least) };
            let total: u32 = counts.iter().map(|count| count.load(Ordering::Relaxed)).sum();
            assert_eq!(total, 200);
            // The first is counted by each share's loop, too.
            assert_eq!(counts[0].load(Ordering::Relaxed) as usize, 1 + shares);
        }
    }
}

#[test]
fn rows_are_added_in_order_and_indices_are_clamped() {
    let (rows, cols, table_rows) = (5, 330, 4);
    let source: Vec<f32> = (0..rows * cols).map(|i| i as f32).collect();
    let index = [2, 9, 2, 9, -7, 9, 90, 9, 2, 9];
    let mut truth = vec![0.0; table_rows * cols];
    for (row, to) in [2, 2, 0, 3, 2].into_iter().enumerate() {
        for col in 0..cols {
            truth[to * cols + col] += source[row * cols + col];
        }
    }
    let pool = Pool::new(2);
    let frame = [(&raw const pool) as u64];
    let mut table = vec![f32::NAN; table_rows * cols];
    let d = ScatterAdd {
        rows: rows as i64,
        cols: cols as i64,
        table_rows: table_rows as i64,
        index: index.as_ptr(),
        index_stride: 2,
        source: source.as_ptr(),
        source_rs: cols as i64,
        table: table.as_mut_ptr(),
    };
    // SAFETY: the descriptor is that of the vectors.
    unsafe { netc_scatter_add_rows(frame.as_ptr(), &raw const d) };
    assert_eq!(table, truth);
}

#[test]
fn two_go_side_by_side_or_else_one_after_the_other() {
    unsafe extern "C" fn first(frame: *const u64, _: u64, progress: *const AtomicI64) {
        for step in 1..=1000 {
            // SAFETY: as the test says.
            let (count, progress) = unsafe { (&*(*frame.add(1) as *const AtomicI64), &*progress) };
            count.fetch_add(1, Ordering::Relaxed);
            progress.store(step, Ordering::Release);
        }
    }
    unsafe extern "C" fn second(frame: *const u64, _: u64, progress: *const AtomicI64) {
        for step in (10..=1000).step_by(10) {
            // SAFETY: as the test says.
            unsafe { netc_await(frame, progress, step) };
            // SAFETY: as the test says.
            assert!(unsafe { &*(*frame.add(1) as *const AtomicI64) }.load(Ordering::Relaxed) >= step);
        }
    }
    unsafe extern "C" fn otherwise(frame: *const u64) {
        // SAFETY: as the test says.
        unsafe { &*(*frame.add(1) as *const AtomicI64) }.store(-1, Ordering::Relaxed);
    }
    let cases = [(2, 0, 1000), (2, 23, 1000), (2, 24, -1), (1, 0, -1), (3, 0, 1000), (3, 30, -1)];
    for (threads, total, found) in cases {
        let (pool, count) = (Pool::new(threads), AtomicI64::new(0));
        let frame = [&raw const pool as u64, &raw const count as u64];
        // SAFETY: the second word is the count's address.
        unsafe { netc_beside(frame.as_ptr(), first, second, otherwise, total, 12, 1 << total) };
        assert_eq!(count.into_inner(), found, "{threads} threads, {total} members");
    }
}

#[test]
fn symbols_have_their_linked_names() {
    assert_eq!(symbols().len(), 12);
    assert!(symbols().iter().all(|(name, address)| name.starts_with("netc_") && !address.is_null()));
}
