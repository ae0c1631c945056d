//! On which loops each value of a kernel depends, and so within which loops a store stands.

use std::collections::BTreeMap;

use super::{Address, Axis, Condition, Expr, Int, IntExpr, Kernel, Scalar, Store};
use crate::index::{Id, IndexVec};

/// A set of axes of one kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AxisSet(u128);

impl AxisSet {
    pub fn contains(self, axis: Axis) -> bool {
        self.0 >> axis.index() & 1 == 1
    }
    pub fn is_subset_of(self, other: AxisSet) -> bool {
        self.0 & !other.0 == 0
    }
    pub fn is_disjoint(self, other: AxisSet) -> bool {
        self.0 & other.0 == 0
    }
    pub fn with(self, axis: Axis) -> AxisSet {
        AxisSet(self.0 | 1 << axis.index())
    }
    pub fn without(self, axis: Axis) -> AxisSet {
        AxisSet(self.0 & !(1 << axis.index()))
    }
    pub fn union(self, other: AxisSet) -> AxisSet {
        AxisSet(self.0 | other.0)
    }
}

/// The loops on which the values of one kernel depend.
#[derive(Debug, Clone)]
pub struct Depends {
    pub exprs: IndexVec<Expr, AxisSet>,
    pub ints: IndexVec<Int, AxisSet>,
}

impl Depends {
    /// The loops along which an address moves.
    pub fn address(&self, at: &Address) -> AxisSet {
        at.terms.iter().fold(AxisSet::default(), |axes, (int, _)| axes.union(self.ints[*int]))
    }
    /// How many loops of a domain, from the outermost on, hold all of these axes.
    pub fn depth(&self, domain: &[Axis], axes: AxisSet) -> usize {
        domain.iter().rposition(|&axis| axes.contains(axis)).map_or(0, |at| at + 1)
    }
}

impl Kernel {
    /// The loops on which each value depends.
    ///
    /// # Panics
    /// When the kernel has more loops than any should have.
    pub fn depends(&self) -> Depends {
        assert!(self.axes.len() <= 128, "a kernel of {} loops:\n{self}", self.axes.len());
        let mut finder = Finder { kernel: self, exprs: BTreeMap::new(), ints: BTreeMap::new() };
        let exprs = self.exprs.ids().map(|expr| finder.expr(expr)).collect();
        let ints = self.ints.ids().map(|int| finder.int(int)).collect();
        Depends { exprs, ints }
    }
    /// How many of the outermost loops each store stands in: those up to the innermost that its address moves along.
    pub fn depths(&self) -> Vec<usize> {
        let depends = self.depends();
        let depth = |store: &Store| depends.depth(&self.domain, depends.address(&store.at));
        self.stores.iter().map(depth).collect()
    }
}

/// Expressions and integers refer to each other, so that neither can be gone through first.
struct Finder<'a> {
    kernel: &'a Kernel,
    exprs: BTreeMap<Expr, AxisSet>,
    ints: BTreeMap<Int, AxisSet>,
}

impl Finder<'_> {
    fn expr(&mut self, expr: Expr) -> AxisSet {
        if let Some(&axes) = self.exprs.get(&expr) {
            return axes;
        }
        let kernel = self.kernel;
        let scalar = &kernel.exprs[expr];
        let mut axes = scalar.operands().into_iter().fold(AxisSet::default(), |axes, x| axes.union(self.expr(x)));
        axes = scalar.ints().into_iter().fold(axes, |axes, int| axes.union(self.int(int)));
        if let Scalar::Reduce { axis, .. } = scalar {
            axes = axes.without(*axis);
        }
        self.exprs.insert(expr, axes);
        axes
    }
    fn int(&mut self, int: Int) -> AxisSet {
        if let Some(&axes) = self.ints.get(&int) {
            return axes;
        }
        let axes = match &self.kernel.ints[int] {
            IntExpr::Const(_) | IntExpr::Size(_) => AxisSet::default(),
            IntExpr::Axis(axis) => AxisSet::default().with(*axis),
            IntExpr::Value(expr) => self.expr(*expr),
            other => other.operands().into_iter().fold(AxisSet::default(), |axes, x| axes.union(self.int(x))),
        };
        self.ints.insert(int, axes);
        axes
    }
}

impl Condition {
    /// The integer that it is about.
    pub(crate) fn int(&self) -> Int {
        match self {
            Condition::InRange(int, _) | Condition::Multiple(int, _) => *int,
        }
    }
}
