//! Every fast path against the interpreter in `f64`, on random values and on those that are hard to sum: large offsets,
//! subnormal numbers, channels of very different sizes.

#[expect(dead_code, reason = "comparisons of other tests")]
#[path = "support/nets.rs"]
mod nets;
#[path = "support/random.rs"]
mod random;
mod support;

use netc::Algorithm;
use netc::codegen::{Vectors, compile_with};
use netc::graph::{Builder, Graph, Output, OutputRole, Var};
use netc::index::IndexVec;
use netc::interp::program::Memory;
use netc::interp::{Precision, Scope, Tensor, eval};
use netc::kernel::{Home, Shortcuts, Step, UnaryFn};
use netc::network::Network;
use netc::ops::{Convolution, Direction, Kept, MatMul, Role, Source, Unary};
use netc::pipeline::{Entry, entry_graph, lower};
use netc::schedule::{Algorithms, Scheduled, SlotKind, schedule_with};
use netc::types::{Dim, ElementType, Extents, Symbol, TensorType};
use netc_runtime::Pool;
use random::Random;

/// An error over the largest value, at most.
const BOUND: f64 = 1e-4;
/// Of a convolution and its data gradient, on random values.
const CLOSE: f64 = 2e-5;

/// What inputs look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Random,
    /// 1000, and a little more or less.
    Offset,
    /// Below the smallest normal number.
    Subnormal,
    /// Each row of the second axis, the channel of a map, has a size of its own, over nine powers of ten.
    Ranges,
}

const KINDS: [Kind; 4] = [Kind::Random, Kind::Offset, Kind::Subnormal, Kind::Ranges];

fn input(kind: Kind, source: &Source, extents: &Extents) -> Tensor {
    let shape = source.ty.eval(extents);
    let n: usize = shape.iter().product();
    let inner: usize = shape.iter().skip(2).product();
    let mut random = Random(source.name.bytes().fold(7, |seed, byte| 31 * seed + u64::from(byte)));
    let channel = |at: usize| at / inner.max(1) % shape.get(1).copied().unwrap_or(1);
    let value = |at: usize| {
        let unit = 2.0 * random.unit() - 1.0;
        let value = match kind {
            Kind::Random => unit,
            Kind::Offset => 1000.0 + unit,
            Kind::Subnormal => 1e-38 * unit,
            Kind::Ranges => unit * 10f64.powi(channel(at) as i32 % 9 - 4),
        };
        f64::from(value as f32)
    };
    Tensor::new(ElementType::F32, &shape, (0..n).map(value).collect())
}

/// The largest error of machine code over the largest value of each output; `sample` gives the sources' values.
fn error(graph: &Graph, scheduled: &Scheduled, extents: &Extents, sample: &dyn Fn(&Source) -> Tensor) -> f64 {
    let values = eval(graph, sample, &Scope::new(extents.clone(), Precision::F64));
    let mut worst: f64 = 0.0;
    for vectors in [Vectors::Narrow, Vectors::Wide, Vectors::Widest] {
        let mut memory: Memory = IndexVec::new();
        for (_, info) in scheduled.program.buffers.iter() {
            let slot = match info.home {
                Home::External(slot) => Some(&scheduled.slots[slot]),
                Home::Workspace | Home::Prepared | Home::Slice { .. } => None,
            };
            memory.push(match slot.map(|slot| (slot.kind, slot)) {
                Some((SlotKind::Source(role), slot)) => {
                    sample(&Source { role, name: slot.name.clone(), ty: slot.ty.clone() }).data
                }
                _ => vec![if info.element == ElementType::F32 { f64::NAN } else { 0.0 }; info.len.eval(extents)],
            });
        }
        compile_with(&scheduled.program, "test", vectors).run_copied(&mut memory, extents, &Pool::new(2));
        for output in &graph.outputs {
            let slot = scheduled
                .slots
                .iter()
                .find(|slot| slot.kind == SlotKind::Output(output.role) && slot.name == output.name);
            let (actual, expected) = (&memory[slot.expect("an output").buffer], &values[output.value].data);
            let scale = expected.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
            if scale == 0.0 {
                // The last step of a reversed recurrence is its first: its recurrent weights have no gradient.
                assert!(actual.iter().all(|x| *x == 0.0), "`{}` is 0 everywhere", output.name);
                continue;
            }
            for (a, b) in actual.iter().zip(expected) {
                let error = (a - b).abs() / scale;
                // A NaN is no small error.
                worst = if error <= worst { worst } else { error };
            }
        }
    }
    worst
}

fn build(build: impl for<'b> FnOnce(&'b Builder) -> Vec<Var<'b>>) -> Graph {
    let builder = Builder::default();
    let ids: Vec<_> = build(&builder).into_iter().map(|value| value.id).collect();
    for (at, value) in ids.into_iter().enumerate() {
        builder.add_output(Output { role: OutputRole::Output, name: format!("y{at}"), value });
    }
    builder.finish()
}

fn check(what: &str, graph: &Graph, algorithm: Option<Algorithm>, kinds: &[Kind], bound: impl Fn(Kind) -> f64) {
    let mut algorithms = Algorithms::default();
    algorithms.set(None, algorithm);
    let scheduled = schedule_with(graph, &algorithms);
    if let Some(algorithm) = algorithm {
        let is_asked = |step: &Step| matches!(step, Step::Conv(call) if call.algorithm == algorithm);
        assert!(scheduled.program.steps.iter().any(is_asked), "{what}: no {algorithm:?}\n{}", scheduled.program);
    }
    let extents = Extents::with_batch(2);
    for &kind in kinds {
        let worst = error(graph, &scheduled, &extents, &|source| match source.role {
            Role::Param => input(Kind::Random, source, &extents),
            // The product of two subnormal numbers is 0.
            _ if kind == Kind::Subnormal && source.name == "ct" => input(Kind::Random, source, &extents),
            _ => input(kind, source, &extents),
        });
        assert!(worst <= bound(kind), "{what}, {algorithm:?}, {kind:?}: {worst:e}");
    }
}

/// One convolution in one direction, of maps whose channels are neighbors in memory.
fn convolution(direction: Direction, channels: [usize; 2], kernel: usize, stride: usize, groups: usize) -> Graph {
    let [c, oc] = channels;
    let image = [21_usize, 18].map(Dim::fixed);
    let pad = kernel / 2;
    let [oh, ow] = [21, 18].map(|n| (n + 2 * pad - kernel) / stride + 1);
    build(|b| {
        let map = |role, name: &str, c: usize, [h, w]: [usize; 2]| {
            let ty = TensorType::f32([Dim::batch(), Dim::fixed(c), Dim::fixed(h), Dim::fixed(w)]);
            // Stored once more, as the schedule lays out maps.
            (b.source(role, name, ty) * 1.0).id
        };
        let weight = || b.source(Role::Param, "w", TensorType::f32([oc, c / groups, kernel, kernel])).id;
        let args = match direction {
            Direction::Forward => [map(Role::Input, "x", c, [21, 18]), weight()],
            Direction::DataGrad => [map(Role::Input, "y", oc, [oh, ow]), weight()],
            Direction::WeightGrad => [map(Role::Input, "x", c, [21, 18]), map(Role::Input, "ct", oc, [oh, ow])],
        };
        let op = Convolution {
            direction,
            kernel: [kernel; 2],
            stride: [stride; 2],
            pad: [pad; 2],
            dilation: [1, 1],
            groups,
            image: image.clone(),
            keeps: Kept::All,
        };
        vec![b.emit(op, &args.map(|arg| b.var(arg)))]
    })
}

const DIRECTIONS: [Direction; 3] = [Direction::Forward, Direction::DataGrad, Direction::WeightGrad];

#[test]
fn winograd_and_direct_convolutions() {
    for direction in DIRECTIONS {
        let graph = convolution(direction, [32, 40], 3, 1, 1);
        for algorithm in [Algorithm::Direct, Algorithm::Winograd2x2, Algorithm::Winograd] {
            // The gradient of a weight has one Winograd, and sums many pixels.
            let is_weight = direction == Direction::WeightGrad;
            let asked = if is_weight && algorithm == Algorithm::Winograd2x2 { Algorithm::Winograd } else { algorithm };
            let bound = |kind| if kind == Kind::Random && !is_weight { CLOSE } else { BOUND };
            check(&format!("{direction:?}"), &graph, Some(asked), &KINDS, bound);
        }
    }
}

/// The pools that become a part of a convolution, and those that cannot: maps of odd sizes, of which a row and a column are
/// left over, with a bias, a `relu`, both or none between.
#[test]
fn pools_in_convolutions() {
    let cases = [
        ("conv3x3(24, relu) -> conv3x3(40, relu) -> maxpool2x2 -> conv3x3(32) -> maxpool2x2", 2),
        ("conv3x3(24, relu) -> conv3x3(40, bias = false) -> maxpool2x2", 1),
        // A last pool that brings its map to the order of a dense layer.
        (
            "conv3x3(24, relu) -> conv3x3(40, relu) -> maxpool2x2 -> conv3x3(32, relu) -> maxpool2x2 -> flatten -> dense(5)",
            1,
        ),
        // An input of the network; a map that something else reads; a function that rounds; windows that overlap.
        ("conv3x3(24, relu) -> maxpool2x2", 0),
        ("conv3x3(24, relu) -> residual { conv3x3(24) -> relu } -> maxpool2x2", 0),
        ("conv3x3(24) -> conv3x3(24, tanh) -> maxpool2x2", 0),
        ("conv3x3(24) -> conv3x3(24, relu) -> maxpool3x3(stride = 2)", 0),
        ("conv3x3(24) -> conv3x3(24, relu) -> avgpool2x2", 0),
    ];
    for (layers, pooled) in cases {
        let network = nets::network(&format!("net m {{\n  input x[17, 21, 18]\n  y = x -> {layers}\n  output y\n}}"));
        let graph = entry_graph(&network, Entry::Forward, &mut ());
        let (scheduled, _) = lower(&network, Entry::Forward, &mut ());
        let is_pooled = |step: &&Step| matches!(step, Step::Conv(call) if call.pooled);
        let found = scheduled.program.steps.iter().filter(is_pooled).count();
        assert_eq!(found, pooled, "{layers}\n{}", scheduled.program);
        let extents = Extents::with_batch(3);
        // Where `tanh` is at its ends, large numbers leave nothing to compare.
        for &kind in if pooled > 0 { &KINDS[..] } else { &[Kind::Random, Kind::Subnormal] } {
            let worst = error(&graph, &scheduled, &extents, &|source| match source.role {
                Role::Input => input(kind, source, &extents),
                _ => nets::sample(&network, source, &extents),
            });
            assert!(worst <= BOUND, "{layers}, {kind:?}: {worst:e}");
        }
    }
}

/// In training they say which of their neighbors they keep, for the gradient; what a map's gradient adds up to is taken of fewer.
#[test]
fn pools_in_convolutions_that_train() {
    let cases = [
        ("conv3x3(24, relu) -> conv3x3(40, relu) -> maxpool2x2 -> conv3x3(32) -> maxpool2x2", 2),
        // Pools that are parts of a join, whose memory they share, and an odd number of pixels.
        (
            "conv3x3(24, relu) -> concat {\n  conv3x3(24, relu) -> maxpool2x2\n  conv3x3(32) -> maxpool2x2\n} -> conv3x3(24)",
            2,
        ),
        // Something else reads the map: another layer, or a gradient.
        ("conv3x3(24, relu) -> residual { conv3x3(24) -> relu } -> maxpool2x2", 0),
        ("conv3x3(24, relu) -> conv3x3(32, relu6) -> maxpool2x2 -> conv3x3(24)", 0),
    ];
    for (layers, pooled) in cases {
        let text = format!(
            "net m {{\n  input x[17, 21, 18]\n  target t[4]\n  y = x -> {layers} -> global_avgpool -> dense(4)\n  output y\n  loss mse(y, t)\n}}"
        );
        let network = nets::network(&text);
        let graph = entry_graph(&network, Entry::Gradients, &mut ());
        let (scheduled, _) = lower(&network, Entry::Gradients, &mut ());
        let says_which = |step: &&Step| matches!(step, Step::Conv(call) if call.positions.is_some());
        let found = scheduled.program.steps.iter().filter(says_which).count();
        assert_eq!(found, pooled, "{layers}\n{}", scheduled.program);
        let extents = Extents::with_batch(3);
        let worst = error(&graph, &scheduled, &extents, &|source| match source.role {
            Role::Input => input(Kind::Random, source, &extents),
            _ => nets::sample(&network, source, &extents),
        });
        assert!(worst <= BOUND, "{layers}: {worst:e}");
    }
}

#[test]
fn other_convolutions() {
    // Channels in and out, kernel, stride, groups: 1x1, with a stride, the first of a network, depthwise, in groups.
    let cases = [
        ([40, 24], 1, 1, 1),
        ([24, 40], 1, 2, 1),
        ([3, 32], 7, 2, 1),
        ([32, 32], 3, 1, 32),
        ([32, 48], 3, 2, 4),
        ([5, 7], 5, 1, 1),
    ];
    for (channels, kernel, stride, groups) in cases {
        for direction in DIRECTIONS {
            let graph = convolution(direction, channels, kernel, stride, groups);
            let what = format!("{direction:?} {channels:?} {kernel}x{kernel}, stride {stride}, groups {groups}");
            check(&what, &graph, None, &KINDS, |kind| if kind == Kind::Random { CLOSE } else { BOUND });
        }
    }
}

#[test]
fn products() {
    // Wide, tall, flat, and a single row or column; the batch is a dimension of all.
    for (m, k, n) in [(64, 300, 70), (1, 512, 129), (200, 33, 1), (37, 5, 260), (128, 256, 64)] {
        for transpose in [[false, false], [false, true], [true, false], [true, true]] {
            let graph = build(|b| {
                let shape =
                    |rows: usize, columns: usize, swap: bool| if swap { [columns, rows] } else { [rows, columns] };
                let a = b.source(Role::Input, "a", TensorType::f32(shape(m, k, transpose[0])));
                let w = b.source(Role::Param, "w", TensorType::f32(shape(k, n, transpose[1])));
                vec![b.emit(MatMul { transpose }, &[a, w])]
            });
            check(&format!("{m}x{k}x{n} {transpose:?}"), &graph, None, &KINDS, |_| BOUND);
        }
    }
}

#[test]
fn pointwise_functions() {
    let x = |b: &Builder| b.source(Role::Input, "x", TensorType::f32([Dim::batch(), Dim::fixed(1003)])).id;
    let sigmoid = build(|b| {
        let x = b.var(x(b));
        vec![x.sigmoid(), x.tanh(), b.emit(Unary(UnaryFn::Erf), &[x])]
    });
    check("sigmoid, tanh, erf", &sigmoid, None, &KINDS, |_| 1e-6);
    let exp = build(|b| {
        let x = b.var(x(b));
        vec![(x * 0.01).exp(), (x * x + 1e-38).log()]
    });
    check("exp, log", &exp, None, &[Kind::Random, Kind::Offset, Kind::Subnormal], |_| 1e-5);
    let softmax = build(|b| {
        let x = b.var(x(b));
        let e = (x - x.max(&[1])).exp();
        vec![e / e.sum(&[1])]
    });
    check("softmax", &softmax, None, &KINDS, |_| BOUND);
}

/// A network that reads a sequence with some layers.
fn reader(layers: &str) -> Network {
    nets::network(&format!(
        "net m {{\n  input x[T, 20]\n  target y: token(5)\n  x -> {layers} -> last\n  logits = dense(5)\n  \
         output logits\n  loss cross_entropy(logits, y)\n}}"
    ))
}

#[test]
fn recurrences() {
    for cell in ["rnn(40)", "gru(40)", "lstm(40)", "lstm(24)x2", "bidirectional(gru(24))"] {
        let network = reader(cell);
        for entry in [Entry::Forward, Entry::Gradients] {
            let graph = entry_graph(&network, entry, &mut ());
            let (scheduled, _) = lower(&network, entry, &mut ());
            let mut extents = Extents::with_batch(3);
            extents.set(Symbol::Axis("T".into()), 30);
            // A large offset leaves gates at their ends, where gradients vanish; gradients of subnormal numbers have few
            // digits themselves.
            let hard = if entry == Entry::Forward { Kind::Subnormal } else { Kind::Ranges };
            for kind in [Kind::Random, hard] {
                let worst = error(&graph, &scheduled, &extents, &|source| match source.role {
                    Role::Input => input(kind, source, &extents),
                    _ => nets::sample(&network, source, &extents),
                });
                assert!(worst <= BOUND, "{cell}, {}, {kind:?}: {worst:e}", entry.name());
            }
        }
    }
}

/// Of a single member large recurrent weights may be read rounded to 21 bits, which makes the errors of products 1.75 times as large:
/// results are as exact in proportion, or within the bound.
#[test]
fn recurrences_of_one_member() {
    let cells = ["rnn(200)", "gru(144)", "lstm(160)", "lstm(130)x2", "bidirectional(gru(150))"];
    check_recurrences(&cells, [1, 30], 2.0, |shortcuts| shortcuts.rounded);
}

/// Of many members, halves of large recurrent weights may be added up.
#[test]
fn recurrences_of_many_members() {
    check_recurrences(&["rnn(200)", "gru(144)", "lstm(136)", "mgu(128)x2"], [14, 8], 1.5, |shortcuts| shortcuts.sums);
}

/// `more`: how many times what strict sums lose.
fn check_recurrences(cells: &[&str], [members, steps]: [usize; 2], more: f64, is_taken: impl Fn(&Shortcuts) -> bool) {
    for cell in cells {
        let network = reader(cell);
        for entry in [Entry::Forward, Entry::Gradients] {
            let graph = entry_graph(&network, entry, &mut ());
            let (scheduled, _) = lower(&network, entry, &mut ());
            let takes = |step: &Step| match step {
                Step::Scan(scan) => {
                    scan.body.iter().any(|step| matches!(step, Step::MatMul(call) if is_taken(&call.shortcuts)))
                }
                _ => false,
            };
            assert!(scheduled.program.steps.iter().any(takes), "{cell}\n{}", scheduled.program);
            let strict = schedule_with(&graph, &Algorithms::strict());
            assert!(!strict.program.steps.iter().any(takes), "{cell}\n{}", strict.program);
            let mut extents = Extents::with_batch(members);
            extents.set(Symbol::Axis("T".into()), steps);
            for kind in KINDS {
                let [fast, strict] = [&scheduled, &strict].map(|scheduled| {
                    error(&graph, scheduled, &extents, &|source| match source.role {
                        Role::Input => input(kind, source, &extents),
                        _ => nets::sample(&network, source, &extents),
                    })
                });
                // Gates at their ends leave gradients few digits in either case.
                let bound = BOUND.max(more * strict);
                assert!(fast <= bound, "{cell}, {}, {kind:?}: {fast:e}, strict {strict:e}", entry.name());
            }
        }
    }
}
