//! Which algorithm computes a convolution: the one that costs least, unless somebody asks for another.

use super::roots::through_views;
use crate::diag::suggest;
use crate::graph::{Graph, Value};
use crate::kernel::{Algorithm, Direction, Geometry, Shortcuts};
use crate::ops::{Convolution, Op, Role};
use crate::types::Dim;

/// What is asked for in place of the algorithms that cost least. The last that holds for a convolution counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Algorithms {
    asked: Vec<Asked>,
    is_strict: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    /// The path of a layer, or of what holds layers; `None` stands for all convolutions that the algorithm can compute.
    layer: Option<String>,
    /// `None` chooses by cost.
    algorithm: Option<Algorithm>,
}

impl Algorithms {
    /// Direct summation everywhere, of weights as they are: no Winograd, whose transforms round more, no products of sums in place of
    /// sums of products, and no weights that are rounded to 21 bits.
    pub fn strict() -> Self {
        let mut algorithms = Algorithms { is_strict: true, ..Algorithms::default() };
        algorithms.set(None, Some(Algorithm::Direct));
        algorithms
    }
    /// Asks for an algorithm, or for the cheapest, in a layer or everywhere.
    pub fn set(&mut self, layer: Option<&str>, algorithm: Option<Algorithm>) {
        self.asked.push(Asked { layer: layer.map(str::to_owned), algorithm });
    }
    /// `winograd4`, or `stage1.basic1.conv1=direct`.
    ///
    /// # Errors
    /// When there is no such algorithm.
    pub fn set_text(&mut self, text: &str) -> Result<(), String> {
        let (layer, name) = text.rsplit_once('=').map_or((None, text), |(layer, name)| (Some(layer), name));
        let algorithm = match name {
            "auto" => None,
            "direct" => Some(Algorithm::Direct),
            "winograd2" => Some(Algorithm::Winograd2x2),
            "winograd4" => Some(Algorithm::Winograd),
            _ => return Err(format!("`{name}` is none of `direct`, `winograd2`, `winograd4` and `auto`")),
        };
        self.set(layer, algorithm);
        Ok(())
    }
    /// What products of a recurrence may read in place of its weights.
    pub(super) fn shortcuts(&self) -> Shortcuts {
        Shortcuts { rounded: !self.is_strict, sums: !self.is_strict }
    }
    /// What is asked for a convolution of this layer.
    pub(super) fn asked(&self, path: &str) -> Option<Algorithm> {
        let found = self.asked.iter().rev().find(|asked| asked.layer.as_deref().is_none_or(|layer| is_in(path, layer)));
        found.and_then(|asked| asked.algorithm)
    }
    /// Whether all that is asked for can be done in a network.
    ///
    /// # Errors
    /// A layer that has no convolution, or one that the algorithm cannot compute.
    pub fn check(&self, graph: &Graph) -> Result<(), String> {
        let mut convolutions = Vec::new();
        collect(graph, &mut convolutions);
        for Asked { layer, algorithm } in &self.asked {
            let is_asked = |path: &str| layer.as_deref().is_none_or(|layer| is_in(path, layer));
            let of: Vec<_> = convolutions.iter().filter(|(path, _)| is_asked(path)).collect();
            if let (Some(layer), []) = (layer, &of[..]) {
                let near = suggest(layer, convolutions.iter().map(|(path, _)| path.as_str()));
                let near = near.first().map_or(String::new(), |near| format!("; `{near}` is one"));
                return Err(format!("`{layer}` is no layer with a convolution{near}"));
            }
            let refused = of.iter().find_map(|(path, refusal)| Some((path, refusal.as_ref()?)));
            let fits = of.iter().any(|(_, refusal)| refusal.is_none());
            if let (Some((path, reason)), Some(winograd)) = (refused, algorithm.filter(|it| *it != Algorithm::Direct))
                && (layer.is_some() || !fits)
            {
                let name = if winograd == Algorithm::Winograd { "winograd4" } else { "winograd2" };
                return Err(format!("`{name}` cannot compute `{path}`: {reason}"));
            }
        }
        Ok(())
    }
}

fn is_in(path: &str, layer: &str) -> bool {
    path.strip_prefix(layer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The convolutions of a graph and of its recurrences: the layer's path, and why Winograd's algorithms cannot compute it.
fn collect(graph: &Graph, convolutions: &mut Vec<(String, Option<String>)>) {
    for (_, node) in graph.nodes() {
        match &node.op {
            Op::Convolution(convolution) if convolution.direction == Direction::Forward => {
                let path = node.origin.map_or("", |origin| graph.origin_path(origin));
                convolutions.push((path.to_owned(), refusal(graph, convolution, &node.args)));
            }
            Op::Scan(scan) => collect(&scan.body, convolutions),
            _ => {}
        }
    }
    // Results of one recurrence share its body.
    convolutions.dedup();
}

fn refusal(graph: &Graph, convolution: &Convolution, args: &[Value]) -> Option<String> {
    let Convolution { kernel: [kh, kw], stride: [down, right], dilation, groups, pad, .. } = *convolution;
    let fixed = |value: Value, axis: usize| graph.ty(value).shape[axis].as_fixed().unwrap_or_default();
    let [c, oc] = [fixed(args[0], 1), fixed(args[1], 0)];
    let from = &graph.node(through_views(graph, args[0])).op;
    Some(if [kh, kw] != [3, 3] {
        format!("its kernel is {kh}x{kw}, not 3x3")
    } else if [down, right] != [1, 1] {
        format!("its stride is {}, not 1", down.max(right))
    } else if dilation != [1, 1] {
        "it is dilated".to_owned()
    } else if groups != 1 {
        format!("it has {groups} groups")
    } else if pad.into_iter().max() > Some(2) {
        "it is padded by more than 2".to_owned()
    } else if c.min(oc) < CHANNELS {
        format!("{} channels are fewer than {CHANNELS}", c.min(oc))
    } else if matches!(from, Op::Source(source) if source.role == Role::Input) {
        "it reads an input of the network, whose channels are not neighbors in memory".to_owned()
    } else {
        return None;
    })
}

/// The least number of channels that fill the vectors of Winograd's transforms.
const CHANNELS: usize = 16;
/// What an element of the transforms costs, in multiply-adds of a full vector unit.
const TRANSFORM: usize = 5;
/// What reading a weight from memory costs, in the same unit: a core of a Zen 4 server does 58 billion multiply-adds a second, and
/// reads 5 to 6 billion weights. Cores with twice the rate of multiply-adds would have 30.
const WEIGHT: usize = 10;
/// What a named size of a map is taken for.
const SIDE: usize = 56;
/// What a named batch is taken for where parameters stay.
const ANSWER: usize = 1;
/// What it is taken for where they are trained.
const BATCH: usize = 8;

/// The algorithm of a convolution. `channel` is the stride between channels of what the sliding window reads: `x`
/// forward, `y` backward. `stays` if its weight is packed once for all calls.
pub(super) fn algorithm(
    geometry: &Geometry,
    direction: Direction,
    channel: &Dim,
    stays: bool,
    asked: Option<Algorithm>,
) -> Algorithm {
    let Geometry { c, oc, kernel, stride, pad, dilation, groups, .. } = geometry;
    let is_plain = *kernel == [3, 3] && *stride == [1, 1] && *dilation == [1, 1] && *groups == 1 && *pad <= [2, 2];
    let is_deep = *c >= CHANNELS && *oc >= CHANNELS && channel.is_one();
    if !is_plain || !is_deep || asked == Some(Algorithm::Direct) {
        return Algorithm::Direct;
    }
    if direction == Direction::WeightGrad {
        // The only one; the runtime knows whether there are tiles enough.
        return Algorithm::Winograd;
    }
    if let Some(asked) = asked {
        return asked;
    }
    let candidates = [Algorithm::Direct, Algorithm::Winograd2x2, Algorithm::Winograd];
    candidates
        .into_iter()
        .min_by_key(|&candidate| cost(geometry, direction, candidate, stays))
        .expect("three candidates")
}

/// About how many multiply-adds a core does in the same time.
fn cost(geometry: &Geometry, direction: Direction, algorithm: Algorithm, stays: bool) -> usize {
    let Geometry { n, c, h, w, oc, oh, ow, .. } = geometry;
    let size = |dim: &Dim, otherwise: usize| dim.as_fixed().unwrap_or(otherwise);
    let images = size(n, if stays { ANSWER } else { BATCH });
    let [height, width] = if direction == Direction::DataGrad { [h, w] } else { [oh, ow] }.map(|dim| size(dim, SIDE));
    // A tile of the result, and how many products make it.
    let (tile, points) = match algorithm {
        Algorithm::Direct => (1, 9),
        Algorithm::Winograd2x2 => (2, 16),
        Algorithm::Winograd => (4, 36),
    };
    let tiles = images * height.div_ceil(tile) * width.div_ceil(tile);
    let transforms = if tile == 1 { 0 } else { tiles * points * (c + oc) * TRANSFORM };
    // Weights that change are written before they are read.
    let weights = points * c * oc * WEIGHT * if stays { 1 } else { 2 };
    points * tiles * c * oc + transforms + weights
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(channels: usize, side: usize, stays: bool, expected: Algorithm) {
        let side = Dim::fixed(side);
        let geometry = Geometry {
            n: Dim::batch(),
            c: channels,
            h: side.clone(),
            w: side.clone(),
            oc: channels,
            oh: side.clone(),
            ow: side,
            kernel: [3, 3],
            stride: [1, 1],
            pad: [1, 1],
            dilation: [1, 1],
            groups: 1,
        };
        for direction in [Direction::Forward, Direction::DataGrad] {
            assert_eq!(algorithm(&geometry, direction, &Dim::ONE, stays, None), expected, "{direction:?} {geometry:?}");
            assert_eq!(algorithm(&geometry, direction, &Dim::fixed(2), stays, None), Algorithm::Direct);
        }
        let strided = Geometry { stride: [2, 1], ..geometry };
        assert_eq!(algorithm(&strided, Direction::Forward, &Dim::ONE, stays, None), Algorithm::Direct);
    }

    /// What `benches/convolution.rs` of the runtime finds fastest.
    #[test]
    fn maps_of_each_size_have_their_algorithm() {
        for stays in [false, true] {
            check(8, 224, stays, Algorithm::Direct);
            check(64, 224, stays, Algorithm::Winograd);
            check(128, 28, stays, Algorithm::Winograd);
        }
        check(512, 28, true, Algorithm::Winograd);
        check(512, 14, false, Algorithm::Winograd);
        check(512, 14, true, Algorithm::Winograd);
        check(256, 14, true, Algorithm::Winograd);
        check(512, 7, true, Algorithm::Winograd2x2);
        check(512, 7, false, Algorithm::Winograd);
        check(512, 3, true, Algorithm::Direct);
        check(512, 1, true, Algorithm::Direct);
    }
}
