//! Checks a caller's arrays against the network's ports, and reads the named sizes off them.

use crate::diag::suggest;
use crate::error::Error;
use crate::network::{Network, Port};
use crate::session::TensorView;
use crate::types::{ElementType, Extents, Symbol, show_shape};

/// The values of the named sizes, when everything fits.
pub(super) fn bind(network: &Network, inputs: &[(&str, TensorView<'_>)]) -> Result<Extents, Error> {
    let mut extents = Extents::default();
    for (name, tensor) in inputs {
        let Some(port) = network.ports.iter().find(|port| port.name == *name) else {
            return Err(unknown(network, name));
        };
        bind_port(port, tensor, &mut extents)?;
        check_tokens(port, tensor)?;
    }
    Ok(extents)
}

fn unknown(network: &Network, name: &str) -> Error {
    let names: Vec<&str> = network.ports.iter().map(|port| port.name.as_str()).collect();
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
