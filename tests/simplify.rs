//! What `simplify` makes of small graphs, and that it keeps the meaning of random ones.

use netc::graph::{Builder, Graph, Output, OutputRole, Var};
use netc::index::IndexVec;
use netc::interp::{Precision, Scope, Tensor, eval};
use netc::kernel::{BinaryFn, Combine, CompareFn, UnaryFn};
use netc::ops::{Gather, MatMul, Role, Source, Window, WindowArgMax, WindowReduce, WindowSpread};
use netc::simplify::simplify;
use netc::simplify::tables::multiply_tables;
use netc::types::{Dim, Extents, Symbol, TensorType};

/// Builds a graph over `x: f32[B, 3]` and `s: f32[1, 3]` and compares its simple form.
fn check(build: impl for<'b> Fn(Var<'b>, Var<'b>) -> Var<'b>, expected: &str) {
    let builder = Builder::default();
    let x = builder.source(Role::Input, "x", TensorType::f32([Dim::batch(), Dim::fixed(3)]));
    let s = builder.source(Role::Input, "s", TensorType::f32([1, 3]));
    let y = build(x, s);
    output(y, "y");
    let simple = simplify(&builder.finish()).to_string();
    let shown: Vec<&str> = simple.lines().filter(|line| !line.contains("= input")).collect();
    assert_eq!(shown.join("\n"), expected.trim_end());
}

fn output(var: Var<'_>, name: &str) {
    var.builder.add_output(Output { role: OutputRole::Output, name: name.to_owned(), value: var.id });
}

#[test]
fn identities_vanish() {
    let builds: [for<'b> fn(Var<'b>) -> Var<'b>; 14] = [
        |x| x + 0.0,
        |x| 0.0 + x,
        |x| x - 0.0,
        |x| 1.0 * x,
        |x| x / 1.0,
        |x| -(-x),
        |x| -(0.0 - x),
        |x| -(x * -1.0),
        |x| x.maximum(x),
        |x| x.transpose(&[1, 0]).transpose(&[1, 0]),
        |x| x.reshape(&[Dim::batch().times(&Dim::fixed(3))]).reshape(&[Dim::batch(), Dim::fixed(3)]),
        |x| x.pad(1, 2, Dim::fixed(7)).slice(1, 2, Dim::fixed(3)),
        |x| x.builder.scalar(2.0).select(x, x + x),
        |x| Var::concat(&[x.exp(), x], 1).expect("two parts").slice(1, 3, Dim::fixed(3)),
    ];
    for build in builds {
        check(|x, _| build(x), "output y = %0");
    }
}

#[test]
fn signs_move_into_sums() {
    check(|x, _| x + -x.exp(), "%1: f32[B, 3] = exp(%0)\n%2: f32[B, 3] = sub(%0, %1)\noutput y = %2");
    check(|x, _| -(x.exp() - x), "%1: f32[B, 3] = exp(%0)\n%2: f32[B, 3] = sub(%0, %1)\noutput y = %2");
    check(|x, _| -(x * 3.0), "%1: f32[B, 3] = -3\n%2: f32[B, 3] = mul(%0, %1)\noutput y = %2");
}

#[test]
fn constants_fold() {
    check(
        |x, _| x * (x.builder.scalar(4.0).sqrt() + 1.0),
        "%1: f32[B, 3] = 3\n%2: f32[B, 3] = mul(%0, %1)\noutput y = %2",
    );
    check(|x, _| x / 8.0, "%1: f32[B, 3] = 0.125\n%2: f32[B, 3] = mul(%0, %1)\noutput y = %2");
    // Zero times what may be infinite stays.
    check(|x, _| x * 0.0, "%1: f32[B, 3] = 0\n%2: f32[B, 3] = mul(%0, %1)\noutput y = %2");
    check(|x, _| x.compare(CompareFn::Gt, x.builder.scalar(1.0)) * 0.0, "%0: f32[B, 3] = 0\noutput y = %0");
}

#[test]
fn parts_of_parts_are_parts() {
    let expected = "%1: f32[B, 1] = slice(%0) axis 1 from 2\noutput y = %1";
    check(|x, _| x.slice(1, 1, Dim::fixed(2)).slice(1, 1, Dim::ONE), expected);
    check(|x, _| joined(x).slice(1, 2, Dim::ONE), expected);
    let expected = "%1: f32[B, 3] = neg(%0)\n%2: f32[B, 1] = slice(%1) axis 1 from 2\noutput y = %2";
    check(|x, _| joined(x).slice(1, 5, Dim::ONE), expected);
}

/// The gradient of a pool after relu: a mask is taken of the largest, and what is added up is a number for each window.
#[test]
fn gradients_of_pools_are_those_of_the_largest() {
    let window = Window { kernel: [2, 2], stride: [2, 2], pad: [0, 0] };
    for turned in [false, true] {
        let builder = Builder::default();
        let map = |name: &str, len: usize| {
            builder.source(Role::Input, name, TensorType::f32([Dim::batch(), 3.into(), len.into(), len.into()]))
        };
        let (x, d) = (map("x", 8), map("d", 4));
        let largest = builder.emit(WindowReduce { combine: Combine::Max, window }, &[x]);
        let chosen = builder.emit(WindowArgMax { window }, &[x, largest]);
        let spread = builder.emit(WindowSpread { window, image: [8.into(), 8.into()] }, &[d, chosen]);
        let mask = x.compare(CompareFn::Gt, builder.scalar(0.0));
        let masked = if turned { mask * spread } else { spread * mask };
        output(masked, "y");
        output(masked.sum(&[0, 2, 3]), "sum");
        output(masked.sum(&[0, 3]), "rows");
        let simple = simplify(&builder.finish()).to_string();
        let expected = "\
%0: f32[B, 3, 8, 8] = input x
%1: f32[B, 3, 4, 4] = input d
%2: f32[B, 3, 4, 4] = window max(%0) kernel 2x2 stride 2x2
%3: f32[B, 3, 4, 4] = window argmax(%0, %2) kernel 2x2 stride 2x2
%4: f32[B, 3, 4, 4] = 0
%5: f32[B, 3, 4, 4] = greater(%2, %4)
%6: f32[B, 3, 4, 4] = mul(%1, %5)
%7: f32[B, 3, 8, 8] = window spread(%6, %3) kernel 2x2 stride 2x2
%8: f32[1, 3, 1, 1] = sum(%6) over 0, 2, 3
%9: f32[1, 3, 8, 1] = sum(%7) over 0, 3
output y = %7
output sum = %8
output rows = %9
";
        assert_eq!(simple, expected);
    }
}

#[test]
fn tables_are_multiplied_with_what_is_added() {
    for is_first in [false, true] {
        let builder = Builder::default();
        let text = builder.source(Role::Input, "text", TensorType::i32([Dim::batch()]));
        let [table, weight, bias] = [[7, 16], [16, 5], [1, 5]].map(TensorType::f32);
        let [table, weight] =
            [("table", table), ("weight", weight)].map(|(name, ty)| builder.source(Role::Param, name, ty));
        let rows = builder.emit(Gather, &[table, text]);
        let products = builder.emit(MatMul { transpose: [false, false] }, &[rows, weight]);
        let bias = builder.source(Role::Param, "bias", bias);
        output(if is_first { bias + products } else { products + bias }, "y");
        let simple = simplify(&multiply_tables(&builder.finish(), &Extents::with_batch(14))).to_string();
        let expected = "\
%0: i32[B] = input text
%1: f32[7, 16] = param table
%2: f32[16, 5] = param weight
%3: f32[7, 5] = matmul(%1, %2)
%4: f32[1, 5] = param bias
%5: f32[7, 5] = broadcast(%4)
%6: f32[7, 5] = add(%3, %5)
%7: f32[B, 5] = gather(%6, %0)
output y = %7
";
        assert_eq!(simple, expected);
    }
}

#[test]
fn gradients_of_masks_stay() {
    let expected = "\
%1: f32[B, 3] = exp(%0)
%2: f32[B, 3] = 0
%3: f32[B, 3] = greater(%0, %2)
%4: f32[B, 3] = mul(%1, %3)
output y = %4";
    check(|x, _| x.exp() * x.compare(CompareFn::Gt, x.builder.scalar(0.0)), expected);
}

#[test]
fn equal_expressions_are_one() {
    let expected = "\
%1: f32[B, 3] = exp(%0)
%2: f32[B, 3] = mul(%0, %1)
%3: f32[B, 3] = add(%2, %2)
output y = %3";
    check(|x, _| x * x.exp() + x.exp() * x, expected);
}

#[test]
fn broadcasts_come_last_and_leave_sums() {
    let expected = "\
%1: f32[1, 3] = exp(%0)
%2: f32[1, 3] = 2
%3: f32[1, 3] = mul(%1, %2)
%4: f32[B, 3] = broadcast(%3)
output y = %4";
    check(|x, s| s.broadcast_to(&x.shape()).exp() * 2.0, expected);
    let expected = "\
%1: f32[] = size B
%2: f32[1, 1] = reshape(%1)
%3: f32[1, 3] = broadcast(%2)
%4: f32[1, 3] = mul(%0, %3)
output y = %4";
    check(|x, s| s.broadcast_to(&x.shape()).sum(&[0]), expected);
    let expected = "%1: f32[1, 1] = sum(%0) over 0, 1\noutput y = %1";
    check(|x, _| x.sum(&[0]).sum(&[0, 1]), expected);
}

#[test]
fn products_transpose_themselves() {
    let expected = "%1: f32[3, 3] = matmul(%0, %0) transpose left\noutput y = %1";
    check(|x, _| x.builder.emit(MatMul { transpose: [true, true] }, &[x, x.transpose(&[1, 0])]), expected);
}

#[test]
fn random_graphs_keep_their_meaning() {
    for seed in 0..300 {
        let graph = random_graph(seed);
        let simple = simplify(&graph);
        for (batch, length) in [(2, 3), (1, 1), (0, 2)] {
            let mut extents = Extents::with_batch(batch);
            extents.set(Symbol::Axis("T".into()), length);
            let scope = Scope::new(extents, Precision::F64);
            let run = |graph: &Graph| -> IndexVec<_, Tensor> { eval(graph, &|source| sample(source, &scope), &scope) };
            let (before, after) = (run(&graph), run(&simple));
            for (old, new) in graph.outputs.iter().zip(&simple.outputs) {
                for (x, y) in before[old.value].data.iter().zip(&after[new.value].data) {
                    let close = !x.is_finite() || (x - y).abs() <= 1e-4 * (1.0 + x.abs());
                    assert!(close, "seed {seed}, {}: {x} became {y}\n{graph}\nbecame\n{simple}", old.name);
                }
            }
        }
    }
}

#[test]
fn large_graphs_take_little_time() {
    let builder = Builder::default();
    let mut x = builder.source(Role::Input, "x", TensorType::f32([Dim::batch(), Dim::fixed(3)]));
    for layer in 0..1000 {
        let s = builder.source(Role::Param, &format!("s{layer}"), TensorType::f32([1, 3]));
        x = (x * s + 0.5).maximum(builder.scalar(0.0));
    }
    output(x, "y");
    let graph = builder.finish();
    let start = std::time::Instant::now();
    let simple = simplify(&graph);
    let elapsed = start.elapsed();
    assert!(simple.len() < graph.len());
    // Some milliseconds when optimized; quadratic behavior would take seconds.
    assert!(elapsed.as_millis() < 1000, "{} nodes took {elapsed:?}", graph.len());
}

/// Some thirty nodes over a few shapes, with constants that rules look for.
fn random_graph(seed: u64) -> Graph {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut pick = move |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    let builder = Builder::default();
    let shapes = [vec![Dim::batch(), Dim::axis("T"), Dim::fixed(2)], vec![Dim::fixed(2)], vec![]];
    let mut pool: Vec<Var<'_>> = Vec::new();
    for (i, shape) in shapes.iter().enumerate() {
        pool.push(builder.source(Role::Input, &format!("x{i}"), TensorType::f32(shape.clone())));
    }
    pool.extend([0.0, 1.0, -1.0, 2.0, 0.3].map(|value| builder.scalar(value)));
    for _ in 0..30 {
        let (a, b) = (pool[pick(pool.len())], pool[pick(pool.len())]);
        let rank = a.rank();
        let var = match pick(12) {
            0 => a + b,
            1 => a - b,
            2 => a * b,
            3 => a / (b * b + 1.0),
            4 => a.maximum(b),
            5 => a.compare(CompareFn::Lt, b.builder.scalar(0.123)).select(a, b),
            6 => a.unary([UnaryFn::Neg, UnaryFn::Tanh, UnaryFn::Abs, UnaryFn::Sigmoid][pick(4)]),
            7 if rank > 0 => a.sum(&[pick(rank)]),
            8 if rank > 1 => a.sum(&[0, 1]).reshape(&a.shape()[2..]),
            9 if rank == 3 => {
                a.transpose(&[[1, 0, 2], [2, 1, 0], [0, 1, 2]][pick(3)]).transpose(&[1, 0, 2]).sum(&[0, 1, 2])
            }
            10 if rank > 0 && a.shape()[rank - 1] == Dim::fixed(2) => {
                a.pad(rank - 1, pick(3), Dim::fixed(5)).slice(rank - 1, pick(3), Dim::fixed(2))
            }
            11 => a.binary(BinaryFn::Min, b),
            _ => -a,
        };
        // Only shapes that fit each other go on.
        if shapes.contains(&var.shape()) || var.shape().iter().all(Dim::is_one) {
            pool.push(var);
        }
    }
    for (i, var) in pool.iter().rev().take(4).enumerate() {
        output(*var, &format!("y{i}"));
    }
    builder.finish()
}

fn sample(source: &Source, scope: &Scope) -> Tensor {
    let shape = source.ty.eval(&scope.extents);
    let seed: usize = source.name.bytes().map(usize::from).sum();
    let n = shape.iter().product();
    Tensor::f32(&shape, (0..n).map(|i: usize| ((i * 37 + seed * 11) % 101) as f64 * 0.037 - 1.7).collect())
}

/// `x` and `-x` side by side.
fn joined(x: Var<'_>) -> Var<'_> {
    Var::concat(&[x, -x], 1).expect("two parts")
}
