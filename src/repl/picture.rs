//! Maps and pictures as blocks of text: half blocks in color where there is color, shades of signs elsewhere.

use ndarray::{ArrayView2, ArrayView3, Axis};

/// The width of a terminal that all have.
const WIDTH: usize = 80;
/// The width of one of several maps beside each other.
const PANEL: usize = 24;
/// Maps that are drawn at most.
const PANELS: usize = 12;
/// From dark to light.
const SHADES: [char; 10] = [' ', '.', ':', '-', '=', '+', '*', '#', '%', '@'];

/// A map `[channels, height, width]`: one picture of one or three channels, else the channels beside each other.
pub fn picture(map: ArrayView3<'_, f32>, is_colored: bool) -> String {
    let scale = Scale::of(map);
    let channels: Vec<ArrayView2<'_, f32>> = map.axis_iter(Axis(0)).collect();
    if let [red, green, blue] = channels.as_slice()
        && is_colored
    {
        let parts = [red, green, blue].map(|channel| Raster::new(*channel, WIDTH, scale));
        return lines(&[Panel { parts }], true);
    }
    let width = if channels.len() == 1 { WIDTH } else { PANEL };
    let panels: Vec<Panel> = channels
        .iter()
        .take(PANELS)
        .map(|channel| {
            let raster = Raster::new(*channel, width, scale);
            Panel { parts: [raster.clone(), raster.clone(), raster] }
        })
        .collect();
    let per_line = ((WIDTH + 1) / (panels.first().map_or(1, Panel::width) + 1)).max(1);
    let rows: Vec<String> = panels.chunks(per_line).map(|row| lines(row, is_colored)).collect();
    let more = match channels.len().saturating_sub(PANELS) {
        0 => String::new(),
        1 => "… 1 more channel\n".to_owned(),
        more => format!("… {more} more channels\n"),
    };
    rows.join("\n") + &more
}

/// From a map's numbers to light: pictures as they are, all else between the least and the greatest.
#[derive(Debug, Clone, Copy)]
struct Scale {
    dark: f32,
    light: f32,
}

impl Scale {
    fn of(map: ArrayView3<'_, f32>) -> Self {
        let finite = || map.iter().copied().filter(|x| x.is_finite());
        let (least, most) = (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
        if least >= 0.0 && most <= 1.0 && most > 0.5 {
            return Scale { dark: 0.0, light: 1.0 };
        }
        Scale { dark: least, light: most }
    }
    fn light(self, x: f32) -> f32 {
        let range = self.light - self.dark;
        if range > 0.0 && x.is_finite() { ((x - self.dark) / range).clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// Light from 0 to 1, in as many columns as there is room for.
#[derive(Debug, Clone)]
struct Raster {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

impl Raster {
    fn new(channel: ArrayView2<'_, f32>, most: usize, scale: Scale) -> Self {
        let (h, w) = channel.dim();
        let width = w.min(most);
        let height = (h * width).div_ceil(w.max(1)).max(1).min(h);
        let part = |at: usize, n: usize, of: usize| at * of / n..((at + 1) * of / n).max(at * of / n + 1);
        let mut values = Vec::with_capacity(width * height);
        for y in 0..height {
            for x in 0..width {
                let (rows, columns) = (part(y, height, h), part(x, width, w));
                let n = (rows.len() * columns.len()) as f32;
                let sum: f32 =
                    rows.flat_map(|y| columns.clone().map(move |x| (y, x))).map(|at| scale.light(channel[at])).sum();
                values.push(sum / n);
            }
        }
        Raster { width, height, values }
    }
    /// Beyond the end it is dark.
    fn at(&self, y: usize, x: usize) -> f32 {
        if y < self.height { self.values[y * self.width + x] } else { 0.0 }
    }
}

/// Red, green and blue of one size.
struct Panel {
    parts: [Raster; 3],
}

impl Panel {
    fn width(&self) -> usize {
        self.parts[0].width
    }
    fn height(&self) -> usize {
        self.parts[0].height
    }
    /// Two rows of dots as one line of text.
    fn line(&self, row: usize, is_colored: bool, text: &mut String) {
        for x in 0..self.width() {
            if is_colored {
                let color = |y: usize| {
                    let [r, g, b] = self.parts.each_ref().map(|part| (255.0 * part.at(y, x)).round() as u8);
                    format!("{r};{g};{b}")
                };
                *text += &format!("\x1b[38;2;{};48;2;{}m▀", color(2 * row), color(2 * row + 1));
            } else {
                let both = [2 * row, (2 * row + 1).min(self.height() - 1)];
                let light = self.parts.iter().flat_map(|part| both.map(|y| part.at(y, x))).sum::<f32>() / 6.0;
                text.push(SHADES[(light * 9.0).round() as usize]);
            }
        }
        if is_colored {
            text.push_str("\x1b[0m");
        }
    }
}

/// Panels of one size beside each other.
fn lines(panels: &[Panel], is_colored: bool) -> String {
    let mut text = String::new();
    for row in 0..panels.first().map_or(0, |panel| panel.height().div_ceil(2)) {
        let start = text.len();
        for (at, panel) in panels.iter().enumerate() {
            if at > 0 {
                text.push(' ');
            }
            panel.line(row, is_colored, &mut text);
        }
        text.truncate(start + text[start..].trim_end().len());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::picture;

    #[test]
    fn shades() {
        let ramp = Array3::from_shape_fn((1, 2, 10), |(_, _, x)| x as f32 - 3.0);
        assert_eq!(picture(ramp.view(), false), " .:-=+*#%@\n");
        let tall = Array3::from_shape_fn((2, 3, 2), |(channel, y, x)| (channel * 6 + y * 2 + x) as f32);
        assert_eq!(picture(tall.view(), false), ".: *#\n-= %@\n");
    }

    #[test]
    fn half_blocks() {
        let picture =
            picture(Array3::from_shape_fn((3, 2, 1), |(channel, y, _)| (channel + y) as f32 / 3.0).view(), true);
        assert_eq!(picture, "\x1b[38;2;0;85;170;48;2;85;170;255m▀\x1b[0m\n");
    }

    #[test]
    fn large_ones_are_made_smaller() {
        let text = picture(Array3::<f32>::ones((1, 320, 640)).view(), false);
        assert_eq!((text.lines().count(), text.lines().next().unwrap().len()), (20, 80));
        let many = picture(Array3::<f32>::ones((64, 32, 32)).view(), false);
        assert!(
            many.ends_with("… 52 more channels\n") && many.lines().all(|line| line.chars().count() <= 80),
            "{many}"
        );
        assert_eq!(picture(Array3::from_elem((1, 1, 1), f32::NAN).view(), false), "\n");
    }
}
