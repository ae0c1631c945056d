//! Truncated backpropagation through time (Williams and Peng 1990): the sequences of a batch are cut into windows,
//! one step of training each, and recurrent states are carried from window to window.

use ndarray::{Array1, Axis, Slice};

use crate::error::Error;
use crate::network::Network;
use crate::session::TensorView;
use crate::types::{Dim, Symbol};

/// How the batches of a network are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Windows {
    /// The name of the sequence axis.
    axis: String,
    /// The steps of a window; the last one may have fewer.
    size: usize,
    /// Where the axis stands in each port that has it.
    ports: Vec<(String, usize)>,
}

/// A window of a batch. Its lengths, where the batch has some, are its own.
#[derive(Debug)]
pub(super) struct Window {
    start: usize,
    end: usize,
    lengths: Option<Array1<i32>>,
    /// The steps in it, over all members of the batch.
    pub(super) n_steps: usize,
}

impl Window {
    /// All of a batch whose examples are counted.
    pub(super) fn whole(n_examples: usize) -> Self {
        Window { start: 0, end: 0, lengths: None, n_steps: n_examples }
    }
}

impl Windows {
    /// Those that `tbptt` asks for; `None` where batches are taken whole.
    ///
    /// # Errors
    /// When the network cannot be trained so: it has several sequence axes, or a target without one.
    pub(super) fn of(network: &Network) -> Result<Option<Self>, Error> {
        let Some(size) = network.settings.tbptt else { return Ok(None) };
        let axis_of = |dim: &Dim| match dim.symbols() {
            [Symbol::Axis(name)] => Some(name.to_string()),
            _ => None,
        };
        let mut axes: Vec<String> = network.ports.iter().flat_map(|port| &port.ty.shape).filter_map(axis_of).collect();
        axes.sort();
        axes.dedup();
        let refuse = |why: String| {
            let name = &network.name;
            Err(Error::Unsupported(format!("`tbptt` cannot cut the sequences of `{name}` into windows: {why}")))
        };
        let axis = match axes.as_slice() {
            [] => return Ok(None),
            [axis] => axis.clone(),
            several => return refuse(format!("it has several lengths, `{}`", several.join("`, `"))),
        };
        let place = |dims: &[Dim]| dims.iter().position(|dim| axis_of(dim).as_ref() == Some(&axis));
        let mut ports = Vec::new();
        for port in &network.ports {
            match place(&port.ty.shape) {
                Some(at) => ports.push((port.name.clone(), at)),
                None if port.is_target => {
                    return refuse(format!("the target `{}` has no value at each step of `{axis}`", port.name));
                }
                None => {}
            }
        }
        Ok(Some(Windows { axis, size, ports }))
    }

    /// The windows of a batch, in order; at least one.
    pub(super) fn windows(&self, batch: &[(&str, TensorView<'_>)]) -> Vec<Window> {
        let size_of = |(name, at): &(String, usize)| find(batch, name).and_then(|view| view.shape().get(*at).copied());
        let steps = self.ports.iter().find_map(size_of).unwrap_or(0);
        let members = batch.first().and_then(|(_, view)| view.shape().first().copied()).unwrap_or(0);
        let window = |start: usize| {
            let end = (start + self.size).min(steps);
            let lengths = find(batch, &self.axis).and_then(|view| match view {
                TensorView::I32(lengths) if lengths.ndim() == 1 => {
                    let cut = |length: i32| length.clamp(start as i32, end as i32) - start as i32;
                    Some(lengths.iter().map(|&length| cut(length)).collect::<Array1<i32>>())
                }
                _ => None,
            });
            let n_steps = match &lengths {
                Some(lengths) => lengths.iter().map(|&length| length as usize).sum(),
                None => members * (end - start),
            };
            Window { start, end, lengths, n_steps }
        };
        (0..steps.max(1)).step_by(self.size.max(1)).map(window).collect()
    }

    /// The part of a batch that a window shows.
    pub(super) fn cut<'v>(
        &self,
        batch: &'v [(&str, TensorView<'_>)],
        window: &'v Window,
    ) -> Vec<(&'v str, TensorView<'v>)> {
        let part = |(name, view): &'v (&str, TensorView<'_>)| -> (&'v str, TensorView<'v>) {
            if let Some(lengths) = window.lengths.as_ref().filter(|_| *name == self.axis) {
                return (name, TensorView::from(lengths.view()));
            }
            let place = self.ports.iter().find(|(port, _)| port == name).map(|(_, at)| *at);
            let slice = Slice::from(window.start..window.end);
            let view = match (view, place) {
                (TensorView::F32(array), Some(at)) => TensorView::F32(array.slice_axis(Axis(at), slice)),
                (TensorView::I32(array), Some(at)) => TensorView::I32(array.slice_axis(Axis(at), slice)),
                (TensorView::F32(array), None) => TensorView::F32(array.view()),
                (TensorView::I32(array), None) => TensorView::I32(array.view()),
            };
            (name, view)
        };
        batch.iter().map(part).collect()
    }
}

fn find<'b, 'v>(batch: &'b [(&str, TensorView<'v>)], name: &str) -> Option<&'b TensorView<'v>> {
    batch.iter().find(|(known, _)| *known == name).map(|(_, view)| view)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::Windows;
    use crate::check_source;
    use crate::network::{Network, Port};
    use crate::session::TensorView;
    use crate::types::{Dim, TensorType};

    fn network(ports: &[(&str, bool, &[Dim])]) -> Network {
        let mut network =
            check_source("a.net", "net a {\n  input x[2]\n  dense(1)\n}\ntrain a {\n  tbptt 3\n}").unwrap();
        let port = |(name, is_target, shape): &(&str, bool, &[Dim])| {
            let ty = TensorType::f32([&[Dim::batch()], *shape].concat());
            Port { name: (*name).to_owned(), is_target: *is_target, ty, vocabulary: None }
        };
        network.ports = ports.iter().map(port).collect();
        network
    }

    #[test]
    fn sequences_are_cut_and_all_else_stays() {
        let steps = Dim::axis("T");
        let two = Dim::fixed(2);
        let network = network(&[
            ("x", false, std::slice::from_ref(&steps)),
            ("c", false, &[two]),
            ("y", true, std::slice::from_ref(&steps)),
        ]);
        let windows = Windows::of(&network).unwrap().unwrap();
        let x = Array2::from_shape_fn((2, 7), |(i, t)| (10 * i + t) as f32);
        let lengths = array![7, 4];
        let c = Array2::<f32>::zeros((2, 2));
        let batch: Vec<(&str, TensorView<'_>)> = vec![("x", x.view().into()), ("c", c.view().into())];
        let parts = windows.windows(&batch);
        assert_eq!(parts.iter().map(|window| window.n_steps).collect::<Vec<_>>(), [6, 6, 2]);
        let cut = windows.cut(&batch, &parts[1]);
        let TensorView::F32(array) = &cut[0].1 else { panic!("features") };
        assert_eq!(array.iter().copied().collect::<Vec<_>>(), [3.0, 4.0, 5.0, 13.0, 14.0, 15.0]);
        assert_eq!(cut[1].1.shape(), [2, 2]);
        // Lengths are those within the window.
        let batch: Vec<(&str, TensorView<'_>)> = vec![("x", x.view().into()), ("T", lengths.view().into())];
        let parts = windows.windows(&batch);
        assert_eq!(parts.iter().map(|window| window.n_steps).collect::<Vec<_>>(), [6, 4, 1]);
        let cut = windows.cut(&batch, &parts[1]);
        let TensorView::I32(array) = &cut[1].1 else { panic!("lengths") };
        assert_eq!(array.iter().copied().collect::<Vec<_>>(), [3, 1]);
    }

    #[test]
    fn what_cannot_be_cut_is_refused() {
        let steps = |name: &str| vec![Dim::axis(name)];
        assert_eq!(Windows::of(&network(&[("x", false, &[Dim::fixed(2)])])), Ok(None));
        let error = |ports: &[(&str, bool, &[Dim])]| Windows::of(&network(ports)).unwrap_err().to_string();
        let several = error(&[("a", false, &steps("S")), ("b", true, &steps("T"))]);
        assert!(several.contains("it has several lengths, `S`, `T`"), "{several}");
        let one = error(&[("a", false, &steps("T")), ("b", true, &[])]);
        assert!(one.contains("the target `b` has no value at each step of `T`"), "{one}");
    }
}
