//! Writing sequences: tokens drawn one after another, each from what the network says after those before it.

use std::cmp::Ordering;

use ndarray::{Array1, ArrayView1, ArrayView2, Axis, Ix2};
use netc_runtime::rng::Key;

use super::{Outputs, Session, TensorView};
use crate::error::Error;
use crate::network::{Draw, Generate, Port};
use crate::types::{ElementType, Symbol};

/// Draws the tokens of a batch, step by step; made by [`Session::generate`].
///
/// Each item has a token for each member of the batch, `None` for those that have ended.
#[derive(Debug)]
pub struct Generator<'s> {
    session: &'s mut Session,
    how: Generate,
    key: Key,
    /// How many tokens were drawn.
    drawn: usize,
    /// What was drawn last and is not fed yet.
    fed: Array1<i32>,
    /// The scores after all that was fed.
    outputs: Outputs,
    ended: Vec<bool>,
}

impl Session {
    /// Writes on from a prompt: feeds its tokens, `[batch, length]`, one after another, then draws tokens from the scores
    /// of the last step and feeds them.
    ///
    /// `inputs` are those that are no sequences along the axis of the input that is fed, as for [`Session::begin`]; `how`
    /// is what the file's `generate` block says ([`Network::generate`](crate::Network::generate)), or another. The same
    /// seed gives the same tokens, whatever the number of threads; each member of a batch has random numbers of its own.
    ///
    /// # Examples
    /// ```
    /// use ndarray::array;
    /// use netc::network::{Draw, Generate};
    /// use netc::{Session, SessionOptions};
    ///
    /// let source = "net pairs {\n  input text[T]: token(5)\n  scores = embed(8) -> dense(5)\n  output scores\n}";
    /// let network = netc::check_source("pairs.net", source)?;
    /// let mut session = Session::new(network, &SessionOptions { threads: 1, seed: 3 });
    /// let draw = Draw::Sample { temperature: 0.8, top_k: Some(3) };
    /// let how = Generate { input: "text".into(), output: "scores".into(), draw, until: None, length: 6 };
    /// let prompt = array![[1, 2]];
    /// let tokens = session.generate(prompt.view(), &[], &how, 1)?.collect::<Result<Vec<_>, _>>()?;
    /// let again = session.generate(prompt.view(), &[], &how, 1)?.collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(tokens.len(), 6);
    /// assert_eq!(tokens, again);
    /// # Ok::<(), netc::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the network cannot take one step at a time, the prompt is empty or does not fit, or the output has no score
    /// for each token. The iterator gives an error, and ends, when a score is not a number.
    pub fn generate<'s>(
        &'s mut self,
        prompt: ArrayView2<'_, i32>,
        inputs: &[(&str, TensorView<'_>)],
        how: &Generate,
        seed: u64,
    ) -> Result<Generator<'s>, Error> {
        let port = self.network().ports.iter().find(|port| port.name == how.input && !port.is_target);
        let Some(port) = port else {
            return Err(Error::Input(format!("the network has no input `{}` to feed", how.input)));
        };
        let axis = axis_of(port)?;
        if let Draw::Sample { temperature, top_k } = how.draw {
            if !(temperature.is_finite() && temperature >= 0.0) {
                return Err(Error::Input(format!("a temperature is 0 or more, not {temperature}")));
            }
            if top_k == Some(0) {
                return Err(Error::Input("`top_k` is at least 1".to_owned()));
            }
        }
        if prompt.ncols() == 0 {
            return Err(Error::Input("the prompt has at least one token for the network to begin with".to_owned()));
        }
        let batch = prompt.nrows();
        self.begin_along(&axis, batch, inputs)?;
        let mut outputs = Outputs::default();
        for tokens in prompt.axis_iter(Axis(1)) {
            outputs = self.take_step(&[(&how.input, tokens.into())])?;
        }
        scores(&outputs, how, self)?;
        let (key, fed, ended) = (Key::new(seed), Array1::zeros(0), vec![false; batch]);
        Ok(Generator { session: self, how: how.clone(), key, drawn: 0, fed, outputs, ended })
    }
}

/// The sequence axis of the input that is fed.
fn axis_of(port: &Port) -> Result<String, Error> {
    let name = &port.name;
    match (port.ty.element, port.ty.shape.as_slice()) {
        (ElementType::I32, [_, steps]) if let [Symbol::Axis(axis)] = steps.symbols() => Ok(axis.to_string()),
        _ => {
            Err(Error::Unsupported(format!("`{name}` is no sequence of tokens, so what is drawn cannot be fed to it")))
        }
    }
}

/// `[batch, vocabulary]` of the output that is drawn from.
fn scores<'o>(outputs: &'o Outputs, how: &Generate, session: &Session) -> Result<ArrayView2<'o, f32>, Error> {
    let name = &how.output;
    let Some(scores) = outputs.get(name) else {
        return Err(Error::Input(format!("the network has no output `{name}` to draw from at each step")));
    };
    let vocabulary =
        session.network().ports.iter().find(|port| port.name == how.input).and_then(|port| port.vocabulary);
    let shape = scores.shape().to_vec();
    match scores.into_dimensionality::<Ix2>() {
        Ok(scores) if scores.ncols() > 0 && vocabulary.is_none_or(|n| scores.ncols() <= n) => Ok(scores),
        _ => {
            let n = vocabulary.map_or_else(|| "tokens".to_owned(), |n| format!("{n} tokens"));
            let message =
                format!("`{name}` has shape {shape:?} at a step, not [batch, scores] of the {n} of `{}`", how.input);
            Err(Error::Unsupported(message))
        }
    }
}

impl Generator<'_> {
    /// The tokens of all members at the next step.
    fn draw(&mut self) -> Result<Vec<Option<i32>>, Error> {
        if !self.fed.is_empty() {
            self.outputs = self.session.take_step(&[(&self.how.input, self.fed.view().into())])?;
        }
        let scores = scores(&self.outputs, &self.how, self.session)?;
        let mut tokens = Vec::new();
        for (member, scores) in scores.outer_iter().enumerate() {
            if self.ended[member] {
                tokens.push(None);
                continue;
            }
            let Some(token) = draw(scores, self.how.draw, || uniform(self.key, member, self.drawn)) else {
                let (output, step) = (&self.how.output, self.drawn + 1);
                return Err(Error::Input(format!("`{output}` is no finite score for a token at step {step}")));
            };
            self.ended[member] = self.how.until == Some(token);
            tokens.push(Some(token as i32));
        }
        self.drawn += 1;
        // Members that have ended are fed something, which nobody looks at.
        self.fed = tokens.iter().map(|token| token.unwrap_or(0)).collect();
        Ok(tokens)
    }
}

impl Iterator for Generator<'_> {
    type Item = Result<Vec<Option<i32>>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.drawn >= self.how.length || self.ended.iter().all(|&ended| ended) {
            return None;
        }
        let tokens = self.draw();
        if tokens.is_err() {
            self.ended.fill(true);
        }
        Some(tokens)
    }
}

/// In [0, 1), for a member and a step.
fn uniform(key: Key, member: usize, step: usize) -> f64 {
    let [high, low] = [0, 1].map(|half| u64::from(key.bits(2 * member as u32 + half, step as u32)));
    ((high << 32 | low) >> 11) as f64 / (1_u64 << 53) as f64
}

/// The token that is drawn; `None` when a score is NaN or infinite, or all are minus infinity.
fn draw(scores: ArrayView1<'_, f32>, draw: Draw, uniform: impl FnOnce() -> f64) -> Option<usize> {
    let is_score = |&score: &f32| score.is_finite() || score == f32::NEG_INFINITY;
    if !scores.iter().all(is_score) {
        return None;
    }
    // Sorting is stable: the first of equals comes first.
    let mut tokens: Vec<usize> = (0..scores.len()).collect();
    tokens.sort_by(|&a, &b| scores[b].partial_cmp(&scores[a]).unwrap_or(Ordering::Equal));
    let best = *tokens.first().filter(|&&best| scores[best].is_finite())?;
    let (temperature, top_k) = match draw {
        Draw::ArgMax => return Some(best),
        Draw::Sample { temperature: 0.0, .. } => return Some(best),
        Draw::Sample { temperature, top_k } => (temperature, top_k.unwrap_or(tokens.len())),
    };
    tokens.truncate(top_k);
    let weight = |token: usize| ((f64::from(scores[token]) - f64::from(scores[best])) / temperature).exp();
    let mut left = uniform() * tokens.iter().map(|&token| weight(token)).sum::<f64>();
    for &token in &tokens {
        left -= weight(token);
        if left < 0.0 {
            return Some(token);
        }
    }
    Some(best)
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use netc_runtime::rng::Key;

    use super::{draw, uniform};
    use crate::network::Draw;

    const COLD: Draw = Draw::Sample { temperature: 0.0, top_k: None };

    #[test]
    fn the_first_of_equals_is_the_greatest() {
        for how in [Draw::ArgMax, COLD] {
            assert_eq!(draw(array![1.0, 3.0, 3.0, -0.0].view(), how, || 0.9), Some(1));
            assert_eq!(draw(array![-0.0, 0.0].view(), how, || 0.9), Some(0));
            assert_eq!(draw(array![f32::NEG_INFINITY, -5.0].view(), how, || 0.9), Some(1));
        }
    }

    #[test]
    fn scores_are_numbers() {
        for bad in [f32::NAN, f32::INFINITY] {
            assert_eq!(draw(array![1.0, bad].view(), Draw::ArgMax, || 0.0), None);
        }
        assert_eq!(draw(array![f32::NEG_INFINITY].view(), Draw::ArgMax, || 0.0), None);
    }

    #[test]
    fn tokens_come_as_often_as_their_scores_say() {
        let scores = array![2.0_f32.ln(), 0.0, 5.0_f32.ln(), f32::NEG_INFINITY];
        let counts = |how| {
            let mut counts = [0; 4];
            for step in 0..40_000 {
                counts[draw(scores.view(), how, || uniform(Key::new(9), 3, step)).unwrap()] += 1;
            }
            counts
        };
        let near = |counts: [i32; 4], shares: [f64; 4]| {
            let far = counts.iter().zip(shares).find(|(count, share)| (f64::from(**count) / 4e4 - share).abs() > 0.01);
            assert!(far.is_none(), "{counts:?} {shares:?}");
        };
        near(counts(Draw::Sample { temperature: 1.0, top_k: None }), [0.25, 0.125, 0.625, 0.0]);
        near(counts(Draw::Sample { temperature: 0.5, top_k: None }), [4.0 / 30.0, 1.0 / 30.0, 25.0 / 30.0, 0.0]);
        near(counts(Draw::Sample { temperature: 1.0, top_k: Some(2) }), [2.0 / 7.0, 0.0, 5.0 / 7.0, 0.0]);
        near(counts(Draw::Sample { temperature: 1.0, top_k: Some(1) }), [0.0, 0.0, 1.0, 0.0]);
    }
}
