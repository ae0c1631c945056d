//! A training loop of one's own: gradients, what becomes of them, and the optimizer's step.

use super::inputs::bind;
use super::{Outputs, Session, TensorView};
use crate::entries::gradient_name;
use crate::error::Error;
use crate::network::Port;
use crate::pipeline::{Entry, Variant};
use crate::types::{Extents, TensorType};

impl Session {
    /// The loss and its gradients as [`Session::gradients`] computes them; running statistics are replaced, as in
    /// [`Session::train_step`]. With [`Session::apply_gradients`] it is one half of a training step of one's own.
    ///
    /// # Examples
    /// Two batches to one step, the gradients added up:
    ///
    /// ```
    /// use ndarray::{ArrayD, array};
    /// use netc::{Net, SessionOptions, inputs};
    ///
    /// let text = "net line {\n  input x[1]\n  target y[1]\n  p = dense(1)\n  output p\n  loss mse(p, y)\n}
    /// train line { optimizer sgd(lr = 0.1) }";
    /// let mut session = Net::from_source("line.net", text).compile(&SessionOptions::default())?;
    /// let batches = [(array![[1.0_f32]], array![[2.0_f32]]), (array![[-1.0]], array![[0.0]])];
    /// for _ in 0..100 {
    ///     let mut sums: Vec<(String, ArrayD<f32>)> = Vec::new();
    ///     for (x, y) in &batches {
    ///         let outputs = session.backward(inputs![x, y])?;
    ///         for (at, (path, gradient)) in outputs.gradients().enumerate() {
    ///             match sums.get_mut(at) {
    ///                 Some((_, sum)) => *sum += &gradient,
    ///                 None => sums.push((path.to_owned(), gradient.to_owned())),
    ///             }
    ///         }
    ///     }
    ///     let gradients: Vec<_> = sums.iter().map(|(path, sum)| (path.as_str(), sum.into())).collect();
    ///     session.apply_gradients(&gradients)?;
    /// }
    /// assert_eq!(session.step(), 100);
    /// assert!((session.parameter("p.weight").unwrap().sum() - 1.0).abs() < 1e-3);
    /// # Ok::<(), netc::Error>(())
    /// ```
    ///
    /// # Errors
    /// When an input or target is missing or does not fit, or there is no loss.
    pub fn backward(&mut self, inputs: &[(&str, TensorView<'_>)]) -> Result<Outputs, Error> {
        let outputs = self.call(Entry::Backward, inputs)?;
        self.version += 1;
        Ok(outputs)
    }

    /// One step of the optimizer with these gradients, one for each parameter, by path and of its shape: clipping, moments
    /// and weight decay as the network's `train` block says, at [`Session::learning_rate`].
    ///
    /// The result has the gradients' global norm as a metric where they are clipped by it.
    ///
    /// # Errors
    /// When a gradient is missing, unknown or of another shape, or there is no loss.
    pub fn apply_gradients(&mut self, gradients: &[(&str, TensorView<'_>)]) -> Result<Outputs, Error> {
        let parameters = &self.network.parameters;
        for (name, _) in gradients {
            if !parameters.iter().any(|parameter| parameter.path == *name) {
                return Err(Error::Input(format!("the network has no parameter `{name}` that a gradient could be of")));
            }
        }
        let missing = parameters.iter().find(|parameter| !gradients.iter().any(|(name, _)| *name == parameter.path));
        if let Some(missing) = missing {
            return Err(Error::Input(format!("the gradient of `{}` is missing", missing.path)));
        }
        let ports: Vec<Port> = parameters
            .iter()
            .map(|parameter| Port {
                name: parameter.path.clone(),
                is_target: false,
                ty: TensorType::f32(parameter.shape.iter().copied()),
                vocabulary: None,
            })
            .collect();
        let mut bound = bind(&self.network, &ports, gradients, Extents::default())?;
        bound.arrays.iter_mut().for_each(|(name, _)| *name = gradient_name(name));
        let outputs = self.run(&Variant::from(Entry::Apply), bound)?;
        self.step += 1;
        self.version += 1;
        Ok(outputs)
    }
}
