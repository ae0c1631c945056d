//! Brings expressions of one kernel into another, along other loops.

use std::collections::{BTreeMap, BTreeSet};

use super::{Address, Axis, Buffer, Condition, Expr, Int, IntExpr, Kernel, Scalar, Store};
use crate::index::{Id, IndexVec};
use crate::types::Dim;

/// What stands in the place of a loop.
#[derive(Debug, Clone)]
pub enum Along {
    Axis(Axis),
    /// `outer * n + inner`, where `inner` is one of `0..n`.
    Split {
        outer: Axis,
        n: Dim,
        inner: Axis,
    },
}

/// Where a load finds its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Memory,
    /// An expression of the kernel that it is brought into.
    Value(Expr),
    /// Nowhere: nothing is brought in.
    Nowhere,
}

/// What has been brought from one kernel into another.
#[derive(Debug)]
pub struct Import<'a> {
    from: &'a Kernel,
    axes: BTreeMap<Axis, Along>,
    ints: BTreeMap<Int, Int>,
    exprs: BTreeMap<Expr, Expr>,
}

impl<'a> Import<'a> {
    /// From a kernel whose loops become these.
    pub fn new(from: &'a Kernel, axes: impl IntoIterator<Item = (Axis, Along)>) -> Self {
        let axes = axes.into_iter().collect();
        Import { from, axes, ints: BTreeMap::new(), exprs: BTreeMap::new() }
    }
    /// Gives the reductions among these expressions loops, where they have none yet.
    pub fn open_reductions(&mut self, to: &mut Kernel, exprs: &BTreeSet<Expr>) {
        // Outer loops before those within.
        for &expr in exprs.iter().rev() {
            if let Scalar::Reduce { axis, .. } = self.from.exprs[expr]
                && !self.axes.contains_key(&axis)
            {
                let new = to.axes.push(self.from.axes[axis].clone());
                self.axes.insert(axis, Along::Axis(new));
            }
        }
    }
    /// Values that stay what they are: those of a copy of the kernel that they go into.
    pub fn keep(&mut self, exprs: impl IntoIterator<Item = Expr>, ints: impl IntoIterator<Item = Int>) {
        self.exprs.extend(exprs.into_iter().map(|expr| (expr, expr)));
        self.ints.extend(ints.into_iter().map(|int| (int, int)));
    }

    /// The expression in `to`; none where a load finds its value nowhere.
    pub fn expr(
        &mut self,
        to: &mut Kernel,
        expr: Expr,
        find: &mut impl FnMut(&mut Kernel, Buffer, &Address) -> Source,
    ) -> Option<Expr> {
        if let Some(&known) = self.exprs.get(&expr) {
            return Some(known);
        }
        let from = self.from;
        let scalar = match &from.exprs[expr] {
            Scalar::Const(value) => Scalar::Const(*value),
            Scalar::Load { buffer, at } => {
                let at = self.address(to, at, find)?;
                match find(to, *buffer, &at) {
                    Source::Memory => Scalar::Load { buffer: *buffer, at },
                    Source::Value(value) => {
                        self.exprs.insert(expr, value);
                        return Some(value);
                    }
                    Source::Nowhere => return None,
                }
            }
            Scalar::Position(int) => Scalar::Position(self.int(to, *int, find)?),
            Scalar::Convert(x) => Scalar::Convert(self.expr(to, *x, find)?),
            Scalar::Unary(function, x) => Scalar::Unary(*function, self.expr(to, *x, find)?),
            Scalar::Binary(function, a, b) => {
                Scalar::Binary(*function, self.expr(to, *a, find)?, self.expr(to, *b, find)?)
            }
            Scalar::Compare(function, a, b) => {
                Scalar::Compare(*function, self.expr(to, *a, find)?, self.expr(to, *b, find)?)
            }
            Scalar::Select(condition, a, b) => {
                let [condition, a, b] = [condition, a, b].map(|x| self.expr(to, *x, find));
                Scalar::Select(condition?, a?, b?)
            }
            Scalar::Reduce { combine, axis, body } => {
                let Along::Axis(axis) = self.axes.get(axis).cloned()? else { return None };
                Scalar::Reduce { combine: *combine, axis, body: self.expr(to, *body, find)? }
            }
            Scalar::Guard { conditions, body, otherwise } => {
                let conditions = conditions.iter().map(|condition| {
                    Some(match condition {
                        Condition::InRange(int, limit) => Condition::InRange(self.int(to, *int, find)?, limit.clone()),
                        Condition::Multiple(int, of) => Condition::Multiple(self.int(to, *int, find)?, *of),
                    })
                });
                let conditions = conditions.collect::<Option<_>>()?;
                Scalar::Guard { conditions, body: self.expr(to, *body, find)?, otherwise: *otherwise }
            }
            Scalar::Random { key, stream, index } => {
                let [first, second] = key.map(|word| self.expr(to, word, find));
                Scalar::Random { key: [first?, second?], stream: *stream, index: self.int(to, *index, find)? }
            }
        };
        let id = intern(&mut to.exprs, scalar);
        self.exprs.insert(expr, id);
        Some(id)
    }
    /// An address, term by term; a loop that is two has two terms.
    pub fn address(
        &mut self,
        to: &mut Kernel,
        at: &Address,
        find: &mut impl FnMut(&mut Kernel, Buffer, &Address) -> Source,
    ) -> Option<Address> {
        let mut terms = Vec::with_capacity(at.terms.len());
        for (int, stride) in &at.terms {
            if let IntExpr::Axis(axis) = self.from.ints[*int]
                && let Some(Along::Split { outer, n, inner }) = self.axes.get(&axis)
            {
                let [outer, inner] = [*outer, *inner].map(|axis| intern(&mut to.ints, IntExpr::Axis(axis)));
                terms.push((outer, stride.times(n)));
                terms.push((inner, stride.clone()));
            } else {
                terms.push((self.int(to, *int, find)?, stride.clone()));
            }
        }
        Some(Address { offset: at.offset.clone(), terms })
    }
    fn int(
        &mut self,
        to: &mut Kernel,
        int: Int,
        find: &mut impl FnMut(&mut Kernel, Buffer, &Address) -> Source,
    ) -> Option<Int> {
        if let Some(&known) = self.ints.get(&int) {
            return Some(known);
        }
        let from = self.from;
        let new = match &from.ints[int] {
            IntExpr::Const(_) | IntExpr::Size(_) => from.ints[int].clone(),
            IntExpr::Axis(axis) => match self.axes.get(axis).cloned()? {
                Along::Axis(axis) => IntExpr::Axis(axis),
                Along::Split { outer, n, inner } => {
                    let [outer, inner] = [outer, inner].map(|axis| intern(&mut to.ints, IntExpr::Axis(axis)));
                    let whole = match n.as_fixed() {
                        Some(n) => IntExpr::Mul(outer, n as i64),
                        None => IntExpr::MulSize(outer, n),
                    };
                    IntExpr::Add(intern(&mut to.ints, whole), inner)
                }
            },
            IntExpr::Div(a, by) | IntExpr::Rem(a, by)
                if let Some((outer, inner)) = self.parts(*a, &Dim::fixed(usize::try_from(*by).ok()?)) =>
            {
                IntExpr::Axis(if matches!(from.ints[int], IntExpr::Div(..)) { outer } else { inner })
            }
            IntExpr::DivSize(a, by) | IntExpr::RemSize(a, by) if let Some((outer, inner)) = self.parts(*a, by) => {
                IntExpr::Axis(if matches!(from.ints[int], IntExpr::DivSize(..)) { outer } else { inner })
            }
            IntExpr::Add(a, b) => IntExpr::Add(self.int(to, *a, find)?, self.int(to, *b, find)?),
            IntExpr::Mul(a, factor) => IntExpr::Mul(self.int(to, *a, find)?, *factor),
            IntExpr::Div(a, by) => IntExpr::Div(self.int(to, *a, find)?, *by),
            IntExpr::Rem(a, by) => IntExpr::Rem(self.int(to, *a, find)?, *by),
            IntExpr::MulSize(a, size) => IntExpr::MulSize(self.int(to, *a, find)?, size.clone()),
            IntExpr::DivSize(a, size) => IntExpr::DivSize(self.int(to, *a, find)?, size.clone()),
            IntExpr::RemSize(a, size) => IntExpr::RemSize(self.int(to, *a, find)?, size.clone()),
            IntExpr::Clamp(a, limit) => IntExpr::Clamp(self.int(to, *a, find)?, *limit),
            IntExpr::Value(expr) => IntExpr::Value(self.expr(to, *expr, find)?),
        };
        let id = intern(&mut to.ints, new);
        self.ints.insert(int, id);
        Some(id)
    }
    /// The two loops in the place of one, if the inner one has so many rounds: quotient and remainder.
    fn parts(&self, int: Int, by: &Dim) -> Option<(Axis, Axis)> {
        let IntExpr::Axis(axis) = self.from.ints[int] else { return None };
        match self.axes.get(&axis)? {
            Along::Split { outer, n, inner } if n == by => Some((*outer, *inner)),
            _ => None,
        }
    }
}

impl Kernel {
    /// The same kernel with what its stores need, and nothing else: neither other expressions nor loops outside of which they all
    /// stand.
    #[must_use]
    pub fn pruned(&self) -> Kernel {
        let depth = self.depths().into_iter().max().unwrap_or(0);
        let mut axes = Vec::new();
        let mut to = Kernel { name: self.name.clone(), ..Kernel::default() };
        for &axis in &self.domain[..depth] {
            let new = to.axes.push(self.axes[axis].clone());
            to.domain.push(new);
            axes.push((axis, Along::Axis(new)));
        }
        to.parallel = self.parallel.min(depth);
        self.imported(to, axes).expect("all values are in memory")
    }
    /// `to` with all stores of this kernel, whose loops become these; its expressions keep their order.
    pub fn imported(&self, mut to: Kernel, axes: impl IntoIterator<Item = (Axis, Along)>) -> Option<Kernel> {
        let mut import = Import::new(self, axes);
        let mut find = |_: &mut Kernel, _: Buffer, _: &Address| Source::Memory;
        let needed = self.needed();
        import.open_reductions(&mut to, &needed);
        for expr in needed {
            import.expr(&mut to, expr, &mut find)?;
        }
        for store in &self.stores {
            let value = import.expr(&mut to, store.value, &mut find)?;
            let at = import.address(&mut to, &store.at, &mut find)?;
            to.stores.push(Store { at, value, ..store.clone() });
        }
        Some(to)
    }
    /// The expressions that stores need.
    pub fn needed(&self) -> BTreeSet<Expr> {
        let mut roots: Vec<Expr> = self.stores.iter().map(|store| store.value).collect();
        self.stores.iter().for_each(|store| self.indexed(store.at.terms.iter().map(|(int, _)| *int), &mut roots));
        self.reached(roots)
    }
    /// The expressions that these are computed from, and they themselves.
    pub fn reached(&self, roots: impl IntoIterator<Item = Expr>) -> BTreeSet<Expr> {
        let mut needed = BTreeSet::new();
        let mut left: Vec<Expr> = roots.into_iter().collect();
        while let Some(expr) = left.pop() {
            if !needed.insert(expr) {
                continue;
            }
            let scalar = &self.exprs[expr];
            left.extend(scalar.operands());
            self.indexed(scalar.ints(), &mut left);
        }
        needed
    }
    /// The expressions whose values integers are made of.
    fn indexed(&self, ints: impl IntoIterator<Item = Int>, exprs: &mut Vec<Expr>) {
        for int in ints {
            match &self.ints[int] {
                IntExpr::Value(expr) => exprs.push(*expr),
                other => self.indexed(other.operands(), exprs),
            }
        }
    }
}

/// The id of an item, which is put in where it is not there yet.
pub fn intern<I: Id, T: PartialEq>(items: &mut IndexVec<I, T>, item: T) -> I {
    let known = items.iter().find(|(_, known)| **known == item).map(|(id, _)| id);
    known.unwrap_or_else(|| items.push(item))
}
