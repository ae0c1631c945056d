//! Recurrences that may go side by side: the layers of a stack, each some steps behind the one before it.

use super::{Buffer, Mode, Program, Scan, Slice, Step, Turns};
use crate::index::Id;

impl Scan {
    /// Whether each step of the scan reads of another, the leader, nothing but what the same step or earlier ones wrote, and
    /// changes nothing that the leader touches.
    pub fn follows(&self, leader: &Scan) -> bool {
        let [its, own] = [leader, self].map(outer_accesses);
        let writes = |of: &[(Buffer, Mode)], buffer| of.contains(&(buffer, Mode::Write));
        let touched = |buffer| its.iter().any(|(other, _)| *other == buffer);
        let shared = own.iter().filter(|(buffer, _)| touched(*buffer));
        self.reverse == leader.reverse
            && self.length == leader.length
            && shared.clone().all(|(_, mode)| *mode == Mode::Read)
            && shared.filter(|(buffer, _)| writes(&its, *buffer)).all(|(buffer, _)| self.is_behind(leader, *buffer))
    }
    /// Whether the steps read, of a buffer that the leader's write, what is there by then.
    fn is_behind(&self, leader: &Scan, of: Buffer) -> bool {
        let of_steps = |scan: &Scan, mode: Mode| -> Option<Vec<i64>> {
            let touches = |slice: &&Slice| {
                let buffer = slice.buffer;
                let mut steps = scan.ahead.iter().chain(&scan.body);
                steps.any(|step| if mode == Mode::Read { step.reads(buffer) } else { step.writes(buffer) })
            };
            scan.slices.iter().filter(|slice| slice.of == of).filter(touches).map(position).collect()
        };
        let strides = [self, leader].map(|scan| scan.slices.iter().filter(|slice| slice.of == of));
        let [own, its] = strides.clone();
        let is_even = own.chain(its).all(|slice| strides[0].clone().all(|other| other.stride == slice.stride));
        let (Some(read), Some(written)) = (of_steps(self, Mode::Read), of_steps(leader, Mode::Write)) else {
            return false;
        };
        // Neither the whole buffer nor a step outside of the loop.
        let mut others = self.start.iter().chain(&self.finish);
        let is_apart = !others.any(|step| step_touches(self, step, of))
            && !self.ahead.iter().chain(&self.body).any(|step| step.touches(of))
            && !leader.ahead.iter().chain(&leader.body).any(|step| step.touches(of));
        let is_written = |at: &i64, by: &i64| if self.reverse { by <= at } else { at <= by };
        is_even && is_apart && read.iter().all(|at| written.iter().all(|by| is_written(at, by)))
    }
}

impl Program {
    /// The first and the last of the steps that may go on at the time of the step at `at`.
    pub fn side_by_side(&self, at: usize) -> [usize; 2] {
        let is_beside = |at: usize| matches!(self.steps.get(at), Some(Step::Scan(scan)) if scan.beside);
        [if is_beside(at) { at - 1 } else { at }, if is_beside(at + 1) { at + 1 } else { at }]
    }
}

/// At which step's place a slice stands at step 0, if each step has one of its own.
fn position(slice: &Slice) -> Option<i64> {
    let steps =
        if slice.offset.as_fixed() == Some(0) { 0 } else { slice.offset.divided_by(&slice.stride)?.as_fixed()? };
    (slice.turns == Turns::All).then_some(steps as i64 + slice.shift)
}

fn step_touches(scan: &Scan, step: &Step, of: Buffer) -> bool {
    step.touches(of) || scan.slices.iter().any(|slice| slice.of == of && step.touches(slice.buffer))
}

/// What a scan touches, as others see it.
fn outer_accesses(scan: &Scan) -> Vec<(Buffer, Mode)> {
    let of = |buffer: Buffer| scan.slices.iter().find(|slice| slice.buffer == buffer).map_or(buffer, |slice| slice.of);
    let mut all = Vec::new();
    scan.steps().for_each(|step| step.for_each_access(&mut |access| all.push((of(access.buffer), access.mode))));
    all.sort_unstable_by_key(|(buffer, mode)| (buffer.index(), *mode == Mode::Write));
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entries::Entry;
    use crate::pipeline;
    use crate::types::Dim;

    fn pair() -> [Scan; 2] {
        let text = "net two {\n input x[T, 3]\n y = x -> rnn(4)x2\n output y\n}";
        let network = crate::check_source("two.net", text).unwrap_or_else(|error| panic!("{error}"));
        let (scheduled, _) = pipeline::lower(&network, Entry::Forward, &mut ());
        let scans = scheduled.program.steps.into_iter().filter_map(|step| match step {
            Step::Scan(scan) => Some(scan),
            _ => None,
        });
        scans.collect::<Vec<_>>().try_into().expect("two layers")
    }

    /// The slice by which the second reads what the first wrote.
    fn link([leader, follower]: &[Scan; 2]) -> usize {
        let of_leader = |of: Buffer| leader.slices.iter().any(|slice| slice.of == of);
        follower.slices.iter().position(|slice| of_leader(slice.of)).expect("they are linked")
    }

    #[test]
    fn a_layer_follows_another_unless_it_reads_ahead_or_writes_there() {
        let sound = pair();
        assert!(sound[1].beside && sound[1].follows(&sound[0]));
        assert!(!sound[0].follows(&sound[1]), "the first reads nothing, and writes what the second reads");
        let check = |follows: bool, change: &dyn Fn(&mut [Scan; 2])| {
            let mut pair = sound.clone();
            change(&mut pair);
            let [leader, follower] = &pair;
            assert_eq!(
                follower.follows(leader),
                follows,
                "{}\n{}",
                Step::Scan(leader.clone()),
                Step::Scan(follower.clone())
            );
        };
        let at = link(&sound);
        let kept = sound[1].slices[at].of;
        check(true, &|pair| pair[1].slices[at].shift -= 1);
        check(false, &|pair| pair[1].slices[at].shift += 1);
        check(false, &|pair| pair[1].slices[at].turns = Turns::Two);
        check(false, &|pair| pair[1].slices[at].stride = Dim::fixed(1));
        check(false, &|pair| pair[1].slices[at].offset = Dim::fixed(1));
        check(false, &|pair| pair[1].reverse = true);
        check(false, &|pair| pair[0].reverse = true);
        // Backwards, what is there by then lies behind.
        let turn = |pair: &mut [Scan; 2], shift: i64| {
            pair.iter_mut().for_each(|scan| scan.reverse = true);
            pair[1].slices[at].shift += shift;
        };
        check(true, &|pair| turn(pair, 0));
        check(true, &|pair| turn(pair, 1));
        check(false, &|pair| turn(pair, -1));
        check(false, &|pair| pair[0].length = Dim::fixed(7));
        // What the first has left when it ends, and what it reads.
        check(false, &|pair| {
            let reads = pair[1].ahead[0].clone();
            pair[1].start.push(reads);
        });
        check(false, &|pair| pair[1].slices.iter_mut().for_each(|slice| slice.of = kept));
    }
}
