//! Kernel to plan: which loops there are, along which of them lanes lie, and what is computed in each.
//!
//! Whatever is asked for is placed in the outermost region that determines it: the loops within only read it.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{Inst, Item, Kind, Num, NumData, NumOp, Op, Plan, Region, RegionData, Test, Val, ValData};
use crate::codegen::facts::Facts;
use crate::codegen::nest::Call;
use crate::kernel::depends::AxisSet;
use crate::kernel::{Address, Axis, Condition, Expr, Int, Kernel, Program, Scalar, Store};
use crate::types::{Dim, ElementType, product};

/// Shorter loops are left to narrower vectors.
const SHORTEST: usize = 8;
/// Rows of more elements are computed one by one: each has enough to do at once.
const LONG: usize = 512;
/// So many others are computed side by side.
const ROWS: usize = 4;

/// The plan of a kernel, if wide code is made for its kind: its innermost loop stores neighbors and loads neighbors
/// or single elements, or it only reduces along such loops.
pub(super) fn plan(program: &Program, kernel: &Kernel, call: Call) -> Option<Plan> {
    let facts = Facts::of(program, kernel);
    let mut maker = Maker {
        program,
        kernel,
        facts,
        plan: Plan::default(),
        here: crate::index::Id::new(0),
        exprs: vec![BTreeMap::new()],
        row: 0,
        rows: None,
        constant_axes: BTreeMap::new(),
        lanes_along_domain: false,
        fetches: None,
    };
    let innermost = kernel.domain.last().copied();
    let inner = kernel.stores.iter().zip(&maker.facts.depths).filter(|(_, depth)| **depth == kernel.domain.len());
    let (roots, stores): (Vec<Expr>, Vec<&Address>) = inner.map(|(store, _)| (store.value, &store.at)).unzip();
    maker.lanes_along_domain = innermost.is_some_and(|axis| {
        let neighbors = stores.iter().all(|at| maker.facts.address_slope(at, axis) == Some(1));
        neighbors && maker.may_vectorize(axis, &roots)
    });
    if !maker.lanes_along_domain {
        let is_for_narrow = innermost.is_some_and(|axis| maker.facts.vectors_along(axis, &roots, &stores).is_some());
        let mut reductions = kernel.exprs.values().filter_map(|scalar| match scalar {
            Scalar::Reduce { axis, body, .. } => Some((*axis, *body)),
            _ => None,
        });
        if is_for_narrow || !reductions.any(|(axis, body)| maker.may_vectorize(axis, &[body])) {
            return None;
        }
    }
    maker.function(call);
    Some(maker.plan.finished())
}

pub(super) struct Maker<'a> {
    pub(super) program: &'a Program,
    pub(super) kernel: &'a Kernel,
    pub(super) facts: Facts<'a>,
    pub(super) plan: Plan,
    /// The region that is being filled.
    pub(super) here: Region,
    /// The latest value of each expression, wherever it was computed, in each of the rows that are computed side by side.
    pub(super) exprs: Vec<BTreeMap<Expr, Val>>,
    /// The row that something is computed of.
    pub(super) row: usize,
    /// The loop whose points are rows, where several are computed side by side.
    pub(super) rows: Option<Axis>,
    /// Loops that are written out, and the round.
    pub(super) constant_axes: BTreeMap<Axis, i64>,
    lanes_along_domain: bool,
    /// How many columns further what is read is fetched, if at all.
    fetches: Option<Num>,
}

impl Maker<'_> {
    // Regions.

    pub(super) fn open(&mut self, kind: Kind, binds: &[Axis]) -> Region {
        let parent = (!self.plan.regions.is_empty()).then_some(self.here);
        let binds = binds.iter().fold(AxisSet::default(), |set, &axis| set.with(axis));
        self.here = self.plan.regions.push(RegionData { parent, kind, binds, items: Vec::new() });
        self.here
    }
    pub(super) fn close(&mut self) {
        let parent = self.plan.regions[self.here].parent.expect("the function itself is not closed");
        self.plan.regions[parent].items.push(Item::Region(self.here));
        self.here = parent;
    }
    pub(super) fn append(&mut self, region: Region, inst: Inst) -> super::plan::Run {
        let run = match self.plan.regions[region].items.last() {
            Some(Item::Run(run)) => *run,
            _ => {
                let run = self.plan.runs.push(Vec::new());
                self.plan.regions[region].items.push(Item::Run(run));
                run
            }
        };
        self.plan.runs[run].push(inst);
        run
    }
    /// The regions from here outwards.
    fn chain(&self) -> impl Iterator<Item = Region> {
        std::iter::successors(Some(self.here), |&region| self.plan.regions[region].parent)
    }
    /// The loop along which lanes lie here.
    pub(super) fn vector_axis(&self) -> Option<Axis> {
        self.chain().find_map(|region| match self.plan.regions[region].kind {
            Kind::Loop { axis, chains: Some(_), .. } => Some(axis),
            _ => None,
        })
    }
    pub(super) fn loop_of(&self, axis: Axis) -> Region {
        let binds = |region: &Region| self.plan.regions[*region].binds.contains(axis);
        self.chain().find(binds).unwrap_or_else(|| panic!("the loop {axis} is not open:\n{}", self.kernel))
    }
    fn vector_region(&self) -> Region {
        let is_vector = |region: &Region| matches!(self.plan.regions[*region].kind, Kind::Loop { chains: Some(_), .. });
        self.chain().find(is_vector).expect("lanes lie along a loop")
    }
    /// The outermost region in which something that depends on these loops may be computed.
    pub(super) fn place(&self, axes: AxisSet) -> Region {
        let axes = self.constant_axes.keys().fold(axes, |axes, &axis| axes.without(axis));
        let stays = |region: &Region| {
            let data = &self.plan.regions[*region];
            matches!(data.kind, Kind::Function | Kind::If(_)) || !data.binds.is_disjoint(axes)
        };
        self.chain().find(stays).expect("the function holds everything")
    }
    pub(super) fn deeper(&self, a: Region, b: Region) -> Region {
        if self.plan.is_within(a, b) { a } else { b }
    }

    // Values.

    /// The value of an operation, computed where its operands are known.
    pub(super) fn push(&mut self, op: Op) -> Val {
        let root: Region = crate::index::Id::new(0);
        let region = match op {
            Op::Index => self.vector_region(),
            Op::SplatNum(num) => self.plan.nums[num].region,
            _ => op.operands().iter().fold(root, |region, &v| self.deeper(self.plan.vals[v].region, region)),
        };
        self.push_in(op, region)
    }
    pub(super) fn push_in(&mut self, op: Op, region: Region) -> Val {
        if let Some(&val) = self.plan.known_vals.get(&op)
            && self.plan.is_within(self.here, self.plan.vals[val].region)
        {
            return val;
        }
        let varies = match op {
            Op::Ramp(_) | Op::Load { .. } => true,
            _ => op.operands().iter().any(|&v| self.plan.vals[v].varies),
        };
        let val = self.plan.vals.push(ValData { op, region, run: None, varies, is_stored: false });
        if !matches!(op, Op::Const(_) | Op::Ramp(_)) {
            self.plan.vals[val].run = Some(self.append(region, Inst::Val(val)));
        }
        self.plan.known_vals.insert(op, val);
        val
    }
    pub(super) fn cell(&mut self, varies: bool) -> Val {
        let op = Op::Cell(self.plan.vals.len());
        self.plan.vals.push(ValData { op, region: self.here, run: None, varies, is_stored: true })
    }
    pub(super) fn set(&mut self, cell: Val, value: Val) {
        self.append(self.here, Inst::Set { cell, value });
    }
    pub(super) fn constant(&mut self, element: ElementType, value: f64) -> Val {
        let bits = match element {
            ElementType::F32 => (value as f32).to_bits(),
            // A conversion saturates: the neutral elements of Max and Min are the ends of the range.
            ElementType::I32 => (value as i32).cast_unsigned(),
        };
        self.push(Op::Const(bits))
    }

    // Integers.

    pub(super) fn num(&mut self, op: NumOp) -> Num {
        let root: Region = crate::index::Id::new(0);
        let known = |maker: &Self, num: Num| match maker.plan.nums[num].op {
            NumOp::Const(value) => Some(value),
            _ => None,
        };
        match op {
            NumOp::Add(a, b) => match (known(self, a), known(self, b)) {
                (Some(0), _) => return b,
                (_, Some(0)) => return a,
                (Some(x), Some(y)) => return self.num(NumOp::Const(x.wrapping_add(y))),
                _ => {}
            },
            NumOp::Mul(a, b) => match (known(self, a), known(self, b)) {
                (Some(x), _) => return self.num(NumOp::Scale(b, x)),
                (_, Some(y)) => return self.num(NumOp::Scale(a, y)),
                _ => {}
            },
            NumOp::Scale(a, factor) => match (known(self, a), factor) {
                (_, 0) => return self.num(NumOp::Const(0)),
                (_, 1) => return a,
                (Some(x), _) => return self.num(NumOp::Const(x.wrapping_mul(factor))),
                _ => {}
            },
            _ => {}
        }
        let of = |num: Num| self.plan.nums[num].region;
        let region = match op {
            NumOp::Const(_) | NumOp::Argument(_) | NumOp::Frame(_) => root,
            NumOp::Counter(region, _) | NumOp::End(region) | NumOp::Position(region) => region,
            NumOp::Add(a, b) | NumOp::Mul(a, b) => self.deeper(of(a), of(b)),
            NumOp::Scale(a, _) | NumOp::Div(a, _) | NumOp::Rem(a, _) | NumOp::Clamp(a, _) => of(a),
            // Computed where its guard holds.
            NumOp::DivSize(a, b) | NumOp::RemSize(a, b) => {
                let conditional = self.place(AxisSet::default());
                self.deeper(conditional, self.deeper(of(a), of(b)))
            }
            NumOp::Lane(val) => self.plan.vals[val].region,
        };
        if let Some(&num) = self.plan.known_nums.get(&op)
            && self.plan.is_within(self.here, self.plan.nums[num].region)
        {
            return num;
        }
        let num = self.plan.nums.push(NumData { op, region });
        let is_given = matches!(op, NumOp::Const(_) | NumOp::Counter(..) | NumOp::End(_) | NumOp::Position(_));
        if !is_given {
            self.append(region, Inst::Num(num));
        }
        self.plan.known_nums.insert(op, num);
        num
    }
    pub(super) fn fixed(&mut self, value: i64) -> Num {
        self.num(NumOp::Const(value))
    }
    pub(super) fn size(&mut self, dim: &Dim) -> Num {
        let factor = self.fixed(dim.factor() as i64);
        dim.symbols().iter().fold(factor, |size, symbol| {
            let value = self.num(NumOp::Frame(self.program.symbol_word(symbol)));
            self.num(NumOp::Mul(size, value))
        })
    }

    // Loops.

    fn function(&mut self, call: Call) {
        let root = self.open(Kind::Function, &[]);
        let mask = ValData { op: Op::Mask, region: root, run: None, varies: true, is_stored: true };
        let mask = self.plan.vals.push(mask);
        assert_eq!(mask, self.plan.mask(), "the mask comes first");
        let arguments: Vec<Num> = (0..call.n_params()).map(|at| self.num(NumOp::Argument(at))).collect();
        let domain = &self.kernel.domain;
        match call {
            Call::Range => {
                let (begin, end) = (arguments[0], arguments[1]);
                let extents: Vec<Dim> = domain.iter().map(|&axis| self.kernel.axes[axis].clone()).collect();
                let inner = product(&extents[self.kernel.parallel..]);
                // Nothing at all is read for an empty domain.
                let inner = self.size(&inner);
                self.open(Kind::If(vec![Test::Less(begin, end), Test::NotZero(inner)]), &[]);
                match self.kernel.parallel {
                    0 => self.domain(0),
                    1 => self.rows(begin, end),
                    parallel => self.segments(parallel),
                }
            }
            Call::Tile { fetches } => {
                let [row, n_rows, col, n_cols, ahead] = arguments[..] else { unreachable!("{call:?}") };
                let rows = [row, self.num(NumOp::Add(row, n_rows))];
                if fetches && self.lanes_along_domain {
                    self.fetches = Some(ahead);
                    let cols = [col, self.num(NumOp::Add(col, ahead))];
                    self.fetch_only(rows, cols, n_cols);
                }
                let cols = [col, self.num(NumOp::Add(col, n_cols))];
                self.open_tile(rows, cols, None);
                self.open_loop(0, rows[0], rows[1]);
                self.one_loop(1, cols[0], cols[1]);
                self.close();
            }
        }
        self.close();
    }
    /// A guard of a tile that is not empty.
    fn open_tile(&mut self, rows: [Num; 2], cols: [Num; 2], more: Option<Test>) {
        let tests = [rows, cols].map(|[from, to]| Test::Less(from, to));
        self.open(Kind::If(tests.into_iter().chain(more).collect()), &[]);
    }
    /// Fetches what a tile will read when none is complete.
    fn fetch_only(&mut self, rows: [Num; 2], cols: [Num; 2], n_cols: Num) {
        let (kernel, one, zero) = (self.kernel, self.fixed(1), self.fixed(0));
        let [row, col] = kernel.domain[..] else { unreachable!("an epilogue has rows and columns:\n{kernel}") };
        self.open_tile(rows, cols, Some(Test::Less(n_cols, one)));
        self.open_loop(0, rows[0], rows[1]);
        self.open_loop(1, cols[0], cols[1]);
        for (expr, scalar) in kernel.exprs.iter() {
            let Scalar::Load { buffer, at } = scalar else { continue };
            let is_known = |&(int, _): &(Int, Dim)| {
                !self.facts.reads[int] && self.facts.ints[int].without(row).without(col) == AxisSet::default()
            };
            if at.terms.iter().all(is_known) && self.facts.address_slope(at, col) == Some(1) {
                // Nothing reads the value, so that there will be no code for it.
                self.load(expr, *buffer, at);
            }
        }
        self.append(self.here, Inst::Fetch(zero));
        (0..3).for_each(|_| self.close());
    }
    fn segments(&mut self, parallel: usize) {
        let axes: Vec<Axis> = self.kernel.domain[..parallel].to_vec();
        let extents = axes.iter().map(|&axis| self.size(&self.kernel.axes[axis])).collect();
        let (last, outer) = axes.split_last().expect("several axes");
        let (last, outer) = (*last, outer.to_vec());
        let region = self.open(Kind::Segments { axes, extents }, &outer);
        let from = self.num(NumOp::Counter(region, last));
        let to = self.num(NumOp::End(region));
        self.one_loop(parallel - 1, from, to);
        self.close();
    }
    fn domain(&mut self, depth: usize) {
        match self.kernel.domain.get(depth) {
            Some(&axis) => {
                let (from, to) = (self.fixed(0), self.size(&self.kernel.axes[axis]));
                self.one_loop(depth, from, to);
                self.stores_at(depth);
            }
            None => self.point(),
        }
    }
    fn open_loop(&mut self, depth: usize, from: Num, to: Num) -> Region {
        let axis = self.kernel.domain[depth];
        let is_innermost = depth + 1 == self.kernel.domain.len();
        let chains = (is_innermost && self.lanes_along_domain).then_some(1);
        self.open(
            Kind::Loop {
                axis,
                from,
                to,
                chains,
                folds: Vec::new(),
                step: self.rows.filter(|rows| *rows == axis).map_or(1, |_| self.exprs.len()),
            },
            &[axis],
        )
    }
    /// The only loop that threads share. Of short rows that are reduced, each of which waits for its own sums, several are computed
    /// side by side, and those that are left one by one.
    fn rows(&mut self, begin: Num, end: Num) {
        let side_by_side = self.side_by_side();
        if side_by_side == 1 {
            return self.one_loop(0, begin, end);
        }
        let less = self.num(NumOp::Scale(begin, -1));
        let n = self.num(NumOp::Add(end, less));
        let whole = self.num(NumOp::Div(n, side_by_side as i64));
        let whole = self.num(NumOp::Scale(whole, side_by_side as i64));
        let middle = self.num(NumOp::Add(begin, whole));
        self.open(Kind::If(vec![Test::Less(begin, middle)]), &[]);
        self.exprs = vec![BTreeMap::new(); side_by_side];
        self.rows = Some(self.kernel.domain[0]);
        self.one_loop(0, begin, middle);
        self.exprs = vec![BTreeMap::new()];
        self.rows = None;
        self.close();
        self.open(Kind::If(vec![Test::Less(middle, end)]), &[]);
        self.one_loop(0, middle, end);
        self.close();
    }
    fn side_by_side(&self) -> usize {
        let is_short = |axis: Axis| self.kernel.axes[axis].as_fixed().is_some_and(|n| n <= LONG);
        let reductions = self.kernel.exprs.values().filter_map(|scalar| match scalar {
            Scalar::Reduce { axis, body, .. } => Some(is_short(*axis) && self.may_vectorize(*axis, &[*body])),
            _ => None,
        });
        // Whether each reduction is one over the elements of a row.
        let are_of_rows: Vec<bool> = reductions.collect();
        let goes_along_rows = match self.kernel.domain.len() {
            1 => !self.lanes_along_domain,
            2 => self.lanes_along_domain,
            _ => false,
        };
        let is_worth = goes_along_rows && !are_of_rows.is_empty() && are_of_rows.into_iter().all(|is| is);
        if is_worth { ROWS } else { 1 }
    }
    fn one_loop(&mut self, depth: usize, from: Num, to: Num) {
        let sums = match depth + 1 == self.kernel.domain.len() {
            true => self.sums_of_domain(self.kernel.domain[depth], self.lanes_along_domain),
            false => Vec::new(),
        };
        self.open_loop(depth, from, to);
        self.domain(depth + 1);
        self.close_with(sums);
    }
    /// The values of stores that stand in so many loops, then these stores.
    fn stores_at(&mut self, depth: usize) {
        let kernel = self.kernel;
        let stores = kernel.stores.iter().zip(self.facts.depths.clone()).filter(|(_, its)| *its == depth);
        let stores: Vec<&Store> = stores.map(|(store, _)| store).collect();
        let mut values: Vec<(usize, &Store, Val)> = Vec::new();
        for row in 0..self.exprs.len() {
            self.row = row;
            values.extend(stores.iter().map(|&store| (row, store, self.expr(store.value))));
        }
        for (row, store, value) in values {
            self.row = row;
            let (ptr, disp) = self.address(store.buffer, &store.at);
            let is_single = self.vector_axis().is_none();
            let streamed = store.streamed.as_ref().map(|elements| self.size(elements));
            self.append(self.here, Inst::Store { ptr, disp, value, is_single, streamed });
        }
        self.row = 0;
    }
    /// One point of the innermost loop.
    fn point(&mut self) {
        self.stores_at(self.kernel.domain.len());
        if let Some(ahead) = self.fetches.filter(|_| self.lanes_along_domain) {
            self.append(self.here, Inst::Fetch(ahead));
        }
    }

    // Control flow within expressions.

    pub(super) fn guard(&mut self, conditions: &[Condition], body: Expr, otherwise: Val) -> Val {
        let tests = conditions.iter().map(|condition| {
            let int = self.int_num(condition.int());
            match condition {
                Condition::InRange(_, limit) => Test::InRange(int, self.size(limit)),
                Condition::Multiple(_, of) => Test::Multiple(int, *of),
            }
        });
        let tests = tests.collect();
        let varies = self.vector_axis().is_some_and(|axis| self.facts.exprs[body].contains(axis));
        let cell = self.cell(varies);
        self.set(cell, otherwise);
        self.open(Kind::If(tests), &[]);
        let value = self.expr(body);
        self.set(cell, value);
        self.close();
        cell
    }

    // What can be done in vectors.

    /// Whether lanes may lie along the loop: all that depends on it is the same for all lanes, or lies side by side.
    pub(super) fn may_vectorize(&self, axis: Axis, roots: &[Expr]) -> bool {
        let is_long = self.kernel.axes[axis].as_fixed().is_none_or(|n| n >= SHORTEST);
        let mut seen = BTreeSet::new();
        is_long
            && roots.iter().any(|&root| self.facts.exprs[root].contains(axis)) | self.kernel.domain.contains(&axis)
            && roots.iter().all(|&root| self.is_straight(root, axis, &mut seen))
    }
    fn is_straight(&self, expr: Expr, axis: Axis, seen: &mut BTreeSet<Expr>) -> bool {
        if !self.facts.exprs[expr].contains(axis) || !seen.insert(expr) {
            return true;
        }
        let scalar = &self.kernel.exprs[expr];
        let itself = match scalar {
            Scalar::Load { at, .. } => matches!(self.facts.address_slope(at, axis), Some(0 | 1)),
            Scalar::Position(int) | Scalar::Random { index: int, .. } => self.facts.slope(*int, axis).is_some(),
            Scalar::Guard { conditions, .. } => {
                conditions.iter().all(|condition| !self.facts.ints[condition.int()].contains(axis))
            }
            Scalar::Const(_)
            | Scalar::Convert(_)
            | Scalar::Unary(..)
            | Scalar::Binary(..)
            | Scalar::Compare(..)
            | Scalar::Select(..)
            | Scalar::Reduce { .. } => true,
        };
        itself && scalar.operands().into_iter().all(|operand| self.is_straight(operand, axis, seen))
    }
}
