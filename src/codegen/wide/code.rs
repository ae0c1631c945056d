//! Plan to code: loops, guards and integers. Integers live on the stack; the position of the vector loop in `rbx`.

use std::collections::BTreeMap;

use super::asm::*;
use super::plan::{Fold, Inst, Item, Kind, Num, NumOp, Plan, Region, Run, Test, Two, Val};
use crate::index::Id;
use crate::kernel::Axis;

/// The position of the vector loop.
pub(super) const INDEX: Gpr = RBX;
/// What holds the addresses that an innermost loop uses.
const POINTERS: [Gpr; 10] = [RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15];
/// Arguments of a function after the frame, by the convention of System V.
const ARGUMENTS: [Gpr; 4] = [RSI, RDX, RCX, R8];
const SAVED: [Gpr; 5] = [RBX, R12, R13, R14, R15];

/// The code of a function, and its text.
pub(super) fn encode(plan: &Plan) -> (Vec<u8>, String) {
    let mut coder = Coder {
        asm: Asm::default(),
        plan,
        val_slots: BTreeMap::new(),
        num_slots: BTreeMap::new(),
        frame_size: 0,
        spare: Vec::new(),
        chains: 1,
        is_masked: false,
        pins: None,
        pointers: BTreeMap::new(),
    };
    coder.function();
    coder.asm.finish()
}

pub(super) struct Coder<'a> {
    pub(super) asm: Asm,
    pub(super) plan: &'a Plan,
    val_slots: BTreeMap<(Val, usize), i32>,
    num_slots: BTreeMap<Num, i32>,
    frame_size: i32,
    /// Slots of vectors that no run uses at present.
    pub(super) spare: Vec<i32>,
    /// How many vectors a round of the present loop computes.
    pub(super) chains: usize,
    /// Whether only some lanes take part.
    pub(super) is_masked: bool,
    /// The loop whose sums are in the last registers.
    pub(super) pins: Option<Region>,
    pub(super) pointers: BTreeMap<Num, Gpr>,
}

impl Coder<'_> {
    // The stack.

    fn slot(&mut self, size: i32) -> i32 {
        // A multiple of its size from `rsp`, which is aligned to a vector.
        let at = (self.frame_size + size - 1) / size * size;
        self.frame_size = at + size;
        at
    }
    pub(super) fn vector_slot(&mut self) -> i32 {
        self.slot(BYTES as i32)
    }
    pub(super) fn val_slot(&mut self, val: Val, chain: usize) -> i32 {
        if let Some(&slot) = self.val_slots.get(&(val, chain)) {
            return slot;
        }
        let slot = self.vector_slot();
        self.val_slots.insert((val, chain), slot);
        slot
    }
    fn num_slot(&mut self, num: Num) -> i32 {
        if let Some(&slot) = self.num_slots.get(&num) {
            return slot;
        }
        let slot = self.slot(8);
        self.num_slots.insert(num, slot);
        slot
    }
    pub(super) fn num_mem(&mut self, num: Num) -> Mem {
        on_stack(self.num_slot(num))
    }

    // Integers.

    fn number(&self, num: Num) -> Option<i64> {
        match self.plan.nums[num].op {
            NumOp::Const(value) => Some(value),
            _ => None,
        }
    }
    pub(super) fn fetch(&mut self, to: Gpr, num: Num) {
        match self.number(num) {
            Some(value) => self.asm.number(to, value),
            None => {
                let mem = self.num_mem(num);
                self.asm.alu_mem(Alu::Mov, to, mem);
            }
        }
    }
    /// `to = op(to, num)`; changes `rcx`.
    fn with(&mut self, op: Alu, to: Gpr, num: Num) {
        match self.number(num) {
            Some(_) => {
                self.fetch(RCX, num);
                self.asm.alu(op, to, RCX);
            }
            None => {
                let mem = self.num_mem(num);
                self.asm.alu_mem(op, to, mem);
            }
        }
    }
    fn compare(&mut self, a: Gpr, num: Num) {
        match self.number(num).map(i32::try_from) {
            Some(Ok(number)) => self.asm.compare_number(a, number),
            _ => self.with(Alu::Cmp, a, num),
        }
    }
    fn scale(&mut self, by: i64) {
        let by = self.asm.constant(by.to_le_bytes().repeat(BYTES / 8));
        self.asm.multiply(RAX, by);
    }
    pub(super) fn integer(&mut self, num: Num) {
        match self.plan.nums[num].op {
            NumOp::Const(_) | NumOp::Argument(_) => return,
            NumOp::Counter(..) | NumOp::End(_) | NumOp::Position(_) => return,
            NumOp::Frame(word) => {
                let frame = on_stack(FRAME_SLOT);
                self.asm.alu_mem(Alu::Mov, RAX, frame);
                self.asm.alu_mem(Alu::Mov, RAX, Mem::At { base: RAX, index: None, disp: 8 * word as i32 });
            }
            NumOp::Add(a, b) => {
                self.fetch(RAX, a);
                self.with(Alu::Add, RAX, b);
            }
            NumOp::Mul(a, b) => {
                self.fetch(RAX, a);
                let b = self.num_mem(b);
                self.asm.multiply(RAX, b);
            }
            NumOp::Scale(a, by) => {
                self.fetch(RAX, a);
                self.scale(by);
            }
            NumOp::Div(a, by) | NumOp::Rem(a, by) => {
                self.fetch(RAX, a);
                self.asm.number(RCX, by);
                self.asm.divide_signed(RCX);
                // A negative rest means that the quotient was rounded up: its sign, -1 or 0, corrects both.
                self.asm.alu(Alu::Mov, RSI, RDX);
                self.asm.shift_right_signed(RSI, 63);
                if matches!(self.plan.nums[num].op, NumOp::Div(..)) {
                    self.asm.alu(Alu::Add, RAX, RSI);
                } else {
                    self.asm.alu(Alu::And, RSI, RCX);
                    self.asm.alu(Alu::Mov, RAX, RDX);
                    self.asm.alu(Alu::Add, RAX, RSI);
                }
            }
            NumOp::DivSize(a, by) | NumOp::RemSize(a, by) => {
                self.fetch(RAX, a);
                self.fetch(RCX, by);
                self.asm.divide(RCX);
                if matches!(self.plan.nums[num].op, NumOp::RemSize(..)) {
                    self.asm.alu(Alu::Mov, RAX, RDX);
                }
            }
            NumOp::Clamp(a, limit) => {
                self.fetch(RAX, a);
                for (bound, condition) in [(0, Cond::Less), (limit - 1, Cond::Greater)] {
                    self.asm.number(RCX, bound);
                    self.asm.alu(Alu::Cmp, RAX, RCX);
                    self.asm.move_if(condition, RAX, RCX);
                }
            }
            NumOp::Lane(val) => {
                let slot = self.val_slot(val, 0);
                self.asm.load_int(RAX, on_stack(slot));
            }
        }
        let to = self.num_mem(num);
        self.asm.store(to, RAX);
    }

    // Control flow.

    fn function(&mut self) {
        self.asm.push(RBP);
        self.asm.alu(Alu::Mov, RBP, RSP);
        SAVED.iter().for_each(|&reg| self.asm.push(reg));
        let frame = self.asm.open_frame();
        self.asm.and_number(RSP, -(BYTES as i32));
        assert_eq!(self.slot(8), FRAME_SLOT, "the first slot is the frame's");
        self.asm.store(on_stack(FRAME_SLOT), RDI);
        for (num, data) in self.plan.nums.iter() {
            if let NumOp::Argument(at) = data.op {
                let to = self.num_mem(num);
                self.asm.store(to, ARGUMENTS[at]);
            }
        }
        self.items(Region::new(0));
        self.asm.set_frame(frame, (self.frame_size + 2 * BYTES as i32 - 1) / BYTES as i32 * BYTES as i32);
        self.asm.vzeroupper();
        self.asm.lea(RSP, Mem::At { base: RBP, index: None, disp: -8 * SAVED.len() as i32 });
        SAVED.iter().rev().for_each(|&reg| self.asm.pop(reg));
        self.asm.pop(RBP);
        self.asm.ret();
    }
    fn items(&mut self, region: Region) {
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
            &Kind::Loop { from, to, chains: Some(chains), fold, .. } => {
                self.vector_loop(region, [from, to], chains);
                if let Some(fold) = fold {
                    self.total(fold, chains);
                }
            }
            &Kind::Loop { axis, from, to, chains: None, .. } => self.scalar_loop(region, axis, [from, to]),
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

    fn scalar_loop(&mut self, region: Region, axis: Axis, [from, to]: [Num; 2]) {
        let counter = self.given_mem(NumOp::Counter(region, axis));
        self.fetch(RAX, from);
        self.asm.store(counter, RAX);
        let top = self.enter(region);
        self.items(region);
        self.asm.alu_mem(Alu::Mov, RAX, counter);
        self.asm.add_number(RAX, 1);
        self.asm.store(counter, RAX);
        self.compare(RAX, to);
        self.asm.jump_if(Cond::Less, top);
        self.leave();
    }

    /// Rounds of several vectors, then of one, then of the lanes that are left.
    fn vector_loop(&mut self, region: Region, [from, to]: [Num; 2], chains: usize) {
        let mut known = self.number(from).zip(self.number(to));
        self.fetch(INDEX, from);
        let limit = self.slot(8);
        for chains in if chains > 1 { vec![chains, 1] } else { vec![1] } {
            let step = (WIDTH * chains) as i64;
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
        self.chains = 1;
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
    }
    /// Stores the mask of the lanes from the index up to `to`.
    fn mask(&mut self, to: Num) {
        let table = self.asm.constant([[0xff; BYTES], [0; BYTES]].concat());
        self.asm.lea(RDX, table);
        self.asm.alu(Alu::Mov, RAX, INDEX);
        self.with(Alu::Sub, RAX, to);
        let mask = Mem::At { base: RDX, index: Some(RAX), disp: BYTES as i32 };
        self.asm.vector(LOAD, Ymm(0), None, Source::Mem(mask), None);
        let slot = self.val_slot(self.plan.mask(), 0);
        self.asm.vector(STORE, Ymm(0), None, Source::Mem(on_stack(slot)), None);
    }

    /// The start of a round; what an innermost loop uses again and again is first brought into registers.
    fn enter(&mut self, region: Region) -> Label {
        if let &[Item::Run(run)] = self.plan.regions[region].items.as_slice() {
            self.load_pointers(region, run);
            if let Kind::Loop { fold: Some(fold), .. } = self.plan.regions[region].kind {
                self.pins = Some(region);
                self.move_sums(fold, LOAD);
            }
        }
        let top = self.asm.label();
        self.asm.bind(top);
        top
    }
    fn leave(&mut self) {
        self.pointers.clear();
        if let Some(region) = self.pins.take() {
            self.move_sums(self.plan.fold(region), STORE);
        }
    }
    fn load_pointers(&mut self, region: Region, run: Run) {
        let mut free = POINTERS.iter();
        for &inst in &self.plan.runs[run] {
            let pointer = match inst {
                Inst::Val(val) => self.plan.vals[val].op.pointer(),
                Inst::Store { ptr, .. } => Some(ptr),
                Inst::Num(_) | Inst::Set { .. } | Inst::Accumulate(_) => None,
            };
            if let Some(num) = pointer
                && self.plan.nums[num].region != region
                && !self.pointers.contains_key(&num)
                && !self.changes_registers(run)
                && let Some(&reg) = free.next()
            {
                self.fetch(reg, num);
                self.pointers.insert(num, reg);
            }
        }
    }
    /// Divisions change a register of those that hold addresses.
    fn changes_registers(&self, run: Run) -> bool {
        let divides = |num: Num| matches!(self.plan.nums[num].op, NumOp::Div(..) | NumOp::Rem(..));
        self.plan.runs[run].iter().any(|inst| matches!(inst, Inst::Num(num) if divides(*num)))
    }

    // Sums.

    /// How many vectors a sum has at present.
    pub(super) fn n_sums(&self, fold: Fold) -> usize {
        if self.plan.vals[fold.sum].varies { self.chains } else { 1 }
    }
    fn move_sums(&mut self, fold: Fold, op: Vop) {
        for chain in 0..self.n_sums(fold) {
            let slot = self.val_slot(fold.sum, chain);
            self.asm.vector(op, pinned(chain), None, Source::Mem(on_stack(slot)), None);
        }
    }
    /// Combines all lanes of all chains, halves with halves.
    fn total(&mut self, fold: Fold, chains: usize) {
        let Some(total) = fold.total else { return };
        let (op, is_swapped) = Two::of(fold.function, fold.element);
        let (op, immediate) = op.encoding();
        let join = |coder: &mut Self, to: Ymm, value: Ymm| {
            let (a, b) = if is_swapped { (value, to) } else { (to, value) };
            coder.asm.vector(op, to, Some(a), Source::Reg(b), immediate);
        };
        for chain in 0..chains {
            let slot = self.val_slot(fold.sum, chain);
            self.asm.vector(LOAD, Ymm(chain as u8), None, Source::Mem(on_stack(slot)), None);
        }
        let mut n = chains;
        while n > 1 {
            n /= 2;
            (0..n).for_each(|chain| join(self, Ymm(chain as u8), Ymm((n + chain) as u8)));
        }
        let (sum, other) = (Ymm(0), Ymm(1));
        self.asm.vector(SWAP_HALVES, other, Some(sum), Source::Reg(sum), Some(1));
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

/// Where the frame's address is kept.
const FRAME_SLOT: i32 = 0;

pub(super) fn on_stack(disp: i32) -> Mem {
    Mem::At { base: RSP, index: None, disp }
}

/// The register of a sum.
pub(super) fn pinned(chain: usize) -> Ymm {
    Ymm(15 - chain as u8)
}
