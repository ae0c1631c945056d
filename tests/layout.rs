//! How maps lie in memory: their channels side by side wherever convolutions have to do with them.

#[path = "support/nets.rs"]
mod nets;
#[path = "support/random.rs"]
mod random;
mod support;

use netc::kernel::{ConvCall, Home, IntExpr, Kernel, Program, Scalar, Step};
use netc::pipeline::{Entry, lower};
use netc::types::Dim;
use nets::{check_entry, network};

/// The program of a network's entry, which agrees with the interpreter.
#[track_caller]
fn program(entry: Entry, text: &str, sizes: &[(usize, usize)]) -> Program {
    let network = network(text);
    check_entry(text, &network, entry, sizes);
    lower(&network, entry, &mut ()).0.program
}

fn convolutions(program: &Program) -> Vec<&ConvCall> {
    let all = program.steps.iter().filter_map(|step| match step {
        Step::Conv(call) => Some(call),
        _ => None,
    });
    all.collect()
}

/// Whether a kernel reads and writes neighbors along its innermost loop, and nothing farther apart.
fn goes_along_neighbors(kernel: &Kernel) -> bool {
    let Some(&inner) = kernel.domain.last() else { return true };
    let loads = kernel.exprs.values().filter_map(|scalar| match scalar {
        Scalar::Load { at, .. } => Some(at),
        _ => None,
    });
    let mut addresses = loads.chain(kernel.stores.iter().map(|store| &store.at));
    addresses.all(|at| {
        let moves = |int| kernel.ints[int] == IntExpr::Axis(inner);
        at.terms.iter().filter(|(int, _)| moves(*int)).all(|(_, stride)| *stride == Dim::ONE)
    })
}

/// A cell over maps: what the input adds for all steps, the states, and the gradients of both.
#[test]
fn sequences_of_maps_have_their_channels_side_by_side() {
    let text = "cell maps(channels) {
      input x[cin, height, width]
      state h[channels, height, width], c[channels, height, width]
      f = sigmoid([x, h] -> conv3x3(channels))
      c' = f * c + (1 - f) * tanh([x, h] -> conv3x3(channels))
      h' = tanh(c')
      output h'
    }
    net video {
      input  x[T, 3, 6, 5]
      target y[T, 8, 6, 5]
      z = x -> maps(16) -> maps(8)
      output z
      loss   mse(z, y)
    }";
    for entry in [Entry::Forward, Entry::Gradients] {
        let program = program(entry, text, &[(2, 3), (1, 1), (3, 0)]);
        let scans = program.steps.iter().filter_map(|step| match step {
            Step::Scan(scan) => Some(scan),
            _ => None,
        });
        let kernels: Vec<&Kernel> = scans.flat_map(|scan| scan.body.iter().filter_map(Step::kernel)).collect();
        assert!(kernels.len() >= 2, "{program}");
        for kernel in kernels {
            assert!(goes_along_neighbors(kernel), "{kernel}");
        }
        // A weight lies as the caller's does, and nothing turns it at each step.
        let is_weight = |call: &&ConvCall| call.weight.strides.last() == Some(&Dim::ONE);
        assert!(convolutions(&program).iter().all(is_weight), "{program}");
    }
}

/// States of the call before, which are the caller's, are turned before a convolution reads them.
#[test]
fn states_of_many_channels_are_turned() {
    let text = "cell maps(channels) {\n  input x[cin, height, width]\n  state h[channels, height, width]\n  \
                h' = tanh((x -> conv3x3(channels)) + (h -> conv3x3(channels)))\n  output h'\n}\n\
                net video {\n  input x[T, 3, 6, 5]\n  y = maps(16)\n  output y\n}";
    let program = program(Entry::Step, text, &[(2, 0), (1, 0)]);
    let of_state: Vec<_> = convolutions(&program).into_iter().filter(|call| call.geometry.c == 16).collect();
    assert!(!of_state.is_empty() && of_state.iter().all(|call| call.x.strides[1] == Dim::ONE), "{program}");
}

/// Inputs of many channels are turned where that pays.
#[test]
fn inputs_of_many_channels_are_turned_once() {
    let reads = |channels: usize, layers: &str| -> Vec<bool> {
        let text = format!(
            "net maps {{\n  input x[{channels}, 7, 6]\n  target t[5]\n  {layers}\n  y = global_avgpool -> dense(5)\n  output y\n  loss mse(y, t)\n}}"
        );
        program(Entry::Gradients, &text, &[(2, 0), (1, 0)]);
        let program = program(Entry::Forward, &text, &[(3, 0)]);
        let is_turned = |call: &&ConvCall| call.x.strides[1] == Dim::ONE;
        let of_input = |call: &&&ConvCall| call.geometry.c == channels;
        convolutions(&program).iter().filter(of_input).map(is_turned).collect()
    };
    assert_eq!(reads(16, "conv3x3(4)"), [true]);
    assert_eq!(reads(15, "conv3x3(4)"), [false], "of few channels pixels are gathered");
    assert_eq!(reads(16, "conv1x1(4)"), [false], "each number is read once");
    let branches =
        "concat {\n    conv1x1(4)\n    conv1x1(3, relu)\n    maxpool3x3(stride = 1, pad = 1) -> conv1x1(2)\n  }";
    assert_eq!(reads(17, branches), [true, true, true]);
}

/// What a convolution computes for a join it writes there, with its tail.
#[test]
fn parts_of_a_join_are_written_there() {
    let text = "net join {\n  input x[3, 8, 8]\n  a = conv3x3(6, relu)\n  concat {\n    conv1x1(4, relu)\n    conv3x3(5, sigmoid)\n  }\n  y = conv3x3(2)\n  output y\n}";
    let program = program(Entry::Forward, text, &[(2, 0), (1, 0)]);
    let parts = convolutions(&program)[1..3].to_vec();
    assert_eq!(parts[0].y.buffer, parts[1].y.buffer, "{program}");
    assert!(parts.iter().all(|part| part.epilogue.is_some()), "{program}");
    let loops = program.steps.iter().filter(|step| matches!(step, Step::Loop(_)));
    assert_eq!(loops.count(), 1, "only the output is copied: {program}");
}

/// Weights of any shape, and those that are computed from parameters, are packed before the first call.
#[test]
fn weights_that_stay_are_packed_once() {
    for text in [
        "net text {\n  input x[T, 5]\n  y = conv1d(7, k = 3, act = relu) -> max_over(T)\n  output y\n}",
        "cell maps(channels) {\n  input x[cin, height, width]\n  state h[channels, height, width]\n  \
         h' = sigmoid([x, h] -> conv3x3(channels)) * tanh([x, h] -> conv3x3(channels))\n  output h'\n}\n\
         net video {\n  input x[T, 3, 6, 5]\n  y = maps(4)x2\n  output y\n}",
    ] {
        let program = program(Entry::Forward, text, &[(2, 5), (1, 3)]);
        let steps = program.steps.iter().flat_map(|step| match step {
            Step::Scan(scan) => scan.body.iter().collect(),
            step => vec![step],
        });
        let packed: Vec<bool> = steps
            .filter_map(|step| match step {
                Step::Conv(call) => {
                    Some(call.packed.is_some_and(|buffer| program.buffers[buffer].home == Home::Prepared))
                }
                _ => None,
            })
            .collect();
        assert!(!packed.is_empty() && packed.iter().all(|is_packed| *is_packed), "{program}");
    }
}

/// Rows and columns that are repeated, and those that are added up on the way back: channels stay side by side.
#[test]
fn maps_that_grow_have_their_channels_side_by_side() {
    let text = "net grows {
      input  x[3, 4, 5]
      target y[2, 16, 15]
      conv3x3(8, relu) -> upsample(2) -> conv3x3(16, relu) -> upsample([2, 1]) -> conv(2, k = [3, 1])
      p = adaptive_avgpool([16, 5]) -> upsample([1, 3])
      output p
      loss   mse(p, y)
    }";
    for entry in [Entry::Forward, Entry::Gradients] {
        let program = program(entry, text, &[(2, 0), (1, 0)]);
        for call in convolutions(&program) {
            let is_input = matches!(program.buffers[call.x.buffer].home, Home::External(_));
            assert!(is_input || call.x.strides[1] == Dim::ONE, "{call:?}\n{program}");
            assert_eq!(call.y.strides[1], Dim::ONE, "{call:?}\n{program}");
        }
        let grows = program.steps.iter().filter_map(Step::kernel).filter(|kernel| kernel.name.starts_with("upsample"));
        for kernel in grows {
            assert!(kernel.name == "upsample3" || goes_along_neighbors(kernel), "{kernel}");
        }
    }
}

/// How weights of groups are packed depends on how maps lie: also where these are the caller's, with their channels apart.
#[test]
fn weights_fit_how_maps_lie() {
    let layers = [
        (8, "conv3x3(8, groups = 8)"),
        (8, "conv3x3(8, groups = 2, stride = 2)"),
        (8, "conv1x1(8, groups = 2)"),
        (80, "conv1x1(1)"),
        (20, "conv3x3(2)"),
    ];
    for (channels, layer) in layers {
        for before in [String::new(), format!("conv1x1({channels}, relu) -> ")] {
            let text = format!(
                "net m {{
                  input  x[{channels}, 7, 9]
                  target t[1]
                  {before}{layer} -> flatten
                  y = dense(1)
                  output y
                  loss   mse(y, t)
                }}"
            );
            for entry in [Entry::Forward, Entry::Gradients] {
                program(entry, &text, &[(2, 0), (1, 0)]);
            }
        }
    }
}

/// A map whose rows and columns take over channels, and one that gives them some of its own, with convolutions on both sides.
#[test]
fn channels_become_pixels_and_pixels_channels() {
    let text = "net shuffles {
      input  x[3, 4, 5]
      target y[8, 4, 5]
      conv3x3(24, relu) -> reshape([6, 2, 2, 4, 5]) -> transpose([0, 3, 1, 4, 2]) -> reshape([6, 8, 10])
      conv3x3(2, relu) -> reshape([2, 4, 2, 5, 2]) -> transpose([0, 2, 4, 1, 3]) -> reshape([8, 4, 5])
      p = conv1x1(8)
      output p
      loss   mse(p, y)
    }";
    for entry in [Entry::Forward, Entry::Gradients] {
        let program = program(entry, text, &[(2, 0), (1, 0)]);
        assert!(convolutions(&program).iter().all(|call| call.y.strides[1] == Dim::ONE), "{program}");
    }
}
