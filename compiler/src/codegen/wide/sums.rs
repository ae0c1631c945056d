//! Reductions: those along one loop are computed in its rounds side by side.

use super::build::Maker;
use super::plan::{Fold, Inst, Kind, Test, Val};
use crate::kernel::{Axis, Combine, Expr, Scalar};

/// Reductions of at most so many rounds are written out.
const UNROLL: usize = 4;

/// A reduction whose loop is about to open or is open.
pub(super) struct Sum {
    expr: Expr,
    body: Expr,
    /// Which of the rows that are computed side by side it is of.
    row: usize,
    fold: Fold,
}

impl Maker<'_> {
    /// The value of a reduction, with those of all others along the same loop.
    pub(super) fn reduce(&mut self, expr: Expr) -> Val {
        let (combine, axis, body) = self.parts(expr);
        let element = self.facts.elements[body];
        let extent = self.kernel.axes[axis].clone();
        let vector = self.vector_axis();
        let along = vector.is_none() && self.may_vectorize(axis, &[body]);
        match extent.as_fixed() {
            Some(0) => return self.constant(element, combine.neutral()),
            Some(n) if n <= UNROLL && !along => {
                let mut sum = self.constant(element, combine.neutral());
                for i in 0..n {
                    let known = self.exprs.clone();
                    self.constant_axes.insert(axis, i as i64);
                    let value = self.expr(body);
                    self.constant_axes.remove(&axis);
                    self.exprs = known;
                    sum = self.combine(combine.function(), element, sum, value);
                }
                return sum;
            }
            _ => {}
        }
        let others = self.along(axis, |maker, other, body| {
            let is_alike = !along || maker.may_vectorize(axis, &[body]);
            other == expr || is_alike && maker.facts.exprs[other] == maker.facts.exprs[expr]
        });
        let sums = self.sums(others, along);
        let (from, to) = (self.fixed(0), self.size(&extent));
        // What is known not to be empty: the code for an empty domain is not reached.
        let has_rounds =
            extent.as_fixed().is_some() || self.kernel.domain.iter().any(|&outer| self.kernel.axes[outer] == extent);
        if !has_rounds {
            self.open(Kind::If(vec![Test::NotZero(to)]), &[]);
        }
        let chains = along.then_some(1);
        self.open(Kind::Loop { axis, from, to, chains, folds: Vec::new(), step: 1 }, &[axis]);
        self.close_with(sums);
        if !has_rounds {
            self.close();
        }
        self.exprs[self.row][&expr]
    }
    /// The reductions along the innermost loop of the domain that go with its stores: those that can, where lanes lie along it.
    pub(super) fn sums_of_domain(&mut self, axis: Axis, in_lanes: bool) -> Vec<Sum> {
        let exprs = self.along(axis, |maker, _, body| !in_lanes || maker.may_vectorize(axis, &[body]));
        self.sums(exprs, in_lanes)
    }
    /// These reductions of all rows.
    fn sums(&mut self, exprs: Vec<Expr>, along: bool) -> Vec<Sum> {
        let here = self.row;
        let mut sums = Vec::new();
        for row in 0..self.exprs.len() {
            self.row = row;
            sums.extend(exprs.iter().map(|&expr| self.sum(expr, along)));
        }
        self.row = here;
        sums
    }
    /// Closes a loop at whose end these are combined.
    pub(super) fn close_with(&mut self, mut sums: Vec<Sum>) {
        let (region, here) = (self.here, self.row);
        for (number, sum) in sums.iter_mut().enumerate() {
            self.row = sum.row;
            sum.fold.body = self.expr(sum.body);
            self.append(region, Inst::Accumulate(region, number));
        }
        self.row = here;
        if let Kind::Loop { folds, .. } = &mut self.plan.regions[region].kind {
            folds.extend(sums.iter().map(|sum| sum.fold));
        }
        self.close();
        for Sum { expr, fold, row, .. } in sums {
            self.exprs[row].insert(expr, fold.total.unwrap_or(fold.sum));
        }
    }

    /// The reductions along a loop that are asked for.
    fn along(&self, axis: Axis, is_asked: impl Fn(&Self, Expr, Expr) -> bool) -> Vec<Expr> {
        let exprs = self.kernel.exprs.iter().filter_map(|(expr, scalar)| match scalar {
            Scalar::Reduce { axis: its, body, .. } if *its == axis && is_asked(self, expr, *body) => Some(expr),
            _ => None,
        });
        exprs.collect()
    }
    fn parts(&self, expr: Expr) -> (Combine, Axis, Expr) {
        match self.kernel.exprs[expr] {
            Scalar::Reduce { combine, axis, body } => (combine, axis, body),
            ref other => panic!("{expr} reduces nothing: {other:?}"),
        }
    }
    /// A sum before the first round.
    fn sum(&mut self, expr: Expr, along: bool) -> Sum {
        let (combine, _, body) = self.parts(expr);
        let element = self.facts.elements[body];
        let neutral = self.constant(element, combine.neutral());
        let varies = along || self.vector_axis().is_some_and(|axis| self.facts.exprs[body].contains(axis));
        let sum = self.cell(varies);
        self.set(sum, neutral);
        let total = along.then(|| {
            let total = self.cell(false);
            self.set(total, neutral);
            total
        });
        Sum {
            expr,
            body,
            row: self.row,
            fold: Fold { function: combine.function(), element, neutral, body: neutral, sum, total },
        }
    }
}
