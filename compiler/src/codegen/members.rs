//! A recurrence's loop as a function of some members of the batch, which threads share.
//!
//! It works with a frame of its own, a copy of the program's: there the number of its members stands in the place of the
//! batch's, buffers begin with the first of them, and slices move by themselves.

use std::collections::BTreeSet;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, StackSlotData, StackSlotKind, Value, types};

use super::driver::Driver;
use super::lanes::memory;
use crate::kernel::{Buffer, Home, MatMulCall, Members, PackMatrixCall, Program, Scan, Slice, Turns};
use crate::types::{Dim, Symbol};

/// A thread that has fewer members reads weights longer than it computes with them: threads then divide each step. No share
/// has few rows where the whole has many, so that results do not tell how many threads there were.
pub(super) const LEAST: i64 = netc_runtime::kernels::matmul::MANY as i64;

/// The members that code is for.
#[derive(Clone, Copy)]
pub(super) struct Share {
    /// The frame of the whole batch.
    whole: Value,
    /// The number of the first.
    first: Value,
}

impl Share {
    pub(super) fn from(whole: Value, first: Value) -> Share {
        Share { whole, first }
    }
}

impl Driver<'_, '_, '_> {
    /// Lets threads carry out a recurrence's steps for the members that each has.
    pub(super) fn share_out(&mut self, scan: &Scan, members: &Members) {
        let id = self.emitter.share(self.role, scan, members);
        let function = self.local(id);
        let address = self.builder.ins().func_addr(types::I64, function);
        let total = self.size(&Dim::from(members.size.clone()));
        let least = self.number(LEAST);
        self.call("netc_share", self.frame, &[address, total, least]);
    }

    /// The code of such a function, whose arguments are those of [`netc_runtime::abi::ShareFn`].
    pub(super) fn share(&mut self, scan: &Scan, members: &Members, arguments: &[Value]) {
        let &[whole, team, first, end] = arguments else { panic!("a share has four arguments: {arguments:?}") };
        self.own_frame(scan, Share { whole, first }, team, |driver, symbol| {
            (*symbol == members.size).then(|| driver.builder.ins().isub(end, first))
        });
        self.all_steps(scan);
    }
    /// Makes a frame for a scan's steps, in which some sizes are others than the whole's.
    pub(super) fn own_frame(
        &mut self,
        scan: &Scan,
        share: Share,
        team: Value,
        size: impl Fn(&mut Self, &Symbol) -> Option<Value>,
    ) {
        let program: &Program = self.emitter.program;
        let bytes = u32::try_from(8 * program.frame_words()).expect("a program has few buffers");
        let slot = self.builder.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 3));
        self.frame = self.builder.ins().stack_addr(types::I64, slot, 0);
        self.share = Some(share);
        self.set(Program::POOL_WORD, team);
        for symbol in &program.symbols {
            let word = program.symbol_word(symbol);
            let value = size(self, symbol).unwrap_or_else(|| self.of_whole(word));
            self.set(word, value);
        }
        let mut buffers = BTreeSet::new();
        for step in scan.ahead.iter().chain(&scan.body) {
            step.for_each_access(&mut |access| _ = buffers.insert(access.buffer));
        }
        for buffer in buffers {
            if !matches!(program.buffers[buffer].home, Home::Slice { .. }) {
                let mut address = self.whole_buffer(buffer);
                if let Some(first) = scan.members.as_ref().and_then(|members| self.first_of(members, buffer)) {
                    let bytes = self.builder.ins().imul_imm_s(first, 4);
                    address = self.builder.ins().iadd(address, bytes);
                }
                self.set(program.buffer_word(buffer), address);
            }
        }
    }

    /// Where the share's first member lies in a slice; none if the code is for all members or all use the same.
    pub(super) fn first_of_share(&mut self, scan: &Scan, slice: &Slice) -> Option<Value> {
        let members = scan.members.as_ref()?;
        let first = self.share?.first;
        if slice.turns == Turns::Round {
            // Behind the rounds of those before, who have as many steps.
            let one = slice.stride.divided_by(&Dim::from(members.size.clone()));
            let one = one.expect("a round has rows for each member").times(&scan.length);
            let one = self.size_of_all(&one);
            return Some(self.builder.ins().imul(first, one));
        }
        self.first_of(members, slice.buffer)
    }
    fn first_of(&mut self, members: &Members, buffer: Buffer) -> Option<Value> {
        let first = self.share?.first;
        let (_, stride) = members.strides.iter().find(|(of, _)| *of == buffer)?;
        let stride = self.size_of_all(stride);
        Some(self.builder.ins().imul(first, stride))
    }

    /// Whether a product's rows may be combined in pairs, as a number: if those of all members are even in number, whichever of
    /// them and of the steps the code computes at once.
    pub(super) fn has_pairs(&mut self, call: &MatMulCall) -> Value {
        if call.shortcuts.sums { self.is_even(&call.m) } else { self.number(0) }
    }

    /// Whether halves of an operand are added up, as a number: not if there are no pairs. What is packed once and for all is so
    /// for any number of rows but a single one: [`Program::prepared_rows`].
    pub(super) fn adds_up(&mut self, call: &PackMatrixCall) -> Value {
        let rows = call.rows_of_a_step.as_ref().or(call.rows.as_ref()).filter(|_| call.shortcuts.sums);
        let Some(rows) = rows else { return self.number(i64::from(call.shortcuts.sums)) };
        if self.emitter.program.buffers[call.packed].home != Home::Prepared {
            return self.is_even(rows);
        }
        let rows = self.size_of_all(rows);
        let are_several = self.builder.ins().icmp_imm_s(IntCC::SignedGreaterThan, rows, 1);
        self.builder.ins().uextend(types::I64, are_several)
    }
    fn is_even(&mut self, dim: &Dim) -> Value {
        let size = self.size_of_all(dim);
        let odd = self.builder.ins().band_imm_s(size, 1);
        self.builder.ins().bxor_imm_s(odd, 1)
    }

    // The whole batch's, whoever the code is for.

    /// A size, as far as it tells how memory is laid out.
    pub(super) fn size_of_all(&mut self, dim: &Dim) -> Value {
        if self.share.is_none() {
            return self.size(dim);
        }
        let program: &Program = self.emitter.program;
        let factor = self.number(dim.factor() as i64);
        dim.symbols().iter().fold(factor, |size, symbol| {
            let value = self.of_whole(program.symbol_word(symbol));
            self.builder.ins().imul(size, value)
        })
    }
    pub(super) fn whole_buffer(&mut self, buffer: Buffer) -> Value {
        if self.share.is_none() { self.buffer(buffer) } else { self.of_whole(self.emitter.program.buffer_word(buffer)) }
    }
    fn of_whole(&mut self, word: usize) -> Value {
        let frame = self.share.map_or(self.frame, |share| share.whole);
        self.builder.ins().load(types::I64, memory().with_readonly(), frame, 8 * word as i32)
    }
    /// Sets a word of the share's frame.
    fn set(&mut self, word: usize, value: Value) {
        self.builder.ins().store(memory(), value, self.frame, 8 * word as i32);
    }
}
