//! Products for all steps of a recurrence become products ahead of its steps, for some steps at once.
//!
//! What an input adds to a cell's gates does not depend on the state, so that it is one matrix product for all steps
//! (`simplify::recurrence`, hoist). Its result is the largest array of a recurrence: written as a whole and read back step
//! by step it goes to memory and back. Computed for a few steps at a time, in memory that is used again, it stays in the
//! cache between.

use netc_runtime::kernels::matmul::{packed_len, sums_len};

use crate::index::Id;
use crate::kernel::{
    Address, BinaryFn, Buffer, BufferInfo, Expr, Home, Int, IntExpr, Kernel, MatMulCall, Mode, PackMatrixCall, Program,
    Scalar, Scan, Shortcuts, Slice, Step, Store, Turns, View,
};
use crate::types::{Dim, ElementType};

/// The most elements of a packed matrix. A larger one would be packed anew for each round.
const PACKED: usize = 1 << 20;

/// Moves products into the recurrences that alone read them. `is_fixed` says which buffers hold parameters that the entry
/// never changes, `allowed` what products may read in place of their weights.
pub(super) fn of_scans(program: &mut Program, is_fixed: impl Fn(Buffer) -> bool, allowed: Shortcuts) {
    let mut at = 0;
    while at < program.steps.len() {
        let Some((with, rows)) = find_scan(program, at) else {
            at += 1;
            continue;
        };
        let source = find_source(program, at, with, &rows);
        let Step::MatMul(call) = program.steps.remove(at) else { panic!("a product was found at step {at}") };
        let mut with = with - 1;
        let source = source.map(|(copy, source)| {
            program.steps.remove(copy);
            (at, with) = (at - 1, with - 1);
            source
        });
        let source = source.unwrap_or_else(|| Source { view: call.a.clone(), step: call.a.strides[0].times(&rows) });
        let packing = if call.packed.is_none() { pack(program, &call, &rows, &is_fixed, allowed) } else { None };
        attach(program, with, call, source, &rows, packing);
    }
}

/// What a product reads: the rows of one step, and how far from them the next step's are.
struct Source {
    view: View,
    step: Dim,
}

/// What the left operand of the product at `at` is copied from, in the order of the steps, and by which step of the program;
/// if nobody else reads the copy, and rows can as well be read where they are.
fn find_source(program: &Program, at: usize, with: usize, rows: &Dim) -> Option<(usize, Source)> {
    let Step::MatMul(call) = &program.steps[at] else { return None };
    let copied = call.a.buffer;
    let users: Vec<usize> = (0..program.steps.len()).filter(|&step| program.steps[step].touches(copied)).collect();
    let &[copy, user] = users.as_slice() else { return None };
    let Step::Loop(kernel) = &program.steps[copy] else { return None };
    let ([store], &[row, column]) = (kernel.stores.as_slice(), kernel.domain.as_slice()) else { return None };
    let Scalar::Load { buffer, at: from } = &kernel.exprs[store.value] else { return None };
    let is_read_later = user == at && copy < at && program.buffers[copied].home == Home::Workspace;
    let is_changed = program.steps[copy + 1..=with].iter().any(|step| step.writes(*buffer));
    if !is_read_later || is_changed || kernel.axes[column] != call.k || kernel.axes[row] != call.m {
        return None;
    }
    let stride = |at: &Address, is_it: &dyn Fn(&IntExpr) -> bool| {
        let [(_, stride)] = at.terms.iter().filter(|(int, _)| is_it(&kernel.ints[*int])).collect::<Vec<_>>()[..] else {
            return None;
        };
        Some(stride.clone())
    };
    let is_row = |int: &IntExpr| *int == IntExpr::Axis(row);
    let is_column = |int: &IntExpr| *int == IntExpr::Axis(column);
    let to = [stride(&store.at, &is_row)?, stride(&store.at, &is_column)?];
    let is_in_order = to[..] == call.a.strides && store.at.offset == call.a.offset && store.at.terms.len() == 2;
    let of_rows = |int: &Int| is_row(&kernel.ints[*int]);
    let is_step = |int: &IntExpr| matches!(int, IntExpr::DivSize(int, size) if of_rows(int) && size == rows);
    let is_member = |int: &IntExpr| matches!(int, IntExpr::RemSize(int, size) if of_rows(int) && size == rows);
    let strides = vec![stride(from, &is_member)?, stride(from, &is_column)?];
    let view = View { buffer: *buffer, offset: from.offset.clone(), strides };
    let step = stride(from, &is_step)?;
    (is_in_order && from.terms.len() == 3 && view.strides[1].is_one()).then_some((copy, Source { view, step }))
}

/// The recurrence that reads the product at `at`, and the rows of one of its steps.
fn find_scan(program: &Program, at: usize) -> Option<(usize, Dim)> {
    let Step::MatMul(call) = &program.steps[at] else { return None };
    let result = call.c.buffer;
    let (k, n) = (call.k.as_fixed()?, call.n.as_fixed()?);
    let is_whole = call.c.offset == Dim::fixed(0) && call.c.strides[0] == call.n;
    let is_plain = call.batch.is_one() && call.groups == 1 && is_whole && (call.packed.is_some() || k * n <= PACKED);
    if !is_plain || program.buffers[result].home != Home::Workspace {
        return None;
    }
    let mut users = (0..program.steps.len()).filter(|&other| other != at && program.steps[other].touches(result));
    let (Some(with), None) = (users.next(), users.next()) else { return None };
    let Step::Scan(scan) = &program.steps[with] else { return None };
    let rows = rows_of_a_step(scan, call)?;
    let epilogue = call.epilogue.as_ref();
    let is_moved = with > at && epilogue.is_none_or(|kernel| reads_own_row_alone(kernel, result));
    // What the product reads is not written meanwhile.
    let mut reads = Vec::new();
    program.steps[at].for_each_access(&mut |access| {
        if access.mode == Mode::Read && access.buffer != result {
            reads.push(access.buffer);
        }
    });
    let mut is_changed = false;
    for step in &program.steps[at + 1..=with] {
        step.for_each_access(&mut |access| is_changed |= access.mode == Mode::Write && reads.contains(&access.buffer));
    }
    (is_moved && !is_changed).then_some((with, rows))
}

/// The rows of the product that one step reads, if every step reads its own, and all do together.
fn rows_of_a_step(scan: &Scan, call: &MatMulCall) -> Option<Dim> {
    let slices: Vec<&Slice> = scan.slices.iter().filter(|slice| slice.of == call.c.buffer).collect();
    let stride = &slices.first()?.stride;
    let are_alike = |slice: &&Slice| slice.stride == *stride && slice.shift == 0 && slice.turns == Turns::All;
    let mut is_written_or_whole = false;
    for step in scan.steps() {
        step.for_each_access(&mut |access| {
            let is_slice = slices.iter().any(|slice| slice.buffer == access.buffer);
            is_written_or_whole |= access.buffer == call.c.buffer || (is_slice && access.mode == Mode::Write);
        });
    }
    let rows = stride.divided_by(&call.n)?;
    let fits = scan.length.times(&rows) == call.m && slices.iter().all(are_alike) && !is_written_or_whole;
    fits.then_some(rows)
}

/// Whether an epilogue reads nothing that depends on the row but the product itself.
fn reads_own_row_alone(kernel: &Kernel, result: Buffer) -> bool {
    let [row, column] = kernel.domain[..] else { return false };
    let is_column = |at: &Address| {
        at.terms.iter().all(|(int, _)| match kernel.ints[*int] {
            IntExpr::Axis(axis) => axis == column,
            ref other => matches!(other, IntExpr::Const(_)),
        })
    };
    let is_own = |at: &Address| {
        at.terms
            .iter()
            .all(|(int, _)| matches!(kernel.ints[*int], IntExpr::Axis(axis) if axis == row || axis == column))
    };
    kernel.stores.iter().all(|store| store.buffer == result && is_own(&store.at))
        && kernel.exprs.values().all(|scalar| match scalar {
            Scalar::Load { buffer, at } => {
                if *buffer == result {
                    is_own(at)
                } else {
                    is_column(at)
                }
            }
            Scalar::Const(_) | Scalar::Convert(_) | Scalar::Unary(..) | Scalar::Binary(..) => true,
            Scalar::Compare(..) | Scalar::Select(..) => true,
            Scalar::Position(_) | Scalar::Reduce { .. } | Scalar::Guard { .. } | Scalar::Random { .. } => false,
        })
}

/// Gives a recurrence the product, `rows` rows of the source for each step.
fn attach(
    program: &mut Program,
    with: usize,
    call: MatMulCall,
    source: Source,
    rows: &Dim,
    packing: Option<(PackMatrixCall, Home)>,
) {
    let result = call.c.buffer;
    let per_step = call.n.times(rows);
    let mut slices = Vec::new();
    let mut slice = |of: Buffer, offset: Dim, stride: Dim, turns: Turns| {
        let info = BufferInfo { home: Home::Slice { of }, ..program.buffers[of].clone() };
        let buffer = program.buffers.push(info);
        slices.push(Slice { buffer, of, offset, stride, shift: 0, turns });
        buffer
    };
    let Source { view, step } = source;
    let a = slice(view.buffer, view.offset, step, Turns::All);
    let c = slice(result, Dim::fixed(0), per_step, Turns::Round);
    let Step::Scan(scan) = &program.steps[with] else { panic!("a recurrence was found at step {with}") };
    let bias = bias_of(&call).filter(|_| reads_columns(scan, result, &call.n));
    let packed = call.packed.or(packing.as_ref().map(|(packing, _)| packing.packed));
    let shortcuts = packing.as_ref().map_or(call.shortcuts, |(packing, _)| packing.shortcuts);
    let epilogue = call.epilogue.filter(|_| bias.is_none()).map(|mut kernel| {
        let row = kernel.domain[0];
        kernel.axes[row] = rows.clone();
        let place = |buffer: Buffer| if buffer == result { c } else { buffer };
        for (_, scalar) in kernel.exprs.iter_mut() {
            if let Scalar::Load { buffer, .. } = scalar {
                *buffer = place(*buffer);
            }
        }
        kernel.stores = kernel.stores.into_iter().map(|store| Store { buffer: place(store.buffer), ..store }).collect();
        kernel
    });
    let width = call.n.clone();
    let product = MatMulCall {
        m: rows.clone(),
        a: View::whole(a, view.strides),
        c: View::whole(c, call.c.strides),
        packed,
        shortcuts,
        epilogue,
        ..call
    };
    if let Some((packing, Home::Prepared)) = &packing {
        program.prepare.push(Step::PackMatrix(packing.clone()));
    }
    let Step::Scan(scan) = &mut program.steps[with] else { panic!("a recurrence was found at step {with}") };
    scan.slices.iter_mut().filter(|slice| slice.of == result).for_each(|slice| slice.turns = Turns::Round);
    let readers = scan.slices.iter().filter(|slice| slice.of == result).map(|slice| slice.buffer);
    let readers: Vec<Buffer> = readers.collect();
    if let Some(bias) = bias {
        scan.body.iter_mut().filter_map(Step::kernel_mut).for_each(|kernel| add_bias(kernel, &readers, &width, &bias));
    }
    scan.slices.append(&mut slices);
    scan.ahead.push(Step::MatMul(product));
    if let Some((packing, Home::Workspace)) = packing {
        scan.start.push(Step::PackMatrix(packing));
    }
}

/// What is added to each row of a product, if its epilogue does nothing else: whoever reads the product can add it, and the
/// product need not be read and written once more for it.
fn bias_of(call: &MatMulCall) -> Option<View> {
    let kernel = call.epilogue.as_ref()?;
    let [store] = kernel.stores.as_slice() else { return None };
    let Scalar::Binary(BinaryFn::Add, a, b) = kernel.exprs[store.value] else { return None };
    let load = |expr: Expr| match &kernel.exprs[expr] {
        Scalar::Load { buffer, at } => Some((*buffer, at)),
        _ => None,
    };
    let (own, (buffer, at)) = (load(a)?, load(b)?);
    let along_columns = |(int, stride): &(Int, Dim)| {
        matches!(kernel.ints[*int], IntExpr::Axis(axis) if axis == kernel.domain[1]) && stride.is_one()
    };
    let is_bias = own.0 == call.c.buffer && buffer != call.c.buffer && at.terms.len() == 1;
    let is_bias = is_bias && at.terms.iter().all(along_columns) && at.offset.as_fixed().is_some();
    is_bias.then(|| View { buffer, offset: at.offset.clone(), strides: vec![Dim::ONE] })
}

/// Whether all that reads a result of rows of `width` elements are kernels of the body, in addresses that tell rows from
/// columns.
fn reads_columns(scan: &Scan, result: Buffer, width: &Dim) -> bool {
    let readers: Vec<Buffer> =
        scan.slices.iter().filter(|slice| slice.of == result).map(|slice| slice.buffer).collect();
    let reads = |step: &Step| {
        let mut n = 0;
        step.for_each_access(&mut |access| n += usize::from(readers.contains(&access.buffer)));
        n
    };
    let plain_loads = |step: &Step| {
        step.kernel().map_or(0, |kernel| {
            let is_read = |scalar: &&Scalar| {
                matches!(scalar, Scalar::Load { buffer, at } if readers.contains(buffer) && tells_columns(kernel, at, width))
            };
            kernel.exprs.values().filter(is_read).count()
        })
    };
    let outside = scan.start.iter().chain(&scan.ahead).chain(&scan.finish).map(reads).sum::<usize>();
    outside == 0 && scan.body.iter().all(|step| reads(step) == plain_loads(step))
}

/// Whether what an address reaches beside whole rows of `width` elements lies in one row.
fn tells_columns(kernel: &Kernel, at: &Address, width: &Dim) -> bool {
    let terms = at.terms.iter().filter(|(_, stride)| stride != width).cloned().collect();
    let column = kernel.last(&Address { offset: at.offset.clone(), terms });
    column.zip(width.as_fixed()).is_some_and(|(last, width)| last < width)
}

/// Adds to whatever is read of rows of `width` elements what the bias has at its column.
fn add_bias(kernel: &mut Kernel, readers: &[Buffer], width: &Dim, bias: &View) {
    // x == x + bias, of which both loads come first.
    let is_read = |scalar: &Scalar| matches!(scalar, Scalar::Load { buffer, .. } if readers.contains(buffer));
    let loads: Vec<(Expr, Scalar)> = kernel
        .exprs
        .iter()
        .filter(|(_, scalar)| is_read(scalar))
        .map(|(expr, scalar)| (expr, scalar.clone()))
        .collect();
    let mut first = Vec::new();
    for (_, scalar) in &loads {
        let Scalar::Load { at, .. } = scalar else { unreachable!("only loads were taken") };
        let terms = at.terms.iter().filter(|(_, stride)| stride != width).cloned().collect();
        let offset = Dim::fixed(at.offset.factor() + bias.offset.factor());
        first.extend([scalar.clone(), Scalar::Load { buffer: bias.buffer, at: Address { offset, terms } }]);
    }
    let (n, start) = (first.len(), kernel.insert_first(first).index());
    for (number, (expr, _)) in loads.iter().enumerate() {
        let [x, bias] = [0, 1].map(|second| Expr::new(start + 2 * number + second));
        kernel.exprs[Expr::new(expr.index() + n)] = Scalar::Binary(BinaryFn::Add, x, bias);
    }
}

/// Packs the right operand: once and for all if it never changes, else before the first step. Rounds have many rows.
fn pack(
    program: &mut Program,
    call: &MatMulCall,
    rows: &Dim,
    is_fixed: &impl Fn(Buffer) -> bool,
    allowed: Shortcuts,
) -> Option<(PackMatrixCall, Home)> {
    let (k, n) = (call.k.as_fixed()?, call.n.as_fixed()?);
    let of = call.b.buffer;
    let stays = program.buffers[of].home == Home::Prepared || is_fixed(of);
    let home = if stays { Home::Prepared } else { Home::Workspace };
    let name = format!("{} (packed)", program.buffers[of].name);
    let shortcuts = Shortcuts { sums: allowed.sums && !rows.is_one() && sums_len(k, n, 1) > 0, ..Shortcuts::default() };
    let len = Dim::fixed(packed_len(k, n, 1) + shortcuts.floats([k, n], 1));
    let packed = program.buffers.push(BufferInfo { name, element: ElementType::F32, len, home });
    let whole = PackMatrixCall::whole([k, n], 1, call.b.clone(), packed);
    let rows_of_a_step = Some(rows.clone()).filter(|_| shortcuts.sums);
    Some((PackMatrixCall { rows_of_a_step, shortcuts, ..whole }, home))
}
