//! Convolutions: forward, data gradient, weight gradient.
//!
//! All three are matrix products whose left or right operand is made of patches of an image. The patches are
//! never written to memory as a whole: micro-kernels read pixels in place through a table of pointers. Where channels are
//! few, that place is a copy of some rows of the image with its channels side by side; only where channels are not adjacent
//! and the kernel is unusual, a block of patches is copied at a time.
#![expect(unsafe_code, reason = "raw images of generated code")]

#[cfg(test)]
mod cases;
mod few;
pub(super) mod finish;
pub(super) mod geometry;
mod grouped;
mod implicit;
mod interleaved;
mod rows;
#[cfg(test)]
mod tests;
mod weight_grad;
mod weights;
mod winograd;

pub use finish::rows as rows_of_sums;

use std::marker::PhantomData;

use crate::abi::{Conv, Frame, Sums};
use crate::scratch::{Needs, Purpose, Scratch, floats_of};
use crate::threads::Team;

use super::amx;
use super::cpu::{self, Cpu};
use super::simd::{LONGEST, WIDEST};
use finish::Finish;
use geometry::{Correlation, Phase, Tap, Way};
use interleaved::Windows;
use rows::Rows;

/// An implicit matrix product.
pub const DIRECT: i64 = 0;
/// Winograd's F(4x4, 3x3), and F(3x3, 4x4) for the weight gradient.
pub const WINOGRAD: i64 = 1;
/// Winograd's F(2x2, 3x3), and F(3x3, 4x4) for the weight gradient.
pub const WINOGRAD_2X2: i64 = 2;

/// So many pixels are many: see [`Conv::many`].
pub const MANY: i64 = super::matmul::MANY as i64;

/// The direction of [`crate::abi::netc_conv2d`].
pub const FORWARD: i64 = 0;
/// The direction of [`crate::abi::netc_conv2d_data_grad`].
pub const DATA_GRAD: i64 = 1;

// SAFETY: chunks read shared operands and write to disjoint blocks of the result.
unsafe impl Sync for Conv {}
// SAFETY: chunks only read what a result is multiplied with; one thread adds up their sums.
unsafe impl Sync for Sums {}

/// How many floats the packed weights of a convolution take, on any CPU.
pub fn packed_len(d: &Conv, direction: i64) -> usize {
    let [c, oc, kh, kw, groups] = [d.c, d.oc, d.kh, d.kw, d.groups].map(|x| x.max(1) as usize);
    let channels = if direction == FORWARD { [c, oc] } else { [oc, c] }.map(|channels| channels / groups);
    let [inner, outer] = channels;
    // What fits the shortest vectors is packed alike on every CPU.
    if groups > 1 && d.x_c == 1 && grouped::are_few(Cpu::Portable, channels) {
        return groups * kh * kw * inner * outer;
    }
    let taps = match d.algorithm {
        WINOGRAD => (kh * kw).max(36),
        WINOGRAD_2X2 => (kh * kw).max(16),
        _ => kh * kw,
    };
    // Winograd's panels are whole, those of the direct algorithm end with a whole vector.
    let unit = if d.algorithm == DIRECT { LONGEST } else { WIDEST };
    let vectors = groups * taps * inner * outer.next_multiple_of(unit);
    let phases = if direction == FORWARD { 1 } else { d.stride_h.max(1) * d.stride_w.max(1) };
    if d.many != 0 && amx::correlates(kh * kw, phases as usize, channels) {
        vectors.max(amx::correlation_len(groups, kh * kw, channels))
    } else {
        vectors
    }
}

/// Whether the way in which the weights of so many channels are packed depends on whether those of `x` are neighbors.
pub fn packs_by_layout([c, oc]: [usize; 2], groups: usize, taps: usize) -> bool {
    groups > 1 || few::are_few([c, oc], taps)
}

/// The direction of [`crate::abi::netc_conv2d_weight_grad`].
pub const WEIGHT_GRAD: i64 = 2;

/// What a convolution takes at most, for `n`, `h`, `w`, `oh` and `ow` up to these; `widths` if the last two vary. Of the
/// addresses only `packed` matters, of the strides `x_c`. A part of the result has so many rows of sums, or none.
pub(crate) fn needs(cpu: Cpu, d: &Conv, direction: i64, widths: bool, sums: usize) -> Needs {
    let scratch = Scratch::new();
    let way = if direction == WEIGHT_GRAD { Way::Forward } else { way(direction) };
    let taps = geometry::taps(&scratch, d, way);
    let phases = geometry::phases(&scratch, d, way, &taps);
    let g = Correlation::new(d, way, &taps, &phases);
    let mut needs = Needs::default()
        .caller(Purpose::Taps, floats_of::<Tap>(taps.len()))
        .caller(Purpose::Phases, floats_of::<Phase<'_>>(phases.len()));
    if direction == WEIGHT_GRAD {
        if grouped::applies(cpu, &g) {
            return needs.max(grouped::needs(&g));
        }
        if let Some(windows) = Windows::on(cpu, &g) {
            needs = needs.max(interleaved::weight_grad_needs(&g, &windows));
        } else if d.oc > 0 && g.from.channels * g.taps > 0 {
            let widest = g.to.width;
            let narrow = if widths { 1..widest.min(weight_grad::KC) } else { 0..0 };
            let widths = narrow.chain([widest]);
            cpu::run_on(cpu, weight_grad::Measure { g: &g, widths, needs: &mut needs });
        }
        // A smaller batch may have too few tiles.
        if d.algorithm != DIRECT && winograd::applies(&g) && winograd::weight_grad_pays(&g) {
            needs = needs.max(winograd::weight_grad_needs(&g));
        }
        return needs;
    }
    let packed = !d.packed.is_null();
    let method = Method::of(cpu, d, &g);
    if !packed && !method.packs_itself(&g) {
        needs = needs.caller(Purpose::Weights, packed_len(d, direction));
    }
    needs = needs.max(finish::needs(&g, method.most_parts(&g), sums));
    needs.max(match method {
        Method::Grouped | Method::Few => Needs::default(),
        Method::Winograd => winograd::needs(&g, winograd::Four, packed),
        Method::Winograd2x2 => winograd::needs(&g, winograd::Two, packed),
        Method::Tiles => amx::correlate::needs(&g),
        Method::Windows(windows) => interleaved::needs(&g, &windows),
        Method::Implicit => implicit::needs(&g),
    })
}

/// # Safety
/// The descriptor's sizes and weights are valid, and `packed` for [`packed_len`] floats.
pub(crate) unsafe fn pack(team: Team<'_>, d: &Conv, direction: i64, packed: *mut f32) {
    // SAFETY: promised by the caller.
    unsafe { pack_on(cpu::cpu(), team, d, direction, packed) };
}

/// # Safety
/// As for [`pack`].
pub(crate) unsafe fn pack_on(cpu: Cpu, team: Team<'_>, d: &Conv, direction: i64, packed: *mut f32) {
    let way = way(direction);
    let taps = geometry::taps(team.scratch, d, way);
    let phases = geometry::phases(team.scratch, d, way, &taps);
    let g = Correlation::new(d, way, &taps, &phases);
    // SAFETY: promised by the caller.
    unsafe { pack_weights(cpu, team, &Method::of(cpu, d, &g), &g, packed) };
}

/// How a correlation is computed.
enum Method {
    /// Groups of few channels, several in a vector.
    Grouped,
    /// Many channels into a few.
    Few,
    Winograd,
    Winograd2x2,
    /// An implicit product in the matrix unit.
    Tiles,
    /// An implicit product of copies in which few channels are neighbors.
    Windows(Windows),
    /// An implicit product of pixels in place.
    Implicit,
}

impl Method {
    /// By the algorithm that is asked for where it applies, or directly. Portable code is small rather than fast: it has one of
    /// Winograd's, that of which weights take the least.
    fn of(cpu: Cpu, d: &Conv, g: &Correlation<'_>) -> Method {
        if grouped::applies(cpu, g) {
            return Method::Grouped;
        }
        match d.algorithm {
            WINOGRAD if winograd::applies(g) && cpu != Cpu::Portable => return Method::Winograd,
            WINOGRAD | WINOGRAD_2X2 if winograd::applies(g) => return Method::Winograd2x2,
            _ => {}
        }
        if few::applies(g) {
            return Method::Few;
        }
        if cpu == Cpu::Amx && d.many != 0 && amx::correlates(g.taps, g.phases.len(), [g.from.channels, g.to.channels]) {
            return Method::Tiles;
        }
        Windows::on(cpu, g).map_or(Method::Implicit, Method::Windows)
    }

    /// Parts of the result that have sums of their own, at most, for these images and smaller ones.
    fn most_parts(&self, g: &Correlation<'_>) -> usize {
        match self {
            Method::Grouped | Method::Few => g.images.saturating_mul(g.to.height),
            Method::Winograd => winograd::most_parts(g, winograd::Four),
            Method::Winograd2x2 => winograd::most_parts(g, winograd::Two),
            Method::Tiles => amx::correlate::most_parts(g),
            Method::Windows(windows) => windows.count(g),
            Method::Implicit => implicit::most_parts(g),
        }
    }

    /// Whether the weights are packed while this runs, if nobody has before.
    fn packs_itself(&self, g: &Correlation<'_>) -> bool {
        match self {
            Method::Winograd => winograd::packs(g, winograd::Four),
            Method::Winograd2x2 => winograd::packs(g, winograd::Two),
            _ => false,
        }
    }
}

fn way(direction: i64) -> Way {
    if direction == FORWARD { Way::Forward } else { Way::DataGrad }
}

/// # Safety
/// As for [`pack`].
unsafe fn pack_weights(cpu: Cpu, team: Team<'_>, method: &Method, g: &Correlation<'_>, packed: *mut f32) {
    match method {
        // SAFETY: promised by the caller.
        Method::Grouped => unsafe { grouped::pack(g, packed) },
        // SAFETY: promised by the caller.
        Method::Few => unsafe { few::pack(g, packed) },
        Method::Winograd => cpu::run_on(cpu, winograd::Pack { team, g, packed, points: winograd::Four }),
        Method::Winograd2x2 => cpu::run_on(cpu, winograd::Pack { team, g, packed, points: winograd::Two }),
        // SAFETY: as above; the unit is there.
        Method::Tiles => unsafe { amx::correlate::pack(team, g, packed) },
        Method::Windows(_) | Method::Implicit => cpu::run_on(cpu, weights::Pack { team, g, packed }),
    }
}

/// # Safety
/// The descriptor's pointers are valid for its sizes, and `y` is not otherwise in use.
pub(crate) unsafe fn forward(team: Team<'_>, frame: Frame, d: &Conv) {
    // SAFETY: promised by the caller.
    unsafe { correlate(cpu::cpu(), team, frame, d, FORWARD) };
}

/// # Safety
/// The descriptor's pointers are valid for its sizes, and `x` is not otherwise in use.
pub(crate) unsafe fn data_grad(team: Team<'_>, frame: Frame, d: &Conv) {
    // SAFETY: promised by the caller.
    unsafe { correlate(cpu::cpu(), team, frame, d, DATA_GRAD) };
}

/// # Safety
/// As for [`forward`] and [`data_grad`].
unsafe fn correlate(cpu: Cpu, team: Team<'_>, frame: Frame, d: &Conv, direction: i64) {
    let way = way(direction);
    let taps = geometry::taps(team.scratch, d, way);
    let phases = geometry::phases(team.scratch, d, way, &taps);
    let g = Correlation::new(d, way, &taps, &phases);
    let method = Method::of(cpu, d, &g);
    let mut packed = d.packed;
    let mut room = None;
    if packed.is_null() && !method.packs_itself(&g) {
        let room = room.insert(team.scratch.lend(Purpose::Weights, packed_len(d, direction)));
        // SAFETY: the scratch memory has room for the packed weights.
        unsafe { pack_weights(cpu, team, &method, &g, room.as_mut_ptr()) };
        packed = room.as_ptr();
    }
    let g = &g;
    // SAFETY: the descriptor's are alive as long as itself.
    let finish = Finish { frame, epilogue: d.epilogue, g, sums: unsafe { d.sums.as_ref() } };
    if g.images * g.to.height * g.to.width == 0 {
        // SAFETY: promised by the caller.
        unsafe { finish.without_pixels() };
        return;
    }
    let is_winograd = matches!(method, Method::Winograd | Method::Winograd2x2);
    assert!(!g.pooled || is_winograd, "Winograd's algorithms alone take the largest of neighbors");
    match method {
        Method::Grouped => cpu::run_on(cpu, Rows::<grouped::Turns> { team, g, packed, finish, sums: PhantomData }),
        Method::Few => cpu::run_on(cpu, Rows::<few::Lanes> { team, g, packed, finish, sums: PhantomData }),
        Method::Winograd => {
            cpu::run_on(cpu, winograd::Winograd { team, g, packed, finish, points: winograd::Four });
        }
        Method::Winograd2x2 => {
            cpu::run_on(cpu, winograd::Winograd { team, g, packed, finish, points: winograd::Two });
        }
        // SAFETY: promised by the caller; the unit is there.
        Method::Tiles => unsafe { amx::correlate::run(team, g, packed, finish) },
        Method::Windows(windows) => {
            cpu::run_on(cpu, interleaved::Forward { team, g, windows, packed, finish });
        }
        Method::Implicit => cpu::run_on(cpu, implicit::Implicit { team, g, packed, finish }),
    }
}

/// # Safety
/// The descriptor's pointers are valid for its sizes, and `weight` is not otherwise in use.
pub(crate) unsafe fn weight_grad(team: Team<'_>, frame: Frame, d: &Conv) {
    // SAFETY: promised by the caller.
    unsafe { weight_grad_on(cpu::cpu(), team, frame, d) };
}

/// # Safety
/// As for [`weight_grad`].
unsafe fn weight_grad_on(cpu: Cpu, team: Team<'_>, frame: Frame, d: &Conv) {
    let taps = geometry::taps(team.scratch, d, Way::Forward);
    let phases = geometry::phases(team.scratch, d, Way::Forward, &taps);
    let g = Correlation::new(d, Way::Forward, &taps, &phases);
    if grouped::applies(cpu, &g) {
        cpu::run_on(cpu, grouped::WeightGrad { team, frame, d, g: &g });
    } else if d.algorithm != DIRECT && winograd::applies(&g) && winograd::weight_grad_pays(&g) {
        cpu::run_on(cpu, winograd::WeightGrad { team, frame, d, g: &g });
    } else if let Some(windows) = Windows::on(cpu, &g) {
        cpu::run_on(cpu, interleaved::WeightGrad { team, frame, d, g: &g, windows });
    } else {
        cpu::run_on(cpu, weight_grad::WeightGrad { team, frame, d, g: &g });
    }
}
