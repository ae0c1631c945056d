//! Loops and branches: blocks whose parameters are the values that change.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, Type, Value, types};

use super::cx::Cx;
use crate::types::Dim;

/// A range of a loop; the numbers, when they are known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) from: Value,
    pub(super) to: Value,
    pub(super) known: Option<(i64, i64)>,
}

impl Cx<'_, '_> {
    /// The range of a whole loop.
    pub(super) fn whole(&mut self, extent: &Dim) -> Span {
        let (from, to) = (self.number(0), self.size(extent));
        Span { from, to, known: extent.as_fixed().map(|n| (0, n as i64)) }
    }
    /// Runs `body` for as many whole steps as the span holds, passing values from one round to the next. Returns what
    /// is left of the span and the values after the last round.
    pub(super) fn count(
        &mut self,
        span: Span,
        step: usize,
        carried: Vec<Value>,
        body: impl FnOnce(&mut Self, Value, &[Value]) -> Vec<Value>,
    ) -> (Span, Vec<Value>) {
        let step = step as i64;
        let rounds = span.known.map(|(from, to)| (to - from).max(0) / step);
        let known = span.known.zip(rounds).map(|((from, to), rounds)| (from + rounds * step, to));
        match rounds {
            Some(0) => return (span, carried),
            Some(1) => {
                let carried = body(self, span.from, &carried);
                let from = self.plus(span.from, step);
                return (Span { from, known, ..span }, carried);
            }
            _ => {}
        }
        let tys: Vec<Type> = carried.iter().map(|&value| self.builder.func.dfg.value_type(value)).collect();
        let [head, done] = [(); 2].map(|()| self.block(&[&[types::I64], tys.as_slice()].concat()));
        let limit = self.plus(span.to, 1 - step);
        let first = [&[span.from], carried.as_slice()].concat();
        if rounds.is_some() {
            self.jump(head, &first);
        } else {
            let some = self.builder.ins().icmp(IntCC::SignedLessThan, span.from, limit);
            self.branch(some, (head, &first), (done, &first));
        }
        self.builder.switch_to_block(head);
        let params = self.builder.block_params(head).to_vec();
        let carried = body(self, params[0], &params[1..]);
        let next = self.plus(params[0], step);
        let next = [&[next], carried.as_slice()].concat();
        let more = self.builder.ins().icmp(IntCC::SignedLessThan, next[0], limit);
        self.branch(more, (head, &next), (done, &next));
        self.builder.switch_to_block(done);
        let params = self.builder.block_params(done).to_vec();
        (Span { from: params[0], known, ..span }, params[1..].to_vec())
    }
    pub(super) fn block(&mut self, params: &[Type]) -> Block {
        let block = self.builder.create_block();
        for &ty in params {
            self.builder.append_block_param(block, ty);
        }
        block
    }
    pub(super) fn jump(&mut self, to: Block, values: &[Value]) {
        let values: Vec<BlockArg> = values.iter().map(|&value| value.into()).collect();
        self.builder.ins().jump(to, &values);
    }
    pub(super) fn branch(&mut self, condition: Value, then: (Block, &[Value]), other: (Block, &[Value])) {
        let [then_values, other_values] =
            [then.1, other.1].map(|values| values.iter().map(|&value| value.into()).collect::<Vec<BlockArg>>());
        self.builder.ins().brif(condition, then.0, &then_values, other.0, &other_values);
    }
}
