//! Three ways to the same numbers: the interpreter of graphs, the interpreter of scheduled programs, and
//! machine code. Holds for every primitive, and for graphs that exercise the scheduler.

mod support;

use netc::graph::{Builder, Graph, Output, OutputRole, Var};
use netc::interp::Tensor;
use netc::ops::{Op, Role, Source};
use netc::types::{Dim, ElementType, Extents, TensorType};
use support::Case;

#[test]
fn every_primitive() {
    for (op, types) in Op::samples() {
        let builder = Builder::default();
        let args: Vec<Var<'_>> =
            types.iter().enumerate().map(|(i, ty)| builder.source(Role::Input, &format!("x{i}"), ty.clone())).collect();
        let y = builder.apply(op.clone(), &args).expect("a sample is well-typed");
        output(&builder, "y", y);
        check(&format!("{op:?}"), &builder.finish());
    }
}

#[test]
fn every_primitive_with_prepared_arguments() {
    for (op, types) in Op::samples() {
        let builder = Builder::default();
        let args: Vec<Var<'_>> = types
            .iter()
            .enumerate()
            .map(|(i, ty)| {
                // All but the first are parameters where they can be: those of fixed sizes.
                let is_fixed = ty.n_elements().as_fixed().is_some();
                let role = if i > 0 && is_fixed { Role::Param } else { Role::Input };
                builder.source(role, &format!("x{i}"), ty.clone())
            })
            .collect();
        let y = builder.apply(op.clone(), &args).expect("a sample is well-typed");
        output(&builder, "y", y);
        check(&format!("{op:?}"), &builder.finish());
    }
}

#[test]
fn every_primitive_between_others() {
    for (op, types) in Op::samples() {
        let builder = Builder::default();
        let args: Vec<Var<'_>> = types
            .iter()
            .enumerate()
            .map(|(i, ty)| {
                let x = builder.source(Role::Input, &format!("x{i}"), ty.clone());
                match ty.element {
                    ElementType::F32 => x * 0.5 + 0.25,
                    ElementType::I32 => x,
                }
            })
            .collect();
        let y = builder.apply(op.clone(), &args).expect("a sample is well-typed");
        if y.ty().element == ElementType::I32 {
            continue;
        }
        let z = (y + 1.0).maximum(builder.scalar(1.5));
        output(&builder, "z", z);
        output(&builder, "square", z * z);
        check(&format!("{op:?}"), &builder.finish());
    }
}

#[test]
fn softmax() {
    graph("softmax", |b| {
        let x = b.source(Role::Input, "x", TensorType::f32([Dim::batch(), Dim::fixed(7)]));
        let e = (x - x.max(&[1])).exp();
        vec![e / e.sum(&[1])]
    });
}

#[test]
fn dense_with_a_fused_tail() {
    graph("dense", |b| {
        let x = b.source(Role::Input, "x", TensorType::f32([Dim::batch(), Dim::axis("T"), Dim::fixed(6)]));
        let w = b.source(Role::Param, "w", TensorType::f32([5usize, 6]));
        let bias = b.source(Role::Param, "b", TensorType::f32([5usize]));
        let rows = Dim::batch().times(&Dim::axis("T"));
        let flat = x.reshape(&[rows, Dim::fixed(6)]);
        let y = b.emit(netc::ops::MatMul { transpose: [false, true] }, &[flat, w]);
        let y = y.reshape(&[Dim::batch(), Dim::axis("T"), Dim::fixed(5)]) + bias;
        // Swish uses its argument twice, in one tail.
        vec![y * y.sigmoid()]
    });
}

#[test]
fn residual_of_convolutions_in_channels_last() {
    use netc::ops::{Convolution, Direction, Kept, Window, WindowReduce};
    graph("convolutions", |b| {
        let x =
            b.source(Role::Input, "x", TensorType::f32([Dim::batch(), Dim::fixed(3), Dim::fixed(6), Dim::fixed(5)]));
        let conv = |x: Var<'_>, name: &str, n: usize, c: usize| {
            let w = b.source(Role::Param, name, TensorType::f32([n, c, 3, 3]));
            let shape = x.shape();
            let op = Convolution {
                direction: Direction::Forward,
                kernel: [3, 3],
                stride: [1, 1],
                pad: [1, 1],
                dilation: [1, 1],
                groups: 1,
                image: [shape[2].clone(), shape[3].clone()],
                keeps: Kept::All,
            };
            b.emit(op, &[b.var(x.id), w]).id
        };
        let bias = b.source(Role::Param, "bias", TensorType::f32([4usize, 1, 1]));
        let first = b.var(conv(x, "w1", 4, 3)) + bias;
        let relu = first.maximum(b.scalar(0.0));
        let second = b.var(conv(relu, "w2", 4, 4));
        let third = b.var(conv(relu, "w3", 4, 4));
        let sum = (second + third + relu).maximum(b.scalar(0.0));
        let window = Window { kernel: [2, 2], stride: [2, 2], pad: [0, 0] };
        let pool = b.emit(WindowReduce { combine: netc::kernel::Combine::Max, window }, &[sum]);
        let joined = Var::concat(&[pool, pool * 2.0], 1).unwrap();
        let flat = joined.reshape(&[Dim::batch(), Dim::fixed(8 * 3 * 2)]);
        vec![flat, sum, joined]
    });
}

#[test]
fn parts_of_a_join_are_written_in_place() {
    graph("join", |b| {
        let x = b.source(Role::Input, "x", TensorType::f32([Dim::batch(), Dim::fixed(4)]));
        let w = b.source(Role::Param, "w", TensorType::f32([4usize, 3]));
        let y = b.emit(netc::ops::MatMul { transpose: [false, false] }, &[x, w]).maximum(b.scalar(0.1));
        let joined = Var::concat(&[y, x.exp(), y.slice(1, 1, Dim::fixed(2))], 1).unwrap();
        vec![joined.sum(&[1]), joined]
    });
}

#[test]
fn updates_in_place() {
    let builder = Builder::default();
    let ty = TensorType::f32([6usize, 3]);
    let [p, m, g] = [("p", Role::Param), ("m", Role::Moment), ("g", Role::Input)]
        .map(|(name, role)| builder.source(role, name, ty.clone()));
    let m2 = m * 0.9 + g;
    let p2 = p - m2 * 0.1;
    for (name, value) in [("m", m2), ("p", p2)] {
        builder.add_output(Output { role: OutputRole::Update, name: name.to_owned(), value: value.id });
    }
    let graph = builder.finish();
    let scheduled = netc::schedule::schedule(&graph);
    assert_eq!(scheduled.program.steps.len(), 1, "one pass over memory:\n{}", scheduled.program);
    check("updates", &graph);
}

fn graph(name: &str, build: impl for<'b> FnOnce(&'b Builder) -> Vec<Var<'b>>) {
    let builder = Builder::default();
    let ids: Vec<_> = build(&builder).into_iter().map(|value| value.id).collect();
    for (i, id) in ids.into_iter().enumerate() {
        output(&builder, &format!("y{i}"), builder.var(id));
    }
    check(name, &builder.finish());
}

fn output(builder: &Builder, name: &str, value: Var<'_>) {
    builder.add_output(Output { role: OutputRole::Output, name: name.to_owned(), value: value.id });
}

/// Batch sizes and lengths, odd and small.
const SIZES: [(usize, usize); 4] = [(3, 5), (1, 4), (2, 7), (0, 5)];

fn check(what: &str, graph: &Graph) {
    let scheduled = netc::schedule::schedule(graph);
    Case { what, graph, scheduled: &scheduled, sizes: &SIZES, sample: &sample, tolerance: 2e-5 }.check();
}

/// Positive (for roots and logarithms), distinct within the reach of a window, different for each name.
fn sample(source: &Source, extents: &Extents) -> Tensor {
    let shape = source.ty.eval(extents);
    let seed: usize = source.name.bytes().map(usize::from).sum();
    let n = shape.iter().product();
    let data = match source.ty.element {
        ElementType::F32 => (0..n).map(|i: usize| 0.2 + ((i * 37 + seed * 11) % 101) as f64 * 0.017).collect(),
        ElementType::I32 => (0..n).map(|i: usize| ((i * 3 + seed) % 7) as f64 - 2.0).collect(),
    };
    Tensor::new(source.ty.element, &shape, data).map(|x| f64::from(x as f32))
}
