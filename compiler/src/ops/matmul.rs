//! The product of two matrices, or of each pair of two batches of matrices.

use super::{Primitive, require_f32};
use crate::diag::Message;
use crate::ensure;
use crate::graph::{Value, Var};
use crate::interp::{Scope, Tensor};
use crate::kernel::{Expr, Int};
use crate::schedule::Lowering;
use crate::types::{Dim, TensorType};

/// `op(a) @ op(b)`, where `op` transposes the arguments for which `transpose` says so.
///
/// Arguments with three axes are batches of matrices along the first, which has the same length in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MatMul {
    pub transpose: [bool; 2],
}

impl MatMul {
    /// Sizes `[batch, m, k, n]` of the product: `op(a)` is `[m, k]`, `op(b)` is `[k, n]`; the batch is `one` unless
    /// there is an axis for it.
    pub fn sizes<T: Clone>(&self, a: &[T], b: &[T], one: &T) -> [T; 4] {
        let [ta, tb] = self.transpose.map(usize::from);
        let batch = if a.len() == 3 { &a[0] } else { one };
        let (a, b) = (&a[a.len() - 2..], &b[b.len() - 2..]);
        [batch.clone(), a[ta].clone(), a[1 - ta].clone(), b[1 - tb].clone()]
    }
}

impl Primitive for MatMul {
    fn infer(&self, args: &[&TensorType]) -> Result<TensorType, Message> {
        let [a, b] = args else { panic!("two arguments, not {args:?}") };
        require_f32(args)?;
        let fits = matches!((a.rank(), b.rank()), (2, 2) | (3, 3));
        ensure!(fits, ShapeMismatch, "only matrices can be multiplied, not {a} and {b}");
        let [_, m, k, n] = self.sizes(&a.shape, &b.shape, &Dim::ONE);
        let lead = b.rank() - 2;
        let inner = &b.shape[lead + usize::from(self.transpose[1])];
        let shown = |ty: &TensorType, transposed| format!("{ty}{}", if transposed { " transposed" } else { "" });
        let shown = || format!("{} by {}", shown(a, self.transpose[0]), shown(b, self.transpose[1]));
        ensure!(k == *inner, ShapeMismatch, "cannot multiply {}: the inner sizes are {k} and {inner}", shown());
        let same = a.shape[..lead] == b.shape[..lead];
        ensure!(same, ShapeMismatch, "cannot multiply {}: not as many matrices", shown());
        Ok(TensorType::f32([&a.shape[..lead], &[m, n]].concat()))
    }

    fn eval(&self, args: &[&Tensor], shape: &[usize], scope: &Scope) -> Tensor {
        let [a, b] = args else { panic!("two arguments") };
        let [batch, m, k, n] = self.sizes(&a.shape, &b.shape, &1);
        let strides = |rows: usize, cols: usize, transposed| if transposed { (1, rows) } else { (cols, 1) };
        let (a_row, a_col) = strides(m, k, self.transpose[0]);
        let (b_row, b_col) = strides(k, n, self.transpose[1]);
        let mut c = Tensor::filled(shape, 0.0);
        for (of, i) in (0..batch).flat_map(|of| (0..m).map(move |i| (of, i))) {
            let (a, b) = (&a.data[of * m * k..], &b.data[of * k * n..]);
            let c = &mut c.data[(of * m + i) * n..][..n];
            for l in 0..k {
                let a = a[i * a_row + l * a_col];
                for (j, c) in c.iter_mut().enumerate() {
                    *c += a * b[l * b_row + j * b_col];
                }
            }
        }
        c.map(|c| scope.round(c))
    }

    fn vjp<'b>(&self, arg: usize, x: &[Var<'b>], _: Var<'b>, ct: Var<'b>) -> Option<Var<'b>> {
        let [ta, tb] = self.transpose;
        let product = |a, b, transpose| ct.builder.emit(MatMul { transpose }, &[a, b]);
        // Of C = A B: dA = dC Bᵀ and dB = Aᵀ dC; transposed as a whole where the argument is the transpose.
        Some(match (arg, self.transpose[arg]) {
            (0, false) => product(ct, x[1], [false, !tb]),
            (0, true) => product(x[1], ct, [tb, true]),
            (_, false) => product(x[0], ct, [!ta, false]),
            (_, true) => product(ct, x[0], [true, ta]),
        })
    }

    fn element(&self, _: &mut Lowering<'_>, _: &[Value], _: &[Int]) -> Option<Expr> {
        None
    }

    fn samples() -> Vec<(Self, Vec<TensorType>)> {
        let (t, four) = (Dim::axis("T"), Dim::fixed(4));
        let bt = Dim::batch().times(&t);
        let ty = |rows: &Dim, cols: &Dim, transposed| {
            TensorType::f32(if transposed { [cols.clone(), rows.clone()] } else { [rows.clone(), cols.clone()] })
        };
        let mut samples = Vec::new();
        for transpose in [[false, false], [false, true], [true, false], [true, true]] {
            for (m, k, n) in [(&bt, &four, &Dim::fixed(3)), (&four, &bt, &Dim::fixed(3))] {
                samples.push((MatMul { transpose }, vec![ty(m, k, transpose[0]), ty(k, n, transpose[1])]));
            }
            for (batch, m, k, n) in
                [(Dim::batch(), &t, &four, &t), (Dim::batch(), &t, &t, &four), (Dim::fixed(2), &four, &t, &t)]
            {
                let batches = |ty: TensorType| TensorType::f32([std::slice::from_ref(&batch), &ty.shape[..]].concat());
                let types = [ty(m, k, transpose[0]), ty(k, n, transpose[1])];
                samples.push((MatMul { transpose }, types.map(batches).to_vec()));
            }
        }
        samples
    }
}
