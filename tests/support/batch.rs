//! Values for a network's inputs and targets, and what it makes of them.

use ndarray::{ArrayD, Axis, IxDyn, Slice};
use netc::types::{ElementType, Extents, Symbol};
use netc::{Session, TensorView};

use crate::random::Random;

/// Values for every input and target.
pub(crate) struct Batch(Vec<(String, Values, bool)>);

pub(crate) enum Values {
    Numbers(ArrayD<f32>),
    Tokens(ArrayD<i32>),
}

impl Values {
    fn rows(&self, rows: Slice) -> TensorView<'_> {
        match self {
            Values::Numbers(numbers) => TensorView::F32(numbers.slice_axis(Axis(0), rows)),
            Values::Tokens(tokens) => TensorView::I32(tokens.slice_axis(Axis(0), rows)),
        }
    }
}

impl Batch {
    pub(crate) fn new(session: &Session, batch: usize, length: usize) -> Batch {
        let mut extents = Extents::with_batch(batch);
        extents.set(Symbol::Axis("T".into()), length);
        let mut random = Random(9);
        let port = |port: &netc::network::Port| {
            let shape = IxDyn(&port.ty.eval(&extents));
            let values = match port.ty.element {
                ElementType::F32 => Values::Numbers(ArrayD::from_shape_simple_fn(shape, || random.unit() as f32)),
                ElementType::I32 => {
                    let n = port.vocabulary.expect("tokens have a vocabulary") as u64;
                    Values::Tokens(ArrayD::from_shape_simple_fn(shape, || (random.word() % n) as i32))
                }
            };
            (port.name.clone(), values, port.is_target)
        };
        Batch(session.network().ports.iter().map(port).collect())
    }
    /// Some members of the batch, without the targets if they are not asked for.
    pub(crate) fn part(&self, from: usize, to: usize, with_targets: bool) -> Vec<(&str, TensorView<'_>)> {
        let rows = Slice::from(from..to);
        let ports = self.0.iter().filter(|(_, _, is_target)| with_targets || !is_target);
        ports.map(|(name, values, _)| (name.as_str(), values.rows(rows))).collect()
    }
    pub(crate) fn all(&self) -> Vec<(&str, TensorView<'_>)> {
        let n = match &self.0[0].1 {
            Values::Numbers(numbers) => numbers.shape()[0],
            Values::Tokens(tokens) => tokens.shape()[0],
        };
        self.part(0, n, true)
    }
}

/// The bits of all outputs, member by member.
pub(crate) fn forward(session: &mut Session, batch: &Batch, from: usize, to: usize) -> Vec<Vec<u32>> {
    let outputs = session.forward(&batch.part(from, to, false)).unwrap_or_else(|error| panic!("{error}"));
    let mut members = vec![Vec::new(); to - from];
    for (_, array) in outputs.outputs() {
        assert_eq!(array.shape()[0], to - from);
        for (member, row) in members.iter_mut().zip(array.outer_iter()) {
            member.extend(row.iter().map(|x| x.to_bits()));
        }
    }
    members
}
