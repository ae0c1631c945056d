//! Values as small tables.

use ndarray::{ArrayViewD, Axis};

use crate::number::thousands;
use crate::table::{Align, Table};

/// Values that are shown without being asked for.
const FEW: usize = 64;
/// Rows and columns of a table at most.
const ROWS: usize = 8;
const COLUMNS: usize = 10;

/// A value right after the statement that gives it: whole when it is small, else what its numbers are like.
pub fn brief(array: &ArrayViewD<'_, f32>) -> String {
    if array.len() <= FEW && array.ndim() <= 2 { table(array) } else { format!("{}\n", range(array)) }
}

/// A value without a batch axis: a number, a row, a table, or a row for each element of the first axis.
pub fn table(array: &ArrayViewD<'_, f32>) -> String {
    let format = Format::of(array);
    let show = |x: f32| format.show(x);
    match array.ndim() {
        0 => format!("{}\n", array.iter().map(|x| show(*x)).collect::<String>()),
        1 => {
            let shown = shown(array.len(), COLUMNS);
            let mut table = Table::new(columns(&shown));
            table.row(shown.iter().map(|at| at.map_or_else(dots, |at| show(array[[at]]))));
            table.to_string()
        }
        2 => {
            let columns_shown = shown(array.shape()[1], COLUMNS);
            let mut table = Table::new([(String::new(), Align::Right)].into_iter().chain(columns(&columns_shown)));
            for row in shown(array.shape()[0], ROWS) {
                let cell = |at: &Option<usize>| row.zip(*at).map_or_else(dots, |(row, at)| show(array[[row, at]]));
                let name = row.map_or_else(dots, |row| row.to_string());
                table.row(std::iter::once(name).chain(columns_shown.iter().map(cell)));
            }
            table.to_string()
        }
        _ => {
            let names = ["", "least", "mean", "greatest"];
            let mut table = Table::new(names.map(|name| (name, Align::Right)));
            for at in shown(array.shape()[0], ROWS) {
                match at {
                    Some(at) => {
                        let (least, mean, greatest) = extremes(&array.index_axis(Axis(0), at));
                        table.row([at.to_string(), show(least), show(mean), show(greatest)]);
                    }
                    None => table.row(names.map(|_| "…")),
                }
            }
            table.to_string()
        }
    }
}

/// `from -1.2000 to 3.4000, mean 0.1000`
pub fn range(array: &ArrayViewD<'_, f32>) -> String {
    let format = Format::of(array);
    if !array.iter().any(|x| x.is_finite()) {
        return "no finite numbers".to_owned();
    }
    let strange = array.iter().filter(|x| !x.is_finite()).count();
    let (least, mean, greatest) = extremes(array);
    let text = format!("from {} to {}, mean {}", format.show(least), format.show(greatest), format.show(mean));
    if strange == 0 { text } else { format!("{text}; {} of them no finite numbers", thousands(strange)) }
}

/// The least, the mean and the greatest of the numbers that are finite.
fn extremes(array: &ArrayViewD<'_, f32>) -> (f32, f32, f32) {
    let finite = || array.iter().copied().filter(|x| x.is_finite());
    let n = finite().count().max(1);
    let mean = finite().map(f64::from).sum::<f64>() / n as f64;
    let (least, greatest) = (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
    (least, mean as f32, greatest)
}

/// How the numbers of one table are written, all alike.
#[derive(Clone, Copy)]
enum Format {
    /// Tokens and counts.
    Whole,
    Fixed,
    Exponent,
}

impl Format {
    fn of(array: &ArrayViewD<'_, f32>) -> Self {
        let most = array.iter().filter(|x| x.is_finite()).fold(0f32, |most, x| most.max(x.abs()));
        if array.len() <= FEW && most < 1e7 && array.iter().all(|x| x.fract() == 0.0) {
            Format::Whole
        } else if most == 0.0 || (1e-2..1e5).contains(&most) {
            Format::Fixed
        } else {
            Format::Exponent
        }
    }
    fn show(self, x: f32) -> String {
        match self {
            Format::Whole => x.to_string(),
            Format::Fixed => format!("{x:.4}"),
            Format::Exponent => format!("{x:.2e}"),
        }
    }
}

/// Which of `n` are shown: all, or the first and the last with `None` between.
fn shown(n: usize, most: usize) -> Vec<Option<usize>> {
    if n <= most {
        return (0..n).map(Some).collect();
    }
    let head = most / 2;
    let tail = most - head - 1;
    (0..head).map(Some).chain([None]).chain((n - tail..n).map(Some)).collect()
}

fn columns(shown: &[Option<usize>]) -> Vec<(String, Align)> {
    shown.iter().map(|at| (at.map_or_else(dots, |at| at.to_string()), Align::Right)).collect()
}

fn dots() -> String {
    "…".to_owned()
}

#[cfg(test)]
mod tests {
    use ndarray::{Array, Array3, IxDyn};

    use super::{brief, table};

    fn plain(text: &str) -> String {
        text.replace("\x1b[1m", "").replace("\x1b[0m", "")
    }
    fn numbers(shape: &[usize]) -> ndarray::ArrayD<f32> {
        let n: usize = shape.iter().product();
        Array::from_iter((0..n).map(|x| x as f32 / 4.0)).into_shape_with_order(IxDyn(shape)).unwrap()
    }

    #[test]
    fn numbers_stand_under_each_other() {
        assert_eq!(
            plain(&table(&numbers(&[2, 3]).view())),
            "        0       1       2\n0  0.0000  0.2500  0.5000\n1  0.7500  1.0000  1.2500\n"
        );
        assert_eq!(plain(&table(&ndarray::arr1(&[3.0, 12.0]).into_dyn().view())), "0   1\n3  12\n");
        assert_eq!(table(&ndarray::arr0(2.5).into_dyn().view()), "2.5000\n");
    }

    #[test]
    fn the_middle_of_large_ones_is_left_out() {
        let text = plain(&table(&numbers(&[20, 30]).view()));
        assert_eq!(text.lines().count(), 9, "{text}");
        assert!(
            text.lines().nth(5).unwrap().starts_with(" …") && text.lines().last().unwrap().ends_with("149.7500"),
            "{text}"
        );
    }

    #[test]
    fn what_is_large_is_told_in_a_line() {
        let map = Array3::<f32>::from_elem((2, 8, 8), f32::NAN).into_dyn();
        assert_eq!(brief(&map.view()), "no finite numbers\n");
        assert_eq!(brief(&numbers(&[100]).view()), "from 0.0000 to 24.7500, mean 12.3750\n");
        assert_eq!(brief(&(numbers(&[100]) * 1e-6).view()), "from 0.00e0 to 2.47e-5, mean 1.24e-5\n");
    }
}
