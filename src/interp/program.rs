//! The meaning of a program: its steps one after another, its loops point by point.

use super::{Precision, Scope, binary, combine, compare, unary};
use crate::index::IndexVec;
use crate::kernel::{
    Address, Axis, Buffer, Condition, ConvCall, Direction, Expr, Int, IntExpr, Kernel, MatMulCall, Program, Scalar,
    ScatterAddCall, Step, View,
};
use crate::types::{Dim, Extents};

/// The elements of every buffer.
pub type Memory = IndexVec<Buffer, Vec<f64>>;

/// Runs all steps, those of `prepare` first.
///
/// # Panics
/// When a step reads or writes outside of a buffer: that is our bug.
pub fn run(program: &Program, memory: &mut Memory, scope: &Scope) {
    for step in program.all_steps() {
        match step {
            Step::Loop(kernel) => run_kernel(kernel, memory, scope),
            Step::MatMul(call) => matmul(call, memory, scope),
            Step::Conv(call) => convolution(call, memory, scope),
            // Convolutions here read the weight as it is.
            Step::Pack(_) => {}
            Step::ScatterAdd(call) => scatter_add(call, memory, scope),
            Step::Scan(scan) => panic!("recurrences are run by a later capability: {scan:?}"),
        }
    }
}

/// Every store at every point of the domain.
pub fn run_kernel(kernel: &Kernel, memory: &mut Memory, scope: &Scope) {
    let extents: Vec<usize> = kernel.axes.values().map(|extent| extent.eval(&scope.extents)).collect();
    let mut point = Point { kernel, scope, extents: &extents, position: IndexVec::filled(0, kernel.axes.len()) };
    point.visit(&kernel.domain, &mut |point| {
        for store in &kernel.stores {
            let value = point.scalar(store.value, memory);
            let at = point.address(&store.at, memory);
            memory[store.buffer][at] = value;
        }
    });
}

/// One point of a kernel's loops.
struct Point<'k> {
    kernel: &'k Kernel,
    scope: &'k Scope,
    extents: &'k [usize],
    position: IndexVec<Axis, i64>,
}

impl Point<'_> {
    fn visit(&mut self, axes: &[Axis], body: &mut dyn FnMut(&mut Self)) {
        let Some((&axis, inner)) = axes.split_first() else { return body(self) };
        for position in 0..self.extent(axis) {
            self.position[axis] = position;
            self.visit(inner, body);
        }
    }

    fn extent(&self, axis: Axis) -> i64 {
        use crate::index::Id;
        self.extents[axis.index()] as i64
    }

    fn address(&mut self, address: &Address, memory: &Memory) -> usize {
        let mut at = self.size(&address.offset);
        for (int, stride) in &address.terms {
            at += self.int(*int, memory) * self.size(stride);
        }
        usize::try_from(at).unwrap_or_else(|_| panic!("an address of {at}: {address:?} in {}", self.kernel.name))
    }

    fn size(&self, dim: &Dim) -> i64 {
        dim.eval(&self.scope.extents) as i64
    }

    fn int(&mut self, int: Int, memory: &Memory) -> i64 {
        match &self.kernel.ints[int] {
            IntExpr::Const(value) => *value,
            IntExpr::Axis(axis) => self.position[*axis],
            IntExpr::Add(a, b) => self.int(*a, memory) + self.int(*b, memory),
            IntExpr::Mul(a, factor) => self.int(*a, memory) * factor,
            IntExpr::Div(a, divisor) => self.int(*a, memory).div_euclid(*divisor),
            IntExpr::Rem(a, divisor) => self.int(*a, memory).rem_euclid(*divisor),
            IntExpr::Size(dim) => self.size(dim),
            IntExpr::MulSize(a, dim) => self.int(*a, memory) * self.size(dim),
            IntExpr::DivSize(a, dim) => self.int(*a, memory) / self.size(dim),
            IntExpr::RemSize(a, dim) => self.int(*a, memory) % self.size(dim),
            IntExpr::Clamp(a, limit) => self.int(*a, memory).clamp(0, limit - 1),
            IntExpr::Value(expr) => self.scalar(*expr, memory) as i64,
        }
    }

    fn holds(&mut self, condition: &Condition, memory: &Memory) -> bool {
        match condition {
            Condition::InRange(int, limit) => (0..self.size(limit)).contains(&self.int(*int, memory)),
            Condition::Multiple(int, of) => self.int(*int, memory).rem_euclid(*of) == 0,
        }
    }

    fn scalar(&mut self, expr: Expr, memory: &Memory) -> f64 {
        let kernel = self.kernel;
        match &kernel.exprs[expr] {
            Scalar::Const(value) => self.scope.round(*value),
            Scalar::Load { buffer, at } => {
                let at = self.address(at, memory);
                memory[*buffer][at]
            }
            Scalar::Position(int) => self.int(*int, memory) as f64,
            Scalar::Convert(x) => {
                let x = self.scalar(*x, memory);
                self.scope.round(x)
            }
            Scalar::Unary(function, x) => unary(*function, self.scalar(*x, memory), self.scope),
            Scalar::Binary(function, a, b) => {
                let (a, b) = (self.scalar(*a, memory), self.scalar(*b, memory));
                binary(*function, a, b, self.scope)
            }
            Scalar::Compare(function, a, b) => compare(*function, self.scalar(*a, memory), self.scalar(*b, memory)),
            Scalar::Select(condition, then, otherwise) => {
                let chosen = if self.scalar(*condition, memory) != 0.0 { then } else { otherwise };
                self.scalar(*chosen, memory)
            }
            Scalar::Reduce { combine: how, axis, body } => {
                let mut so_far = how.neutral();
                for position in 0..self.extent(*axis) {
                    self.position[*axis] = position;
                    so_far = combine(*how, so_far, self.scalar(*body, memory));
                }
                self.scope.round(so_far)
            }
            Scalar::Guard { conditions, body, otherwise } => {
                let holds = conditions.iter().all(|condition| self.holds(condition, memory));
                if holds { self.scalar(*body, memory) } else { *otherwise }
            }
            Scalar::Random { key, stream, index } => {
                let words = key.map(|word| (self.scalar(word, memory) as i32).cast_unsigned());
                let index = self.int(*index, memory) as u32;
                f64::from(netc_runtime::rng::Key(words).uniform(*stream, index))
            }
        }
    }
}

/// The offset of an element of a view.
fn offset(view: &View, index: &[usize], extents: &Extents) -> usize {
    let terms = index.iter().zip(&view.strides).map(|(index, stride)| index * stride.eval(extents));
    view.offset.eval(extents) + terms.sum::<usize>()
}

fn matmul(call: &MatMulCall, memory: &mut Memory, scope: &Scope) {
    let extents = &scope.extents;
    let [m, n, k] = [&call.m, &call.n, &call.k].map(|dim| dim.eval(extents));
    for i in 0..m {
        for j in 0..n {
            let term = |l: usize| {
                memory[call.a.buffer][offset(&call.a, &[i, l], extents)]
                    * memory[call.b.buffer][offset(&call.b, &[l, j], extents)]
            };
            let sum: f64 = (0..k).map(term).sum();
            memory[call.c.buffer][offset(&call.c, &[i, j], extents)] = scope.round(sum);
        }
    }
    if let Some(epilogue) = &call.epilogue {
        run_kernel(epilogue, memory, scope);
    }
}

fn convolution(call: &ConvCall, memory: &mut Memory, scope: &Scope) {
    let extents = &scope.extents;
    let g = &call.geometry;
    let [n, h, w, oh, ow] = [&g.n, &g.h, &g.w, &g.oh, &g.ow].map(|dim| dim.eval(extents));
    let (group_in, group_out) = (g.c / g.groups, g.oc / g.groups);
    let (result, sizes) = match call.direction {
        Direction::Forward => (&call.y, [n, g.oc, oh, ow]),
        Direction::DataGrad => (&call.x, [n, g.c, h, w]),
        Direction::WeightGrad => (&call.weight, [g.oc, group_in, g.kernel[0], g.kernel[1]]),
    };
    let indices = |sizes: [usize; 4]| {
        let n = sizes.iter().product::<usize>();
        let digits = move |mut flat: usize| {
            let mut index = [0; 4];
            for axis in (0..4).rev() {
                index[axis] = flat % sizes[axis];
                flat /= sizes[axis];
            }
            index
        };
        (0..n).map(digits)
    };
    for index in indices(sizes) {
        memory[result.buffer][offset(result, &index, extents)] = 0.0;
    }
    // Each product of the three operands' elements that belong together goes to the one that is the result.
    for [n, oc, oh, ow] in indices([n, g.oc, oh, ow]) {
        for [c, i, j, _] in indices([group_in, g.kernel[0], g.kernel[1], 1]) {
            let row = (oh * g.stride[0] + i * g.dilation[0]).checked_sub(g.pad[0]).filter(|&row| row < h);
            let col = (ow * g.stride[1] + j * g.dilation[1]).checked_sub(g.pad[1]).filter(|&col| col < w);
            let (Some(row), Some(col)) = (row, col) else { continue };
            let x = (call.x.buffer, offset(&call.x, &[n, oc / group_out * group_in + c, row, col], extents));
            let y = (call.y.buffer, offset(&call.y, &[n, oc, oh, ow], extents));
            let weight = (call.weight.buffer, offset(&call.weight, &[oc, c, i, j], extents));
            let (a, b, to) = match call.direction {
                Direction::Forward => (x, weight, y),
                Direction::DataGrad => (y, weight, x),
                Direction::WeightGrad => (x, y, weight),
            };
            let product = memory[a.0][a.1] * memory[b.0][b.1];
            memory[to.0][to.1] += product;
        }
    }
    if scope.precision == Precision::F32 {
        for index in indices(sizes) {
            let sum = &mut memory[result.buffer][offset(result, &index, extents)];
            *sum = scope.round(*sum);
        }
    }
    if let Some(epilogue) = &call.epilogue {
        run_kernel(epilogue, memory, scope);
    }
}

fn scatter_add(call: &ScatterAddCall, memory: &mut Memory, scope: &Scope) {
    let extents = &scope.extents;
    for row in 0..call.table_rows {
        for col in 0..call.cols {
            memory[call.table.buffer][offset(&call.table, &[row, col], extents)] = 0.0;
        }
    }
    for row in 0..call.rows.eval(extents) {
        let to = memory[call.index.buffer][offset(&call.index, &[row], extents)];
        let to = to.clamp(0.0, call.table_rows as f64 - 1.0) as usize;
        for col in 0..call.cols {
            let x = memory[call.source.buffer][offset(&call.source, &[row, col], extents)];
            let sum = &mut memory[call.table.buffer][offset(&call.table, &[to, col], extents)];
            *sum = scope.round(*sum + x);
        }
    }
}
