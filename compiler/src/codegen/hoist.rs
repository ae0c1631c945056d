//! The order of evaluation around loops: what is computed before a loop, and what within.

use std::collections::BTreeSet;

use super::cx::{Access, Cx, Slot};
use crate::kernel::{Expr, Int, IntExpr, Scalar};

impl Cx<'_, '_> {
    /// Computes everything that `roots` need and that the open loops determine.
    pub(super) fn hoist(&mut self, roots: &[Expr]) {
        let mut seen = BTreeSet::new();
        for &root in roots {
            self.hoist_expr(root, true, &mut seen);
        }
    }
    /// Inside a guard that is not open yet, only addresses are computed: `may_read` is false there.
    fn hoist_expr(&mut self, expr: Expr, may_read: bool, seen: &mut BTreeSet<(Expr, bool)>) {
        if !seen.insert((expr, may_read)) {
            return;
        }
        let kernel = self.kernel;
        if may_read && self.facts.exprs[expr].is_subset_of(self.bound()) {
            // A constant is loaded where it is used: it would only occupy a register.
            if !matches!(kernel.exprs[expr], Scalar::Const(_)) {
                self.force(expr);
            }
            return;
        }
        match &kernel.exprs[expr] {
            Scalar::Const(_) => {}
            Scalar::Load { at, .. } => {
                for (int, _) in &at.terms {
                    self.hoist_int(*int, may_read, seen);
                }
                self.hoist_address(Access::Load(expr), may_read);
            }
            Scalar::Position(int) => self.hoist_int(*int, may_read, seen),
            Scalar::Convert(x) | Scalar::Unary(_, x) => self.hoist_expr(*x, may_read, seen),
            Scalar::Binary(_, a, b) | Scalar::Compare(_, a, b) => {
                self.hoist_expr(*a, may_read, seen);
                self.hoist_expr(*b, may_read, seen);
            }
            Scalar::Select(condition, a, b) => {
                for &x in [condition, a, b] {
                    self.hoist_expr(x, may_read, seen);
                }
            }
            Scalar::Reduce { axis, body, .. } => {
                // A loop that may have no rounds is a guard of its body.
                let runs = kernel.axes[*axis].as_fixed().is_some_and(|n| 0 < n);
                self.hoist_expr(*body, may_read && runs, seen);
            }
            Scalar::Guard { conditions, body, .. } => {
                for condition in conditions {
                    self.hoist_int(condition.int(), may_read, seen);
                }
                self.hoist_expr(*body, false, seen);
            }
            Scalar::Random { key, index, .. } => {
                for &word in key {
                    self.hoist_expr(word, may_read, seen);
                }
                self.hoist_int(*index, may_read, seen);
            }
        }
    }
    fn hoist_int(&mut self, int: Int, may_read: bool, seen: &mut BTreeSet<(Expr, bool)>) {
        match &self.kernel.ints[int] {
            IntExpr::Const(_) | IntExpr::Axis(_) | IntExpr::Size(_) => {}
            IntExpr::Add(a, b) => {
                self.hoist_int(*a, may_read, seen);
                self.hoist_int(*b, may_read, seen);
            }
            IntExpr::Mul(a, _) | IntExpr::Div(a, _) | IntExpr::Rem(a, _) | IntExpr::Clamp(a, _) => {
                self.hoist_int(*a, may_read, seen);
            }
            IntExpr::MulSize(a, _) | IntExpr::DivSize(a, _) | IntExpr::RemSize(a, _) => {
                self.hoist_int(*a, may_read, seen);
            }
            IntExpr::Value(expr) => self.hoist_expr(*expr, may_read, seen),
        }
        let axes = self.facts.ints[int];
        let uniform = self.vector.is_none_or(|vector| !axes.contains(vector.axis));
        if axes.is_subset_of(self.bound()) && uniform && (may_read || !self.facts.reads[int]) {
            self.int(int, Slot::Uniform);
        }
    }
    pub(super) fn hoist_stores(&mut self) {
        for number in 0..self.kernel.stores.len() {
            self.hoist_address(Access::Store(number), true);
        }
    }
}
