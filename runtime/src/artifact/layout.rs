//! Where everything of an instance lies in its one piece of memory.

use super::description::{
    Algorithm, Call, Description, Direction, Entry, Geometry, Home, Keeping, Size, Slot, Source, Symbol, Task,
};
use super::error::{Error, Status, ensure};
use super::network::{Options, Tasks};
use crate::abi::Conv;
use crate::kernels::{conv, cpu, matmul};
use crate::place::{self, ALIGNMENT, Lifetime};
use crate::scratch::{Needs, PURPOSES};

/// Byte offsets into an instance's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) bytes: usize,
    /// Of each tensor that the instance keeps.
    pub(super) tensors: Vec<Option<usize>>,
    /// Of each recurrent state that the instance keeps.
    pub(super) states: Vec<Option<usize>>,
    /// Of the lengths along each axis of a batch whose members are as long as the arrays.
    pub(super) lengths: Vec<usize>,
    /// Of each entry that the instance may be asked for.
    pub(super) entries: Vec<Option<EntryLayout>>,
    /// Of each thread's scratch memory, for each purpose: the offset, and how many floats.
    pub(super) scratch: Vec<[(usize, usize); PURPOSES]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntryLayout {
    /// Of each buffer in the workspace or prepared.
    pub(super) buffers: Vec<Option<usize>>,
    /// Of each slot that is a result, where it goes when the caller does not want it.
    pub(super) unwanted: Vec<Option<usize>>,
}

/// A recurrent state of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub name: String,
    /// With the batch first where it has one.
    pub shape: Vec<Size>,
    /// What it begins with.
    pub first: f32,
}

impl Description {
    /// All recurrent states: first those of single steps, in the order of [`Task::Step`]'s slots, then those that are
    /// carried from call to call alone.
    pub fn states(&self) -> Vec<State> {
        let steps = self.entries.iter().filter(|entry| entry.task == Task::Step);
        let others = self.entries.iter().filter(|entry| entry.task != Task::Step);
        let mut states: Vec<State> = Vec::new();
        for Slot { source, shape, .. } in steps.chain(others).flat_map(|entry| &entry.slots) {
            if let Source::Recurrent { name, first } = source
                && !states.iter().any(|known| known.name == *name)
            {
                states.push(State { name: name.clone(), shape: shape.clone(), first: *first });
            }
        }
        states
    }

    /// The value of every named size.
    pub(super) fn eval_symbols(&self, batch: u64, steps: impl Fn(usize) -> u64, values: &mut [u64]) {
        for (at, symbol) in self.symbols.iter().enumerate() {
            values[at] = match symbol {
                Symbol::Batch => batch,
                Symbol::Axis { index } => steps(*index as usize),
                Symbol::Derived { of, add, div } => {
                    let n = i64::try_from(of.eval(values)).unwrap_or(i64::MAX).saturating_add(*add);
                    u64::try_from(n.div_euclid(*div)).unwrap_or(0)
                }
            };
        }
    }

    /// Which axes the entry depends on.
    pub(super) fn axes_of(&self, entry: &Entry) -> Vec<bool> {
        let mut used = vec![false; self.axes.len()];
        let shapes = entry.slots.iter().flat_map(|slot| &slot.shape);
        let lens = entry.buffers.iter().map(|buffer| &buffer.len);
        let of_sizes = shapes.chain(lens).flat_map(|size| &size.symbols);
        for &symbol in entry.symbols.iter().chain(of_sizes) {
            self.mark_axes(symbol, &mut used);
        }
        used
    }
    fn mark_axes(&self, symbol: u32, used: &mut [bool]) {
        match &self.symbols[symbol as usize] {
            Symbol::Batch => {}
            Symbol::Axis { index } => used[*index as usize] = true,
            Symbol::Derived { of, .. } => of.symbols.iter().for_each(|&symbol| self.mark_axes(symbol, used)),
        }
    }
}

/// Hands out memory, one aligned piece after the other.
struct Cursor {
    end: usize,
}

impl Cursor {
    fn take(&mut self, bytes: usize) -> usize {
        let start = self.end;
        self.end = bytes.checked_next_multiple_of(ALIGNMENT).map_or(usize::MAX, |bytes| start.saturating_add(bytes));
        start
    }
    fn take_elements(&mut self, n: u64) -> usize {
        self.take(usize::try_from(n).unwrap_or(usize::MAX).saturating_mul(4))
    }
}

/// Lays out an instance; `states` are those of the description.
///
/// # Errors
/// When the network was not compiled for a task, or sizes are missing or too large to count.
pub(super) fn lay_out(d: &Description, states: &[State], options: &Options) -> Result<Layout, Error> {
    ensure!(options.batch >= 1, InvalidArgument, "the largest batch is 0");
    ensure!(options.threads <= 1024, InvalidArgument, "there may be 1024 threads, not {}", options.threads);
    let (axes, given) = (d.axes.len(), options.steps.len());
    ensure!(axes == given, InvalidArgument, "the network has {axes} axes, and {given} lengths were given");
    for (bit, name) in ["forward", "evaluate", "train_step", "step"].into_iter().enumerate() {
        let task = Tasks(1 << bit);
        let is_there = d.entries.iter().any(|entry| Tasks::of(&entry.task) == task);
        ensure!(options.tasks.0 & task.0 == 0 || is_there, Unavailable, "the network was compiled without `{name}`");
    }
    ensure!(options.tasks.0 < 16, InvalidArgument, "there are no tasks {:#x}", options.tasks.0);
    let asked: Vec<bool> = d.entries.iter().map(|entry| options.tasks.have(&entry.task)).collect();
    for entry in d.entries.iter().zip(&asked).filter(|(_, asked)| **asked).map(|(entry, _)| entry) {
        for (axis, _) in d.axes_of(entry).iter().enumerate().filter(|(_, used)| **used) {
            let name = &d.axes[axis];
            let help = "give the most steps that a call may have, or ask for single steps alone";
            ensure!(options.steps[axis] > 0, InvalidArgument, "the axis `{name}` has no length: {help}");
        }
    }
    let mut largest = vec![0; d.symbols.len()];
    d.eval_symbols(options.batch as u64, |axis| options.steps[axis] as u64, &mut largest);

    let mut cursor = Cursor { end: 0 };
    let is_used = |is: &dyn Fn(&Source) -> bool| {
        let entries = d.entries.iter().zip(&asked).filter(|(_, asked)| **asked);
        entries.flat_map(|(entry, _)| &entry.slots).any(|slot| is(&slot.source))
    };
    let tensors = (0..).zip(&d.tensors).map(|(at, tensor)| {
        let used = tensor.keeping != Keeping::Moment || is_used(&|source| *source == Source::Tensor { index: at });
        used.then(|| cursor.take_elements(tensor.shape.iter().fold(1, |n, &m| n.saturating_mul(m))))
    });
    let tensors = tensors.collect();
    let states = states.iter().map(|state| {
        let used = is_used(&|source| matches!(source, Source::Recurrent { name, .. } if *name == state.name));
        used.then(|| cursor.take_elements(elements(&state.shape, &largest)))
    });
    let states = states.collect();
    let lengths = d.axes.iter().map(|_| cursor.take_elements(options.batch as u64)).collect();

    // Calls come one after the other, so that their workspaces may share memory, and so may what nobody wants.
    let (mut workspace, mut unwanted) = (0, 0);
    let mut entries = Vec::new();
    for (entry, asked) in d.entries.iter().zip(&asked) {
        if !asked {
            entries.push(None);
            continue;
        }
        let (buffers, bytes) = place_buffers(entry, &largest, &mut cursor);
        workspace = workspace.max(bytes);
        let (places, bytes) = place_unwanted(entry, &largest);
        unwanted = unwanted.max(bytes);
        entries.push(Some(EntryLayout { buffers, unwanted: places }));
    }
    let (workspace, unwanted) = (cursor.take(workspace), cursor.take(unwanted));
    for (layout, entry) in entries.iter_mut().zip(&d.entries) {
        let Some(layout) = layout else { continue };
        for (offset, buffer) in layout.buffers.iter_mut().zip(&entry.buffers) {
            if matches!(buffer.home, Home::Workspace { .. }) {
                *offset = offset.map(|offset| workspace.saturating_add(offset));
            }
        }
        for offset in layout.unwanted.iter_mut().flatten() {
            *offset = offset.saturating_add(unwanted);
        }
    }

    let calls = d.entries.iter().zip(&asked).filter(|(_, asked)| **asked).flat_map(|(entry, _)| &entry.calls);
    let needs = calls.map(|call| needs(call, &largest)).fold(Needs::default(), Needs::max);
    let threads = options.threads.max(1);
    let scratch = (0..threads)
        .map(|thread| needs.of_thread(thread).map(|len| (cursor.take_elements(len as u64), len.next_multiple_of(16))));
    let scratch = scratch.collect();
    let bytes = cursor.end;
    if bytes > isize::MAX as usize - ALIGNMENT {
        return Err(Error::new(Status::NoMemory, "the instance is larger than memory can be"));
    }
    Ok(Layout { bytes, tensors, states, lengths, entries, scratch })
}

/// How many elements a shape has.
pub(super) fn elements(shape: &[Size], values: &[u64]) -> u64 {
    shape.iter().fold(1, |n, size| n.saturating_mul(size.eval(values)))
}

/// The offsets of workspace buffers within the workspace, and of prepared ones, which take memory of their own; and the
/// bytes of the workspace.
fn place_buffers(entry: &Entry, largest: &[u64], cursor: &mut Cursor) -> (Vec<Option<usize>>, usize) {
    let bytes = |len: &Size| usize::try_from(len.eval(largest)).unwrap_or(usize::MAX).saturating_mul(4);
    let mut offsets = vec![None; entry.buffers.len()];
    let (mut used, mut lives) = (Vec::new(), Vec::new());
    for (at, buffer) in entry.buffers.iter().enumerate() {
        match buffer.home {
            Home::Workspace { first, last } => {
                used.push(at);
                lives.push((Lifetime { first: first as usize, last: last as usize }, bytes(&buffer.len)));
            }
            Home::Prepared => offsets[at] = Some(cursor.take(bytes(&buffer.len))),
            Home::Slot | Home::Unused | Home::Slice => {}
        }
    }
    let (places, workspace) = place::place(&lives);
    for (at, place) in used.into_iter().zip(places) {
        offsets[at] = Some(place);
    }
    (offsets, workspace)
}

/// Where results go that the caller does not want. A lone output is always wanted.
fn place_unwanted(entry: &Entry, largest: &[u64]) -> (Vec<Option<usize>>, usize) {
    let is_result = |slot: &&Slot| matches!(slot.source, Source::Result { .. });
    let several = entry.task != Task::Forward || entry.slots.iter().filter(is_result).count() > 1;
    let mut cursor = Cursor { end: 0 };
    let places = entry.slots.iter().map(|slot| {
        let place = several && is_result(&slot);
        place.then(|| cursor.take_elements(entry.buffers[slot.buffer as usize].len.eval(largest)))
    });
    (places.collect(), cursor.end)
}

/// What a call takes at most for these sizes.
fn needs(call: &Call, largest: &[u64]) -> Needs {
    let size = |size: &Size| usize::try_from(size.eval(largest)).unwrap_or(usize::MAX).min(MOST);
    match call {
        Call::MatMul { batch, m, n, k, groups, is_packed } => {
            let groups = usize::try_from(*groups).unwrap_or(1).max(1);
            matmul::needs(size(batch), [size(m), size(n), size(k)], groups, *is_packed)
        }
        Call::Conv { direction, geometry, algorithm, is_packed, sums } => {
            let direction = match direction {
                Direction::Forward => conv::FORWARD,
                Direction::DataGrad => conv::DATA_GRAD,
                Direction::WeightGrad => conv::WEIGHT_GRAD,
            };
            let algorithm = match algorithm {
                Algorithm::Direct => conv::DIRECT,
                Algorithm::Winograd => conv::WINOGRAD,
                Algorithm::Winograd2x2 => conv::WINOGRAD_2X2,
            };
            let Geometry { n, h, w, oh, ow, .. } = geometry;
            let [n, h, w, oh, ow] = [n, h, w, oh, ow].map(|dim| size(dim) as i64);
            let varies = [&geometry.oh, &geometry.ow].iter().any(|size| !size.symbols.is_empty());
            let d = descriptor(geometry, [n, h, w, oh, ow], algorithm, *is_packed);
            let sums = usize::try_from(*sums).unwrap_or(MOST);
            conv::needs(cpu::cpu(), &d, direction, varies, sums)
        }
    }
}

/// Sizes beyond this make an instance too large in any case.
const MOST: usize = 1 << 40;

/// A descriptor with the sizes alone; nothing follows its addresses.
fn descriptor(g: &Geometry, [n, h, w, oh, ow]: [i64; 5], algorithm: i64, is_packed: bool) -> Conv {
    let pair = |pair: &[u64], axis: usize| pair[axis] as i64;
    let c = g.c as i64;
    let null = std::ptr::null_mut();
    Conv {
        n,
        h,
        w,
        c,
        oh,
        ow,
        oc: g.oc as i64,
        kh: pair(&g.kernel, 0),
        kw: pair(&g.kernel, 1),
        stride_h: pair(&g.stride, 0),
        stride_w: pair(&g.stride, 1),
        pad_h: pair(&g.pad, 0),
        pad_w: pair(&g.pad, 1),
        dilation_h: pair(&g.dilation, 0),
        dilation_w: pair(&g.dilation, 1),
        groups: g.groups as i64,
        x: null,
        x_n: 0,
        x_h: 0,
        x_w: 0,
        x_c: if g.adjacent { 1 } else { 2 },
        y: null,
        y_n: 0,
        y_h: 0,
        y_w: 0,
        weight: null,
        packed: if is_packed { std::ptr::dangling() } else { std::ptr::null() },
        algorithm,
        pooled: 0,
        positions: null,
        positions_n: 0,
        positions_h: 0,
        positions_w: 0,
        many: g.many.into(),
        epilogue: None,
        sums: std::ptr::null(),
    }
}
