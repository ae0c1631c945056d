//! What an emitter must know of a kernel before it starts: what depends on which loops, and what is worth vectors.

use std::collections::{BTreeMap, BTreeSet};

use super::lanes::WIDTH;
use crate::index::{Id, IndexVec};
use crate::kernel::{Address, Axis, Condition, Expr, Int, IntExpr, Kernel, Program, Scalar, UnaryFn};
use crate::types::ElementType;

/// A set of axes of one kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct AxisSet(u128);

impl AxisSet {
    pub(super) fn contains(self, axis: Axis) -> bool {
        self.0 >> axis.index() & 1 == 1
    }
    pub(super) fn is_subset_of(self, other: AxisSet) -> bool {
        self.0 & !other.0 == 0
    }
    pub(super) fn is_disjoint(self, other: AxisSet) -> bool {
        self.0 & other.0 == 0
    }
    pub(super) fn with(self, axis: Axis) -> AxisSet {
        AxisSet(self.0 | 1 << axis.index())
    }
    pub(super) fn without(self, axis: Axis) -> AxisSet {
        AxisSet(self.0 & !(1 << axis.index()))
    }
    pub(super) fn union(self, other: AxisSet) -> AxisSet {
        AxisSet(self.0 | other.0)
    }
}

/// What holds of the expressions of one kernel.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    kernel: &'a Kernel,
    /// The loops on which each expression's value depends.
    pub(super) exprs: IndexVec<Expr, AxisSet>,
    pub(super) ints: IndexVec<Int, AxisSet>,
    /// Whether an integer reads memory or may trap, so that it must not be computed outside of its guard.
    pub(super) reads: IndexVec<Int, bool>,
    pub(super) elements: IndexVec<Expr, ElementType>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(program: &Program, kernel: &'a Kernel) -> Self {
        assert!(kernel.axes.len() <= 128, "a kernel of {} loops:\n{kernel}", kernel.axes.len());
        let mut finder = Finder { program, kernel, exprs: BTreeMap::new(), ints: BTreeMap::new() };
        let exprs: IndexVec<Expr, (AxisSet, ElementType)> = kernel.exprs.ids().map(|e| finder.expr(e)).collect();
        let ints: IndexVec<Int, (AxisSet, bool)> = kernel.ints.ids().map(|i| finder.int(i)).collect();
        Facts {
            kernel,
            exprs: exprs.values().map(|fact| fact.0).collect(),
            elements: exprs.values().map(|fact| fact.1).collect(),
            ints: ints.values().map(|fact| fact.0).collect(),
            reads: ints.values().map(|fact| fact.1).collect(),
        }
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

impl Condition {
    pub(crate) fn int(&self) -> Int {
        match self {
            Condition::InRange(int, _) | Condition::Multiple(int, _) => *int,
        }
    }
}

/// Expressions and integers refer to each other, so that neither can be gone through first.
struct Finder<'a> {
    program: &'a Program,
    kernel: &'a Kernel,
    exprs: BTreeMap<Expr, (AxisSet, ElementType)>,
    ints: BTreeMap<Int, (AxisSet, bool)>,
}

impl Finder<'_> {
    fn expr(&mut self, expr: Expr) -> (AxisSet, ElementType) {
        if let Some(&fact) = self.exprs.get(&expr) {
            return fact;
        }
        let kernel = self.kernel;
        let float = |axes| (axes, ElementType::F32);
        let fact = match &kernel.exprs[expr] {
            Scalar::Const(_) => float(AxisSet::default()),
            Scalar::Load { buffer, at } => (self.address(at), self.program.buffers[*buffer].element),
            Scalar::Position(int) => (self.int(*int).0, ElementType::I32),
            Scalar::Convert(x) => float(self.expr(*x).0),
            Scalar::Unary(_, x) => self.expr(*x),
            Scalar::Binary(_, a, b) => {
                let (axes, element) = self.expr(*a);
                (axes.union(self.expr(*b).0), element)
            }
            Scalar::Compare(_, a, b) => float(self.expr(*a).0.union(self.expr(*b).0)),
            Scalar::Select(condition, a, b) => {
                let (axes, element) = self.expr(*a);
                (axes.union(self.expr(*condition).0).union(self.expr(*b).0), element)
            }
            Scalar::Reduce { axis, body, .. } => {
                let (axes, element) = self.expr(*body);
                (axes.without(*axis), element)
            }
            Scalar::Guard { conditions, body, .. } => {
                let (axes, element) = self.expr(*body);
                let join = |axes: AxisSet, condition: &Condition| axes.union(self.int(condition.int()).0);
                (conditions.iter().fold(axes, join), element)
            }
            Scalar::Random { key, index, .. } => {
                let keys = key.iter().fold(AxisSet::default(), |axes, &word| axes.union(self.expr(word).0));
                float(keys.union(self.int(*index).0))
            }
        };
        self.exprs.insert(expr, fact);
        fact
    }
    fn address(&mut self, at: &Address) -> AxisSet {
        at.terms.iter().fold(AxisSet::default(), |axes, (int, _)| axes.union(self.int(*int).0))
    }
    fn int(&mut self, int: Int) -> (AxisSet, bool) {
        if let Some(&fact) = self.ints.get(&int) {
            return fact;
        }
        let fact = match &self.kernel.ints[int] {
            IntExpr::Const(_) | IntExpr::Size(_) => (AxisSet::default(), false),
            IntExpr::Axis(axis) => (AxisSet::default().with(*axis), false),
            IntExpr::Add(a, b) => {
                let ((a, reads), (b, also)) = (self.int(*a), self.int(*b));
                (a.union(b), reads || also)
            }
            IntExpr::Mul(a, _) | IntExpr::Div(a, _) | IntExpr::Rem(a, _) | IntExpr::Clamp(a, _) => self.int(*a),
            IntExpr::MulSize(a, _) => self.int(*a),
            // A size may be 0 where no loop runs, so that a quotient by it must not be computed outside.
            IntExpr::DivSize(a, _) | IntExpr::RemSize(a, _) => (self.int(*a).0, true),
            IntExpr::Value(expr) => (self.expr(*expr).0, true),
        };
        self.ints.insert(int, fact);
        fact
    }
}
