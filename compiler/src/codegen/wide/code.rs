//! Plan to code: the function, its place on the stack, and integers, each of which has its word there.

use std::collections::BTreeMap;

use super::asm::*;
use super::plan::{Num, NumOp, Plan, Region, Val};
use super::vector::*;
use crate::index::Id;

/// The position of the vector loop.
pub(super) const INDEX: Gpr = RBX;
/// Arguments of a function after the frame, by the convention of System V.
const ARGUMENTS: [Gpr; 5] = [RSI, RDX, RCX, R8, R9];
const SAVED: [Gpr; 5] = [RBX, R12, R13, R14, R15];

/// More than that is not taken from a thread's stack at once.
const LARGEST_FRAME: i32 = 32 << 10;

/// The code of a function, and its text if it is listed; nothing if it needs too much of the stack.
pub(super) fn encode(plan: &Plan, width: Width, is_listed: bool) -> Option<(Vec<u8>, String)> {
    let mut coder = Coder {
        asm: Asm::new(width, is_listed),
        plan,
        val_slots: BTreeMap::new(),
        num_slots: BTreeMap::new(),
        frame_size: 0,
        spare: Vec::new(),
        chains: 1,
        is_masked: false,
        pins: None,
        stays_pinned: false,
        pointers: BTreeMap::new(),
        moving: Vec::new(),
        is_moving: false,
        at_hand: None,
    };
    coder.function();
    (coder.frame_size <= LARGEST_FRAME).then(|| coder.asm.finish())
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
    /// Whether they stay there when a part of the loop ends.
    pub(super) stays_pinned: bool,
    pub(super) pointers: BTreeMap<Num, Gpr>,
    /// Addresses that grow by so many bytes at the end of each round.
    pub(super) moving: Vec<(Gpr, i32)>,
    /// Whether the present loop's integers were computed before it.
    pub(super) is_moving: bool,
    /// The integer that was computed last, in `rax`, and where its code ends.
    at_hand: Option<(Num, usize)>,
}

impl Coder<'_> {
    // The stack.

    pub(super) fn slot(&mut self, size: i32) -> i32 {
        // A multiple of its size from `rsp`, which is aligned to a vector.
        let at = (self.frame_size + size - 1) / size * size;
        self.frame_size = at + size;
        at
    }
    pub(super) fn vector_slot(&mut self) -> i32 {
        self.slot(self.asm.width.bytes() as i32)
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

    pub(super) fn number(&self, num: Num) -> Option<i64> {
        match self.plan.nums[num].op {
            NumOp::Const(value) => Some(value),
            _ => None,
        }
    }
    pub(super) fn fetch(&mut self, to: Gpr, num: Num) {
        match self.number(num) {
            Some(value) => self.asm.number(to, value),
            None if to == RAX && self.is_at_hand(num) => {}
            None => {
                let mem = self.num_mem(num);
                self.asm.alu_mem(Alu::Mov, to, mem);
            }
        }
    }
    /// Whether an integer was computed just before, and still is in `rax`.
    fn is_at_hand(&self, num: Num) -> bool {
        self.at_hand.is_some_and(|(last, end)| last == num && self.asm.follows(end))
    }
    /// Both, in the order in which less waits for memory.
    fn in_order(&self, a: Num, b: Num) -> (Num, Num) {
        if self.is_at_hand(b) { (b, a) } else { (a, b) }
    }
    /// `to = op(to, num)`; changes `rcx`.
    pub(super) fn with(&mut self, op: Alu, to: Gpr, num: Num) {
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
    pub(super) fn compare(&mut self, a: Gpr, num: Num) {
        match self.number(num).map(i32::try_from) {
            Some(Ok(number)) => self.asm.compare_number(a, number),
            _ => self.with(Alu::Cmp, a, num),
        }
    }
    fn scale(&mut self, by: i64) {
        let by = self.asm.constant(by.to_le_bytes().repeat(self.asm.width.bytes() / 8));
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
                let (a, b) = self.in_order(a, b);
                self.fetch(RAX, a);
                self.with(Alu::Add, RAX, b);
            }
            NumOp::Mul(a, b) => {
                let (a, b) = self.in_order(a, b);
                self.fetch(RAX, a);
                let b = self.num_mem(b);
                self.asm.multiply(RAX, b);
            }
            NumOp::Scale(a, by) => {
                self.fetch(RAX, a);
                self.scale(by);
            }
            NumOp::Div(a, by) if by.count_ones() == 1 => {
                self.fetch(RAX, a);
                self.asm.shift_right_signed(RAX, by.trailing_zeros() as u8);
            }
            NumOp::Rem(a, by) if by.count_ones() == 1 => {
                self.fetch(RAX, a);
                self.asm.number(RCX, by - 1);
                self.asm.alu(Alu::And, RAX, RCX);
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
        self.at_hand = Some((num, self.asm.bytes.len()));
    }

    // Control flow.

    fn function(&mut self) {
        self.asm.push(RBP);
        self.asm.alu(Alu::Mov, RBP, RSP);
        SAVED.iter().for_each(|&reg| self.asm.push(reg));
        let frame = self.asm.open_frame();
        let bytes = self.asm.width.bytes() as i32;
        self.asm.and_number(RSP, -bytes);
        assert_eq!(self.slot(8), FRAME_SLOT, "the first slot is the frame's");
        self.asm.store(on_stack(FRAME_SLOT), RDI);
        for (num, data) in self.plan.nums.iter() {
            if let NumOp::Argument(at) = data.op {
                let to = self.num_mem(num);
                self.asm.store(to, ARGUMENTS[at]);
            }
        }
        self.items(Region::new(0));
        self.asm.set_frame(frame, (self.frame_size + 2 * bytes - 1) / bytes * bytes);
        self.asm.vzeroupper();
        self.asm.lea(RSP, Mem::At { base: RBP, index: None, disp: -8 * SAVED.len() as i32 });
        SAVED.iter().rev().for_each(|&reg| self.asm.pop(reg));
        self.asm.pop(RBP);
        self.asm.ret();
    }
}

/// Where the frame's address is kept.
const FRAME_SLOT: i32 = 0;

pub(super) fn on_stack(disp: i32) -> Mem {
    Mem::At { base: RSP, index: None, disp }
}
