//! Products of a recurrence's steps that can be computed at once with what was computed ahead for them.

use super::{MatMulCall, Scan, Step, Turns};

impl Scan {
    /// The only product ahead of the steps, and that of a step which is added to it, if nothing stands between the two and both read
    /// operands that are packed alike, with sums. How many rows there are, and what the machine is, tells whether it pays.
    pub fn joined(&self) -> Option<[&MatMulCall; 2]> {
        let [Step::MatMul(ahead)] = self.ahead.as_slice() else { return None };
        let slice = |call: &MatMulCall| {
            self.slices.iter().find(|slice| slice.buffer == call.c.buffer && slice.turns == Turns::Round)
        };
        let round = slice(ahead)?;
        let is_plain = |call: &MatMulCall| {
            let has_sums = call.packed.is_some() && call.shortcuts.sums;
            has_sums && call.batch.is_one() && call.more.is_empty()
        };
        let own = self.body.iter().find_map(|step| match step {
            Step::MatMul(own) if own.accumulate && slice(own).is_some_and(|slice| slice.of == round.of) => Some(own),
            _ => None,
        })?;
        let result = own.c.buffer;
        let is_alone = self.body.iter().filter(|step| step.touches(result)).count() == 1;
        let is_alike = (&own.m, &own.n, own.groups, &own.c.strides, &own.c.offset)
            == (&ahead.m, &ahead.n, ahead.groups, &ahead.c.strides, &ahead.c.offset);
        (is_alone && is_alike && is_plain(own) && is_plain(ahead) && ahead.epilogue.is_none()).then_some([ahead, own])
    }
}
