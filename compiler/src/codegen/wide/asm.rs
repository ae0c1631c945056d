//! Machine instructions as bytes: the few of x86-64 that wide code is made of, and places in memory.
//!
//! Encodings are those of Intel's manual, volume 2, section 2.1.

use std::collections::BTreeMap;
use std::fmt;

use super::vector::Width;

/// A general-purpose register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gpr(u8);

impl Gpr {
    pub(super) fn number(self) -> u8 {
        self.0
    }
}

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

/// A place in memory: `base + 4 * index + disp`, or bytes of the pool of constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mem {
    At { base: Gpr, index: Option<Gpr>, disp: i32 },
    Pool(usize),
}

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
#[derive(Debug)]
pub(super) struct Asm {
    pub(super) width: Width,
    pub(super) bytes: Vec<u8>,
    labels: Vec<Option<usize>>,
    /// Where a distance to a label is due, in the last four bytes before the position.
    jumps: Vec<(usize, Label)>,
    pool: Vec<u8>,
    known: BTreeMap<Vec<u8>, usize>,
    /// Where a distance to a constant is due, the end of its instruction, and the constant.
    constants: Vec<(usize, usize, usize)>,
    /// Where a jump may lead to last.
    last_label: Option<usize>,
    /// The instructions as text, one a line, if somebody wants to read them: writing takes longer than encoding.
    text: Option<String>,
}

impl Asm {
    pub(super) fn new(width: Width, is_listed: bool) -> Asm {
        Asm {
            width,
            bytes: Vec::new(),
            labels: Vec::new(),
            jumps: Vec::new(),
            pool: Vec::new(),
            known: BTreeMap::new(),
            constants: Vec::new(),
            last_label: None,
            text: is_listed.then(String::new),
        }
    }
    pub(super) fn note(&mut self, text: fmt::Arguments<'_>) {
        if let Some(all) = &mut self.text {
            *all += &format!("  {text}\n");
        }
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

    /// Whether instructions are written down.
    pub(super) fn is_listed(&self) -> bool {
        self.text.is_some()
    }

    /// The code with its pool; as text, too, if it was written.
    pub(super) fn finish(mut self) -> (Vec<u8>, String) {
        let code = self.bytes.len().next_multiple_of(self.width.bytes());
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
        (self.bytes, self.text.unwrap_or_default())
    }

    // Labels.

    pub(super) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }
    pub(super) fn bind(&mut self, label: Label) {
        self.labels[label.0] = Some(self.bytes.len());
        self.last_label = Some(self.bytes.len());
        if let Some(text) = &mut self.text {
            *text += &format!("{label}:\n");
        }
    }
    pub(super) fn jump_if(&mut self, condition: Cond, to: Label) {
        self.note(format_args!("j {condition:?} {to}"));
        self.bytes.extend([0x0f, 0x80 + condition as u8, 0, 0, 0, 0]);
        self.jumps.push((self.bytes.len(), to));
    }

    /// Whether the next instruction follows the one that ends at `end` and no other: no jump leads between them.
    pub(super) fn follows(&self, end: usize) -> bool {
        self.bytes.len() == end && self.last_label != Some(end)
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

    // Parts of encodings.

    fn wide_mem(&mut self, opcode: &[u8], reg: u8, mem: Mem, after: usize) {
        let (base, index) = mem.high_bits();
        self.bytes.push(0x48 | reg >> 3 << 2 | u8::from(index) << 1 | u8::from(base));
        self.bytes.extend(opcode);
        self.operand(reg, mem, after, 1);
    }
    /// A register and a place in memory; `after` bytes of the instruction follow, and a displacement of one byte counts
    /// units of so many bytes.
    pub(super) fn operand(&mut self, reg: u8, mem: Mem, after: usize, unit: i32) {
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
        let short = if disp % unit == 0 { i8::try_from(disp / unit).ok() } else { None };
        let mode = match short {
            // Base 5 without a displacement would mean another thing.
            Some(0) if base != 5 => 0,
            Some(_) => 0x40,
            None => 0x80,
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
            (0x40, Some(disp)) => self.bytes.push(disp.cast_unsigned()),
            _ => self.bytes.extend(disp.to_le_bytes()),
        }
    }
}

impl Mem {
    /// Whether base and index are among the registers 8 to 15.
    pub(super) fn high_bits(self) -> (bool, bool) {
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

impl fmt::Display for Mem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mem::At { base, index: Some(index), disp } => write!(f, "[{base} + 4*{index} + {disp}]"),
            Mem::At { base, index: None, disp } => write!(f, "[{base} + {disp}]"),
            Mem::Pool(at) => write!(f, "[pool + {at}]"),
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
        let mut asm = Asm::new(Width::Bits256, true);
        write(&mut asm);
        assert_eq!(asm.bytes, expected, "{:?}", asm.text);
    }
    fn on(base: Gpr, disp: i32) -> Mem {
        Mem::At { base, index: None, disp }
    }

    /// The bytes are those of LLVM's assembler.
    #[test]
    fn instructions_have_their_bytes() {
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
}
