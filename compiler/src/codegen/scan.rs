//! The loop of a recurrence: slices that move from step to step, and products that are computed ahead, in rounds.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::driver::Driver;
use super::lanes::memory;
use super::product::Joined;
use crate::kernel::{Scan, Step, Turns};

/// Elements that the products ahead of a recurrence's steps compute at once: they stay in the second cache until the steps
/// have read them.
const ROUND: i64 = 128 << 10;
/// More weights than these would leave the second cache from round to round, and few rows do not repay reading them again:
/// then one round has all steps.
const WEIGHTS: usize = 160 << 10;

impl Driver<'_, '_, '_> {
    /// A loop whose slices' words in the frame are set anew at each step.
    pub(super) fn scan(&mut self, scan: &Scan) {
        self.before_steps(scan);
        self.shared_steps(scan);
        self.after_steps(scan);
    }
    /// What comes before the loop.
    pub(super) fn before_steps(&mut self, scan: &Scan) {
        if !scan.start.is_empty() {
            let step = if scan.reverse { self.size(&scan.length) } else { self.number(-1) };
            let zero = self.number(0);
            self.move_slices(scan, step, zero);
            self.steps(&scan.start);
        }
    }
    /// The loop, shared by threads if they can.
    pub(super) fn shared_steps(&mut self, scan: &Scan) {
        match &scan.members {
            Some(members) => self.share_out(scan, members),
            None => self.all_steps(scan),
        }
    }
    /// What comes after the loop.
    pub(super) fn after_steps(&mut self, scan: &Scan) {
        if !scan.finish.is_empty() {
            let step = if scan.reverse { self.number(-1) } else { self.size(&scan.length) };
            let zero = self.number(0);
            self.move_slices(scan, step, zero);
            self.steps(&scan.finish);
        }
    }
    /// The loop itself.
    pub(super) fn all_steps(&mut self, scan: &Scan) {
        let length = self.size(&scan.length);
        let (before, by) = if scan.reverse { (length, -1) } else { (self.number(-1), 1) };
        let zero = self.number(0);
        let joined = self.join(scan);
        let outer_joined = std::mem::replace(&mut self.joined, joined);
        let in_round = self.steps_of_a_round(scan, length);
        let [head, body, done] = std::array::from_fn(|_| self.builder.create_block());
        let [step, old_base, old_end] = [(); 3].map(|()| self.builder.append_block_param(head, types::I64));
        let first = self.builder.ins().iadd_imm_s(before, by);
        self.builder.ins().jump(head, &[first.into(), zero.into(), first.into()]);
        self.builder.switch_to_block(head);
        let more = if scan.reverse {
            self.builder.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, step, 0)
        } else {
            self.builder.ins().icmp(IntCC::SignedLessThan, step, length)
        };
        self.builder.ins().brif(more, body, &[], done, &[]);
        self.builder.switch_to_block(body);
        let [base, end] = match in_round {
            Some(in_round) => self.round(scan, [step, length, in_round], [old_base, old_end]),
            None => {
                let n_done = self.n_done(scan, step, length);
                self.wait_for(n_done, length);
                [old_base, old_end]
            }
        };
        self.move_slices(scan, step, base);
        let outer = self.step.replace(step);
        self.steps(&scan.body);
        self.step = outer;
        let next = self.builder.ins().iadd_imm_s(step, by);
        let n_done = self.n_done(scan, step, length);
        self.tell(n_done);
        self.builder.ins().jump(head, &[next.into(), base.into(), end.into()]);
        self.builder.switch_to_block(done);
        let mut stores = scan.body.iter().filter_map(Step::kernel).flat_map(|kernel| &kernel.stores);
        if stores.any(|store| store.streamed.is_some()) {
            // What went past the caches is there before anything that follows, whoever reads it: each thread that has a part
            // of the loop sees to its own.
            self.builder.ins().fence();
        }
        self.joined = outer_joined;
    }
    /// How many steps are done when `step` is.
    fn n_done(&mut self, scan: &Scan, step: Value, length: Value) -> Value {
        if scan.reverse { self.builder.ins().isub(length, step) } else { self.builder.ins().iadd_imm_s(step, 1) }
    }
    /// How many steps a round has, if there are rounds: one where each step computes what is ahead with its own product.
    fn steps_of_a_round(&mut self, scan: &Scan, length: Value) -> Option<Value> {
        if scan.ahead.is_empty() {
            return None;
        }
        let mut in_round = self.steps_at_once(scan, length);
        if let Some(Joined { are_joined, .. }) = self.joined {
            let one = self.number(1);
            in_round = self.builder.ins().select(are_joined, one, in_round);
        }
        Some(self.tied_round(in_round))
    }
    /// How many steps products ahead are computed for at once by themselves: as many as [`ROUND`] holds, about equally many in all
    /// rounds.
    fn steps_at_once(&mut self, scan: &Scan, length: Value) -> Value {
        let weights = scan.ahead.iter().map(|step| match step {
            Step::MatMul(call) => call.k.times(&call.n).as_fixed().unwrap_or(usize::MAX),
            _ => 0,
        });
        if weights.fold(0, usize::saturating_add) > WEIGHTS {
            return length;
        }
        let one = self.number(1);
        // Of all products; where nothing is computed one divides by 1.
        let mut elements = self.number(0);
        for step in &scan.ahead {
            let Step::MatMul(call) = step else { continue };
            let product = self.size(&call.m.times(&call.n));
            elements = self.builder.ins().iadd(elements, product);
        }
        let ceil = |driver: &mut Self, a: Value, b: Value| {
            let more = driver.builder.ins().iadd(a, b);
            let more = driver.builder.ins().isub(more, one);
            driver.builder.ins().udiv(more, b)
        };
        let elements = self.builder.ins().umax(elements, one);
        let all = self.number(ROUND);
        let most = self.builder.ins().udiv(all, elements);
        let most = self.builder.ins().umax(most, one);
        let rounds = ceil(self, length, most);
        let rounds = self.builder.ins().umax(rounds, one);
        ceil(self, length, rounds)
    }
    /// Computes the products ahead where a round begins; the earliest of its steps, and the step with which the next begins.
    /// The last round has steps of the one before, so that it is as long as all others.
    fn round(&mut self, scan: &Scan, [step, length, in_round]: [Value; 3], [base, end]: [Value; 2]) -> [Value; 2] {
        let [begin, go] = std::array::from_fn(|_| self.builder.create_block());
        let params = [(); 2].map(|()| self.builder.append_block_param(go, types::I64));
        let begins = self.builder.ins().icmp(IntCC::Equal, step, end);
        self.builder.ins().brif(begins, begin, &[], go, &[base.into(), end.into()]);
        self.builder.switch_to_block(begin);
        let [base, end] = if scan.reverse {
            let end = self.builder.ins().isub(step, in_round);
            let base = self.builder.ins().iadd_imm_s(end, 1);
            let earliest = self.number(0);
            [self.builder.ins().smax(base, earliest), end]
        } else {
            let latest = self.builder.ins().isub(length, in_round);
            [self.builder.ins().umin(step, latest), self.builder.ins().iadd(step, in_round)]
        };
        let last = if scan.reverse { base } else { self.builder.ins().iadd_imm_s(end, -1) };
        let n_done = self.n_done(scan, last, length);
        self.wait_for(n_done, length);
        if let Some(Joined { are_joined, .. }) = self.joined {
            let ahead = self.builder.create_block();
            self.builder.ins().brif(are_joined, go, &[base.into(), end.into()], ahead, &[]);
            self.builder.switch_to_block(ahead);
        }
        self.move_slices(scan, base, base);
        for call in &scan.ahead {
            let Step::MatMul(call) = call else { panic!("products alone are computed ahead: {call}") };
            let slice = scan.slices.iter().find(|slice| slice.buffer == call.a.buffer);
            let stride = &slice.expect("what a product ahead reads moves from step to step").stride;
            let stride = self.size_of_all(stride);
            self.matmul(call, Some([in_round, stride]));
        }
        self.builder.ins().jump(go, &[base.into(), end.into()]);
        self.builder.switch_to_block(go);
        params
    }
    /// Sets the slices' addresses for a step, of a round that began with the step `base`.
    fn move_slices(&mut self, scan: &Scan, step: Value, base: Value) {
        for slice in &scan.slices {
            let mut at = self.builder.ins().iadd_imm_s(step, slice.shift);
            match slice.turns {
                Turns::All => {}
                Turns::Two => at = self.builder.ins().band_imm_s(at, 1),
                Turns::Round => at = self.builder.ins().isub(at, base),
            }
            // The rows of a round lie behind one another, whoever's they are.
            let is_round = slice.turns == Turns::Round;
            let stride = if is_round { self.size(&slice.stride) } else { self.size_of_all(&slice.stride) };
            let offset = self.size_of_all(&slice.offset);
            let elements = self.builder.ins().imul(at, stride);
            let mut elements = self.builder.ins().iadd(elements, offset);
            if let Some(first) = self.first_of_share(scan, slice) {
                elements = self.builder.ins().iadd(elements, first);
            }
            let bytes = self.builder.ins().imul_imm_s(elements, 4);
            let base = self.whole_buffer(slice.of);
            let address = self.builder.ins().iadd(base, bytes);
            let word = self.emitter.program.buffer_word(slice.buffer);
            self.builder.ins().store(memory(), address, self.frame, 8 * word as i32);
        }
    }
}
