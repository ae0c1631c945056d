//! Steps that copy rows of a matrix from one place to another and do nothing else.

use crate::kernel::{Address, Int, IntExpr, Kernel, Scalar, Step, View};
use crate::types::Dim;

/// Some rows of a matrix, whose elements are neighbors in either place.
pub(super) struct Copy {
    /// With a stride for rows and one for columns.
    pub(super) from: View,
    pub(super) to: View,
    /// Rows and columns: a single row of what lies together.
    pub(super) size: [usize; 2],
}

/// The copy that a step is, if it does nothing else.
pub(super) fn copy_of(step: &Step) -> Option<Copy> {
    let Step::Loop(kernel) = step else { return None };
    let Kernel { axes, domain, ints, exprs, stores, .. } = kernel;
    let [store] = stores.as_slice() else { return None };
    let Scalar::Load { buffer, at: from } = &exprs[store.value] else { return None };
    let sizes: Vec<usize> = domain.iter().map(|&axis| axes[axis].as_fixed()).collect::<Option<_>>()?;
    let stride = |at: &Address, number: usize| {
        let is_axis = |(int, _): &&(Int, Dim)| ints[*int] == IntExpr::Axis(domain[number]);
        at.terms.iter().find(is_axis).map(|(_, stride)| stride.clone())
    };
    let view =
        |buffer, at: &Address, row: Dim| View { buffer, offset: at.offset.clone(), strides: vec![row, Dim::ONE] };
    let is_plain = [&store.at, from].into_iter().all(|at| at.terms.len() == domain.len());
    match *sizes.as_slice() {
        [cols] if is_plain && stride(&store.at, 0)?.is_one() && stride(from, 0)?.is_one() => {
            let row = Dim::fixed(cols);
            Some(Copy {
                from: view(*buffer, from, row.clone()),
                to: view(store.buffer, &store.at, row),
                size: [1, cols],
            })
        }
        [rows, cols] if is_plain && stride(&store.at, 1)?.is_one() && stride(from, 1)?.is_one() => {
            let [to_row, from_row] = [stride(&store.at, 0)?, stride(from, 0)?];
            Some(Copy {
                from: view(*buffer, from, from_row),
                to: view(store.buffer, &store.at, to_row),
                size: [rows, cols],
            })
        }
        _ => None,
    }
}
