//! Curves in a line of text.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A block for each height from 0 to 1; what is beyond is cut off, and what is no number is a blank.
pub fn blocks(heights: impl IntoIterator<Item = f64>) -> String {
    let block = |height: f64| {
        if height.is_nan() { ' ' } else { BLOCKS[(height * 7.0).round().clamp(0.0, 7.0) as usize] }
    };
    heights.into_iter().map(block).collect()
}

/// Values between the least and the greatest of them, in at most so many blocks: each the mean of its part.
pub fn sparkline(values: &[f64], width: usize) -> String {
    let n = values.len().min(width);
    let part = |at: usize| &values[at * values.len() / n..(at + 1) * values.len() / n];
    let means: Vec<f64> = (0..n).map(|at| part(at).iter().sum::<f64>() / part(at).len() as f64).collect();
    let least = means.iter().copied().fold(f64::INFINITY, f64::min);
    let range = means.iter().copied().fold(f64::NEG_INFINITY, f64::max) - least;
    blocks(means.iter().map(|mean| if range > 0.0 { (mean - least) / range } else { mean * 0.0 }))
}

#[cfg(test)]
mod tests {
    use super::sparkline;

    #[test]
    fn curves() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 8), "▁▂▃▄▅▆▇█");
        assert_eq!(sparkline(&[4.0, 4.0, 2.0, 2.0, 0.0, 0.0], 3), "█▅▁");
        assert_eq!(sparkline(&[1.0; 3], 8), "▁▁▁");
        assert_eq!(sparkline(&[], 8), "");
    }
}
