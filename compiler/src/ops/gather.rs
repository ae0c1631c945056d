//! Rows of a table by their numbers, and the gradient of that.

use super::{Primitive, require_f32};
use crate::diag::Message;
use crate::ensure;
use crate::graph::{Value, Var};
use crate::interp::{Scope, Tensor};
use crate::kernel::{Expr, Int};
use crate::schedule::Lowering;
use crate::types::{Dim, ElementType, TensorType, product};

/// From a table `[rows, cols…]` and an `i32` index `[lead…]`: the rows `[lead…, cols…]`.
/// An index outside of the table means its nearest row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gather;

/// From an `i32` index `[n]` and `n` rows `[n, cols]`: the table `[rows, cols]` of zeros to which each row was
/// added at its index. As for `Gather`, an index outside of the table means its nearest row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScatterAdd {
    pub rows: usize,
}

/// The table's row that an index means.
fn clamp(index: f64, rows: usize) -> usize {
    index.clamp(0.0, rows as f64 - 1.0) as usize
}

impl Primitive for Gather {
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        let [table, index] = args else { panic!("two arguments, not {args:?}") };
        require_f32(&[table])?;
        ensure!(index.element == ElementType::I32, WrongKind, "rows are chosen by integers, not by {index}");
        let fixed = table.shape.iter().all(|dim| dim.as_fixed().is_some());
        ensure!(fixed, ShapeMismatch, "{table} is not a table of constant sizes");
        let rows = table.shape.first().is_some_and(|rows| rows.factor() > 0);
        ensure!(rows, ShapeMismatch, "{table} has no rows to choose from");
        Ok(TensorType::f32([&index.shape, &table.shape[1..]].concat()))
    }

    fn eval(&self, args: &[&Tensor], shape: &[usize], _: &Scope) -> Tensor {
        let [table, index] = args else { panic!("two arguments") };
        let cols: usize = table.shape[1..].iter().product();
        let row = |&index: &f64| &table.data[clamp(index, table.shape[0]) * cols..][..cols];
        Tensor::f32(shape, index.data.iter().flat_map(row).copied().collect())
    }

    fn vjp<'b>(&self, arg: usize, x: &[Var<'b>], _: Var<'b>, ct: Var<'b>) -> Option<Var<'b>> {
        if arg == 1 {
            return None;
        }
        let (table, n) = (x[0].shape(), x[1].ty().n_elements());
        let rows = table[0].as_fixed().expect("the type rule wants a constant number of rows");
        let (index, source) = (x[1].reshape(std::slice::from_ref(&n)), ct.reshape(&[n, product(&table[1..])]));
        Some(ct.builder.emit(ScatterAdd { rows }, &[index, source]).reshape(&table))
    }

    fn element(&self, cx: &mut Lowering<'_>, args: &[Value], index: &[Int]) -> Option<Expr> {
        let (lead, cols) = index.split_at(cx.shape(args[1]).len());
        let rows = cx.shape(args[0])[0].as_fixed().expect("the type rule wants a constant number of rows");
        let row = cx.element(args[1], lead);
        let row = cx.int_value(row);
        let row = cx.int_clamp(row, rows);
        Some(cx.element(args[0], &[&[row], cols].concat()))
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        let (b, t) = (Dim::batch(), Dim::axis("T"));
        vec![
            (Gather, vec![TensorType::f32([5, 3]), TensorType::i32([b.clone(), t])]),
            (Gather, vec![TensorType::f32([4]), TensorType::i32([b])]),
            (Gather, vec![TensorType::f32([3, 2, 2]), TensorType::i32(Vec::<Dim>::new())]),
        ]
    }
}

impl Primitive for ScatterAdd {
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        let [index, source] = args else { panic!("two arguments, not {args:?}") };
        require_f32(&[source])?;
        ensure!(index.element == ElementType::I32, WrongKind, "rows are chosen by integers, not by {index}");
        ensure!(self.rows > 0, InvalidSize, "a table has at least one row");
        let fits = index.rank() == 1 && source.rank() == 2 && source.shape[0] == index.shape[0];
        ensure!(fits, ShapeMismatch, "{source} does not hold a row for each index of {index}");
        let cols = &source.shape[1];
        ensure!(cols.as_fixed().is_some(), ShapeMismatch, "the columns of {source} are not constant");
        Ok(TensorType::f32([Dim::fixed(self.rows), cols.clone()]))
    }

    fn eval(&self, args: &[&Tensor], shape: &[usize], scope: &Scope) -> Tensor {
        let [index, source] = args else { panic!("two arguments") };
        let mut table = Tensor::filled(shape, 0.0);
        let cols = shape[1];
        for (n, &row) in index.data.iter().enumerate() {
            let row = clamp(row, self.rows);
            let sums = table.data[row * cols..][..cols].iter_mut();
            for (sum, &x) in sums.zip(&source.data[n * cols..][..cols]) {
                *sum += x;
            }
        }
        table.map(|sum| scope.round(sum))
    }

    fn vjp<'b>(&self, arg: usize, x: &[Var<'b>], _: Var<'b>, ct: Var<'b>) -> Option<Var<'b>> {
        (arg == 1).then(|| ct.builder.emit(Gather, &[ct, x[0]]))
    }

    fn element(&self, _: &mut Lowering<'_>, _: &[Value], _: &[Int]) -> Option<Expr> {
        None
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        let (bt, b) = (Dim::batch().times(&Dim::axis("T")), Dim::batch());
        vec![
            (ScatterAdd { rows: 4 }, vec![TensorType::i32([bt.clone()]), TensorType::f32([bt, Dim::fixed(3)])]),
            (ScatterAdd { rows: 2 }, vec![TensorType::i32([b.clone()]), TensorType::f32([b, Dim::ONE])]),
        ]
    }
}
