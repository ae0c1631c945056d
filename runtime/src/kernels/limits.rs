//! What this machine can do at best, measured: the figures that kernels are compared with.
#![expect(unsafe_code, reason = "vector instructions and the thread's clock")]

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::Instant;

use super::cpu::{cpu, run_on};
use super::simd::{Simd, Task};
use crate::threads::Pool;

/// How often each figure is taken; the best counts, since other work on the machine only takes away.
const ROUNDS: usize = 20;
/// Independent sums, more than any processor has multiply-adds in flight.
const SUMS: usize = 12;
/// Multiply-adds of each sum in one round: some milliseconds.
const STEPS: usize = 1 << 20;
/// Floats that are read: more than caches hold.
const FLOATS: usize = 1 << 26;

/// Multiplications and additions of `f32` a second, of all threads of the pool together.
pub fn operations_per_second(pool: &Pool) -> f64 {
    let operations = multiply_adds(STEPS) * pool.threads();
    let seconds = best(|| {
        pool.run(pool.threads(), |_| {
            multiply_adds(STEPS);
        });
    });
    operations as f64 / seconds
}

/// Carries out independent multiply-adds that touch no memory, `steps` in each of a dozen vectors or for as long in a matrix
/// unit, on this thread; says how many multiplications and additions these are. For whoever has a clock of their own.
pub fn multiply_adds(steps: usize) -> usize {
    let mut operations = 0;
    #[cfg(target_arch = "x86_64")]
    if cpu() == super::cpu::Cpu::Amx {
        // 384 cycles for four tiles and six products of parts, where a dozen vectors take six.
        // SAFETY: this process has the unit, and nothing here uses it.
        return unsafe { super::amx::tile::multiply_adds(steps / 64) };
    }
    run_on(cpu(), MultiplyAdd { steps, operations: &mut operations });
    operations
}

/// Seconds that this thread has run, where the system tells; else those of the clock. On a shared machine the former says
/// more, as long as only one thread works.
pub fn thread_seconds() -> f64 {
    #[cfg(target_os = "linux")]
    {
        unsafe extern "C" {
            fn clock_gettime(clock: i32, time: *mut [i64; 2]) -> i32;
        }
        const THREAD_CPUTIME: i32 = 3;
        let mut time = [0; 2];
        // SAFETY: `time` is a `timespec` of this system.
        if unsafe { clock_gettime(THREAD_CPUTIME, &raw mut time) } == 0 {
            return time[0] as f64 + time[1] as f64 * 1e-9;
        }
    }
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64()
}

/// Bytes a second that all threads of the pool together read from memory.
pub fn bytes_per_second(pool: &Pool) -> f64 {
    let floats = vec![1.0_f32; FLOATS];
    let parts = 4 * pool.threads();
    let part = FLOATS / parts;
    let round = || {
        pool.run(parts, |at| {
            run_on(cpu(), Read { floats: &floats[at * part..(at + 1) * part] });
        });
    };
    (part * parts * size_of::<f32>()) as f64 / best(round)
}

/// The seconds of the fastest round, after one that counts for nothing.
fn best(mut round: impl FnMut()) -> f64 {
    round();
    let times = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        round();
        start.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min)
}

struct MultiplyAdd<'a> {
    steps: usize,
    operations: &'a mut usize,
}

impl Task for MultiplyAdd<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: called with the instructions of `S`.
        unsafe {
            let (factor, mut sums) = (S::splat(black_box(0.999_999)), [S::splat(black_box(1.0)); SUMS]);
            for _ in 0..self.steps {
                for sum in &mut sums {
                    *sum = S::mul_add(*sum, factor, factor);
                }
            }
            black_box(sums.into_iter().fold(0.0, |all, sum| all + S::sum(sum)));
        }
        *self.operations = 2 * S::LANES * SUMS * self.steps;
    }
}

struct Read<'a> {
    floats: &'a [f32],
}

impl Task for Read<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: called with the instructions of `S`; every block of eight vectors is within the slice.
        unsafe {
            let mut sums = [S::splat(0.0); 8];
            for block in self.floats.chunks_exact(8 * S::LANES) {
                for (at, sum) in sums.iter_mut().enumerate() {
                    *sum = S::add(*sum, S::load(block.as_ptr().add(at * S::LANES)));
                }
            }
            black_box(sums.into_iter().fold(0.0, |all, sum| all + S::sum(sum)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_a_computer() {
        let pool = Pool::new(1);
        let (operations, bytes) = (operations_per_second(&pool), bytes_per_second(&pool));
        assert!((1e8..1e13).contains(&operations), "{operations} operations a second");
        assert!((1e8..1e13).contains(&bytes), "{bytes} bytes a second");
        let start = thread_seconds();
        assert!(multiply_adds(1 << 16) >= 1 << 16);
        assert!(thread_seconds() > start);
    }
}
