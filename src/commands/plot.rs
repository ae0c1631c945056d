//! Curves over steps as an SVG, with a logarithmic axis.

use std::fmt::Write;

/// A curve: its value at step 0, 1, 2, …
#[derive(Debug, Clone)]
pub struct Curve {
    pub name: String,
    pub values: Vec<f64>,
}

const SIZE: (f64, f64) = (860.0, 460.0);
/// Of the plot within the picture: left, top, right, bottom. Names stand at the right.
const FRAME: (f64, f64, f64, f64) = (80.0, 50.0, 650.0, 400.0);
/// Told apart without red and green (Wong 2011).
const COLORS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];
/// Powers of ten below the greatest value that are drawn at most.
const DECADES: f64 = 30.0;

/// The curves with a title and the names of the axes.
pub fn svg(title: &str, x_name: &str, y_name: &str, curves: &[Curve]) -> String {
    let (left, top, right, bottom) = FRAME;
    let logs: Vec<f64> = curves
        .iter()
        .flat_map(|curve| &curve.values)
        .filter(|value| value.is_finite() && **value > 0.0)
        .map(|value| value.log10())
        .collect();
    let high = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let high = if high.is_finite() { high.ceil() } else { 0.0 };
    let low = logs.iter().copied().fold(f64::INFINITY, f64::min).floor().clamp(high - DECADES, high - 1.0);
    let steps = curves.iter().map(|curve| curve.values.len()).max().unwrap_or(0).max(2) - 1;
    let x = |step: usize| left + (right - left) * step as f64 / steps as f64;
    let y = |log: f64| bottom - (bottom - top) * (log - low) / (high - low);

    let mut text = String::new();
    let mut line = |arguments: std::fmt::Arguments<'_>| {
        text.write_fmt(arguments).expect("a string takes all");
        text.push('\n');
    };
    let (width, height) = SIZE;
    line(format_args!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">"#
    ));
    line(format_args!(r##"<rect width="{width}" height="{height}" fill="#ffffff"/>"##));
    line(format_args!(r#"<text x="{left}" y="28" font-size="16">{}</text>"#, escaped(title)));
    // A line every so many powers of ten, ten at most.
    let every = ((high - low) / 10.0).ceil().max(1.0) as i32;
    for power in (low as i32..=high as i32).filter(|power| (high as i32 - power) % every == 0) {
        let at = y(f64::from(power));
        line(format_args!(r##"<path d="M{left} {at:.1}H{right}" stroke="#dddddd"/>"##));
        let (x, baseline, up) = (left - 8.0, at + 4.0, -6);
        line(format_args!(
            r#"<text x="{x}" y="{baseline:.1}" text-anchor="end">10<tspan dy="{up}" font-size="10">{power}</tspan></text>"#
        ));
    }
    for step in ticks(steps) {
        let (at, below, baseline) = (x(step), bottom + 5.0, bottom + 20.0);
        line(format_args!(r##"<path d="M{at:.1} {bottom}V{below}" stroke="#444444"/>"##));
        line(format_args!(r#"<text x="{at:.1}" y="{baseline}" text-anchor="middle">{step}</text>"#));
    }
    line(format_args!(r##"<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="#444444"/>"##));
    let (middle, baseline) = ((left + right) / 2.0, bottom + 42.0);
    line(format_args!(r#"<text x="{middle}" y="{baseline}" text-anchor="middle">{}</text>"#, escaped(x_name)));
    let middle = (top + bottom) / 2.0;
    line(format_args!(
        r#"<text transform="translate(22 {middle}) rotate(-90)" text-anchor="middle">{}</text>"#,
        escaped(y_name)
    ));
    for (number, curve) in curves.iter().enumerate() {
        let color = COLORS[number % COLORS.len()];
        let dashes = if number < COLORS.len() { "" } else { r#" stroke-dasharray="6 3""# };
        let mut path = String::new();
        let mut pen = 'M';
        for (step, value) in curve.values.iter().enumerate() {
            if !value.is_finite() || *value <= 0.0 {
                pen = 'M';
                continue;
            }
            write!(path, "{pen}{:.1} {:.1}", x(step), y(value.log10().max(low))).expect("a string takes all");
            pen = 'L';
        }
        line(format_args!(r#"<path d="{path}" fill="none" stroke="{color}" stroke-width="2"{dashes}/>"#));
        let (from, to, text_at, at) = (right + 15.0, right + 40.0, right + 48.0, top + 8.0 + 20.0 * number as f64);
        line(format_args!(r#"<path d="M{from} {at}H{to}" stroke="{color}" stroke-width="2"{dashes}/>"#));
        let baseline = at + 4.0;
        line(format_args!(r#"<text x="{text_at}" y="{baseline}">{}</text>"#, escaped(&curve.name)));
    }
    line(format_args!("</svg>"));
    text
}

/// Round numbers from 0 to `steps`, ten or so.
fn ticks(steps: usize) -> impl Iterator<Item = usize> {
    let mut every = 1;
    for factor in [2, 5, 10].into_iter().cycle().scan(1usize, |power, digit| {
        let value = *power * digit;
        if digit == 10 {
            *power = value;
        }
        Some(value)
    }) {
        if steps / every <= 10 {
            break;
        }
        every = factor;
    }
    (0..=steps).step_by(every)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::{Curve, svg, ticks};

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(9).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        assert_eq!(ticks(99).collect::<Vec<_>>(), (0..10).map(|n| 10 * n).collect::<Vec<_>>());
        assert_eq!(ticks(1500).last(), Some(1400));
    }

    #[test]
    fn curves_have_their_names_and_stay_in_the_frame() {
        let curves = [
            Curve { name: "a<b".to_owned(), values: (0..100).map(|n| 10f64.powi(-n)).collect() },
            Curve { name: "nothing".to_owned(), values: vec![0.0, f64::NAN] },
        ];
        let text = svg("title", "x", "y", &curves);
        assert!(text.contains("a&lt;b") && text.contains("nothing") && !text.contains("NaN"), "{text}");
        assert_eq!(text.matches("<path").count(), text.matches("/>").count() - text.matches("<rect").count());
        // No value at all.
        assert!(!svg("", "", "", &[]).contains("NaN"));
    }
}
