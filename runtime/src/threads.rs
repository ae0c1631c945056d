//! Fork-join over fixed chunks: a result never depends on the number of threads.
#![expect(unsafe_code, reason = "workers call a closure that lives on the caller's stack")]

use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
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
    /// Whether a job runs. A pool is not `Sync`, so that one thread alone sees this.
    is_busy: Cell<bool>,
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
    /// One a worker.
    slots: Vec<Slot>,
    /// The next chunk of each thread's part, the caller's first.
    next: Vec<Line<AtomicUsize>>,
    /// Of each thread, the caller's first. A thread touches its own alone.
    scratch: Vec<Scratch>,
    // Waiting workers read these two all the time; nobody writes them but at the end, or after a panic.
    stop: AtomicBool,
    panicked: AtomicBool,
}

/// Where a worker finds its job: on cache lines of its own, which is all that a fork and a join move between two cores.
///
/// The caller writes the job while the state is [`IDLE`], and makes it [`POSTED`]. Who takes it from there, the worker to
/// [`TAKEN`] or the caller back to `IDLE`, does what it asks for; the worker makes the state `IDLE` when it is done.
#[derive(Debug)]
#[repr(align(128))]
struct Slot {
    state: AtomicU32,
    /// Set while the worker sleeps or is about to.
    is_parked: AtomicBool,
    job: UnsafeCell<Job>,
}

const IDLE: u32 = 0;
const POSTED: u32 = 1;
const TAKEN: u32 = 2;

impl Slot {
    /// Takes the job, for its worker or back for the caller, unless the other one has.
    fn take(&self, then: u32) -> bool {
        self.state.load(Ordering::Relaxed) == POSTED
            && self.state.compare_exchange(POSTED, then, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }
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

// SAFETY: a slot's job is written only by the pool's one user, while the slot is idle, and read by its worker after that has
// taken it. Of `scratch`, the first is the user's, and each worker has its own.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer in `job` is used only by a worker that has taken it, for which the user waits.
unsafe impl Send for Shared {}

/// How often an idle worker looks for a job before it sleeps: some tens of microseconds.
const SPINS: u32 = 4_000;
/// How often it then offers its core to others, for machines with fewer cores than threads.
const YIELDS: u32 = 8;

impl Pool {
    /// Makes a pool of `threads` threads (at least one): the caller of [`Pool::run`] and `threads - 1` workers.
    pub fn new(threads: usize) -> Pool {
        let count = threads.clamp(1, 1024) - 1;
        let shared = Arc::new(Shared {
            slots: (0..count).map(|_| Slot::default()).collect(),
            next: (0..=count).map(|_| Line(AtomicUsize::new(0))).collect(),
            scratch: (0..=count).map(|_| Scratch::new()).collect(),
            stop: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
        });
        let mut workers = Vec::with_capacity(count);
        for index in 0..count {
            let shared = Arc::clone(&shared);
            let built = std::thread::Builder::new().name(format!("netc-{index}")).spawn(move || work(&shared, index));
            // Fewer threads than asked for give the same results, later.
            let Ok(handle) = built else { break };
            workers.push(Worker { thread: handle.thread().clone(), handle: Some(handle) });
        }
        Pool { shared, workers, is_busy: Cell::new(false) }
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
        self.share_job(Job { call: call::<F>, body: (&raw const body).cast(), chunks });
    }

    /// One function for all kernels. The body lives until it returns.
    fn share_job(&self, job: Job) {
        assert!(!self.is_busy.replace(true), "a job within a job of the same pool");
        let (shared, chunks) = (&*self.shared, job.chunks);
        // Of a job before; the caller may have panicked, too, and not have told.
        if shared.panicked.load(Ordering::Relaxed) {
            shared.panicked.store(false, Ordering::Relaxed);
        }
        let parts = shared.parts(chunks);
        if chunks > parts {
            for (part, next) in shared.next[..parts].iter().enumerate() {
                next.0.store(part * chunks / parts, Ordering::Relaxed);
            }
        }
        let slots = &shared.slots[..parts - 1];
        for (index, slot) in slots.iter().enumerate() {
            // SAFETY: the slot is idle, so no one else looks at its job.
            unsafe { *slot.job.get() = job };
            slot.state.store(POSTED, Ordering::Release);
            // A worker that falls asleep just now may be missed: its job is taken back, as that of one that there is not.
            if slot.is_parked.load(Ordering::Relaxed) && slot.is_parked.swap(false, Ordering::SeqCst) {
                self.workers[index].thread.unpark();
            }
        }
        let closing = Closing { slots, is_busy: &self.is_busy };
        shared.work(0, &job, &shared.scratch[0]);
        // Of one chunk a thread, what the others have not begun, the last of them first.
        for part in (1..parts).rev() {
            if chunks == parts && slots[part - 1].take(IDLE) {
                shared.work(part, &job, &shared.scratch[0]);
            }
        }
        drop(closing);
        if shared.panicked.load(Ordering::Relaxed) {
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
struct Closing<'a> {
    slots: &'a [Slot],
    is_busy: &'a Cell<bool>,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        for slot in self.slots {
            if slot.take(IDLE) {
                continue;
            }
            let mut spins = 0;
            while slot.state.load(Ordering::Acquire) != IDLE {
                pause(&mut spins);
            }
        }
        self.is_busy.set(false);
    }
}

impl Shared {
    /// How many parts a job is divided into.
    fn parts(&self, chunks: usize) -> usize {
        self.next.len().min(chunks)
    }

    /// Runs a thread's chunk, or of more chunks than threads those that no one else has begun, the thread's own part first.
    fn work(&self, thread: usize, job: &Job, scratch: &Scratch) {
        // SAFETY: `call` is the instance of `call` for the type of `body`, which lives until all slots are idle.
        let body = |chunk| unsafe { (job.call)(job.body, scratch, chunk) };
        let (chunks, parts) = (job.chunks, self.parts(job.chunks));
        if chunks == parts {
            return body(thread);
        }
        for part in (thread..thread + parts).map(|part| part % parts) {
            let (next, end) = (&self.next[part].0, (part + 1) * chunks / parts);
            // A look before the claim: a part that is done costs no more than that.
            while next.load(Ordering::Relaxed) < end {
                let chunk = next.fetch_add(1, Ordering::Relaxed);
                if chunk >= end {
                    break;
                }
                body(chunk);
            }
        }
    }
}

fn work(shared: &Shared, index: usize) {
    let slot = &shared.slots[index];
    let mut spins = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        if slot.take(TAKEN) {
            // SAFETY: taken, so that the job stays as it is and its body alive.
            let job = unsafe { *slot.job.get() };
            if catch_unwind(AssertUnwindSafe(|| shared.work(index + 1, &job, &shared.scratch[index + 1]))).is_err() {
                shared.panicked.store(true, Ordering::Relaxed);
            }
            slot.state.store(IDLE, Ordering::Release);
            spins = 0;
            continue;
        }
        if pause(&mut spins) {
            continue;
        }
        // The flag is set before the last look.
        slot.is_parked.store(true, Ordering::SeqCst);
        if slot.state.load(Ordering::SeqCst) == IDLE && !shared.stop.load(Ordering::SeqCst) {
            std::thread::park();
        }
        slot.is_parked.store(false, Ordering::SeqCst);
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

impl Default for Slot {
    fn default() -> Self {
        let job = Job { call: nothing, body: std::ptr::null(), chunks: 0 };
        Slot { state: AtomicU32::new(IDLE), is_parked: AtomicBool::new(false), job: UnsafeCell::new(job) }
    }
}

/// The job of a worker that has not had any.
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
    fn panics_on_all_threads_are_those_of_one_job() {
        let pool = Pool::new(2);
        for chunks in [2, 8] {
            let both = std::sync::Barrier::new(2);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                pool.run(chunks, |_| {
                    both.wait();
                    panic!("on both threads");
                });
            }));
            assert!(outcome.is_err());
            check(&pool, 8);
        }
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
