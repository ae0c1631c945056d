//! The invariants of a program. A broken one is our bug: it panics with the kernel printed.

use std::collections::BTreeSet;

use netc_runtime::kernels::matmul::{are_panels, packed_len};
use smallvec::smallvec;

use super::{
    Address, Algorithm, Along, Axis, Direction, Expr, Geometry, Home, Int, IntExpr, Kernel, MatMulCall, PackMatrixCall,
    Program, Scalar, Step,
};
use crate::index::{Few, IndexVec};
use crate::types::{Dim, ElementType, Symbol};

impl Program {
    /// Checks what the types' comments promise; for debug builds and tests.
    ///
    /// # Panics
    /// With the offending kernel, when a pass has broken it.
    pub fn verify(&self) {
        for (at, symbol) in self.symbols.iter().enumerate() {
            if let Symbol::Derived(derived) = symbol {
                let known = |of: &Symbol| self.symbols[..at].contains(of);
                assert!(
                    derived.of.symbols().iter().all(known),
                    "the size `{symbol}` comes before what it derives from"
                );
            }
        }
        for step in self.all_steps() {
            step.for_each_dim(&mut |dim| {
                let unknown = dim.symbols().iter().find(|symbol| !self.symbols.contains(symbol));
                assert!(unknown.is_none(), "the size `{dim}` is not declared: {step}");
            });
            self.verify_step(step);
        }
        for (at, step) in self.steps.iter().enumerate() {
            let Step::Scan(scan) = step else { continue };
            let leader = at.checked_sub(1).map(|before| &self.steps[before]);
            let follows = matches!(leader, Some(Step::Scan(leader)) if !leader.beside && scan.follows(leader));
            assert!(!scan.beside || follows, "it cannot go beside what is before it: {step}");
        }
    }
    fn verify_step(&self, step: &Step) {
        match step {
            Step::Loop(kernel) => kernel.verify(self),
            Step::MatMul(call) => {
                let is_batch = !call.batch.is_one();
                for view in [&call.a, &call.b, &call.c] {
                    assert_eq!(view.strides.len(), 2 + usize::from(is_batch), "a matrix has two strides: {step}");
                }
                let is_dense = call.c.strides.last().is_some_and(Dim::is_one);
                assert!(is_dense || call.n.is_one(), "columns of the result are contiguous: {step}");
                let is_plain = call.packed.is_none() && call.groups == 1 && call.epilogue.is_none();
                assert!(call.packed.is_some() || !call.accumulate, "only products of packed weights are added: {step}");
                assert!(!is_batch || is_plain, "a batch of products is nothing else: {step}");
                let is_whole = is_plain && !is_batch && !call.accumulate;
                let fits = |m: usize| m.is_multiple_of(1 + call.more.len());
                let in_pieces = is_whole && call.m.as_fixed().is_some_and(fits);
                assert!(call.more.is_empty() || in_pieces, "pieces have equally many rows: {step}");
                let are_dense = call.more.iter().all(|piece| matches!(&piece.strides[..], [_, col] if col.is_one()));
                assert!(are_dense, "columns of a piece are contiguous: {step}");
                self.verify_runs(step, call);
                self.verify_epilogue(step, call.epilogue.as_ref());
            }
            Step::Conv(call) => {
                for view in [&call.x, &call.y] {
                    assert_eq!(view.strides.len(), 4, "an image has four strides: {step}");
                }
                let adjacent = call.y.strides[1].is_one() || call.geometry.oc == 1;
                assert!(adjacent, "channels of `y` are contiguous: {step}");
                let is_pooled_well = call.direction == Direction::Forward && call.algorithm != Algorithm::Direct;
                assert!(!call.pooled || is_pooled_well, "Winograd's algorithms alone take the largest: {step}");
                let are_adjacent = |view: &super::View| view.strides[1].is_one() || call.geometry.oc == 1;
                let has_positions = call.positions.iter().all(|view| call.pooled && are_adjacent(view));
                assert!(has_positions, "positions are those of the largest, of contiguous channels: {step}");
                let Geometry { c, oc, kernel: [kh, kw], groups, .. } = call.geometry;
                let shape = [oc, c / groups, kh, kw];
                let mut dense = 1;
                for (n, stride) in shape.iter().zip(&call.weight.strides).rev() {
                    assert!(*n == 1 || stride.as_fixed() == Some(dense), "the weight is contiguous: {step}");
                    dense *= n;
                }
                call.verify_sums(|buffer| self.buffers[buffer].len.clone());
                self.verify_epilogue(step, call.epilogue.as_ref());
            }
            Step::Pack(_) => {}
            Step::PackMatrix(call) => {
                let are_matrices = call.pieces.iter().all(|piece| piece.strides.len() == 2);
                assert!(are_matrices, "a matrix has two strides: {step}");
                let (pieces, groups) = (call.pieces.len(), call.groups);
                let (fits, what) = match call.along {
                    Along::Rows => (call.k.is_multiple_of(pieces), "rows"),
                    Along::Columns => (pieces == 1 || are_panels(call.n, pieces, groups), "panels"),
                };
                assert!(fits, "pieces have whole {what}: {step}");
                assert!(call.groups > 0 && call.n.is_multiple_of(call.groups), "runs are of one length: {step}");
                assert_eq!(
                    self.buffers[call.packed].len,
                    Dim::fixed(call.floats()),
                    "a packed matrix has its length: {step}"
                );
                self.verify_products(call);
            }
            Step::ScatterAdd(call) => {
                assert_eq!((call.index.strides.len(), call.source.strides.len()), (1, 2), "{step}");
            }
            Step::Scan(scan) => {
                for slice in &scan.slices {
                    let home = self.buffers[slice.buffer].home;
                    assert_eq!(home, Home::Slice { of: slice.of }, "{} is no slice of {}", slice.buffer, slice.of);
                }
                for call in &scan.ahead {
                    let Step::MatMul(call) = call else { panic!("products alone are computed ahead: {step}") };
                    let is_plain = call.groups == 1 || (call.packed.is_some() && call.epilogue.is_none());
                    assert!(call.batch.is_one() && is_plain, "rounds are single products: {step}");
                }
                let are_apart = scan.members.is_none() || scan.members == scan.members_apart();
                assert!(are_apart, "members have to do with each other: {step}");
                for inner in scan.steps() {
                    assert!(!matches!(inner, Step::Scan(_)), "a scan within a scan: {step}");
                    self.verify_step(inner);
                }
            }
        }
    }
    /// Groups divide the columns, and the epilogue of several groups goes over the columns of one.
    fn verify_runs(&self, step: &Step, call: &MatMulCall) {
        let run = call.n.divided_by(&Dim::fixed(call.groups));
        let Some(run) = run else { panic!("runs are of one length: {step}") };
        if let Some(packed) = call.packed {
            let (Some(k), Some(n)) = (call.k.as_fixed(), call.n.as_fixed()) else {
                panic!("a packed matrix has fixed sizes: {step}")
            };
            let len = Dim::fixed(packed_len(k, n, call.groups) + call.floats_beside());
            assert_eq!(self.buffers[packed].len, len, "a packed matrix has its length: {step}");
        }
        if let Some(kernel) = call.epilogue.as_ref().filter(|_| call.groups > 1) {
            let extents: Vec<&Dim> = kernel.domain.iter().map(|&axis| &kernel.axes[axis]).collect();
            assert_eq!(extents, [&call.m, &run], "an epilogue of groups goes over one run: {step}");
        }
    }
    /// Products with a packed operand have the rows that it is packed for, in all calls, and its shortcuts.
    fn verify_products(&self, packing: &PackMatrixCall) {
        fn check(steps: &[Step], packing: &PackMatrixCall, rows: Option<&Dim>, is_ahead: bool) {
            for step in steps {
                match step {
                    Step::MatMul(call) if call.packed == Some(packing.packed) => {
                        let known = if is_ahead { &packing.rows } else { &packing.rows_of_a_step };
                        assert!(known.is_none(), "rounds have any number of rows, other steps their own: {step}");
                        let fits = rows.is_none_or(|rows| call.m == *rows && call.batch.is_one());
                        assert!(fits, "the operand is packed for other rows: {step}");
                        assert_eq!(call.shortcuts, packing.shortcuts, "the operand is packed in other ways: {step}");
                    }
                    Step::Scan(scan) => {
                        check(&scan.ahead, packing, packing.rows_of_a_step.as_ref(), true);
                        let others = [&scan.start, &scan.body, &scan.finish];
                        others.into_iter().for_each(|steps| check(steps, packing, rows, false));
                    }
                    _ => {}
                }
            }
        }
        check(&self.steps, packing, packing.rows.as_ref(), false);
    }
    fn verify_epilogue(&self, step: &Step, epilogue: Option<&Kernel>) {
        if let Some(kernel) = epilogue {
            kernel.verify(self);
            assert_eq!(kernel.domain.len(), 2, "an epilogue has rows and columns: {step}");
            assert!(kernel.depths().iter().all(|&depth| depth == 2), "tiles have parts of rows: {step}");
        }
    }
}

impl Kernel {
    /// Checks the invariants of one kernel of a program.
    ///
    /// # Panics
    /// With the kernel, when one is broken.
    pub fn verify(&self, program: &Program) {
        self.verify_ids();
        assert!(self.parallel <= self.domain.len(), "more parallel loops than loops:\n{self}");
        for axis in self.axes.ids() {
            let times = self.domain.iter().filter(|its| **its == axis).count();
            let is_reduced =
                self.exprs.values().any(|scalar| matches!(scalar, Scalar::Reduce { axis: its, .. } if *its == axis));
            // A loop that was merged into another is left behind with one step.
            let is_gone = self.axes[axis].is_one();
            assert!(
                times == 1 || times == 0 && (is_reduced || is_gone),
                "the loop {axis} is bound {times} times:\n{self}"
            );
        }
        for store in &self.stores {
            for scalar in self.exprs.values() {
                if let Scalar::Load { buffer, at } = scalar {
                    let elsewhere = *buffer == store.buffer && *at != store.at;
                    assert!(!elsewhere, "{buffer} is read where it is not stored:\n{self}");
                }
            }
        }
        let elements = self.elements(program);
        for store in &self.stores {
            assert_eq!(elements[store.value], program.buffers[store.buffer].element, "{store:?} of:\n{self}");
        }
        self.verify_bounds(program);
        for (store, depth) in self.stores.iter().zip(self.depths()) {
            assert!(depth >= self.parallel, "threads share the loops that {store:?} is outside of:\n{self}");
            let has_points = |axis: &Axis| self.axes[*axis].as_fixed().is_some_and(|n| n > 0);
            assert!(self.domain[depth..].iter().all(has_points), "a loop within {store:?} may be empty:\n{self}");
            let mut open: BTreeSet<Axis> = self.domain[..depth].iter().copied().collect();
            self.verify_address(&store.at, &mut open);
            self.verify_open(store.value, &mut open, &mut BTreeSet::new());
        }
    }

    /// Of a buffer of fixed length nothing behind its end is touched, where loops alone say what is; what is guarded has its guard.
    fn verify_bounds(&self, program: &Program) {
        let guarded = self.exprs.values().filter_map(|scalar| match scalar {
            Scalar::Guard { body, .. } => Some(*body),
            _ => None,
        });
        let guarded = self.reached(guarded);
        let loads = self.exprs.iter().filter_map(|(expr, scalar)| match scalar {
            Scalar::Load { buffer, at } if !guarded.contains(&expr) => Some((*buffer, at)),
            _ => None,
        });
        for (buffer, at) in loads.chain(self.stores.iter().map(|store| (store.buffer, &store.at))) {
            let Some(len) = program.buffers[buffer].len.as_fixed() else { continue };
            let is_within = self.moves(at).is_none() || self.last(at).is_some_and(|last| last < len);
            let is_empty = self.axes.values().any(|n| n.as_fixed() == Some(0));
            assert!(is_within || is_empty, "{buffer} has {len} elements, and {at:?} reaches others:\n{self}");
        }
    }
    /// Ids refer to earlier entries, and to axes and buffers that exist.
    fn verify_ids(&self) {
        for (id, scalar) in self.exprs.iter() {
            assert!(scalar.operands().iter().all(|&operand| operand < id), "{id} uses what follows it: {scalar:?}");
        }
        for (id, int) in self.ints.iter() {
            assert!(int.operands().iter().all(|&operand| operand < id), "{id} uses what follows it: {int:?}");
        }
    }
    /// The element type of every expression.
    pub(crate) fn elements(&self, program: &Program) -> IndexVec<Expr, ElementType> {
        let mut elements: IndexVec<Expr, ElementType> = IndexVec::new();
        for (id, scalar) in self.exprs.iter() {
            let same = |a: &Expr, b: &Expr| {
                assert_eq!(elements[*a], elements[*b], "{id} mixes types: {scalar:?} in:\n{self}");
                elements[*a]
            };
            let element = match scalar {
                Scalar::Const(_) => ElementType::F32,
                Scalar::Load { buffer, .. } => program.buffers[*buffer].element,
                Scalar::Position(_) => ElementType::I32,
                Scalar::Convert(x) => {
                    assert_eq!(elements[*x], ElementType::I32, "{id} converts no i32:\n{self}");
                    ElementType::F32
                }
                Scalar::Unary(_, x) => {
                    assert_eq!(elements[*x], ElementType::F32, "{id} is a function of an i32:\n{self}");
                    ElementType::F32
                }
                Scalar::Binary(_, a, b) => same(a, b),
                Scalar::Compare(_, a, b) => {
                    same(a, b);
                    ElementType::F32
                }
                Scalar::Select(_, a, b) => same(a, b),
                Scalar::Reduce { body, .. } | Scalar::Guard { body, .. } => elements[*body],
                Scalar::Random { key, .. } => {
                    assert_eq!(same(&key[0], &key[1]), ElementType::I32, "{id} has a key of floats:\n{self}");
                    ElementType::F32
                }
            };
            elements.push(element);
        }
        elements
    }
    /// Every axis is used within the loop that binds it.
    fn verify_open(&self, expr: Expr, open: &mut BTreeSet<Axis>, seen: &mut BTreeSet<(Expr, Vec<Axis>)>) {
        if !seen.insert((expr, open.iter().copied().collect())) {
            return;
        }
        let scalar = &self.exprs[expr];
        if let Scalar::Reduce { axis, body, .. } = scalar {
            assert!(open.insert(*axis), "{expr} is in its own loop:\n{self}");
            self.verify_open(*body, open, seen);
            open.remove(axis);
            return;
        }
        if let Scalar::Guard { conditions, .. } = scalar {
            assert!(!conditions.is_empty(), "{expr} guards nothing:\n{self}");
        }
        scalar.ints().into_iter().for_each(|int| self.verify_int(int, open));
        for operand in scalar.operands() {
            self.verify_open(operand, open, seen);
        }
    }
    fn verify_address(&self, at: &Address, open: &mut BTreeSet<Axis>) {
        at.terms.iter().for_each(|(int, _)| self.verify_int(*int, open));
    }
    fn verify_int(&self, int: Int, open: &mut BTreeSet<Axis>) {
        match &self.ints[int] {
            IntExpr::Axis(axis) => assert!(open.contains(axis), "{int} uses {axis} outside of its loop:\n{self}"),
            IntExpr::Value(expr) => self.verify_open(*expr, open, &mut BTreeSet::new()),
            IntExpr::Const(_)
            | IntExpr::Size(_)
            | IntExpr::Add(..)
            | IntExpr::Mul(..)
            | IntExpr::Div(..)
            | IntExpr::Rem(..)
            | IntExpr::MulSize(..)
            | IntExpr::DivSize(..)
            | IntExpr::RemSize(..)
            | IntExpr::Clamp(..) => self.ints[int].operands().into_iter().for_each(|a| self.verify_int(a, open)),
        }
    }
}

impl IntExpr {
    /// The integers that it is made of.
    pub fn operands(&self) -> Few<Int> {
        match self {
            IntExpr::Const(_) | IntExpr::Axis(_) | IntExpr::Size(_) | IntExpr::Value(_) => Few::new(),
            IntExpr::Add(a, b) => smallvec![*a, *b],
            IntExpr::Mul(a, _) | IntExpr::Div(a, _) | IntExpr::Rem(a, _) | IntExpr::Clamp(a, _) => smallvec![*a],
            IntExpr::MulSize(a, _) | IntExpr::DivSize(a, _) | IntExpr::RemSize(a, _) => smallvec![*a],
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::index::Id;
    use crate::kernel::{
        Address, Axis, BufferInfo, Combine, Expr, Home, Int, IntExpr, Kernel, Program, Scalar, Step, Store,
    };
    use crate::types::{Dim, ElementType};

    /// `b1[i0] = sum(i1: b0[i0*3 + i1])`, changed by `spoil`.
    fn check(spoil: impl FnOnce(&mut Kernel)) {
        let mut program = Program::default();
        let [x, y] = [6, 2].map(|len| {
            let len = Dim::fixed(len);
            program.buffers.push(BufferInfo {
                name: String::new(),
                element: ElementType::F32,
                len,
                home: Home::Workspace,
            })
        });
        let mut kernel = Kernel { domain: vec![Axis::new(0)], parallel: 1, ..Kernel::default() };
        kernel.axes = [2, 3].map(Dim::fixed).into_iter().collect();
        let [i, j] = [0, 1].map(|axis| kernel.ints.push(IntExpr::Axis(Axis::new(axis))));
        let at = |terms: &[(Int, usize)]| Address {
            offset: Dim::fixed(0),
            terms: terms.iter().map(|(int, stride)| (*int, Dim::fixed(*stride))).collect(),
        };
        let body = kernel.exprs.push(Scalar::Load { buffer: x, at: at(&[(i, 3), (j, 1)]) });
        let sum = kernel.exprs.push(Scalar::Reduce { combine: Combine::Sum, axis: Axis::new(1), body });
        kernel.stores.push(Store { buffer: y, at: at(&[(i, 1)]), value: sum, streamed: None });
        spoil(&mut kernel);
        program.steps.push(Step::Loop(kernel));
        program.verify();
    }

    #[test]
    fn a_whole_kernel_passes() {
        check(|_| {});
    }

    #[test]
    #[should_panic(expected = "bound 0 times")]
    fn every_loop_is_bound() {
        check(|kernel| {
            kernel.domain.clear();
            kernel.parallel = 0;
        });
    }

    #[test]
    #[should_panic(expected = "is not declared")]
    fn sizes_are_declared() {
        check(|kernel| kernel.axes[Axis::new(0)] = Dim::batch());
    }

    #[test]
    #[should_panic(expected = "outside of its loop")]
    fn a_reduced_loop_ends() {
        check(|kernel| kernel.stores[0].value = Expr::new(0));
    }

    #[test]
    #[should_panic(expected = "reaches others")]
    fn reads_stay_within_buffers() {
        check(|kernel| kernel.axes[Axis::new(1)] = Dim::fixed(4));
    }

    #[test]
    #[should_panic(expected = "reaches others")]
    fn stores_stay_within_buffers() {
        check(|kernel| kernel.stores[0].at.terms[0].1 = Dim::fixed(2));
    }

    #[test]
    #[should_panic(expected = "is read where it is not stored")]
    fn points_may_run_in_any_order() {
        check(|kernel| {
            let Scalar::Load { buffer, .. } = kernel.exprs[Expr::new(0)] else { panic!("the first is a load") };
            kernel.stores[0].buffer = buffer;
        });
    }
}
