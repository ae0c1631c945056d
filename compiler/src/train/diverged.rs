//! Why a training diverged, as far as can be seen afterwards.

use std::fmt::Write;

use crate::network::Optimizer;
use crate::session::{Session, TensorView};

/// What is wrong after a step whose loss or parameters are no finite numbers, and what to try.
///
/// The step has replaced the parameters, so its cause is read off what it left: a parameter is spoiled where its gradient
/// was, and gradients come from the loss back.
pub(super) fn explain(session: &Session, batch: &[(&str, TensorView<'_>)], loss: f32) -> String {
    let is_spoiled = |tensor: &TensorView<'_>| match tensor {
        TensorView::F32(values) => values.iter().any(|value| !value.is_finite()),
        TensorView::I32(_) => false,
    };
    if let Some((name, _)) = batch.iter().find(|(_, tensor)| is_spoiled(tensor)) {
        return format!("`{name}` of this batch holds a value that is no finite number: look at the data");
    }
    let paths = session.network().parameters.iter().map(|parameter| parameter.path.as_str());
    let is_finite = |path: &str| session.parameter(path).is_some_and(|values| values.iter().all(|x| x.is_finite()));
    let (finite, spoiled): (Vec<&str>, Vec<&str>) = paths.partition(|path| is_finite(path));
    let mut text = match spoiled.last() {
        None => format!("the loss is {loss}, though every parameter is a finite number"),
        Some(_) if finite.is_empty() => format!("the loss is {loss}, and with it every gradient"),
        Some(last) => {
            let layer = last.rsplit_once('.').map_or(*last, |(layer, _)| layer);
            format!("from the loss back, `{layer}` is the first layer whose gradient is no finite number")
        }
    };
    let settings = &session.network().settings;
    let rate = session.learning_rate();
    // Writing to a string cannot fail.
    let _ = write!(text, "; try a lower learning rate than {rate}");
    if settings.clip.is_none() {
        text += ", or `clip norm(1)`";
    }
    if matches!(settings.optimizer, Optimizer::Sgd { .. }) {
        text += ", or `optimizer adam(lr = 1e-3)`";
    }
    text
}
