//! Members of different lengths in one batch compute what they would compute alone: values, losses and gradients.

use std::collections::BTreeMap;

use netc::autodiff::gradient;
use netc::diag::render::render;
use netc::diag::{Code, Message, Sources};
use netc::elaborate::{Options, elaborate};
use netc::graph::{Builder, Graph, OutputRole, Value};
use netc::interp::{Precision, Scope, Tensor, eval};
use netc::network::Network;
use netc::ops::{Op, Role, Source};
use netc::types::{Dim, ElementType, Extents, Symbol};

fn network(body: &str) -> Network {
    let mut sources = Sources::new();
    let root = sources.add("test.net", format!("{CELLS}net n {{\n{body}\n}}\n"));
    let mut loader = |_: &str, _: &str| Err(Message::new(Code::ImportNotFound, "no files"));
    let network = elaborate(&mut sources, root, &mut loader, &Options::default());
    network.unwrap_or_else(|errors| panic!("{}", render(&sources, &errors, false)))
}

const CELLS: &str = "
cell decoder(n) {
  input x[d]
  input memory[S, m]
  state h[n]
  context = memory -> attention(h)
  h' = tanh([x, context, h] -> dense(n))
  output [h', context] -> dense(2)
}
block part {
  conv_lstm(2, k = 1) -> conv3x3(2)
}
cell pair(n) {
  input x[a]
  input y[b]
  state h[n] = 0.5
  h' = tanh([x, y, h] -> dense(n) -> layernorm)
  output h'
}
";

/// Numbers that depend on a name and a place alone, between -1 and 1.
fn number(name: &str, at: usize) -> f64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in name.bytes().chain(at.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    (hash >> 40) as f64 / (1u64 << 23) as f64 - 1.0
}

/// The lengths of each axis, for each member.
type Lengths = BTreeMap<&'static str, Vec<usize>>;

/// One call: the members `members` of the whole batch, in axes as long as the longest of them.
struct Call<'n> {
    graph: &'n Graph,
    members: Vec<usize>,
    lengths: &'n Lengths,
    scope: Scope,
    /// Whether every step is said to exist.
    is_blind: bool,
}

impl<'n> Call<'n> {
    fn new(graph: &'n Graph, members: Vec<usize>, lengths: &'n Lengths, room: usize) -> Self {
        let mut extents = Extents::with_batch(members.len());
        for (axis, all) in lengths {
            let longest = members.iter().map(|&member| all[member]).max().unwrap_or(0);
            extents.set(Symbol::Axis((*axis).into()), longest + room);
        }
        Call { graph, members, lengths, scope: Scope::new(extents, Precision::F64), is_blind: false }
    }
    /// The length of `member` along an axis: a number, or that of a sequence.
    fn length(&self, dim: &Dim, member: usize) -> usize {
        let mut extents = Extents::with_batch(1);
        self.lengths.iter().for_each(|(axis, all)| extents.set(Symbol::Axis((*axis).into()), all[member]));
        dim.eval(&extents)
    }
    /// Each place of a value of a batch: the member, the index in what it has alone (none beyond its ends).
    fn places(&self, shape: &[Dim]) -> Vec<(usize, Option<usize>)> {
        let sizes: Vec<usize> = shape.iter().map(|dim| dim.eval(&self.scope.extents)).collect();
        let mut places = Vec::new();
        for at in 0..sizes.iter().product() {
            let mut rest = at;
            let mut index = vec![0; sizes.len()];
            for axis in (0..sizes.len()).rev() {
                index[axis] = rest % sizes[axis];
                rest /= sizes[axis];
            }
            let member = self.members[index[0]];
            let own: Vec<usize> = shape.iter().map(|dim| self.length(dim, member)).collect();
            let inside = (1..index.len()).all(|axis| index[axis] < own[axis]);
            let flat = (1..index.len()).fold(0, |flat, axis| flat * own[axis] + index[axis]);
            places.push((member, inside.then_some(flat)));
        }
        places
    }
    fn source(&self, source: &Source) -> Tensor {
        let shape = source.ty.eval(&self.scope.extents);
        let n: usize = shape.iter().product();
        let data: Vec<f64> = match source.role {
            Role::Input | Role::Target => (self.places(&source.ty.shape).into_iter())
                .map(|(member, place)| match (place, source.ty.element) {
                    (Some(place), ElementType::F32) => number(&format!("{} {member}", source.name), place),
                    (Some(place), ElementType::I32) => {
                        ((number(&format!("{} {member}", source.name), place) + 1.0) * 1.5).floor()
                    }
                    // What stands beyond the end must not matter.
                    (None, ElementType::F32) => 3.0,
                    (None, ElementType::I32) => 2.0,
                })
                .collect(),
            Role::Mask if self.is_blind => vec![1.0; n],
            Role::Mask => self.places(&source.ty.shape).iter().map(|(_, place)| f64::from(place.is_some())).collect(),
            Role::Param => (0..n).map(|at| number(&source.name, at)).collect(),
            _ => vec![0.0; n],
        };
        match source.ty.element {
            ElementType::F32 => Tensor::f32(&shape, data),
            ElementType::I32 => Tensor::i32(&shape, data),
        }
    }
    fn values(&self) -> netc::index::IndexVec<Value, Tensor> {
        eval(self.graph, &|source| self.source(source), &self.scope)
    }
}

/// The graph with the gradients of its loss as further outputs: of parameters, then of numbers that flow in.
fn with_gradients(graph: &Graph) -> Graph {
    let builder = Builder::from_graph(graph.clone());
    let loss = graph.outputs.iter().find(|output| output.role == OutputRole::Loss).expect("a loss");
    let wrt: Vec<(Value, Source)> = graph
        .nodes()
        .filter_map(|(value, node)| match &node.op {
            Op::Source(source) if source.role == Role::Param => Some((value, source.clone())),
            Op::Source(source) if source.role == Role::Input && source.ty.element == ElementType::F32 => {
                Some((value, source.clone()))
            }
            _ => None,
        })
        .collect();
    let values: Vec<Value> = wrt.iter().map(|(value, _)| *value).collect();
    for (ct, (_, source)) in gradient(&builder, builder.var(loss.value), &values).into_iter().zip(wrt) {
        builder.add_output(netc::graph::Output { role: OutputRole::Gradient, name: source.name, value: ct.id });
    }
    builder.finish()
}

/// How members weigh in the loss.
enum Weigh {
    /// Each alike.
    Members,
    /// By their lengths along this axis.
    Steps(&'static str),
}

#[track_caller]
fn check(body: &str, lengths: &[(&'static str, &[usize])], weigh: &Weigh) {
    let lengths: Lengths = lengths.iter().map(|(axis, all)| (*axis, all.to_vec())).collect();
    let n_members = lengths.values().next().expect("an axis").len();
    let network = network(body);
    let graph = with_gradients(&network.inference);
    for room in [0, 2] {
        let whole = Call::new(&graph, (0..n_members).collect(), &lengths, room);
        let together = whole.values();
        let weights: Vec<f64> = (0..n_members)
            .map(|member| match weigh {
                Weigh::Members => 1.0 / n_members as f64,
                Weigh::Steps(axis) => lengths[axis][member] as f64 / lengths[axis].iter().sum::<usize>() as f64,
            })
            .collect();
        let alone: Vec<_> = (0..n_members)
            .map(|member| {
                let call = Call::new(&graph, vec![member], &lengths, 0);
                call.values()
            })
            .collect();
        for output in &graph.outputs {
            let found = &together[output.value];
            let ty = graph.ty(output.value);
            let expected: Vec<f64> = if ty.shape.first() == Some(&Dim::batch()) {
                let is_gradient = output.role == OutputRole::Gradient;
                let scale = |member: usize| if is_gradient { weights[member] } else { 1.0 };
                let own = |(member, place): (usize, Option<usize>)| {
                    place.map_or(0.0, |place| scale(member) * alone[member][output.value].data[place])
                };
                whole.places(&ty.shape).into_iter().map(own).collect()
            } else {
                let parts = |at: usize| (0..n_members).map(move |member| (member, at));
                let sum =
                    |at| parts(at).map(|(member, at)| weights[member] * alone[member][output.value].data[at]).sum();
                (0..found.data.len()).map(sum).collect()
            };
            for (at, (found, expected)) in found.data.iter().zip(&expected).enumerate() {
                let near = (found - expected).abs() < 1e-9;
                assert!(
                    near,
                    "{} {}[{at}] with room {room}: {found}, alone {expected}\n{body}",
                    output.role, output.name
                );
            }
        }
    }
}

const LENGTHS: &[(&str, &[usize])] = &[("T", &[3, 5, 1, 0])];

/// A sequence to a sequence: `layers` between.
#[track_caller]
fn check_each(layers: &str) {
    let body = format!("input x[T, 3]\ntarget y[T, 2]\n{layers}\nz = dense(2)\noutput z\nloss mse(z, y)");
    check(&body, LENGTHS, &Weigh::Steps("T"));
}

/// A sequence to one value.
#[track_caller]
fn check_one(layers: &str) {
    let body = format!("input x[T, 3]\ntarget y[2]\n{layers}\nz = dense(2)\noutput z\nloss mse(z, y)");
    check(&body, LENGTHS, &Weigh::Members);
}

#[test]
fn cells_and_their_stacks() {
    for cell in ["rnn(4)", "lstm(4)", "gru(4)", "gru(4, reset = after)", "mgu(4)", "peephole(4)"] {
        check_each(cell);
        check_one(&format!("{cell} -> last"));
    }
    check_each("lstm(4)x2 -> gru(3)");
    check_each("reverse(lstm(4)) -> rnn(3)");
    check_each("bidirectional(gru(3)x2)x2");
    check_one("bidirectional(lstm(2)) -> last");
}

#[test]
fn final_states_are_those_of_the_last_step() {
    check_one("layer a = lstm(4)\nx -> a\na.h + a.c -> dense(3)");
    check_one("layer a = reverse(gru(4))\nx -> a\na.state -> dense(3)");
    check_one("layer a = bidirectional(rnn(4))\nx -> a\na.state -> dense(3)");
    check_each("layer a = lstm(4)\nx -> a -> lstm(4, init = a.state)");
    check_each("layer a = lstm(4)\nx -> a -> lstm(4, init = [a.c, a.h])");
    check_each("y0 = x -> mean_over(T) -> dense(4)\nx -> gru(4, init = y0)");
    check_each("p = x -> dense(2)\nx -> pair(p, 4)");
    check_each("p = x -> mean_over(T)\nx -> pair(p, 4)");
}

#[test]
fn sequences_become_one_value() {
    for layers in ["last", "mean_over(T)", "max_over(T)", "dense(4, tanh) -> max_over(T)"] {
        check_one(layers);
    }
    check_one("w = dense(1) -> reshape([]) -> softmax(axis = 0)\nx -> dense(4) -> last");
}

#[test]
fn windows_see_zeros_beyond_the_end() {
    check_each("conv1d(4, k = 3)");
    check_each("conv1d(4, k = 5, act = tanh) -> conv1d(3, k = 3)");
    check_one("conv1d(4, k = 2, pad = 0) -> max_over(T)");
    check_one("conv1d(4, k = 3, stride = 2) -> conv1d(2, k = 3, stride = 2) -> gru(3) -> mean_over(T)");
}

#[test]
fn attention_sees_what_exists() {
    check_each("attention");
    check_each("attention(causal = true)");
    check_each("dense(4) -> multi_head_attention(2)");
    check_each("dense(4) -> multi_head_attention(2, causal = true)");
    check_one("q = x -> last -> dense(4)\nx -> dense(4) -> attention(q)");
    check_one("q = x -> last -> dense(4)\nx -> dense(5) -> multi_head_attention(2, query = q)");
    let two: &[(&str, &[usize])] = &[("S", &[2, 0, 4, 1]), ("T", &[3, 5, 0, 1])];
    let ports = "input memory[S, 4]\ninput x[T, 3]\ntarget y[T, 2]\n";
    let end = "\nz = dense(2)\noutput z\nloss mse(z, y)";
    for layers in [
        "q = x -> gru(4)\nmemory -> attention(q)",
        "q = x -> gru(4)\nmemory -> multi_head_attention(2, query = q)",
        "m = memory -> gru(3)\nx -> decoder(m, n = 3)",
    ] {
        check(&format!("{ports}{layers}{end}"), two, &Weigh::Steps("T"));
    }
}

#[test]
fn losses_and_metrics_count_steps() {
    let head = "input x[T, 3]\ntarget t[T]: token(3)\nlstm(3)\nz = dense(3)\noutput z\n";
    for loss in ["cross_entropy(z, t)", "cross_entropy(z, t, label_smoothing = 0.1)"] {
        let body = format!("{head}loss {loss}\nmetric accuracy(z, t)\nmetric top(z, t, k = 2)");
        check(&body, LENGTHS, &Weigh::Steps("T"));
    }
    let head = "input x[T, 3]\ntarget t[T, 2]\nlstm(3)\nz = dense(2, sigmoid)\noutput z\n";
    for loss in ["mse(z, t)", "l1(z, t)", "huber(z, t)", "binary_cross_entropy(z, t)", "kl(z, t)"] {
        check(&format!("{head}loss {loss}\nmetric mae(z, t)"), LENGTHS, &Weigh::Steps("T"));
    }
    // Where the sum is divided by weights, a member with steps of one class alone weighs as its steps do.
    let body =
        "input x[T, 3]\ntarget t[T]: token(3)\nz = dense(3)\noutput z\nloss cross_entropy(z, t, weight = [2, 2, 2])";
    check(body, LENGTHS, &Weigh::Steps("T"));
}

#[test]
fn maps_have_sequences_too() {
    let ports = "input x[T, 1, 3, 3]\ntarget y[T, 2, 3, 3]\n";
    for layers in ["conv_lstm(2)", "conv1x1(2) -> bidirectional(conv_lstm(1))", "part"] {
        check(&format!("{ports}z = {layers}\noutput z\nloss mse(z, y)"), LENGTHS, &Weigh::Steps("T"));
    }
}

/// The tests above would notice a missing mask.
#[test]
fn without_masks_padding_matters() {
    let lengths: Lengths = LENGTHS.iter().map(|(axis, all)| (*axis, all.to_vec())).collect();
    let head = "input x[T, 3]\ntarget y[2]\n";
    let end = "\nz = dense(2)\noutput z\nloss mse(z, y)";
    for layers in
        ["rnn(2) -> last", "reverse(rnn(2)) -> last", "last", "mean_over(T)", "max_over(T)", "attention -> last"]
    {
        let network = network(&format!("{head}{layers}{end}"));
        let mut call = Call::new(&network.inference, (0..4).collect(), &lengths, 1);
        let loss = network.inference.outputs[1].value;
        let seen = call.values()[loss].data[0];
        call.is_blind = true;
        assert!((call.values()[loss].data[0] - seen).abs() > 1e-3, "{layers}");
    }
}

#[test]
fn a_batch_without_steps_has_no_loss() {
    let network = network("input x[T, 3]\ntarget y[T, 2]\nlstm(3)\nz = dense(2)\noutput z\nloss mse(z, y)");
    let lengths: Lengths = [("T", vec![0, 0])].into();
    for room in [0, 3] {
        let call = Call::new(&network.inference, vec![0, 1], &lengths, room);
        let values = call.values();
        assert_eq!(values[network.inference.outputs[1].value].data, [0.0]);
    }
}

/// Statistics in training are over the steps that exist.
#[test]
fn statistics_leave_out_what_does_not_exist() {
    let network = network("input x[T, 3]\ntarget y[2]\nbatchnorm -> last\nz = dense(2)\noutput z\nloss mse(z, y)");
    let graph = &network.training;
    let lengths: Lengths = [("T", vec![3, 5, 1, 0])].into();
    let outputs = |room| {
        let values = Call::new(graph, (0..4).collect(), &lengths, room).values();
        graph.outputs.iter().flat_map(|output| values[output.value].data.clone()).collect::<Vec<f64>>()
    };
    let (tight, wide) = (outputs(0), outputs(4));
    assert!(tight.iter().zip(&wide).all(|(a, b)| (a - b).abs() < 1e-12), "{tight:?} {wide:?}");
}
