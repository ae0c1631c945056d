//! Why two shapes differ: which layer gave each size, and what would repair it.

use std::rc::Rc;

use super::cx::Cx;
use super::value::{Change, Tensor};
use crate::diag::Span;
use crate::layers::user_shape;
use crate::types::Dim;

impl Cx<'_, '_> {
    /// One note for each axis, `skip` left out, along which the values differ; directions that tell the same are told once.
    pub(super) fn differences(
        &self,
        left: (&Tensor<'_>, Span),
        right: (&Tensor<'_>, Span),
        skip: Option<usize>,
    ) -> Vec<String> {
        let (a, b) = (left.0.var.shape(), right.0.var.shape());
        let (a, b) = (user_shape(&a), user_shape(&b));
        let batch = left.0.var.rank() - a.len();
        if a.len() != b.len() {
            return vec![format!("one has {} axes, the other {}", a.len(), b.len())];
        }
        let mut notes = Vec::new();
        let mut told: Vec<(Dim, Dim)> = Vec::new();
        for i in 0..a.len() {
            let from_end = a.len() - 1 - i;
            let differs = a[i] != b[i] && Some(i + batch) != skip && !told.contains(&(a[i].clone(), b[i].clone()));
            if !differs {
                continue;
            }
            told.push((a[i].clone(), b[i].clone()));
            let change = |tensor: &Tensor<'_>| tensor.changes.get(from_end).cloned().flatten();
            let (of_left, of_right) = (change(left.0), change(right.0));
            // The value whose layer has a reason to tell is the subject.
            let has_reason =
                |change: &Option<Rc<Change>>| change.as_ref().is_some_and(|change| change.reason.is_some());
            let swap = !has_reason(&of_left) && (has_reason(&of_right) || of_left.is_none());
            let (subject, object, sizes, change) = match swap {
                false => (left.1, right.1, (&a[i], &b[i]), of_left),
                true => (right.1, left.1, (&b[i], &a[i]), of_right),
            };
            let direction = Direction::of(i, a);
            // What `residual` adds stands within it: there the other value is its input.
            let object = match object.start <= subject.start && subject.end <= object.end && object != subject {
                true => "the input".to_owned(),
                false => self.quoted(object),
            };
            let mut note = compare(self.quoted(subject), object, sizes, direction);
            if let Some(change) = change {
                note += &format!(": {}", self.tell(&change, subject));
            }
            notes.push(note);
        }
        notes
    }

    /// `conv3x3 at line 6 has stride 2, floor((56 + 2*1 - 3) / 2) + 1 = 28`
    fn tell(&self, change: &Change, near: Span) -> String {
        let mut told = format!("{} at {}", change.kind, self.line(change.span, near));
        match (&change.reason, &change.formula) {
            (Some(reason), Some(formula)) => told += &format!(" {reason}, {formula}"),
            (Some(reason), None) => told += &format!(" {reason}"),
            (None, Some(formula)) => told += &format!(" makes {formula}"),
            (None, None) => told += " makes it so",
        }
        told
    }

    fn quoted(&self, span: Span) -> String {
        let text = self.sources.slice(span);
        if text.len() > 40 || text.contains('\n') { "this value".to_owned() } else { format!("`{text}`") }
    }

    /// What would make two maps of different size fit: the stride of the one for the other.
    pub(super) fn repair(&self, left: (&Tensor<'_>, Span), right: (&Tensor<'_>, Span)) -> Vec<String> {
        let (a, b) = (left.0.user_shape(), right.0.user_shape());
        let ([_, ah, aw], [_, bh, bw]) = (a.as_slice(), b.as_slice()) else { return Vec::new() };
        if (ah, aw) == (bh, bw) {
            return Vec::new();
        }
        let area = |h: &Dim, w: &Dim| h.factor().saturating_mul(w.factor());
        let ((small, _), (large, large_span)) = if area(ah, aw) < area(bh, bw) { (left, right) } else { (right, left) };
        let stride = small.changes.iter().flatten().find_map(|change| change.stride);
        let Some(stride) = stride.map(|span| self.sources.slice(span)) else { return Vec::new() };
        let name = self.quoted(large_span);
        let channels = &small.user_shape()[0];
        let convolution =
            large.window.as_ref().filter(|change| change.kind.starts_with("conv") && change.stride.is_none());
        // A convolution at the same place is one that no other layer has used since.
        match convolution.filter(|change| change.span.file == large_span.file) {
            Some(change) => {
                let text = self.sources.slice(change.span);
                let strided = match text.strip_suffix(')') {
                    Some(open) => format!("{open}, stride = {stride})"),
                    None => format!("{text}(stride = {stride})"),
                };
                vec![format!("give {name} the same stride: `{strided}`")]
            }
            None => {
                vec![format!("give {name} a convolution of the same stride: `conv1x1({channels}, stride = {stride})`")]
            }
        }
    }
}

/// What an axis is called in a comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Height,
    Width,
    Channels,
    Features,
    Sequence,
    Other,
}

impl Direction {
    fn of(axis: usize, shape: &[Dim]) -> Self {
        let n_sequences = shape.iter().take_while(|dim| dim.as_fixed().is_none()).count();
        if axis < n_sequences {
            return Direction::Sequence;
        }
        match (shape.len() - n_sequences, axis - n_sequences) {
            (3, 0) => Direction::Channels,
            (3, 1) => Direction::Height,
            (3, 2) => Direction::Width,
            (1, 0) => Direction::Features,
            _ => Direction::Other,
        }
    }
}

fn compare(subject: String, object: String, (a, b): (&Dim, &Dim), direction: Direction) -> String {
    let adjective = match direction {
        Direction::Height => "high",
        Direction::Width => "wide",
        Direction::Channels => return format!("{subject} has {a} channels, {object} {b}"),
        Direction::Features => return format!("{subject} has {a} features, {object} {b}"),
        Direction::Sequence => return format!("{subject} is `{a}` steps long, {object} `{b}`"),
        Direction::Other => return format!("{subject} has {a} along that axis, {object} {b}"),
    };
    let (n, m) = (a.factor(), b.factor());
    if n * 2 == m {
        format!("{subject} is half as {adjective} as {object}")
    } else if m * 2 == n {
        format!("{subject} is twice as {adjective} as {object}")
    } else {
        format!("{subject} is {a} {adjective}, {object} {b}")
    }
}
