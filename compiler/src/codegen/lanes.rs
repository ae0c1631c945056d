//! Vectors of emitted code: the only place that knows how wide they are and which instructions work on them.
//!
//! Every scalar of a kernel is a vector here. Where it does not vary along the vector axis, all lanes are equal, so
//! that the last few elements of a loop are computed by the same instructions as all others, bit for bit.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{ConstantData, Endianness, InstBuilder, MemFlagsData, Type, Value, types};
use cranelift_frontend::FunctionBuilder;
use netc_runtime::math::Arith;

use crate::kernel::{BinaryFn, CompareFn};
use crate::types::ElementType;

/// Lanes of a vector. Cranelift's x86-64 back end takes 128 bits and no more.
pub(super) const WIDTH: usize = 4;
pub(super) const FLOATS: Type = types::F32X4;
pub(super) const INTS: Type = types::I32X4;

pub(super) fn vector_of(element: ElementType) -> Type {
    match element {
        ElementType::F32 => FLOATS,
        ElementType::I32 => INTS,
    }
}

/// Emits vector instructions at the builder's place.
pub(super) struct Lanes<'a, 'f>(pub(super) &'a mut FunctionBuilder<'f>, pub(super) Fuses);

/// Whether the machine has an instruction for `a * b + c` with one rounding: Cranelift would call a function else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fuses(pub(super) bool);

/// Memory that generated code may access: present, of any alignment.
pub(super) fn memory() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

fn same_bytes() -> MemFlagsData {
    MemFlagsData::new().with_endianness(Endianness::Little)
}

impl Lanes<'_, '_> {
    /// `value` in every lane, rounded to the element type.
    pub(super) fn constant(&mut self, element: ElementType, value: f64) -> Value {
        match element {
            ElementType::F32 => self.float(value as f32),
            // A conversion saturates: the neutral elements of Max and Min are the ends of the range.
            ElementType::I32 => self.int(value as i32),
        }
    }
    fn vector_constant(&mut self, ty: Type, lanes: [[u8; 4]; WIDTH]) -> Value {
        let handle = self.0.func.dfg.constants.insert(ConstantData::from(lanes.concat()));
        self.0.ins().vconst(ty, handle)
    }
    /// `0, step, 2*step, …`
    pub(super) fn ramp(&mut self, step: i64) -> Value {
        let lanes = std::array::from_fn(|lane| (step as i32).wrapping_mul(lane as i32).to_le_bytes());
        self.vector_constant(INTS, lanes)
    }
    /// One element of memory in every lane.
    pub(super) fn load_splat(&mut self, element: ElementType, address: Value, offset: i32) -> Value {
        let ty = vector_of(element);
        let scalar = self.0.ins().load(ty.lane_type(), memory(), address, offset);
        self.0.ins().splat(ty, scalar)
    }
    pub(super) fn load(&mut self, element: ElementType, address: Value, offset: i32) -> Value {
        self.0.ins().load(vector_of(element), memory(), address, offset)
    }
    /// The elements at the addresses, one a lane.
    pub(super) fn load_each(&mut self, element: ElementType, addresses: [(Value, i32); WIDTH]) -> Value {
        let ty = vector_of(element);
        let scalars = addresses.map(|(address, offset)| self.0.ins().load(ty.lane_type(), memory(), address, offset));
        self.collect(ty, scalars)
    }
    pub(super) fn store(&mut self, value: Value, address: Value, offset: i32) {
        self.0.ins().store(memory(), value, address, offset);
    }
    pub(super) fn store_lane(&mut self, value: Value, lane: usize, address: Value, offset: i32) {
        let scalar = self.0.ins().extractlane(value, lane as u8);
        self.0.ins().store(memory(), scalar, address, offset);
    }
    fn collect(&mut self, ty: Type, scalars: [Value; WIDTH]) -> Value {
        let mut vector = self.0.ins().scalar_to_vector(ty, scalars[0]);
        for (lane, &scalar) in scalars.iter().enumerate().skip(1) {
            vector = self.0.ins().insertlane(vector, scalar, lane as u8);
        }
        vector
    }
    /// Lane 0 of each of four vectors.
    pub(super) fn collect_first(&mut self, ty: Type, vectors: [Value; WIDTH]) -> Value {
        let scalars = vectors.map(|vector| self.0.ins().extractlane(vector, 0));
        self.collect(ty, scalars)
    }
    /// 64-bit integers, cut to 32 bits, one a lane.
    pub(super) fn collect_ints(&mut self, ints: [Value; WIDTH]) -> Value {
        let ints = ints.map(|int| self.0.ins().ireduce(types::I32, int));
        self.collect(INTS, ints)
    }
    /// A 64-bit integer, cut to 32 bits, in every lane.
    pub(super) fn splat_int(&mut self, int: Value) -> Value {
        let int = self.0.ins().ireduce(types::I32, int);
        self.0.ins().splat(INTS, int)
    }
    /// One lane of a vector of integers, as 64 bits.
    pub(super) fn lane_as_int(&mut self, value: Value, lane: usize) -> Value {
        let int = self.0.ins().extractlane(value, lane as u8);
        self.0.ins().sextend(types::I64, int)
    }

    pub(super) fn binary(&mut self, function: BinaryFn, element: ElementType, a: Value, b: Value) -> Value {
        let ins = self.0.ins();
        match (element, function) {
            (ElementType::F32, BinaryFn::Add) => ins.fadd(a, b),
            (ElementType::F32, BinaryFn::Sub) => ins.fsub(a, b),
            (ElementType::F32, BinaryFn::Mul) => ins.fmul(a, b),
            (ElementType::F32, BinaryFn::Div) => ins.fdiv(a, b),
            // `a < b ? b : a`: a NaN in the first operand survives, as in `max(x, 0)`. One `maxps`.
            (ElementType::F32, BinaryFn::Max) => self.max(b, a),
            (ElementType::F32, BinaryFn::Min) => self.min(b, a),
            (ElementType::I32, BinaryFn::Add) => ins.iadd(a, b),
            (ElementType::I32, BinaryFn::Sub) => ins.isub(a, b),
            (ElementType::I32, BinaryFn::Mul) => ins.imul(a, b),
            (ElementType::I32, BinaryFn::Max) => ins.smax(a, b),
            (ElementType::I32, BinaryFn::Min) => ins.smin(a, b),
            (ElementType::I32, BinaryFn::Div) => panic!("a kernel divides two i32 vectors"),
        }
    }
    /// A mask: all bits of a lane where it holds.
    pub(super) fn compare(&mut self, function: CompareFn, element: ElementType, a: Value, b: Value) -> Value {
        match element {
            ElementType::F32 => {
                let condition = match function {
                    CompareFn::Eq => FloatCC::Equal,
                    CompareFn::Ne => FloatCC::NotEqual,
                    CompareFn::Lt => FloatCC::LessThan,
                    CompareFn::Le => FloatCC::LessThanOrEqual,
                    CompareFn::Gt => FloatCC::GreaterThan,
                    CompareFn::Ge => FloatCC::GreaterThanOrEqual,
                };
                self.0.ins().fcmp(condition, a, b)
            }
            ElementType::I32 => {
                let condition = match function {
                    CompareFn::Eq => IntCC::Equal,
                    CompareFn::Ne => IntCC::NotEqual,
                    CompareFn::Lt => IntCC::SignedLessThan,
                    CompareFn::Le => IntCC::SignedLessThanOrEqual,
                    CompareFn::Gt => IntCC::SignedGreaterThan,
                    CompareFn::Ge => IntCC::SignedGreaterThanOrEqual,
                };
                self.0.ins().icmp(condition, a, b)
            }
        }
    }
    /// A mask as 1 or 0.
    pub(super) fn mask_as_float(&mut self, mask: Value) -> Value {
        let one = self.float(1.0);
        let mask = self.0.ins().bitcast(FLOATS, same_bytes(), mask);
        self.0.ins().band(mask, one)
    }
    pub(super) fn choose(&mut self, element: ElementType, mask: Value, a: Value, b: Value) -> Value {
        match element {
            ElementType::F32 => self.select(mask, a, b),
            ElementType::I32 => self.0.ins().bitselect(mask, a, b),
        }
    }
    pub(super) fn int_to_float(&mut self, x: Value) -> Value {
        self.0.ins().fcvt_from_sint(FLOATS, x)
    }
    /// All lanes combined, in every lane: `(0 + 2) + (1 + 3)`.
    pub(super) fn fold(&mut self, function: BinaryFn, element: ElementType, x: Value) -> Value {
        let swapped = self.shuffle(x, [2, 3, 0, 1]);
        let x = self.binary(function, element, x, swapped);
        let swapped = self.shuffle(x, [1, 0, 3, 2]);
        self.binary(function, element, x, swapped)
    }
    fn shuffle(&mut self, x: Value, order: [u8; WIDTH]) -> Value {
        let ty = self.0.func.dfg.value_type(x);
        let mask: Vec<u8> = order.iter().flat_map(|lane| (0..4).map(move |byte| 4 * lane + byte)).collect();
        let mask = self.0.func.dfg.immediates.push(ConstantData::from(mask));
        let bytes = self.0.ins().bitcast(types::I8X16, same_bytes(), x);
        let bytes = self.0.ins().shuffle(bytes, bytes, mask);
        self.0.ins().bitcast(ty, same_bytes(), bytes)
    }
}

macro_rules! instructions {
    ($($name:ident = $instruction:ident;)*) => {
        $(fn $name(&mut self, a: Value, b: Value) -> Value {
            self.0.ins().$instruction(a, b)
        })*
    };
}

/// The runtime's elementary functions and random numbers, emitted rather than carried out.
impl Arith for Lanes<'_, '_> {
    type F = Value;
    type I = Value;
    type M = Value;

    fn float(&mut self, x: f32) -> Value {
        self.vector_constant(FLOATS, [x.to_bits().to_le_bytes(); WIDTH])
    }
    fn int(&mut self, x: i32) -> Value {
        self.vector_constant(INTS, [x.to_le_bytes(); WIDTH])
    }
    instructions! {
        add = fadd;
        sub = fsub;
        mul = fmul;
        div = fdiv;
        iadd = iadd;
        isub = isub;
        imul = imul;
        iand = band;
        ior = bor;
        ixor = bxor;
    }
    fn mul_add(&mut self, a: Value, b: Value, c: Value) -> Value {
        match self.1 {
            Fuses(true) => self.0.ins().fma(a, b, c),
            Fuses(false) => {
                let product = self.mul(a, b);
                self.add(product, c)
            }
        }
    }
    fn neg_mul_add(&mut self, a: Value, b: Value, c: Value) -> Value {
        match self.1 {
            Fuses(true) => {
                let minus_a = self.0.ins().fneg(a);
                self.0.ins().fma(minus_a, b, c)
            }
            Fuses(false) => {
                let product = self.mul(a, b);
                self.sub(c, product)
            }
        }
    }
    fn less(&mut self, a: Value, b: Value) -> Value {
        self.0.ins().fcmp(FloatCC::LessThan, a, b)
    }
    fn equal(&mut self, a: Value, b: Value) -> Value {
        self.0.ins().fcmp(FloatCC::Equal, a, b)
    }
    // Cranelift makes one `minps` or `maxps` of a selection by a comparison of the same operands.
    fn select(&mut self, mask: Value, a: Value, b: Value) -> Value {
        let mask = self.0.ins().bitcast(FLOATS, same_bytes(), mask);
        self.0.ins().bitselect(mask, a, b)
    }
    fn bits(&mut self, x: Value) -> Value {
        self.0.ins().bitcast(INTS, same_bytes(), x)
    }
    fn float_of_bits(&mut self, x: Value) -> Value {
        self.0.ins().bitcast(FLOATS, same_bytes(), x)
    }
    fn to_float(&mut self, x: Value) -> Value {
        self.int_to_float(x)
    }
    fn shl(&mut self, a: Value, by: u32) -> Value {
        let by = self.0.ins().iconst(types::I32, i64::from(by));
        self.0.ins().ishl(a, by)
    }
    fn ushr(&mut self, a: Value, by: u32) -> Value {
        let by = self.0.ins().iconst(types::I32, i64::from(by));
        self.0.ins().ushr(a, by)
    }
    fn sshr(&mut self, a: Value, by: u32) -> Value {
        let by = self.0.ins().iconst(types::I32, i64::from(by));
        self.0.ins().sshr(a, by)
    }
}
