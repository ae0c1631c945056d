//! Evaluates a program slowly and obviously: the oracle of generated code.
//!
//! In `f32` every operation is computed in `f64` and rounded, which for one sum, product, quotient or root is the
//! correctly rounded result (Figueroa 1995); `exp` and its kin are the runtime's own.

use std::cell::RefCell;
use std::collections::BTreeMap;

use netc_runtime::rng::Key;

use super::{Precision, Scope, binary, combine, compare, unary};
use crate::index::IndexVec;
use crate::kernel::depends::Depends;
use crate::kernel::{
    Address, Axis, Buffer, ColumnSums, Combine, Condition, ConvCall, Direction, Expr, Int, IntExpr, Kernel, MatMulCall,
    PackMatrixCall, Program, Scalar, Scan, ScatterAddCall, Step, Store, View,
};
use crate::types::{Dim, Extents};

/// The elements of every buffer, as `f64` whatever their type: every `f32` and `i32` is one.
pub type Memory = IndexVec<Buffer, Vec<f64>>;

/// Carries out the steps of `prepare`.
pub fn prepare_program(program: &Program, memory: &mut Memory, extents: &Extents, precision: Precision) {
    Cx::new(extents, precision).steps(&program.prepare, memory);
}

/// Carries out the program's steps.
pub fn run_program(program: &Program, memory: &mut Memory, extents: &Extents, precision: Precision) {
    Cx::new(extents, precision).steps(&program.steps, memory);
}

struct Cx {
    scope: Scope,
    /// Where the slices of the scan that runs are at present: a buffer and an offset in it.
    slices: RefCell<BTreeMap<Buffer, (Buffer, usize)>>,
}

impl Cx {
    fn new(extents: &Extents, precision: Precision) -> Self {
        Cx { scope: Scope::new(extents.clone(), precision), slices: RefCell::default() }
    }
    fn steps(&self, steps: &[Step], memory: &mut Memory) {
        for step in steps {
            match step {
                Step::Loop(kernel) => self.kernel(kernel, memory),
                Step::MatMul(call) => self.matmul(call, memory),
                Step::Conv(call) => self.conv(call, memory),
                // Nothing here reads what is packed: the weight itself serves.
                Step::Pack(_) => {}
                Step::PackMatrix(call) => self.pack_matrix(call, memory),
                Step::ScatterAdd(call) => self.scatter_add(call, memory),
                Step::Scan(scan) => self.scan(scan, memory),
            }
        }
    }
    fn scan(&self, scan: &Scan, memory: &mut Memory) {
        let length = self.size(&scan.length) as i64;
        let steps: Vec<i64> = if scan.reverse { (0..length).rev().collect() } else { (0..length).collect() };
        let (before, after) = if scan.reverse { (length, -1) } else { (-1, length) };
        self.at(scan, before, &scan.start, memory);
        for step in steps {
            self.at(scan, step, &scan.ahead, memory);
            self.at(scan, step, &scan.body, memory);
        }
        self.at(scan, after, &scan.finish, memory);
    }
    /// Carries out steps with all slices where they are at step `step` of a scan.
    fn at(&self, scan: &Scan, step: i64, steps: &[Step], memory: &mut Memory) {
        for slice in &scan.slices {
            let start = slice.position(step) * self.size(&slice.stride) as i64 + self.size(&slice.offset) as i64;
            // Where a slice would leave its buffer, nobody looks.
            let start = usize::try_from(start).unwrap_or(usize::MAX / 2);
            self.slices.borrow_mut().insert(slice.buffer, (slice.of, start));
        }
        self.steps(steps, memory);
    }
    /// Where an element of a buffer is.
    fn locate(&self, buffer: Buffer, at: usize) -> (Buffer, usize) {
        self.slices.borrow().get(&buffer).map_or((buffer, at), |&(of, start)| (of, start + at))
    }
    fn round(&self, x: f64) -> f64 {
        self.scope.round(x)
    }
    fn size(&self, dim: &Dim) -> usize {
        dim.eval(&self.scope.extents)
    }

    // Library calls.

    /// Row after row: in what order the runtime packs a matrix is its own affair.
    fn pack_matrix(&self, call: &PackMatrixCall, memory: &mut Memory) {
        let [rows, cols] = call.size();
        let packed = packed_view(call.packed, call.n);
        for (number, piece) in call.pieces.iter().enumerate() {
            let [row, col] = call.first(number);
            for (i, j) in pairs(rows, cols) {
                let value = self.read(memory, piece, &[i, j]);
                self.write(memory, &packed, &[row + i, col + j], value);
            }
        }
    }
    fn matmul(&self, call: &MatMulCall, memory: &mut Memory) {
        let packed = call.packed.map(|packed| packed_view(packed, call.n.eval(&self.scope.extents)));
        let right = packed.as_ref().unwrap_or(&call.b);
        let [batch, m, n, k] = [&call.batch, &call.m, &call.n, &call.k].map(|dim| self.size(dim));
        for (of, (i, j)) in (0..batch).flat_map(|of| pairs(m, n).map(move |at| (of, at))) {
            // Views have a leading axis in a batch only.
            let skip = usize::from(call.batch.is_one());
            let a = |p| self.read(memory, &call.a, &[of, i, p][skip..]);
            let b = |p| self.read(memory, right, &[of, p, j][skip..]);
            let sum: f64 = (0..k).map(|p| a(p) * b(p)).sum();
            let before = if call.accumulate { self.read(memory, &call.c, &[of, i, j][skip..]) } else { 0.0 };
            let (c, i) = if call.more.is_empty() {
                (&call.c, i)
            } else {
                let run = m / (1 + call.more.len());
                (call.pieces().nth(i / run).expect("all rows have a piece"), i % run)
            };
            self.write(memory, c, &[of, i, j][skip..], before + sum);
        }
        call.epilogue.iter().for_each(|kernel| self.kernel(kernel, memory));
    }
    fn conv(&self, call: &ConvCall, memory: &mut Memory) {
        let g = &call.geometry;
        let [n, h, w, oh, ow] = [&g.n, &g.h, &g.w, &g.oh, &g.ow].map(|dim| self.size(dim));
        let (c, oc) = (g.c / g.groups, g.oc / g.groups);
        let shape = match call.direction {
            Direction::Forward => [n, g.oc, oh, ow],
            Direction::DataGrad => [n, g.c, h, w],
            Direction::WeightGrad => [g.oc, c, g.kernel[0], g.kernel[1]],
        };
        // Sums are rounded once, at the end.
        let mut sums = vec![0.0; shape.iter().product()];
        for ((image, o), (y, x)) in pairs(n, g.oc).flat_map(|outer| pairs(oh, ow).map(move |inner| (outer, inner))) {
            for (ci, (i, j)) in (0..c).flat_map(|ci| pairs(g.kernel[0], g.kernel[1]).map(move |tap| (ci, tap))) {
                let row = (y * g.stride[0] + i * g.dilation[0]).wrapping_sub(g.pad[0]);
                let col = (x * g.stride[1] + j * g.dilation[1]).wrapping_sub(g.pad[1]);
                if row >= h || col >= w {
                    continue;
                }
                let indices = [[image, o / oc * c + ci, row, col], [image, o, y, x], [o, ci, i, j]];
                let values = [&call.x, &call.y, &call.weight];
                let [a, b, target] = match call.direction {
                    Direction::Forward => [0, 2, 1],
                    Direction::DataGrad => [1, 2, 0],
                    Direction::WeightGrad => [0, 1, 2],
                };
                let product = self.read(memory, values[a], &indices[a]) * self.read(memory, values[b], &indices[b]);
                sums[flat(&indices[target], &shape)] += product;
            }
        }
        let shape = if call.pooled {
            let pooled = [n, g.oc, oh / 2, ow / 2];
            let of = |[image, o, y, x]: [usize; 4]| {
                pairs(2, 2).map(move |(i, j)| flat(&[image, o, 2 * y + i, 2 * x + j], &shape))
            };
            let largest = pairs(n, g.oc).flat_map(|outer| pairs(oh / 2, ow / 2).map(move |inner| (outer, inner))).map(
                |((image, o), (y, x))| {
                    let at = [image, o, y, x];
                    let most = of(at).map(|at| sums[at]).reduce(|most, x| combine(Combine::Max, most, x));
                    let most = most.expect("four numbers");
                    if let Some(positions) = &call.positions {
                        let position = of(at).position(|at| sums[at] == most).unwrap_or(4);
                        self.write(memory, positions, &at, position as f64);
                    }
                    most
                },
            );
            sums = largest.collect();
            pooled
        } else {
            shape
        };
        for ((a, b), (c, d)) in
            pairs(shape[0], shape[1]).flat_map(|outer| pairs(shape[2], shape[3]).map(move |inner| (outer, inner)))
        {
            let index = [a, b, c, d];
            self.write(memory, call.result(), &index, sums[flat(&index, &shape)]);
        }
        call.epilogue.iter().for_each(|kernel| self.kernel(kernel, memory));
        if let Some(sums) = &call.sums {
            (0..shape[1]).for_each(|channel| self.channel_sums(call, sums, shape, channel, memory));
        }
    }
    fn channel_sums(
        &self,
        call: &ConvCall,
        sums: &ColumnSums,
        [n, _, h, w]: [usize; 4],
        channel: usize,
        memory: &mut Memory,
    ) {
        let pixels: Vec<[usize; 4]> = (0..n).flat_map(|n| pairs(h, w).map(move |(y, x)| [n, channel, y, x])).collect();
        let values: Vec<f64> = pixels.iter().map(|at| self.read(memory, call.result(), at)).collect();
        let of_channels = |buffer| View::whole(buffer, vec![Dim::ONE]);
        let sum: f64 = values.iter().sum();
        self.write(memory, &of_channels(sums.sum), &[channel], sum);
        if let Some(squares) = sums.squares() {
            let mean = sum / values.len() as f64;
            let sum = values.iter().map(|x| (x - mean) * (x - mean)).sum();
            self.write(memory, &of_channels(squares), &[channel], sum);
        }
        for product in sums.products() {
            let about = self.read(memory, &of_channels(product.about), &[channel]);
            let others = pixels.iter().map(|at| self.read(memory, &product.other, at) - about);
            let sum = values.iter().zip(others).map(|(x, other)| x * other).sum();
            self.write(memory, &of_channels(product.sum), &[channel], sum);
        }
    }
    fn scatter_add(&self, call: &ScatterAddCall, memory: &mut Memory) {
        for (row, col) in pairs(call.table_rows, call.cols) {
            self.write(memory, &call.table, &[row, col], 0.0);
        }
        for row in 0..self.size(&call.rows) {
            let to = (self.read(memory, &call.index, &[row]).max(0.0) as usize).min(call.table_rows - 1);
            for col in 0..call.cols {
                let sum = self.read(memory, &call.table, &[to, col]) + self.read(memory, &call.source, &[row, col]);
                self.write(memory, &call.table, &[to, col], sum);
            }
        }
    }
    fn offset(&self, view: &View, index: &[usize]) -> usize {
        let terms = index.iter().zip(&view.strides).map(|(i, stride)| i * self.size(stride));
        self.size(&view.offset) + terms.sum::<usize>()
    }
    fn read(&self, memory: &Memory, view: &View, index: &[usize]) -> f64 {
        let (buffer, at) = self.locate(view.buffer, self.offset(view, index));
        memory[buffer][at]
    }
    fn write(&self, memory: &mut Memory, view: &View, index: &[usize], value: f64) {
        let (buffer, at) = self.locate(view.buffer, self.offset(view, index));
        memory[buffer][at] = self.round(value);
    }

    // Kernels.

    fn kernel(&self, kernel: &Kernel, memory: &mut Memory) {
        let extents: Vec<usize> = kernel.domain.iter().map(|&axis| self.size(&kernel.axes[axis])).collect();
        let (depends, depths) = (kernel.depends(), kernel.depths());
        let mut reduced = BTreeMap::new();
        for flat in 0..extents.iter().product() {
            let axes = IndexVec::filled(0, kernel.axes.len());
            let mut point = Point { axes, kernel, cx: self, memory, depends: &depends, reduced };
            let mut rest = flat;
            for (&axis, &extent) in kernel.domain.iter().zip(&extents).rev() {
                point.axes[axis] = (rest % extent) as i64;
                rest /= extent;
            }
            // All values are computed before any is stored; a store outside of some loops takes place in their first round.
            let is_first =
                |point: &Point<'_>, depth: usize| kernel.domain[depth..].iter().all(|&axis| point.axes[axis] == 0);
            let stores = kernel.stores.iter().zip(&depths).filter(|(_, depth)| is_first(&point, **depth));
            let stores: Vec<&Store> = stores.map(|(store, _)| store).collect();
            let values: Vec<(Buffer, usize, f64)> = stores
                .into_iter()
                .map(|store| (store.buffer, point.address(&store.at), point.expr(store.value)))
                .collect();
            reduced = point.reduced;
            for (buffer, at, value) in values {
                let (buffer, at) = self.locate(buffer, at);
                memory[buffer][at] = value;
            }
        }
    }
}

fn pairs(m: usize, n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..m).flat_map(move |i| (0..n).map(move |j| (i, j)))
}

fn flat(index: &[usize; 4], shape: &[usize; 4]) -> usize {
    index.iter().zip(shape).fold(0, |flat, (i, n)| flat * n + i)
}

/// One point of a kernel's domain.
struct Point<'a> {
    kernel: &'a Kernel,
    cx: &'a Cx,
    memory: &'a Memory,
    axes: IndexVec<Axis, i64>,
    depends: &'a Depends,
    /// The latest value of each reduction, and where that was: rows are reduced once, and not at each of their elements.
    reduced: BTreeMap<Expr, (Vec<i64>, f64)>,
}

impl Point<'_> {
    fn expr(&mut self, expr: Expr) -> f64 {
        let kernel = self.kernel;
        match &kernel.exprs[expr] {
            Scalar::Const(value) => self.cx.round(*value),
            Scalar::Load { buffer, at } => {
                let at = self.address(at);
                let (of, at) = self.cx.locate(*buffer, at);
                let elements = &self.memory[of];
                *elements.get(at).unwrap_or_else(|| {
                    panic!("{buffer}[{at}] of {} elements is read at {:?}:\n{kernel}", elements.len(), self.axes)
                })
            }
            Scalar::Position(int) => f64::from(self.int(*int) as i32),
            Scalar::Convert(x) => {
                let x = self.expr(*x);
                self.cx.round(x)
            }
            Scalar::Unary(function, x) => {
                let x = self.expr(*x);
                unary(*function, x, &self.cx.scope)
            }
            Scalar::Binary(function, a, b) => {
                let (a, b) = (self.expr(*a), self.expr(*b));
                binary(*function, a, b, &self.cx.scope)
            }
            Scalar::Compare(function, a, b) => {
                let (a, b) = (self.expr(*a), self.expr(*b));
                compare(*function, a, b)
            }
            Scalar::Select(condition, a, b) => {
                if self.expr(*condition) != 0.0 {
                    self.expr(*a)
                } else {
                    self.expr(*b)
                }
            }
            Scalar::Reduce { combine, axis, body } => {
                let axes = self.depends.exprs[expr];
                let here: Vec<i64> =
                    kernel.axes.ids().filter(|&id| axes.contains(id)).map(|id| self.axes[id]).collect();
                if let Some((_, value)) = self.reduced.get(&expr).filter(|(at, _)| *at == here) {
                    return *value;
                }
                // The loop may be one of the domain, too.
                let outside = self.axes[*axis];
                let mut sum = combine.neutral();
                for i in 0..self.cx.size(&kernel.axes[*axis]) {
                    self.axes[*axis] = i as i64;
                    let value = self.expr(*body);
                    sum = binary(combine.function(), sum, value, &self.cx.scope);
                }
                self.axes[*axis] = outside;
                self.reduced.insert(expr, (here, sum));
                sum
            }
            Scalar::Guard { conditions, body, otherwise } => {
                let holds = conditions.iter().all(|condition| match condition {
                    Condition::InRange(int, limit) => (0..self.cx.size(limit) as i64).contains(&self.int(*int)),
                    Condition::Multiple(int, of) => self.int(*int) % of == 0,
                });
                if holds { self.expr(*body) } else { self.cx.round(*otherwise) }
            }
            Scalar::Random { key, stream, index } => {
                let key = Key(key.map(|word| (self.expr(word) as i32).cast_unsigned()));
                f64::from(key.uniform(*stream, self.int(*index) as u32))
            }
        }
    }
    fn address(&mut self, at: &Address) -> usize {
        let terms = at.terms.iter().map(|(int, stride)| self.int(*int) * self.cx.size(stride) as i64);
        let at = terms.sum::<i64>() + self.cx.size(&at.offset) as i64;
        usize::try_from(at).unwrap_or_else(|_| panic!("the address {at} at {:?}:\n{}", self.axes, self.kernel))
    }
    fn int(&mut self, int: Int) -> i64 {
        match &self.kernel.ints[int] {
            IntExpr::Const(value) => *value,
            IntExpr::Axis(axis) => self.axes[*axis],
            IntExpr::Add(a, b) => self.int(*a) + self.int(*b),
            IntExpr::Mul(a, factor) => self.int(*a) * factor,
            IntExpr::Div(a, divisor) => self.int(*a).div_euclid(*divisor),
            IntExpr::Rem(a, divisor) => self.int(*a).rem_euclid(*divisor),
            IntExpr::Size(dim) => self.cx.size(dim) as i64,
            IntExpr::MulSize(a, dim) => self.int(*a) * self.cx.size(dim) as i64,
            IntExpr::DivSize(a, dim) => self.int(*a) / self.cx.size(dim) as i64,
            IntExpr::RemSize(a, dim) => self.int(*a) % self.cx.size(dim) as i64,
            IntExpr::Clamp(a, limit) => self.int(*a).clamp(0, limit - 1),
            IntExpr::Value(expr) => self.expr(*expr) as i64,
        }
    }
}

/// A packed matrix of `n` columns.
fn packed_view(packed: Buffer, n: usize) -> View {
    View::whole(packed, vec![Dim::fixed(n), Dim::ONE])
}
