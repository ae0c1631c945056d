//! Random kernels from seeds: expressions of every kind over one to three loops.

use super::dsl::*;
use netc::kernel::*;
use netc::types::Dim;

struct Maker<'a> {
    rng: Rng,
    p: &'a mut Sketch,
    /// Extents of the loops in scope, by the integer that names each.
    open: Vec<(Int, usize)>,
    /// Expressions of `f32` that no inner loop is needed for, and how many loops were open when they were made.
    known: Vec<(Expr, usize)>,
}

pub(crate) fn check_seed(seed: u64) {
    let mut rng = Rng(seed);
    for _ in 0..4 {
        rng.next(1);
    }
    let extents: Vec<usize> = (0..1 + rng.next(3)).map(|_| rng.pick(&[1, 2, 3, 4, 5, 8, 16, 19, 37])).collect();
    let parallel = rng.next(extents.len() + 1);
    let mut p = Sketch::default();
    let out: Vec<Buffer> = (0..1 + rng.next(2)).map(|_| p.buffer(extents.iter().product::<usize>())).collect();
    let mut outer: Vec<(usize, Buffer)> = Vec::new();
    for n_loops in (parallel.max(1)..extents.len()).rev() {
        if rng.next(3) == 0 {
            outer.push((n_loops, p.buffer(extents[..n_loops].iter().product::<usize>())));
        }
    }
    let kernel = K::make(&dims(&extents), parallel, |k, index| {
        let open = index.iter().copied().zip(extents.iter().copied()).collect();
        let mut maker = Maker { rng, p: &mut p, open, known: Vec::new() };
        // The last loop need not be the contiguous one.
        let mut order: Vec<usize> = (0..extents.len()).collect();
        if maker.rng.next(4) == 0 {
            order.reverse();
        }
        let at = row_major(&order.iter().map(|&axis| (index[axis], extents[axis])).collect::<Vec<_>>());
        for &buffer in &out {
            let depth = 2 + maker.rng.next(4);
            let value = maker.expr(k, depth);
            k.store(buffer, &at, value);
        }
        // What is stored outside of some loops is made outside of them.
        for (n_loops, buffer) in outer {
            maker.open.truncate(n_loops);
            maker.known.retain(|(_, loops)| *loops <= n_loops);
            let depth = 2 + maker.rng.next(4);
            let value = maker.expr(k, depth);
            k.store(buffer, &row_major(&maker.open.clone()), value);
        }
    });
    p.program.steps.push(Step::Loop(kernel));
    check(&p.program, Tolerance::Sums);
}

fn row_major(loops: &[(Int, usize)]) -> Vec<(Int, Dim)> {
    let strides = (0..loops.len()).map(|axis| loops[axis + 1..].iter().map(|(_, n)| n).product());
    loops.iter().zip(strides).map(|((int, _), stride)| (*int, fixed(stride))).collect()
}

impl Maker<'_> {
    fn expr(&mut self, k: &mut K, depth: usize) -> Expr {
        if !self.known.is_empty() && self.rng.next(5) == 0 {
            let (expr, loops) = self.rng.pick(&self.known.clone());
            if loops <= self.open.len() {
                return expr;
            }
        }
        let loops = self.open.len();
        let expr = match if depth == 0 { self.rng.next(3) } else { 3 + self.rng.next(9) } {
            0 => {
                let value = self.rng.float();
                k.number(value)
            }
            1 => self.load(k),
            2 => {
                let int = self.int(k, 2);
                let position = k.push(Scalar::Position(int));
                k.push(Scalar::Convert(position))
            }
            3 => {
                use UnaryFn::*;
                let function = self.rng.pick(&[Neg, Abs, Tanh, Sigmoid, Erf, Floor]);
                let x = self.expr(k, depth - 1);
                // Functions of large numbers differ wildly after sums in another order: squash them first.
                let x = k.unary(Tanh, x);
                k.unary(function, x)
            }
            4..=6 => {
                use BinaryFn::*;
                let function = self.rng.pick(&[Add, Sub, Mul, Max, Min]);
                let (a, b) = (self.expr(k, depth - 1), self.expr(k, depth - 1));
                let product = k.binary(function, a, b);
                k.unary(UnaryFn::Tanh, product)
            }
            7 => {
                use CompareFn::*;
                let function = self.rng.pick(&[Eq, Ne, Lt, Le, Gt, Ge]);
                let (a, b) = (self.int(k, 2), self.int(k, 2));
                let (a, b) = (k.push(Scalar::Position(a)), k.push(Scalar::Position(b)));
                let condition = k.compare(function, a, b);
                let (a, b) = (self.expr(k, depth - 1), self.expr(k, depth - 1));
                k.push(Scalar::Select(condition, a, b))
            }
            8 | 9 => {
                let extent = self.rng.pick(&[0, 1, 2, 3, 4, 5, 9, 20, 35]);
                let combine = self.rng.pick(&[Combine::Sum, Combine::Max, Combine::Min]);
                let (axis, int) = k.axis(extent);
                self.open.push((int, extent));
                let body = self.expr(k, depth - 1);
                self.close();
                let value = k.reduce(combine, axis, body);
                let least = k.number(-100.0);
                let value = k.binary(BinaryFn::Max, value, least);
                k.unary(UnaryFn::Tanh, value)
            }
            10 => {
                let int = self.int(k, 2);
                let limit = 1 + self.rng.next(40);
                let mut conditions = vec![Condition::InRange(int, fixed(limit))];
                if self.rng.next(2) == 0 {
                    let int = self.int(k, 1);
                    conditions.push(Condition::Multiple(int, 2 + self.rng.next(3) as i64));
                }
                let loops = self.open.len();
                let body = if self.rng.next(2) == 0 {
                    // Valid only where the guard holds.
                    let buffer = self.p.buffer(limit);
                    k.load(buffer, &[(int, Dim::ONE)])
                } else {
                    self.expr(k, depth - 1)
                };
                self.known.retain(|(_, at)| *at <= loops);
                let otherwise = self.rng.float();
                k.push(Scalar::Guard { conditions, body, otherwise })
            }
            _ => {
                let table = self.p.ints(7);
                let int = self.int(k, 2);
                let int = k.int(IntExpr::Rem(int, 7));
                let token = k.load(table, &[(int, Dim::ONE)]);
                let token = k.int(IntExpr::Value(token));
                let buffer = self.p.buffer(21);
                let column = self.rng.pick(&self.open.clone()).0;
                let column = k.int(IntExpr::Rem(column, 3));
                k.load(buffer, &[(token, fixed(3)), (column, Dim::ONE)])
            }
        };
        self.known.push((expr, loops));
        expr
    }
    /// Leaves the innermost loop: what was made within is out of reach.
    fn close(&mut self) {
        self.open.pop();
        let loops = self.open.len();
        self.known.retain(|(_, at)| *at <= loops);
    }
    /// A load over some of the open loops, contiguous along the last, the first, or none.
    fn load(&mut self, k: &mut K) -> Expr {
        let mut loops: Vec<(Int, usize)> = self.open.clone().into_iter().filter(|_| self.rng.next(3) > 0).collect();
        if self.rng.next(4) == 0 {
            loops.reverse();
        }
        let shift = self.rng.next(3);
        let len = loops.iter().map(|(_, n)| n).product::<usize>() + shift;
        let buffer = self.p.buffer(len.max(1));
        let mut at = K::at(&row_major(&loops));
        at.offset = fixed(if loops.is_empty() { 0 } else { shift });
        k.push(Scalar::Load { buffer, at })
    }
    /// A small integer of the open loops.
    fn int(&mut self, k: &mut K, depth: usize) -> Int {
        let by = 1 + self.rng.next(4) as i64;
        match if depth == 0 { 0 } else { self.rng.next(6) } {
            0 | 1 => self.rng.pick(&self.open.clone()).0,
            2 => {
                let (a, b) = (self.int(k, depth - 1), self.int(k, depth - 1));
                k.int(IntExpr::Add(a, b))
            }
            3 => {
                let a = self.int(k, depth - 1);
                let a = k.int(IntExpr::Mul(a, by - 3));
                k.plus(a, by)
            }
            4 => {
                let a = self.int(k, depth - 1);
                k.int(IntExpr::Div(a, by))
            }
            _ => {
                let a = self.int(k, depth - 1);
                k.int(IntExpr::Rem(a, by))
            }
        }
    }
}
