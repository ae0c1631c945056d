//! Loops that turn memory round: their innermost loop stores neighbors and reads what is far apart, or the loop outside of it
//! reads neighbors.
//!
//! Read element by element, each is a line of the cache of which the rest is gone before it is needed, where the inner loop
//! reads more lines than the cache holds at their distance. Then the outer loop is cut into strips of some elements, and a strip
//! is the innermost loop: a line is read as a whole, into as many lines that are written side by side.

use super::collapse::{along, coefficient};
use crate::index::Id;
use crate::kernel::{Address, Axis, IntExpr, Kernel, Scalar, Step};
use crate::types::Dim;

/// Elements of a strip, at most and at least: those of some lines of the cache, whose counterparts fit into it.
const STRIP: [usize; 2] = [32, 7];
/// So far apart are elements that share no line.
const FAR: usize = 16;
/// The sets of lines of a first cache, and the lines of a set, on any machine with 32 KiB of it or more.
const SETS: usize = 64;
const WAYS: usize = 8;

/// Cuts the loops of such steps into strips.
pub(super) fn in_strips(steps: &mut [Step]) {
    for step in steps {
        if let Step::Loop(kernel) = step {
            let strip = strip(kernel);
            if let Some((outer, len)) = strip {
                cut(kernel, outer, len);
            }
        }
    }
}

/// The loop that is worth cutting, and the length of its strips.
fn strip(kernel: &Kernel) -> Option<(Axis, usize)> {
    let [.., outer, inner] = kernel.domain[..] else { return None };
    let [store] = &kernel.stores[..] else { return None };
    // Arithmetic runs in vectors along the inner loop, which a strip would end.
    let is_cheap = |scalar: &Scalar| matches!(scalar, Scalar::Load { .. } | Scalar::Const(_) | Scalar::Binary(..));
    let is_plain = kernel.exprs.values().all(is_cheap) && kernel.exprs.len() <= 4;
    // The two loops are in addresses by themselves.
    let is_linear = kernel.ints.iter().all(|(int, what)| {
        matches!(what, IntExpr::Axis(_)) || [outer, inner].iter().all(|&axis| coefficient(kernel, int, axis) == Some(0))
    });
    let moves = |at: &Address, axis: Axis| along(kernel, at, axis).and_then(|dim| dim.as_fixed());
    let [len, inner_len] = [kernel.axes[outer].as_fixed()?, kernel.axes[inner].as_fixed()?];
    let turns = |scalar: &Scalar| match scalar {
        Scalar::Load { at, .. } if moves(at, outer) == Some(1) => {
            moves(at, inner).is_some_and(|far| far >= FAR && inner_len > held(far))
        }
        _ => false,
    };
    let written = moves(&store.at, outer).filter(|far| *far >= FAR && moves(&store.at, inner) == Some(1))?;
    if !(is_plain && is_linear && kernel.exprs.values().any(turns)) {
        return None;
    }
    let [most, least] = STRIP;
    let strip = (least..=most.min(held(written))).rev().find(|strip| len.is_multiple_of(*strip))?;
    (len > strip).then_some((outer, strip))
}

/// How many lines a first cache holds of those that are so many elements apart.
fn held(apart: usize) -> usize {
    // Elements whose distance is no whole number of lines fall into all sets.
    let lines = if apart.is_multiple_of(FAR) { apart / FAR } else { 1 };
    let sets = SETS >> lines.trailing_zeros().min(SETS.trailing_zeros());
    sets * WAYS
}

/// Makes strips of a loop the innermost one.
fn cut(kernel: &mut Kernel, outer: Axis, strip: usize) {
    let len = kernel.axes[outer].as_fixed().expect("strips are cut of fixed loops");
    kernel.axes[outer] = Dim::fixed(len / strip);
    let within = kernel.axes.push(Dim::fixed(strip));
    kernel.domain.push(within);
    let int = kernel.ints.push(IntExpr::Axis(within));
    let is_outer: Vec<bool> = kernel.ints.values().map(|int| *int == IntExpr::Axis(outer)).collect();
    let split = |at: &mut Address| {
        for term in 0..at.terms.len() {
            let (of, stride) = at.terms[term].clone();
            if is_outer[of.index()] {
                at.terms[term].1 = stride.times(&Dim::fixed(strip));
                at.terms.push((int, stride));
            }
        }
    };
    for (_, scalar) in kernel.exprs.iter_mut() {
        if let Scalar::Load { at, .. } = scalar {
            split(at);
        }
    }
    kernel.stores.iter_mut().for_each(|store| split(&mut store.at));
    super::collapse::share(kernel);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: lines that are a power of two of lines apart share few of the 64 sets, of 8 lines each.
    #[test]
    fn a_cache_holds_fewer_lines_the_rounder_their_distance() {
        for (apart, lines) in [(784, 512), (3136, 128), (256, 32), (512, 16), (1024, 8), (1 << 20, 8), (49, 512)] {
            assert_eq!(held(apart), lines, "{apart} elements apart");
        }
    }
}
