//! The heart of attention: each query reads what is near to it.

use super::cx::LayerCx;
use super::support::{lead, matmul, show_user_shape, softmax};
use crate::diag::{Code, Message};
use crate::ensure;
use crate::graph::Var;
use crate::kernel::CompareFn;
use crate::types::{Dim, product};

/// What reads a memory `[outer…, S, m]`: queries `[outer…, U, d]`.
#[derive(Debug)]
pub(super) struct Reading<'b> {
    pub(super) query: Var<'b>,
    pub(super) outer: Vec<Dim>,
    /// `[outer…, 1, S]`, stretched; none for a memory that is no sequence.
    pub(super) mask: Option<Var<'b>>,
    /// Whether there is one query alone, without an axis.
    is_single: bool,
}

impl<'b> Reading<'b> {
    /// # Errors
    /// When the memory is no sequence of vectors, or the queries do not stand beside it.
    pub(super) fn new(
        cx: &mut LayerCx<'_, 'b>,
        layer: &str,
        memory: Var<'b>,
        query: Option<Var<'b>>,
    ) -> Result<Self, Message> {
        let shape = memory.shape();
        let n = lead(&shape);
        ensure!(
            n > 1 && shape.len() == n + 1,
            ShapeMismatch,
            "`{layer}` reads a sequence of vectors such as [S, features], not {}",
            show_user_shape(memory)
        );
        let outer = shape[..n - 1].to_vec();
        let query = query.unwrap_or(memory);
        let of_query = query.shape();
        let is_single = of_query.len() == outer.len() + 1;
        let stands_beside = of_query.starts_with(&outer) && (is_single || of_query.len() == outer.len() + 2);
        if !stands_beside {
            let text = format!(
                "`{layer}` takes a vector or a sequence of vectors as its query, not {} for a memory of {}",
                show_user_shape(query),
                show_user_shape(memory)
            );
            return Err(Message::new(Code::ShapeMismatch, text));
        }
        let query = if is_single {
            query.reshape(&[outer.as_slice(), &[Dim::ONE], &of_query[n - 1..]].concat())
        } else {
            query
        };
        let mask = cx.mask_along(memory, n - 1).map(|mask| {
            // [B, 1…, S, 1] -> [B, 1…, 1, S]
            let mut order: Vec<usize> = (0..shape.len()).collect();
            order.swap(n - 1, n);
            mask.transpose(&order)
        });
        Ok(Reading { query, outer, mask, is_single })
    }
    /// The result in the shape of the queries.
    pub(super) fn finish(&self, y: Var<'b>) -> Var<'b> {
        if !self.is_single {
            return y;
        }
        let mut shape = y.shape();
        shape.remove(self.outer.len());
        y.reshape(&shape)
    }
}

/// `softmax(scale * Q K^T) V` of queries `[lead…, U, d]`, keys `[lead…, S, d]` and values `[lead…, S, v]`, over what
/// `mask` lets exist; `causal` queries see no later step.
///
/// # Errors
/// When sizes do not fit.
pub(super) fn attend<'b>(
    [q, k, v]: [Var<'b>; 3],
    scale: f64,
    mask: Option<Var<'b>>,
    causal: bool,
) -> Result<Var<'b>, Message> {
    let builder = q.builder;
    let fold = |x: Var<'b>| {
        let shape = x.shape();
        let (lead, matrix) = shape.split_at(shape.len() - 2);
        x.reshape(&[&[product(lead)], matrix].concat())
    };
    let shape = q.shape();
    let (lead, queries) = (&shape[..shape.len() - 2], &shape[shape.len() - 2]);
    let keys = &k.shape()[shape.len() - 2];
    let all = [lead, &[queries.clone(), keys.clone()]].concat();
    // One query alone is no matrix: what it meets is multiplied and added up.
    let is_single = queries.is_one();
    let scores = match is_single {
        true => (q * k).sum(&[lead.len() + 1]).reshape(&all),
        false => matmul(fold(q), fold(k), [false, true])?.reshape(&all),
    };
    let scores = if scale == 1.0 { scores } else { scores * scale };
    let mut mask = mask;
    if causal {
        ensure!(
            queries == keys,
            ShapeMismatch,
            "with `causal` the queries and the memory are steps of one axis, not `{queries}` and `{keys}`"
        );
        let position = |shape: [Dim; 2], axis| builder.iota(axis, shape.to_vec()).to_f32();
        let query = position([queries.clone(), Dim::ONE], 0);
        let seen = position([Dim::ONE, keys.clone()], 1).compare(CompareFn::Le, query);
        mask = Some(mask.map_or(seen, |mask| mask * seen));
    }
    let weights = softmax(scores, mask, all.len() - 1);
    if is_single {
        let column = [lead, &[keys.clone(), Dim::ONE]].concat();
        return Ok((weights.reshape(&column) * v).sum(&[lead.len()]));
    }
    let folded = weights.reshape(&[product(lead), queries.clone(), keys.clone()]);
    let read = matmul(folded, fold(v), [false, false])?;
    let size = v.shape()[shape.len() - 1].clone();
    Ok(read.reshape(&[lead, &[queries.clone(), size]].concat()))
}
