//! A list of steps as one function: every fixed size is an immediate in it.

use std::mem::offset_of;

use cranelift_codegen::ir::{FuncRef, InstBuilder, StackSlot, StackSlotData, StackSlotKind, Value, types};
use cranelift_frontend::FunctionBuilder;
use cranelift_module::FuncId;
use netc_runtime::abi;
use netc_runtime::kernels::conv;

use super::beside::Tie;
use super::emit::Emitter;
use super::facts::Facts;
use super::lanes::memory;
use super::members::Share;
use super::nest::Call;
use super::product::Joined;
use crate::index::Id;
use crate::kernel::cost::work_of_share;
use crate::kernel::{
    Algorithm, Buffer, ColumnSums, ConvCall, Direction, Geometry, Home, Kernel, PackCall, Program, ScatterAddCall,
    Step, View,
};
use crate::types::{Dim, product};

/// A chunk of a kernel does about so many operations: some microseconds, so that a core that comes late finds work.
const CHUNK: usize = 32_768;
/// A kernel with less work is not worth waking a thread for.
const SERIAL: usize = 16_384;
/// Chunks of a range that lanes lie along hold so many points: four vectors of the widest kind.
const LANES: usize = 64;

pub(super) struct Driver<'e, 'a, 'f> {
    pub(super) emitter: &'e mut Emitter<'a>,
    pub(super) builder: FunctionBuilder<'f>,
    pub(super) frame: Value,
    /// `prepare` or `run`.
    pub(super) role: &'e str,
    /// Which step of a recurrence this is, within its body.
    pub(super) step: Option<Value>,
    /// Room for the frame of one kernel; calls follow one another, so that all use the same.
    pub(super) local_frame: Option<StackSlot>,
    /// Whose members the code is for, if not those of the whole batch.
    pub(super) share: Option<Share>,
    /// To whom a scan's loop is tied, if to anybody.
    pub(super) tie: Option<Tie>,
    /// Which of its products a scan's steps compute at once.
    pub(super) joined: Option<Joined>,
}

/// A descriptor under construction on the stack.
#[derive(Clone)]
pub(super) struct Descriptor {
    slot: StackSlot,
}

impl Driver<'_, '_, '_> {
    pub(super) fn steps(&mut self, steps: &[Step]) {
        for (at, step) in steps.iter().enumerate() {
            match step {
                Step::Loop(kernel) => self.kernel(kernel),
                Step::MatMul(call) => self.matmul(call, None),
                Step::Conv(call) => self.conv(call),
                Step::Pack(call) => self.pack(call),
                Step::PackMatrix(call) => self.pack_matrix(call),
                Step::ScatterAdd(call) => self.scatter_add(call),
                Step::Scan(scan) => match steps.get(at + 1) {
                    Some(Step::Scan(next)) if next.beside => self.side_by_side([scan, next]),
                    _ if scan.beside && at > 0 => {}
                    _ => self.scan(scan),
                },
            }
        }
    }

    fn kernel(&mut self, kernel: &Kernel) {
        let (id, buffers) = self.emitter.kernel(kernel, Call::Range, self.role);
        let extents: Vec<Dim> = kernel.domain.iter().map(|&axis| kernel.axes[axis].clone()).collect();
        let total = product(&extents[..kernel.parallel]);
        // The chunks are fixed when the code is made: results never depend on the number of threads. For sizes that
        // are not known yet, the fixed factor alone is counted.
        let work = work_of_share(kernel);
        let all = total.as_fixed().map(|n| n.saturating_mul(work));
        let serial = kernel.parallel == 0 || all.is_some_and(|all| all <= SERIAL);
        let function = self.local(id);
        let total = self.size(&total);
        let frame = self.frame_of(&buffers);
        if serial {
            let zero = self.number(0);
            self.builder.ins().call(function, &[frame, zero, total]);
            return;
        }
        let grain = (CHUNK / work.max(1)).max(1).next_multiple_of(self.lanes(kernel));
        let grain = self.number(grain as i64);
        let address = self.builder.ins().func_addr(types::I64, function);
        self.call("netc_parallel_for", frame, &[address, total, grain]);
    }

    /// How many neighboring points of its parallel range a kernel computes at once, when lanes lie along that range.
    fn lanes(&self, kernel: &Kernel) -> usize {
        let &[axis] = kernel.domain.as_slice() else { return 1 };
        let facts = Facts::of(self.emitter.program, kernel);
        let roots: Vec<_> = kernel.stores.iter().map(|store| store.value).collect();
        let stores: Vec<_> = kernel.stores.iter().map(|store| &store.at).collect();
        if facts.vectors_along(axis, &roots, &stores).is_some() { LANES } else { 1 }
    }

    fn conv(&mut self, call: &ConvCall) {
        let d = self.conv_descriptor(&call.geometry, call.direction, call.algorithm);
        // An image and its strides, in the order of a view's.
        macro_rules! image {
            ($first:ident: $n:ident $c:expr, $h:ident $w:ident) => {{
                let [first, n] = [offset_of!(abi::Conv, $first), offset_of!(abi::Conv, $n)];
                [first, n, $c, offset_of!(abi::Conv, $h), offset_of!(abi::Conv, $w)]
            }};
        }
        // Of these two the channels are contiguous: no word for theirs.
        let y = image!(y: y_n usize::MAX, y_h y_w);
        let positions = image!(positions: positions_n usize::MAX, positions_h positions_w);
        let x = image!(x: x_n offset_of!(abi::Conv, x_c), x_h x_w);
        let views = [(&call.x, x), (&call.y, y)];
        for (view, offsets) in views.into_iter().chain(call.positions.iter().map(|view| (view, positions))) {
            self.put_view(&d, offsets[0], view);
            for (&offset, stride) in offsets[1..].iter().zip(&view.strides) {
                if offset != usize::MAX {
                    self.put_size(&d, offset, stride);
                }
            }
        }
        self.put_view(&d, offset_of!(abi::Conv, weight), &call.weight);
        if call.pooled {
            let yes = self.number(1);
            self.put(&d, offset_of!(abi::Conv, pooled), yes);
        }
        if let Some(packed) = call.packed {
            let address = self.buffer(packed);
            self.put(&d, offset_of!(abi::Conv, packed), address);
        }
        if let Some(sums) = &call.sums {
            let sums = self.sums(sums);
            self.put(&d, offset_of!(abi::Conv, sums), sums);
        }
        let frame = self.put_epilogue(&d, offset_of!(abi::Conv, epilogue), call.epilogue.as_ref());
        let address = self.address_of(&d);
        let name = match call.direction {
            Direction::Forward => "netc_conv2d",
            Direction::DataGrad => "netc_conv2d_data_grad",
            Direction::WeightGrad => "netc_conv2d_weight_grad",
        };
        self.call(name, frame, &[address]);
    }

    /// The address of a description of sums.
    fn sums(&mut self, sums: &ColumnSums) -> Value {
        let d = self.descriptor(size_of::<abi::Sums>());
        let mut addresses = vec![(offset_of!(abi::Sums, sum), View::whole(sums.sum, Vec::new()))];
        let squares = sums.squares().map(|squares| (offset_of!(abi::Sums, squares), View::whole(squares, Vec::new())));
        addresses.extend(squares);
        for (at, product) in sums.products().iter().enumerate() {
            let first = offset_of!(abi::Sums, products) + at * size_of::<abi::Products>();
            let [about, sum] = [product.about, product.sum].map(|buffer| View::whole(buffer, Vec::new()));
            addresses.extend([
                (first + offset_of!(abi::Products, other), product.other.clone()),
                (first + offset_of!(abi::Products, about), about),
                (first + offset_of!(abi::Products, sum), sum),
            ]);
        }
        addresses.into_iter().for_each(|(offset, view)| self.put_view(&d, offset, &view));
        self.address_of(&d)
    }

    fn pack(&mut self, call: &PackCall) {
        let d = self.conv_descriptor(&call.geometry, call.direction, call.algorithm);
        self.put_view(&d, offset_of!(abi::Conv, weight), &call.weight);
        // Packing depends on whether channels are adjacent where Winograd's transforms read them: they are.
        self.put_size(&d, offset_of!(abi::Conv, x_c), &Dim::ONE);
        let direction = match call.direction {
            Direction::Forward => conv::FORWARD,
            Direction::DataGrad => conv::DATA_GRAD,
            Direction::WeightGrad => panic!("a weight's gradient reads no weight that could be packed: {call:?}"),
        };
        let direction = self.number(direction);
        let packed = self.buffer(call.packed);
        let address = self.address_of(&d);
        self.call("netc_conv2d_pack", self.frame, &[address, direction, packed]);
    }

    /// A descriptor with the sizes of a convolution; all pointers and strides are zero.
    fn conv_descriptor(&mut self, geometry: &Geometry, direction: Direction, algorithm: Algorithm) -> Descriptor {
        let d = self.descriptor(size_of::<abi::Conv>());
        let Geometry { n, c, h, w, oc, oh, ow, kernel, stride, pad, dilation, groups } = geometry;
        let fixed = [*c, *oc, kernel[0], kernel[1], stride[0], stride[1], pad[0], pad[1], dilation[0], dilation[1]];
        let fixed_offsets = [
            offset_of!(abi::Conv, c),
            offset_of!(abi::Conv, oc),
            offset_of!(abi::Conv, kh),
            offset_of!(abi::Conv, kw),
            offset_of!(abi::Conv, stride_h),
            offset_of!(abi::Conv, stride_w),
            offset_of!(abi::Conv, pad_h),
            offset_of!(abi::Conv, pad_w),
            offset_of!(abi::Conv, dilation_h),
            offset_of!(abi::Conv, dilation_w),
        ];
        for (offset, size) in fixed_offsets.into_iter().zip(fixed) {
            self.put_size(&d, offset, &Dim::fixed(size));
        }
        for (offset, dim) in [
            (offset_of!(abi::Conv, n), n),
            (offset_of!(abi::Conv, h), h),
            (offset_of!(abi::Conv, w), w),
            (offset_of!(abi::Conv, oh), oh),
            (offset_of!(abi::Conv, ow), ow),
            (offset_of!(abi::Conv, groups), &Dim::fixed(*groups)),
        ] {
            self.put_size(&d, offset, dim);
        }
        let algorithm = match algorithm {
            Algorithm::Direct => conv::DIRECT,
            Algorithm::Winograd => conv::WINOGRAD,
            Algorithm::Winograd2x2 => conv::WINOGRAD_2X2,
        };
        let algorithm = self.number(algorithm);
        self.put(&d, offset_of!(abi::Conv, algorithm), algorithm);
        let many = self.number(geometry.is_of_many(direction).into());
        self.put(&d, offset_of!(abi::Conv, many), many);
        d
    }

    fn scatter_add(&mut self, call: &ScatterAddCall) {
        let d = self.descriptor(size_of::<abi::ScatterAdd>());
        for (offset, dim) in [
            (offset_of!(abi::ScatterAdd, rows), &call.rows),
            (offset_of!(abi::ScatterAdd, cols), &Dim::fixed(call.cols)),
            (offset_of!(abi::ScatterAdd, table_rows), &Dim::fixed(call.table_rows)),
            (offset_of!(abi::ScatterAdd, index_stride), &call.index.strides[0]),
            (offset_of!(abi::ScatterAdd, source_rs), &call.source.strides[0]),
        ] {
            self.put_size(&d, offset, dim);
        }
        self.put_view(&d, offset_of!(abi::ScatterAdd, index), &call.index);
        self.put_view(&d, offset_of!(abi::ScatterAdd, source), &call.source);
        self.put_view(&d, offset_of!(abi::ScatterAdd, table), &call.table);
        let address = self.address_of(&d);
        self.call("netc_scatter_add_rows", self.frame, &[address]);
    }

    // Descriptors.

    /// A descriptor of words, all zero.
    pub(super) fn descriptor(&mut self, size: usize) -> Descriptor {
        let bytes = u32::try_from(size).expect("descriptors are small");
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 3);
        let d = Descriptor { slot: self.builder.create_sized_stack_slot(data) };
        let zero = self.number(0);
        for offset in (0..size).step_by(8) {
            self.put(&d, offset, zero);
        }
        d
    }
    pub(super) fn put(&mut self, d: &Descriptor, offset: usize, value: Value) {
        self.builder.ins().stack_store(types::I64, value, d.slot, offset as i32);
    }
    pub(super) fn put_size(&mut self, d: &Descriptor, offset: usize, dim: &Dim) {
        let value = self.size(dim);
        self.put(d, offset, value);
    }
    pub(super) fn put_view(&mut self, d: &Descriptor, offset: usize, view: &View) {
        let mut address = self.buffer(view.buffer);
        if view.offset != Dim::fixed(0) {
            let elements = self.size(&view.offset);
            let bytes = self.builder.ins().imul_imm_s(elements, 4);
            address = self.builder.ins().iadd(address, bytes);
        }
        self.put(d, offset, address);
    }
    /// Sets the epilogue's function; the frame to call with, which holds the epilogue's buffers.
    pub(super) fn put_epilogue(&mut self, d: &Descriptor, offset: usize, epilogue: Option<&Kernel>) -> Value {
        let Some(kernel) = epilogue else { return self.frame };
        // What a step of a recurrence reads lies in short runs that are far apart: no CPU foresees them.
        let call = Call::Tile { fetches: self.step.is_some() };
        let (id, buffers) = self.emitter.kernel(kernel, call, self.role);
        let function = self.local(id);
        let address = self.builder.ins().func_addr(types::I64, function);
        self.put(d, offset, address);
        self.frame_of(&buffers)
    }
    /// A frame like the program's, of these buffers alone.
    fn frame_of(&mut self, buffers: &[Buffer]) -> Value {
        let program: &Program = self.emitter.program;
        let n_before = 1 + program.symbols.len();
        let slot = *self.local_frame.get_or_insert_with(|| {
            let words = n_before + most_buffers(program);
            let bytes = u32::try_from(8 * words).expect("kernels have few buffers");
            self.builder.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 3))
        });
        let words = (0..n_before).chain(buffers.iter().map(|&buffer| program.buffer_word(buffer)));
        for (at, word) in words.enumerate() {
            let value = self.frame_word(word);
            self.builder.ins().stack_store(types::I64, value, slot, 8 * at as i32);
        }
        self.builder.ins().stack_addr(types::I64, slot, 0)
    }
    pub(super) fn word_of(&mut self, d: &Descriptor) -> Value {
        self.builder.ins().stack_load(types::I64, types::I64, d.slot, 0)
    }
    pub(super) fn address_of(&mut self, d: &Descriptor) -> Value {
        self.builder.ins().stack_addr(types::I64, d.slot, 0)
    }

    // Values.

    pub(super) fn call(&mut self, name: &str, frame: Value, arguments: &[Value]) {
        let params = vec![types::I64; 1 + arguments.len()];
        let function = self.emitter.import(name, &params, self.builder.func);
        self.builder.ins().call(function, &[&[frame], arguments].concat());
    }
    pub(super) fn local(&mut self, id: FuncId) -> FuncRef {
        self.emitter.module.declare_func_in_func(id, self.builder.func)
    }
    pub(super) fn number(&mut self, value: i64) -> Value {
        self.builder.ins().iconst(types::I64, value)
    }
    pub(super) fn buffer(&mut self, buffer: Buffer) -> Value {
        self.frame_word(self.emitter.program.buffer_word(buffer))
    }
    fn frame_word(&mut self, word: usize) -> Value {
        let program: &Program = self.emitter.program;
        let n_fixed = 1 + program.symbols.len();
        let moves =
            word.checked_sub(n_fixed).is_some_and(|at| matches!(program.buffers[Id::new(at)].home, Home::Slice { .. }));
        // A share's frame is written where its code begins.
        let flags = if moves || self.share.is_some() { memory() } else { memory().with_readonly() };
        self.builder.ins().load(types::I64, flags, self.frame, 8 * word as i32)
    }
    pub(super) fn size(&mut self, dim: &Dim) -> Value {
        let program: &Program = self.emitter.program;
        let factor = self.number(dim.factor() as i64);
        dim.symbols().iter().fold(factor, |size, symbol| {
            let value = self.frame_word(program.symbol_word(symbol));
            self.builder.ins().imul(size, value)
        })
    }
}

/// The largest number of buffers that a kernel of the program touches.
fn most_buffers(program: &Program) -> usize {
    fn count(step: &Step) -> usize {
        if let Step::Scan(scan) = step {
            return scan.steps().map(count).max().unwrap_or(0);
        }
        let mut buffers = Vec::new();
        step.for_each_access(&mut |access| buffers.push(access.buffer));
        buffers.sort_unstable();
        buffers.dedup();
        buffers.len()
    }
    program.all_steps().map(count).max().unwrap_or(0)
}
