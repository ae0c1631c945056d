//! How gradients flow through time: their norms at each step of each recurrence.
//!
//! Each next state gets a *probe* added, a sequence of zeros. The gradient of the loss with respect to a probe's element is
//! the loss's gradient with respect to the state of that step, through all later steps and through what the step puts
//! out: `h_t = f(h_(t-1), x_t) + p_t`, so `dL/dp_t = dL/dh_t`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::carry::{Recurrence, recurrences};
use super::masks;
use super::rebuild::{add_outputs, live, rebuild, successor};
use crate::autodiff::gradient;
use crate::graph::{Builder, Graph, Output, OutputRole, Value, Var};
use crate::index::IndexVec;
use crate::network::Network;
use crate::ops::{Op, Role, Scan, ScanResult, Source};

/// The outputs of a training graph: the loss and metrics, for each parameter the norm of its gradient, and for each
/// recurrent state the norms over batch and features of the loss's gradient with respect to it, `[steps]`. Those of
/// states are named `<layer>.<state>`, and come after the parameters'.
pub(crate) fn with_norms(graph: &Graph) -> Graph {
    let builder = successor(graph);
    let probes = with_probes(&builder, graph);
    let loss = builder.with_graph(|graph| {
        let loss = graph.outputs.iter().find(|output| output.role == OutputRole::Loss);
        loss.expect("the caller has checked that there is a loss").value
    });
    let parameters: Vec<(String, Value)> = builder.with_graph(|graph| {
        let parameters = graph.nodes().filter_map(|(value, node)| match &node.op {
            Op::Source(source) if source.role == Role::Param => Some((source.name.clone(), value)),
            _ => None,
        });
        parameters.collect()
    });
    let wrt: Vec<Value> = parameters.iter().chain(&probes).map(|(_, value)| *value).collect();
    let gradients = gradient(&builder, builder.var(loss), &wrt);
    for (at, ((name, _), gradient)) in parameters.iter().chain(&probes).zip(gradients).enumerate() {
        let kept = usize::from(at >= parameters.len());
        let axes: Vec<usize> = (kept..gradient.rank()).collect();
        let norm = (gradient * gradient).sum(&axes).sqrt().reshape(&gradient.shape()[..kept]);
        builder.add_output(Output { role: OutputRole::Gradient, name: name.clone(), value: norm.id });
    }
    builder.finish()
}

/// Whether the recurrence of the state of this name begins with the last element of its sequence.
pub(crate) fn is_reversed(network: &Network, state: &str) -> bool {
    let all = recurrences(&masks::apply(network.training.clone(), |_| false));
    all.iter().any(|recurrence| recurrence.scan.reverse && recurrence.names.iter().any(|name| name == state))
}

/// The graph again, with a probe `[steps, …]` on each state of each recurrence: their names and values.
fn with_probes(builder: &Builder, graph: &Graph) -> Vec<(String, Value)> {
    let (recurrences, live) = (recurrences(graph), live(graph));
    let is_live = |recurrence: &&Recurrence| recurrence.results.iter().any(|&result| live[result]);
    let live: Vec<&Recurrence> = recurrences.iter().filter(is_live).collect();
    let mut probed: BTreeMap<usize, Probed> = BTreeMap::new();
    let mut all = Vec::new();
    let new = rebuild(builder, graph, |value, _, args| {
        let at = live.iter().position(|known| known.results.contains(&value))?;
        let recurrence = live[at];
        let probed = probed.entry(at).or_insert_with(|| {
            let probed = Probed::new(builder, &recurrence.scan, args);
            all.extend(recurrence.names.iter().cloned().zip(probed.probes.iter().copied()));
            probed
        });
        let Op::Scan(scan) = &graph.node(value).op else { unreachable!("results are scans") };
        let sequences = scan.states + scan.sequences;
        let probes = probed.probes.iter().map(|&probe| builder.var(probe));
        let args: Vec<Var<'_>> =
            args[..sequences].iter().copied().chain(probes).chain(args[sequences..].iter().copied()).collect();
        let result = match scan.result {
            ScanResult::Final(state) => ScanResult::Final(state),
            ScanResult::Each(value) => ScanResult::Each(probed.new[value]),
        };
        let sequences = scan.sequences + scan.states;
        Some(builder.emit(Scan { body: probed.body.clone(), sequences, result, ..scan.clone() }, &args))
    });
    add_outputs(builder, graph, &new);
    all
}

/// A recurrence whose next states have probes.
struct Probed {
    body: Arc<Graph>,
    /// The body's values in the new one, those that are next states with their probes.
    new: IndexVec<Value, Value>,
    /// Outside, one for each state.
    probes: Vec<Value>,
}

impl Probed {
    fn new(builder: &Builder, scan: &Scan, args: &[Var<'_>]) -> Self {
        let body = successor(&scan.body);
        let mut sources: BTreeMap<Value, Value> = BTreeMap::new();
        let mut probes = Vec::new();
        let mut elements: Vec<Value> = Vec::new();
        let mut add_probes = || {
            for arg in &args[..scan.states] {
                let ty = arg.ty();
                let each = ty.with_shape([std::slice::from_ref(&scan.steps), &ty.shape].concat());
                probes.push(builder.constant(0.0, each).id);
                elements.push(body.source(Role::Local, &format!("probe {}", elements.len()), ty).id);
            }
        };
        for (at, (value, source)) in scan.sources().enumerate() {
            if at == scan.states + scan.sequences {
                add_probes();
            }
            let Source { role, name, ty } = source.clone();
            sources.insert(value, body.source(role, &name, ty).id);
        }
        if sources.len() == scan.states + scan.sequences {
            add_probes();
        }
        // Where a state's next value is computed, all that reads it reads the probe, too: another state of the same
        // step may depend on it.
        let mut waiting: BTreeMap<Value, usize> = BTreeMap::new();
        for (state, output) in scan.body.outputs.iter().enumerate() {
            if !sources.contains_key(&output.value) {
                waiting.entry(output.value).or_insert(state);
            }
        }
        let probe = |state: usize| body.var(elements[state]);
        let new: IndexVec<Value, Var<'_>> = rebuild(&body, &scan.body, |value, node, args| {
            if let Some(&source) = sources.get(&value) {
                return Some(body.var(source));
            }
            let state = *waiting.get(&value)?;
            Some(body.emit(node.op.clone(), args) + probe(state))
        });
        for (state, output) in scan.body.outputs.iter().enumerate() {
            let mut next = new[output.value];
            if waiting.get(&output.value) != Some(&state) {
                next = next + probe(state);
            }
            body.add_output(Output { value: next.id, ..output.clone() });
        }
        let ids = new.values().map(|var| var.id).collect::<Vec<_>>();
        let mut new: IndexVec<Value, Value> = IndexVec::new();
        ids.into_iter().for_each(|id| {
            new.push(id);
        });
        Probed { body: Arc::new(body.finish()), new, probes }
    }
}

#[cfg(test)]
mod tests {
    use super::with_norms;
    use crate::graph::{Builder, Graph, Output, OutputRole, Recurrence};
    use crate::interp::{Precision, Scope, Tensor, eval};
    use crate::ops::{Role, Source};
    use crate::types::{Dim, ElementType, Extents, Symbol, TensorType};

    const STEPS: usize = 4;
    const BATCH: usize = 2;

    /// `c' = tanh(w c + x)`, `h' = c' * tanh(h + c')`, the loss being of all `h'`: each state matters through the other, too.
    /// With a perturbation of one element of one state after one step, for differences.
    fn graph(reverse: bool, perturbed: Option<usize>) -> Graph {
        let builder = Builder::default();
        let state = TensorType::f32([Dim::batch(), Dim::fixed(2)]);
        let steps = Dim::axis("T");
        let sequence = state.with_shape([std::slice::from_ref(&steps), state.shape.as_slice()].concat());
        let xs = builder.source(Role::Input, "xs", sequence.clone());
        let w = builder.source(Role::Param, "w", TensorType::f32([2]));
        let bumps = perturbed.map(|_| builder.source(Role::Input, "bumps", sequence));
        let zero = builder.constant(0.0, state);
        builder.set_origin(Some(builder.add_origin("cell")));
        let mut recurrence = Recurrence::new(&builder, steps, reverse);
        let (c, h) = (recurrence.state("c", zero), recurrence.state("h", zero));
        let x = recurrence.element("x", xs);
        let bump = bumps.map(|bumps| recurrence.element("bump", bumps));
        let add = |state: usize, value| match (perturbed, bump) {
            (Some(at), Some(bump)) if at == state => value + bump,
            _ => value,
        };
        let c_next = add(0, (c * w + x).tanh());
        let h_next = add(1, c_next * (h + c_next).tanh());
        recurrence.set_next(0, c_next);
        recurrence.set_next(1, h_next);
        let results = recurrence.finish(&[h_next]);
        let loss = (results.each[0] * results.each[0]).sum(&[0, 1, 2]).reshape(&[]);
        builder.add_output(Output { role: OutputRole::Loss, name: "loss".to_owned(), value: loss.id });
        builder.finish()
    }

    fn outputs(graph: &Graph, bumps: &[f64]) -> Vec<(String, Vec<f64>)> {
        let mut extents = Extents::default();
        extents.set(Symbol::Batch, BATCH);
        extents.set(Symbol::Axis("T".into()), STEPS);
        let scope = Scope::new(extents, Precision::F64);
        let shape = [STEPS, BATCH, 2];
        let xs: Vec<f64> = (0..STEPS * BATCH * 2).map(|i| (i as f64 * 0.37).sin()).collect();
        let sources = |source: &Source| match source.name.as_str() {
            "xs" => Tensor::new(ElementType::F32, &shape, xs.clone()),
            "bumps" => Tensor::new(ElementType::F32, &shape, bumps.to_vec()),
            "w" => Tensor::new(ElementType::F32, &[2], vec![0.8, -1.3]),
            // What stood for a step's values while the recurrence was built is read by nobody.
            name => {
                assert_eq!(source.role, Role::Local, "{name}");
                let shape = source.ty.eval(&scope.extents);
                Tensor::new(ElementType::F32, &shape, vec![0.0; shape.iter().product()])
            }
        };
        let values = eval(graph, &sources, &scope);
        graph.outputs.iter().map(|output| (output.name.clone(), values[output.value].data.clone())).collect()
    }

    #[test]
    fn norms_are_those_of_finite_differences() {
        for reverse in [false, true] {
            let plain = graph(reverse, None);
            let norms = with_norms(&plain);
            norms.verify();
            let found = outputs(&norms, &[]);
            let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["loss", "w", "cell.c", "cell.h"]);
            assert_eq!(found[0].1, outputs(&plain, &[])[0].1, "probes change nothing");
            assert_eq!(found[1].1.len(), 1);
            for state in 0..2 {
                let bumped = graph(reverse, Some(state));
                for step in 0..STEPS {
                    let difference = |at: usize| {
                        let loss = |by: f64| {
                            let mut bumps = vec![0.0; STEPS * BATCH * 2];
                            bumps[step * BATCH * 2 + at] = by;
                            outputs(&bumped, &bumps)[0].1[0]
                        };
                        (loss(1e-5) - loss(-1e-5)) / 2e-5
                    };
                    let norm = (0..BATCH * 2).map(|at| difference(at).powi(2)).sum::<f64>().sqrt();
                    let got = found[2 + state].1[step];
                    assert!((got - norm).abs() < 1e-6 * norm.max(1.0), "{state} {step}: {got} {norm}");
                }
            }
        }
    }
}
