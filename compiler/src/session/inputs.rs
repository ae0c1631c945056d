//! Checks a caller's arrays against the network's ports, and reads the named sizes off them.

use std::borrow::Cow;

use crate::diag::suggest;
use crate::error::Error;
use crate::network::{Network, Port};
use crate::session::TensorView;
use crate::types::{ElementType, Extents, Symbol, show_shape};

/// A caller's arrays, when everything fits.
pub(super) struct Bound<'a> {
    /// The values of the named sizes.
    pub(super) extents: Extents,
    /// Inputs and targets by name, and lengths by axis.
    pub(super) arrays: Vec<(String, Contiguous<'a>)>,
    /// Whether the caller says how long the members of the batch are.
    pub(super) has_lengths: bool,
}

impl Bound<'_> {
    pub(super) fn array(&self, name: &str) -> Option<&Contiguous<'_>> {
        self.arrays.iter().find(|(known, _)| known == name).map(|(_, array)| array)
    }
}

/// Checks the arrays of some ports, and the lengths of their axes; sizes in `extents` are given.
pub(super) fn bind<'a>(
    network: &Network,
    ports: &[Port],
    inputs: &'a [(&str, TensorView<'_>)],
    mut extents: Extents,
) -> Result<Bound<'a>, Error> {
    let inputs: Vec<(&str, &TensorView<'_>)> =
        inputs.iter().map(|(name, tensor)| Ok((by_position(ports, name)?, tensor))).collect::<Result<_, Error>>()?;
    let mut lengths: Vec<(&str, &TensorView<'_>)> = Vec::new();
    for (at, (name, tensor)) in inputs.iter().enumerate() {
        if inputs[..at].iter().any(|(known, _)| known == name) {
            return Err(Error::Input(format!("`{name}` is given twice")));
        }
        match ports.iter().find(|port| port.name == *name) {
            Some(port) => {
                bind_port(port, tensor, &mut extents)?;
                check_tokens(port, tensor)?;
            }
            None if network.axes.iter().any(|axis| axis == name) => lengths.push((name, tensor)),
            None => return Err(unknown(network, name)),
        }
    }
    lengths.iter().try_for_each(|(axis, tensor)| check_lengths(axis, tensor, &extents))?;
    // Arrays that are not in row-major order are copied.
    let mut arrays: Vec<(String, Contiguous<'_>)> =
        inputs.iter().map(|&(name, tensor)| (name.to_owned(), Contiguous::of(tensor))).collect();
    let has_lengths = !lengths.is_empty();
    let others = network.axes.iter().filter(|axis| has_lengths && !lengths.iter().any(|(known, _)| known == axis));
    for axis in others {
        // As long as the arrays.
        let steps = extents.find(&Symbol::Axis(axis.as_str().into()));
        if let (Some(steps), Some(batch)) = (steps, extents.find(&Symbol::Batch)) {
            arrays.push((axis.clone(), Contiguous::I32(Cow::Owned(vec![steps as i32; batch]))));
        }
    }
    Ok(Bound { extents, arrays, has_lengths })
}

/// A name, or the name of the port at a position: no name of a file is a number.
fn by_position<'n>(ports: &'n [Port], name: &'n str) -> Result<&'n str, Error> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(name);
    }
    let port = name.parse().ok().and_then(|at: usize| ports.get(at));
    let port =
        port.ok_or_else(|| Error::Input(format!("there are {} arrays to give, and none at {name}", ports.len())));
    Ok(&port?.name)
}

fn check_lengths(axis: &str, tensor: &TensorView<'_>, extents: &Extents) -> Result<(), Error> {
    let TensorView::I32(lengths) = tensor else {
        return Err(Error::Input(format!("the lengths `{axis}` are whole numbers (i32)")));
    };
    let Some(steps) = extents.find(&Symbol::Axis(axis.into())) else {
        return Err(Error::Input(format!("there are lengths `{axis}`, but no array with the axis `{axis}`")));
    };
    let batch = extents.find(&Symbol::Batch).expect("an array with a sequence axis has a batch");
    if lengths.shape() != [batch] {
        let shape = lengths.shape();
        return Err(Error::Input(format!(
            "the lengths `{axis}` have shape [{batch}], one for each member of the batch; the array's is {shape:?}"
        )));
    }
    match lengths.iter().find(|&&length| usize::try_from(length).map_or(true, |length| length > steps)) {
        Some(length) => Err(Error::Input(format!(
            "the lengths `{axis}` are from 0 to {steps}, as the arrays are long, not {length}"
        ))),
        None => Ok(()),
    }
}

fn unknown(network: &Network, name: &str) -> Error {
    let names: Vec<&str> =
        network.ports.iter().map(|port| &port.name).chain(&network.axes).map(String::as_str).collect();
    let near = suggest(name, names.iter().copied());
    let help = match near.first() {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it has `{}`", names.join("`, `")),
    };
    Error::Input(format!("the network has no input or target `{name}`; {help}"))
}

fn bind_port(port: &Port, tensor: &TensorView<'_>, extents: &mut Extents) -> Result<(), Error> {
    let name = &port.name;
    if port.ty.element != tensor.element() {
        let expected = match port.ty.element {
            ElementType::F32 => "numbers (f32)",
            ElementType::I32 => "tokens (i32)",
        };
        return Err(Error::Input(format!("`{name}` takes {expected}")));
    }
    let shape = tensor.shape();
    let misfit = || {
        let expected = show_shape(&port.ty.shape);
        Error::Input(format!("`{name}` has shape {expected}, B being the batch; the array's is {shape:?}"))
    };
    if shape.len() != port.ty.shape.len() {
        return Err(misfit());
    }
    for (dim, &n) in port.ty.shape.iter().zip(shape) {
        match (dim.as_fixed(), dim.symbols()) {
            (Some(expected), _) if expected == n => {}
            (Some(_), _) => return Err(misfit()),
            (None, [symbol]) => match extents.find(symbol) {
                Some(known) if known != n => {
                    let what = match symbol {
                        Symbol::Batch => "the batch size".to_owned(),
                        symbol => format!("the length `{symbol}`"),
                    };
                    let message = format!("{what} is {known} in another array, but {n} in `{name}`");
                    return Err(Error::Input(message));
                }
                _ => extents.set(symbol.clone(), n),
            },
            (None, _) => unreachable!("a port's size is a constant or a name: {dim}"),
        }
    }
    Ok(())
}

fn check_tokens(port: &Port, tensor: &TensorView<'_>) -> Result<(), Error> {
    let (Some(n), TensorView::I32(tokens)) = (port.vocabulary, tensor) else { return Ok(()) };
    match tokens.iter().find(|&&token| usize::try_from(token).is_ok_and(|token| token >= n) || token < 0) {
        Some(token) => {
            let name = &port.name;
            Err(Error::Input(format!("`{name}` takes tokens from 0 to {}, not {token}", n - 1)))
        }
        None => Ok(()),
    }
}

/// A caller's array in row-major order: borrowed when it is so already.
pub(super) enum Contiguous<'a> {
    F32(Cow<'a, [f32]>),
    I32(Cow<'a, [i32]>),
}

impl<'a> Contiguous<'a> {
    fn of(tensor: &'a TensorView<'_>) -> Self {
        match tensor {
            TensorView::F32(array) => Contiguous::F32(match array.as_slice() {
                Some(slice) => Cow::Borrowed(slice),
                None => Cow::Owned(array.iter().copied().collect()),
            }),
            TensorView::I32(array) => Contiguous::I32(match array.as_slice() {
                Some(slice) => Cow::Borrowed(slice),
                None => Cow::Owned(array.iter().copied().collect()),
            }),
        }
    }
    pub(super) fn address(&self) -> u64 {
        match self {
            Contiguous::F32(values) => values.as_ptr().expose_provenance() as u64,
            Contiguous::I32(values) => values.as_ptr().expose_provenance() as u64,
        }
    }
}
