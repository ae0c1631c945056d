//! The type of every value in the graph: element type and shape, whose sizes are fixed or named.

use std::fmt;
use std::sync::Arc;

/// The largest number of elements a value may have for each unit of its named sizes.
pub const MAX_ELEMENTS: usize = 1 << 40;

/// What a tensor holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ElementType {
    /// Numbers.
    F32,
    /// Tokens, positions and keys of random numbers.
    I32,
}

/// A size that is known at run time only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Symbol {
    /// How many members the batch has; printed as `B`.
    Batch,
    /// The length of a sequence axis, by the name its author gave it.
    Axis(Arc<str>),
    /// A size that a window makes of another: `max(0, floor((of + add) / div))`.
    Derived(Arc<Derived>),
}

/// See [`Symbol::Derived`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Derived {
    /// The size itself.
    pub of: Dim,
    /// Added to it.
    pub add: i64,
    /// Divides the sum; positive.
    pub div: i64,
}

/// One size of a shape: a constant times named sizes, `3`, `T`, `B*T`, `768*B`.
///
/// Invariant: the symbols are sorted, so that equal sizes compare equal; there are none when the factor is 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dim {
    factor: usize,
    /// Shared, since every pass copies the shapes of a graph; `None` when there are none.
    symbols: Option<Arc<[Symbol]>>,
}

impl Dim {
    /// The constant 1.
    pub const ONE: Dim = Dim { factor: 1, symbols: None };

    /// A constant.
    pub fn fixed(n: usize) -> Self {
        Dim { factor: n, symbols: None }
    }
    /// A constant times sorted symbols.
    fn of(factor: usize, symbols: Vec<Symbol>) -> Self {
        Dim { factor, symbols: (!symbols.is_empty()).then(|| symbols.into()) }
    }
    /// The size of the batch.
    pub fn batch() -> Self {
        Dim::from(Symbol::Batch)
    }
    /// The length of a sequence axis.
    pub fn axis(name: &str) -> Self {
        Dim::from(Symbol::Axis(name.into()))
    }
    /// The constant, when nothing in it is known at run time only.
    pub fn as_fixed(&self) -> Option<usize> {
        self.symbols.is_none().then_some(self.factor)
    }
    /// Whether it is the constant 1.
    pub fn is_one(&self) -> bool {
        self.as_fixed() == Some(1)
    }
    /// The constant in it.
    pub fn factor(&self) -> usize {
        self.factor
    }
    /// The named sizes in it, sorted.
    pub fn symbols(&self) -> &[Symbol] {
        self.symbols.as_deref().unwrap_or_default()
    }
    /// The product of two sizes; saturates, because `Graph::push` has refused anything near the limit.
    pub fn times(&self, other: &Dim) -> Dim {
        let factor = self.factor.saturating_mul(other.factor);
        if factor == 0 {
            return Dim::fixed(0);
        }
        match (&self.symbols, &other.symbols) {
            (symbols, None) | (None, symbols) => Dim { factor, symbols: symbols.clone() },
            (Some(mine), Some(others)) => {
                let mut symbols = [&mine[..], others].concat();
                symbols.sort();
                Dim::of(factor, symbols)
            }
        }
    }
    /// The sum, when it is a size again: one of them is 0, or both have the same named sizes.
    pub fn plus(&self, other: &Dim) -> Option<Dim> {
        match (self.factor, other.factor) {
            (0, _) => Some(other.clone()),
            (_, 0) => Some(self.clone()),
            (a, b) if self.symbols == other.symbols => {
                Some(Dim { factor: a.saturating_add(b), symbols: self.symbols.clone() })
            }
            _ => None,
        }
    }
    /// `self / other` when that is a size again.
    pub fn divided_by(&self, other: &Dim) -> Option<Dim> {
        if other.factor == 0 || !self.factor.is_multiple_of(other.factor) {
            return None;
        }
        let mut symbols = self.symbols().to_vec();
        for symbol in other.symbols() {
            let at = symbols.iter().position(|mine| mine == symbol)?;
            symbols.remove(at);
        }
        Some(Dim::of(self.factor / other.factor, symbols))
    }
    /// `max(0, floor((self + add) / div))`, folded where the size is a constant.
    pub fn window(&self, add: i64, div: i64) -> Dim {
        assert!(div > 0, "a window's divisor is positive, not {div}");
        match self.as_fixed() {
            Some(n) => Dim::fixed(usize::try_from((n as i64 + add).div_euclid(div)).unwrap_or(0)),
            None if add == 0 && div == 1 => self.clone(),
            // floor((floor((n + a)/d) + add)/div) == floor((n + a + add*d)/(d*div)), and likewise where the inner
            // one is cut off at 0: it never is when a >= 0, and then makes no difference when add <= 0.
            None if let [Symbol::Derived(inner)] = self.symbols()
                && self.factor == 1
                && (inner.add >= 0 || add <= 0) =>
            {
                inner.of.window(inner.add + add * inner.div, inner.div * div)
            }
            None => Dim::from(Symbol::Derived(Arc::new(Derived { of: self.clone(), add, div }))),
        }
    }
    /// Whether `start + len <= self` for every value of the named sizes, as far as can be seen;
    /// where `len` is 0, `start` does not matter.
    pub fn holds(&self, start: usize, len: &Dim) -> bool {
        if (start == 0 && self == len) || len.as_fixed() == Some(0) {
            return true;
        }
        let ((of, end), (len_of, len_add)) = (self.offset_form(), len.offset_form());
        of == len_of && start as i64 + len_add <= end
    }
    /// `self == max(0, of + add)`; a constant counts from 0.
    fn offset_form(&self) -> (Dim, i64) {
        match (self.as_fixed(), self.symbols()) {
            (Some(n), _) => (Dim::fixed(0), n as i64),
            (None, [Symbol::Derived(derived)]) if self.factor == 1 && derived.div == 1 => {
                (derived.of.clone(), derived.add)
            }
            (None, _) => (self.clone(), 0),
        }
    }
    /// The number, when every named size has one.
    ///
    /// # Panics
    /// When a symbol has no value: sessions bind all of them before anything is evaluated.
    pub fn eval(&self, extents: &Extents) -> usize {
        self.symbols().iter().fold(self.factor, |n, symbol| n.saturating_mul(extents.get(symbol)))
    }
}

impl From<usize> for Dim {
    fn from(n: usize) -> Self {
        Dim::fixed(n)
    }
}

impl From<Symbol> for Dim {
    fn from(symbol: Symbol) -> Self {
        Dim::of(1, vec![symbol])
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let symbols: Vec<String> = self.symbols().iter().map(Symbol::to_string).collect();
        match (self.factor, symbols.is_empty()) {
            (factor, true) => write!(f, "{factor}"),
            (1, false) => write!(f, "{}", symbols.join("*")),
            (factor, false) => write!(f, "{factor}*{}", symbols.join("*")),
        }
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Symbol::Batch => write!(f, "B"),
            Symbol::Axis(name) => write!(f, "{name}"),
            Symbol::Derived(derived) => {
                let Derived { of, add, div } = derived.as_ref();
                let sum = match add {
                    0 => format!("{of}"),
                    add if *add < 0 => format!("{of} - {}", -add),
                    add => format!("{of} + {add}"),
                };
                if *div == 1 { write!(f, "({sum})") } else { write!(f, "floor(({sum})/{div})") }
            }
        }
    }
}

/// The values of the named sizes for one call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Extents {
    values: Vec<(Symbol, usize)>,
}

impl Extents {
    /// The size of the batch alone.
    pub fn with_batch(batch: usize) -> Self {
        let mut extents = Extents::default();
        extents.set(Symbol::Batch, batch);
        extents
    }
    /// Gives a named size its value.
    pub fn set(&mut self, symbol: Symbol, value: usize) {
        match self.values.iter_mut().find(|(known, _)| *known == symbol) {
            Some((_, old)) => *old = value,
            None => self.values.push((symbol, value)),
        }
    }
    /// The value of a named size, where it has one.
    pub fn find(&self, symbol: &Symbol) -> Option<usize> {
        match symbol {
            Symbol::Derived(derived) => {
                let of = derived.of.symbols().iter().try_fold(derived.of.factor, |n, s| Some(n * self.find(s)?))?;
                Some(usize::try_from((of as i64 + derived.add).div_euclid(derived.div)).unwrap_or(0))
            }
            Symbol::Batch | Symbol::Axis(_) => {
                self.values.iter().find(|(known, _)| known == symbol).map(|(_, value)| *value)
            }
        }
    }
    fn get(&self, symbol: &Symbol) -> usize {
        self.find(symbol).unwrap_or_else(|| panic!("the size `{symbol}` has no value"))
    }
}

/// Element type and shape.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TensorType {
    /// What it holds.
    pub element: ElementType,
    /// Outermost first.
    pub shape: Vec<Dim>,
}

impl TensorType {
    /// Numbers of this shape.
    pub fn f32(shape: impl IntoIterator<Item = impl Into<Dim>>) -> Self {
        TensorType { element: ElementType::F32, shape: shape.into_iter().map(Into::into).collect() }
    }
    /// Tokens of this shape.
    pub fn i32(shape: impl IntoIterator<Item = impl Into<Dim>>) -> Self {
        TensorType { element: ElementType::I32, shape: shape.into_iter().map(Into::into).collect() }
    }
    /// A single `f32`.
    pub fn scalar() -> Self {
        TensorType { element: ElementType::F32, shape: Vec::new() }
    }
    /// How many axes it has.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }
    /// The product of all sizes.
    pub fn n_elements(&self) -> Dim {
        product(&self.shape)
    }
    /// The same element type with another shape.
    pub fn with_shape(&self, shape: Vec<Dim>) -> Self {
        TensorType { element: self.element, shape }
    }
    /// The same type with each of `axes` reduced to length one.
    pub fn reduced(&self, axes: &[usize]) -> Self {
        let keep = |(axis, dim): (usize, &Dim)| if axes.contains(&axis) { Dim::ONE } else { dim.clone() };
        self.with_shape(self.shape.iter().enumerate().map(keep).collect())
    }
    /// The sizes as numbers.
    pub fn eval(&self, extents: &Extents) -> Vec<usize> {
        self.shape.iter().map(|dim| dim.eval(extents)).collect()
    }
}

/// The product of `dims`.
pub fn product(dims: &[Dim]) -> Dim {
    dims.iter().fold(Dim::ONE, |n, dim| n.times(dim))
}

/// `[3, 224, 224]`, as shapes are written in messages.
pub fn show_shape(shape: &[Dim]) -> String {
    let dims: Vec<String> = shape.iter().map(Dim::to_string).collect();
    format!("[{}]", dims.join(", "))
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let element = match self.element {
            ElementType::F32 => "f32",
            ElementType::I32 => "i32",
        };
        write!(f, "{element}{}", show_shape(&self.shape))
    }
}

#[cfg(test)]
mod tests {
    use super::{Dim, Extents, Symbol};

    #[test]
    fn sizes_multiply_and_divide() {
        let t = Dim::axis("T");
        let bt = Dim::batch().times(&t).times(&Dim::fixed(3));
        assert_eq!(bt.to_string(), "3*B*T");
        assert_eq!(bt.divided_by(&t).unwrap().to_string(), "3*B");
        assert_eq!(bt.divided_by(&Dim::fixed(2)), None);
        assert_eq!(t.times(&Dim::batch()), Dim::batch().times(&t));
    }

    #[test]
    fn parts_fit() {
        let t = Dim::axis("T");
        assert!(Dim::fixed(5).holds(2, &Dim::fixed(3)) && !Dim::fixed(5).holds(3, &Dim::fixed(3)));
        assert!(t.holds(0, &t) && t.holds(3, &t.window(-3, 1)) && t.window(2, 1).holds(1, &t));
        assert!(!t.holds(1, &t) && !t.holds(0, &Dim::fixed(1)) && !Dim::fixed(9).holds(0, &t));
    }

    #[test]
    fn windows_derive_sizes() {
        let t = Dim::axis("T").window(-3, 1);
        let mut extents = Extents::with_batch(2);
        extents.set(Symbol::Axis("T".into()), 10);
        assert_eq!((t.to_string().as_str(), t.eval(&extents)), ("(T - 3)", 7));
        extents.set(Symbol::Axis("T".into()), 2);
        assert_eq!(t.eval(&extents), 0);
        assert_eq!(Dim::axis("T").window(3, 1).window(-3, 1), Dim::axis("T"));
        assert_eq!(Dim::axis("T").window(1, 2).window(-2, 3), Dim::axis("T").window(-3, 6));
        assert_ne!(Dim::axis("T").window(-3, 1).window(3, 1), Dim::axis("T"));
        assert_eq!(Dim::fixed(224).window(2 - 3 + 2, 2).as_fixed(), Some(112));
    }
}
