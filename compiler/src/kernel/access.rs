//! What a step reads and writes, and which sizes it mentions.

use smallvec::smallvec;

use super::{
    Address, Axis, Buffer, ColumnSums, Condition, Geometry, Int, IntExpr, Kernel, Program, Scalar, Scan, Step, View,
};
use crate::index::Few;
use crate::types::Dim;

/// One step's use of one buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    pub buffer: Buffer,
    pub mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Read,
    Write,
}

impl Step {
    /// Calls `visit` with every buffer that the step touches; reads first.
    pub fn for_each_access(&self, visit: &mut dyn FnMut(Access)) {
        let mut read = |buffer: Buffer| visit(Access { buffer, mode: Mode::Read });
        match self {
            Step::Loop(kernel) => kernel.for_each_access(visit),
            Step::MatMul(call) => {
                read(call.a.buffer);
                read(call.packed.unwrap_or(call.b.buffer));
                if call.accumulate {
                    read(call.c.buffer);
                }
                call.pieces().for_each(|piece| visit(Access { buffer: piece.buffer, mode: Mode::Write }));
                if let Some(epilogue) = &call.epilogue {
                    epilogue.for_each_access(visit);
                }
            }
            Step::Conv(call) => {
                use super::Direction;
                let reads = match call.direction {
                    Direction::Forward => [&call.x, &call.weight],
                    Direction::DataGrad => [&call.y, &call.weight],
                    Direction::WeightGrad => [&call.x, &call.y],
                };
                reads.into_iter().for_each(|view| read(view.buffer));
                call.packed.into_iter().for_each(read);
                let written = [call.result()].into_iter().chain(&call.positions);
                written.for_each(|view| visit(Access { buffer: view.buffer, mode: Mode::Write }));
                if let Some(epilogue) = &call.epilogue {
                    epilogue.for_each_access(visit);
                }
                if let Some(sums) = &call.sums {
                    sums.for_each_access(visit);
                }
            }
            Step::Pack(call) => {
                read(call.weight.buffer);
                visit(Access { buffer: call.packed, mode: Mode::Write });
            }
            Step::PackMatrix(call) => {
                call.pieces.iter().for_each(|piece| read(piece.buffer));
                visit(Access { buffer: call.packed, mode: Mode::Write });
            }
            Step::ScatterAdd(call) => {
                read(call.index.buffer);
                read(call.source.buffer);
                visit(Access { buffer: call.table.buffer, mode: Mode::Write });
            }
            Step::Scan(scan) => {
                // Who looks from outside sees the buffers that the slices are of.
                let of = |buffer: Buffer| {
                    let slice = scan.slices.iter().find(|slice| slice.buffer == buffer);
                    slice.map_or(buffer, |slice| slice.of)
                };
                let mut visit = |access: Access| visit(Access { buffer: of(access.buffer), ..access });
                scan.steps().for_each(|step| step.for_each_access(&mut visit));
            }
        }
    }

    /// Whether the step reads or writes a buffer.
    pub fn touches(&self, buffer: Buffer) -> bool {
        self.has_access(|access| access.buffer == buffer)
    }
    /// Whether the step reads a buffer.
    pub fn reads(&self, buffer: Buffer) -> bool {
        self.has_access(|access| access == Access { buffer, mode: Mode::Read })
    }
    /// Whether the step writes a buffer.
    pub fn writes(&self, buffer: Buffer) -> bool {
        self.has_access(|access| access == Access { buffer, mode: Mode::Write })
    }
    fn has_access(&self, is_it: impl Fn(Access) -> bool) -> bool {
        let mut has = false;
        self.for_each_access(&mut |access| has |= is_it(access));
        has
    }

    /// The step's kernel: its own, or its epilogue.
    pub fn kernel(&self) -> Option<&Kernel> {
        match self {
            Step::Loop(kernel) => Some(kernel),
            Step::MatMul(call) => call.epilogue.as_ref(),
            Step::Conv(call) => call.epilogue.as_ref(),
            Step::Pack(_) | Step::PackMatrix(_) | Step::ScatterAdd(_) | Step::Scan(_) => None,
        }
    }
    /// As [`Step::kernel`].
    pub fn kernel_mut(&mut self) -> Option<&mut Kernel> {
        match self {
            Step::Loop(kernel) => Some(kernel),
            Step::MatMul(call) => call.epilogue.as_mut(),
            Step::Conv(call) => call.epilogue.as_mut(),
            Step::Pack(_) | Step::PackMatrix(_) | Step::ScatterAdd(_) | Step::Scan(_) => None,
        }
    }

    /// Calls `visit` with every size that the step mentions.
    pub fn for_each_dim(&self, visit: &mut impl FnMut(&Dim)) {
        match self {
            Step::Loop(kernel) => kernel.for_each_dim(visit),
            Step::MatMul(call) => {
                [&call.batch, &call.m, &call.n, &call.k].into_iter().for_each(&mut *visit);
                [&call.a, &call.b].into_iter().chain(call.pieces()).for_each(|view| view.for_each_dim(visit));
                call.epilogue.iter().for_each(|kernel| kernel.for_each_dim(visit));
            }
            Step::Conv(call) => {
                call.geometry.for_each_dim(visit);
                let others = call.sums.iter().flat_map(ColumnSums::products).map(|product| &product.other);
                let views = [&call.x, &call.y, &call.weight].into_iter().chain(&call.positions).chain(others);
                views.for_each(|view| view.for_each_dim(visit));
                call.epilogue.iter().for_each(|kernel| kernel.for_each_dim(visit));
            }
            Step::Pack(call) => {
                call.geometry.for_each_dim(visit);
                call.weight.for_each_dim(visit);
            }
            Step::PackMatrix(call) => {
                call.pieces.iter().for_each(|piece| piece.for_each_dim(visit));
                call.rows.iter().chain(&call.rows_of_a_step).for_each(visit);
            }
            Step::ScatterAdd(call) => {
                visit(&call.rows);
                [&call.index, &call.source, &call.table].into_iter().for_each(|view| view.for_each_dim(visit));
            }
            Step::Scan(scan) => {
                visit(&scan.length);
                scan.slices.iter().flat_map(|slice| [&slice.offset, &slice.stride]).for_each(&mut *visit);
                scan.steps().for_each(|step| step.for_each_dim(visit));
            }
        }
    }
}

impl Program {
    /// The rows of products whose operands are prepared for one of them, for several ([`netc_runtime::kernels::matmul::SEVERAL`]) or
    /// for many ([`netc_runtime::kernels::matmul::MANY`]), each number once. What is prepared for some stays when it is prepared for
    /// others, too.
    pub fn prepared_rows(&self) -> Vec<&Dim> {
        let mut rows: Vec<&Dim> = Vec::new();
        for step in &self.prepare {
            let Step::PackMatrix(call) = step else { continue };
            let of_call = call.rows.iter().chain(&call.rows_of_a_step).filter(|rows| rows.as_fixed().is_none());
            for new in of_call {
                if !rows.contains(&new) {
                    rows.push(new);
                }
            }
        }
        rows
    }
}

impl Scan {
    /// The steps before, in and after the loop.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.start.iter().chain(&self.ahead).chain(&self.body).chain(&self.finish)
    }
}

impl Kernel {
    fn for_each_access(&self, visit: &mut dyn FnMut(Access)) {
        for scalar in self.exprs.values() {
            if let Scalar::Load { buffer, .. } = scalar {
                visit(Access { buffer: *buffer, mode: Mode::Read });
            }
        }
        for store in &self.stores {
            visit(Access { buffer: store.buffer, mode: Mode::Write });
        }
    }
    /// The integers that are used outside of addresses.
    pub fn ints_outside_addresses(&self) -> Vec<Int> {
        let outside = self.exprs.values().filter(|scalar| !matches!(scalar, Scalar::Load { .. }));
        outside.flat_map(Scalar::ints).collect()
    }
    pub(super) fn for_each_dim(&self, visit: &mut impl FnMut(&Dim)) {
        self.axes.values().for_each(&mut *visit);
        for int in self.ints.values() {
            if let IntExpr::Size(dim) | IntExpr::MulSize(_, dim) | IntExpr::DivSize(_, dim) | IntExpr::RemSize(_, dim) =
                int
            {
                visit(dim);
            }
        }
        for scalar in self.exprs.values() {
            match scalar {
                Scalar::Load { at, .. } => at.for_each_dim(visit),
                Scalar::Guard { conditions, .. } => {
                    for condition in conditions {
                        if let Condition::InRange(_, limit) = condition {
                            visit(limit);
                        }
                    }
                }
                Scalar::Const(_)
                | Scalar::Position(_)
                | Scalar::Convert(_)
                | Scalar::Unary(..)
                | Scalar::Binary(..)
                | Scalar::Compare(..)
                | Scalar::Select(..)
                | Scalar::Reduce { .. }
                | Scalar::Random { .. } => {}
            }
        }
        self.stores.iter().for_each(|store| store.at.for_each_dim(visit));
    }
}

impl Kernel {
    /// How an address moves along loops, each by its stride, unless it does so in another way.
    pub fn moves(&self, at: &Address) -> Option<Vec<(Axis, Dim)>> {
        let along = |(int, stride): &(Int, Dim)| match self.ints[*int] {
            IntExpr::Axis(axis) => Some((axis, stride.clone())),
            _ => None,
        };
        at.terms.iter().map(along).collect()
    }
    /// The last element that an address reaches, if that is fixed: all loops that it moves along are, and it moves along no
    /// others.
    pub fn last(&self, at: &Address) -> Option<usize> {
        self.moves(at)?.iter().try_fold(at.offset.as_fixed()?, |last, (axis, stride)| {
            let steps = self.axes[*axis].as_fixed()?.saturating_sub(1);
            stride.as_fixed()?.checked_mul(steps)?.checked_add(last)
        })
    }
}

impl Scalar {
    /// The integers that it uses itself, in an address or as they are.
    pub fn ints(&self) -> Few<Int> {
        match self {
            Scalar::Load { at, .. } => at.terms.iter().map(|(int, _)| *int).collect(),
            Scalar::Position(int) | Scalar::Random { index: int, .. } => smallvec![*int],
            Scalar::Guard { conditions, .. } => conditions.iter().map(Condition::int).collect(),
            Scalar::Const(_)
            | Scalar::Convert(_)
            | Scalar::Unary(..)
            | Scalar::Binary(..)
            | Scalar::Compare(..)
            | Scalar::Select(..)
            | Scalar::Reduce { .. } => Few::new(),
        }
    }
}

impl Address {
    fn for_each_dim(&self, visit: &mut impl FnMut(&Dim)) {
        visit(&self.offset);
        self.terms.iter().for_each(|(_, stride)| visit(stride));
    }
}

impl View {
    fn for_each_dim(&self, visit: &mut impl FnMut(&Dim)) {
        visit(&self.offset);
        self.strides.iter().for_each(visit);
    }
}

impl Geometry {
    fn for_each_dim(&self, visit: &mut impl FnMut(&Dim)) {
        [&self.n, &self.h, &self.w, &self.oh, &self.ow].into_iter().for_each(visit);
    }
}
