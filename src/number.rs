//! Numbers as people read them.

use netc::types::{Dim, Extents};

/// `138,357,544`
pub fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `553.4 MB`; a kilobyte is 1000 bytes.
pub fn bytes(n: usize) -> String {
    let units = ["kB", "MB", "GB", "TB", "PB"];
    if n < 1000 {
        return format!("{n} B");
    }
    let (mut value, mut unit) = (n as f64 / 1e3, 0);
    // What would be printed as 1000.0 is 1.0 of the next unit.
    while value >= 999.95 && unit + 1 < units.len() {
        value /= 1e3;
        unit += 1;
    }
    format!("{value:.1} {}", units[unit])
}

/// `8.2 s`, `3 min 20 s`, `1 h 5 min`
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole / 60 % 60),
    }
}

/// A sum of sizes, some of which may be known at run time only: `1,024*T + 512`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sum {
    terms: Vec<Dim>,
}

impl Sum {
    pub fn add(&mut self, dim: &Dim) {
        match self.terms.iter_mut().find_map(|term| term.plus(dim).map(|sum| (term, sum))) {
            Some((term, sum)) => *term = sum,
            None => self.terms.push(dim.clone()),
        }
    }
    /// The number, when every named size has a value.
    pub fn value(&self, extents: &Extents) -> Option<usize> {
        self.terms.iter().try_fold(0usize, |sum, term| Some(sum.saturating_add(value(term, extents)?)))
    }
    /// The number through `show`, or the formula.
    pub fn show(&self, extents: &Extents, show: impl Fn(usize) -> String) -> String {
        match self.value(extents) {
            Some(n) => show(n),
            None => self.terms.iter().map(formula).collect::<Vec<_>>().join(" + "),
        }
    }
}

/// The number, when every named size in it has a value.
pub fn value(dim: &Dim, extents: &Extents) -> Option<usize> {
    dim.symbols().iter().try_fold(dim.factor(), |n, symbol| Some(n.saturating_mul(extents.find(symbol)?)))
}

/// `1,024*T`
pub fn formula(dim: &Dim) -> String {
    let mut factors: Vec<String> = dim.symbols().iter().map(ToString::to_string).collect();
    if dim.factor() != 1 || factors.is_empty() {
        factors.insert(0, thousands(dim.factor()));
    }
    factors.join("*")
}

#[cfg(test)]
mod tests {
    use netc::types::{Dim, Extents, Symbol};

    use super::{Sum, bytes, duration, thousands};

    #[test]
    fn units() {
        assert_eq!([0, 999, 1000, 138_357_544].map(thousands), ["0", "999", "1,000", "138,357,544"]);
        assert_eq!(
            [999, 1000, 999_949, 999_950, 553_430_176].map(bytes),
            ["999 B", "1.0 kB", "999.9 kB", "1.0 MB", "553.4 MB"]
        );
        assert_eq!([0.04, 59.9, 61.0, 3900.0].map(duration), ["0.0 s", "1 min 0 s", "1 min 1 s", "1 h 5 min"]);
    }

    #[test]
    fn sums_of_named_sizes() {
        let mut sum = Sum::default();
        for dim in [Dim::axis("T"), Dim::fixed(0), Dim::fixed(1500), Dim::axis("T").times(&Dim::fixed(1023))] {
            sum.add(&dim);
        }
        let mut extents = Extents::default();
        assert_eq!(sum.show(&extents, thousands), "1,024*T + 1,500");
        extents.set(Symbol::Axis("T".into()), 10);
        assert_eq!(sum.show(&extents, thousands), "11,740");
    }
}
