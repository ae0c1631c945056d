//! `a * b + c` as one instruction, whose result takes the place of one of the three.

use super::asm::Asm;
use super::code::Coder;
use super::run::Frame;
use super::vector::{LOAD, Source, Vop, Vreg};

/// Which operand the result replaces; the last one may lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `to = to * last + other`.
    TimesLast,
    /// `to = other * to + last`.
    PlusLast,
    /// `to = other * last + to`.
    Onto,
}

impl Asm {
    /// The multiplication and addition of a form; `negated` subtracts the product.
    pub(super) fn fused(&mut self, form: Form, negated: bool, to: Vreg, other: Vreg, last: Source) {
        let op = match (form, negated) {
            (Form::TimesLast, false) => Vop("vfmadd132ps", 1, 2, 0x98),
            (Form::PlusLast, false) => Vop("vfmadd213ps", 1, 2, 0xa8),
            (Form::Onto, false) => Vop("vfmadd231ps", 1, 2, 0xb8),
            (Form::TimesLast, true) => Vop("vfnmadd132ps", 1, 2, 0x9c),
            (Form::PlusLast, true) => Vop("vfnmadd213ps", 1, 2, 0xac),
            (Form::Onto, true) => Vop("vfnmadd231ps", 1, 2, 0xbc),
        };
        self.vector(op, to, Some(other), last, None);
    }
}

impl Coder<'_> {
    /// Computes `a * b + c`, or `c - a * b`, of the operands in this order.
    pub(super) fn mul_add(&mut self, frame: &mut Frame, local: usize, negated: bool, operands: &[usize], at: usize) {
        let place = (0..3).find(|&place| frame.ends(operands[place], at, operands));
        // No operand is here for the last time: one is copied, if possible one that must be loaded anyway.
        let in_memory = |place: &usize| frame.register(operands[*place]).is_none();
        let place_to_copy = (0..3).find(in_memory).unwrap_or(2);
        let (place, to) = match place.and_then(|place| Some((place, frame.register(operands[place])?))) {
            Some((place, to)) => {
                frame.lock(to);
                (place, to)
            }
            None => {
                let to = self.take(frame);
                let from = self.source(frame, operands[place_to_copy]);
                self.asm.vector(LOAD, to, None, from, None);
                (place_to_copy, to)
            }
        };
        let [factor, addend] = match place {
            0 => [operands[1], operands[2]],
            1 => [operands[0], operands[2]],
            _ => [operands[0], operands[1]],
        };
        let is_held = |local: usize| frame.register(local).is_some();
        let (form, other, last) = match (place, is_held(factor), is_held(addend)) {
            (2, true, _) => (Form::Onto, factor, addend),
            (2, false, _) => (Form::Onto, addend, factor),
            (_, false, true) => (Form::TimesLast, addend, factor),
            _ => (Form::PlusLast, factor, addend),
        };
        let other = self.in_register(frame, other);
        let last = self.source(frame, last);
        self.asm.fused(form, negated, to, other, last);
        self.release(frame, at, operands);
        frame.hold(local, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codegen::wide::asm::{Mem, R9, RBX};
    use crate::codegen::wide::vector::Width;

    /// The bytes are those of LLVM's assembler.
    #[test]
    fn instructions_have_their_bytes() {
        let bytes = |width: Width, write: &dyn Fn(&mut Asm)| {
            let mut asm = Asm::new(width, true);
            write(&mut asm);
            asm.bytes
        };
        let memory = Source::Mem(Mem::At { base: R9, index: Some(RBX), disp: 64 });
        let on = |form: Form, negated: bool| {
            move |asm: &mut Asm| asm.fused(form, negated, Vreg(1), Vreg(10), Source::Reg(Vreg(3)))
        };
        assert_eq!(bytes(Width::Bits256, &on(Form::TimesLast, false)), [0xc4, 0xe2, 0x2d, 0x98, 0xcb]);
        assert_eq!(bytes(Width::Bits256, &on(Form::PlusLast, false)), [0xc4, 0xe2, 0x2d, 0xa8, 0xcb]);
        assert_eq!(bytes(Width::Bits256, &on(Form::Onto, true)), [0xc4, 0xe2, 0x2d, 0xbc, 0xcb]);
        assert_eq!(bytes(Width::Bits512, &on(Form::Onto, false)), [0x62, 0xf2, 0x2d, 0x48, 0xb8, 0xcb]);
        assert_eq!(bytes(Width::Bits512, &on(Form::TimesLast, true)), [0x62, 0xf2, 0x2d, 0x48, 0x9c, 0xcb]);
        let load = |asm: &mut Asm| asm.fused(Form::PlusLast, true, Vreg(20), Vreg(30), memory);
        assert_eq!(bytes(Width::Bits512, &load), [0x62, 0xc2, 0x0d, 0x40, 0xac, 0x64, 0x99, 0x01]);
    }
}
