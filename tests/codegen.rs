//! Generated code does what the interpreter says, on hand-made programs.

#[path = "codegen/dsl.rs"]
mod dsl;

use dsl::*;
use netc::kernel::*;
use netc::types::Dim;

const SIZES: [usize; 13] = [0, 1, 2, 3, 4, 5, 7, 15, 16, 17, 20, 33, 64];

#[test]
fn pointwise_of_every_size() {
    for n in SIZES {
        for parallel in 0..2 {
            let mut p = Sketch::default();
            let [a, b, c] = [n, n, n].map(|n| p.buffer(n));
            p.kernel(&dims(&[n]), parallel, |k, i| {
                let at = [(i[0], Dim::ONE)];
                let (x, y) = (k.load(a, &at), k.load(b, &at));
                let sum = k.binary(BinaryFn::Add, x, y);
                let zero = k.number(0.0);
                let relu = k.binary(BinaryFn::Max, sum, zero);
                k.store(c, &at, relu);
            });
            check(&p.program, Tolerance::Exact);
        }
    }
}
