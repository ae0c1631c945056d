//! Hand-made programs, and the comparison of what they mean with what generated code does.

use netc::codegen::{Vectors, asm_with, compile_with};
use netc::index::IndexVec;
use netc::interp::Precision;
use netc::interp::program::{Memory, run_program};
use netc::kernel::*;
use netc::types::{Dim, ElementType, Extents, Symbol};
use netc_runtime::Pool;

/// A program under construction.
#[derive(Default)]
pub(crate) struct Sketch {
    pub(crate) program: Program,
}

impl Sketch {
    pub(crate) fn buffer(&mut self, len: impl Into<Dim>) -> Buffer {
        self.typed(ElementType::F32, len)
    }
    pub(crate) fn ints(&mut self, len: impl Into<Dim>) -> Buffer {
        self.typed(ElementType::I32, len)
    }
    fn typed(&mut self, element: ElementType, len: impl Into<Dim>) -> Buffer {
        let slot = self.program.buffers.len();
        let info = BufferInfo { name: format!("buffer {slot}"), element, len: len.into(), home: Home::External(slot) };
        self.program.buffers.push(info)
    }
    /// Declares the named sizes.
    pub(crate) fn sizes(&mut self, dims: &[&Dim]) {
        self.program.symbols = dims.iter().flat_map(|dim| dim.symbols().to_vec()).collect();
    }
    /// Adds a kernel with these extents, whose first `parallel` loops are shared.
    pub(crate) fn kernel(&mut self, extents: &[Dim], parallel: usize, body: impl FnOnce(&mut K, &[Int])) {
        let kernel = K::make(extents, parallel, body);
        self.program.steps.push(Step::Loop(kernel));
    }
}

/// A kernel under construction.
#[derive(Default)]
pub(crate) struct K {
    pub(crate) kernel: Kernel,
}

pub(crate) fn dims(sizes: &[usize]) -> Vec<Dim> {
    sizes.iter().map(|&n| Dim::fixed(n)).collect()
}

impl K {
    pub(crate) fn make(extents: &[Dim], parallel: usize, body: impl FnOnce(&mut K, &[Int])) -> Kernel {
        let mut k = K { kernel: Kernel { name: "test".to_owned(), parallel, ..Kernel::default() } };
        let index: Vec<Int> = extents
            .iter()
            .map(|extent| {
                let axis = k.kernel.axes.push(extent.clone());
                k.kernel.domain.push(axis);
                k.int(IntExpr::Axis(axis))
            })
            .collect();
        body(&mut k, &index);
        k.kernel
    }
    pub(crate) fn int(&mut self, int: IntExpr) -> Int {
        self.kernel.ints.push(int)
    }
    pub(crate) fn plus(&mut self, a: Int, n: i64) -> Int {
        let n = self.int(IntExpr::Const(n));
        self.int(IntExpr::Add(a, n))
    }
    pub(crate) fn push(&mut self, scalar: Scalar) -> Expr {
        self.kernel.exprs.push(scalar)
    }
    pub(crate) fn number(&mut self, value: f64) -> Expr {
        self.push(Scalar::Const(value))
    }
    pub(crate) fn at(terms: &[(Int, Dim)]) -> Address {
        Address { offset: Dim::fixed(0), terms: terms.to_vec() }
    }
    pub(crate) fn load(&mut self, buffer: Buffer, terms: &[(Int, Dim)]) -> Expr {
        self.push(Scalar::Load { buffer, at: K::at(terms) })
    }
    pub(crate) fn store(&mut self, buffer: Buffer, terms: &[(Int, Dim)], value: Expr) {
        self.kernel.stores.push(Store { buffer, at: K::at(terms), value, streamed: None });
    }
    pub(crate) fn unary(&mut self, function: UnaryFn, x: Expr) -> Expr {
        self.push(Scalar::Unary(function, x))
    }
    pub(crate) fn binary(&mut self, function: BinaryFn, a: Expr, b: Expr) -> Expr {
        self.push(Scalar::Binary(function, a, b))
    }
    pub(crate) fn compare(&mut self, function: CompareFn, a: Expr, b: Expr) -> Expr {
        self.push(Scalar::Compare(function, a, b))
    }
    pub(crate) fn axis(&mut self, extent: impl Into<Dim>) -> (Axis, Int) {
        let axis = self.kernel.axes.push(extent.into());
        (axis, self.int(IntExpr::Axis(axis)))
    }
    pub(crate) fn reduce(&mut self, combine: Combine, axis: Axis, body: Expr) -> Expr {
        self.push(Scalar::Reduce { combine, axis, body })
    }
}

pub(crate) fn fixed(n: usize) -> Dim {
    Dim::fixed(n)
}

/// A small generator with a fixed sequence for each seed.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below.max(1)
    }
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.next(of.len())]
    }
    /// A number in about -2..2, with few bits so that some are equal.
    pub(crate) fn float(&mut self) -> f64 {
        (self.next(4001) as f64 - 2000.0) / 1024.0
    }
}

/// Fills the buffers from a seed; those of `i32` with numbers in `0..7`.
pub(crate) fn fill(program: &Program, extents: &Extents, seed: u64) -> Memory {
    let mut rng = Rng(seed);
    let buffers = program.buffers.values().map(|info| {
        let n = info.len.eval(extents);
        (0..n)
            .map(|_| match info.element {
                ElementType::F32 => rng.float(),
                ElementType::I32 => rng.next(7) as f64,
            })
            .collect()
    });
    buffers.collect::<IndexVec<Buffer, Vec<f64>>>()
}

/// How far generated code may be from the interpreter.
#[derive(Clone, Copy)]
pub(crate) enum Tolerance {
    /// The same bits, but for the sign of 0.
    Exact,
    /// Sums in another order.
    Sums,
}

/// Runs the program in both ways and compares all buffers.
pub(crate) fn check(program: &Program, tolerance: Tolerance) {
    check_with(program, &Extents::default(), tolerance);
}

pub(crate) fn check_with(program: &Program, extents: &Extents, tolerance: Tolerance) {
    program.verify();
    let memory = fill(program, extents, 7);
    let mut expected = memory.clone();
    run_program(program, &mut expected, extents, Precision::F32);
    for vectors in [Vectors::Narrow, Vectors::Wide, Vectors::Widest] {
        let mut found = memory.clone();
        compile_with(program, "test", vectors).run_copied(&mut found, extents, &Pool::new(2));
        compare(program, extents, tolerance, vectors, &expected, &found);
    }
}

fn compare(
    program: &Program,
    extents: &Extents,
    tolerance: Tolerance,
    vectors: Vectors,
    expected: &Memory,
    found: &Memory,
) {
    // The interpreter does without what is prepared or packed.
    let is_packed =
        |buffer| program.steps.iter().any(|step| matches!(step, Step::PackMatrix(call) if call.packed == buffer));
    for (buffer, _) in program.buffers.iter().filter(|(id, info)| info.home != Home::Prepared && !is_packed(*id)) {
        for (i, (&x, &y)) in expected[buffer].iter().zip(&found[buffer]).enumerate() {
            let same = match tolerance {
                Tolerance::Exact => x == y || (x.is_nan() && y.is_nan()),
                Tolerance::Sums => x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= 1e-5 * (1.0 + x.abs()),
            };
            if !same {
                let asm = asm_with(program, "test", vectors);
                panic!("{buffer}[{i}] is {y}, not {x}, at {extents:?}, {vectors:?}, in\n{program}\n{asm}");
            }
        }
    }
}

pub(crate) fn batch(n: usize) -> Extents {
    Extents::with_batch(n)
}

pub(crate) fn batch_and_time(n: usize, t: usize) -> Extents {
    let mut extents = Extents::with_batch(n);
    extents.set(Symbol::Axis("T".into()), t);
    extents
}
