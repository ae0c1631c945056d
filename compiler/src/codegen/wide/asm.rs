//! Machine instructions as bytes: the few of x86-64, AVX and AVX2 that wide code is made of.
//!
//! Encodings are those of Intel's manual, volume 2: the VEX prefix in its section 2.3, operands in 2.1.

use std::collections::BTreeMap;
use std::fmt;

/// Lanes of a vector.
pub(super) const WIDTH: usize = 8;
/// Bytes of a vector.
pub(super) const BYTES: usize = 4 * WIDTH;

/// A general-purpose register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gpr(u8);

pub(super) const RAX: Gpr = Gpr(0);
pub(super) const RCX: Gpr = Gpr(1);
pub(super) const RDX: Gpr = Gpr(2);
pub(super) const RBX: Gpr = Gpr(3);
pub(super) const RSP: Gpr = Gpr(4);
pub(super) const RBP: Gpr = Gpr(5);
pub(super) const RSI: Gpr = Gpr(6);
pub(super) const RDI: Gpr = Gpr(7);
pub(super) const R8: Gpr = Gpr(8);
pub(super) const R9: Gpr = Gpr(9);
pub(super) const R10: Gpr = Gpr(10);
pub(super) const R11: Gpr = Gpr(11);
pub(super) const R12: Gpr = Gpr(12);
pub(super) const R13: Gpr = Gpr(13);
pub(super) const R14: Gpr = Gpr(14);
pub(super) const R15: Gpr = Gpr(15);

/// A vector register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ymm(pub(super) u8);

/// A place in memory: `base + 4 * index + disp`, or bytes of the pool of constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mem {
    At { base: Gpr, index: Option<Gpr>, disp: i32 },
    Pool(usize),
}

/// The operand of a vector instruction that may lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Reg(Ymm),
    Mem(Mem),
}

/// A vector instruction: its name, the prefix (0 none, 1 `66`), the opcode map (1 `0F`, 2 `0F38`, 3 `0F3A`), the opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vop(pub(super) &'static str, pub(super) u8, pub(super) u8, pub(super) u8);

pub(super) const LOAD: Vop = Vop("vmovups", 0, 1, 0x10);
pub(super) const STORE: Vop = Vop("vmovups", 0, 1, 0x11);
pub(super) const STORE_LANE: Vop = Vop("vmovss", 2, 1, 0x11);
pub(super) const MASKED_LOAD: Vop = Vop("vmaskmovps", 1, 2, 0x2c);
pub(super) const MASKED_STORE: Vop = Vop("vmaskmovps", 1, 2, 0x2e);
pub(super) const SPLAT: Vop = Vop("vbroadcastss", 1, 2, 0x18);
pub(super) const SPLAT_INT: Vop = Vop("vpbroadcastd", 1, 2, 0x58);
pub(super) const BLEND: Vop = Vop("vblendvps", 1, 3, 0x4a);
pub(super) const ROUND: Vop = Vop("vroundps", 1, 3, 0x08);
pub(super) const SWAP_HALVES: Vop = Vop("vperm2f128", 1, 3, 0x06);
pub(super) const PERMUTE: Vop = Vop("vpermilps", 1, 3, 0x04);
pub(super) const SHIFT: Vop = Vop("vpshiftd", 1, 1, 0x72);
pub(super) const XOR: Vop = Vop("vxorps", 0, 1, 0x57);

/// Instructions of general-purpose registers with an operand that may lie in memory, by their opcodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alu {
    Add = 0x03,
    Sub = 0x2b,
    And = 0x23,
    Cmp = 0x3b,
    Mov = 0x8b,
}

/// A condition of a jump or move, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cond {
    AboveOrEqual = 3,
    Equal = 4,
    NotEqual = 5,
    Less = 12,
    GreaterOrEqual = 13,
    Greater = 15,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Label(usize);

/// Code under construction; the pool of constants comes after it.
#[derive(Debug, Default)]
pub(super) struct Asm {
    bytes: Vec<u8>,
    labels: Vec<Option<usize>>,
    /// Where a distance to a label is due, in the last four bytes before the position.
    jumps: Vec<(usize, Label)>,
    pool: Vec<u8>,
    known: BTreeMap<Vec<u8>, usize>,
    /// Where a distance to a constant is due, the end of its instruction, and the constant.
    constants: Vec<(usize, usize, usize)>,
    /// The instructions as text, one a line.
    text: String,
}

impl Asm {
    fn note(&mut self, text: fmt::Arguments<'_>) {
        self.text += &format!("  {text}\n");
    }

    /// Bytes in the pool, aligned to a vector.
    pub(super) fn constant(&mut self, bytes: Vec<u8>) -> Mem {
        let pool = &mut self.pool;
        let at = *self.known.entry(bytes).or_insert_with_key(|bytes| {
            pool.extend(bytes);
            pool.len() - bytes.len()
        });
        Mem::Pool(at)
    }

    /// The code with its pool; as text, too.
    pub(super) fn finish(mut self) -> (Vec<u8>, String) {
        let code = self.bytes.len().next_multiple_of(BYTES);
        for (at, label) in self.jumps {
            let to = self.labels[label.0].expect("every label is bound");
            let distance = (to as i64 - at as i64) as i32;
            self.bytes[at - 4..at].copy_from_slice(&distance.to_le_bytes());
        }
        for (at, end, constant) in self.constants {
            let distance = (code + constant) as i64 - end as i64;
            self.bytes[at..at + 4].copy_from_slice(&(distance as i32).to_le_bytes());
        }
        self.bytes.resize(code, 0xcc);
        self.bytes.extend(self.pool);
        (self.bytes, self.text)
    }

    // Labels.

    pub(super) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }
    pub(super) fn bind(&mut self, label: Label) {
        self.labels[label.0] = Some(self.bytes.len());
        self.text += &format!("{label}:\n");
    }
    pub(super) fn jump_if(&mut self, condition: Cond, to: Label) {
        self.note(format_args!("j {condition:?} {to}"));
        self.bytes.extend([0x0f, 0x80 + condition as u8, 0, 0, 0, 0]);
        self.jumps.push((self.bytes.len(), to));
    }

    // General-purpose registers, 64 bits.

    pub(super) fn alu(&mut self, op: Alu, to: Gpr, from: Gpr) {
        self.note(format_args!("{op:?} {to}, {from}"));
        self.bytes.extend([0x48 | to.0 >> 3 << 2 | from.0 >> 3, op as u8, 0xc0 | (to.0 & 7) << 3 | from.0 & 7]);
    }
    pub(super) fn alu_mem(&mut self, op: Alu, to: Gpr, from: Mem) {
        self.note(format_args!("{op:?} {to}, {from}"));
        self.wide_mem(&[op as u8], to.0, from, 0);
    }
    pub(super) fn store(&mut self, to: Mem, from: Gpr) {
        self.note(format_args!("mov {to}, {from}"));
        self.wide_mem(&[0x89], from.0, to, 0);
    }
    pub(super) fn lea(&mut self, to: Gpr, from: Mem) {
        self.note(format_args!("lea {to}, {from}"));
        self.wide_mem(&[0x8d], to.0, from, 0);
    }
    pub(super) fn multiply(&mut self, to: Gpr, by: Mem) {
        self.note(format_args!("imul {to}, {by}"));
        self.wide_mem(&[0x0f, 0xaf], to.0, by, 0);
    }
    /// The 32 bits at an address as a number with a sign.
    pub(super) fn load_int(&mut self, to: Gpr, from: Mem) {
        self.note(format_args!("movsxd {to}, {from}"));
        self.wide_mem(&[0x63], to.0, from, 0);
    }
    /// `add` (0), `and` (4) or `cmp` (7) with a constant.
    fn with_number(&mut self, digit: u8, to: Gpr, number: i32) {
        self.bytes.extend([0x48 | to.0 >> 3, 0x81, 0xc0 | digit << 3 | to.0 & 7]);
        self.bytes.extend(number.to_le_bytes());
    }
    pub(super) fn add_number(&mut self, to: Gpr, number: i32) {
        self.note(format_args!("add {to}, {number}"));
        self.with_number(0, to, number);
    }
    pub(super) fn and_number(&mut self, to: Gpr, number: i32) {
        self.note(format_args!("and {to}, {number}"));
        self.with_number(4, to, number);
    }
    pub(super) fn compare_number(&mut self, a: Gpr, number: i32) {
        self.note(format_args!("cmp {a}, {number}"));
        self.with_number(7, a, number);
    }
    pub(super) fn number(&mut self, to: Gpr, number: i64) {
        self.note(format_args!("mov {to}, {number}"));
        match i32::try_from(number) {
            Ok(number) => {
                self.bytes.extend([0x48 | to.0 >> 3, 0xc7, 0xc0 | to.0 & 7]);
                self.bytes.extend(number.to_le_bytes());
            }
            Err(_) => {
                self.bytes.extend([0x48 | to.0 >> 3, 0xb8 | to.0 & 7]);
                self.bytes.extend(number.to_le_bytes());
            }
        }
    }
    pub(super) fn shift_right_signed(&mut self, to: Gpr, by: u8) {
        self.note(format_args!("sar {to}, {by}"));
        self.bytes.extend([0x48 | to.0 >> 3, 0xc1, 0xf8 | to.0 & 7, by]);
    }
    pub(super) fn move_if(&mut self, condition: Cond, to: Gpr, from: Gpr) {
        self.note(format_args!("cmov {condition:?} {to}, {from}"));
        let opcode = 0x40 + condition as u8;
        self.bytes.extend([0x48 | to.0 >> 3 << 2 | from.0 >> 3, 0x0f, opcode, 0xc0 | (to.0 & 7) << 3 | from.0 & 7]);
    }
    /// `rax, rdx = rax / by, rax % by`, rounding towards 0.
    pub(super) fn divide_signed(&mut self, by: Gpr) {
        self.note(format_args!("cqo; idiv {by}"));
        self.bytes.extend([0x48, 0x99, 0x48 | by.0 >> 3, 0xf7, 0xf8 | by.0 & 7]);
    }
    /// `rax, rdx = rax / by, rax % by`, without signs.
    pub(super) fn divide(&mut self, by: Gpr) {
        self.note(format_args!("xor edx, edx; div {by}"));
        self.bytes.extend([0x31, 0xd2, 0x48 | by.0 >> 3, 0xf7, 0xf0 | by.0 & 7]);
    }
    pub(super) fn push(&mut self, from: Gpr) {
        self.note(format_args!("push {from}"));
        self.bytes.extend([0x40 | from.0 >> 3, 0x50 | from.0 & 7]);
    }
    pub(super) fn pop(&mut self, to: Gpr) {
        self.note(format_args!("pop {to}"));
        self.bytes.extend([0x40 | to.0 >> 3, 0x58 | to.0 & 7]);
    }
    pub(super) fn ret(&mut self) {
        self.note(format_args!("ret"));
        self.bytes.push(0xc3);
    }
    /// `sub rsp, …`, whose number `set_frame` writes later.
    pub(super) fn open_frame(&mut self) -> usize {
        self.note(format_args!("sub rsp, the frame"));
        self.bytes.extend([0x48, 0x81, 0xec, 0, 0, 0, 0]);
        self.bytes.len()
    }
    pub(super) fn set_frame(&mut self, at: usize, size: i32) {
        self.bytes[at - 4..at].copy_from_slice(&size.to_le_bytes());
    }

    /// Brings a line into the second cache.
    pub(super) fn fetch(&mut self, from: Mem) {
        self.note(format_args!("prefetcht1 {from}"));
        self.wide_mem(&[0x0f, 0x18], 2, from, 0);
    }

    // Vectors.

    pub(super) fn vzeroupper(&mut self) {
        self.note(format_args!("vzeroupper"));
        self.bytes.extend([0xc5, 0xf8, 0x77]);
    }
    /// An integer of 32 bits as lane 0.
    pub(super) fn int_to_lane(&mut self, to: Ymm, from: Gpr) {
        self.note(format_args!("vmovd {to}, {from}"));
        self.vex(Vop("vmovd", 1, 1, 0x6e), false, [to.0, 0], (from.0 >> 3 == 1, false));
        self.bytes.push(0xc0 | (to.0 & 7) << 3 | from.0 & 7);
    }
    /// `to = op(a, b)`; `a` is `None` for an instruction of one operand.
    pub(super) fn vector(&mut self, op: Vop, to: Ymm, a: Option<Ymm>, b: Source, immediate: Option<u8>) {
        let name = op.0;
        match (a, immediate) {
            (Some(a), Some(number)) => self.note(format_args!("{name} {to}, {a}, {b}, {number}")),
            (Some(a), None) => self.note(format_args!("{name} {to}, {a}, {b}")),
            (None, Some(number)) => self.note(format_args!("{name} {to}, {b}, {number}")),
            (None, None) => self.note(format_args!("{name} {to}, {b}")),
        }
        let a = a.map_or(0, |a| a.0);
        match b {
            Source::Reg(b) => {
                self.vex(op, true, [to.0, a], (b.0 >> 3 == 1, false));
                self.bytes.push(0xc0 | (to.0 & 7) << 3 | b.0 & 7);
            }
            Source::Mem(mem) => {
                self.vex(op, true, [to.0, a], mem.high_bits());
                self.operand(to.0, mem, usize::from(immediate.is_some()));
            }
        }
        self.bytes.extend(immediate);
    }
    /// Shifts all lanes; `digit` is 6 to the left, 2 to the right with zeros, 4 to the right with signs.
    pub(super) fn vector_shift(&mut self, digit: u8, to: Ymm, a: Ymm, by: u8) {
        self.note(format_args!("{} /{digit} {to}, {a}, {by}", SHIFT.0));
        self.vex(SHIFT, true, [0, to.0], (a.0 >> 3 == 1, false));
        self.bytes.extend([0xc0 | digit << 3 | a.0 & 7, by]);
    }

    // Parts of encodings.

    /// The prefix and the opcode; `base` and `index` tell which registers of the last operand are among 8 to 15.
    fn vex(&mut self, op: Vop, is_256: bool, [reg, a]: [u8; 2], (base, index): (bool, bool)) {
        let Vop(_, prefix, map, opcode) = op;
        let [r, x, b] = [reg >> 3 == 1, index, base].map(|bit| u8::from(!bit));
        let last = (!a & 15) << 3 | u8::from(is_256) << 2 | prefix;
        if map == 1 && !base && !index {
            self.bytes.extend([0xc5, r << 7 | last]);
        } else {
            self.bytes.extend([0xc4, r << 7 | x << 6 | b << 5 | map, last]);
        }
        self.bytes.push(opcode);
    }
    fn wide_mem(&mut self, opcode: &[u8], reg: u8, mem: Mem, after: usize) {
        let (base, index) = mem.high_bits();
        self.bytes.push(0x48 | reg >> 3 << 2 | u8::from(index) << 1 | u8::from(base));
        self.bytes.extend(opcode);
        self.operand(reg, mem, after);
    }
    /// A register and a place in memory; `after` bytes of the instruction follow.
    fn operand(&mut self, reg: u8, mem: Mem, after: usize) {
        let reg = (reg & 7) << 3;
        let (base, index, disp) = match mem {
            Mem::Pool(constant) => {
                self.bytes.push(reg | 5);
                let at = self.bytes.len();
                self.constants.push((at, at + 4 + after, constant));
                return self.bytes.extend([0; 4]);
            }
            Mem::At { base, index, disp } => (base.0 & 7, index, disp),
        };
        let short = i8::try_from(disp);
        let mode = match short {
            // Base 5 without a displacement would mean another thing.
            Ok(0) if base != 5 => 0,
            Ok(_) => 0x40,
            Err(_) => 0x80,
        };
        if index.is_some() || base == 4 {
            // The index 4, which is `rsp`, stands for none.
            let index = index.map_or(4 << 3, |index| 0x80 | (index.0 & 7) << 3);
            self.bytes.extend([mode | reg | 4, index | base]);
        } else {
            self.bytes.push(mode | reg | base);
        }
        match (mode, short) {
            (0, _) => {}
            (0x40, Ok(disp)) => self.bytes.push(disp.cast_unsigned()),
            _ => self.bytes.extend(disp.to_le_bytes()),
        }
    }
}

impl Mem {
    /// Whether base and index are among the registers 8 to 15.
    fn high_bits(self) -> (bool, bool) {
        match self {
            Mem::At { base, index, .. } => (base.0 >> 3 == 1, index.is_some_and(|index| index.0 >> 3 == 1)),
            Mem::Pool(_) => (false, false),
        }
    }
}

impl fmt::Display for Gpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let low = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"];
        match low.get(usize::from(self.0)) {
            Some(name) => write!(f, "{name}"),
            None => write!(f, "r{}", self.0),
        }
    }
}

impl fmt::Display for Ymm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ymm{}", self.0)
    }
}

impl fmt::Display for Mem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mem::At { base, index: Some(index), disp } => write!(f, "[{base} + 4*{index} + {disp}]"),
            Mem::At { base, index: None, disp } => write!(f, "[{base} + {disp}]"),
            Mem::Pool(at) => write!(f, "[pool + {at}]"),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Reg(reg) => write!(f, "{reg}"),
            Source::Mem(mem) => write!(f, "{mem}"),
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "l{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: &[u8], write: impl FnOnce(&mut Asm)) {
        let mut asm = Asm::default();
        write(&mut asm);
        assert_eq!(asm.bytes, expected, "{}", asm.text);
    }
    fn at(base: Gpr, index: Option<Gpr>, disp: i32) -> Source {
        Source::Mem(Mem::At { base, index, disp })
    }

    /// The bytes are those of LLVM's assembler.
    #[test]
    fn instructions_have_their_bytes() {
        let [add, multiply, subtract] = [0x58, 0x59, 0x5c].map(|opcode| Vop("", 0, 1, opcode));
        let y = Ymm;
        let reg = |number: u8| Source::Reg(Ymm(number));
        check(&[0xc5, 0xec, 0x58, 0xcb], |asm| asm.vector(add, y(1), Some(y(2)), reg(3), None));
        check(&[0xc4, 0x41, 0x2c, 0x58, 0xcb], |asm| asm.vector(add, y(9), Some(y(10)), reg(11), None));
        check(&[0xc5, 0x84, 0x59, 0x4c, 0x24, 0x20], |asm| {
            asm.vector(multiply, y(1), Some(y(15)), at(RSP, None, 32), None);
        });
        check(&[0xc4, 0xc1, 0x04, 0x59, 0x0c, 0x9c], |asm| {
            asm.vector(multiply, y(1), Some(y(15)), at(R12, Some(RBX), 0), None);
        });
        check(&[0xc4, 0x41, 0x44, 0x5c, 0x44, 0x9d, 0x40], |asm| {
            asm.vector(subtract, y(8), Some(y(7)), at(R13, Some(RBX), 64), None);
        });
        check(&[0xc5, 0xfc, 0x10, 0x5c, 0x9d, 0], |asm| asm.vector(LOAD, y(3), None, at(RBP, Some(RBX), 0), None));
        check(&[0xc4, 0x41, 0x7c, 0x11, 0xa4, 0x99, 0, 0x10, 0, 0], |asm| {
            asm.vector(STORE, y(12), None, at(R9, Some(RBX), 4096), None);
        });
        check(&[0xc4, 0xe3, 0x6d, 0x4a, 0x4c, 0x24, 0x40, 0xe0], |asm| {
            asm.vector(BLEND, y(1), Some(y(2)), at(RSP, None, 64), Some(14 << 4));
        });
        check(&[0xc4, 0xc1, 0x2d, 0x72, 0xf3, 0x17], |asm| asm.vector_shift(6, y(10), y(11), 23));
        check(&[0xc5, 0x79, 0x6e, 0xcb], |asm| asm.int_to_lane(y(9), RBX));
        check(&[0xc4, 0x42, 0x7d, 0x58, 0xc9], |asm| asm.vector(SPLAT_INT, y(9), None, reg(9), None));
        check(&[0xc4, 0xe2, 0x55, 0x2e, 0x34, 0x9e], |asm| {
            asm.vector(MASKED_STORE, y(6), Some(y(5)), at(RSI, Some(RBX), 0), None);
        });
        check(&[0xc4, 0xc3, 0x7d, 0x08, 0xcc, 9], |asm| asm.vector(ROUND, y(1), None, reg(12), Some(9)));
        check(&[0xc4, 0x41, 0x7a, 0x11, 0x48, 4], |asm| {
            // A scalar store; its length bit is not looked at.
            asm.vector(STORE_LANE, y(9), None, at(R8, None, 4), None);
            asm.bytes[2] &= !4;
        });
        check(&[0x48, 0x8b, 0x44, 0x24, 8], |asm| asm.alu_mem(Alu::Mov, RAX, on(RSP, 8)));
        check(&[0x4d, 0x8b, 0x0c, 0x24], |asm| asm.alu_mem(Alu::Mov, R9, on(R12, 0)));
        check(&[0x48, 0x0f, 0xaf, 0x84, 0x24, 8, 1, 0, 0], |asm| asm.multiply(RAX, on(RSP, 264)));
        check(&[0x48, 0x8d, 0x65, 0xd8], |asm| asm.lea(RSP, on(RBP, -40)));
        check(&[0x48, 0x63, 0x44, 0x24, 0x20], |asm| asm.load_int(RAX, on(RSP, 32)));
        check(&[0x48, 0x0f, 0x4f, 0xc1], |asm| asm.move_if(Cond::Greater, RAX, RCX));
        // With a prefix that changes nothing.
        check(&[0x49, 0x0f, 0x18, 0x54, 0x94, 0x20], |asm| {
            asm.fetch(Mem::At { base: R12, index: Some(RDX), disp: 32 });
        });
    }
    fn on(base: Gpr, disp: i32) -> Mem {
        Mem::At { base, index: None, disp }
    }
}
