//! Two recurrences side by side, each on a thread: the second waits for the steps of the first that it reads.
//!
//! Each loop is a function with a frame of its own, since slices' addresses move from step to step. A third function is for
//! who has no two threads, or so many members that threads had better share those.

use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::driver::Driver;
use super::members::{LEAST, Share};
use crate::kernel::{Scan, Step};
use crate::types::Dim;

/// Steps of a round at most: how far the second is behind the first. Two tiles of rows at batch 1.
const ROUND: i64 = 12;

/// How a loop is tied to the one beside it.
#[derive(Clone, Copy)]
pub(super) struct Tie {
    /// Where the number of steps that are done stands.
    progress: Value,
    leads: bool,
}

impl Driver<'_, '_, '_> {
    /// Carries out two scans, of which the second follows the first.
    pub(super) fn side_by_side(&mut self, pair: [&Scan; 2]) {
        pair.into_iter().for_each(|scan| self.before_steps(scan));
        let ids = [true, false].map(|leads| self.emitter.beside(self.role, pair[usize::from(!leads)], leads));
        let otherwise = self.emitter.one_after_the_other(self.role, pair);
        let [first, second, otherwise] = [ids[0], ids[1], otherwise].map(|id| {
            let function = self.local(id);
            self.builder.ins().func_addr(types::I64, function)
        });
        // Members that threads would share, if they can.
        let members = pair.map(|scan| scan.members.as_ref());
        let total = match members {
            [Some(members), Some(_)] => self.size(&Dim::from(members.size.clone())),
            _ => self.number(0),
        };
        let least = self.number(LEAST);
        let mut work = self.number(0);
        for step in pair.into_iter().flat_map(|scan| scan.ahead.iter().chain(&scan.body)) {
            let Step::MatMul(call) = step else { continue };
            let product = self.size(&call.m.times(&call.n).times(&call.k));
            work = self.builder.ins().iadd(work, product);
        }
        self.call("netc_beside", self.frame, &[first, second, otherwise, total, least, work]);
        pair.into_iter().for_each(|scan| self.after_steps(scan));
    }
    /// The code of one of the two, whose arguments are those of [`netc_runtime::abi::BesideFn`].
    pub(super) fn beside(&mut self, scan: &Scan, leads: bool, arguments: &[Value]) {
        let &[whole, team, progress] = arguments else { panic!("three arguments: {arguments:?}") };
        let first = self.number(0);
        self.own_frame(scan, Share::from(whole, first), team, |_, _| None);
        self.tie = Some(Tie { progress, leads });
        self.all_steps(scan);
    }

    /// Rounds of a loop that is tied are short.
    pub(super) fn tied_round(&mut self, in_round: Value) -> Value {
        if self.tie.is_none() {
            return in_round;
        }
        let most = self.number(ROUND);
        self.builder.ins().umin(in_round, most)
    }
    /// Waits, in a loop that follows, until the one before has done so many of its `length` steps, or all.
    pub(super) fn wait_for(&mut self, done: Value, length: Value) {
        if let Some(Tie { progress, leads: false }) = self.tie {
            let done = self.builder.ins().smin(done, length);
            self.call("netc_await", self.frame, &[progress, done]);
        }
    }
    /// Says, in a loop that leads, how many steps are done.
    pub(super) fn tell(&mut self, done: Value) {
        if let Some(Tie { progress, leads: true }) = self.tie {
            self.builder.ins().atomic_store(super::lanes::memory(), done, progress);
        }
    }
}
