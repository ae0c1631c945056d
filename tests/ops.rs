//! Laws that hold for every primitive; a new file in `src/ops/` is tested without touching this one.

use netc::autodiff::gradient;
use netc::graph::{Builder, Graph, Output, OutputRole, Value, Var};
use netc::index::IndexVec;
use netc::interp::program::{Memory, prepare_program, run_program};
use netc::interp::{Precision, Scope, Tensor, eval};
use netc::kernel::{BinaryFn, Combine};
use netc::ops::{
    Binary, Convolution, Direction, Kept, MatMul, Op, Reduce, Reshape, Role, Source, Window, WindowReduce,
};
use netc::schedule::{Scheduled, Slot, SlotKind, schedule};
use netc::simplify::simplify;
use netc::types::{Dim, ElementType, Extents, Symbol, TensorType};

/// Batch sizes and lengths, odd and small.
const SIZES: [(usize, usize); 5] = [(3, 5), (1, 5), (2, 4), (1, 3), (0, 5)];

#[test]
fn shapes_are_as_inferred() {
    for (op, types) in Op::samples() {
        let graph = single(&op, &types);
        graph.verify();
        for (batch, length) in SIZES {
            // The interpreter itself compares each tensor with its type.
            run(&graph, &scope(batch, length, Precision::F32));
        }
    }
}

#[test]
fn gradient_matches_finite_differences() {
    for (op, types) in Op::samples() {
        let builder = Builder::default();
        let args = sources(&builder, &types);
        let y = builder.apply(op.clone(), &args).expect("a sample is well-typed");
        if y.ty().element == ElementType::I32 {
            continue;
        }
        let wrt: Vec<Value> =
            args.iter().filter(|arg| arg.ty().element == ElementType::F32).map(|arg| arg.id).collect();
        let loss = weighted_sum(y, "weights");
        let first = gradient(&builder, loss, &wrt);
        check_gradient(&op, &builder, loss, &wrt, &first);
        // And once more: the gradient of the gradient.
        let parts = first.iter().enumerate().map(|(i, dx)| weighted_sum(*dx, &format!("weights of {i}")));
        let Some(loss) = parts.reduce(|sum, part| sum + part) else { continue };
        let second = gradient(&builder, loss, &wrt);
        check_gradient(&op, &builder, loss, &wrt, &second);
    }
}

#[test]
fn simplify_preserves_meaning() {
    for (op, types) in Op::samples() {
        check_simplify(&single(&op, &types));
        let builder = Builder::default();
        let args = sources(&builder, &types);
        let y = builder.apply(op, &args).expect("a sample is well-typed");
        if y.ty().element == ElementType::I32 {
            continue;
        }
        let wrt: Vec<Value> =
            args.iter().filter(|arg| arg.ty().element == ElementType::F32).map(|arg| arg.id).collect();
        for (i, dx) in gradient(&builder, weighted_sum(y, "weights"), &wrt).into_iter().enumerate() {
            builder.add_output(Output { role: OutputRole::Gradient, name: format!("x{i}"), value: dx.id });
        }
        let graph = builder.finish();
        check_simplify(&graph);
        check_program(&graph);
        check_program(&simplify(&graph));
    }
}

/// Compares the outputs of a graph before and after.
fn check_simplify(graph: &Graph) {
    let simple = simplify(graph);
    simple.verify();
    assert!(simple.len() <= graph.len(), "{graph}\nbecame\n{simple}");
    assert_eq!(simplify(&simple), simple, "simplified twice");
    for (batch, length) in SIZES {
        let scope = scope(batch, length, Precision::F64);
        let (before, after) = (run(graph, &scope), run(&simple, &scope));
        for (old, new) in graph.outputs.iter().zip(&simple.outputs) {
            assert_eq!((old.role, &old.name), (new.role, &new.name));
            let pairs = before[old.value].data.iter().zip(&after[new.value].data);
            for (x, y) in pairs {
                let close = x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= 1e-6 * (1.0 + x.abs());
                assert!(close, "{}: {x} became {y}\n{graph}\nbecame\n{simple}", old.name);
            }
        }
    }
}

#[test]
fn programs_agree_with_the_interpreter() {
    for (op, types) in Op::samples() {
        check_program(&single(&op, &types));
    }
}

/// Schedules a graph and compares the program's outputs with the graph's.
fn check_program(graph: &Graph) {
    let Scheduled { program, slots } = schedule(graph);
    for (batch, length) in SIZES {
        let scope = scope(batch, length, Precision::F64);
        let values = run(graph, &scope);
        let mut memory: Memory =
            program.buffers.values().map(|info| vec![f64::NAN; info.len.eval(&scope.extents)]).collect();
        for slot in &slots {
            if let SlotKind::Source(role) = slot.kind {
                let source = Source { role, name: slot.name.clone(), ty: slot.ty.clone() };
                memory[slot.buffer] = sample(&source, &scope).data;
            }
        }
        prepare_program(&program, &mut memory, &scope.extents, scope.precision);
        run_program(&program, &mut memory, &scope.extents, scope.precision);
        for output in &graph.outputs {
            let is_it = |slot: &&Slot| slot.kind == SlotKind::Output(output.role) && slot.name == output.name;
            let slot = slots.iter().find(is_it).expect("every output has a slot");
            let (found, expected) = (&memory[slot.buffer], &values[output.value].data);
            // Sums may be taken in another order.
            let close = |(a, b): (&f64, &f64)| a == b || (a - b).abs() <= 1e-9 * b.abs();
            let equal = found.len() == expected.len() && found.iter().zip(expected).all(close);
            assert!(equal, "with B = {batch}, T = {length}: {found:?}, not {expected:?}\n{graph}\n{program}");
        }
    }
}

#[test]
fn ties_are_settled_as_documented() {
    let image = Tensor::f32(&[1, 1, 2, 4], vec![1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
    let window = Window { kernel: [2, 2], stride: [2, 2], pad: [0, 0] };
    let pool = Op::from(WindowReduce { combine: Combine::Max, window });
    // The first maximum of a window has all of its gradient.
    assert_eq!(gradient_at(&pool, &image), [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    // The maxima of a reduction share it.
    let reduce = Op::from(Reduce { combine: Combine::Max, axes: vec![2, 3] });
    assert_eq!(gradient_at(&reduce, &image), [1.0 / 3.0, 1.0 / 3.0, 0.0, 0.0, 1.0 / 3.0, 0.0, 0.0, 0.0]);
    // relu does not rise at 0.
    let builder = Builder::default();
    let x = builder.source(Role::Input, "x", TensorType::f32([3]));
    let loss = x.maximum(builder.scalar(0.0)).sum(&[0]);
    let dx = gradient(&builder, loss, &[x.id])[0].id;
    let signs = Tensor::f32(&[3], vec![-1.0, 0.0, 2.0]);
    let values = eval(&builder.finish(), &|_| signs.clone(), &scope(1, 1, Precision::F32));
    assert_eq!(values[dx].data, [0.0, 0.0, 1.0]);
}

/// The gradient of the sum of `op(x)`.
fn gradient_at(op: &Op, x: &Tensor) -> Vec<f64> {
    let builder = Builder::default();
    let source = builder.source(Role::Input, "x", TensorType::f32(x.shape.clone()));
    let y = builder.emit(op.clone(), &[source]);
    let axes: Vec<usize> = (0..y.rank()).collect();
    let dx = gradient(&builder, y.sum(&axes), &[source.id])[0].id;
    eval(&builder.finish(), &|_| x.clone(), &scope(1, 1, Precision::F64))[dx].data.clone()
}

#[test]
fn graphs_print_one_line_a_node() {
    let builder = Builder::default();
    let [h, w] = [28, 28].map(Dim::fixed);
    let x = builder.source(Role::Input, "image", TensorType::f32([Dim::batch(), Dim::fixed(1), h.clone(), w.clone()]));
    let weight = builder.source(Role::Param, "conv1.weight", TensorType::f32([8, 1, 3, 3]));
    builder.set_origin(Some(builder.add_origin("conv1")));
    let convolution = Convolution {
        direction: Direction::Forward,
        kernel: [3, 3],
        stride: [2, 2],
        pad: [1, 1],
        dilation: [1, 1],
        groups: 1,
        image: [h, w],
        keeps: Kept::All,
    };
    let y = builder.emit(convolution, &[x, weight]);
    builder.add_output(Output { role: OutputRole::Output, name: "features".to_owned(), value: y.id });
    let expected = "\
%0: f32[B, 1, 28, 28] = input image
%1: f32[8, 1, 3, 3] = param conv1.weight
%2: f32[B, 8, 14, 14] = convolution forward(%0, %1) kernel 3x3 stride 2x2 pad 1x1   # conv1
output features = %2
";
    assert_eq!(builder.finish().to_string(), expected);
}

#[test]
fn misfits_are_explained() {
    let builder = Builder::default();
    let source = |shape: &[usize]| builder.source(Role::Input, "x", TensorType::f32(shape.to_vec()));
    let (a, b) = (source(&[2, 3]), source(&[4, 5]));
    let image = source(&[1, 3, 5, 5]);
    let window = |n| Window { kernel: [n, n], stride: [1, 1], pad: [0, 0] };
    let cases: [(Op, &[Var<'_>], &str); 5] = [
        (
            MatMul { transpose: [false, true] }.into(),
            &[a, b],
            "error[shape-mismatch]: cannot multiply f32[2, 3] by f32[4, 5] transposed: the inner sizes are 3 and 5",
        ),
        (Binary(BinaryFn::Add).into(), &[a, b], "error[shape-mismatch]: cannot add f32[2, 3] and f32[4, 5]"),
        (
            Reshape { to: vec![Dim::fixed(7)] }.into(),
            &[a],
            "error[shape-mismatch]: cannot reshape f32[2, 3], which has 6 elements, to [7], which has 7",
        ),
        (
            Reduce { combine: Combine::Sum, axes: vec![2] }.into(),
            &[a],
            "error[axis-out-of-range]: there is no axis 2 in f32[2, 3]",
        ),
        (
            WindowReduce { combine: Combine::Max, window: window(7) }.into(),
            &[image],
            "error[invalid-size]: a window of 7 does not fit into f32[1, 3, 5, 5], padded by 0",
        ),
    ];
    for (op, args, expected) in cases {
        let message = builder.apply(op, args).expect_err("a misfit");
        assert_eq!(message.to_string(), expected);
    }
}

/// A scalar in which every element of `y` counts differently.
fn weighted_sum<'b>(y: Var<'b>, name: &str) -> Var<'b> {
    let weights = y.builder.source(Role::Input, name, y.ty());
    let axes: Vec<usize> = (0..y.rank()).collect();
    (y * weights).sum(&axes).reshape(&[])
}

/// Compares the gradients of `loss` with central differences, in f64.
fn check_gradient(op: &Op, builder: &Builder, loss: Var<'_>, wrt: &[Value], grads: &[Var<'_>]) {
    let graph = builder.snapshot();
    graph.verify();
    let scope = scope(2, 4, Precision::F64);
    let values = run(&graph, &scope);
    for (&x, grad) in wrt.iter().zip(grads) {
        let Op::Source(moved) = &graph.node(x).op else { panic!("gradients are with respect to sources") };
        for element in 0..values[x].data.len() {
            let at = |step: f64| {
                let find = |source: &Source| {
                    let mut tensor = sample(source, &scope);
                    if source == moved {
                        tensor.data[element] += step;
                    }
                    tensor
                };
                eval(&graph, &find, &scope)[loss.id].data[0]
            };
            let step = 1e-5;
            let expected = (at(step) - at(-step)) / (2.0 * step);
            let actual = values[grad.id].data[element];
            let close = (actual - expected).abs() <= 1e-6 * (1.0 + expected.abs());
            assert!(close, "{op:?} with respect to {x}[{element}]: {actual}, but by differences {expected}\n{graph}");
        }
    }
}

/// A graph that applies `op` once.
fn single(op: &Op, types: &[TensorType]) -> Graph {
    let builder = Builder::default();
    let args = sources(&builder, types);
    let y = builder.apply(op.clone(), &args).expect("a sample is well-typed").id;
    builder.add_output(Output { role: OutputRole::Output, name: "y".to_owned(), value: y });
    builder.finish()
}

fn sources<'b>(builder: &'b Builder, types: &[TensorType]) -> Vec<Var<'b>> {
    types.iter().enumerate().map(|(i, ty)| builder.source(Role::Input, &format!("x{i}"), ty.clone())).collect()
}

fn scope(batch: usize, length: usize, precision: Precision) -> Scope {
    let mut extents = Extents::with_batch(batch);
    extents.set(Symbol::Axis("T".into()), length);
    Scope::new(extents, precision)
}

fn run(graph: &Graph, scope: &Scope) -> IndexVec<Value, Tensor> {
    eval(graph, &|source| sample(source, scope), scope)
}

/// Positive (for roots and logarithms), distinct within the reach of a window, different for each name.
/// Integers run from -2 to 4, beyond the samples' tables on both sides.
fn sample(source: &Source, scope: &Scope) -> Tensor {
    let shape = source.ty.eval(&scope.extents);
    let seed: usize = source.name.bytes().map(usize::from).sum();
    let n = shape.iter().product();
    let data = match source.ty.element {
        ElementType::F32 => (0..n).map(|i: usize| 0.2 + ((i * 37 + seed * 11) % 101) as f64 * 0.017).collect(),
        ElementType::I32 => (0..n).map(|i: usize| ((i * 3 + seed) % 7) as f64 - 2.0).collect(),
    };
    Tensor::new(source.ty.element, &shape, data).map(|x| scope.round(x))
}
