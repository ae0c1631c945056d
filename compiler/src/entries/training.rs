//! What training adds to a graph: the backward pass, and the optimizer's step.

use crate::autodiff::gradient;
use crate::graph::{Builder, Graph, Output, OutputRole, Value, Var};
use crate::layers::optimizer::{self, clip};
use crate::network::{GRADIENT_NORM, LEARNING_RATE, Network, Parameter, STEP};
use crate::ops::{Op, Role};
use crate::types::TensorType;

/// Appends the backward pass; with `updates`, the optimizer's step too, else the gradients as outputs.
pub(crate) fn with_gradients(graph: Graph, network: &Network, updates: bool) -> Graph {
    let loss = graph.outputs.iter().find(|output| output.role == OutputRole::Loss);
    let loss = loss.expect("the caller has checked that there is a loss").value;
    let mut parameters: Vec<(String, Value)> = graph
        .nodes()
        .filter_map(|(value, node)| match &node.op {
            Op::Source(source) if source.role == Role::Param => Some((source.name.clone(), value)),
            _ => None,
        })
        .collect();
    let builder = Builder::from_graph(graph);
    // What nothing reads may be gone already. Its gradient is 0, and weights decay all the same.
    for parameter in &network.parameters {
        if !parameters.iter().any(|(path, _)| *path == parameter.path) {
            let ty = TensorType::f32(parameter.shape.iter().copied());
            parameters.push((parameter.path.clone(), builder.source(Role::Param, &parameter.path, ty).id));
        }
    }
    let wrt: Vec<Value> = parameters.iter().map(|(_, value)| *value).collect();
    let gradients = gradient(&builder, builder.var(loss), &wrt);
    if !updates {
        for ((path, _), gradient) in parameters.iter().zip(&gradients) {
            let output = Output { role: OutputRole::Gradient, name: path.clone(), value: gradient.id };
            builder.add_output(output);
        }
        return builder.finish();
    }
    update(&builder, network, &parameters, gradients);
    builder.finish()
}

/// The name of the input that is the gradient with respect to a parameter.
pub(crate) fn gradient_name(path: &str) -> String {
    format!("gradient.{path}")
}

/// The optimizer's step alone: the gradients are inputs, of [`gradient_name`].
pub(crate) fn apply(network: &Network) -> Graph {
    let builder = Builder::default();
    let source = |role: Role, name: &str, parameter: &Parameter| {
        builder.source(role, name, TensorType::f32(parameter.shape.iter().copied()))
    };
    let (mut parameters, mut gradients) = (Vec::new(), Vec::new());
    for parameter in &network.parameters {
        parameters.push((parameter.path.clone(), source(Role::Param, &parameter.path, parameter).id));
        gradients.push(source(Role::Input, &gradient_name(&parameter.path), parameter));
    }
    update(&builder, network, &parameters, gradients);
    builder.finish()
}

/// Appends the optimizer's step.
fn update<'g>(builder: &'g Builder, network: &Network, parameters: &[(String, Value)], mut gradients: Vec<Var<'g>>) {
    if let Some(clip) = network.settings.clip {
        let (clipped, norm) = clip::clip(clip, &gradients);
        gradients = clipped;
        if let Some(norm) = norm {
            let name = GRADIENT_NORM.to_owned();
            builder.add_output(Output { role: OutputRole::Metric, name, value: norm.id });
        }
    }
    let lr = builder.source(Role::Rate, LEARNING_RATE, TensorType::scalar());
    let step = builder.source(Role::Rate, STEP, TensorType::scalar());
    for ((path, value), gradient) in parameters.iter().zip(gradients) {
        let parameter = builder.var(*value);
        let moment = |name: &str| builder.source(Role::Moment, &moment_name(name, path), parameter.ty());
        let updated = optimizer::update(&network.settings.optimizer, parameter, gradient, moment, lr, step);
        for (name, value) in updated.moments {
            let name = moment_name(name, path);
            builder.add_output(Output { role: OutputRole::Update, name, value: value.id });
        }
        let name = path.clone();
        builder.add_output(Output { role: OutputRole::Update, name, value: updated.parameter.id });
    }
}

/// The name of an optimizer's moment of a parameter, in checkpoints too.
fn moment_name(moment: &str, path: &str) -> String {
    format!("optimizer.{moment}.{path}")
}
