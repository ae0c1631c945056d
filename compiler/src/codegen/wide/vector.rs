//! Vector instructions as bytes: AVX and AVX2 for vectors of 256 bits, AVX-512F for those of 512.
//!
//! Encodings are those of Intel's manual, volume 2: the VEX prefix in its section 2.3, the EVEX prefix in 2.7.

use std::fmt;

use super::asm::*;

/// The length of vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::codegen) enum Width {
    /// Sixteen registers of eight lanes.
    Bits256,
    /// Thirty-two registers of sixteen lanes.
    Bits512,
}

impl Width {
    pub(super) const fn lanes(self) -> usize {
        match self {
            Width::Bits256 => 8,
            Width::Bits512 => 16,
        }
    }
    pub(super) const fn bytes(self) -> usize {
        4 * self.lanes()
    }
    pub(super) const fn registers(self) -> usize {
        match self {
            Width::Bits256 => 16,
            Width::Bits512 => 32,
        }
    }
}

/// A vector register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vreg(pub(super) u8);

/// A register of AVX-512 with a bit for each lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kreg(pub(super) u8);

/// Those that conditions are kept in.
pub(super) const CONDITIONS: [Kreg; 6] = [Kreg(2), Kreg(3), Kreg(4), Kreg(5), Kreg(6), Kreg(7)];

/// Where a condition is: all bits of a lane or none, or one bit for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mask {
    Lanes(Vreg),
    Bits(Kreg),
}

/// The one that no condition is kept in.
const SCRATCH: Kreg = Kreg(1);

/// The operand of a vector instruction that may lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Reg(Vreg),
    Mem(Mem),
}

/// A vector instruction: its name, the prefix (0 none, 1 `66`, 2 `F3`), the opcode map (1 `0F`, 2 `0F38`, 3 `0F3A`), the
/// opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vop(pub(super) &'static str, pub(super) u8, pub(super) u8, pub(super) u8);

pub(super) const LOAD: Vop = Vop("vmovups", 0, 1, 0x10);
pub(super) const STORE: Vop = Vop("vmovups", 0, 1, 0x11);
pub(super) const STREAM: Vop = Vop("vmovntps", 0, 1, 0x2b);
pub(super) const SPLAT: Vop = Vop("vbroadcastss", 1, 2, 0x18);
pub(super) const SPLAT_INT: Vop = Vop("vpbroadcastd", 1, 2, 0x58);
pub(super) const ROUND: Vop = Vop("vroundps", 1, 3, 0x08);
pub(super) const PERMUTE: Vop = Vop("vpermilps", 1, 3, 0x04);
pub(super) const SWAP_HALVES: Vop = Vop("vperm2f128", 1, 3, 0x06);
/// Four times 128 bits, of 512.
pub(super) const SHUFFLE_QUARTERS: Vop = Vop("vshuff32x4", 1, 3, 0x23);
pub(super) const XOR_512: Vop = Vop("vpxord", 1, 1, 0xef);
pub(super) const XOR: Vop = Vop("vxorps", 0, 1, 0x57);

const STORE_LANE: Vop = Vop("vmovss", 2, 1, 0x11);
const MASKED_LOAD: Vop = Vop("vmaskmovps", 1, 2, 0x2c);
const MASKED_STORE: Vop = Vop("vmaskmovps", 1, 2, 0x2e);
const SELECT: Vop = Vop("vblendvps", 1, 3, 0x4a);
const SELECT_512: Vop = Vop("vblendmps", 1, 2, 0x65);
const TEST: Vop = Vop("vptestmd", 1, 2, 0x27);
const TERNARY: Vop = Vop("vpternlogd", 1, 3, 0x25);
const SHIFT: Vop = Vop("vpshiftd", 1, 1, 0x72);
const INT_TO_LANE: Vop = Vop("vmovd", 1, 1, 0x6e);

/// What the EVEX prefix says beside the registers.
#[derive(Clone, Copy, Default)]
struct Evex {
    /// 0 for 128 bits, 2 for 512.
    length: u8,
    mask: u8,
    /// Whether lanes that are masked out become 0; they keep their value else.
    zeroes: bool,
}

const WHOLE: Evex = Evex { length: 2, mask: 0, zeroes: false };

/// The last operand, as prefixes see it: bits 3 and 4 of a register, or whether base and index are among 8 to 15.
#[derive(Clone, Copy)]
struct High {
    base: bool,
    index: bool,
}

impl High {
    fn reg(number: u8) -> High {
        High { base: number >> 3 & 1 == 1, index: number >> 4 & 1 == 1 }
    }
    fn mem(mem: Mem) -> High {
        let (base, index) = mem.high_bits();
        High { base, index }
    }
}

impl Asm {
    fn note_vector(&mut self, text: fmt::Arguments<'_>) {
        match self.width {
            Width::Bits256 => self.note(text),
            Width::Bits512 if self.is_listed() => {
                self.note(format_args!("{}", text.to_string().replace("ymm", "zmm")));
            }
            Width::Bits512 => {}
        }
    }

    pub(super) fn vzeroupper(&mut self) {
        self.note(format_args!("vzeroupper"));
        self.bytes.extend([0xc5, 0xf8, 0x77]);
    }
    /// An integer of 32 bits as lane 0.
    pub(super) fn int_to_lane(&mut self, to: Vreg, from: Gpr) {
        self.note_vector(format_args!("vmovd {to}, {from}"));
        let high = High::reg(from.number());
        match self.width {
            Width::Bits256 => self.vex(INT_TO_LANE, false, [to.0, 0], high),
            Width::Bits512 => self.evex(INT_TO_LANE, Evex { length: 0, ..WHOLE }, [to.0, 0], high),
        }
        self.registers(to.0, from.number());
    }
    /// `to = op(a, b)`; `a` is `None` for an instruction of one operand.
    pub(super) fn vector(&mut self, op: Vop, to: Vreg, a: Option<Vreg>, b: Source, immediate: Option<u8>) {
        let name = op.0;
        match (a, immediate) {
            (Some(a), Some(number)) => self.note_vector(format_args!("{name} {to}, {a}, {b}, {number}")),
            (Some(a), None) => self.note_vector(format_args!("{name} {to}, {a}, {b}")),
            (None, Some(number)) => self.note_vector(format_args!("{name} {to}, {b}, {number}")),
            (None, None) => self.note_vector(format_args!("{name} {to}, {b}")),
        }
        self.operation(op, WHOLE, [to.0, a.map_or(0, |a| a.0)], b, immediate);
    }
    /// A comparison; to bits for vectors of 512 bits alone.
    pub(super) fn compare_lanes(&mut self, op: Vop, to: Mask, a: Vreg, b: Source, immediate: Option<u8>) {
        let bits = match (self.width, to) {
            (Width::Bits256, Mask::Lanes(to)) => return self.vector(op, to, Some(a), b, immediate),
            (_, Mask::Lanes(_)) => SCRATCH,
            (_, Mask::Bits(bits)) => bits,
        };
        self.note_vector(format_args!("{} k{}, {a}, {b}, {}", op.0, bits.0, immediate.unwrap_or(0)));
        self.operation(op, WHOLE, [bits.0, a.0], b, immediate);
        if let Mask::Lanes(to) = to {
            self.note_vector(format_args!("vpternlogd {to} {{k{}}}{{z}}, 255", bits.0));
            let evex = Evex { mask: bits.0, zeroes: true, ..WHOLE };
            self.operation(TERNARY, evex, [to.0, to.0], Source::Reg(to), Some(255));
        }
    }
    /// `yes` in the lanes of a mask, `no` in the others.
    pub(super) fn blend(&mut self, to: Vreg, mask: Mask, yes: Source, no: Vreg) {
        match (self.width, mask) {
            (Width::Bits256, Mask::Lanes(mask)) => {
                self.note_vector(format_args!("{} {to}, {no}, {yes}, {mask}", SELECT.0));
                self.operation(SELECT, WHOLE, [to.0, no.0], yes, Some(mask.0 << 4));
            }
            (_, mask) => {
                let mask = self.bits(mask);
                self.note_vector(format_args!("vblendmps {to} {{k{}}}, {no}, {yes}", mask.0));
                self.operation(SELECT_512, Evex { mask: mask.0, ..WHOLE }, [to.0, no.0], yes, None);
            }
        }
    }
    /// A mask as bits.
    fn bits(&mut self, mask: Mask) -> Kreg {
        match mask {
            Mask::Lanes(mask) => {
                self.note_vector(format_args!("vptestmd k{}, {mask}, {mask}", SCRATCH.0));
                self.operation(TEST, WHOLE, [SCRATCH.0, mask.0], Source::Reg(mask), None);
                SCRATCH
            }
            Mask::Bits(bits) => bits,
        }
    }
    /// Loads the lanes of a mask, and 0 in the others, which are not read.
    pub(super) fn masked_load(&mut self, to: Vreg, mask: Vreg, from: Mem) {
        match self.width {
            Width::Bits256 => self.vector(MASKED_LOAD, to, Some(mask), Source::Mem(from), None),
            Width::Bits512 => {
                let mask = self.bits(Mask::Lanes(mask));
                self.note_vector(format_args!("vmovups {to} {{k{}}}{{z}}, {from}", mask.0));
                let evex = Evex { mask: mask.0, zeroes: true, ..WHOLE };
                self.operation(LOAD, evex, [to.0, 0], Source::Mem(from), None);
            }
        }
    }
    /// Stores the lanes of a mask.
    pub(super) fn masked_store(&mut self, to: Mem, mask: Vreg, value: Vreg) {
        match self.width {
            Width::Bits256 => self.vector(MASKED_STORE, value, Some(mask), Source::Mem(to), None),
            Width::Bits512 => {
                let mask = self.bits(Mask::Lanes(mask));
                self.note_vector(format_args!("vmovups {to} {{k{}}}, {value}", mask.0));
                self.operation(STORE, Evex { mask: mask.0, ..WHOLE }, [value.0, 0], Source::Mem(to), None);
            }
        }
    }
    /// Stores lane 0.
    pub(super) fn store_lane(&mut self, to: Mem, value: Vreg) {
        self.note_vector(format_args!("vmovss {to}, {value}"));
        self.operation(STORE_LANE, Evex { length: 0, ..WHOLE }, [value.0, 0], Source::Mem(to), None);
    }
    /// Shifts all lanes; `digit` is 6 to the left, 2 to the right with zeros, 4 to the right with signs.
    pub(super) fn vector_shift(&mut self, digit: u8, to: Vreg, a: Vreg, by: u8) {
        self.note_vector(format_args!("{} /{digit} {to}, {a}, {by}", SHIFT.0));
        match self.width {
            Width::Bits256 => self.vex(SHIFT, true, [0, to.0], High::reg(a.0)),
            Width::Bits512 => self.evex(SHIFT, WHOLE, [0, to.0], High::reg(a.0)),
        }
        self.registers(digit, a.0);
        self.bytes.push(by);
    }

    // Parts of encodings.

    fn operation(&mut self, op: Vop, evex: Evex, regs: [u8; 2], b: Source, immediate: Option<u8>) {
        let high = match b {
            Source::Reg(b) => High::reg(b.0),
            Source::Mem(mem) => High::mem(mem),
        };
        match self.width {
            Width::Bits256 => self.vex(op, evex.length > 0, regs, high),
            Width::Bits512 => self.evex(op, evex, regs, high),
        }
        match b {
            Source::Reg(b) => self.registers(regs[0], b.0),
            Source::Mem(mem) => {
                // A short displacement counts what the instruction reads or writes.
                let unit = match (self.width, op) {
                    (Width::Bits256, _) => 1,
                    (Width::Bits512, SPLAT | SPLAT_INT | STORE_LANE) => 4,
                    (Width::Bits512, _) => self.width.bytes() as i32,
                };
                self.operand(regs[0], mem, usize::from(immediate.is_some()), unit);
            }
        }
        self.bytes.extend(immediate);
    }
    fn registers(&mut self, reg: u8, last: u8) {
        self.bytes.push(0xc0 | (reg & 7) << 3 | last & 7);
    }
    /// The prefix and the opcode.
    fn vex(&mut self, op: Vop, is_256: bool, [reg, a]: [u8; 2], high: High) {
        let Vop(_, prefix, map, opcode) = op;
        let [r, x, b] = [reg >> 3 == 1, high.index, high.base].map(|bit| u8::from(!bit));
        let last = (!a & 15) << 3 | u8::from(is_256) << 2 | prefix;
        if map == 1 && !high.base && !high.index {
            self.bytes.extend([0xc5, r << 7 | last]);
        } else {
            self.bytes.extend([0xc4, r << 7 | x << 6 | b << 5 | map, last]);
        }
        self.bytes.push(opcode);
    }
    /// As [`Asm::vex`], in four bytes.
    fn evex(&mut self, op: Vop, evex: Evex, [reg, a]: [u8; 2], high: High) {
        let Vop(_, prefix, map, opcode) = op;
        let high = [reg >> 3 & 1 == 1, high.index, high.base, reg >> 4 & 1 == 1];
        let high = high.into_iter().fold(0, |bits, bit| bits << 1 | u8::from(!bit));
        let last = u8::from(evex.zeroes) << 7 | evex.length << 5 | (!a >> 4 & 1) << 3 | evex.mask;
        self.bytes.extend([0x62, high << 4 | map, (!a & 15) << 3 | 4 | prefix, last, opcode]);
    }
}

impl fmt::Display for Vreg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ymm{}", self.0)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check_with(width: Width, expected: &[u8], write: impl FnOnce(&mut Asm)) {
        let mut asm = Asm::new(width, true);
        write(&mut asm);
        assert_eq!(asm.bytes, expected, "{asm:?}");
    }
    fn check(expected: &[u8], write: impl FnOnce(&mut Asm)) {
        check_with(Width::Bits256, expected, write);
    }
    fn place(base: Gpr, index: Option<Gpr>, disp: i32) -> Mem {
        Mem::At { base, index, disp }
    }
    fn at(base: Gpr, index: Option<Gpr>, disp: i32) -> Source {
        Source::Mem(place(base, index, disp))
    }

    /// The bytes are those of LLVM's assembler.
    #[test]
    fn instructions_have_their_bytes() {
        let [add, multiply, subtract] = [0x58, 0x59, 0x5c].map(|opcode| Vop("", 0, 1, opcode));
        let y = Vreg;
        let reg = |number: u8| Source::Reg(Vreg(number));
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
            asm.blend(y(1), Mask::Lanes(y(14)), at(RSP, None, 64), y(2));
        });
        check(&[0xc4, 0xc1, 0x2d, 0x72, 0xf3, 0x17], |asm| asm.vector_shift(6, y(10), y(11), 23));
        check(&[0xc5, 0x79, 0x6e, 0xcb], |asm| asm.int_to_lane(y(9), RBX));
        check(&[0xc4, 0x42, 0x7d, 0x58, 0xc9], |asm| asm.vector(SPLAT_INT, y(9), None, reg(9), None));
        check(&[0xc4, 0xe2, 0x55, 0x2e, 0x34, 0x9e], |asm| {
            asm.masked_store(place(RSI, Some(RBX), 0), y(5), y(6));
        });
        check(&[0xc4, 0xc3, 0x7d, 0x08, 0xcc, 9], |asm| asm.vector(ROUND, y(1), None, reg(12), Some(9)));
        check(&[0xc4, 0x41, 0x7a, 0x11, 0x48, 4], |asm| {
            asm.store_lane(place(R8, None, 4), y(9));
        });
    }

    /// As above.
    #[test]
    fn instructions_of_512_bits_have_their_bytes() {
        let [add, multiply, subtract] = [0x58, 0x59, 0x5c].map(|opcode| Vop("", 0, 1, opcode));
        let z = Vreg;
        let reg = |number: u8| Source::Reg(Vreg(number));
        let check = |expected: &[u8], write: &dyn Fn(&mut Asm)| check_with(Width::Bits512, expected, write);
        check(&[0x62, 0xf1, 0x6c, 0x48, 0x58, 0xcb], &|asm| asm.vector(add, z(1), Some(z(2)), reg(3), None));
        check(&[0x62, 0x81, 0x2c, 0x48, 0x58, 0xcb], &|asm| asm.vector(add, z(17), Some(z(10)), reg(27), None));
        check(&[0x62, 0xf1, 0x04, 0x48, 0x59, 0x4c, 0x24, 1], &|asm| {
            asm.vector(multiply, z(1), Some(z(15)), at(RSP, None, 64), None);
        });
        check(&[0x62, 0xd1, 0x04, 0x40, 0x59, 0x0c, 0x9c], &|asm| {
            asm.vector(multiply, z(1), Some(z(31)), at(R12, Some(RBX), 0), None);
        });
        // No whole number of vectors away, and two.
        check(&[0x62, 0x41, 0x44, 0x48, 0x5c, 0x84, 0x9d, 4, 0, 0, 0], &|asm| {
            asm.vector(subtract, z(24), Some(z(7)), at(R13, Some(RBX), 4), None);
        });
        check(&[0x62, 0x41, 0x44, 0x48, 0x5c, 0x44, 0x9d, 2], &|asm| {
            asm.vector(subtract, z(24), Some(z(7)), at(R13, Some(RBX), 128), None);
        });
        check(&[0x62, 0xf1, 0x7c, 0x48, 0x10, 0x5c, 0x9d, 0], &|asm| {
            asm.vector(LOAD, z(3), None, at(RBP, Some(RBX), 0), None);
        });
        check(&[0x62, 0x41, 0x7c, 0x48, 0x11, 0x64, 0x99, 0x40], &|asm| {
            asm.vector(STORE, z(28), None, at(R9, Some(RBX), 4096), None);
        });
        check(&[0x62, 0xc2, 0x7d, 0x48, 0x18, 0x60, 2], &|asm| asm.vector(SPLAT, z(20), None, at(R8, None, 8), None));
        check(&[0x62, 0xc2, 0x7d, 0x48, 0x18, 0xa0, 6, 0, 0, 0], &|asm| {
            asm.vector(SPLAT, z(20), None, at(R8, None, 6), None);
        });
        check(&[0x62, 0x12, 0x7d, 0x48, 0x58, 0xc9], &|asm| asm.vector(SPLAT_INT, z(9), None, reg(25), None));
        check(&[0x62, 0x61, 0x7d, 0x08, 0x6e, 0xcb], &|asm| asm.int_to_lane(z(25), RBX));
        let compare = Vop("vcmpps", 0, 1, 0xc2);
        check(&[0x62, 0xf1, 0x74, 0x40, 0xc2, 0xda, 0x11], &|asm| {
            asm.compare_lanes(compare, Mask::Bits(Kreg(3)), z(17), reg(2), Some(17));
        });
        check(&[0x62, 0xf1, 0x74, 0x40, 0xc2, 0xca, 0x11, 0x62, 0xa3, 0x65, 0xc1, 0x25, 0xdb, 0xff], &|asm| {
            asm.compare_lanes(compare, Mask::Lanes(z(19)), z(17), reg(2), Some(17));
        });
        check(&[0x62, 0xf2, 0x5d, 0x42, 0x65, 0x4c, 0x24, 1], &|asm| {
            asm.blend(z(1), Mask::Bits(Kreg(2)), at(RSP, None, 64), z(20));
        });
        let test = [0x62, 0xb2, 0x6d, 0x40, 0x27, 0xca];
        check(&[&test[..], &[0x62, 0xe1, 0x7c, 0xc9, 0x10, 0x0c, 0x9e]].concat(), &|asm| {
            asm.masked_load(z(17), z(18), place(RSI, Some(RBX), 0));
        });
        check(&[&test[..], &[0x62, 0xe1, 0x7c, 0x49, 0x11, 0x0c, 0x9e]].concat(), &|asm| {
            asm.masked_store(place(RSI, Some(RBX), 0), z(18), z(17));
        });
        check(&[0x62, 0x41, 0x7e, 0x08, 0x11, 0x48, 1], &|asm| asm.store_lane(place(R8, None, 4), z(25)));
        check(&[0x62, 0x91, 0x6d, 0x40, 0x72, 0xf3, 0x17], &|asm| asm.vector_shift(6, z(18), z(27), 23));
        check(&[0x62, 0xd1, 0x6d, 0x40, 0x72, 0xe3, 3], &|asm| asm.vector_shift(4, z(18), z(11), 3));
        check(&[0x62, 0x83, 0x7d, 0x48, 0x08, 0xcc, 9], &|asm| asm.vector(ROUND, z(17), None, reg(28), Some(9)));
        check(&[0x62, 0xa1, 0x75, 0x40, 0xef, 0xc9], &|asm| asm.vector(XOR_512, z(17), Some(z(17)), reg(17), None));
        check(&[0x62, 0xf3, 0x7d, 0x48, 0x23, 0xc8, 0x4e], &|asm| {
            asm.vector(SHUFFLE_QUARTERS, z(1), Some(z(0)), reg(0), Some(0x4e));
        });
    }
}
