//! Views: the same memory under another shape. What can be a view costs nothing.

use crate::kernel::View;
use crate::types::{Dim, product};

/// Strides of a contiguous value whose axes lie in `order`, outermost first.
pub(super) fn strides(shape: &[Dim], order: &[usize]) -> Vec<Dim> {
    let mut strides = vec![Dim::ONE; shape.len()];
    let mut stride = Dim::ONE;
    for &axis in order.iter().rev() {
        strides[axis] = stride.clone();
        stride = stride.times(&shape[axis]);
    }
    strides
}

/// Axis `i` of the result is axis `order[i]` of the view.
pub(super) fn transpose(view: &View, order: &[usize]) -> View {
    View { strides: order.iter().map(|&axis| view.strides[axis].clone()).collect(), ..view.clone() }
}

/// The view that `transpose` with this order makes `view` of.
pub(super) fn untranspose(view: &View, order: &[usize]) -> View {
    let mut strides = view.strides.clone();
    for (to, &from) in order.iter().enumerate() {
        strides[from] = view.strides[to].clone();
    }
    View { strides, ..view.clone() }
}

/// From element `start` along `axis`; `None` when the offset is no single size.
pub(super) fn slice(view: &View, axis: usize, start: usize) -> Option<View> {
    let by = view.strides[axis].times(&Dim::fixed(start));
    Some(View { offset: view.offset.plus(&by)?, ..view.clone() })
}

/// Axes of length one repeated: a stride of 0.
pub(super) fn broadcast(view: &View, from: &[Dim], to: &[Dim]) -> View {
    let stride = |axis: usize| if from[axis] == to[axis] { view.strides[axis].clone() } else { Dim::fixed(0) };
    View { strides: (0..to.len()).map(stride).collect(), ..view.clone() }
}

/// The same elements in row-major order of `from` as of `to`, when strides can say so.
///
/// Both shapes are cut into the smallest groups of equal product; within a group of `from` the axes must be
/// contiguous with each other.
pub(super) fn reshape(view: &View, from: &[Dim], to: &[Dim]) -> Option<View> {
    let mut strides = vec![Dim::ONE; to.len()];
    let mut old: Vec<usize> = (0..from.len()).filter(|&axis| !from[axis].is_one()).collect();
    let mut new: Vec<usize> = (0..to.len()).filter(|&axis| !to[axis].is_one()).collect();
    // From the innermost group outwards.
    while let (Some(&last_old), Some(&last_new)) = (old.last(), new.last()) {
        let (mut group_old, mut group_new) = (vec![last_old], vec![last_new]);
        let (mut n_old, mut n_new) = (from[last_old].clone(), to[last_new].clone());
        old.pop();
        new.pop();
        while n_old != n_new {
            // The side whose product divides the other's takes one more axis.
            if n_new.divided_by(&n_old).is_some() {
                let axis = old.pop()?;
                n_old = n_old.times(&from[axis]);
                group_old.push(axis);
            } else {
                let axis = new.pop()?;
                n_new = n_new.times(&to[axis]);
                group_new.push(axis);
            }
        }
        for pair in group_old.windows(2) {
            let (inner, outer) = (pair[0], pair[1]);
            if view.strides[outer] != view.strides[inner].times(&from[inner]) {
                return None;
            }
        }
        let mut stride = view.strides[group_old[0]].clone();
        for &axis in &group_new {
            strides[axis] = stride.clone();
            stride = stride.times(&to[axis]);
        }
    }
    let same = product(from) == product(to);
    (old.is_empty() && new.is_empty() && same).then(|| View { strides, ..view.clone() })
}

#[cfg(test)]
mod tests {
    use super::{reshape, strides};
    use crate::index::Id;
    use crate::kernel::{Buffer, View};
    use crate::types::Dim;

    fn check(from: &[Dim], order: &[usize], to: &[Dim], expected: Option<&[&str]>) {
        let view = View::whole(Buffer::new(0), strides(from, order));
        let actual = reshape(&view, from, to).map(|view| view.strides.iter().map(Dim::to_string).collect::<Vec<_>>());
        assert_eq!(actual, expected.map(|dims| dims.iter().map(|dim| (*dim).to_owned()).collect()));
    }

    #[test]
    fn reshapes_are_views_where_strides_allow() {
        let (b, t, n) = (Dim::batch(), Dim::axis("T"), Dim::fixed);
        check(&[b.clone(), t.clone(), n(8)], &[0, 1, 2], &[b.times(&t), n(8)], Some(&["8", "1"]));
        check(&[b.times(&t), n(8)], &[0, 1], &[b.clone(), t.clone(), n(8)], Some(&["8*T", "8", "1"]));
        check(&[b.clone(), n(64), n(7), n(7)], &[0, 1, 2, 3], &[b.clone(), n(3136)], Some(&["3136", "1"]));
        check(&[b.clone(), n(64), n(7), n(7)], &[0, 2, 3, 1], &[b.clone(), n(3136)], None);
        check(&[b.clone(), n(64), n(1), n(1)], &[0, 2, 3, 1], &[b, n(64)], Some(&["64", "1"]));
        check(&[n(6)], &[0], &[n(2), n(1), n(3)], Some(&["3", "1", "1"]));
    }
}
