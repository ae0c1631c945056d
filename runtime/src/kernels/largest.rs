//! The largest numbers of the columns and rows of a packed operand, which say what may be done to it at little loss.
//!
//! Numbers go by their bits without the sign, of which the larger are the larger number's; those of infinite numbers and of what
//! is no number come after all others.
#![expect(unsafe_code, reason = "raw matrices")]

use std::sync::atomic::{AtomicU32, Ordering};

use crate::threads::Team;

use super::gemm::Output;
use super::packed::Layout;
use super::simd::{LONGEST, Simd, Task};

/// Columns of a panel.
pub(super) const COLS: usize = 4 * LONGEST;
/// All bits of a number but its sign.
const BITS: u32 = 0x7fff_ffff;
pub(super) const INFINITE: u32 = 0x7f80_0000;

/// Finds the largest number of each column of the whole panels of all runs, panel after panel as they lie, and of each row.
///
/// # Safety
/// `packed` holds an operand of that layout, with panels of [`COLS`] columns; `columns` and `rows` have room, of which nobody else
/// knows.
pub(super) unsafe fn measure<'a, S: Simd>(
    team: Team<'_>,
    layout: &Layout,
    packed: Output,
    [columns, rows]: [*mut f32; 2],
) -> [&'a [u32]; 2] {
    let panels = layout.groups * (layout.run / COLS);
    let (columns, rows) = (Output(columns), Output(rows));
    // SAFETY: promised by the caller.
    unsafe {
        columns.get().write_bytes(0, panels * COLS);
        rows.get().write_bytes(0, layout.k);
    }
    team.run(panels, |_, number| {
        for block in 0..layout.blocks {
            let [first, last] = layout.steps(block);
            let at = layout.at::<S>(block, number % layout.groups, number / layout.groups);
            // SAFETY: a row of a panel is one of the operand's, and each panel has its own columns.
            unsafe {
                let numbers = std::slice::from_raw_parts(packed.get().add(at).cast::<[f32; COLS]>(), last - first);
                let columns = &mut *columns.get().add(number * COLS).cast::<[u32; COLS]>();
                let rows = std::slice::from_raw_parts(rows.get().add(first).cast::<AtomicU32>(), last - first);
                S::vectorize(Panel { numbers, columns, rows });
            }
        }
    });
    // SAFETY: as above; all are found.
    unsafe {
        [(columns, panels * COLS), (rows, layout.k)].map(|(of, len)| std::slice::from_raw_parts(of.get().cast(), len))
    }
}

/// A panel in a block of the K loop.
struct Panel<'a> {
    numbers: &'a [[f32; COLS]],
    columns: &'a mut [u32; COLS],
    rows: &'a [AtomicU32],
}

impl Task for Panel<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Panel { numbers, columns, rows } = self;
        let mut largest = *columns;
        for (numbers, row) in numbers.iter().zip(rows) {
            let bits = numbers.map(|x| x.to_bits() & BITS);
            let of_row = bits.iter().copied().max().unwrap_or(0);
            if of_row > row.load(Ordering::Relaxed) {
                row.fetch_max(of_row, Ordering::Relaxed);
            }
            largest.iter_mut().zip(bits).for_each(|(largest, bits)| *largest = bits.max(*largest));
        }
        *columns = largest;
    }
}

/// The exponent of the power of two above a number; of zero, and as good as zero, none.
pub(super) fn power(bits: u32) -> Option<i32> {
    (bits > 0).then(|| (bits >> 23) as i32 - 126)
}

/// Of a power that an `f32` has.
pub(super) fn exp2(power: i32) -> f32 {
    f32::from_bits(((power + 127) as u32) << 23)
}
