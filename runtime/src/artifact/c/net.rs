//! What C calls `NET`: an instance, its names as C's texts, and the last error's message.

use std::ffi::{CString, c_char, c_int};

use crate::artifact::description::{Element, Role, Size};
use crate::artifact::{Error, Instance};

/// An instance for C.
#[derive(Debug)]
pub struct Net {
    pub(super) instance: Instance,
    /// NUL-terminated.
    message: [u8; 512],
    names: [Vec<CString>; KINDS],
}

const KINDS: usize = 7;

/// What can be counted and named; the numbers are those of [`super::layout::KINDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Inputs,
    Targets,
    Outputs,
    Metrics,
    Parameters,
    States,
    Axes,
}

impl Kind {
    const ALL: [Kind; KINDS] =
        [Kind::Inputs, Kind::Targets, Kind::Outputs, Kind::Metrics, Kind::Parameters, Kind::States, Kind::Axes];

    pub(super) fn of(number: c_int) -> Option<Kind> {
        Kind::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

impl Net {
    pub(super) fn new(instance: Instance) -> Net {
        let d = instance.network().description();
        let c = |name: &String| CString::new(name.replace('\0', "")).unwrap_or_default();
        let ports = |is_target: bool| d.ports.iter().filter(move |port| port.is_target == is_target);
        let results = |role: Role| d.results.iter().filter(move |result| result.role == role);
        let names = Kind::ALL.map(|kind| match kind {
            Kind::Inputs => ports(false).map(|port| c(&port.name)).collect(),
            Kind::Targets => ports(true).map(|port| c(&port.name)).collect(),
            Kind::Outputs => results(Role::Output).map(|result| c(&result.name)).collect(),
            Kind::Metrics => results(Role::Metric).map(|result| c(&result.name)).collect(),
            Kind::Parameters => instance.parameters().map(|path| c(&path.to_owned())).collect(),
            Kind::States => instance.states().iter().map(|state| c(&state.name)).collect(),
            Kind::Axes => d.axes.iter().map(c).collect(),
        });
        Net { message: [0; 512], names, instance }
    }

    pub(super) fn names(&self, kind: Kind) -> &[CString] {
        &self.names[kind as usize]
    }
    pub(super) fn message(&self) -> *const c_char {
        self.message.as_ptr().cast()
    }
    /// Keeps the message; the status.
    pub(super) fn fail(&mut self, error: &Error) -> c_int {
        write_message(&error.message, &mut self.message);
        error.status as c_int
    }

    pub(super) fn element(&self, kind: Kind, index: usize) -> Option<Element> {
        let d = self.instance.network().description();
        let ports = |is_target: bool| d.ports.iter().filter(move |port| port.is_target == is_target);
        match kind {
            Kind::Inputs => ports(false).nth(index).map(|port| port.element.clone()),
            Kind::Targets => ports(true).nth(index).map(|port| port.element.clone()),
            Kind::Outputs | Kind::Metrics => self.result(kind, index).map(|(element, _)| element),
            Kind::Parameters | Kind::States => (index < self.names(kind).len()).then_some(Element::F32),
            Kind::Axes => None,
        }
    }
    pub(super) fn shape(&self, kind: Kind, index: usize) -> Option<Vec<Size>> {
        let d = self.instance.network().description();
        let ports = |is_target: bool| d.ports.iter().filter(move |port| port.is_target == is_target);
        let fixed = |n: &u64| Size { factor: *n, symbols: Vec::new() };
        match kind {
            Kind::Inputs => ports(false).nth(index).map(|port| port.shape.clone()),
            Kind::Targets => ports(true).nth(index).map(|port| port.shape.clone()),
            Kind::Outputs | Kind::Metrics => self.result(kind, index).map(|(_, shape)| shape),
            Kind::Parameters => {
                let tensor = &d.tensors[*self.instance.parameters.get(index)?];
                Some(tensor.shape.iter().map(fixed).collect())
            }
            Kind::States => self.instance.states().get(index).map(|state| state.shape.clone()),
            Kind::Axes => None,
        }
    }
    fn result(&self, kind: Kind, index: usize) -> Option<(Element, Vec<Size>)> {
        let role = if kind == Kind::Outputs { Role::Output } else { Role::Metric };
        let results = self.instance.network().description().results.iter();
        let result = results.filter(|result| result.role == role).nth(index)?;
        Some((result.element.clone(), result.shape.clone()))
    }
}

/// As much of a message as there is room for, whole characters, and a NUL behind it.
pub(super) fn write_message(message: &str, to: &mut [u8]) {
    let Some(room) = to.len().checked_sub(1) else { return };
    let mut len = message.len().min(room);
    while !message.is_char_boundary(len) {
        len -= 1;
    }
    to[..len].copy_from_slice(&message.as_bytes()[..len]);
    to[len] = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_between_characters() {
        let mut room = [7; 4];
        write_message("aéé", &mut room);
        assert_eq!(room, [b'a', 0xc3, 0xa9, 0]);
        write_message("éééé", &mut room);
        assert_eq!(room[..3], [0xc3, 0xa9, 0]);
        write_message("x", &mut []);
    }
}
