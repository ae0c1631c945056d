//! Calls of the runtime, with epilogues, and how they are printed.

use super::dsl::*;
use expect_test::expect;
use netc::index::Id;
use netc::kernel::*;
use netc::types::Dim;
use netc_runtime::kernels::matmul::packed_len;

const ONE: Dim = Dim::ONE;

/// Bias and relu, in place, as an epilogue.
fn bias_relu(result: Buffer, bias: Buffer, rows: &Dim, cols: usize) -> Kernel {
    K::make(&[rows.clone(), fixed(cols)], 0, |k, i| {
        let at = [(i[0], fixed(cols)), (i[1], ONE)];
        let x = k.load(result, &at);
        let bias = k.load(bias, &[(i[1], ONE)]);
        let sum = k.binary(BinaryFn::Add, x, bias);
        let zero = k.number(0.0);
        let relu = k.binary(BinaryFn::Max, sum, zero);
        k.store(result, &at, relu);
    })
}

#[test]
fn products_with_epilogues() {
    let batch_size = Dim::batch();
    for (n, k) in [(1, 1), (5, 3), (33, 17), (64, 128)] {
        let mut p = Sketch::default();
        p.sizes(&[&batch_size]);
        let [a, b, c] = [batch_size.times(&fixed(k)), fixed(k * n), batch_size.times(&fixed(n))].map(|n| p.buffer(n));
        let bias = p.buffer(n);
        p.program.steps.push(Step::MatMul(MatMulCall {
            batch: ONE,
            m: batch_size.clone(),
            n: fixed(n),
            k: fixed(k),
            a: View::whole(a, vec![fixed(k), ONE]),
            b: View::whole(b, vec![ONE, fixed(k)]),
            c: View::whole(c, vec![fixed(n), ONE]),
            packed: None,
            groups: 1,
            more: Vec::new(),
            accumulate: false,
            shortcuts: Shortcuts::default(),
            epilogue: Some(bias_relu(c, bias, &batch_size, n)),
        }));
        for m in [0, 1, 2, 17] {
            check_with(&p.program, &batch(m), Tolerance::Sums);
        }
    }
}

/// A step of a recurrence: four runs of columns, which an epilogue combines into a state in place and an output.
fn recurrent(run: usize, k: usize, is_packed: bool) -> Program {
    let (batch_size, groups) = (Dim::batch(), 4);
    let n = groups * run;
    let mut p = Sketch::default();
    p.sizes(&[&batch_size]);
    let [a, c, state, out] = [k, n, run, run].map(|n| p.buffer(batch_size.times(&fixed(n))));
    let weight = p.buffer(k * n);
    let b = View::whole(weight, vec![fixed(n), ONE]);
    let packed = is_packed.then(|| {
        let packed = p.buffer(packed_len(k, n, groups));
        p.program.buffers[packed].home = Home::Workspace;
        p.program.steps.push(Step::PackMatrix(PackMatrixCall::whole([k, n], groups, b.clone(), packed)));
        packed
    });
    let epilogue = K::make(&[batch_size.clone(), fixed(run)], 0, |kernel, i| {
        let gates: Vec<Expr> = (0..groups)
            .map(|group| {
                let terms = vec![(i[0], fixed(n)), (i[1], ONE)];
                kernel.push(Scalar::Load { buffer: c, at: Address { offset: fixed(group * run), terms } })
            })
            .collect();
        let at = [(i[0], fixed(run)), (i[1], ONE)];
        let old = kernel.load(state, &at);
        let kept = kernel.binary(BinaryFn::Min, old, gates[0]);
        let new = kernel.binary(BinaryFn::Min, gates[1], gates[2]);
        let new = kernel.binary(BinaryFn::Max, kept, new);
        let output = kernel.binary(BinaryFn::Max, new, gates[3]);
        kernel.store(state, &at, new);
        kernel.store(out, &at, output);
    });
    p.program.steps.push(Step::MatMul(MatMulCall {
        batch: ONE,
        m: batch_size,
        n: fixed(n),
        k: fixed(k),
        a: View::whole(a, vec![fixed(k), ONE]),
        b,
        c: View::whole(c, vec![fixed(n), ONE]),
        packed,
        groups,
        more: Vec::new(),
        accumulate: false,
        shortcuts: Shortcuts::default(),
        epilogue: Some(epilogue),
    }));
    p.program
}

#[test]
fn epilogues_over_several_runs_of_columns() {
    for (run, k, is_packed) in [(1, 1, false), (5, 40, true), (17, 33, false), (17, 33, true), (64, 64, true)] {
        let program = recurrent(run, k, is_packed);
        for m in [0, 1, 2, 17] {
            check_with(&program, &batch(m), Tolerance::Sums);
        }
    }
    expect![[r#"
        sizes B
        b0: f32[40*B] external 0 `buffer 0`
        b1: f32[20*B] external 1 `buffer 1`
        b2: f32[5*B] external 2 `buffer 2`
        b3: f32[5*B] external 3 `buffer 3`
        b4: f32[800] external 4 `buffer 4`
        b5: f32[2560] workspace `buffer 5`
        run:
          b5 = pack matrix 40x20 b4[20, 1] groups 4
          b1[20, 1] = matmul Bx20x40 b0[40, 1] @ b4[20, 1] packed b5 groups 4
            then test: for i0 in 0..B, i1 in 0..5 { b2[i0*5 + i1] = e7; b3[i0*5 + i1] = max(e7, b1[15 + i0*20 + i1]) }
            where e7 = max(min(b2[i0*5 + i1], b1[i0*20 + i1]), min(b1[5 + i0*20 + i1], b1[10 + i0*20 + i1]))
    "#]]
    .assert_eq(&recurrent(5, 40, true).to_string());
}

#[test]
#[should_panic(expected = "an epilogue of groups goes over one run")]
fn an_epilogue_goes_over_its_run() {
    let mut program = recurrent(4, 3, false);
    let Some(Step::MatMul(call)) = program.steps.last_mut() else { panic!("it ends with a product") };
    call.groups = 2;
    program.verify();
}

#[test]
fn batches_of_products() {
    let (batch_size, length) = (Dim::batch(), Dim::axis("T"));
    let (rows, k) = (3, 5);
    let mut p = Sketch::default();
    p.sizes(&[&batch_size, &length]);
    let a = p.buffer(batch_size.times(&fixed(rows * k)));
    let [b, c] = [k, rows].map(|n| p.buffer(batch_size.times(&length).times(&fixed(n))));
    p.program.steps.push(Step::MatMul(MatMulCall {
        batch: batch_size,
        m: fixed(rows),
        n: length.clone(),
        k: fixed(k),
        a: View::whole(a, vec![fixed(rows * k), fixed(k), ONE]),
        b: View::whole(b, vec![length.times(&fixed(k)), ONE, fixed(k)]),
        c: View::whole(c, vec![length.times(&fixed(rows)), length, ONE]),
        packed: None,
        groups: 1,
        more: Vec::new(),
        accumulate: false,
        shortcuts: Shortcuts::default(),
        epilogue: None,
    }));
    for (n, t) in [(0, 3), (1, 7), (4, 1), (9, 20)] {
        check_with(&p.program, &batch_and_time(n, t), Tolerance::Sums);
    }
    expect![[r#"
        sizes B, T
        b0: f32[15*B] external 0 `buffer 0`
        b1: f32[5*B*T] external 1 `buffer 1`
        b2: f32[3*B*T] external 2 `buffer 2`
        run:
          b2[3*T, T, 1] = matmul B of 3xTx5 b0[15, 5, 1] @ b1[5*T, 1, 5]
    "#]]
    .assert_eq(&p.program.to_string());
}

/// A convolution over channels-last images; `packed` weights are made by `prepare`.
fn convolution(direction: Direction, is_packed: bool) -> Program {
    let batch_size = Dim::batch();
    let (c, h, w, oc, oh, ow) = (4, 5, 6, 6, 3, 3);
    let mut p = Sketch::default();
    p.sizes(&[&batch_size]);
    let [x, y] = [c * h * w, oc * oh * ow].map(|n| p.buffer(batch_size.times(&fixed(n))));
    let [weight, bias] = [oc * c / 2 * 9, oc].map(|n| p.buffer(n));
    let geometry = Geometry {
        n: batch_size.clone(),
        c,
        h: fixed(h),
        w: fixed(w),
        oc,
        oh: fixed(oh),
        ow: fixed(ow),
        kernel: [3, 3],
        stride: [2, 2],
        pad: [1, 1],
        dilation: [1, 1],
        groups: 2,
    };
    let weight = View::whole(weight, [c / 2 * 9, 9, 3, 1].map(fixed).to_vec());
    let packed = is_packed.then(|| {
        // As `netc_runtime::kernels::conv::packed_len` says.
        let packed = p.buffer(2 * 9 * 3 * 32);
        p.program.buffers[packed].home = Home::Prepared;
        p.program.prepare.push(Step::Pack(PackCall {
            direction,
            geometry: geometry.clone(),
            algorithm: Algorithm::Direct,
            weight: weight.clone(),
            packed,
        }));
        packed
    });
    let rows = batch_size.times(&fixed(oh * ow));
    let epilogue = (direction == Direction::Forward).then(|| bias_relu(y, bias, &rows, oc));
    p.program.steps.push(Step::Conv(ConvCall {
        direction,
        geometry,
        algorithm: Algorithm::Direct,
        x: View::whole(x, [h * w * c, 1, w * c, c].map(fixed).to_vec()),
        y: View::whole(y, [oh * ow * oc, 1, ow * oc, oc].map(fixed).to_vec()),
        weight,
        packed,
        pooled: false,
        positions: None,
        epilogue,
        sums: None,
    }));
    p.program
}

#[test]
fn convolutions_in_all_directions() {
    for (direction, is_packed) in [
        (Direction::Forward, false),
        (Direction::Forward, true),
        (Direction::DataGrad, false),
        (Direction::DataGrad, true),
        (Direction::WeightGrad, false),
    ] {
        let program = convolution(direction, is_packed);
        for n in [0, 1, 2] {
            check_with(&program, &batch(n), Tolerance::Sums);
        }
    }
}

#[test]
fn programs_are_printed() {
    let mut program = convolution(Direction::Forward, true);
    let y = Buffer::new(1);
    program.steps.push(Step::Loop(K::make(&[Dim::batch(), fixed(9), fixed(6)], 2, |k, i| {
        let at = [(i[0], fixed(54)), (i[1], fixed(6)), (i[2], ONE)];
        let (axis, j) = k.axis(6);
        let term = k.load(Buffer::new(0), &[(i[0], fixed(54)), (i[1], fixed(6)), (j, ONE)]);
        let term = k.unary(UnaryFn::Exp, term);
        let sum = k.reduce(Combine::Sum, axis, term);
        let square = k.binary(BinaryFn::Mul, sum, sum);
        let back = k.plus(i[1], -1);
        let x = k.load(y, &at);
        let one = k.number(1.0);
        let x = k.binary(BinaryFn::Add, x, one);
        let x = k.binary(BinaryFn::Div, square, x);
        let conditions = vec![Condition::InRange(back, fixed(8)), Condition::Multiple(back, 2)];
        let x = k.push(Scalar::Guard { conditions, body: x, otherwise: 0.0 });
        k.store(y, &at, x);
    })));
    expect![[r#"
        sizes B
        b0: f32[120*B] external 0 `buffer 0`
        b1: f32[54*B] external 1 `buffer 1`
        b2: f32[108] external 2 `buffer 2`
        b3: f32[6] external 3 `buffer 3`
        b4: f32[1728] prepared `buffer 4`
        prepare:
          b4 = pack Forward Direct b2[18, 9, 3, 1]
        run:
          b1[54, 1, 18, 6] = conv Forward Direct b0[120, 1, 24, 4], b2[18, 9, 3, 1] packed b4 x[B, 4, 5, 6] y[B, 6, 3, 3] kernel [3, 3] stride [2, 2] pad [1, 1] dilation [1, 1] groups 2
            then test: for i0 in 0..9*B, i1 in 0..6 { b1[i0*6 + i1] = max(b1[i0*6 + i1] + b3[i1], 0) }
          test: for i0 in 0..B, i1 in 0..9, i2 in 0..6 (2 parallel) { b1[i0*54 + i1*6 + i2] = if(0 <= i1 + -1 < 8 and (i1 + -1) % 2 == 0: e2 * e2 / (b1[i0*54 + i1*6 + i2] + 1), else 0) }
            where e2 = sum(i3 in 0..6: exp(b0[i0*54 + i1*6 + i3]))
    "#]].assert_eq(&program.to_string());
}

#[test]
fn rows_are_added_where_an_index_says() {
    let (rows, cols) = (9, 5);
    let mut p = Sketch::default();
    let index = p.ints(rows);
    let [source, table] = [rows * cols, 7 * cols].map(|n| p.buffer(n));
    p.program.steps.push(Step::ScatterAdd(ScatterAddCall {
        rows: fixed(rows),
        cols,
        table_rows: 7,
        index: View::whole(index, vec![ONE]),
        source: View::whole(source, vec![fixed(cols), ONE]),
        table: View::whole(table, vec![fixed(cols), ONE]),
    }));
    check(&p.program, Tolerance::Exact);
}
