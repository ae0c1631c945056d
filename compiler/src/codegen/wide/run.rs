//! The instructions of a run: registers are given out as they are needed; when none is free, the value whose next use
//! is furthest goes to the stack (Belady). Constants and values on the stack are operands in memory.

use std::collections::BTreeMap;

use super::asm::*;
use super::code::{Coder, INDEX, on_stack};
use super::plan::{Inst, Num, Op, Region, Run, Two, Val};
use super::vector::*;
use crate::index::Few;

/// Bytes of a line of the caches.
const LINE: usize = 64;
/// More elements than these leave the second cache before anybody reads them.
const MANY: i32 = 256 << 10;

/// A vector as a run sees it.
#[derive(Debug)]
struct Local {
    op: Op,
    chain: usize,
    /// The steps that read it, in order, and how many of them are past.
    uses: Vec<usize>,
    n_past: usize,
    reg: Option<Vreg>,
    slot: Option<i32>,
    /// A load that takes place as the operand of its only use.
    is_deferred: bool,
    /// A comparison that only blends read, and only in this run: it may be in a register of bits.
    is_condition: bool,
    bits: Option<Kreg>,
}

/// The registers while a run is encoded.
pub(super) struct Frame {
    locals: Vec<Local>,
    known: BTreeMap<(Val, usize), usize>,
    regs: [Option<usize>; 32],
    bits: [Option<usize>; 8],
    /// Registers that the present step uses.
    locked: Vec<Vreg>,
    n_regs: usize,
    spills: Vec<i32>,
}

impl Frame {
    fn is_past(&self, local: usize) -> bool {
        self.locals[local].n_past == self.locals[local].uses.len()
    }
    fn next_use(&self, local: usize) -> usize {
        let local = &self.locals[local];
        local.uses.get(local.n_past).copied().unwrap_or(usize::MAX)
    }
    /// Whether an operand of the present step is in a register that nothing else needs from then on.
    pub(super) fn ends(&self, local: usize, at: usize, operands: &[usize]) -> bool {
        let Local { reg, uses, .. } = &self.locals[local];
        let times = operands.iter().filter(|&&operand| operand == local).count();
        reg.is_some() && times == 1 && uses.last() == Some(&at)
    }
    pub(super) fn register(&self, local: usize) -> Option<Vreg> {
        self.locals[local].reg
    }
    /// Keeps a register from being given out in the present step.
    pub(super) fn lock(&mut self, reg: Vreg) {
        self.locked.push(reg);
    }
    /// The value is in the register.
    pub(super) fn hold(&mut self, local: usize, reg: Vreg) {
        self.regs[usize::from(reg.0)] = Some(local);
        self.locals[local].reg = Some(reg);
    }
    fn free(&mut self, local: usize) {
        if let Some(reg) = self.locals[local].reg.take() {
            self.regs[usize::from(reg.0)] = None;
        }
        if let Some(bits) = self.locals[local].bits.take() {
            self.bits[usize::from(bits.0)] = None;
        }
    }
}

impl Coder<'_> {
    pub(super) fn run(&mut self, run: Run) {
        let plan = self.plan;
        let steps: Vec<(Inst, usize)> =
            plan.runs[run].iter().flat_map(|&inst| (0..self.n_copies(inst)).map(move |chain| (inst, chain))).collect();
        let n_pinned = self.pins.map_or(0, |region| self.n_pinned(plan.folds(region)));
        let mut frame = Frame {
            locals: Vec::new(),
            known: BTreeMap::new(),
            regs: [None; 32],
            bits: [None; 8],
            locked: Vec::new(),
            n_regs: self.asm.width.registers() - n_pinned,
            spills: Vec::new(),
        };
        let mut defers = Vec::new();
        for (at, &(inst, chain)) in steps.iter().enumerate() {
            let blends = matches!(inst, Inst::Val(val) if matches!(plan.vals[val].op, Op::Blend { .. }));
            for (position, val) in self.operands(inst).into_iter().enumerate() {
                let local = self.local(&mut frame, run, val, chain);
                frame.locals[local].uses.push(at);
                frame.locals[local].is_condition &= blends && position == 0;
                defers.push((local, matches!(inst, Inst::Val(_) | Inst::Accumulate(..))));
            }
        }
        for (local, may_fold) in defers {
            let local = &mut frame.locals[local];
            let is_load = matches!(local.op, Op::Load { .. }) && local.slot.is_none() && !self.is_masked;
            local.is_deferred = is_load && may_fold && local.uses.len() == 1;
        }
        for (at, (inst, chain)) in steps.into_iter().enumerate() {
            frame.locked.clear();
            let operands: Vec<usize> =
                self.operands(inst).into_iter().map(|val| self.local(&mut frame, run, val, chain)).collect();
            self.step(&mut frame, run, inst, chain, &operands, at);
        }
        self.spare.append(&mut frame.spills);
    }
    /// In how many copies an instruction stands.
    fn n_copies(&self, inst: Inst) -> usize {
        let of = |val: Val| if self.plan.vals[val].varies { self.chains } else { 1 };
        match inst {
            Inst::Num(_) | Inst::Fetch(_) | Inst::Store { is_single: true, .. } => 1,
            Inst::Store { .. } => self.chains,
            Inst::Val(val) => of(val),
            Inst::Set { cell, .. } => self.plan.widths.get(&cell).copied().unwrap_or(of(cell)),
            Inst::Accumulate(region, number) => self.n_sums_of(&self.plan.folds(region)[number]),
        }
    }
    /// What an instruction reads; the mask comes last.
    fn operands(&self, inst: Inst) -> Few<Val> {
        let mut operands = self.plan.reads(inst);
        let is_masked = self.is_masked
            && match inst {
                Inst::Val(val) => matches!(self.plan.vals[val].op, Op::Load { .. }),
                Inst::Store { .. } => true,
                Inst::Accumulate(region, number) => self.plan.folds(region)[number].total.is_some(),
                Inst::Num(_) | Inst::Set { .. } | Inst::Fetch(_) => false,
            };
        if is_masked {
            if let Inst::Accumulate(region, number) = inst {
                operands.push(self.plan.folds(region)[number].neutral);
            }
            operands.push(self.plan.mask());
        }
        operands
    }
    fn local(&mut self, frame: &mut Frame, run: Run, val: Val, chain: usize) -> usize {
        let data = self.plan.vals[val];
        let chain = if data.varies { chain } else { 0 };
        if let Some(&local) = frame.known.get(&(val, chain)) {
            return local;
        }
        let is_free = matches!(data.op, Op::Const(_) | Op::Ramp(_));
        let slot = (!is_free && data.run != Some(run)).then(|| self.val_slot(val, chain));
        let compares = matches!(data.op, Op::Two(two, ..) if two.compares());
        let is_condition = self.asm.width == Width::Bits512 && compares && slot.is_none() && !data.is_stored;
        frame.locals.push(Local {
            op: data.op,
            chain,
            uses: Vec::new(),
            n_past: 0,
            reg: None,
            slot,
            is_deferred: false,
            is_condition,
            bits: None,
        });
        frame.known.insert((val, chain), frame.locals.len() - 1);
        frame.locals.len() - 1
    }

    // Operands.

    pub(super) fn take(&mut self, frame: &mut Frame) -> Vreg {
        let free = (0..frame.n_regs).find(|&reg| frame.regs[reg].is_none() && !frame.locked.contains(&Vreg(reg as u8)));
        let reg = free.unwrap_or_else(|| {
            let may_go = (0..frame.n_regs).filter(|&reg| !frame.locked.contains(&Vreg(reg as u8)));
            let furthest = may_go.max_by_key(|&reg| frame.regs[reg].map(|local| frame.next_use(local)));
            let reg = furthest.expect("an instruction has few operands");
            let local = frame.regs[reg].expect("no register is free");
            let is_free = matches!(frame.locals[local].op, Op::Const(_) | Op::Ramp(_));
            if !is_free && frame.locals[local].slot.is_none() {
                let slot = self.spare.pop().unwrap_or_else(|| self.vector_slot());
                frame.spills.push(slot);
                frame.locals[local].slot = Some(slot);
                self.asm.vector(STORE, Vreg(reg as u8), None, Source::Mem(on_stack(slot)), None);
            }
            frame.free(local);
            reg
        });
        frame.locked.push(Vreg(reg as u8));
        Vreg(reg as u8)
    }
    /// Where a pointer leads; changes `rax`.
    fn at(&mut self, ptr: Num, disp: i32, index: Option<Gpr>) -> Mem {
        let base = match self.pointers.get(&ptr) {
            Some(&reg) => reg,
            None => {
                self.fetch(RAX, ptr);
                RAX
            }
        };
        Mem::At { base, index, disp }
    }
    /// A value as an operand that may lie in memory.
    pub(super) fn source(&mut self, frame: &mut Frame, local: usize) -> Source {
        let Local { op, chain, reg, slot, .. } = frame.locals[local];
        if let Some(reg) = reg {
            frame.locked.push(reg);
            return Source::Reg(reg);
        }
        Source::Mem(match (op, slot) {
            (_, Some(slot)) => on_stack(slot),
            (Op::Const(bits), None) => self.asm.constant(bits.to_le_bytes().repeat(self.asm.width.lanes())),
            (Op::Ramp(step), None) => {
                let lanes = self.asm.width.lanes();
                let lane = |lane: usize| step.wrapping_mul((lanes * chain + lane) as i32).to_le_bytes();
                self.asm.constant((0..lanes).flat_map(lane).collect())
            }
            (Op::Load { ptr, disp }, None) => self.at(ptr, self.of_chain(disp, chain), Some(INDEX)),
            (op, None) => panic!("{op:?} is used before it is computed"),
        })
    }
    pub(super) fn in_register(&mut self, frame: &mut Frame, local: usize) -> Vreg {
        if let Some(reg) = frame.locals[local].reg {
            frame.locked.push(reg);
            return reg;
        }
        let reg = self.take(frame);
        match frame.locals[local].op {
            Op::Const(0) => {
                let (xor, _) = Two::Xor.encoding(self.asm.width);
                self.asm.vector(xor, reg, Some(reg), Source::Reg(reg), None);
            }
            _ => {
                let from = self.source(frame, local);
                self.asm.vector(LOAD, reg, None, from, None);
            }
        }
        frame.hold(local, reg);
        reg
    }
    /// Ends the present step's use of its operands: the registers of those that are not used again are free.
    pub(super) fn release(&mut self, frame: &mut Frame, at: usize, operands: &[usize]) {
        frame.locked.clear();
        for &operand in operands {
            let local = &mut frame.locals[operand];
            while local.n_past < local.uses.len() && local.uses[local.n_past] <= at {
                local.n_past += 1;
            }
            if frame.is_past(operand) {
                frame.free(operand);
            }
        }
    }

    // Instructions.

    fn step(&mut self, frame: &mut Frame, run: Run, inst: Inst, chain: usize, operands: &[usize], at: usize) {
        match inst {
            Inst::Num(_) if self.is_moving => {}
            Inst::Num(num) => self.integer(num),
            Inst::Val(val) => {
                let local = self.local(frame, run, val, chain);
                if frame.is_past(local) && !self.plan.vals[val].is_stored {
                    self.release(frame, at, operands);
                } else if !frame.locals[local].is_deferred {
                    self.compute(frame, local, operands, at);
                    self.define(frame, val, local);
                }
            }
            Inst::Store { ptr, disp, is_single, streamed, .. } => {
                let value = self.in_register(frame, operands[0]);
                let mask = operands.get(1).map(|&mask| self.in_register(frame, mask));
                let index = (!is_single).then_some(INDEX);
                let to = self.at(ptr, self.of_chain(disp, chain), index);
                match (is_single, mask, streamed) {
                    (true, ..) => self.asm.store_lane(to, value),
                    (false, Some(mask), _) => self.asm.masked_store(to, mask, value),
                    (false, None, Some(elements)) => self.stream(to, value, elements),
                    (false, None, None) => self.asm.vector(STORE, value, None, Source::Mem(to), None),
                }
                self.release(frame, at, operands);
            }
            Inst::Set { cell, .. } => {
                let value = self.in_register(frame, operands[0]);
                let slot = self.val_slot(cell, chain);
                self.asm.vector(STORE, value, None, Source::Mem(on_stack(slot)), None);
                self.release(frame, at, operands);
            }
            Inst::Fetch(_) if self.is_masked => {}
            Inst::Fetch(ahead) => {
                self.fetch(RDX, ahead);
                self.asm.alu(Alu::Add, RDX, INDEX);
                for &inst in &self.plan.runs[run] {
                    if let Inst::Val(val) = inst
                        && let Op::Load { ptr, disp } = self.plan.vals[val].op
                        && self.plan.is_in_a_loop(self.plan.nums[ptr].region)
                    {
                        // What all rows read alike is in the cache.
                        for chain in (0..self.chains).step_by(LINE / self.asm.width.bytes()) {
                            let from = self.at(ptr, self.of_chain(disp, chain), Some(RDX));
                            self.asm.fetch(from);
                        }
                    }
                }
            }
            Inst::Accumulate(region, number) => {
                self.accumulate(frame, region, number, chain, operands);
                self.release(frame, at, operands);
            }
        }
    }
    /// Stores a vector past the caches if it is a part of many elements and lies as such stores want it.
    fn stream(&mut self, to: Mem, value: Vreg, elements: Num) {
        let [ordinary, done] = [self.asm.label(), self.asm.label()];
        self.asm.lea(RAX, to);
        self.fetch(RDX, elements);
        self.asm.compare_number(RDX, MANY);
        self.asm.jump_if(Cond::Less, ordinary);
        self.asm.number(RDX, self.asm.width.bytes() as i64 - 1);
        self.asm.alu(Alu::And, RDX, RAX);
        self.asm.jump_if(Cond::NotEqual, ordinary);
        let to = Source::Mem(Mem::At { base: RAX, index: None, disp: 0 });
        self.asm.vector(STREAM, value, None, to, None);
        self.asm.jump_if(Cond::Equal, done);
        self.asm.bind(ordinary);
        self.asm.vector(STORE, value, None, to, None);
        self.asm.bind(done);
    }
    fn compute(&mut self, frame: &mut Frame, local: usize, operands: &[usize], at: usize) {
        let op = frame.locals[local].op;
        let chain = frame.locals[local].chain;
        match op {
            Op::Two(two, ..) => {
                let (mut a, mut b) = (operands[0], operands[1]);
                let is_held = |local: usize| frame.locals[local].reg.is_some();
                if two.commutes() && !is_held(a) && (is_held(b) || matches!(frame.locals[a].op, Op::Const(_))) {
                    (a, b) = (b, a);
                }
                let a = self.in_register(frame, a);
                let b = self.source(frame, b);
                let (op, immediate) = two.encoding(self.asm.width);
                if two.compares() {
                    let to = self.condition(frame, local, operands, at);
                    self.asm.compare_lanes(op, to, a, b, immediate);
                } else {
                    let to = self.result(frame, local, operands, at);
                    self.asm.vector(op, to, Some(a), b, immediate);
                }
            }
            Op::One(one, _) => {
                let a = self.source(frame, operands[0]);
                let (op, immediate) = one.encoding();
                let to = self.result(frame, local, operands, at);
                self.asm.vector(op, to, None, a, immediate);
            }
            Op::MulAdd { negated, .. } => self.mul_add(frame, local, negated, operands, at),
            Op::Shift(shift, _, by) => {
                let a = self.in_register(frame, operands[0]);
                let to = self.result(frame, local, operands, at);
                self.asm.vector_shift(shift as u8, to, a, by);
            }
            Op::Blend { .. } => {
                let mask = match frame.locals[operands[0]].bits {
                    Some(bits) => Mask::Bits(bits),
                    None => Mask::Lanes(self.in_register(frame, operands[0])),
                };
                let no = self.in_register(frame, operands[2]);
                let yes = self.source(frame, operands[1]);
                let to = self.result(frame, local, operands, at);
                self.asm.blend(to, mask, yes, no);
            }
            Op::Index => {
                let to = self.result(frame, local, operands, at);
                self.asm.int_to_lane(to, INDEX);
                self.asm.vector(SPLAT_INT, to, None, Source::Reg(to), None);
            }
            Op::Load { ptr, disp } => {
                let mask = operands.first().map(|&mask| self.in_register(frame, mask));
                let from = self.at(ptr, self.of_chain(disp, chain), Some(INDEX));
                let to = self.result(frame, local, operands, at);
                match mask {
                    Some(mask) => self.asm.masked_load(to, mask, from),
                    None => self.asm.vector(LOAD, to, None, Source::Mem(from), None),
                }
            }
            Op::Splat { ptr, disp } => {
                let from = Source::Mem(self.at(ptr, disp, None));
                let to = self.result(frame, local, operands, at);
                self.asm.vector(SPLAT, to, None, from, None);
            }
            Op::SplatNum(num) => {
                let from = Source::Mem(self.num_mem(num));
                let to = self.result(frame, local, operands, at);
                self.asm.vector(SPLAT_INT, to, None, from, None);
            }
            Op::Const(_) | Op::Ramp(_) | Op::Cell(_) | Op::Mask => panic!("{op:?} is not computed in a run"),
        }
    }
    /// A displacement for a chain's vector.
    fn of_chain(&self, disp: i32, chain: usize) -> i32 {
        disp + (self.asm.width.bytes() * chain) as i32
    }
    /// Where the result of a comparison goes.
    fn condition(&mut self, frame: &mut Frame, local: usize, operands: &[usize], at: usize) -> Mask {
        let free = CONDITIONS.into_iter().find(|&bits| frame.bits[usize::from(bits.0)].is_none());
        let Some(bits) = free.filter(|_| frame.locals[local].is_condition) else {
            return Mask::Lanes(self.result(frame, local, operands, at));
        };
        self.release(frame, at, operands);
        frame.bits[usize::from(bits.0)] = Some(local);
        frame.locals[local].bits = Some(bits);
        Mask::Bits(bits)
    }
    /// A register for a result, which may be that of an operand that is not used again.
    fn result(&mut self, frame: &mut Frame, local: usize, operands: &[usize], at: usize) -> Vreg {
        let locked = std::mem::take(&mut frame.locked);
        self.release(frame, at, operands);
        // What stays in use must not move before the instruction has read it.
        frame.locked = locked.into_iter().filter(|reg| frame.regs[usize::from(reg.0)].is_some()).collect();
        let to = self.take(frame);
        frame.hold(local, to);
        to
    }
    fn define(&mut self, frame: &mut Frame, val: Val, local: usize) {
        let Local { chain, reg, .. } = frame.locals[local];
        if self.plan.vals[val].is_stored {
            let slot = self.val_slot(val, chain);
            let reg = reg.expect("it was just computed");
            self.asm.vector(STORE, reg, None, Source::Mem(on_stack(slot)), None);
            frame.locals[local].slot = Some(slot);
        }
        if frame.is_past(local) {
            frame.free(local);
        }
    }
    /// `sum = function(sum, value)`; of lanes that take no part, the value is the one that changes nothing.
    fn accumulate(&mut self, frame: &mut Frame, region: Region, number: usize, chain: usize, operands: &[usize]) {
        let fold = self.plan.folds(region)[number];
        let (op, is_swapped) = Two::of(fold.function, fold.element);
        let (op, immediate) = op.encoding(self.asm.width);
        let mut value = None;
        if let &[body, neutral, mask] = operands {
            let [no, mask] = [neutral, mask].map(|local| self.in_register(frame, local));
            let yes = self.source(frame, body);
            let to = self.take(frame);
            self.asm.blend(to, Mask::Lanes(mask), yes, no);
            value = Some(to);
        }
        let slot = self.val_slot(fold.sum, chain);
        let is_pinned = self.pins == Some(region);
        let sum = if is_pinned {
            self.pinned(region, number, chain)
        } else {
            let reg = self.take(frame);
            self.asm.vector(LOAD, reg, None, Source::Mem(on_stack(slot)), None);
            reg
        };
        let (a, b) = match value {
            None if is_swapped => (self.in_register(frame, operands[0]), Source::Reg(sum)),
            None => (sum, self.source(frame, operands[0])),
            Some(value) if is_swapped => (value, Source::Reg(sum)),
            Some(value) => (sum, Source::Reg(value)),
        };
        self.asm.vector(op, sum, Some(a), b, immediate);
        if !is_pinned {
            self.asm.vector(STORE, sum, None, Source::Mem(on_stack(slot)), None);
        }
    }
}
