//! The arrays of a program's inputs, and what their shapes say of the sizes of the call.

use super::npy::{self, Npy};
use super::{Failure, INPUT};
use crate::artifact::Array;
use crate::artifact::description::{Description, Element, Port, Size, Symbol};

/// An array for one input.
#[derive(Debug, PartialEq)]
pub(super) struct Tensor {
    /// `None` when the file does not say.
    shape: Option<Vec<usize>>,
    values: Values,
}

#[derive(Debug, PartialEq)]
enum Values {
    F32(Vec<f32>),
    I32(Vec<i32>),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Values::F32(values) => values.len(),
            Values::I32(values) => values.len(),
        }
    }
}

impl Tensor {
    /// Reads the bytes of a file, whose name is for messages.
    pub(super) fn read(bytes: &[u8], file: &str, port: &Port, raw: bool) -> Result<Tensor, Failure> {
        let failed = |message: String| Failure::new(INPUT, format!("`{file}` {message}"));
        if raw {
            let (words, rest) = bytes.as_chunks::<4>();
            if !rest.is_empty() {
                let message = format!("has {} bytes, which are no whole numbers of 4 bytes", bytes.len());
                return Err(failed(message));
            }
            let values = match port.element {
                Element::F32 => Values::F32(words.iter().map(|word| f32::from_le_bytes(*word)).collect()),
                Element::I32 => Values::I32(words.iter().map(|word| i32::from_le_bytes(*word)).collect()),
            };
            return Ok(Tensor { shape: None, values });
        }
        let Npy { shape, values } = npy::read(bytes).map_err(failed)?;
        let values = match (values, &port.element) {
            (npy::Values::Float(values), Element::F32) => Values::F32(values.into_iter().map(|x| x as f32).collect()),
            (npy::Values::Int(values), Element::F32) => Values::F32(values.into_iter().map(|x| x as f32).collect()),
            (npy::Values::Int(values), Element::I32) => {
                let tokens: Result<Vec<i32>, _> = values.into_iter().map(i32::try_from).collect();
                Values::I32(tokens.map_err(|_| failed("has tokens beyond 32 bits".to_owned()))?)
            }
            (npy::Values::Float(_), Element::I32) => {
                return Err(failed(format!("has numbers with fractions, and `{}` takes tokens", port.name)));
            }
        };
        Ok(Tensor { shape: Some(shape), values })
    }
    pub(super) fn array(&self) -> Array<'_> {
        match &self.values {
            Values::F32(values) => Array::F32(values),
            Values::I32(values) => Array::I32(values),
        }
    }
}

/// The batch and the steps along each axis; of arrays without a shape, that with as many members as there are values
/// for, or of one member when sequences may have any length.
pub(super) fn fit(d: &Description, ports: &[&Port], tensors: &mut [Tensor]) -> Result<(usize, Vec<usize>), Failure> {
    let mut found = Found { d, sizes: vec![None; d.symbols.len()] };
    for (port, tensor) in ports.iter().zip(tensors.iter_mut()) {
        let (name, shape) = (&port.name, d.show_shape(&port.shape));
        let misfit = |has: String| {
            Failure::new(INPUT, format!("`{name}` has shape {shape}, B being the batch; the array {has}"))
        };
        let dims = match &tensor.shape {
            None => found.guess(&port.shape, tensor.values.len()),
            // One member may come without the axis of the batch.
            Some(dims) if dims.len() + 1 == port.shape.len() => Some([&[1], &dims[..]].concat()),
            Some(dims) => Some(dims.clone()).filter(|dims| dims.len() == port.shape.len()),
        };
        let Some(dims) = dims else {
            return Err(misfit(match &tensor.shape {
                Some(dims) => format!("is of shape {dims:?}"),
                None => format!("has {} values", tensor.values.len()),
            }));
        };
        for (size, &n) in port.shape.iter().zip(&dims) {
            match found.bind(size, n) {
                Ok(()) => {}
                Err(Some(known)) => {
                    let what = d.show(size);
                    let message = format!("`{what}` is {known} in another array, but {n} in `{name}`");
                    return Err(Failure::new(INPUT, message));
                }
                Err(None) => return Err(misfit(format!("is of shape {dims:?}"))),
            }
        }
    }
    let value = |wanted: &dyn Fn(&Symbol) -> bool| {
        let at = d.symbols.iter().position(wanted)?;
        found.sizes[at]
    };
    let batch = value(&|symbol| *symbol == Symbol::Batch).unwrap_or(1);
    let axis = |at: usize| value(&|symbol| *symbol == Symbol::Axis { index: at as u32 }).unwrap_or(0);
    Ok((batch, (0..d.axes.len()).map(axis).collect()))
}

/// The named sizes so far.
struct Found<'a> {
    d: &'a Description,
    sizes: Vec<Option<usize>>,
}

impl Found<'_> {
    /// Whether a size may be `n`; on failure what it is, if that came from another array.
    fn bind(&mut self, size: &Size, n: usize) -> Result<(), Option<usize>> {
        match size.symbols[..] {
            [] if size.factor == n as u64 => Ok(()),
            [symbol] if size.factor == 1 => {
                let known = self.sizes[symbol as usize].get_or_insert(n);
                if *known == n { Ok(()) } else { Err(Some(*known)) }
            }
            _ => Err(None),
        }
    }
    /// The shape of so many values: at most one size is not known yet, or else the batch is 1.
    fn guess(&self, shape: &[Size], len: usize) -> Option<Vec<usize>> {
        let is_batch = |symbol: u32| self.d.symbols[symbol as usize] == Symbol::Batch;
        let unknown = |size: &Size| match size.symbols[..] {
            [symbol] => self.sizes[symbol as usize].is_none(),
            _ => false,
        };
        let several = shape.iter().filter(|size| unknown(size)).count() > 1;
        let known = |size: &Size| match size.symbols[..] {
            [] => Some(size.factor as usize),
            [symbol] if several && is_batch(symbol) => Some(self.sizes[symbol as usize].unwrap_or(1)),
            [symbol] => self.sizes[symbol as usize],
            _ => None,
        };
        let sizes: Vec<Option<usize>> = shape.iter().map(known).collect();
        let product = sizes.iter().flatten().try_fold(1_usize, |n, &m| n.checked_mul(m))?;
        let missing = sizes.iter().filter(|size| size.is_none()).count();
        let fits = match missing {
            0 => product == len,
            1 => product > 0 && len.is_multiple_of(product),
            _ => false,
        };
        fits.then(|| sizes.iter().map(|size| size.unwrap_or_else(|| len / product)).collect())
    }
}
