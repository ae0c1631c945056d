//! Loop nests over the same rows become one: softmax, a norm over features, a loss over classes with its gradient.
//!
//! A row is what one point of the outer loops has to itself: elements that the innermost loop goes along, and reductions over
//! them. Where a kernel reads what another has stored in the same row, it finds the value itself instead: at the same element
//! as it is, along a loop of its own computed once more, where that is cheap. So one kernel reads a row and leaves its results,
//! and what the others handed on in memory is gone.

use std::collections::{BTreeMap, BTreeSet};

use super::collapse::{along, share};
use super::merge::{add_store, has_reduction, merge_back};
use super::together;
use crate::kernel::depends::{AxisSet, Depends};
use crate::kernel::import::{Along, Import, Source};
use crate::kernel::{
    Address, Axis, Buffer, Expr, Home, Int, IntExpr, Kernel, Mode, Program, Scalar, Scan, Step, Store, UnaryFn,
};
use crate::types::{Dim, product};

/// A kernel of rows has at most this many expressions.
const LARGE: usize = 128;
/// How many steps back a loop nest looks for one to join.
const REACH: usize = 12;
/// The same for one that only reduces: the norm of all gradients, at the end of a step, is of what was made at any time in it.
const FAR: usize = 256;
/// The elements of a row: of fewer, vectors along rows are mostly empty; more do not stay in the first cache.
pub(super) const ROW: std::ops::RangeInclusive<usize> = 8..=8192;
/// What is computed a second time, along a loop of its own, costs at most so much, in units of an addition: an exponential of a
/// difference.
const CHEAP: usize = 12;

/// Joins the loop nests of a program, and takes out what nothing reads any more.
pub(super) fn of_program(program: &mut Program) {
    let Program { prepare, steps, .. } = program;
    for steps in [prepare, steps] {
        for step in steps.iter_mut() {
            if let Step::Scan(scan) = step {
                join_body(scan);
            }
        }
        join_all(steps);
    }
    drop_unread(program);
}

/// Joins the loop nests of a recurrence's step, unless that would bring members of the batch together.
fn join_body(scan: &mut Scan) {
    let body = scan.body.clone();
    join_all(&mut scan.body);
    if scan.members.is_some() && scan.members_apart().is_none() {
        scan.body = body;
    }
}

/// First what shares rows; then what is dear, but can stay in one loop: a later join must not tear that apart.
fn join_all(steps: &mut Vec<Step>) {
    for twice in [Twice::Cheap, Twice::Nothing] {
        join_where(steps, twice);
    }
}

fn join_where(steps: &mut Vec<Step>, twice: Twice) {
    loop {
        let before = steps.len();
        let mut joined: Vec<Step> = Vec::with_capacity(before);
        for step in steps.drain(..) {
            let reach = if leaves_little(&step) { FAR } else { REACH };
            if !merge_back(&mut joined, &step, reach, |first, second| join(first, second, twice)) {
                joined.push(step);
            }
        }
        *steps = joined;
        if steps.len() == before {
            return;
        }
    }
}

/// Whether a step only reduces, to as many elements whatever the batch: what it leaves may wait in memory for long.
fn leaves_little(step: &Step) -> bool {
    let Step::Loop(kernel) = step else { return false };
    let reduces = |store: &Store| matches!(kernel.exprs[store.value], Scalar::Reduce { .. });
    kernel.stores.iter().all(reduces) && product(&extents(kernel)).as_fixed().is_some()
}

/// Takes out stores to memory that nothing reads any more, and all that only they needed.
fn drop_unread(program: &mut Program) {
    let mut read: BTreeSet<Buffer> = BTreeSet::new();
    for step in program.prepare.iter().chain(&program.steps) {
        step.for_each_access(&mut |access| {
            if access.mode == Mode::Read {
                read.insert(access.buffer);
            }
        });
    }
    let Program { prepare, steps, buffers, .. } = program;
    let is_kept = |store: &Store| buffers[store.buffer].home != Home::Workspace || read.contains(&store.buffer);
    let tidy = |steps: &mut Vec<Step>| {
        steps.retain_mut(|step| {
            let Step::Loop(kernel) = step else { return true };
            kernel.stores.retain(is_kept);
            *kernel = together::reductions(&kernel.pruned());
            !kernel.stores.is_empty()
        });
    };
    for steps in [prepare, steps] {
        for step in steps.iter_mut() {
            if let Step::Scan(scan) = step {
                tidy(&mut scan.body);
                // Without the memory that no step touches any more.
                scan.members = scan.members.as_ref().and_then(|_| scan.members_apart());
            }
        }
        tidy(steps);
    }
}

/// What may be computed a second time where kernels are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Twice {
    /// What is cheap, along a loop of its own.
    Cheap,
    /// Nothing, since all of it goes along one loop.
    Nothing,
}

/// Both kernels as one, where the second reads what the first stores in the same row.
fn join(first: &Kernel, second: &Kernel, twice: Twice) -> Option<Kernel> {
    if !(has_reduction(first) || has_reduction(second)) || first.exprs.len() + second.exprs.len() > LARGE {
        return None;
    }
    let touches = |buffer: Buffer| {
        let is_stored = first.stores.iter().any(|store| store.buffer == buffer);
        is_stored || loads(first).any(|(read, _)| read == buffer)
    };
    if !loads(second).any(|(buffer, _)| touches(buffer)) {
        return None;
    }
    let Pair { mut first, second, n_rows } = pair(first, second)?;
    let mut axes: Vec<(Axis, Along)> = Vec::new();
    for (depth, &axis) in second.domain.iter().enumerate() {
        if depth == first.domain.len() {
            let new = first.axes.push(second.axes[axis].clone());
            first.domain.push(new);
        }
        axes.push((axis, Along::Axis(first.domain[depth])));
    }
    let rows: Vec<Axis> = first.domain[..n_rows].to_vec();
    first.parallel = n_rows;
    let mut both = first.clone();
    let mut import = Import::new(&second, axes);
    let needed = second.needed();
    import.open_reductions(&mut both, &needed);
    let mut copies = Copies { first: &first, rows: &rows, made: BTreeMap::new(), cost: 0, shares: false };
    let mut find = |both: &mut Kernel, buffer: Buffer, at: &Address| copies.find(both, buffer, at);
    for &expr in &needed {
        import.expr(&mut both, expr, &mut find)?;
    }
    for store in &second.stores {
        let at = import.address(&mut both, &store.at, &mut find)?;
        let value = import.expr(&mut both, store.value, &mut find)?;
        add_store(&mut both, Store { at, value, ..store.clone() })?;
    }
    if both.domain.len() == n_rows {
        share(&mut both);
    }
    // Lanes lie along rows, where what they read lies side by side; or two sums of the same elements go together.
    let are_sums = both.domain.len() == n_rows && has_reduction(&first) && has_reduction(&second);
    let is_cheap = match twice {
        Twice::Cheap => copies.cost <= CHEAP,
        Twice::Nothing => has_one_loop(&both),
    };
    let is_worth = copies.shares && is_cheap && (are_sums || is_along_rows(&both, n_rows));
    (is_worth && both.exprs.len() <= LARGE).then_some(both)
}

/// Whether all that it reduces goes along its innermost loop: nothing is computed a second time then.
fn has_one_loop(kernel: &Kernel) -> bool {
    let kernel = together::reductions(&kernel.pruned());
    let is_inner = |scalar: &Scalar| match scalar {
        Scalar::Reduce { axis, .. } => kernel.domain.contains(axis),
        _ => true,
    };
    kernel.exprs.values().all(is_inner)
}

/// What a kernel reads.
fn loads(kernel: &Kernel) -> impl Iterator<Item = (Buffer, &Address)> {
    kernel.exprs.values().filter_map(|scalar| match scalar {
        Scalar::Load { buffer, at } => Some((*buffer, at)),
        _ => None,
    })
}

/// Two kernels whose outer loops go over the same rows; inner ones, where there are any, over as many elements.
struct Pair {
    first: Kernel,
    second: Kernel,
    n_rows: usize,
}

fn extents(kernel: &Kernel) -> Vec<Dim> {
    kernel.domain.iter().map(|&axis| kernel.axes[axis].clone()).collect()
}

fn pair(first: &Kernel, second: &Kernel) -> Option<Pair> {
    let [mut of_first, mut of_second] = [first, second].map(extents);
    let is_row = |n: &Dim| n.as_fixed().is_some_and(|n| ROW.contains(&n));
    let [all_first, all_second] = [&of_first, &of_second].map(|extents| product(extents));
    // The elements of a row, in whichever of them goes along rows.
    let mut inner = None;
    if all_first != all_second {
        let by_element = if all_first.divided_by(&all_second).is_some() { &mut of_first } else { &mut of_second };
        let rows = if all_first.divided_by(&all_second).is_some() { &all_second } else { &all_first };
        let n = product(by_element).divided_by(rows).filter(is_row)?;
        let last = by_element.pop()?;
        if last != n {
            by_element.push(last.divided_by(&n)?);
        }
        inner = Some(n);
    } else if let Some(kernel) = [first, second].into_iter().find(|kernel| has_rows(kernel)) {
        let n = extents(kernel).pop().filter(is_row)?;
        for extents in [&mut of_first, &mut of_second] {
            let last = extents.pop()?;
            if last != n {
                extents.push(last.divided_by(&n)?);
            }
        }
        inner = Some(n);
    }
    // As many loops as the finer of the two has.
    let rows = if of_first.len() >= of_second.len() { of_first } else { of_second };
    if rows.is_empty() {
        return None;
    }
    let conform = |kernel: &Kernel| {
        let is_by_element = inner.is_some() && product(&extents(kernel)) != product(&rows);
        let wanted: Vec<Dim> = rows.iter().chain(inner.as_ref().filter(|_| is_by_element)).cloned().collect();
        split(kernel, &wanted)
    };
    Some(Pair { first: conform(first)?, second: conform(second)?, n_rows: rows.len() })
}

/// Whether some stores stand outside of the innermost loop, at the end of its rows.
fn has_rows(kernel: &Kernel) -> bool {
    kernel.depths().iter().any(|&depth| depth < kernel.domain.len())
}

/// The kernel with loops of these extents, into which its own are split.
fn split(kernel: &Kernel, wanted: &[Dim]) -> Option<Kernel> {
    let mut to = Kernel { name: kernel.name.clone(), ..Kernel::default() };
    to.axes = wanted.iter().cloned().collect();
    to.domain = to.axes.ids().collect();
    let mut left = to.domain.clone();
    let mut axes = Vec::new();
    for &axis in kernel.domain.iter().rev() {
        let inner = left.pop()?;
        let n = to.axes[inner].clone();
        if kernel.axes[axis] == n {
            axes.push((axis, Along::Axis(inner)));
            continue;
        }
        // A loop is split into two at most.
        let outer = left.pop().filter(|outer| to.axes[*outer].times(&n) == kernel.axes[axis])?;
        axes.push((axis, Along::Split { outer, n, inner }));
    }
    left.is_empty().then(|| kernel.imported(to, axes))?
}

/// Whether some loop within the rows goes along neighbors, element by element or to reduce them.
fn is_along_rows(kernel: &Kernel, n_rows: usize) -> bool {
    let is_row = |axis: &Axis| kernel.axes[*axis].as_fixed().is_some_and(|n| ROW.contains(&n));
    let is_inner = |axis: &Axis| !kernel.domain[..n_rows].contains(axis) && is_row(axis);
    kernel.axes.ids().filter(is_inner).any(|axis| {
        kernel.exprs.values().any(|scalar| match scalar {
            Scalar::Load { at, .. } => along(kernel, at, axis).is_some_and(|dim| dim.is_one()),
            _ => false,
        })
    })
}

/// What loads of the second kernel find of the first.
struct Copies<'a> {
    first: &'a Kernel,
    rows: &'a [Axis],
    /// A value of the first along another loop than the innermost.
    made: BTreeMap<(Expr, Axis), Expr>,
    cost: usize,
    /// Whether a pass over memory is saved: something of the first is found, or both read the same elements of a row.
    shares: bool,
}

impl Copies<'_> {
    fn find(&mut self, both: &mut Kernel, buffer: Buffer, at: &Address) -> Source {
        let mut stores = self.first.stores.iter().filter(|store| store.buffer == buffer);
        let Some(store) = stores.next() else {
            self.shares |= loads(self.first).any(|(read, from)| read == buffer && self.is_same_row(both, from, at));
            return Source::Memory;
        };
        if stores.next().is_some() {
            return Source::Nowhere;
        }
        self.shares = true;
        if is_same(at, &store.at) {
            return Source::Value(store.value);
        }
        self.along(both, store, at).map_or(Source::Nowhere, Source::Value)
    }
    /// Whether two addresses go over the same elements of a row, each along a loop of its own.
    fn is_same_row(&self, both: &Kernel, a: &Address, b: &Address) -> bool {
        let is_row = |int: &Int| matches!(both.ints[*int], IntExpr::Axis(axis) if self.rows.contains(&axis));
        let along = |at: &Address| {
            let inner = at.terms.iter().filter(|(int, _)| !is_row(int)).map(|(int, stride)| match both.ints[*int] {
                IntExpr::Axis(axis) => Some((both.axes[axis].clone(), stride.clone())),
                _ => None,
            });
            let mut inner = inner.collect::<Option<Vec<(Dim, Dim)>>>().filter(|inner| !inner.is_empty())?;
            inner.sort();
            Some(inner)
        };
        let rows = |at: &Address| {
            let terms = at.terms.iter().filter(|(int, _)| is_row(int)).cloned().collect();
            Address { offset: at.offset.clone(), terms }
        };
        along(a).is_some_and(|inner| Some(inner) == along(b)) && is_same(&rows(a), &rows(b))
    }
    /// The value stored at an element of this row that another loop goes to.
    fn along(&mut self, both: &mut Kernel, store: &Store, at: &Address) -> Option<Expr> {
        let &inner = self.first.domain.get(self.rows.len())?;
        let is_free = |axis: &Axis| !both.domain.contains(axis) && both.axes[*axis] == both.axes[inner];
        let axes: Vec<Axis> = at
            .terms
            .iter()
            .filter_map(|(int, _)| match both.ints[*int] {
                IntExpr::Axis(axis) => Some(axis),
                _ => None,
            })
            .filter(is_free)
            .collect();
        let [axis] = axes[..] else { return None };
        let on = |(int, stride): &(Int, Dim)| match both.ints[*int] {
            IntExpr::Axis(along) if along == axis => (IntExpr::Axis(inner), stride.clone()),
            ref other => (other.clone(), stride.clone()),
        };
        let mut moved: Vec<(IntExpr, Dim)> = at.terms.iter().map(on).collect();
        for term in store.at.terms.iter().map(on) {
            moved.remove(moved.iter().position(|known| *known == term)?);
        }
        if !moved.is_empty() || at.offset != store.at.offset {
            return None;
        }
        if let Some(&made) = self.made.get(&(store.value, axis)) {
            return Some(made);
        }
        let from = both.clone();
        let Depends { exprs, ints } = from.depends();
        let moves = |axes: AxisSet| axes.contains(inner);
        let mut seen = BTreeSet::new();
        self.cost += cost(&from, store.value, &mut |expr| moves(exprs[expr]) && seen.insert(expr))?;
        let mut import = Import::new(&from, [(inner, Along::Axis(axis))]);
        import.keep(
            exprs.iter().filter(|(_, axes)| !moves(**axes)).map(|(expr, _)| expr),
            ints.iter().filter(|(_, axes)| !moves(**axes)).map(|(int, _)| int),
        );
        let made = import.expr(both, store.value, &mut |_, _, _| Source::Memory)?;
        self.made.insert((store.value, axis), made);
        Some(made)
    }
}

/// Whether two addresses of one kernel are one, whatever the order of their terms.
fn is_same(a: &Address, b: &Address) -> bool {
    let sorted = |at: &Address| {
        let mut terms = at.terms.clone();
        terms.sort_by_key(|(int, stride)| (*int, stride.factor()));
        terms
    };
    a.offset == b.offset && sorted(a) == sorted(b)
}

/// What computing an expression again costs where `moves` says that it must be; none where it holds a reduction.
fn cost(kernel: &Kernel, expr: Expr, moves: &mut impl FnMut(Expr) -> bool) -> Option<usize> {
    if !moves(expr) {
        return Some(0);
    }
    let scalar = &kernel.exprs[expr];
    let own = match scalar {
        Scalar::Reduce { .. } => return None,
        Scalar::Const(_) => 0,
        Scalar::Unary(UnaryFn::Neg | UnaryFn::Abs | UnaryFn::Floor, _) => 1,
        Scalar::Unary(UnaryFn::Sqrt, _) | Scalar::Binary(crate::kernel::BinaryFn::Div, ..) => 4,
        Scalar::Unary(..) | Scalar::Random { .. } => 10,
        Scalar::Load { .. }
        | Scalar::Position(_)
        | Scalar::Convert(_)
        | Scalar::Binary(..)
        | Scalar::Compare(..)
        | Scalar::Select(..)
        | Scalar::Guard { .. } => 1,
    };
    scalar.operands().into_iter().try_fold(own, |sum, operand| Some(sum + cost(kernel, operand, moves)?))
}
