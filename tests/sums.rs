//! Sums over a map's pixels are taken with the convolution that computes it, and only where that gives the same.

#[path = "support/nets.rs"]
mod nets;
#[path = "support/random.rs"]
mod random;
mod support;

use netc::graph::{Builder, Output, OutputRole, Var};
use netc::kernel::{Algorithm, ColumnSums, ConvCall, Direction, Scalar, Step};
use netc::ops::{Convolution, Kept, Role};
use netc::pipeline::{Entry, lower};
use netc::schedule::schedule;
use netc::types::{Dim, TensorType};
use nets::{check_entry, network};

/// The steps of a network's entry, all agreeing with the interpreter for batches from one size to another.
#[track_caller]
fn steps(entry: Entry, text: &str, batches: [usize; 3]) -> Vec<Step> {
    let network = network(text);
    check_entry(text, &network, entry, &batches.map(|n| (n, 1)));
    lower(&network, entry, &mut ()).0.program.steps
}

fn convolutions(steps: &[Step], direction: Direction) -> Vec<&ConvCall> {
    let calls = steps.iter().filter_map(|step| match step {
        Step::Conv(call) if call.direction == direction => Some(call),
        _ => None,
    });
    calls.collect()
}

/// How many loops there are that reduce something of a layer along two axes or more.
fn loops_over_maps(steps: &[Step], layer: &str) -> usize {
    let is_one = |step: &&Step| {
        let Step::Loop(kernel) = step else { return false };
        let reduced = |scalar: &Scalar| match scalar {
            Scalar::Reduce { axis, .. } => Some(*axis),
            _ => None,
        };
        let mut axes: Vec<_> = kernel.exprs.values().filter_map(reduced).collect();
        axes.sort();
        axes.dedup();
        axes.len() > 1 && kernel.name.starts_with(layer)
    };
    steps.iter().filter(is_one).count()
}

/// What of the gradient, forward and on the way back, goes with convolutions: squares, products.
fn counts(steps: &[Step]) -> [(usize, usize); 2] {
    [Direction::Forward, Direction::DataGrad].map(|direction| {
        let sums = || convolutions(steps, direction).into_iter().filter_map(|call| call.sums.as_ref());
        (sums().filter_map(|sums| sums.squares()).count(), sums().map(|sums| sums.products().len()).sum())
    })
}

#[test]
fn statistics_of_a_batch() {
    // Few channels and many, strides, Winograd's algorithms, groups, channels by themselves.
    for (first, second, size) in [
        ("conv3x3(12)", "conv3x3(5)", 9),
        ("conv3x3(32, bias = false)", "conv3x3(48)", 12),
        ("conv7x7(16, stride = 2)", "conv1x1(40)", 20),
        ("conv3x3(32, groups = 4)", "conv3x3(32, stride = 2)", 11),
        ("conv1x1(24)", "conv3x3(24, groups = 24)", 10),
    ] {
        let text = format!(
            "net sums {{\n  input x[8, {size}, {size}]\n  {first} -> batchnorm -> relu -> {second} -> batchnorm -> relu\n  y = conv1x1(3)\n  output y\n  loss mse(y, 0)\n}}\n"
        );
        let text = text.replace("loss mse(y, 0)", "target t[1]\n  z = y -> flatten -> dense(1)\n  loss mse(z, t)");
        let steps = steps(Entry::TrainStep, &text, [1, 2, 5]);
        assert_eq!(counts(&steps), [(2, 0), (0, 2)], "{text}");
        assert_eq!(loops_over_maps(&steps, "batchnorm"), 0, "{text}");
    }
}

#[test]
fn two_normalizations_of_one_gradient() {
    let text = "net shortcut {\n  input x[6, 14, 14]\n  target t[3]\n  a = x -> conv3x3(32, stride = 2) -> batchnorm\n  b = x -> conv1x1(32, stride = 2) -> batchnorm\n  c = relu(a + b)\n  z = c -> conv3x3(32) -> relu -> flatten -> dense(3)\n  output z\n  loss mse(z, t)\n}\n";
    let steps = steps(Entry::Gradients, text, [1, 2, 5]);
    assert_eq!(counts(&steps), [(2, 0), (0, 2)], "one convolution's gradient is that of both");
    let call = convolutions(&steps, Direction::DataGrad).into_iter().find_map(|call| call.sums.as_ref());
    assert_eq!(call.map(|sums| sums.products().len()), Some(2));
}

#[test]
fn the_gradient_of_a_bias() {
    let text = "net bias {\n  input x[3, 16, 16]\n  target t[3]\n  conv3x3(32, relu) -> conv3x3(32, relu) -> conv3x3(32, tanh)\n  z = flatten -> dense(3)\n  output z\n  loss mse(z, t)\n}\n";
    let steps = steps(Entry::Gradients, text, [0, 1, 5]);
    let back = convolutions(&steps, Direction::DataGrad);
    assert!(back.iter().any(|call| call.algorithm != Algorithm::Direct), "Winograd's are among them");
    let plain = back.iter().filter_map(|call| call.sums.as_ref()).filter(|sums| sums.products().is_empty());
    assert_eq!(plain.count(), 2, "the last layer's gradient comes from no convolution");
}

/// Sums that need another mean than that of the map are loops of their own.
#[test]
fn other_sums_stay() {
    // Normalized for each image: the sums are of its pixels alone.
    let text = "net apart {\n  input x[6, 9, 9]\n  target t[3]\n  conv3x3(16) -> groupnorm(16) -> relu\n  z = flatten -> dense(3)\n  output z\n  loss mse(z, t)\n}\n";
    let steps = steps(Entry::Gradients, text, [1, 2, 5]);
    let with_sums = convolutions(&steps, Direction::Forward).into_iter().filter(|call| call.sums.is_some());
    assert_eq!(with_sums.count(), 0, "{text}");
}

/// What goes with a convolution of which these are the outputs, each made of its map `y` and a source `m[5]`.
fn sums_of(outputs: impl for<'b> Fn(&'b Builder, Var<'b>, Var<'b>) -> Vec<Var<'b>>) -> Option<ColumnSums> {
    let b = Builder::default();
    let map =
        |c: usize, size: usize| TensorType::f32([Dim::batch(), Dim::fixed(c), Dim::fixed(size), Dim::fixed(size)]);
    let [kernel, stride, pad, dilation] = [[3, 3], [1, 1], [1, 1], [1, 1]];
    let image = [7, 7].map(Dim::fixed);
    let op = Convolution {
        direction: Direction::Forward,
        kernel,
        stride,
        pad,
        dilation,
        groups: 1,
        image,
        keeps: Kept::All,
    };
    let x = b.source(Role::Input, "x", map(4, 7));
    let w = b.source(Role::Param, "w", TensorType::f32([5, 4, 3, 3]));
    let m = b.source(Role::Input, "m", TensorType::f32([5])).reshape(&[1, 5, 1, 1].map(Dim::fixed));
    let y = b.emit(op, &[x, w]);
    let mut values: Vec<_> = outputs(&b, y, m).into_iter().map(|value| value.id).collect();
    values.push((y * 2.0).id);
    for (at, value) in values.into_iter().enumerate() {
        b.add_output(Output { role: OutputRole::Output, name: format!("out{at}"), value });
    }
    let steps = schedule(&b.finish()).program.steps;
    convolutions(&steps, Direction::Forward)[0].sums.clone()
}

#[test]
fn only_the_squares_about_the_mean() {
    let about_mean = |count: f64| {
        sums_of(move |_, y, _| {
            let sum = y.sum(&[0, 2, 3]);
            let mean = if count == 0.0 { y.mean(&[0, 2, 3]) } else { sum / count };
            let apart = y - mean.reshape(&[1, 5, 1, 1].map(Dim::fixed));
            vec![mean, (apart * apart).sum(&[0, 2, 3])]
        })
    };
    assert!(about_mean(0.0).is_some_and(|sums| sums.squares().is_some()));
    // Of fewer pixels than there are.
    assert!(about_mean(49.0).is_some_and(|sums| sums.squares().is_none()));
    let about_input = sums_of(|_, y, m| vec![y.sum(&[0, 2, 3]), ((y - m) * (y - m)).sum(&[0, 2, 3])]);
    assert!(about_input.is_some_and(|sums| sums.squares().is_none()));
    // Squares by themselves, and sums over a part of the axes.
    assert_eq!(sums_of(|_, y, m| vec![((y - m) * (y - m)).sum(&[0, 2, 3])]), None);
    assert_eq!(sums_of(|_, y, _| vec![y.sum(&[2, 3]), y.sum(&[0, 2])]), None);
    assert_eq!(sums_of(|_, y, _| vec![(y * y).sum(&[0, 2, 3])]), None);
    // Sums of each member, which the caller wants by themselves.
    let of_members = sums_of(|_, y, _| {
        let members = y.sum(&[2, 3]);
        vec![members, members.reshape(&[Dim::batch(), Dim::fixed(5)]).sum(&[0])]
    });
    assert_eq!(of_members, None);
    // Products about a part of a longer source.
    let about_a_part = sums_of(|b, y, _| {
        let long = b.source(Role::Input, "long", TensorType::f32([10]));
        let about = long.slice(0, 0, Dim::fixed(5)).reshape(&[1, 5, 1, 1].map(Dim::fixed));
        let other = b.source(Role::Input, "other", TensorType::f32(y.shape())) * 1.0;
        vec![y.sum(&[0, 2, 3]), (y * (other - about)).sum(&[0, 2, 3])]
    });
    assert!(about_a_part.is_some_and(|sums| sums.products().is_empty()));
}
