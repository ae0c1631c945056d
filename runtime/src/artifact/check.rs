//! Whether a description refers only to what it has, so that nothing after this can go out of bounds.

use super::description::{Call, Description, Element, Entry, Home, Size, Source, Symbol};

/// Whether all indices are within bounds, and sizes come after what they derive from.
pub(super) fn is_sound(d: &Description) -> bool {
    let symbols = d.symbols.iter().enumerate().all(|(at, symbol)| match symbol {
        Symbol::Batch => true,
        Symbol::Axis { index } => (*index as usize) < d.axes.len(),
        Symbol::Derived { of, div, .. } => *div > 0 && of.symbols.iter().all(|&other| (other as usize) < at),
    });
    let is_sized = |size: &Size| size.symbols.iter().all(|&symbol| (symbol as usize) < d.symbols.len());
    let shapes = d.ports.iter().map(|port| &port.shape).chain(d.results.iter().map(|result| &result.shape));
    let inputs = d.ports.iter().take_while(|port| !port.is_target).count();
    symbols
        && shapes.flatten().all(is_sized)
        && d.ports[inputs..].iter().all(|port| port.is_target)
        && d.ports.iter().all(|port| port.vocabulary.is_none() || port.element == Element::I32)
        && d.stepped.iter().all(|&port| (port as usize) < inputs)
        && d.entries.iter().all(|entry| is_sound_entry(d, entry, &is_sized))
}

fn is_sound_entry(d: &Description, entry: &Entry, is_sized: &dyn Fn(&Size) -> bool) -> bool {
    let slots = entry.slots.iter().all(|slot| {
        let source = match &slot.source {
            Source::Port { index } => (*index as usize) < d.ports.len(),
            Source::Lengths { axis } => (*axis as usize) < d.axes.len(),
            Source::Tensor { index } => (*index as usize) < d.tensors.len(),
            Source::Result { index } => (*index as usize) < d.results.len(),
            Source::Recurrent { .. } | Source::Key | Source::LearningRate | Source::StepNumber => true,
        };
        source && (slot.buffer as usize) < entry.buffers.len() && slot.shape.iter().all(is_sized)
    });
    let buffers = entry.buffers.iter().all(|buffer| {
        let home = match buffer.home {
            Home::Workspace { first, last } => first <= last,
            Home::Slot | Home::Unused | Home::Prepared | Home::Slice => true,
        };
        home && is_sized(&buffer.len)
    });
    let calls = entry.calls.iter().all(|call| match call {
        Call::MatMul { batch, m, n, k, .. } => [batch, m, n, k].into_iter().all(is_sized),
        Call::Conv { geometry, .. } => {
            let pairs = [&geometry.kernel, &geometry.stride, &geometry.pad, &geometry.dilation];
            let sizes = [&geometry.n, &geometry.h, &geometry.w, &geometry.oh, &geometry.ow];
            let divides = |n: u64| n > 0 && geometry.c.is_multiple_of(n) && geometry.oc.is_multiple_of(n);
            pairs.iter().all(|pair| pair.len() == 2)
                && geometry.stride.iter().all(|&stride| stride > 0)
                && divides(geometry.groups)
                && sizes.into_iter().all(is_sized)
        }
    });
    let symbols = entry.symbols.iter().all(|&symbol| (symbol as usize) < d.symbols.len());
    slots && buffers && calls && symbols
}
