//! Rounds an operand where it lies: measures its columns and rows, and then makes words of its panels, one after the other.
#![expect(unsafe_code, reason = "raw matrices")]

use crate::threads::Team;

use super::super::cpu::{self, Cpu};
use super::super::gemm::Output;
use super::super::largest::{self, COLS, exp2, power};
use super::super::packed::Layout;
use super::super::right::{Part, Pieces};
use super::super::simd::{LONGEST, Simd, Task};
use super::{ALONE, BOTH, HEADER, PLAIN, Place, TRIPLE, WORDS, pays, suits};

/// The largest number of each column, unless it is zero, lies between these powers of two, so that no scale overflows.
const POWERS: [i32; 2] = [-90, 120];
/// Steps of a panel that are packed on the way: whole triples, which stay in the first cache.
const STRIP: usize = 16 * TRIPLE;
/// The largest number of a row is at least this part of the power of two above the largest of all.
const SMALLEST_ROW: i32 = -7;

/// Rounds an operand where that pays and little is lost; the header says whether it did.
///
/// # Safety
/// `packed` has room for the operand when it is packed, and `to` for [`len`](super::len) floats.
pub(crate) unsafe fn round(cpu: Cpu, team: Team<'_>, pieces: Pieces<'_>, packed: *mut f32, to: *mut f32) {
    // SAFETY: promised by the caller.
    unsafe { make(cpu, team, pieces, [packed, to], BOTH) };
}

/// As [`round`], of an operand whose products have a single row: what is rounded then stands for it alone, and but for last panels that
/// are not whole it need not be packed, which takes as long as all else. Says whether it is so.
///
/// # Safety
/// As there.
pub(crate) unsafe fn pack(cpu: Cpu, team: Team<'_>, pieces: Pieces<'_>, packed: *mut f32, to: *mut f32) -> bool {
    // SAFETY: promised by the caller.
    unsafe { make(cpu, team, pieces, [packed, to], ALONE) }
}

unsafe fn make(cpu: Cpu, team: Team<'_>, pieces: Pieces<'_>, [packed, to]: [*mut f32; 2], header: f32) -> bool {
    let Pieces { size: [k, n], groups, .. } = pieces;
    if !pays(cpu) || !suits(k, n / groups, groups) {
        return false;
    }
    // SAFETY: a matrix that suits has a header, and nobody else knows of it.
    unsafe { *to = PLAIN };
    cpu::run_on(cpu, Round { team, pieces, packed: Output(packed), to: Output(to), header });
    // SAFETY: as above.
    unsafe { *to == header }
}

struct Round<'a> {
    team: Team<'a>,
    pieces: Pieces<'a>,
    packed: Output,
    to: Output,
    /// What it says when all is done.
    header: f32,
}

impl Task for Round<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Round { team, pieces, packed, to, header } = self;
        if S::NR != COLS {
            return;
        }
        let layout = Layout::new::<S>(pieces.size, pieces.groups);
        let place = Place::new(layout.k, layout.run, layout.groups);
        let room = [HEADER, place.rows].map(|at| to.get().wrapping_add(at));
        // SAFETY: there is room for the sizes, and nobody else knows of it.
        unsafe {
            let [columns, rows] = largest::measure::<S>(team, &layout, &pieces, room);
            if !loses_little(columns, rows) {
                return;
            }
        }
        let chunks = team.threads().min(place.panels);
        team.run(chunks, |_, chunk| {
            for number in chunk * place.panels / chunks..(chunk + 1) * place.panels / chunks {
                for block in 0..layout.blocks {
                    let [first, last] = layout.steps(block);
                    let places = [HEADER + number * COLS, place.panel(block, last - first, number)];
                    let places = places.map(|at| to.get().wrapping_add(at));
                    let panel = [number % layout.groups, number / layout.groups];
                    // SAFETY: each panel has its own place, and each chunk.
                    unsafe { round_panel::<S>(&pieces, &layout, (panel, block), places) };
                }
            }
        });
        // SAFETY: as above.
        unsafe {
            set_scales(std::slice::from_raw_parts_mut(room[0], place.panels * COLS));
            let whole = layout.run / COLS;
            for group in 0..if whole < layout.panels { layout.groups } else { 0 } {
                for block in 0..layout.blocks {
                    let to = packed.get().add(layout.at::<S>(block, group, whole));
                    for part in pieces.iter() {
                        part.panel::<S>(&layout, [group, whole], layout.steps(block), to);
                    }
                }
            }
            *to.get() = header;
        }
    }
}

/// Some steps of a panel.
#[repr(align(64))]
struct Strip([f32; STRIP * COLS]);

/// Rounds a panel in a block of the K loop, strip by strip: as it lies if the rows of the strip do, and else by way of another place.
/// What the operand was packed to for others stays as it is.
#[inline(always)]
unsafe fn round_panel<S: Simd>(
    pieces: &Pieces<'_>,
    layout: &Layout,
    (panel, block): ([usize; 2], usize),
    [largest, data]: [*mut f32; 2],
) {
    let [first, last] = layout.steps(block);
    let mut strip = Strip([0.0; STRIP * COLS]);
    for step in (first..last).step_by(STRIP) {
        let steps = [step, last.min(step + STRIP)];
        let data = data.wrapping_add((step - first) / TRIPLE * WORDS);
        let whole = |part: &Part| part.matrix.col_stride == 1 && part.steps::<S>(layout, panel, steps) == Some(steps);
        // SAFETY: promised by the caller.
        unsafe {
            let (from, stride) = match pieces.iter().find(whole) {
                Some(part) => (part.at::<S>(layout, panel, step), part.matrix.row_stride),
                None => {
                    pieces.iter().for_each(|part| part.panel::<S>(layout, panel, steps, strip.0.as_mut_ptr()));
                    (strip.0.as_ptr(), COLS as isize)
                }
            };
            S::vectorize(Panel { from, stride, rows: steps[1] - step, largest, data });
        }
    }
}

/// Puts the scales of columns in the place of their largest numbers.
fn set_scales(columns: &mut [f32]) {
    for column in columns {
        *column = power(column.to_bits()).map_or(0.0, |above| exp2(above - 31));
    }
}

/// Whether rounding loses little, given the largest number of each column and of each row.
fn loses_little(columns: &[u32], rows: &[u32]) -> bool {
    let Some(above) = columns.iter().copied().max().and_then(power) else { return true };
    let smallest = columns.iter().copied().filter(|&bits| bits > 0).min().and_then(power).unwrap_or(above);
    // Numbers that are not finite are larger.
    if smallest < POWERS[0] || above > POWERS[1] {
        return false;
    }
    let least = exp2(above + SMALLEST_ROW).to_bits();
    rows.iter().all(|&row| row == 0 || row >= least)
}

/// Rows of a panel, `stride` floats apart.
struct Panel {
    from: *const f32,
    stride: isize,
    rows: usize,
    /// The largest numbers of its columns.
    largest: *const f32,
    data: *mut f32,
}

impl Task for Panel {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Panel { from, stride, rows, largest, data } = self;
        // SAFETY: promised by the maker; a row of a panel is one of the operand's.
        unsafe {
            let unit = (*largest.cast::<[u32; COLS]>()).map(|bits| power(bits).map_or(0.0, |above| exp2(31 - above)));
            let data = std::slice::from_raw_parts_mut(data.cast::<[u32; WORDS]>(), rows.div_ceil(TRIPLE));
            for (triple, words) in data.iter_mut().enumerate() {
                let row = |number: usize| match triple * TRIPLE + number {
                    row if row < rows => &*from.offset(row as isize * stride).cast::<[f32; COLS]>(),
                    _ => &[0.0; COLS],
                };
                round_triple([row(0), row(1), row(2)], &unit, words);
            }
        }
    }
}

/// The words of a triple of a panel, of which each column has a unit, the inverse of its last bit.
#[inline(always)]
fn round_triple(rows: [&[f32; COLS]; TRIPLE], unit: &[f32; COLS], words: &mut [u32; WORDS]) {
    // What is added in rounding, or taken away for bits of another's, does not overflow.
    const LARGEST: i32 = i32::MAX - 1024;
    for (j, words) in words.chunks_exact_mut(2 * LONGEST).enumerate() {
        for lane in 0..LONGEST {
            let column = j * LONGEST + lane;
            // SAFETY: each number is less than the power of two that its unit makes 2³¹.
            let fixed = |row: usize| unsafe { (rows[row][column] * unit[column]).to_int_unchecked::<i32>() };
            let fixed = |row: usize| fixed(row).clamp(-LARGEST, LARGEST);
            let second = (fixed(1) + 1024) >> 11;
            let third = (fixed(2) + 512 - ((second >> 11) & 0x3ff)) >> 10;
            let lent = (third >> 11) & 0x7ff;
            let first = (fixed(0) + 1024 - lent) >> 11;
            words[lane] = ((first << 11) | lent) as u32;
            words[LONGEST + lane] = ((third << 21) | (second & 0x1f_ffff)) as u32;
        }
    }
}
