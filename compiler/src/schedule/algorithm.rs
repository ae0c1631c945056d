//! Which algorithm computes a convolution: the one that costs least.

use crate::kernel::{Algorithm, Direction, Geometry};
use crate::types::Dim;

/// The least number of channels that fill the vectors of Winograd's transforms.
const CHANNELS: usize = 16;
/// What an element of the transforms costs, in multiply-adds of a full vector unit.
const TRANSFORM: usize = 5;
/// What reading a weight from memory costs, in the same unit.
const WEIGHT: usize = 10;
/// What a named size of a map is taken for.
const SIDE: usize = 56;
/// What a named batch is taken for where parameters stay.
const ANSWER: usize = 1;
/// What it is taken for where they are trained.
const BATCH: usize = 8;

/// The algorithm of a convolution. `channel` is the stride between channels of what the sliding window reads: `x`
/// forward, `y` backward. `stays` if its weight is packed once for all calls.
pub(super) fn algorithm(geometry: &Geometry, direction: Direction, channel: &Dim, stays: bool) -> Algorithm {
    let Geometry { c, oc, kernel, stride, pad, dilation, groups, .. } = geometry;
    let is_plain = *kernel == [3, 3] && *stride == [1, 1] && *dilation == [1, 1] && *groups == 1 && *pad <= [2, 2];
    let is_deep = *c >= CHANNELS && *oc >= CHANNELS && channel.is_one();
    if !is_plain || !is_deep {
        return Algorithm::Direct;
    }
    if direction == Direction::WeightGrad {
        // The runtime knows how many tiles there are.
        return Algorithm::Winograd;
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
            assert_eq!(algorithm(&geometry, direction, &Dim::ONE, stays), expected, "{direction:?} {geometry:?}");
            assert_eq!(algorithm(&geometry, direction, &Dim::fixed(2), stays), Algorithm::Direct);
        }
        let strided = Geometry { stride: [2, 1], ..geometry };
        assert_eq!(algorithm(&strided, Direction::Forward, &Dim::ONE, stays), Algorithm::Direct);
    }

    /// What `benches/convolution.rs` of the runtime finds fastest.
    #[test]
    fn maps_of_each_size_have_their_algorithm() {
        for stays in [false, true] {
            check(8, 224, stays, Algorithm::Direct);
            check(64, 224, stays, Algorithm::Winograd);
            check(128, 28, stays, Algorithm::Winograd);
            check(512, 14, stays, Algorithm::Winograd);
        }
        check(512, 7, true, Algorithm::Winograd2x2);
        check(512, 7, false, Algorithm::Winograd);
        check(512, 1, true, Algorithm::Direct);
    }
}
