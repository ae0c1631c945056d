//! A step's product is added to what was computed ahead for it, where the step does nothing else with the two.
//!
//! The gates of a cell are functions of sums: what the input adds, computed ahead, and what the state does. Added by the
//! product as it stores its tiles, the sum lies in one place, which the cache then holds in place of two.

use netc_runtime::kernels::matmul::{are_panels, has_whole_panels, sums_len};

use crate::kernel::{
    Address, Along, BinaryFn, Buffer, Expr, Home, Kernel, MatMulCall, PackMatrixCall, Program, Scalar, Scan, Step,
    Turns,
};
use crate::types::Dim;

/// Changes products of the recurrences' steps.
pub(super) fn of_scans(program: &mut Program) {
    for at in 0..program.steps.len() {
        let Step::Scan(scan) = &program.steps[at] else { continue };
        let found = (0..scan.body.len()).find_map(|place| find(program, scan, place).map(|onto| (place, onto)));
        let Some((place, onto)) = found else { continue };
        let Step::Scan(scan) = &mut program.steps[at] else { continue };
        let Step::MatMul(call) = &mut scan.body[place] else { continue };
        add_onto(call, onto);
        let groups = call.groups;
        regroup(program, at, groups);
    }
}

/// Packs the operand of the only product ahead of a scan's steps in as many groups as that of the step's product that is added to
/// it, so that both can be computed at once, where this takes no more room.
fn regroup(program: &mut Program, at: usize, groups: usize) {
    let Step::Scan(scan) = &program.steps[at] else { return };
    let [Step::MatMul(ahead)] = scan.ahead.as_slice() else { return };
    let (Some(packed), Some(k), Some(n)) = (ahead.packed, ahead.k.as_fixed(), ahead.n.as_fixed()) else { return };
    let is_plain = ahead.groups == 1 && ahead.epilogue.is_none();
    let has_sums = ahead.shortcuts.sums && sums_len(k, n, groups) > 0;
    let fits = is_plain && has_sums && has_whole_panels(n, groups);
    let users = |step: &&Step| step.touches(packed);
    let are_two = program.prepare.iter().chain(&program.steps).filter(users).count()
        + scan.start.iter().filter(users).count()
        == 2;
    if !fits || !are_two {
        return;
    }
    let Step::Scan(scan) = &mut program.steps[at] else { return };
    let packing = program.prepare.iter_mut().chain(&mut scan.start).find_map(|step| match step {
        Step::PackMatrix(packing) if packing.packed == packed => Some(packing),
        _ => None,
    });
    let [Step::MatMul(ahead)] = scan.ahead.as_mut_slice() else { return };
    let Some(packing) = packing else { return };
    let whole = PackMatrixCall { groups, ..packing.clone() };
    if whole.along == Along::Rows || are_panels(n, whole.pieces.len(), groups) {
        program.buffers[packed].len = Dim::fixed(whole.floats());
        (*packing, ahead.groups) = (whole, groups);
    }
}

/// The slice of what was computed ahead that the product at `place` of the body can be added to.
fn find(program: &Program, scan: &Scan, place: usize) -> Option<Buffer> {
    let Step::MatMul(call) = &scan.body[place] else { return None };
    let (kernel, result) = (call.epilogue.as_ref()?, call.c.buffer);
    let users = |buffer: Buffer| program.steps.iter().filter(move |step| step.touches(buffer)).count();
    let in_scan = |buffer: Buffer| scan.steps().filter(move |step| step.touches(buffer)).count();
    let is_own = program.buffers[result].home == Home::Workspace && users(result) == 1 && in_scan(result) == 1;
    if !is_own || call.packed.is_none() || call.accumulate {
        return None;
    }
    let slice = scan.slices.iter().find(|slice| {
        let rounds = scan.slices.iter().filter(|other| other.of == slice.of);
        let is_computed_ahead = |step: &Step| {
            matches!(step, Step::MatMul(ahead) if rounds.clone().any(|other| other.buffer == ahead.c.buffer)
                && ahead.c.strides == call.c.strides && ahead.n == call.n && ahead.m == call.m)
        };
        let is_read_here = scan.body[place].touches(slice.buffer) && in_scan(slice.buffer) == 1;
        let is_plain = slice.turns == Turns::Round && slice.shift == 0 && rounds.clone().count() == 2;
        is_plain && is_read_here && users(slice.of) == 1 && scan.ahead.iter().any(is_computed_ahead)
    })?;
    let is_whole = call.c.offset.as_fixed() == Some(0) && slice.offset.as_fixed() == Some(0);
    (is_whole && sums(kernel, result, slice.buffer)?.is_complete).then_some(slice.buffer)
}

/// The sums of two buffers' elements in a kernel.
struct Sums {
    /// Of each: the sum, its other operand, and the load of the result.
    all: Vec<[Expr; 3]>,
    /// Whether both are read for these sums alone.
    is_complete: bool,
}

/// Finds `x + result[i]`, where `x` is `ahead[i]`, or that and something else.
fn sums(kernel: &Kernel, result: Buffer, ahead: Buffer) -> Option<Sums> {
    let place = |expr: Expr, of: Buffer| -> Option<&Address> {
        match &kernel.exprs[expr] {
            Scalar::Load { buffer, at } if *buffer == of => Some(at),
            _ => None,
        }
    };
    // The load of what was computed ahead, in one of two operands.
    let ahead_in = |expr: Expr| match kernel.exprs[expr] {
        Scalar::Binary(BinaryFn::Add, a, b) => [a, b].into_iter().find(|&x| place(x, ahead).is_some()),
        _ => Some(expr).filter(|&x| place(x, ahead).is_some()),
    };
    let n_uses = |expr: Expr| {
        let in_exprs: usize =
            kernel.exprs.values().map(|scalar| scalar.operands().iter().filter(|&&x| x == expr).count()).sum();
        in_exprs + kernel.stores.iter().filter(|store| store.value == expr).count()
    };
    let mut all = Vec::new();
    let mut in_sums = Vec::new();
    for (sum, scalar) in kernel.exprs.iter() {
        let Scalar::Binary(BinaryFn::Add, a, b) = *scalar else { continue };
        let [own, other] = if place(b, result).is_some() { [b, a] } else { [a, b] };
        let (Some(at), Some(x)) = (place(own, result), ahead_in(other)) else { continue };
        if place(x, ahead) != Some(at) || [own, other, x].into_iter().any(|expr| n_uses(expr) != 1 && expr != sum) {
            return None;
        }
        all.push([sum, other, own]);
        in_sums.extend([own, x]);
    }
    let loads = kernel
        .exprs
        .iter()
        .filter(|(_, scalar)| matches!(scalar, Scalar::Load { buffer, .. } if *buffer == result || *buffer == ahead));
    let is_stored = kernel.stores.iter().any(|store| store.buffer == result || store.buffer == ahead);
    let is_complete = !is_stored && !all.is_empty() && loads.count() == in_sums.len();
    Some(Sums { all, is_complete })
}

fn add_onto(call: &mut MatMulCall, ahead: Buffer) {
    let result = call.c.buffer;
    let kernel = call.epilogue.as_mut().expect("an epilogue reads the sums");
    let found = sums(kernel, result, ahead).expect("the sums were found before").all;
    for [sum, other, own] in found {
        kernel.exprs[sum] = kernel.exprs[other].clone();
        kernel.exprs[own] = Scalar::Const(0.0);
    }
    call.c.buffer = ahead;
    call.accumulate = true;
}
