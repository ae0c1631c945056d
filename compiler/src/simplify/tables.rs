//! Products of rows that are chosen from a table: of the table's rows before they are chosen, when there are fewer of those.
//!
//! A network of characters has a few dozen of them and reads thousands in a step of training. `gather(E, text) @ W + b` then is
//! `gather(E @ W + b, text)`, and so is its gradient: rows of the gradient are added up for each character, and what is
//! multiplied is a row for each character, not for each place of the text.

use crate::graph::{Builder, Graph, Output, Value, Var};
use crate::index::IndexVec;
use crate::kernel::BinaryFn;
use crate::ops::{Binary, Gather, MatMul, Op, Reshape, Transpose};
use crate::types::{Dim, Extents, product};

/// The fewest columns of a table: with less, products take no longer than reading and writing their results.
const COLUMNS: usize = 16;
/// How many more rows are to be chosen than a table has.
const MORE: usize = 2;

/// The same outputs, with products of tables where more rows are chosen from them at sizes like `extents`.
pub fn multiply_tables(graph: &Graph, extents: &Extents) -> Graph {
    if !graph.nodes().any(|(_, node)| matches!(node.op, Op::Gather(_))) {
        return graph.clone();
    }
    let builder = Builder::from_graph(graph.successor());
    let mut new: IndexVec<Value, Var<'_>> = IndexVec::new();
    for (_, node) in graph.nodes() {
        builder.set_origin(node.origin);
        let args: Vec<Var<'_>> = node.args.iter().map(|&arg| new[arg]).collect();
        let chosen = match node.op {
            Op::MatMul(product) => of_product(product, args[0], args[1], extents),
            Op::Binary(Binary(BinaryFn::Add)) => of_sum(args[0], args[1]).or_else(|| of_sum(args[1], args[0])),
            _ => None,
        };
        new.push(chosen.unwrap_or_else(|| builder.emit(node.op.clone(), &args)));
    }
    builder.set_origin(None);
    for output in &graph.outputs {
        builder.add_output(Output { value: new[output.value].id, ..output.clone() });
    }
    builder.finish()
}

/// The matrix whose rows `rows` are, in any order, chosen by an index.
fn table(rows: Var<'_>) -> Option<Var<'_>> {
    let (op, x) = step(rows)?;
    match op {
        Op::Gather(_) => (x.rank() == 2).then_some(x),
        Op::Transpose(Transpose { order }) => table(x).filter(|_| order.last() == Some(&(x.rank() - 1))),
        Op::Reshape(Reshape { to }) => table(x).filter(|_| to.last() == x.shape().last()),
        _ => None,
    }
}

/// The index that chooses `rows` from their [`table`]: of their shape but for the last axis.
fn index(rows: Var<'_>) -> Var<'_> {
    match step(rows) {
        Some((Op::Transpose(Transpose { order }), x)) => index(x).transpose(&order[..order.len() - 1]),
        Some((Op::Reshape(Reshape { to }), x)) => index(x).reshape(&to[..to.len() - 1]),
        _ => rows.builder.with_node(rows.id, |node| rows.builder.var(node.args[1])),
    }
}

/// What makes a value, and of what.
fn step(value: Var<'_>) -> Option<(Op, Var<'_>)> {
    value.builder.with_node(value.id, |node| Some((node.op.clone(), value.builder.var(*node.args.first()?))))
}

/// `gather(table, index) @ weight`, if rows are chosen more often than there are some.
fn of_product<'b>(by: MatMul, left: Var<'b>, weight: Var<'b>, extents: &Extents) -> Option<Var<'b>> {
    if by.transpose[0] || left.rank() != 2 {
        return None;
    }
    let table = table(left)?;
    let [Some(rows), Some(columns)] = [0, 1].map(|axis| table.shape()[axis].as_fixed()) else { return None };
    let pays = rows.saturating_mul(MORE) <= left.shape()[0].eval(extents) && columns >= COLUMNS;
    pays.then(|| table.builder.emit(Gather, &[table.builder.emit(by, &[table, weight]), index(left)]))
}

/// `gather(table, index) + b`, where `b` is the same for all rows, of a table that is a product.
fn of_sum<'b>(rows: Var<'b>, b: Var<'b>) -> Option<Var<'b>> {
    let table = table(rows).filter(|table| matches!(step(*table), Some((Op::MatMul(_), _))))?;
    let (Op::Broadcast(_), from) = step(b)? else { return None };
    let columns = table.shape()[1].clone();
    (from.shape().last() == Some(&columns) && product(&from.shape()) == columns).then(|| {
        let b = from.reshape(&[Dim::ONE, columns]).broadcast_to(&table.shape());
        table.builder.emit(Gather, &[table.builder.emit(Binary(BinaryFn::Add), &[table, b]), index(rows)])
    })
}
