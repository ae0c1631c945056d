//! Laws of entries, over graphs built by hand: a batch of sequences with lengths is its members, windows with carried
//! states and single steps give what the whole sequence gives.

#[path = "support/random.rs"]
mod random;

use std::collections::BTreeMap;

use netc::entries::{Entry, Variant, check, forward_graph};
use netc::graph::{Builder, Graph, Output, OutputRole, Recurrence, Var};
use netc::interp::{Precision, Scope, Tensor, eval};
use netc::kernel::{Combine, CompareFn};
use netc::network::{Network, Port};
use netc::ops::{Gather, MatMul, Op, Role, Source};
use netc::simplify::simplify;
use netc::types::{Dim, ElementType, Extents, Symbol, TensorType};
use random::Random;

const N: usize = 3;
const VOCABULARY: usize = 7;

type Tensors = BTreeMap<String, Tensor>;

/// A network whose inference is `build`, with inputs of these types.
fn network(inputs: &[(&'static str, TensorType)], axes: &[&'static str], build: impl for<'b> Fn(&Net<'b>)) -> Network {
    let mut network = netc::check_source("m.net", "net m {\n  input x[4]\n  dense(2)\n}").unwrap();
    let builder = Builder::default();
    let vars = inputs.iter().map(|(name, ty)| (*name, builder.source(Role::Input, name, ty.clone()))).collect();
    let mask = |axis: &str| builder.source(Role::Mask, axis, TensorType::f32([Dim::batch(), Dim::axis(axis)]));
    let masks = axes.iter().map(|&axis| (axis, mask(axis))).collect();
    build(&Net { builder: &builder, inputs: vars, masks });
    network.inference = builder.finish();
    let port = |(name, ty): &(&str, TensorType)| {
        let vocabulary = (ty.element == ElementType::I32).then_some(VOCABULARY);
        Port { name: (*name).to_owned(), is_target: false, ty: ty.clone(), vocabulary }
    };
    network.ports = inputs.iter().map(port).collect();
    network.axes = axes.iter().map(|&axis| axis.to_owned()).collect();
    network
}

struct Net<'b> {
    builder: &'b Builder,
    inputs: BTreeMap<&'static str, Var<'b>>,
    masks: BTreeMap<&'static str, Var<'b>>,
}

impl<'b> Net<'b> {
    fn param(&self, name: &str, shape: &[usize]) -> Var<'b> {
        self.builder.source(Role::Param, name, TensorType::f32(shape.iter().copied()))
    }
    fn dense(&self, name: &str, x: Var<'b>) -> Var<'b> {
        let (shape, n) = (x.shape(), x.rank());
        let rows = netc::types::product(&shape[..n - 1]);
        let weight = self.param(name, &[N, shape[n - 1].as_fixed().unwrap()]);
        let y =
            self.builder.emit(MatMul { transpose: [false, true] }, &[x.reshape(&[rows, shape[n - 1].clone()]), weight]);
        y.reshape(&[&shape[..n - 1], &[Dim::fixed(N)]].concat())
    }
    /// A gated unit of two states over `[B, T, n]`, masked; its outputs, and its last state.
    fn unit(&self, path: &str, axis: &str, x: Var<'b>, init: Option<Var<'b>>, reverse: bool) -> (Var<'b>, Var<'b>) {
        let b = self.builder;
        b.set_origin(Some(b.add_origin(path)));
        let zero = b.constant(0.0, TensorType::f32([Dim::batch(), Dim::fixed(N)]));
        let mut recurrence = Recurrence::new(b, Dim::axis(axis), reverse);
        let mask = recurrence.element("mask", self.masks[axis].transpose(&[1, 0]));
        let xt = recurrence.element("x", x.transpose(&[1, 0, 2]));
        let h = recurrence.state(&format!("{path}.h"), init.unwrap_or(zero));
        let c = recurrence.state("c", zero);
        let joined = Var::concat(&[xt, h], 1).unwrap();
        let gate = self.dense(&format!("{path}.gate"), joined).sigmoid();
        let next_c = gate * c + (1.0 - gate) * self.dense(&format!("{path}.new"), joined).tanh();
        let next_h = next_c.tanh() * gate;
        let mask = mask.reshape(&[Dim::batch(), Dim::ONE]);
        recurrence.set_next(0, mask.select(next_h, h));
        recurrence.set_next(1, mask.select(next_c, c));
        let results = recurrence.finish(&[mask.select(next_h, b.scalar(0.0))]);
        b.set_origin(None);
        (results.each[0].transpose(&[1, 0, 2]), results.last[0])
    }
    fn embed(&self, tokens: Var<'b>) -> Var<'b> {
        self.builder.emit(Gather, &[self.param("embed", &[VOCABULARY, N]), tokens])
    }
    fn output(&self, name: &str, y: Var<'b>) {
        self.builder.add_output(Output { role: OutputRole::Output, name: name.to_owned(), value: y.id });
    }
}

fn tokens(axis: &str) -> TensorType {
    TensorType::i32([Dim::batch(), Dim::axis(axis)])
}

fn numbers(axis: &str) -> TensorType {
    TensorType::f32([Dim::batch(), Dim::axis(axis), Dim::fixed(2)])
}

/// Tokens to a stack of two recurrences to scores.
fn stack() -> Network {
    network(&[("text", tokens("T"))], &["T"], |net| {
        let (y, _) = net.unit("first", "T", net.embed(net.inputs["text"]), None, false);
        let (y, last) = net.unit("second", "T", y, None, false);
        net.output("scores", net.dense("scores", y));
        net.output("last", last);
    })
}

/// An encoder of both directions, a decoder with attention over what the encoder says, and a picture for both.
fn translator() -> Network {
    let inputs =
        [("source", numbers("S")), ("scene", TensorType::f32([Dim::batch(), Dim::fixed(N)])), ("text", tokens("T"))];
    network(&inputs, &["S", "T"], |net| {
        let (b, s, t, n) = (Dim::batch(), Dim::axis("S"), Dim::axis("T"), Dim::fixed(N));
        let (forth, last) = net.unit("forth", "S", net.inputs["source"], None, false);
        let (back, _) = net.unit("back", "S", net.inputs["source"], None, true);
        let memory = forth + back;
        let scene = net.inputs["scene"];
        let (y, _) = net.unit("decoder", "T", net.embed(net.inputs["text"]), Some(last + scene), false);
        // [B, T, S, n]
        let product = y.reshape(&[b.clone(), t.clone(), Dim::ONE, n.clone()])
            * memory.reshape(&[b.clone(), Dim::ONE, s.clone(), n.clone()]).broadcast_to(&[
                b.clone(),
                t.clone(),
                s.clone(),
                n.clone(),
            ]);
        let scores = product.sum(&[3]);
        let mask = net.masks["S"].reshape(&[b.clone(), Dim::ONE, s, Dim::ONE]);
        let scores = mask.select(scores, net.builder.scalar(f64::NEG_INFINITY));
        let weights = (scores - scores.reduce(Combine::Max, &[2])).exp();
        let context = (product * (weights / weights.sum(&[2]))).sum(&[2]).reshape(&[b.clone(), t, n.clone()]);
        net.output("scores", net.dense("scores", y + context + scene.reshape(&[b, Dim::ONE, n])));
        net.output("encoded", last);
    })
}

/// Values for everything that is not learned, and seeded ones for what is.
fn evaluated(graph: &Graph, given: &Tensors, sizes: &[(&str, usize)]) -> BTreeMap<(OutputRole, String), Tensor> {
    let mut extents = Extents::default();
    for (name, n) in sizes {
        extents.set(if *name == "B" { Symbol::Batch } else { Symbol::Axis((*name).into()) }, *n);
    }
    let scope = Scope::new(extents, Precision::F64);
    let find = |source: &Source| match source.role {
        Role::Param => {
            let seed =
                source.name.bytes().fold(7, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
            values(&source.ty.eval(&scope.extents), &mut Random(seed))
        }
        _ => given.get(&source.name).unwrap_or_else(|| panic!("nobody gives {source:?}")).clone(),
    };
    graph.verify();
    let values = eval(graph, &find, &scope);
    graph.outputs.iter().map(|output| ((output.role, output.name.clone()), values[output.value].clone())).collect()
}

fn values(shape: &[usize], random: &mut Random) -> Tensor {
    let n = shape.iter().product();
    Tensor::f32(shape, (0..n).map(|_| random.unit()).collect())
}

fn inputs(network: &Network, sizes: &[(&str, usize)]) -> Tensors {
    let mut extents = Extents::default();
    for (name, n) in sizes {
        extents.set(if *name == "B" { Symbol::Batch } else { Symbol::Axis((*name).into()) }, *n);
    }
    let mut random = Random(3);
    let mut tensor = |port: &Port| {
        let values = values(&port.ty.eval(&extents), &mut random);
        match port.ty.element {
            ElementType::F32 => values,
            ElementType::I32 => {
                let data = values.data.iter().map(|x| (x.abs() * 1e3).floor() % VOCABULARY as f64).collect();
                Tensor::i32(&values.shape, data)
            }
        }
    };
    network.ports.iter().map(|port| (port.name.clone(), tensor(port))).collect()
}

/// `len` elements of an axis from `start` on.
fn part(x: &Tensor, axis: usize, start: usize, len: usize) -> Tensor {
    let inner: usize = x.shape[axis + 1..].iter().product();
    let n = x.shape[axis];
    let mut shape = x.shape.clone();
    shape[axis] = len;
    let chosen = |at: &usize| (start..start + len).contains(&(at / inner.max(1) % n.max(1)));
    Tensor::new(x.element, &shape, (0..x.data.len()).filter(chosen).map(|at| x.data[at]).collect())
}

fn squeeze(x: &Tensor, axis: usize) -> Tensor {
    let mut shape = x.shape.clone();
    assert_eq!(shape.remove(axis), 1);
    Tensor::new(x.element, &shape, x.data.clone())
}

fn assert_near(what: &str, found: &Tensor, expected: &Tensor) {
    assert_eq!(found.shape, expected.shape, "{what}");
    for (at, (found, expected)) in found.data.iter().zip(&expected.data).enumerate() {
        assert!((found - expected).abs() < 1e-9, "{what}: element {at} is {found}, not {expected}");
    }
}

/// The graph of a variant, simplified or not.
fn graph(network: &Network, variant: &Variant, simple: bool) -> Graph {
    check(network, variant).unwrap_or_else(|error| panic!("{error}"));
    let graph = forward_graph(network, variant);
    if simple { simplify(&graph) } else { graph }
}

fn variant(entry: Entry) -> Variant {
    Variant::from(entry)
}

fn output(name: &str) -> (OutputRole, String) {
    (OutputRole::Output, name.to_owned())
}

#[test]
fn members_are_as_long_as_their_lengths() {
    let network = translator();
    let masked = Variant { masked: true, ..variant(Entry::Forward) };
    let sizes = [("B", 3), ("S", 4), ("T", 5)];
    let mut given = inputs(&network, &sizes);
    let lengths = [[4, 2, 1], [5, 0, 3]];
    for (axis, lengths) in ["S", "T"].into_iter().zip(lengths) {
        given.insert(axis.to_owned(), Tensor::i32(&[3], lengths.map(f64::from).to_vec()));
    }
    let all = evaluated(&graph(&network, &masked, true), &given, &sizes);
    for member in 0..3 {
        let [s, t] = lengths.map(|lengths| lengths[member] as usize);
        let mut alone = Tensors::new();
        for port in &network.ports {
            let mut tensor = part(&given[&port.name], 0, member, 1);
            for (axis, n) in [("S", s), ("T", t)] {
                if let Some(at) = port.ty.shape.iter().position(|dim| *dim == Dim::axis(axis)) {
                    tensor = part(&tensor, at, 0, n);
                }
            }
            alone.insert(port.name.clone(), tensor);
        }
        let alone =
            evaluated(&graph(&network, &variant(Entry::Forward), true), &alone, &[("B", 1), ("S", s), ("T", t)]);
        assert_near("encoded", &part(&all[&output("encoded")], 0, member, 1), &alone[&output("encoded")]);
        let scores = part(&part(&all[&output("scores")], 0, member, 1), 1, 0, t);
        assert_near("scores", &scores, &alone[&output("scores")]);
    }
}

#[test]
fn without_lengths_nothing_is_masked() {
    for network in [stack(), translator()] {
        let text = graph(&network, &variant(Entry::Forward), true).to_string();
        for word in ["select", "mask", "iota", "compare", "lt("] {
            assert!(!text.contains(word), "`{word}` in\n{text}");
        }
        let masked = Variant { masked: true, ..variant(Entry::Forward) };
        let text = graph(&network, &masked, true).to_string();
        assert!(text.contains("input T") && text.contains("select"), "{text}");
    }
}

#[test]
fn windows_go_on_where_the_last_one_ended() {
    let network = stack();
    let given = inputs(&network, &[("B", 2), ("T", 7)]);
    let whole = evaluated(&graph(&network, &variant(Entry::Forward), true), &given, &[("B", 2), ("T", 7)]);
    let carried = graph(&network, &Variant { carried: true, ..variant(Entry::Forward) }, true);
    let names: Vec<&str> = sources(&carried, Role::Carry);
    assert_eq!(names, ["first.h", "first.c", "second.h", "second.c"]);
    let mut states: Tensors = names.iter().map(|name| ((*name).to_owned(), Tensor::filled(&[2, N], 0.0))).collect();
    let mut from = 0;
    for steps in [3, 0, 1, 3] {
        let mut given = Tensors::from([("text".to_owned(), part(&given["text"], 1, from, steps))]);
        given.append(&mut states);
        let mut found = evaluated(&carried, &given, &[("B", 2), ("T", steps)]);
        assert_near("scores", &found[&output("scores")], &part(&whole[&output("scores")], 1, from, steps));
        from += steps;
        if from == 7 {
            assert_near("last", &found[&output("last")], &whole[&output("last")]);
        }
        found.retain(|(role, _), _| *role == OutputRole::Update);
        states = found.into_iter().map(|((_, name), tensor)| (name, tensor)).collect();
    }
}

fn sources(graph: &Graph, role: Role) -> Vec<&str> {
    let name = |op| match op {
        &Op::Source(Source { role: known, ref name, .. }) if known == role => Some(name.as_str()),
        _ => None,
    };
    graph.nodes().filter_map(|(_, node)| name(&node.op)).collect()
}

/// Steps through `n` steps of `T`; `sizes` are those of all else.
fn check_steps(network: &Network, n: usize, sizes: &[(&str, usize)], lengths: &[(&str, Vec<f64>)], simple: bool) {
    let sizes_whole = [sizes, &[("T", n)]].concat();
    let mut given = inputs(network, &sizes_whole);
    for (axis, lengths) in lengths {
        given.insert((*axis).to_owned(), Tensor::i32(&[lengths.len()], lengths.clone()));
    }
    let masked = !lengths.is_empty();
    if masked {
        given.insert("T".to_owned(), Tensor::i32(&[sizes[0].1], vec![n as f64; sizes[0].1]));
    }
    let whole = evaluated(&graph(network, &Variant { masked, ..variant(Entry::Forward) }, true), &given, &sizes_whole);
    let of = |entry| graph(network, &Variant { masked, axis: Some("T".to_owned()), ..variant(entry) }, simple);
    let (begin, step) = (of(Entry::Begin), of(Entry::Step));
    let text = step.to_string();
    assert!(!text.contains("step of T") && !text.contains("[B, T"), "a recurrence is left:\n{text}");
    let started = evaluated(&begin, &given, sizes);
    let mut states = Tensors::new();
    for ((role, name), value) in started {
        match role {
            OutputRole::Update => drop(states.insert(name, value)),
            _ => assert_near(&name, &value, &whole[&(role, name.clone())]),
        }
    }
    for at in 0..n {
        let mut now = states.clone();
        for port in network.ports.iter().filter(|port| port.ty.shape.contains(&Dim::axis("T"))) {
            now.insert(port.name.clone(), squeeze(&part(&given[&port.name], 1, at, 1), 1));
        }
        for ((role, name), value) in evaluated(&step, &now, sizes) {
            let what = format!("{name} at step {at}");
            match (role, &whole.get(&(role, name.clone()))) {
                (OutputRole::Update, _) => drop(states.insert(name, value)),
                (_, Some(whole)) if whole.shape.get(1) == Some(&n) && whole.shape.len() == 3 => {
                    assert_near(&what, &value, &squeeze(&part(whole, 1, at, 1), 1));
                }
                (_, Some(whole)) if at + 1 == n => assert_near(&what, &value, whole),
                (_, whole) => assert!(whole.is_some(), "{what}"),
            }
        }
    }
}

#[test]
fn steps_give_what_the_whole_gives() {
    for simple in [false, true] {
        for n in [1, 2, 5] {
            check_steps(&stack(), n, &[("B", 2)], &[], simple);
            check_steps(&translator(), n, &[("B", 2), ("S", 4)], &[], simple);
            check_steps(&translator(), n, &[("B", 3), ("S", 4)], &[("S", vec![4.0, 1.0, 2.0])], simple);
        }
        check_steps(&stack(), 3, &[("B", 0)], &[], simple);
    }
}

#[test]
fn the_last_step_is_the_one_so_far() {
    let network = network(&[("x", numbers("T"))], &["T"], |net| {
        let (y, _) = net.unit("unit", "T", net.inputs["x"], None, false);
        let t = Dim::axis("T");
        let position = net.builder.iota(1, vec![Dim::ONE, t.clone(), Dim::ONE]).to_f32();
        let mask = position.compare(CompareFn::Eq, net.builder.size(&t) - 1.0);
        let last = mask.select(y, net.builder.scalar(0.0)).sum(&[1]);
        net.output("class", net.dense("class", last.reshape(&[Dim::batch(), Dim::fixed(N)])));
    });
    for n in [1, 4] {
        check_steps(&network, n, &[("B", 2)], &[], true);
    }
}

/// Networks that cannot take one step at a time, and why.
#[test]
fn what_needs_more_than_a_step_is_refused() {
    let refused = |expected: &str, build: &dyn Fn(&Net<'_>)| {
        let network = network(&[("x", numbers("T"))], &["T"], |net| {
            net.builder.set_origin(Some(net.builder.add_origin("layer")));
            build(net);
        });
        let error = check(&network, &variant(Entry::Step)).expect_err(expected).to_string();
        assert_eq!(error, format!("`layer` cannot take one step of `T` at a time: it {expected}"));
    };
    refused("reads the sequence backwards", &|net| {
        net.output("y", net.unit("layer", "T", net.inputs["x"], None, true).0);
    });
    refused("needs all steps at once", &|net| net.output("y", net.inputs["x"].mean(&[1])));
    refused("needs all steps at once", &|net| net.output("y", net.inputs["x"].max(&[1])));
    refused("needs all steps at once", &|net| {
        let (y, last) = net.unit("unit", "T", net.inputs["x"], None, false);
        net.builder.set_origin(Some(net.builder.add_origin("layer")));
        net.output("y", y + last.reshape(&[Dim::batch(), Dim::ONE, Dim::fixed(N)]));
    });
    refused("begins with what comes of the steps", &|net| {
        let (y, last) = net.unit("unit", "T", net.inputs["x"], None, false);
        net.output("y", net.unit("layer", "T", y, Some(last), false).0);
    });
    refused("compares steps with each other", &|net| {
        let (b, t, n) = (Dim::batch(), Dim::axis("T"), Dim::fixed(2));
        let one = net.inputs["x"].reshape(&[b.clone(), t.clone(), Dim::ONE, n.clone()]);
        net.output("y", one + net.inputs["x"].reshape(&[b, Dim::ONE, t, n]));
    });
    refused("has windows that reach over several steps", &|net| {
        net.output("y", net.inputs["x"].slice(1, 0, Dim::axis("T").window(-2, 1)));
    });
    refused("mixes the steps", &|net| {
        net.output("y", net.inputs["x"].reshape(&[Dim::batch(), Dim::fixed(2), Dim::axis("T")]));
    });
    refused("depends on how many steps there are, or on the number of the step", &|net| {
        net.output("y", net.inputs["x"] * net.builder.iota(1, vec![Dim::ONE, Dim::axis("T"), Dim::ONE]).to_f32());
    });
}

#[test]
fn what_cannot_be_carried_is_refused() {
    let refused = |network: &Network, expected: &str| {
        let carried = Variant { carried: true, ..variant(Entry::Forward) };
        let error = check(network, &carried).expect_err(expected).to_string();
        assert_eq!(error, expected);
    };
    refused(&translator(), "`back` reads its sequence backwards, so no state can be carried into it");
    let init = network(&[("x", numbers("T"))], &["T"], |net| {
        let first = net.param("first", &[1, N]).broadcast_to(&[Dim::batch(), Dim::fixed(N)]);
        net.output("y", net.unit("unit", "T", net.inputs["x"], Some(first), false).0);
    });
    refused(&init, "`unit` begins with a value that the network gives it, not with a carried one");
    let none = network(&[("x", numbers("T"))], &["T"], |net| net.output("y", net.inputs["x"]));
    refused(&none, "the network has no recurrence whose state could be carried");
}
