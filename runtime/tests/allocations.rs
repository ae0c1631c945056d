//! After its creation an instance allocates nothing.
#![expect(unsafe_code, reason = "an allocator that counts")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::{N, network};
use netc_runtime::artifact::{Array, Figures, Instance, Options, Sizes, Steps};

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator, and a count.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: promised by the caller.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: promised by the caller.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn calls_allocate_nothing() {
    for threads in [1, 2] {
        let options = Options { batch: 200, steps: vec![6], threads, ..network().options() };
        let mut instance = Instance::new(&network(), &options).unwrap();
        let (x, tokens, goal) = (vec![0.5; 600], vec![2; 1200], vec![0.0; 200 * N]);
        let lengths = vec![3; 200];
        let (mut y, mut total) = (vec![0.0; 200 * N], vec![0.0; 600]);
        let mut metrics = [0.0];
        let before = COUNT.get();
        // The very first calls count, too.
        for batch in [200, 1, 130] {
            let inputs = [Array::F32(&x[..3 * batch]), Array::I32(&tokens[..6 * batch])];
            for lengths in [None, Some(&lengths[..batch])] {
                let axes = [Steps { steps: 6, lengths }];
                instance.forward(&Sizes { batch, axes: &axes }, &inputs, &mut [&mut y[..batch * N]]).unwrap();
            }
            let sizes = Sizes { batch, axes: &[] };
            let mut figures = Figures { loss: 0.0, metrics: &mut metrics };
            instance.train_step(&sizes, &inputs[..1], &[Array::F32(&goal[..batch * N])], &mut figures).unwrap();
            instance.begin(&sizes, &[], &mut []).unwrap();
            for _ in 0..3 {
                instance.step(&inputs[..1], &mut [&mut [], &mut total[..3 * batch]]).unwrap();
            }
            instance.set_carry(true).unwrap();
            instance.forward(&sizes, &inputs[..1], &mut [&mut [], &mut total[..3 * batch]]).unwrap();
            instance.set_carry(false).unwrap();
        }
        assert_eq!(COUNT.get() - before, 0, "with {threads} threads");
    }
}
