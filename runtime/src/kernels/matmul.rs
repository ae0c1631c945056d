//! The matrix product: chooses between dot products, sums of rows, and the blocked products.
#![expect(unsafe_code, reason = "raw matrices of generated code")]

use crate::abi::{Frame, MatMul, PackMatrix};
use crate::scratch::{Needs, Purpose};
use crate::threads::Team;

use super::cpu::{self, Cpu};
use super::gemm::Gemm;
use super::pack::Matrix;
use super::simd::WIDEST;
use super::{dots, gemm, packed, rows};

/// How many floats [`netc_matmul_pack`](crate::abi::netc_matmul_pack) writes, on any CPU.
pub fn packed_len(k: usize, n: usize, groups: usize) -> usize {
    packed::packed_len(k, n, groups.max(1))
}

/// Whether each of so many equal pieces of `n` columns in `groups` runs has whole panels of its own in a packed matrix.
pub fn are_panels(n: usize, pieces: usize, groups: usize) -> bool {
    let (run, piece) = (n / groups.max(1), n / pieces.max(1));
    n.is_multiple_of(pieces.max(1))
        && (piece.is_multiple_of(run) || (run.is_multiple_of(piece) && piece.is_multiple_of(WIDEST)))
}

/// What a product takes at most on any CPU, for sizes up to these and any strides; `packed` if its `b` is packed.
pub(crate) fn needs(batch: usize, [m, n, k]: [usize; 3], groups: usize, packed: bool) -> Needs {
    let one = if packed {
        packed::needs(m.saturating_mul(batch), k)
    } else if groups > 1 {
        packed::needs(m, k).caller(Purpose::Shared, packed_len(k, n, groups))
    } else {
        gemm::needs(m, n, k)
    };
    if batch > 1 { one.max(one.within_a_chunk()) } else { one }
}

/// # Safety
/// The descriptor's pointers are valid for its sizes, and `c` is not otherwise in use.
pub(crate) unsafe fn matmul(team: Team<'_>, frame: Frame, d: &MatMul) {
    // SAFETY: promised by the caller.
    unsafe { matmul_on(cpu::cpu(), team, frame, d) };
}

/// # Safety
/// As for [`matmul`]; `packed` has room for [`packed_len`] floats.
pub(crate) unsafe fn pack(team: Team<'_>, d: &PackMatrix, packed: *mut f32) {
    // SAFETY: promised by the caller.
    unsafe { pack_on(cpu::cpu(), team, d, packed) };
}

/// # Safety
/// As for [`pack`].
unsafe fn pack_on(cpu: Cpu, team: Team<'_>, d: &PackMatrix, packed: *mut f32) {
    let [k, n, groups] = [d.k, d.n, d.groups.max(1)].map(|x| x.max(0) as usize);
    let [row, rows, col, cols] = [d.row, d.rows, d.col, d.cols].map(|x| x.max(0) as usize);
    let [row_stride, col_stride] = [d.b_rs, d.b_cs].map(|x| x as isize);
    let piece =
        Matrix { data: d.b, rows, cols, row_stride: unit(rows, row_stride), col_stride: unit(cols, col_stride) };
    cpu::run_on(cpu, packed::Pack { team, size: [k, n], groups, piece, first: [row, col], packed });
}

/// The stride of an axis of one element means nothing; 1 lets the faster kernels take it.
fn unit(len: usize, stride: isize) -> isize {
    if len == 1 { 1 } else { stride }
}

/// # Safety
/// As for [`matmul`].
pub(crate) unsafe fn matmul_on(cpu: Cpu, team: Team<'_>, frame: Frame, d: &MatMul) {
    if d.batch <= 1 {
        if d.batch == 1 {
            // SAFETY: promised by the caller.
            unsafe { one(cpu, team, frame, d) };
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
    let a = Matrix { data: d.a, rows: m, cols: k, row_stride: unit(m, a_rs), col_stride: unit(k, a_cs) };
    let b = Matrix { data: d.b, rows: k, cols: n, row_stride: unit(k, b_rs), col_stride: unit(n, b_cs) };
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
    }
}

/// A product with a packed right operand, of rows in runs.
unsafe fn in_runs(cpu: Cpu, team: Team<'_>, frame: Frame, d: &MatMul) {
    let [len, stride] = [d.m, d.a_bs].map(|x| x as isize);
    let m = d.m.saturating_mul(d.batch);
    let g = operands(team, frame, &MatMul { m, ..*d });
    if m > 0 && d.n > 0 {
        let runs = packed::Runs { len: len as usize, stride };
        cpu::run_on(cpu, packed::Packed { g, groups: d.groups.max(1) as usize, packed: d.packed, runs });
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
    if !d.packed.is_null() {
        cpu::run_on(cpu, packed::Packed { g, groups, packed: d.packed, runs: packed::Runs::one(m) });
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
        let whole = packed::Pack { team, size: [k, n], groups, piece: b, first: [0; 2], packed: packed.as_mut_ptr() };
        cpu::run_on(cpu, whole);
        cpu::run_on(cpu, packed::Packed { g, groups, packed: packed.as_ptr(), runs: packed::Runs::one(m) });
    } else {
        cpu::run_on(cpu, g);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MARK, Marked, assert_near, assert_within, cpus, random};
    use super::*;
    use crate::threads::Pool;

    /// A descriptor without an epilogue; strides in the order `[a_rs, a_cs, b_rs, b_cs, c_rs]`.
    fn descriptor(sizes: [usize; 3], strides: [usize; 5], a: &[f32], b: &[f32], c: &mut [f32]) -> MatMul {
        let [m, n, k] = sizes.map(|x| x as i64);
        let [a_rs, a_cs, b_rs, b_cs, c_rs] = strides.map(|x| x as i64);
        let (a, b, c, packed) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr(), std::ptr::null());
        let (groups, batch, [a_bs, b_bs, c_bs], turned, accumulate, epilogue) = (1, 1, [0; 3], 0, 0, None);
        MatMul {
            m,
            n,
            k,
            a,
            a_rs,
            a_cs,
            b,
            b_rs,
            b_cs,
            c,
            c_rs,
            packed,
            groups,
            batch,
            a_bs,
            b_bs,
            c_bs,
            turned,
            accumulate,
            epilogue,
        }
    }

    /// All of a product's right operand.
    fn whole(d: &MatMul) -> PackMatrix {
        let MatMul { k, n, groups, b, b_rs, b_cs, .. } = *d;
        PackMatrix { k, n, groups, row: 0, rows: k, col: 0, cols: n, b, b_rs, b_cs }
    }

    fn strides(transposes: usize, [m, n, k]: [usize; 3], c_rs: usize) -> [usize; 5] {
        let [a_rs, a_cs] = if transposes & 1 == 0 { [k, 1] } else { [1, m] };
        let [b_rs, b_cs] = if transposes & 2 == 0 { [n, 1] } else { [1, k] };
        [a_rs, a_cs, b_rs, b_cs, c_rs]
    }

    fn pool_frame(pool: &Pool) -> [u64; 1] {
        [(&raw const *pool) as u64]
    }

    /// A product with every choice of transposes, one and two threads, packed and not, on every instruction set.
    fn check(m: usize, n: usize, k: usize, groups: usize) {
        let all = [0, 1, 2, 3].into_iter().flat_map(|t| [(t, false), (t, true)]);
        check_with(m, n, k, groups, &all.collect::<Vec<_>>());
    }

    /// As [`check`], with some transposes alone.
    fn check_with(m: usize, n: usize, k: usize, groups: usize, ways: &[(usize, bool)]) {
        let (a, b) = (random(m * k, 0), random(k * n, 1));
        let sizes = [m, n, k];
        let c_rs = n + 3;
        for &(transposes, is_packed) in ways {
            let strides = strides(transposes, sizes, c_rs);
            let [a_rs, a_cs, b_rs, b_cs, _] = strides;
            let mut truth = vec![f64::from(7.0_f32); m * c_rs];
            for i in 0..m {
                for j in 0..n {
                    let products =
                        (0..k).map(|p| f64::from(a[i * a_rs + p * a_cs]) * f64::from(b[p * b_rs + j * b_cs]));
                    truth[i * c_rs + j] = products.sum::<f64>() * 2.0 + 1.0;
                }
            }
            for cpu in cpus() {
                let what = format!("{m}x{n}x{k} in {groups}, {cpu:?} {transposes} {is_packed}");
                let results = [1, 2, 3].map(|threads| {
                    let mut pool = Pool::new(threads);
                    let mut c = vec![7.0; m * c_rs];
                    let marked = Marked::new(&pool, c.as_mut_ptr(), c_rs, 0, 0).grouped(groups, n / groups);
                    let d = descriptor(sizes, strides, &a, &b, &mut c);
                    // Nor does the way through the columns matter.
                    let turned = (threads % 2) as i64;
                    let mut d = MatMul { groups: groups as i64, turned, epilogue: MARK, ..d };
                    let mut packed = vec![f32::NAN; if is_packed { packed_len(k, n, groups) } else { 0 }];
                    // SAFETY: the descriptor is that of the vectors.
                    unsafe {
                        if is_packed {
                            pack_on(cpu, pool.team(), &whole(&d), packed.as_mut_ptr());
                            (d.packed, d.b) = (packed.as_ptr(), std::ptr::null());
                        }
                        matmul_on(cpu, pool.team(), marked.frame(), &d);
                    }
                    assert_within(&mut pool, &needs(1, sizes, groups, is_packed), &what);
                    c
                });
                assert_near(&results[0], &truth, k, &what);
                assert!(results.iter().all(|result| *result == results[0]), "threads matter for {what}");
            }
        }
    }

    #[test]
    fn small_sizes() {
        for m in [0, 1, 2, 3, 5, 6, 7, 17] {
            for n in [0, 1, 2, 5, 8, 16, 17, 33, 130] {
                for k in [0, 1, 2, 3, 5, 17, 40] {
                    check(m, n, k, 1);
                }
            }
        }
    }

    #[test]
    fn blocks_and_their_ends() {
        for (m, n, k) in [(121, 70, 390), (250, 129, 20), (13, 1100, 400), (1, 4099, 37), (4, 515, 67), (200, 3, 100)] {
            check(m, n, k, 1);
        }
        // Rows so far apart that they are copied.
        check(20, 40, 512, 1);
    }

    /// Adjacent rows of the left operand: either operand on the left, in several slabs, blocks of rows and of columns.
    #[test]
    fn long_sums_of_adjacent_rows() {
        for (m, n, k) in [(250, 90, 2300), (135, 300, 700), (2085, 37, 520), (150, 2085, 514), (560, 530, 515)] {
            check_with(m, n, k, 1, &[(1, false), (3, false)]);
        }
    }

    #[test]
    fn a_long_inner_axis_is_split() {
        for (m, n, k) in [(9, 20, 9000), (17, 65, 5001), (64, 27, 8192)] {
            check(m, n, k, 1);
        }
    }

    #[test]
    fn the_epilogue_follows_all_runs_of_columns() {
        for (m, run, k) in [(1, 1, 5), (2, 16, 40), (3, 17, 300), (4, 150, 33), (7, 100, 64), (130, 37, 520), (9, 5, 0)]
        {
            for groups in [2, 3, 4] {
                check(m, run * groups, k, groups);
            }
        }
        check(3, 4 * 4100, 8, 4);
    }

    #[test]
    fn a_packed_row_does_not_depend_on_other_rows() {
        let [m, n, k] = [23, 90, 530];
        let (a, b) = (random(m * k, 0), random(k * n, 1));
        let pool = Pool::new(2);
        let words = pool_frame(&pool);
        let frame = Frame::new(words.as_ptr());
        for cpu in cpus() {
            let mut packed = vec![f32::NAN; packed_len(k, n, 1)];
            let mut product = |rows: usize, a: &[f32]| {
                let mut c = vec![0.0; rows * n];
                let mut d = descriptor([rows, n, k], strides(0, [rows, n, k], n), a, &b, &mut c);
                // SAFETY: the descriptor is that of the vectors.
                unsafe {
                    pack_on(cpu, pool.team(), &whole(&d), packed.as_mut_ptr());
                    d.packed = packed.as_ptr();
                    matmul_on(cpu, pool.team(), frame, &d);
                }
                c
            };
            let whole = product(m, &a);
            for rows in [1, 2, 3, 5, 8] {
                for first in (0..m - rows).step_by(rows) {
                    let part = product(rows, &a[first * k..][..rows * k]);
                    assert_eq!(part, whole[first * n..][..rows * n], "{rows} rows from {first} on {cpu:?}");
                }
            }
        }
    }

    #[test]
    fn rows_in_runs_are_as_behind_one_another() {
        for (runs, sizes @ [m, n, k], groups) in
            [(3, [5, 96, 40], 1), (40, [7, 70, 33], 2), (2, [64, 40, 512], 1), (9, [1, 48, 600], 3), (0, [2, 3, 4], 1)]
        {
            let b = random(k * n, 1);
            // Rows far apart, of which those of all runs lie between each other; and columns apart.
            for [a_bs, a_rs, a_cs] in [[k, runs * k, 1], [512, 1024, 1], [1, runs.max(1), runs * m + 3]] {
                let a = random(runs * a_bs + m * a_rs + k * a_cs, 0);
                for (cpu, threads) in cpus().into_iter().flat_map(|cpu| [(cpu, 1), (cpu, 3)]) {
                    let mut pool = Pool::new(threads);
                    let [mut all, mut each] = [(); 2].map(|()| vec![7.0; runs * m * n]);
                    let marked = Marked::new(&pool, all.as_mut_ptr(), n, 0, 0).grouped(groups, n / groups);
                    let d = descriptor(sizes, [a_rs, a_cs, n, 1, n], &a, &b, &mut all);
                    let mut packed = vec![f32::NAN; packed_len(k, n, groups)];
                    let mut d = MatMul { groups: groups as i64, epilogue: MARK, ..d };
                    // SAFETY: the descriptors are those of the vectors.
                    unsafe { pack_on(cpu, pool.team(), &whole(&d), packed.as_mut_ptr()) };
                    d.packed = packed.as_ptr();
                    let batch = MatMul { batch: runs as i64, a_bs: a_bs as i64, ..d };
                    // SAFETY: as above.
                    unsafe { matmul_on(cpu, pool.team(), marked.frame(), &batch) };
                    for run in 0..runs {
                        let c = each[run * m * n..].as_mut_ptr();
                        let marked = Marked::new(&pool, c, n, 0, 0).grouped(groups, n / groups);
                        // SAFETY: as above.
                        unsafe {
                            matmul_on(cpu, pool.team(), marked.frame(), &MatMul { a: d.a.add(run * a_bs), c, ..d });
                        };
                    }
                    assert_within(&mut pool, &needs(runs.max(1), sizes, groups, true), "runs");
                    assert_eq!(all, each, "{runs} of {sizes:?}, {a_rs} and {a_cs}, on {cpu:?}");
                }
            }
        }
    }

    #[test]
    fn pieces_are_packed_as_the_whole() {
        // Whole groups, parts of one, and rows in several blocks of the K loop.
        let cases =
            [([70, 192], 4, [70, 48]), ([70, 192], 4, [70, 96]), ([33, 256], 1, [33, 64]), ([1200, 50], 2, [400, 50])];
        for ([k, n], groups, [rows, cols]) in cases {
            assert!(rows < k || are_panels(n, n / cols, groups));
            for (cpu, transposed) in cpus().into_iter().flat_map(|cpu| [(cpu, false), (cpu, true)]) {
                let b = random(k * n, 1);
                let [b_rs, b_cs] = if transposed { [1, k] } else { [n, 1] };
                let pool = Pool::new(2);
                let len = packed_len(k, n, groups);
                let [mut all, mut pieces] = [(); 2].map(|()| vec![7.0_f32; len]);
                let [k, n, groups, rows, cols] = [k, n, groups, rows, cols].map(|x| x as i64);
                let (b, [b_rs, b_cs]) = (b.as_ptr(), [b_rs, b_cs].map(|x| x as i64));
                let d = PackMatrix { k, n, groups, row: 0, rows: k, col: 0, cols: n, b, b_rs, b_cs };
                // SAFETY: the descriptors are those of the vectors.
                unsafe { pack_on(cpu, pool.team(), &d, all.as_mut_ptr()) };
                for (row, col) in (0..k / rows).flat_map(|i| (0..n / cols).map(move |j| (i * rows, j * cols))) {
                    let b = b.wrapping_offset((row * b_rs + col * b_cs) as isize);
                    // SAFETY: as above.
                    unsafe {
                        pack_on(cpu, pool.team(), &PackMatrix { row, rows, col, cols, b, ..d }, pieces.as_mut_ptr());
                    };
                }
                assert_eq!(all, pieces, "{k}x{n} in {groups}, pieces of {rows}x{cols}, {transposed} on {cpu:?}");
            }
        }
        assert!(!are_panels(192, 3, 2) && !are_panels(96, 3, 1) && are_panels(256, 4, 1) && are_panels(100, 2, 4));
    }

    #[test]
    fn a_batch_is_its_products() {
        for (batch, sizes) in [(0, [2, 3, 4]), (2, [130, 90, 100]), (37, [5, 9, 40]), (9, [20, 33, 7]), (3, [0, 2, 2])]
        {
            let [m, n, k] = sizes;
            let (a_bs, b_bs, c_bs) = (m * k + 5, k * n, m * n + 1);
            let (a, b) = (random(batch * a_bs, 0), random(batch * b_bs, 1));
            for (cpu, transposes) in cpus().into_iter().flat_map(|cpu| [0, 1, 2, 3].map(|t| (cpu, t))) {
                for threads in [1, 2] {
                    let mut pool = Pool::new(threads);
                    let words = pool_frame(&pool);
                    let frame = Frame::new(words.as_ptr());
                    let [mut all, mut each] = [(); 2].map(|()| vec![7.0; batch * c_bs]);
                    let strides = strides(transposes, sizes, n);
                    let d = descriptor(sizes, strides, &a, &b, &mut all);
                    let [a_bs_word, b_bs_word, c_bs_word] = [a_bs, b_bs, c_bs].map(|x| x as i64);
                    let d = MatMul { batch: batch as i64, a_bs: a_bs_word, b_bs: b_bs_word, c_bs: c_bs_word, ..d };
                    // SAFETY: the descriptors are those of the vectors.
                    unsafe { matmul_on(cpu, pool.team(), frame, &d) };
                    for i in 0..batch {
                        let d = descriptor(sizes, strides, &a[i * a_bs..], &b[i * b_bs..], &mut each[i * c_bs..]);
                        // SAFETY: as above.
                        unsafe { matmul_on(cpu, pool.team(), frame, &d) };
                    }
                    assert_within(&mut pool, &needs(batch, sizes, 1, false), "a batch");
                    assert_eq!(all, each, "{batch} of {sizes:?}, {transposes}, on {cpu:?}");
                }
            }
        }
    }
}
