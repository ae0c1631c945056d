//! Loop nests over the same rows are one, compute what they should, and are not one where that would cost more.

#[path = "support/nets.rs"]
mod nets;
#[path = "support/random.rs"]
mod random;
mod support;

use netc::kernel::{Kernel, Scalar, Step, UnaryFn};
use netc::pipeline::{Entry, Variant, lower};
use netc::types::Dim;
use nets::{check_entry, network};

/// Rows of every kind: a few, as many as are computed side by side and more, in several chunks.
const SIZES: [(usize, usize); 4] = [(1, 1), (3, 2), (4, 3), (37, 5)];

/// The loop nests of a network's entry, all agreeing with the interpreter.
#[track_caller]
fn loops(entry: Entry, text: &str) -> Vec<Kernel> {
    let network = network(text);
    check_entry(text, &network, entry, &SIZES);
    let steps = lower(&network, entry, &mut ()).0.program.steps;
    let kernels = steps.into_iter().filter_map(|step| match step {
        Step::Loop(kernel) => Some(kernel),
        _ => None,
    });
    kernels.collect()
}

fn of_layer(loops: &[Kernel], layer: &str) -> Vec<Kernel> {
    loops.iter().filter(|kernel| kernel.name.starts_with(layer)).cloned().collect()
}

/// How many loops along rows reductions have, and how many reductions there are.
fn reductions(kernel: &Kernel) -> (usize, usize) {
    let mut axes: Vec<_> = kernel
        .exprs
        .values()
        .filter_map(|scalar| match scalar {
            Scalar::Reduce { axis, .. } => Some(*axis),
            _ => None,
        })
        .collect();
    let n = axes.len();
    axes.sort();
    axes.dedup();
    (axes.len(), n)
}

#[test]
fn softmax_and_norms_are_one_loop() {
    for n in [8, 9, 16, 17, 33, 65, 100, 600] {
        for layer in ["softmax", "log_softmax", "layernorm"] {
            let text = format!("net rows {{\n  input x[{n}]\n  y = {layer}\n  output y\n}}\n");
            assert_eq!(loops(Entry::Forward, &text).len(), 1, "{layer} of {n}");
        }
    }
    // Vectors along rows of five would be mostly empty.
    let text = "net rows {\n  input x[5]\n  y = softmax\n  output y\n}\n";
    assert!(loops(Entry::Forward, text).len() > 1);
}

#[test]
fn a_loss_and_its_gradient_are_one_loop() {
    for n in [8, 10, 65, 300] {
        for loss in ["cross_entropy(y, t)", "cross_entropy(y, t, label_smoothing = 0.1)"] {
            let text = format!(
                "net loss {{\n  input x[T, 3]\n  target t[T]: token({n})\n  y = dense({n})\n  output y\n  loss {loss}\n}}\n"
            );
            let loops = loops(Entry::Gradients, &text);
            let inner = |kernel: &Kernel| kernel.domain.len() == 2 && kernel.depths().contains(&2);
            let over_rows: Vec<Kernel> = of_layer(&loops, "cross_entropy1").into_iter().filter(inner).collect();
            let [kernel] = over_rows.as_slice() else { panic!("one loop over all elements, of {text}: {loops:?}") };
            // The gradient is stored for each class, the loss for each row.
            let mut depths = kernel.depths();
            depths.sort_unstable();
            assert_eq!((depths.first(), depths.last()), (Some(&1), Some(&2)), "{kernel}");
        }
        for loss in ["mse", "mae", "huber", "kl"] {
            let text = format!(
                "net loss {{\n  input x[3]\n  target t[{n}]\n  y = dense({n})\n  output y\n  loss {loss}(y, t)\n}}\n"
            );
            let loops = of_layer(&loops(Entry::Gradients, &text), loss);
            let kernel = &loops[0];
            assert_eq!(
                kernel.stores.len() - kernel.depths().iter().filter(|&&depth| depth == 2).count(),
                1,
                "{kernel}"
            );
            // The sum of a row goes along with its gradient: what both read is read once.
            assert_eq!(reductions(kernel), (1, 1), "{kernel}");
            assert!(kernel.axes.len() == 2, "{kernel}");
        }
    }
}

/// Logarithms are dear, and computed once: the sum of a row goes along the loop that stores its gradient.
#[test]
fn a_loss_of_logarithms_and_its_gradient_are_one_loop() {
    for n in [8, 17, 64, 300] {
        for (last, loss) in [("sigmoid", "y, t"), ("tanh", "y, t, from_logits = true")] {
            let text = format!(
                "net loss {{\n  input x[3]\n  target t[{n}]\n  y = dense({n}, {last})\n  output y\n  loss binary_cross_entropy({loss})\n}}\n"
            );
            let loops = of_layer(&loops(Entry::Gradients, &text), "binary_cross_entropy1");
            let over_elements: Vec<&Kernel> = loops.iter().filter(|kernel| kernel.depths().contains(&2)).collect();
            let [kernel] = over_elements[..] else { panic!("one loop over all elements, of {text}: {loops:?}") };
            assert_eq!((reductions(kernel), kernel.axes.len(), kernel.stores.len()), ((1, 1), 2, 2), "{kernel}");
        }
    }
}

#[test]
fn two_sums_of_one_map_are_one_loop() {
    let text = "net sums {\n  input x[2, 9, 9]\n  target t[12]\n  y = conv3x3(12) -> batchnorm -> relu -> global_avgpool\n  output y\n  loss mse(y, t)\n}\n";
    let loops = of_layer(&loops(Entry::Gradients, text), "batchnorm1");
    let pair = loops.iter().find(|kernel| kernel.stores.len() == 2 && reductions(kernel).1 > reductions(kernel).0);
    let pair = pair.unwrap_or_else(|| panic!("two sums, over the same loops: {loops:?}"));
    let (n_loops, n) = reductions(pair);
    assert_eq!(n, 2 * n_loops, "{pair}");
}

/// A function of an error is not computed three times over.
#[test]
fn what_is_dear_is_stored() {
    let text = "net dear {\n  input x[4]\n  a = dense(32, gelu)\n  y = layernorm\n  output y\n}\n";
    let erfs = loops(Entry::Forward, text)
        .iter()
        .flat_map(|kernel| kernel.exprs.values())
        .fold(0, |n, scalar| n + usize::from(matches!(scalar, Scalar::Unary(UnaryFn::Erf, _))));
    assert_eq!(erfs, 1);
}

/// What a loss is divided by is known from the targets alone, before the loss is.
#[test]
fn a_loss_with_a_total_and_its_gradient_are_one_loop() {
    let weights = "weight = [1, 2, 1, 3, 1, 1, 0.5, 1, 1]";
    for options in ["ignore = 0", weights, &format!("{weights}, ignore = 2, label_smoothing = 0.1")] {
        let text = format!(
            "net loss {{\n  input x[T, 3]\n  target t[T]: token(9)\n  y = dense(9)\n  output y\n  loss cross_entropy(y, t, {options})\n  metric accuracy(y, t)\n}}\n"
        );
        let all = of_layer(&loops(Entry::Gradients, &text), "cross_entropy1");
        let is_exp = |scalar: &Scalar| matches!(scalar, Scalar::Unary(UnaryFn::Exp, _));
        let of_scores: Vec<&Kernel> = all.iter().filter(|kernel| kernel.exprs.values().any(is_exp)).collect();
        let [kernel] = of_scores[..] else { panic!("one loop reads the scores, of {text}: {all:?}") };
        assert!(kernel.depths().contains(&2), "it stores the gradient: {kernel}");
        loops(Entry::Evaluate, &text);
    }
}

/// So it is where lengths say which steps count.
#[test]
fn a_loss_of_steps_that_exist_and_its_gradient_are_one_loop() {
    for (loss, target) in [
        ("cross_entropy(y, t)", "t[T]: token(9)"),
        ("cross_entropy(y, t, ignore = 0)", "t[T]: token(9)"),
        ("mse(y, t)", "t[T, 9]"),
    ] {
        let text =
            format!("net loss {{\n  input x[T, 3]\n  target {target}\n  y = dense(9)\n  output y\n  loss {loss}\n}}\n");
        let variant = Variant { masked: true, ..Variant::from(Entry::Gradients) };
        let steps = lower(&network(&text), variant, &mut ()).0.program.steps;
        let of_scores = steps.iter().filter(|step| {
            let Step::Loop(kernel) = step else { return false };
            let is_of_loss = kernel.name.starts_with("cross_entropy1") || kernel.name.starts_with("mse1");
            is_of_loss && kernel.axes.values().any(|n| *n == Dim::fixed(9))
        });
        let all: Vec<String> = steps.iter().map(Step::to_string).collect();
        assert_eq!(of_scores.count(), 1, "{text}{all:#?}");
    }
}

/// The norm that clips is of what was put together from two products: its squares are added up there.
#[test]
fn squares_are_added_up_where_gradients_are_put_together() {
    let text = "net clip {\n  input x[T, 8]\n  target t[256]\n  y = lstm(hidden = 256) -> last\n  output y\n  loss mse(y, t)\n}\ntrain clip {\n  optimizer sgd(lr = 0.1)\n  clip norm(1)\n}\n";
    let steps = lower(&network(text), Entry::TrainStep, &mut ()).0.program.steps;
    let both = steps.iter().filter_map(Step::kernel).filter(|kernel| {
        let depths = kernel.depths();
        kernel.name.starts_with("lstm1")
            && kernel.stores.len() == 2
            && depths.contains(&1)
            && depths.contains(&2)
            && reductions(kernel) == (1, 1)
    });
    assert_eq!(both.count(), 4, "one for each gate's matrix of the state");
}
