//! Reductions and guards: the control flow within expressions.

use std::collections::BTreeSet;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value};

use super::cx::{Cx, Slot, Vector};
use super::lanes::{WIDTH, vector_of};
use super::loops::Span;
use crate::kernel::{Axis, BinaryFn, Combine, Condition, Expr, Int, IntExpr, Scalar};
use crate::types::ElementType;

/// Loops of at most so many rounds are written out.
const UNROLL: usize = 4;

/// A reduction, as its loops see it.
#[derive(Clone, Copy)]
struct Fold {
    function: BinaryFn,
    element: ElementType,
    axis: Axis,
    body: Expr,
}

impl Cx<'_, '_> {
    /// Computes an expression in all slots: first its control flow, for all slots at once; then chain by chain,
    /// which needs fewest registers.
    pub(super) fn force(&mut self, expr: Expr) {
        self.control(expr, &mut BTreeSet::new());
        for slot in self.slots(expr) {
            self.value(expr, slot);
        }
    }
    fn is_known(&self, expr: Expr) -> bool {
        self.slots(expr).into_iter().all(|slot| self.known(expr, slot).is_some())
    }
    fn control(&mut self, expr: Expr, seen: &mut BTreeSet<Expr>) {
        if self.is_known(expr) || !seen.insert(expr) {
            return;
        }
        match &self.kernel.exprs[expr] {
            Scalar::Const(_) => {}
            Scalar::Load { at, .. } => at.terms.iter().for_each(|(int, _)| self.control_int(*int, seen)),
            Scalar::Position(int) => self.control_int(*int, seen),
            Scalar::Convert(x) | Scalar::Unary(_, x) => self.control(*x, seen),
            Scalar::Binary(_, a, b) | Scalar::Compare(_, a, b) => {
                [a, b].into_iter().for_each(|x| self.control(*x, seen));
            }
            Scalar::Select(condition, a, b) => [condition, a, b].into_iter().for_each(|x| self.control(*x, seen)),
            Scalar::Random { key, index, .. } => {
                key.iter().for_each(|word| self.control(*word, seen));
                self.control_int(*index, seen);
            }
            Scalar::Reduce { combine, axis, body } => self.reduce(expr, *combine, *axis, *body),
            Scalar::Guard { conditions, body, otherwise } => {
                for condition in conditions {
                    self.control_int(condition.int(), seen);
                }
                self.guard(expr, conditions, *body, *otherwise);
            }
        }
    }
    fn control_int(&mut self, int: Int, seen: &mut BTreeSet<Expr>) {
        match &self.kernel.ints[int] {
            IntExpr::Const(_) | IntExpr::Axis(_) | IntExpr::Size(_) => {}
            IntExpr::Add(a, b) => {
                self.control_int(*a, seen);
                self.control_int(*b, seen);
            }
            IntExpr::Mul(a, _) | IntExpr::Div(a, _) | IntExpr::Rem(a, _) | IntExpr::Clamp(a, _) => {
                self.control_int(*a, seen);
            }
            IntExpr::MulSize(a, _) | IntExpr::DivSize(a, _) | IntExpr::RemSize(a, _) => self.control_int(*a, seen),
            IntExpr::Value(expr) => self.control(*expr, seen),
        }
    }
    /// Enters a scope, computes `body` in all `slots`, and leaves.
    fn within(&mut self, axes: &[(Axis, Value)], body: Expr, slots: &[Slot]) -> Vec<Value> {
        self.enter(axes);
        self.hoist(&[body]);
        self.force(body);
        let values = slots.iter().map(|&slot| self.value(body, slot)).collect();
        self.leave();
        values
    }

    fn reduce(&mut self, expr: Expr, combine: Combine, axis: Axis, body: Expr) {
        let slots = self.slots(expr);
        let element = self.facts.elements[expr];
        let fold = Fold { function: combine.function(), element, axis, body };
        let neutral = self.lanes().constant(element, combine.neutral());
        let start = vec![neutral; slots.len()];
        let extent = self.kernel.axes[axis].clone();
        let sums = match extent.as_fixed() {
            Some(0) => start,
            Some(n) => {
                self.hoist(&[body]);
                if n <= UNROLL { self.unrolled(fold, n, &slots, start) } else { self.looped(fold, &slots, start) }
            }
            None => {
                // The loop may have no rounds: what does not depend on it is computed once, but only if it has.
                let [inside, done] = [self.block(&[]), self.block(&vec![vector_of(element); slots.len()])];
                let n = self.size(&extent);
                self.branch(n, (inside, &[]), (done, &start));
                self.builder.switch_to_block(inside);
                self.enter(&[]);
                self.hoist(&[body]);
                let sums = self.looped(fold, &slots, start);
                self.leave();
                self.jump(done, &sums);
                self.builder.switch_to_block(done);
                self.builder.block_params(done).to_vec()
            }
        };
        for (slot, sum) in slots.into_iter().zip(sums) {
            self.remember(expr, slot, sum);
        }
    }
    fn unrolled(&mut self, fold: Fold, rounds: usize, slots: &[Slot], mut sums: Vec<Value>) -> Vec<Value> {
        for i in 0..rounds {
            let i = self.number(i as i64);
            let values = self.within(&[(fold.axis, i)], fold.body, slots);
            sums = self.join(fold, &sums, &values);
        }
        sums
    }
    fn looped(&mut self, fold: Fold, slots: &[Slot], mut sums: Vec<Value>) -> Vec<Value> {
        let mut span = self.whole(&self.kernel.axes[fold.axis].clone());
        let chains = match self.vector {
            None => self.facts.vectors_along(fold.axis, &[fold.body], &[]),
            Some(_) => None,
        };
        if let Some(chains) = chains {
            (span, sums) = self.folded_along(fold, span, chains, sums[0]);
        }
        let one_by_one = |cx: &mut Self, i: Value, sums: &[Value]| {
            let values = cx.within(&[(fold.axis, i)], fold.body, slots);
            cx.join(fold, sums, &values)
        };
        self.count(span, 1, sums, one_by_one).1
    }
    /// Combines along the loop itself: several vectors side by side, folded in a fixed order at the end.
    fn folded_along(&mut self, fold: Fold, span: Span, chains: usize, neutral: Value) -> (Span, Vec<Value>) {
        let round = |chains: usize| {
            move |cx: &mut Self, i: Value, sums: &[Value]| {
                cx.vector = Some(Vector { axis: fold.axis, chains });
                let slots: Vec<Slot> = (0..chains).map(Slot::Chain).collect();
                let values = cx.within(&[(fold.axis, i)], fold.body, &slots);
                cx.vector = None;
                cx.join(fold, sums, &values)
            }
        };
        let (mut span, mut sums) = self.count(span, chains * WIDTH, vec![neutral; chains], round(chains));
        while sums.len() > 1 {
            let (low, high) = sums.split_at(sums.len() / 2);
            sums = self.join(fold, low, high);
        }
        if chains > 1 {
            (span, sums) = self.count(span, WIDTH, sums, round(1));
        }
        (span, vec![self.lanes().fold(fold.function, fold.element, sums[0])])
    }
    fn join(&mut self, fold: Fold, sums: &[Value], values: &[Value]) -> Vec<Value> {
        let pairs = sums.iter().zip(values);
        pairs.map(|(&sum, &value)| self.lanes().binary(fold.function, fold.element, sum, value)).collect()
    }

    fn guard(&mut self, expr: Expr, conditions: &[Condition], body: Expr, otherwise: f64) {
        let slots = self.slots(expr);
        let element = self.facts.elements[expr];
        let ty = vector_of(element);
        let values = match self.vector.filter(|vector| self.lane.is_none() && self.guards_vary(conditions, *vector)) {
            None => {
                let holds = self.all_hold(conditions, |cx, condition| cx.holds(condition, slots[0]));
                let [inside, done] = [self.block(&[]), self.block(&vec![ty; slots.len()])];
                let other = self.lanes().constant(element, otherwise);
                self.branch(holds, (inside, &[]), (done, &vec![other; slots.len()]));
                self.builder.switch_to_block(inside);
                let values = self.within(&[], body, &slots);
                self.jump(done, &values);
                self.builder.switch_to_block(done);
                self.builder.block_params(done).to_vec()
            }
            Some(vector) => self.varying_guard(expr, conditions, body, vector),
        };
        for (slot, value) in slots.into_iter().zip(values) {
            self.remember(expr, slot, value);
        }
    }
    fn guards_vary(&self, conditions: &[Condition], vector: Vector) -> bool {
        conditions.iter().any(|condition| self.facts.ints[condition.int()].contains(vector.axis))
    }
    /// A guard that may hold for some lanes only: in vectors where it holds for all, else lane by lane.
    fn varying_guard(&mut self, expr: Expr, conditions: &[Condition], body: Expr, vector: Vector) -> Vec<Value> {
        let slots: Vec<Slot> = (0..vector.chains).map(Slot::Chain).collect();
        let ty = vector_of(self.facts.elements[expr]);
        let done = self.block(&vec![ty; slots.len()]);
        if conditions.iter().all(|condition| self.facts.is_monotonic(condition, vector.axis)) {
            let ends = [Slot::Chain(0), Slot::Lane(vector.chains * WIDTH - 1)];
            let holds = self.all_hold(conditions, |cx, condition| {
                let [first, last] = ends.map(|end| cx.holds(condition, end));
                cx.builder.ins().band(first, last)
            });
            let [inside, mixed] = [self.block(&[]), self.block(&[])];
            self.branch(holds, (inside, &[]), (mixed, &[]));
            self.builder.switch_to_block(inside);
            let values = self.within(&[], body, &slots);
            self.jump(done, &values);
            self.builder.switch_to_block(mixed);
        }
        let lanes: Vec<Value> = (0..vector.chains * WIDTH)
            .map(|lane| {
                self.lane = Some(lane);
                let value = self.within(&[], expr, &[Slot::Lane(lane)])[0];
                self.lane = None;
                value
            })
            .collect();
        let values: Vec<Value> = lanes
            .chunks(WIDTH)
            .map(|lanes| {
                let lanes = lanes.try_into().expect("a block holds whole vectors");
                self.lanes().collect_first(ty, lanes)
            })
            .collect();
        self.jump(done, &values);
        self.builder.switch_to_block(done);
        self.builder.block_params(done).to_vec()
    }
    fn all_hold(&mut self, conditions: &[Condition], holds: impl Fn(&mut Self, &Condition) -> Value) -> Value {
        let first = holds(self, &conditions[0]);
        conditions[1..].iter().fold(first, |all, condition| {
            let this = holds(self, condition);
            self.builder.ins().band(all, this)
        })
    }
    fn holds(&mut self, condition: &Condition, slot: Slot) -> Value {
        let int = self.int(condition.int(), slot);
        match condition {
            // A negative number is a huge one without a sign.
            Condition::InRange(_, limit) => {
                let limit = self.size(limit);
                self.builder.ins().icmp(IntCC::UnsignedLessThan, int, limit)
            }
            Condition::Multiple(_, of) => {
                let of = self.number(*of);
                let rest = self.builder.ins().srem(int, of);
                self.builder.ins().icmp_imm_s(IntCC::Equal, rest, 0)
            }
        }
    }
}
