//! What an emitter must know of a kernel before it starts: what depends on which loops, and what is worth vectors.

use std::collections::BTreeSet;

use super::lanes::WIDTH;
use crate::index::IndexVec;
use crate::kernel::depends::{AxisSet, Depends};
use crate::kernel::{Address, Axis, Condition, Expr, Int, IntExpr, Kernel, Program, Scalar, UnaryFn};
use crate::types::ElementType;

/// What holds of the expressions of one kernel.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    kernel: &'a Kernel,
    /// The loops on which each expression's value depends.
    pub(super) exprs: IndexVec<Expr, AxisSet>,
    pub(super) ints: IndexVec<Int, AxisSet>,
    /// In how many loops each store stands.
    pub(super) depths: Vec<usize>,
    /// Whether an integer reads memory or may trap, so that it must not be computed outside of its guard.
    pub(super) reads: IndexVec<Int, bool>,
    pub(super) elements: IndexVec<Expr, ElementType>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(program: &Program, kernel: &'a Kernel) -> Self {
        let Depends { exprs, ints } = kernel.depends();
        let mut reads: IndexVec<Int, bool> = IndexVec::new();
        for int in kernel.ints.values() {
            let itself = match int {
                // A size may be 0 where no loop runs, so that a quotient by it must not be computed outside.
                IntExpr::DivSize(..) | IntExpr::RemSize(..) | IntExpr::Value(_) => true,
                _ => int.operands().into_iter().any(|operand| reads[operand]),
            };
            reads.push(itself);
        }
        Facts { kernel, depths: kernel.depths(), exprs, ints, reads, elements: kernel.elements(program) }
    }

    /// By how much the integer grows when `axis` grows by one, if that is always the same.
    pub(super) fn slope(&self, int: Int, axis: Axis) -> Option<i64> {
        if !self.ints[int].contains(axis) {
            return Some(0);
        }
        match &self.kernel.ints[int] {
            IntExpr::Axis(_) => Some(1),
            IntExpr::Add(a, b) => Some(self.slope(*a, axis)? + self.slope(*b, axis)?),
            IntExpr::Mul(a, factor) => Some(self.slope(*a, axis)? * factor),
            IntExpr::MulSize(..) | IntExpr::Div(..) | IntExpr::Rem(..) => None,
            IntExpr::DivSize(..) | IntExpr::RemSize(..) | IntExpr::Clamp(..) | IntExpr::Value(_) => None,
            IntExpr::Const(_) | IntExpr::Size(_) => unreachable!("{int} depends on no loop"),
        }
    }

    /// The distance in elements of neighbors along `axis`, if that is a constant.
    pub(super) fn address_slope(&self, at: &Address, axis: Axis) -> Option<i64> {
        at.terms.iter().try_fold(0, |sum, (int, stride)| {
            let slope = self.slope(*int, axis)?;
            let stride = if slope == 0 { 0 } else { stride.as_fixed()? as i64 };
            Some(sum + slope * stride)
        })
    }

    /// Whether the condition can be told for a whole vector from its ends.
    pub(super) fn is_monotonic(&self, condition: &Condition, axis: Axis) -> bool {
        match condition {
            Condition::InRange(int, _) => self.slope(*int, axis).is_some(),
            Condition::Multiple(int, _) => self.slope(*int, axis) == Some(0),
        }
    }

    /// Whether computing `roots` in vectors along `axis` pays, and how many vectors at once.
    pub(super) fn vectors_along(&self, axis: Axis, roots: &[Expr], stores: &[&Address]) -> Option<usize> {
        if self.kernel.axes[axis].as_fixed().is_some_and(|n| n < WIDTH) {
            return None;
        }
        let mut tally = Tally::default();
        for at in stores {
            match self.address_slope(at, axis) {
                Some(1) => tally.gain += 1,
                // Not a store of its own for every point: such a loop stays as it is written.
                Some(0) => return None,
                _ => tally.gain -= 1,
            }
        }
        for &root in roots {
            self.tally(root, axis, 1, &mut tally);
        }
        let chains = match tally.work {
            _ if tally.has_lanes => 1,
            0..=12 => 4,
            13..=40 => 2,
            _ => 1,
        };
        (tally.gain > 0).then_some(chains)
    }

    fn tally(&self, expr: Expr, axis: Axis, weight: i64, tally: &mut Tally) {
        if !self.exprs[expr].contains(axis) || !tally.seen.insert(expr) {
            return;
        }
        tally.work += 1;
        let mut visit = |child: Expr, weight: i64| self.tally(child, axis, weight, tally);
        match &self.kernel.exprs[expr] {
            Scalar::Const(_) => {}
            Scalar::Load { at, .. } => match self.address_slope(at, axis) {
                Some(0 | 1) => tally.gain += weight,
                _ => {
                    tally.gain -= 2 * weight;
                    tally.has_lanes = true;
                }
            },
            Scalar::Position(int) => tally.has_lanes |= self.slope(*int, axis).is_none(),
            Scalar::Convert(x) => visit(*x, weight),
            Scalar::Unary(function, x) => {
                visit(*x, weight);
                if !matches!(function, UnaryFn::Neg | UnaryFn::Abs | UnaryFn::Sqrt | UnaryFn::Floor) {
                    tally.gain += 4 * weight;
                    tally.work += 25;
                }
            }
            Scalar::Binary(_, a, b) | Scalar::Compare(_, a, b) => {
                visit(*a, weight);
                visit(*b, weight);
            }
            Scalar::Select(condition, a, b) => [*condition, *a, *b].into_iter().for_each(|x| visit(x, weight)),
            Scalar::Reduce { body, .. } => visit(*body, 8 * weight),
            Scalar::Guard { conditions, body, .. } => {
                visit(*body, weight);
                let depends = |condition: &Condition| self.ints[condition.int()].contains(axis);
                if conditions.iter().any(depends) {
                    tally.has_lanes = true;
                    tally.gain -= weight;
                }
            }
            Scalar::Random { index, .. } => {
                tally.gain += 4 * weight;
                tally.work += 25;
                tally.has_lanes |= self.slope(*index, axis).is_none();
            }
        }
    }
}

#[derive(Default)]
struct Tally {
    seen: BTreeSet<Expr>,
    /// Instructions saved by vectors, roughly, less those spent on taking them apart.
    gain: i64,
    work: u32,
    has_lanes: bool,
}
