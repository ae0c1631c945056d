//! How a session's gradients flow back through time.

use super::{Session, TensorView};
use crate::entries::is_reversed;
use crate::error::Error;
use crate::pipeline::Entry;

/// Norms of a loss's gradients.
#[derive(Debug, Clone, PartialEq)]
pub struct GradientFlow {
    /// Of the batch.
    pub loss: f32,
    /// Of each parameter, by path.
    pub parameters: Vec<(String, f32)>,
    /// Of each recurrent state.
    pub states: Vec<StateFlow>,
}

/// Of one recurrent state: what the loss depends on it at each step.
#[derive(Debug, Clone, PartialEq)]
pub struct StateFlow {
    /// `<layer>.<state>`
    pub name: String,
    /// The L2 norms, over the batch and all features, of the loss's gradient with respect to the state after each step:
    /// first that of the last step taken, then one step back after the other.
    pub norms: Vec<f32>,
}

impl StateFlow {
    /// The norm at the first step taken by that at the last one: near 0 where gradients vanish, large where they explode.
    pub fn ratio(&self) -> f32 {
        match self.norms.as_slice() {
            [last, .., first] => first / last,
            _ => 1.0,
        }
    }
}

impl Session {
    /// The norms of the loss's gradients with respect to each parameter and to each recurrent state at each step, as
    /// the network trains; changes nothing. Where they fall to nothing from step to step back, the network does
    /// not learn what lies so far back (Bengio et al. 1994).
    ///
    /// # Errors
    /// When an input or target is missing or does not fit, or there is no loss.
    pub fn gradient_flow(&mut self, inputs: &[(&str, TensorView<'_>)]) -> Result<GradientFlow, Error> {
        let outputs = self.call(Entry::Flow, inputs)?;
        let loss = outputs.loss().unwrap_or(f32::NAN);
        let is_parameter = |name: &str| self.network.parameters.iter().any(|parameter| parameter.path == name);
        let (mut parameters, mut states) = (Vec::new(), Vec::new());
        for (name, norms) in outputs.gradients() {
            let name = name.to_owned();
            if is_parameter(&name) {
                parameters.push((name, norms.sum()));
            } else {
                let mut norms: Vec<f32> = norms.iter().copied().collect();
                if !is_reversed(&self.network, &name) {
                    norms.reverse();
                }
                states.push(StateFlow { name, norms });
            }
        }
        Ok(GradientFlow { loss, parameters, states })
    }
}
