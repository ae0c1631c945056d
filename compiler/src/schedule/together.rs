//! Reductions over as many elements, of which none needs another, go along one loop; and along the innermost loop of the domain,
//! where nothing that is stored there needs them. What they read alike is read once: the two sums of a normalization's gradient,
//! a loss and its gradient.

use std::collections::BTreeSet;

use crate::kernel::depends::{AxisSet, Depends};
use crate::kernel::import::Along;
use crate::kernel::{Axis, Expr, Kernel, Scalar};
use crate::types::Dim;

/// So many reductions along one loop at most: each has some vectors in registers.
const MOST: usize = 4;

/// The same kernel with as few loops as it can have.
pub(super) fn reductions(kernel: &Kernel) -> Kernel {
    let mut kernel = kernel.clone();
    while let Some((gone, stays)) = next(&kernel) {
        let mut to = Kernel { name: kernel.name.clone(), parallel: kernel.parallel, ..Kernel::default() };
        to.axes = kernel.axes.clone();
        to.domain.clone_from(&kernel.domain);
        to.axes[gone] = Dim::ONE;
        let axes = kernel.axes.ids().map(|axis| (axis, Along::Axis(if axis == gone { stays } else { axis })));
        kernel = kernel.imported(to, axes).expect("all values are in memory").pruned();
    }
    kernel
}

/// A loop of reductions, and the one that they can go along instead.
fn next(kernel: &Kernel) -> Option<(Axis, Axis)> {
    let loops = Loops::of(kernel);
    let reduced: Vec<Axis> = kernel.axes.ids().filter(|axis| !loops.reductions(*axis).is_empty()).collect();
    let innermost = kernel.domain.last().filter(|_| kernel.domain.len() > kernel.parallel);
    for (at, &gone) in reduced.iter().enumerate().filter(|(_, axis)| !kernel.domain.contains(axis)) {
        let others = innermost.into_iter().chain(&reduced[..at]);
        if let Some(&stays) = others.into_iter().find(|stays| loops.may_join(gone, **stays)) {
            return Some((gone, stays));
        }
    }
    None
}

struct Loops<'a> {
    kernel: &'a Kernel,
    depends: Depends,
    /// All reductions.
    sums: Vec<(Axis, Expr)>,
}

impl<'a> Loops<'a> {
    fn of(kernel: &'a Kernel) -> Self {
        let sums = kernel.exprs.iter().filter_map(|(expr, scalar)| match scalar {
            Scalar::Reduce { axis, .. } => Some((*axis, expr)),
            _ => None,
        });
        Loops { kernel, depends: kernel.depends(), sums: sums.collect() }
    }
    fn reductions(&self, axis: Axis) -> Vec<Expr> {
        self.sums.iter().filter(|(its, _)| *its == axis).map(|(_, expr)| *expr).collect()
    }
    fn may_join(&self, gone: Axis, stays: Axis) -> bool {
        let Kernel { axes, domain, .. } = self.kernel;
        let [of_gone, of_stays] = [gone, stays].map(|axis| self.reductions(axis));
        if gone == stays || axes[gone] != axes[stays] || of_gone.len() + of_stays.len() > MOST {
            return false;
        }
        // Each is computed in the loops that determine it: the same for all.
        let place = self.depends.exprs[of_gone[0]];
        let is_placed = |expr: &Expr| self.depends.exprs[*expr] == place;
        let is_at = if domain.contains(&stays) {
            self.depends.depth(domain, place) + 1 == domain.len() && place.is_subset_of(self.all(domain))
        } else {
            true
        };
        let are_alike = of_gone.iter().chain(&of_stays).all(is_placed);
        are_alike && is_at && !self.reaches(gone, stays) && !self.reaches(stays, gone)
    }
    fn all(&self, axes: &[Axis]) -> AxisSet {
        axes.iter().fold(AxisSet::default(), |set, &axis| set.with(axis))
    }
    /// Whether what is done in a loop needs reductions of another one, by itself or by others.
    fn reaches(&self, from: Axis, to: Axis) -> bool {
        let mut left = vec![from];
        let mut seen = BTreeSet::new();
        while let Some(axis) = left.pop() {
            if !seen.insert(axis) {
                continue;
            }
            let needed = self.needed_in(axis);
            let needed = needed.iter().filter_map(|expr| self.sums.iter().find(|(_, sum)| sum == expr));
            for (its, _) in needed {
                if *its == to {
                    return true;
                }
                left.push(*its);
            }
        }
        false
    }
    /// What is computed in a loop or for it: for the reductions along it, and for what is stored in it.
    fn needed_in(&self, axis: Axis) -> BTreeSet<Expr> {
        let depths = self.kernel.depths();
        let is_inner = |depth: usize| self.kernel.domain[..depth].contains(&axis);
        let stores =
            self.kernel.stores.iter().zip(depths).filter(|(_, depth)| is_inner(*depth)).map(|(store, _)| store);
        let bodies = self.sums.iter().filter(|(its, _)| *its == axis).map(|(_, sum)| match self.kernel.exprs[*sum] {
            Scalar::Reduce { body, .. } => body,
            ref other => panic!("{sum} reduces nothing: {other:?}"),
        });
        self.kernel.reached(bodies.chain(stores.map(|store| store.value)))
    }
}
