//! Matrix products, and what packs their right operands.

use std::mem::offset_of;

use cranelift_codegen::ir::{InstBuilder, Value};
use netc_runtime::abi::{MatMul, PackMatrix, Piece, RightPiece};

use super::driver::{Descriptor, Driver};
use crate::kernel::{Along, Buffer, MatMulCall, PackMatrixCall, Scan, View};
use crate::types::Dim;

/// A product ahead of a scan's steps that a step's own product may be computed with.
#[derive(Clone)]
pub(super) struct Joined {
    /// What it multiplies, which moves from step to step, and all about it.
    left: View,
    ahead: Descriptor,
    /// The result of the step's.
    result: Buffer,
    /// Not 0 if they are.
    pub(super) are_joined: Value,
}

impl Driver<'_, '_, '_> {
    /// A product; or one of the rows of so many steps, of which each begins so far from the last.
    pub(super) fn matmul(&mut self, call: &MatMulCall, steps: Option<[Value; 2]>) {
        let d = self.product(call, steps);
        if let Some(before) = self.before(call) {
            self.put(&d, offset_of!(MatMul, before), before);
        }
        let frame = self.put_epilogue(&d, offset_of!(MatMul, epilogue), call.epilogue.as_ref());
        let address = self.address_of(&d);
        self.call("netc_matmul", frame, &[address]);
    }
    /// All that describes a product but its epilogue.
    fn product(&mut self, call: &MatMulCall, steps: Option<[Value; 2]>) -> Descriptor {
        let size = size_of::<MatMul>();
        let d = self.descriptor(size);
        match steps {
            Some([steps, stride]) => {
                self.put(&d, offset_of!(MatMul, batch), steps);
                self.put(&d, offset_of!(MatMul, a_bs), stride);
            }
            None => self.put_size(&d, offset_of!(MatMul, batch), &call.batch),
        }
        for (offset, dim) in [
            (offset_of!(MatMul, m), &call.m),
            (offset_of!(MatMul, n), &call.n),
            (offset_of!(MatMul, k), &call.k),
            (offset_of!(MatMul, groups), &Dim::fixed(call.groups)),
        ] {
            self.put_size(&d, offset, dim);
        }
        for (view, base, strides) in [
            (
                &call.a,
                offset_of!(MatMul, a),
                [offset_of!(MatMul, a_bs), offset_of!(MatMul, a_rs), offset_of!(MatMul, a_cs)],
            ),
            (
                &call.b,
                offset_of!(MatMul, b),
                [offset_of!(MatMul, b_bs), offset_of!(MatMul, b_rs), offset_of!(MatMul, b_cs)],
            ),
            (&call.c, offset_of!(MatMul, c), [offset_of!(MatMul, c_bs), offset_of!(MatMul, c_rs), usize::MAX]),
        ] {
            self.put_view(&d, base, view);
            // The leading stride is there in a batch only; the columns of `c` are contiguous.
            let missing = strides.len() - view.strides.len();
            for (&offset, stride) in
                strides[missing..].iter().zip(&view.strides).filter(|(offset, _)| **offset != usize::MAX)
            {
                self.put_size(&d, offset, stride);
            }
        }
        if !call.more.is_empty() {
            let count = 1 + call.more.len();
            let pieces = self.descriptor(count * size_of::<Piece>());
            for (number, piece) in call.pieces().enumerate() {
                let at = number * size_of::<Piece>();
                self.put_view(&pieces, at + offset_of!(Piece, c), piece);
                self.put_size(&pieces, at + offset_of!(Piece, c_rs), &piece.strides[0]);
            }
            let address = self.address_of(&pieces);
            self.put(&d, offset_of!(MatMul, pieces), address);
            self.put_size(&d, offset_of!(MatMul, piece_count), &Dim::fixed(count));
        }
        if let Some(packed) = call.packed {
            let address = self.buffer(packed);
            self.put(&d, offset_of!(MatMul, packed), address);
            let accumulate = self.number(i64::from(call.accumulate));
            self.put(&d, offset_of!(MatMul, accumulate), accumulate);
            let rounded = self.number(i64::from(call.shortcuts.rounded));
            self.put(&d, offset_of!(MatMul, rounded), rounded);
            self.put_size(&d, offset_of!(MatMul, beside), &Dim::fixed(call.floats_beside()));
            let has_sums = self.has_pairs(call);
            self.put(&d, offset_of!(MatMul, has_sums), has_sums);
            if let Some(step) = self.step {
                let turned = self.builder.ins().band_imm_s(step, 1);
                self.put(&d, offset_of!(MatMul, turned), turned);
            }
        }
        d
    }

    /// Asks whether the product ahead of a scan's steps had better be computed at once with that of a step: not 0 if so. None if
    /// there are no such two.
    pub(super) fn join(&mut self, scan: &Scan) -> Option<Joined> {
        let [ahead, own] = scan.joined()?;
        let (result, left) = (own.c.buffer, ahead.a.clone());
        let [own, ahead] = [own, ahead].map(|call| self.product(call, None));
        let answer = self.descriptor(size_of::<i64>());
        let arguments = [&own, &ahead, &answer].map(|d| self.address_of(d));
        self.call("netc_matmul_joins", self.frame, &arguments);
        let are_joined = self.word_of(&answer);
        Some(Joined { left, ahead, result, are_joined })
    }
    /// The address of the product that this one is computed with, or null; none if that is known.
    fn before(&mut self, call: &MatMulCall) -> Option<Value> {
        let Joined { left, ahead, are_joined, .. } =
            self.joined.clone().filter(|joined| joined.result == call.c.buffer)?;
        self.put_view(&ahead, offset_of!(MatMul, a), &left);
        let [address, null] = [self.address_of(&ahead), self.number(0)];
        Some(self.builder.ins().select(are_joined, address, null))
    }

    pub(super) fn pack_matrix(&mut self, call: &PackMatrixCall) {
        let pieces = self.descriptor(call.pieces.len() * size_of::<RightPiece>());
        for (number, piece) in call.pieces.iter().enumerate() {
            let at = number * size_of::<RightPiece>();
            self.put_view(&pieces, at + offset_of!(RightPiece, b), piece);
            self.put_size(&pieces, at + offset_of!(RightPiece, b_rs), &piece.strides[0]);
            self.put_size(&pieces, at + offset_of!(RightPiece, b_cs), &piece.strides[1]);
        }
        let d = self.descriptor(size_of::<PackMatrix>());
        for (offset, size) in [
            (offset_of!(PackMatrix, n), call.n),
            (offset_of!(PackMatrix, k), call.k),
            (offset_of!(PackMatrix, groups), call.groups),
            (offset_of!(PackMatrix, piece_count), call.pieces.len()),
            (offset_of!(PackMatrix, in_rows), usize::from(call.along == Along::Rows)),
            (offset_of!(PackMatrix, rounds), usize::from(call.shortcuts.rounded)),
            (offset_of!(PackMatrix, beside), call.floats_beside()),
        ] {
            self.put_size(&d, offset, &Dim::fixed(size));
        }
        self.put_size(&d, offset_of!(PackMatrix, m), call.rows.as_ref().unwrap_or(&Dim::fixed(0)));
        let adds_up = self.adds_up(call);
        self.put(&d, offset_of!(PackMatrix, adds_up), adds_up);
        let pieces = self.address_of(&pieces);
        self.put(&d, offset_of!(PackMatrix, pieces), pieces);
        let [d, packed] = [self.address_of(&d), self.buffer(call.packed)];
        self.call("netc_matmul_pack", self.frame, &[d, packed]);
    }
}
