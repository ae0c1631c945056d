//! Computes what does not depend on any source.

use super::Rewriter;
use crate::graph::Value;
use crate::interp::{Precision, Scope, Tensor};
use crate::kernel::Combine;
use crate::ops::Op;
use crate::types::{Dim, Extents, product};

/// An elementwise function of constants, or a constant in another shape.
pub(super) fn fold(cx: &mut Rewriter, op: &Op, args: &[Value]) -> Option<Value> {
    let constants: Option<Vec<f64>> = args.iter().map(|&arg| cx.constant_of(arg)).collect();
    let constants = constants.filter(|constants| !constants.is_empty())?;
    let types: Vec<_> = args.iter().map(|&arg| cx.ty(arg)).collect();
    let ty = op.infer(&types).unwrap_or_else(|message| panic!("an ill-typed node: {message}: {op:?}"));
    let value = match op {
        Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select(_) | Op::Convert(_) => {
            // As generated code would have computed it.
            let scope = Scope::new(Extents::default(), Precision::F32);
            let single = |(&x, arg): (&f64, &Value)| Tensor::new(cx.ty(*arg).element, &[], vec![scope.round(x)]);
            let tensors: Vec<Tensor> = constants.iter().zip(args).map(single).collect();
            op.eval(&tensors.iter().collect::<Vec<_>>(), &[], &scope).data[0]
        }
        Op::Broadcast(_) | Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_) | Op::StopGradient(_) => constants[0],
        // Of nothing but zeros.
        Op::Pad(_) if constants[0] == 0.0 => 0.0,
        // sum of n times c == c * n, and max of c == c, but for n == 0
        Op::Reduce(reduce) => {
            let shape = &cx.ty(args[0]).shape;
            let dims: Vec<Dim> = reduce.axes.iter().map(|&axis| shape[axis].clone()).collect();
            let n = product(&dims).as_fixed()?;
            match reduce.combine {
                Combine::Sum => constants[0] * n as f64,
                Combine::Max | Combine::Min if n > 0 => constants[0],
                Combine::Max | Combine::Min => return None,
            }
        }
        Op::Concat(_) if constants.iter().all(|c| c.to_bits() == constants[0].to_bits()) => constants[0],
        Op::Pad(_) | Op::Concat(_) => return None,
        Op::Source(_) | Op::Constant(_) | Op::Iota(_) | Op::SizeOf(_) => return None,
        Op::Gather(_) | Op::ScatterAdd(_) | Op::Random(_) | Op::MatMul(_) | Op::Convolution(_) => return None,
        Op::WindowReduce(_) | Op::WindowArgMax(_) | Op::WindowSpread(_) | Op::Scan(_) => return None,
    };
    Some(cx.constant(value, ty))
}
