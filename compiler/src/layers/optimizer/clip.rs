//! Clipping: gradients kept within a norm or a range (Pascanu et al. 2013).

use crate::graph::Var;
use crate::network::Clip;

/// All gradients, clipped, and their global norm before where it was needed; PyTorch's `clip_grad_norm_` and
/// `clip_grad_value_`.
pub fn clip<'b>(clip: Clip, gradients: &[Var<'b>]) -> (Vec<Var<'b>>, Option<Var<'b>>) {
    let Some(first) = gradients.first() else { return (Vec::new(), None) };
    let builder = first.builder;
    match clip {
        Clip::Norm(limit) => {
            let squares = gradients.iter().map(|&gradient| {
                let axes: Vec<usize> = (0..gradient.rank()).collect();
                (gradient * gradient).sum(&axes).reshape(&[])
            });
            let norm = squares.reduce(|sum, square| sum + square).expect("at least one gradient").sqrt();
            let factor = (limit / (norm + 1e-6)).minimum(builder.scalar(1.0));
            (gradients.iter().map(|&gradient| gradient * factor).collect(), Some(norm))
        }
        Clip::Value(limit) => {
            let (low, high) = (builder.scalar(-limit), builder.scalar(limit));
            (gradients.iter().map(|&gradient| gradient.maximum(low).minimum(high)).collect(), None)
        }
    }
}
