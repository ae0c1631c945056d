//! Plan to code: loops and guards, whose integers lie on the stack but for the position of the vector loop, in `rbx`.

use std::collections::{BTreeMap, BTreeSet};

use super::asm::*;
use super::code::{Coder, INDEX, on_stack};
use super::plan::{Fold, Inst, Item, Kind, Num, NumOp, Op, Region, Run, TAIL, Test, Two};
use super::vector::*;
use crate::kernel::Axis;

/// What holds the addresses that an innermost loop uses.
const POINTERS: [Gpr; 10] = [RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15];

impl Coder<'_> {
    pub(super) fn items(&mut self, region: Region) {
        for item in &self.plan.regions[region].items {
            match item {
                Item::Run(run) => self.run(*run),
                Item::Region(inner) => self.region(*inner),
            }
        }
    }
    fn region(&mut self, region: Region) {
        match &self.plan.regions[region].kind {
            Kind::Function => panic!("a function within a function"),
            Kind::Loop { from, to, chains: Some(chains), folds, .. } => {
                self.vector_loop(region, [*from, *to], *chains, !folds.is_empty());
                (0..folds.len()).for_each(|number| self.total(region, number, *chains));
                self.stays_pinned = false;
                self.pins = None;
            }
            Kind::Loop { axis, from, to, chains: None, step, .. } => {
                self.scalar_loop(region, *axis, [*from, *to], *step as i32);
            }
            Kind::Segments { axes, extents } => self.segments(region, axes, extents),
            Kind::If(tests) => self.guard(region, tests),
        }
    }
    fn guard(&mut self, region: Region, tests: &[Test]) {
        let end = self.asm.label();
        for &test in tests {
            match test {
                Test::InRange(a, limit) => {
                    self.fetch(RAX, a);
                    self.compare(RAX, limit);
                    // A negative number is a huge one without a sign.
                    self.asm.jump_if(Cond::AboveOrEqual, end);
                }
                Test::Multiple(a, of) => {
                    self.fetch(RAX, a);
                    self.asm.number(RCX, of);
                    self.asm.divide_signed(RCX);
                    self.asm.compare_number(RDX, 0);
                    self.asm.jump_if(Cond::NotEqual, end);
                }
                Test::NotZero(a) => {
                    if self.number(a).is_none_or(|number| number == 0) {
                        self.fetch(RAX, a);
                        self.asm.compare_number(RAX, 0);
                        self.asm.jump_if(Cond::Equal, end);
                    }
                }
                Test::Less(a, b) => {
                    self.fetch(RAX, a);
                    self.compare(RAX, b);
                    self.asm.jump_if(Cond::GreaterOrEqual, end);
                }
            }
        }
        self.items(region);
        self.asm.bind(end);
    }

    /// The number that a loop sets, if anything asks for it.
    fn given(&self, op: NumOp) -> Option<Num> {
        self.plan.nums.iter().find(|(_, data)| data.op == op).map(|(num, _)| num)
    }
    fn given_mem(&mut self, op: NumOp) -> Mem {
        match self.given(op) {
            Some(num) => self.num_mem(num),
            None => on_stack(self.slot(8)),
        }
    }

    fn scalar_loop(&mut self, region: Region, axis: Axis, [from, to]: [Num; 2], step: i32) {
        let counter = self.given_mem(NumOp::Counter(region, axis));
        self.fetch(RAX, from);
        self.asm.store(counter, RAX);
        let top = self.enter(region);
        self.items(region);
        for (reg, step) in std::mem::take(&mut self.moving) {
            self.asm.add_number(reg, step);
        }
        self.asm.alu_mem(Alu::Mov, RAX, counter);
        self.asm.add_number(RAX, step);
        self.asm.store(counter, RAX);
        self.compare(RAX, to);
        self.asm.jump_if(Cond::Less, top);
        self.leave();
    }

    /// Rounds of several vectors, then of few, then of the lanes that are left. What is added up lies in the same lanes, whatever
    /// their number in a vector.
    fn vector_loop(&mut self, region: Region, [from, to]: [Num; 2], chains: usize, is_sum: bool) {
        let few = if is_sum { TAIL * Width::Bits256.lanes() / self.asm.width.lanes() } else { 1 };
        let mut known = self.number(from).zip(self.number(to));
        // Which code runs is known: sums stay in registers from one part to the next.
        let stays = is_sum && known.is_some() && self.may_pin(region);
        if stays {
            self.chains = chains;
            self.move_sums(region, LOAD);
            self.pins = Some(region);
            self.stays_pinned = true;
        }
        self.fetch(INDEX, from);
        let limit = self.slot(8);
        for chains in if chains > few { vec![chains, few] } else { vec![few] } {
            let step = (self.asm.width.lanes() * chains) as i64;
            let rounds = known.map(|(from, to)| (to - from) / step);
            if rounds == Some(0) {
                continue;
            }
            known = known.zip(rounds).map(|((from, to), rounds)| (from + rounds * step, to));
            let done = self.asm.label();
            if rounds != Some(1) {
                self.fetch(RAX, to);
                self.asm.add_number(RAX, 1 - step as i32);
                self.asm.store(on_stack(limit), RAX);
            }
            if rounds.is_none() {
                self.asm.alu(Alu::Cmp, INDEX, RAX);
                self.asm.jump_if(Cond::GreaterOrEqual, done);
            }
            self.chains = chains;
            let top = self.enter(region);
            self.items(region);
            self.asm.add_number(INDEX, step as i32);
            if rounds != Some(1) {
                self.asm.alu_mem(Alu::Cmp, INDEX, on_stack(limit));
                self.asm.jump_if(Cond::Less, top);
            }
            self.leave();
            self.asm.bind(done);
        }
        self.chains = few;
        if known.is_none_or(|(from, to)| from < to) {
            let done = self.asm.label();
            if known.is_none() {
                self.compare(INDEX, to);
                self.asm.jump_if(Cond::GreaterOrEqual, done);
            }
            self.mask(to);
            self.is_masked = true;
            self.enter(region);
            self.items(region);
            self.leave();
            self.is_masked = false;
            self.asm.bind(done);
        }
        self.chains = 1;
    }
    /// Stores the masks of the lanes from the index up to `to`.
    fn mask(&mut self, to: Num) {
        let all = self.asm.width.bytes() * self.chains;
        let table = self.asm.constant([vec![0xff; all], vec![0; all]].concat());
        self.asm.lea(RDX, table);
        self.asm.alu(Alu::Mov, RAX, INDEX);
        self.with(Alu::Sub, RAX, to);
        for chain in 0..self.chains {
            let disp = (all + self.asm.width.bytes() * chain) as i32;
            let mask = Mem::At { base: RDX, index: Some(RAX), disp };
            self.asm.vector(LOAD, Vreg(0), None, Source::Mem(mask), None);
            let slot = self.val_slot(self.plan.mask(), chain);
            self.asm.vector(STORE, Vreg(0), None, Source::Mem(on_stack(slot)), None);
        }
    }

    /// The start of a round; what an innermost loop uses again and again is first brought into registers.
    fn enter(&mut self, region: Region) -> Label {
        if let &[Item::Run(run)] = self.plan.regions[region].items.as_slice() {
            let steps = self.steps(region, run);
            self.load_pointers(region, run, steps.as_ref());
            self.is_moving = steps.is_some();
            if !self.stays_pinned && self.may_pin(region) {
                self.pins = Some(region);
                self.move_sums(region, LOAD);
            }
        }
        let top = self.asm.label();
        self.asm.bind(top);
        top
    }
    fn leave(&mut self) {
        self.pointers.clear();
        self.is_moving = false;
        if !self.stays_pinned
            && let Some(region) = self.pins.take()
        {
            self.move_sums(region, STORE);
        }
    }
    /// What each address that a loop computes grows by in a round, if these are constants, and if nothing else is
    /// computed from the loop's counter: then the integers are computed once, and the addresses move.
    fn steps(&self, region: Region, run: Run) -> Option<BTreeMap<Num, i32>> {
        if !matches!(self.plan.regions[region].kind, Kind::Loop { chains: None, step: 1, .. }) {
            return None;
        }
        let mut steps = BTreeMap::new();
        for &inst in &self.plan.runs[run] {
            match inst {
                Inst::Num(num) => _ = steps.insert(num, self.step_of(num, region)?),
                Inst::Val(val) if matches!(self.plan.vals[val].op, Op::SplatNum(_)) => return None,
                Inst::Val(_) | Inst::Store { .. } | Inst::Set { .. } | Inst::Fetch(_) | Inst::Accumulate(..) => {}
            }
        }
        let pointers: BTreeSet<Num> = self.plan.runs[run].iter().filter_map(|&inst| self.pointer_of(inst)).collect();
        (!steps.is_empty() && pointers.len() <= POINTERS.len()).then_some(steps)
    }
    fn step_of(&self, num: Num, region: Region) -> Option<i32> {
        let data = self.plan.nums[num];
        if data.region != region {
            return Some(0);
        }
        match data.op {
            NumOp::Counter(..) => Some(1),
            NumOp::Add(a, b) => self.step_of(a, region)?.checked_add(self.step_of(b, region)?),
            NumOp::Scale(a, by) => self.step_of(a, region)?.checked_mul(i32::try_from(by).ok()?),
            _ => None,
        }
    }
    fn pointer_of(&self, inst: Inst) -> Option<Num> {
        match inst {
            Inst::Val(val) => self.plan.vals[val].op.pointer(),
            Inst::Store { ptr, .. } => Some(ptr),
            Inst::Num(_) | Inst::Set { .. } | Inst::Fetch(_) | Inst::Accumulate(..) => None,
        }
    }
    fn load_pointers(&mut self, region: Region, run: Run, steps: Option<&BTreeMap<Num, i32>>) {
        for num in steps.into_iter().flat_map(|steps| steps.keys()) {
            self.integer(*num);
        }
        if steps.is_none() && self.changes_registers(run) {
            return;
        }
        let mut free = POINTERS.iter();
        for &inst in &self.plan.runs[run] {
            if let Some(num) = self.pointer_of(inst)
                && (self.plan.nums[num].region != region || steps.is_some())
                && !self.pointers.contains_key(&num)
                && let Some(&reg) = free.next()
            {
                self.fetch(reg, num);
                self.pointers.insert(num, reg);
                match steps.and_then(|steps| steps.get(&num)) {
                    None | Some(0) => {}
                    Some(&step) => self.moving.push((reg, step)),
                }
            }
        }
    }
    /// Divisions change a register of those that hold addresses, unless a shift does.
    fn changes_registers(&self, run: Run) -> bool {
        let divides = |num: Num| match self.plan.nums[num].op {
            NumOp::Div(_, by) | NumOp::Rem(_, by) => by.count_ones() != 1,
            _ => false,
        };
        self.plan.runs[run].iter().any(|inst| matches!(inst, Inst::Num(num) if divides(*num)))
    }

    // Sums.

    /// How many vectors a sum has at present.
    pub(super) fn n_sums_of(&self, fold: &Fold) -> usize {
        if self.plan.vals[fold.sum].varies { self.chains } else { 1 }
    }
    /// How many registers some sums of a loop have, in all its parts.
    pub(super) fn n_pinned(&self, folds: &[Fold]) -> usize {
        let most = |fold: &Fold| self.plan.widths.get(&fold.sum).copied();
        folds.iter().map(|fold| most(fold).unwrap_or_else(|| self.n_sums_of(fold))).sum()
    }
    /// Whether a loop's sums can be in registers while nothing but its run is computed.
    fn may_pin(&self, region: Region) -> bool {
        let Kind::Loop { folds, .. } = &self.plan.regions[region].kind else { return false };
        let is_innermost = matches!(self.plan.regions[region].items.as_slice(), [Item::Run(_)]);
        is_innermost && (1..=self.asm.width.registers() / 2).contains(&self.n_pinned(folds))
    }
    /// The register of a sum.
    pub(super) fn pinned(&self, region: Region, number: usize, chain: usize) -> Vreg {
        let before = self.n_pinned(&self.plan.folds(region)[..number]);
        Vreg((self.asm.width.registers() - 1 - before - chain) as u8)
    }
    fn move_sums(&mut self, region: Region, op: Vop) {
        for (number, fold) in self.plan.folds(region).iter().enumerate() {
            for chain in 0..self.n_sums_of(fold) {
                let slot = self.val_slot(fold.sum, chain);
                self.asm.vector(op, self.pinned(region, number, chain), None, Source::Mem(on_stack(slot)), None);
            }
        }
    }
    /// Combines all lanes of all chains, halves with halves.
    fn total(&mut self, region: Region, number: usize, chains: usize) {
        let fold = self.plan.folds(region)[number];
        let Some(total) = fold.total else { return };
        let (op, is_swapped) = Two::of(fold.function, fold.element);
        let (op, immediate) = op.encoding(self.asm.width);
        let join = |coder: &mut Self, to: Vreg, value: Vreg| {
            let (a, b) = if is_swapped { (value, to) } else { (to, value) };
            coder.asm.vector(op, to, Some(a), Source::Reg(b), immediate);
        };
        for chain in 0..chains {
            let from = match self.stays_pinned {
                true => Source::Reg(self.pinned(region, number, chain)),
                false => Source::Mem(on_stack(self.val_slot(fold.sum, chain))),
            };
            self.asm.vector(LOAD, Vreg(chain as u8), None, from, None);
        }
        let mut n = chains;
        while n > 1 {
            n /= 2;
            (0..n).for_each(|chain| join(self, Vreg(chain as u8), Vreg((n + chain) as u8)));
        }
        let (sum, other) = (Vreg(0), Vreg(1));
        if self.asm.width == Width::Bits512 {
            self.asm.vector(SHUFFLE_QUARTERS, other, Some(sum), Source::Reg(sum), Some(0x4e));
            join(self, sum, other);
            self.asm.vector(SHUFFLE_QUARTERS, other, Some(sum), Source::Reg(sum), Some(0xb1));
        } else {
            self.asm.vector(SWAP_HALVES, other, Some(sum), Source::Reg(sum), Some(1));
        }
        join(self, sum, other);
        for order in [0x4e, 0xb1] {
            self.asm.vector(PERMUTE, other, None, Source::Reg(sum), Some(order));
            join(self, sum, other);
        }
        let slot = self.val_slot(total, 0);
        self.asm.vector(STORE, sum, None, Source::Mem(on_stack(slot)), None);
    }

    /// The flat range of several axes: stretches along the last, whose coordinates before it count up with carries.
    fn segments(&mut self, region: Region, axes: &[Axis], extents: &[Num]) {
        let [begin, end] = [0, 1].map(|at| self.given(NumOp::Argument(at)).expect("a range has two arguments"));
        let coordinates: Vec<Mem> = axes.iter().map(|&axis| self.given_mem(NumOp::Counter(region, axis))).collect();
        let (to, position) = (self.given_mem(NumOp::End(region)), self.given_mem(NumOp::Position(region)));
        let last = axes.len() - 1;
        self.fetch(RAX, begin);
        self.asm.store(position, RAX);
        for at in (1..axes.len()).rev() {
            self.fetch(RCX, extents[at]);
            self.asm.divide(RCX);
            self.asm.store(coordinates[at], RDX);
        }
        self.asm.store(coordinates[0], RAX);
        let head = self.asm.label();
        self.asm.bind(head);
        // The stretch ends with the row or with the range; the position moves behind it.
        self.fetch(RAX, end);
        self.asm.alu_mem(Alu::Sub, RAX, position);
        self.asm.alu_mem(Alu::Add, RAX, coordinates[last]);
        self.fetch(RCX, extents[last]);
        self.asm.alu(Alu::Cmp, RAX, RCX);
        self.asm.move_if(Cond::Greater, RAX, RCX);
        self.asm.store(to, RAX);
        self.asm.alu_mem(Alu::Sub, RAX, coordinates[last]);
        self.asm.alu_mem(Alu::Add, RAX, position);
        self.asm.store(position, RAX);
        self.items(region);
        self.asm.number(RAX, 0);
        self.asm.store(coordinates[last], RAX);
        let counted = self.asm.label();
        for at in (0..last).rev() {
            self.asm.alu_mem(Alu::Mov, RAX, coordinates[at]);
            self.asm.add_number(RAX, 1);
            self.asm.store(coordinates[at], RAX);
            if at > 0 {
                self.compare(RAX, extents[at]);
                self.asm.jump_if(Cond::NotEqual, counted);
                self.asm.number(RAX, 0);
                self.asm.store(coordinates[at], RAX);
            }
        }
        self.asm.bind(counted);
        self.asm.alu_mem(Alu::Mov, RAX, position);
        self.compare(RAX, end);
        self.asm.jump_if(Cond::Less, head);
    }
}
