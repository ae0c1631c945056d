//! Laws that hold for every primitive; a new file in `src/ops/` is tested without touching this one.

use netc::autodiff::gradient;
use netc::graph::{Builder, Graph, Output, OutputRole, Value, Var};
use netc::index::IndexVec;
use netc::interp::{Precision, Scope, Tensor, eval};
use netc::ops::{Op, Role, Source};
use netc::types::{ElementType, Extents, Symbol, TensorType};

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
    for (op, types) in Op::samples().into_iter().filter(|(op, _)| !matches!(op, Op::Scan(_))) {
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
