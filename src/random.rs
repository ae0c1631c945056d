//! Random arrays for a network that nobody gives data.

use ndarray::{ArrayD, IxDyn};
use netc::data::Tensor;
use netc::network::Port;
use netc::types::{ElementType, Extents};
use netc_runtime::rng::Key;

/// Normal numbers, or tokens that are all equally likely. Each `stream` has its own.
pub fn tensor(port: &Port, extents: &Extents, seed: u64, stream: u32) -> Tensor {
    let key = Key::new(seed);
    let (shape, n) = (IxDyn(&port.ty.eval(extents)), port.vocabulary.unwrap_or(1) as f32);
    let mut indices = 0..;
    let mut index = || indices.next().expect("numbers do not end");
    match port.ty.element {
        ElementType::F32 => Tensor::F32(ArrayD::from_shape_simple_fn(shape, || key.normal(stream, index()))),
        ElementType::I32 => {
            let token = || (key.uniform(stream, index()) * n).min(n - 1.0) as i32;
            Tensor::I32(ArrayD::from_shape_simple_fn(shape, token))
        }
    }
}
