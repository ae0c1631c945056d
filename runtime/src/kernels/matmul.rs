//! The matrix product: chooses between dot products, sums of rows, and the blocked products.
#![expect(unsafe_code, reason = "raw matrices of generated code")]

use crate::abi::{Frame, MatMul, PackMatrix};
use crate::scratch::{Needs, Purpose};
use crate::threads::Team;

use super::cpu::{self, Cpu};
use super::gemm::{self, Gemm};
use super::pack::Matrix;
use super::right::{Pack, Part, Pieces};
use super::simd::WIDEST;
use super::{amx, dots, fixed21, packed, rows, strassen};

/// So many rows are many: a product of them may run elsewhere than one of fewer, and then adds up in another order.
pub const MANY: usize = 12;
/// So many rows are several: a single one may read its operand rounded ([`PackMatrix::rounds`]), and takes less time so. Of two, the
/// arithmetic takes longer than reading it as it is.
pub const SEVERAL: usize = 2;

/// Of a single row, of several or of many: for which of the three an operand is packed.
pub(crate) fn class(rows: usize) -> usize {
    usize::from(rows >= SEVERAL) + usize::from(rows >= MANY)
}

/// How many floats [`netc_matmul_pack`](crate::abi::netc_matmul_pack) writes, on any CPU.
pub fn packed_len(k: usize, n: usize, groups: usize) -> usize {
    let groups = groups.max(1);
    let tiles = if amx::suits(k, n / groups) { amx::packed_len(k, n, groups) } else { 0 };
    packed::packed_len(k, n, groups) + tiles
}

/// How many floats more [`netc_matmul_pack`](crate::abi::netc_matmul_pack) writes of an operand that it rounds.
pub fn rounded_len(k: usize, n: usize, groups: usize) -> usize {
    fixed21::len(k, n, groups.max(1))
}

/// How many floats more [`netc_matmul_pack`](crate::abi::netc_matmul_pack) writes of an operand whose halves it adds up.
pub fn sums_len(k: usize, n: usize, groups: usize) -> usize {
    strassen::len(k, n, groups.max(1))
}

/// Whether each of so many equal pieces of `n` columns in `groups` runs has whole panels of its own in a packed matrix.
pub fn are_panels(n: usize, pieces: usize, groups: usize) -> bool {
    let (run, piece) = (n / groups.max(1), n / pieces.max(1));
    n.is_multiple_of(pieces.max(1))
        && (piece.is_multiple_of(run) || (run.is_multiple_of(piece) && piece.is_multiple_of(WIDEST)))
}

/// Whether each of so many runs of columns has whole panels, so that a packed matrix takes no more room for them.
pub fn has_whole_panels(n: usize, groups: usize) -> bool {
    n.is_multiple_of(groups.max(1) * WIDEST)
}

/// What a product takes at most on any CPU, for sizes up to these and any strides; `packed` if its `b` is packed.
pub(crate) fn needs(batch: usize, [m, n, k]: [usize; 3], groups: usize, packed: bool) -> Needs {
    let one = if packed {
        packed_needs(m.saturating_mul(batch), k)
    } else if groups > 1 {
        packed_needs(m, k).caller(Purpose::Shared, packed_len(k, n, groups))
    } else {
        gemm::needs(m, n, k).max(amx::split_needs(m, n, k))
    };
    if batch > 1 { one.max(one.within_a_chunk()) } else { one }
}

fn packed_needs(m: usize, k: usize) -> Needs {
    packed::needs(m, k).max(amx::needs(m, k))
}

/// # Safety
/// The descriptor's pointers are valid for its sizes, and `c` is not otherwise in use.
pub(crate) unsafe fn matmul(team: Team<'_>, frame: Frame, d: &MatMul) {
    // SAFETY: promised by the caller.
    unsafe { matmul_on(cpu::cpu(), team, frame, d) };
}

/// # Safety
/// As for [`matmul`]; `packed` has room for [`packed_len`] floats, [`rounded_len`] if it is to be rounded, and [`sums_len`] if its
/// halves are to be added up.
pub(crate) unsafe fn pack(team: Team<'_>, d: &PackMatrix, packed: *mut f32) {
    // SAFETY: promised by the caller.
    unsafe { pack_on(cpu::cpu(), team, d, packed) };
}

/// # Safety
/// As for [`pack`].
unsafe fn pack_on(cpu: Cpu, team: Team<'_>, d: &PackMatrix, packed: *mut f32) {
    let size @ [k, n] = [d.k, d.n].map(|x| x.max(0) as usize);
    let groups = d.groups.max(1) as usize;
    // SAFETY: promised by the caller.
    let all = unsafe { std::slice::from_raw_parts(d.pieces, d.piece_count.max(0) as usize) };
    let pieces = Pieces { all, size, groups, in_rows: d.in_rows != 0 };
    let rows = usize::try_from(d.m).ok().filter(|&m| m > 0);
    let beside = packed.wrapping_add(packed::packed_len(k, n, groups));
    let is_single = rows.is_some_and(|rows| class(rows) == 0);
    // SAFETY: promised by the caller.
    unsafe {
        if d.rounds != 0 && is_single && fixed21::pack(cpu, team, pieces, packed, beside) {
            return;
        }
        // A product without rows says nothing of how many others have: its operand is packed for all.
        if d.rounds != 0 && rows.is_none() {
            fixed21::round(cpu, team, pieces, packed, beside);
        }
        for part in pieces.iter() {
            pack_for(cpu, rows, Pack { team, size, groups, part, packed }, d.beside.max(0) as usize);
        }
        if d.adds_up != 0 && rows.is_none_or(|rows| class(rows) == 2) {
            let beside = beside.wrapping_add(if d.rounds != 0 { rounded_len(k, n, groups) } else { 0 });
            strassen::add_up(cpu, team, pieces, packed, beside);
        }
    }
}

/// Packs for products of so many rows, or of any number. What the matrix unit reads lies behind what vectors read, and so many floats
/// beside that: memory that no processor touches in between would cost some large pages.
unsafe fn pack_for(cpu: Cpu, rows: Option<usize>, pack: Pack<'_>, beside: usize) {
    if has_tiles(cpu, pack.size, pack.groups) {
        if rows.is_none_or(amx::takes) {
            let [k, n] = pack.size;
            let packed = pack.packed.wrapping_add(packed::packed_len(k, n, pack.groups) + beside);
            // SAFETY: promised by the caller.
            unsafe { amx::packed::pack(&Pack { packed, ..pack }) };
        }
        if rows.is_some_and(amx::takes) {
            return;
        }
    }
    cpu::run_on(cpu, pack);
}

/// Whether the matrix unit multiplies with such a packed operand, if there are rows enough.
fn has_tiles(cpu: Cpu, [k, n]: [usize; 2], groups: usize) -> bool {
    cpu == Cpu::Amx && amx::suits(k, n / groups)
}

/// The product with an operand that [`pack_for`] packed.
unsafe fn product(cpu: Cpu, p: packed::Packed<'_>, beside: usize) {
    let [k, n] = [p.g.b.rows, p.g.b.cols];
    if has_tiles(cpu, [k, n], p.groups) && amx::takes(p.g.a.rows) {
        let packed = p.packed.wrapping_add(packed::packed_len(k, n, p.groups) + beside);
        // SAFETY: promised by the caller.
        unsafe { amx::packed::product(&packed::Packed { packed, ..p }) };
        return;
    }
    cpu::run_on(cpu, p);
}

/// The product with the operand that the descriptor says is packed, of rows in runs; after the one that goes before it, or with it.
unsafe fn packed_product(cpu: Cpu, g: Gemm<'_>, d: &MatMul, runs: packed::Runs) {
    // SAFETY: promised by the caller.
    unsafe {
        let own = of_packed(cpu, g, d, runs).without_zeros();
        if d.before.is_null() {
            return product(cpu, own, beside(d));
        }
        let first = &*d.before;
        let g = Gemm { c: g.c, c_rs: g.c_rs, turned: g.turned, epilogue: None, ..operands(g.team, g.frame, first) };
        let before = of_packed(cpu, g, first, packed::Runs::one(g.a.rows));
        if own.joins(&before) {
            product(cpu, packed::Packed { before: Some(&before), ..own }, 0);
        } else {
            product(cpu, before, beside(first));
            product(cpu, own, beside(d));
        }
    }
}

/// Whether a product is better computed together with one that goes before it than both by themselves.
///
/// # Safety
/// As for [`matmul`].
pub(crate) unsafe fn joins(team: Team<'_>, frame: Frame, d: &MatMul, before: &MatMul) -> bool {
    let cpu = cpu::cpu();
    let of = |d: &MatMul| {
        let g = operands(team, frame, d);
        // SAFETY: promised by the caller.
        unsafe { of_packed(cpu, g, d, packed::Runs::one(g.a.rows)) }
    };
    let are_packed = [d, before].iter().all(|d| !d.packed.is_null() && d.batch == 1);
    are_packed && of(d).joins(&of(before))
}

/// What a product reads of the operand that the descriptor says is packed.
unsafe fn of_packed<'a>(cpu: Cpu, g: Gemm<'a>, d: &MatMul, runs: packed::Runs) -> packed::Packed<'a> {
    let (size @ [k, n], groups) = ([g.b.rows, g.b.cols], d.groups.max(1) as usize);
    let beside = d.packed.wrapping_add(packed::packed_len(k, n, groups));
    let behind = beside.wrapping_add(if d.rounded != 0 { rounded_len(k, n, groups) } else { 0 });
    let p = packed::Packed { g, groups, packed: d.packed, rounded: None, sums: None, runs, before: None };
    // SAFETY: promised by the caller.
    unsafe {
        match class(g.a.rows) {
            0 if d.rounded != 0 => packed::Packed { rounded: fixed21::Rounded::of(cpu, size, groups, beside), ..p },
            2 if d.has_sums != 0 => packed::Packed { sums: strassen::Sums::of(cpu, size, groups, behind), ..p },
            _ => p,
        }
    }
}

/// Floats beside what [`pack_for`] packed.
fn beside(d: &MatMul) -> usize {
    d.beside.max(0) as usize
}

/// # Safety
/// As for [`matmul`].
pub(crate) unsafe fn matmul_on(cpu: Cpu, team: Team<'_>, frame: Frame, d: &MatMul) {
    if d.batch <= 1 {
        // SAFETY: promised by the caller.
        unsafe {
            match d.batch {
                1 if !d.pieces.is_null() => in_pieces(cpu, team, frame, d),
                1 => one(cpu, team, frame, d),
                _ => {}
            }
        }
        return;
    }
    if !d.packed.is_null() {
        // SAFETY: promised by the caller.
        unsafe { in_runs(cpu, team, frame, d) };
        return;
    }
    let all = Batch { cpu, frame, d };
    let batch = d.batch as usize;
    let work = [d.m, d.n, d.k].map(|x| x.max(0) as usize).into_iter().fold(1, usize::saturating_mul);
    // SAFETY: promised by the caller; the products are written to disjoint places.
    let product = |team: Team<'_>, index: usize| unsafe { all.product(team, index) };
    // Whole products for each thread, unless they are few and large. Each is computed in the same way in either case.
    if work < LARGE || batch >= 4 * team.threads() {
        let each = (LARGE / 16 / work.max(1)).max(1);
        team.run(batch.div_ceil(each), |scratch, chunk| {
            let alone = Team::alone(scratch);
            (chunk * each..batch.min(chunk * each + each)).for_each(|index| product(alone, index));
        });
    } else {
        (0..batch).for_each(|index| product(team, index));
    }
}

/// Multiplications of a product that is worth several threads.
const LARGE: usize = 1 << 20;

/// The products of a batch.
struct Batch<'a> {
    cpu: Cpu,
    frame: Frame,
    d: &'a MatMul,
}

// SAFETY: threads read the operands and write disjoint results.
unsafe impl Sync for Batch<'_> {}

impl Batch<'_> {
    unsafe fn product(&self, team: Team<'_>, index: usize) {
        let d = self.d;
        let [a_bs, b_bs, c_bs] = [d.a_bs, d.b_bs, d.c_bs].map(|stride| index as isize * stride as isize);
        let (a, b, c) = (d.a.wrapping_offset(a_bs), d.b.wrapping_offset(b_bs), d.c.wrapping_offset(c_bs));
        // SAFETY: promised by the caller of `matmul`.
        unsafe { one(self.cpu, team, self.frame, &MatMul { a, b, c, ..*d }) };
    }
}

fn operands<'a>(team: Team<'a>, frame: Frame, d: &MatMul) -> Gemm<'a> {
    let [m, n, k] = [d.m, d.n, d.k].map(|x| x.max(0) as usize);
    let [a_rs, a_cs, b_rs, b_cs] = [d.a_rs, d.a_cs, d.b_rs, d.b_cs].map(|x| x as isize);
    let a = Matrix { data: d.a, rows: m, cols: k, row_stride: a_rs, col_stride: a_cs }.with_units();
    let b = Matrix { data: d.b, rows: k, cols: n, row_stride: b_rs, col_stride: b_cs }.with_units();
    Gemm {
        team,
        frame,
        a,
        b,
        c: d.c,
        c_rs: d.c_rs as isize,
        epilogue: d.epilogue,
        turned: d.turned != 0,
        accumulate: d.accumulate != 0,
        pieces: None,
    }
}

/// A product with a packed right operand, of rows in runs.
unsafe fn in_runs(cpu: Cpu, team: Team<'_>, frame: Frame, d: &MatMul) {
    let [len, stride] = [d.m, d.a_bs].map(|x| x as isize);
    let m = d.m.saturating_mul(d.batch);
    let g = operands(team, frame, &MatMul { m, ..*d });
    if m > 0 && d.n > 0 {
        // SAFETY: promised by the caller.
        unsafe { packed_product(cpu, g, d, packed::Runs { len: len as usize, stride }) };
    }
}

/// A product whose rows go to several places: by itself where its operands are packed for it, and else one for each place.
unsafe fn in_pieces(cpu: Cpu, team: Team<'_>, frame: Frame, d: &MatMul) {
    let g = operands(team, frame, d);
    let run = g.a.rows / d.piece_count.max(1) as usize;
    let g = Gemm { pieces: Some(gemm::Pieces { first: d.pieces, run }), ..g };
    if run == 0 || g.b.cols == 0 {
        return;
    }
    if g.a.row_stride == 1 && g.a.col_stride != 1 && cpu != Cpu::Amx {
        cpu::run_on(cpu, g);
        return;
    }
    for row in (0..g.a.rows).step_by(run) {
        let (c, c_rs, _) = g.result(row);
        let [m, c_rs] = [run as i64, c_rs as i64];
        let piece = MatMul { m, a: g.a.at(row, 0), c, c_rs, pieces: std::ptr::null(), ..*d };
        // SAFETY: promised by the caller; pieces are results of their own.
        unsafe { one(cpu, team, frame, &piece) };
    }
}

/// One product of the batch.
unsafe fn one(cpu: Cpu, team: Team<'_>, frame: Frame, d: &MatMul) {
    let g = operands(team, frame, d);
    let Gemm { a, b, .. } = g;
    let (m, n, k) = (a.rows, b.cols, a.cols);
    if m == 0 || n == 0 {
        return;
    }
    let groups = d.groups.max(1) as usize;
    let is_adjacent = a.row_stride == 1 && a.col_stride != 1;
    if !d.packed.is_null() {
        // SAFETY: promised by the caller.
        unsafe { packed_product(cpu, g, d, packed::Runs::one(m)) };
    } else if m <= dots::ROWS && b.row_stride == 1 && a.col_stride == 1 && k >= 32 {
        let few = dots::Dots { g, groups, left: a, right: b.transposed(), transposed: false };
        cpu::run_on(cpu, few);
    } else if n <= 4 && groups == 1 && b.row_stride == 1 && a.col_stride == 1 && k >= 32 {
        let few = dots::Dots { g, groups, left: b.transposed(), right: a, transposed: true };
        cpu::run_on(cpu, few);
    } else if m <= 4 && b.col_stride == 1 && n >= 64 {
        cpu::run_on(cpu, rows::Rows { g, groups });
    } else if groups > 1 {
        let mut packed = team.scratch.lend(Purpose::Shared, packed_len(k, n, groups));
        let whole = Pack { team, size: [k, n], groups, part: Part::whole(b), packed: packed.as_mut_ptr() };
        // SAFETY: promised by the caller.
        unsafe {
            pack_for(cpu, Some(m), whole, 0);
            let runs = packed::Runs::one(m);
            let packed = packed.as_ptr();
            product(cpu, packed::Packed { g, groups, packed, rounded: None, sums: None, runs, before: None }, 0);
        }
    } else if cpu == Cpu::Amx && amx::splits([m, n, k], is_adjacent) {
        // SAFETY: promised by the caller.
        unsafe { split(cpu, g, is_adjacent) };
    } else {
        cpu::run_on(cpu, g);
    }
}

/// A product in the matrix unit, of operands that are split for it.
unsafe fn split(cpu: Cpu, g: Gemm<'_>, is_adjacent: bool) {
    if is_adjacent {
        // SAFETY: promised by the caller.
        unsafe { amx::long::product(&g) };
        return;
    }
    let size @ [k, n] = [g.b.rows, g.b.cols];
    let mut packed = g.team.scratch.lend(Purpose::Shared, amx::packed_len(k, n, 1));
    let pack = Pack { team: g.team, size, groups: 1, part: Part::whole(g.b), packed: packed.as_mut_ptr() };
    // SAFETY: promised by the caller.
    unsafe {
        if amx::packed::pack(&pack) {
            // Columns for vectors; those pack the operand in the same memory.
            drop(packed);
            cpu::run_on(cpu, g);
        } else {
            let runs = packed::Runs::one(g.a.rows);
            amx::packed::product(&packed::Packed {
                g,
                groups: 1,
                packed: packed.as_ptr(),
                rounded: None,
                sums: None,
                runs,
                before: None,
            });
        }
    }
}

#[cfg(test)]
mod tests;
