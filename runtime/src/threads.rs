//! Fork-join over fixed chunks: a result never depends on the number of threads.
#![expect(unsafe_code, reason = "workers call a closure that lives on the caller's stack")]

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};

use crate::scratch::Scratch;

/// A fixed set of threads that work through the chunks of one job at a time, and the scratch memory of each.
///
/// The chunks of a job are chosen by its caller, and each chunk is run exactly once by exactly one thread,
/// so a job whose chunks write to disjoint places gives the same result with any number of threads.
///
/// Each thread begins with a part of the chunks that depends on their number alone, and then helps with the others'
/// parts: jobs that walk the same memory in the same chunks mostly find it in their core's own cache.
///
/// A pool may move to another thread, but only one thread at a time may use it, so that there is one job at a time:
///
/// ```compile_fail
/// let pool = netc_runtime::Pool::new(2);
/// std::thread::scope(|scope| {
///     scope.spawn(|| pool.run(1, |_| ()));
/// });
/// ```
///
/// Nothing of a pool is kept beside it, in the thread or the process.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<Worker>,
    /// A pool is not `Sync`.
    one_thread: PhantomData<std::cell::Cell<()>>,
}

/// Who works on the jobs of a kernel: all threads of a pool, or within a chunk the thread that runs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Team<'a> {
    /// Of the thread that runs the kernel.
    pub(crate) scratch: &'a Scratch,
    pool: Option<&'a Pool>,
}

impl<'a> Team<'a> {
    /// The thread of a chunk.
    pub(crate) fn alone(scratch: &'a Scratch) -> Team<'a> {
        Team { scratch, pool: None }
    }

    pub(crate) fn threads(&self) -> usize {
        self.pool.map_or(1, Pool::threads)
    }

    /// As [`Pool::run`]; `body` gets the scratch memory of its thread, too.
    #[inline]
    pub(crate) fn run<F: Fn(&Scratch, usize) + Sync>(&self, chunks: usize, body: F) {
        match self.pool {
            Some(pool) if !pool.workers.is_empty() && chunks > 1 => pool.share(chunks, body),
            _ => (0..chunks).for_each(|chunk| body(self.scratch, chunk)),
        }
    }
}

#[derive(Debug)]
struct Worker {
    handle: Option<JoinHandle<()>>,
    thread: Thread,
}

#[derive(Debug)]
struct Shared {
    /// The number of jobs so far (upper bits), whether the present one may be entered ([`OPEN`]), and how many
    /// workers are inside it (lower bits). One word, so that a worker enters exactly the job that it saw.
    gate: AtomicU64,
    job: UnsafeCell<Job>,
    /// The next chunk of each thread's part, the caller's first.
    next: Vec<Line<AtomicUsize>>,
    /// Of each thread, the caller's first. A thread touches its own alone.
    scratch: Vec<Scratch>,
    /// Whether a job runs.
    busy: AtomicBool,
    stop: AtomicBool,
    panicked: AtomicBool,
    /// One flag a worker: set while it sleeps or is about to.
    parked: Vec<AtomicBool>,
}

/// On a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Line<T>(pub(crate) T);

#[derive(Clone, Copy, Debug)]
struct Job {
    call: unsafe fn(*const (), &Scratch, usize),
    body: *const (),
    chunks: usize,
}

// SAFETY: `job` is written only by the pool's one user, while the gate is closed and no worker is inside. Of `scratch`,
// the first is the user's, and each worker has its own.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer in `job` is used only between the opening of the gate and the last worker's leaving.
unsafe impl Send for Shared {}

const OPEN: u64 = 1 << 16;
const INSIDE: u64 = OPEN - 1;
const NEXT_JOB: u64 = 1 << 17;

/// How often an idle worker looks for a job before it sleeps: some tens of microseconds.
const SPINS: u32 = 4_000;
/// How often it then offers its core to others, for machines with fewer cores than threads.
const YIELDS: u32 = 8;

impl Pool {
    /// Makes a pool of `threads` threads (at least one): the caller of [`Pool::run`] and `threads - 1` workers.
    pub fn new(threads: usize) -> Pool {
        let count = threads.clamp(1, 1024) - 1;
        let shared = Arc::new(Shared {
            gate: AtomicU64::new(0),
            job: UnsafeCell::new(Job { call: nothing, body: std::ptr::null(), chunks: 0 }),
            next: (0..=count).map(|_| Line(AtomicUsize::new(0))).collect(),
            scratch: (0..=count).map(|_| Scratch::new()).collect(),
            busy: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            parked: (0..count).map(|_| AtomicBool::new(false)).collect(),
        });
        let mut workers = Vec::with_capacity(count);
        for index in 0..count {
            let shared = Arc::clone(&shared);
            let built = std::thread::Builder::new().name(format!("netc-{index}")).spawn(move || work(&shared, index));
            // Fewer threads than asked for give the same results, later.
            let Ok(handle) = built else { break };
            workers.push(Worker { thread: handle.thread().clone(), handle: Some(handle) });
        }
        Pool { shared, workers, one_thread: PhantomData }
    }

    /// The number of threads, the caller included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// All threads, as kernels see them.
    pub(crate) fn team(&self) -> Team<'_> {
        Team { scratch: &self.shared.scratch[0], pool: Some(self) }
    }

    /// The scratch memory of each thread.
    pub(crate) fn scratch(&mut self) -> &[Scratch] {
        &self.shared.scratch[..=self.workers.len()]
    }

    /// Calls `body` once for each chunk in `0..chunks` and returns when all are done.
    ///
    /// Nothing is allocated, and with one thread no lock is taken and no system call made. A panic of `body` is passed on
    /// once no thread is inside it any more.
    pub fn run<F: Fn(usize) + Sync>(&self, chunks: usize, body: F) {
        self.team().run(chunks, |_, chunk| body(chunk));
    }

    /// Shares the chunks among all threads.
    fn share<F: Fn(&Scratch, usize) + Sync>(&self, chunks: usize, body: F) {
        assert!(!self.shared.busy.swap(true, Ordering::Acquire), "a job within a job of the same pool");
        let shared = &*self.shared;
        // SAFETY: the gate is closed with nobody inside, so no one else looks at the job.
        unsafe { *shared.job.get() = Job { call: call::<F>, body: (&raw const body).cast(), chunks } };
        let parts = shared.parts(chunks);
        for (part, next) in shared.next[..parts].iter().enumerate() {
            next.0.store(part * chunks / parts, Ordering::Relaxed);
        }
        shared.gate.fetch_add(NEXT_JOB | OPEN, Ordering::SeqCst);
        // Workers that sleep are woken one for each chunk beyond the caller's own.
        for (worker, parked) in self.workers.iter().zip(&shared.parked).take(chunks - 1) {
            if parked.load(Ordering::SeqCst) && parked.swap(false, Ordering::SeqCst) {
                worker.thread.unpark();
            }
        }
        let closing = Closing(shared);
        shared.work_through(0, body);
        drop(closing);
        if shared.panicked.swap(false, Ordering::Relaxed) {
            panic!("a chunk panicked on another thread");
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for worker in &mut self.workers {
            worker.thread.unpark();
            if let Some(handle) = worker.handle.take() {
                // A worker catches the panics of chunks, so it ends only by returning.
                handle.join().ok();
            }
        }
    }
}

/// Ends a job when dropped, also when a chunk panics: no worker may outlive the closure it calls.
struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.gate.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0;
        while self.0.gate.load(Ordering::Acquire) & INSIDE != 0 {
            pause(&mut spins);
        }
        self.0.busy.store(false, Ordering::Release);
    }
}

impl Shared {
    /// How many parts a job is divided into.
    fn parts(&self, chunks: usize) -> usize {
        self.next.len().min(chunks)
    }

    /// Runs the chunks that no one else has begun, those of the thread's own part first.
    fn work_through(&self, thread: usize, body: impl Fn(&Scratch, usize)) {
        let scratch = &self.scratch[thread];
        // SAFETY: the job does not change while its runner or a worker is inside.
        let chunks = unsafe { (*self.job.get()).chunks };
        let parts = self.parts(chunks);
        for part in (thread..thread + parts).map(|part| part % parts) {
            let (next, end) = (&self.next[part].0, (part + 1) * chunks / parts);
            // A look before the claim: a part that is done costs no more than that.
            while next.load(Ordering::Relaxed) < end {
                let chunk = next.fetch_add(1, Ordering::Relaxed);
                if chunk >= end {
                    break;
                }
                body(scratch, chunk);
            }
        }
    }

    /// Enters the present job unless it is closed or was entered by this worker before.
    fn enter(&self, last: &mut u64) -> bool {
        let gate = self.gate.load(Ordering::SeqCst);
        let job = gate / NEXT_JOB;
        if gate & OPEN == 0 || job == *last {
            return false;
        }
        if self.gate.compare_exchange(gate, gate + 1, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return false;
        }
        *last = job;
        true
    }
}

fn work(shared: &Shared, index: usize) {
    let mut last = 0;
    let mut spins = 0;
    while !shared.stop.load(Ordering::SeqCst) {
        if shared.enter(&mut last) {
            // SAFETY: inside the gate, where the job stays as it is and its body alive.
            let job = unsafe { *shared.job.get() };
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                // SAFETY: `call` is the instance of `call` for the type of `body`.
                shared.work_through(index + 1, |scratch, chunk| unsafe { (job.call)(job.body, scratch, chunk) });
            }));
            if outcome.is_err() {
                shared.panicked.store(true, Ordering::Relaxed);
            }
            shared.gate.fetch_sub(1, Ordering::Release);
            spins = 0;
            continue;
        }
        if pause(&mut spins) {
            continue;
        }
        // The flag is set before the last look, and the caller opens the gate before it reads the flag,
        // so one of the two sees the other.
        shared.parked[index].store(true, Ordering::SeqCst);
        let gate = shared.gate.load(Ordering::SeqCst);
        let job_waits = gate & OPEN != 0 && gate / NEXT_JOB != last;
        if !job_waits && !shared.stop.load(Ordering::SeqCst) {
            std::thread::park();
        }
        shared.parked[index].store(false, Ordering::SeqCst);
        spins = 0;
    }
}

/// Waits a moment; false when it has waited long enough to sleep instead.
pub(crate) fn pause(spins: &mut u32) -> bool {
    *spins = spins.saturating_add(1);
    if *spins < SPINS {
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
    *spins < SPINS + YIELDS
}

/// # Safety
/// `body` points to a live `F`.
unsafe fn call<F: Fn(&Scratch, usize)>(body: *const (), scratch: &Scratch, chunk: usize) {
    // SAFETY: promised by the caller.
    let body = unsafe { &*body.cast::<F>() };
    body(scratch, chunk);
}

/// The job of a pool that has not run any.
///
/// # Safety
/// Safe for all arguments.
unsafe fn nothing(_: *const (), _: &Scratch, _: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pool: &Pool, chunks: usize) {
        let seen: Vec<AtomicUsize> = (0..chunks).map(|_| AtomicUsize::new(0)).collect();
        pool.run(chunks, |chunk| {
            seen[chunk].fetch_add(1, Ordering::Relaxed);
        });
        assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn every_chunk_runs_once() {
        for threads in [0, 1, 2, 3, 8] {
            let pool = Pool::new(threads);
            for chunks in [0, 1, 2, 3, 7, 100] {
                check(&pool, chunks);
            }
        }
    }

    #[test]
    fn many_tiny_runs() {
        let pool = Pool::new(3);
        let sum = AtomicUsize::new(0);
        for _ in 0..20_000 {
            pool.run(3, |chunk| {
                sum.fetch_add(chunk + 1, Ordering::Relaxed);
            });
        }
        assert_eq!(sum.into_inner(), 120_000);
    }

    #[test]
    fn workers_wake_from_sleep() {
        let pool = Pool::new(2);
        for _ in 0..20 {
            std::thread::sleep(std::time::Duration::from_millis(2));
            check(&pool, 5);
        }
    }

    #[test]
    fn pools_drop_while_idle() {
        for _ in 0..100 {
            let pool = Pool::new(3);
            check(&pool, 4);
        }
        drop(Pool::new(4));
    }

    #[test]
    fn a_chunk_works_on_jobs_of_its_own_alone() {
        let pool = Pool::new(2);
        let sum = AtomicUsize::new(0);
        pool.team().run(4, |scratch, _| {
            let address = std::ptr::from_ref(scratch) as usize;
            let thread = std::thread::current().id();
            let team = Team::alone(scratch);
            assert_eq!(team.threads(), 1);
            team.run(4, |own, _| {
                assert_eq!(std::thread::current().id(), thread);
                assert_eq!(std::ptr::from_ref(own) as usize, address);
                sum.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(sum.into_inner(), 16);
    }

    #[test]
    fn every_thread_has_its_own_scratch_memory() {
        let pool = Pool::new(3);
        let used = std::sync::Mutex::new(std::collections::BTreeMap::new());
        for _ in 0..200 {
            pool.team().run(50, |scratch, _| {
                let thread = format!("{:?}", std::thread::current().id());
                let address = std::ptr::from_ref(scratch) as usize;
                assert_eq!(*used.lock().unwrap().entry(address).or_insert(thread.clone()), thread);
            });
        }
        assert!(used.into_inner().unwrap().len() <= 3);
    }

    #[test]
    fn a_pool_moves_to_another_thread_and_several_run_at_once() {
        let pools = [Pool::new(2), Pool::new(3), Pool::new(1)];
        std::thread::scope(|scope| {
            for pool in pools {
                scope.spawn(move || {
                    for round in 0..2_000 {
                        check(&pool, round % 9);
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(2);
        for bad in 0..8 {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                pool.run(8, |chunk| assert_ne!(chunk, bad));
            }));
            assert!(outcome.is_err());
            check(&pool, 8);
        }
    }
}
