//! Kernels that differ only in the buffers they touch share one function: an optimizer has as many updates as the
//! network has parameters, and a network the same block many times.
//!
//! Such a function finds its buffers in a frame of its own, which the driver fills before each call.

use super::nest::Call;
use crate::index::IndexVec;
use crate::kernel::{Buffer, BufferInfo, Home, Kernel, Program, Scalar};
use crate::types::Dim;

/// From this extent on, a loop whose range is an argument is emitted alike for all extents.
const LONG: usize = 64;

/// A kernel with its buffers numbered in the order of their use.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shape {
    pub(super) kernel: Kernel,
    /// The program's sizes, and the kernel's buffers alone: what its frame holds.
    pub(super) program: Program,
}

/// The shape of a kernel, and the buffers that it uses here, in the shape's order.
pub(super) fn shape(program: &Program, kernel: &Kernel, call: Call) -> (Shape, Vec<Buffer>) {
    let mut kernel = Kernel { name: String::new(), ..kernel.clone() };
    let mut used: Vec<Buffer> = Vec::new();
    let mut number = |buffer: &mut Buffer| {
        let at = used.iter().position(|known| known == buffer).unwrap_or_else(|| {
            used.push(*buffer);
            used.len() - 1
        });
        *buffer = crate::index::Id::new(at);
    };
    for (_, scalar) in kernel.exprs.iter_mut() {
        if let Scalar::Load { buffer, .. } = scalar {
            number(buffer);
        }
    }
    kernel.stores.iter_mut().for_each(|store| number(&mut store.buffer));
    // The range of the outermost loop is an argument of the function.
    let is_argument = match call {
        Call::Range => kernel.parallel == 1,
        Call::Tile { .. } => true,
    };
    if let (true, Some(&outer)) = (is_argument, kernel.domain.first())
        && kernel.axes[outer].as_fixed().is_none_or(|n| n >= LONG)
    {
        kernel.axes[outer] = Dim::fixed(LONG);
    }
    let buffers: IndexVec<Buffer, BufferInfo> = used
        .iter()
        .enumerate()
        .map(|(slot, &buffer)| {
            let element = program.buffers[buffer].element;
            BufferInfo { name: String::new(), element, len: Dim::ONE, home: Home::External(slot) }
        })
        .collect();
    let program = Program { symbols: program.symbols.clone(), buffers, ..Program::default() };
    (Shape { kernel, program }, used)
}
