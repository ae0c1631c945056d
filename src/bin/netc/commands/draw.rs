//! Drawing a token from scores, the same ones for the same seed.

use netc::network::Draw;
use netc_runtime::rng::Key;

/// A stream of random numbers of its own.
const STREAM: u32 = 0x5a4d_504c;

/// Draws one token after the other.
#[derive(Debug)]
pub struct Sampler {
    draw: Draw,
    key: Key,
    n: u32,
}

impl Sampler {
    pub fn new(draw: Draw, seed: u64) -> Self {
        Sampler { draw, key: Key::new(seed), n: 0 }
    }

    /// A token by its scores (logits); `None` when one of them is no finite number. Of equal scores, the first is the
    /// greater.
    pub fn draw(&mut self, scores: &[f32]) -> Option<usize> {
        if scores.is_empty() || scores.iter().any(|score| !score.is_finite()) {
            return None;
        }
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
        let Draw::Sample { temperature, top_k } = self.draw else { return order.first().copied() };
        order.truncate(top_k.unwrap_or(order.len()).max(1));
        let most = f64::from(scores[order[0]]);
        // exp((s - max s) / temperature), in f64: what is too small for it is never drawn.
        let weights: Vec<f64> =
            order.iter().map(|&token| ((f64::from(scores[token]) - most) / temperature).exp()).collect();
        let point = f64::from(self.key.uniform(STREAM, self.n)) * weights.iter().sum::<f64>();
        self.n = self.n.wrapping_add(1);
        let mut sum = 0.0;
        let drawn = weights.iter().position(|weight| {
            sum += weight;
            point < sum
        });
        drawn.or(Some(weights.len() - 1)).map(|at| order[at])
    }
}

#[cfg(test)]
mod tests {
    use netc::network::Draw;

    use super::Sampler;

    fn counts(temperature: f64, top_k: Option<usize>) -> [usize; 3] {
        let mut sampler = Sampler::new(Draw::Sample { temperature, top_k }, 7);
        let mut counts = [0; 3];
        for _ in 0..10_000 {
            // 1/2, 1/3, 1/6
            counts[sampler.draw(&[2.0f32.ln(), 3.0f32.ln(), 0.0]).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn as_often_as_their_probabilities_say() {
        let near = |n: usize, of: f64| (n as f64 / 10_000.0 - of).abs() < 0.015;
        let [a, b, c] = counts(1.0, None);
        assert!(near(a, 1.0 / 3.0) && near(b, 0.5) && near(c, 1.0 / 6.0), "{a} {b} {c}");
        let [a, b, c] = counts(1.0, Some(2));
        assert!(near(a, 0.4) && near(b, 0.6) && c == 0, "{a} {b} {c}");
        let [a, b, c] = counts(0.5, None);
        assert!(near(a, 4.0 / 14.0) && near(b, 9.0 / 14.0) && near(c, 1.0 / 14.0), "{a} {b} {c}");
        assert_eq!(counts(1e-9, None), [0, 10_000, 0]);
        assert_eq!(counts(1.0, Some(1)), [0, 10_000, 0]);
    }

    #[test]
    fn the_greatest_and_what_is_no_score() {
        let mut sampler = Sampler::new(Draw::ArgMax, 0);
        assert_eq!(sampler.draw(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(sampler.draw(&[1.0, f32::NAN]), None);
        assert_eq!(sampler.draw(&[]), None);
    }
}
