//! Expressions without control flow: one vector of one expression at a time.

use netc_runtime::{math, rng};

use super::cx::{Access, Cx, Slot};
use super::lanes::WIDTH;
use crate::kernel::{Expr, Int, Scalar, UnaryFn};
use crate::types::ElementType;
use cranelift_codegen::ir::{InstBuilder, Value};
use netc_runtime::math::Arith;

impl Cx<'_, '_> {
    /// The value of an expression at a slot. Reductions and guards in it have been computed by `control`.
    pub(super) fn value(&mut self, expr: Expr, slot: Slot) -> Value {
        let slot = self.slot_of(expr, slot);
        if let Some(value) = self.known(expr, slot) {
            return value;
        }
        let kernel = self.kernel;
        let value = match &kernel.exprs[expr] {
            Scalar::Const(value) => self.lanes().constant(ElementType::F32, *value),
            Scalar::Load { .. } => self.load(expr, slot),
            Scalar::Position(int) => self.position(*int, slot),
            Scalar::Convert(x) => {
                let x = self.value(*x, slot);
                self.lanes().int_to_float(x)
            }
            Scalar::Unary(function, x) => {
                let x = self.value(*x, slot);
                self.unary(*function, x)
            }
            Scalar::Binary(function, a, b) => {
                let (a, b) = (self.value(*a, slot), self.value(*b, slot));
                let element = self.facts.elements[expr];
                self.lanes().binary(*function, element, a, b)
            }
            Scalar::Compare(..) => {
                let mask = self.mask(expr, slot);
                self.lanes().mask_as_float(mask)
            }
            Scalar::Select(condition, a, b) => {
                let mask = self.mask(*condition, slot);
                let (a, b) = (self.value(*a, slot), self.value(*b, slot));
                let element = self.facts.elements[expr];
                self.lanes().choose(element, mask, a, b)
            }
            Scalar::Random { key, stream, index } => {
                let key = key.map(|word| self.value(word, slot));
                let index = self.position(*index, slot);
                let mut lanes = self.lanes();
                let stream = lanes.int(stream.cast_signed());
                rng::uniform(&mut lanes, key, stream, index)
            }
            Scalar::Reduce { .. } | Scalar::Guard { .. } => {
                unreachable!("{expr} was computed beforehand, not at {slot:?}:\n{kernel}")
            }
        };
        self.remember(expr, slot, value);
        value
    }

    fn unary(&mut self, function: UnaryFn, x: Value) -> Value {
        let mut lanes = self.lanes();
        match function {
            UnaryFn::Neg => lanes.0.ins().fneg(x),
            UnaryFn::Abs => lanes.0.ins().fabs(x),
            UnaryFn::Exp => math::exp(&mut lanes, x),
            UnaryFn::Log => math::log(&mut lanes, x),
            UnaryFn::Tanh => math::tanh(&mut lanes, x),
            UnaryFn::Sigmoid => math::sigmoid(&mut lanes, x),
            UnaryFn::Erf => math::erf(&mut lanes, x),
            UnaryFn::Sqrt => lanes.0.ins().sqrt(x),
            UnaryFn::Floor => lanes.0.ins().floor(x),
        }
    }

    /// A condition as a mask: of a comparison itself, of any other number whether it is not 0.
    fn mask(&mut self, expr: Expr, slot: Slot) -> Value {
        let slot = self.slot_of(expr, slot);
        if let Scalar::Compare(function, a, b) = self.kernel.exprs[expr] {
            let element = self.facts.elements[a];
            let (a, b) = (self.value(a, slot), self.value(b, slot));
            return self.lanes().compare(function, element, a, b);
        }
        let element = self.facts.elements[expr];
        let value = self.value(expr, slot);
        let zero = self.lanes().constant(element, 0.0);
        self.lanes().compare(crate::kernel::CompareFn::Ne, element, value, zero)
    }

    fn load(&mut self, expr: Expr, slot: Slot) -> Value {
        let element = self.facts.elements[expr];
        let access = Access::Load(expr);
        let Slot::Chain(chain) = slot else {
            let (address, offset) = self.address(access, slot);
            return self.lanes().load_splat(element, address, offset);
        };
        if self.access_slope(access) == Some(1) {
            let (address, offset) = self.address(access, slot);
            return self.lanes().load(element, address, offset);
        }
        let addresses = std::array::from_fn(|lane| self.address(access, Slot::Lane(WIDTH * chain + lane)));
        self.lanes().load_each(element, addresses)
    }

    /// An integer as a vector of `i32`.
    fn position(&mut self, int: Int, slot: Slot) -> Value {
        let varying = match (slot, self.vector) {
            (Slot::Chain(chain), Some(vector)) => Some((chain, self.facts.slope(int, vector.axis))),
            _ => None,
        };
        match varying {
            None | Some((_, Some(0))) => {
                let value = self.int(int, slot);
                self.lanes().splat_int(value)
            }
            Some((_, Some(slope))) => {
                let first = self.int(int, slot);
                let first = self.lanes().splat_int(first);
                let ramp = self.lanes().ramp(slope);
                self.builder.ins().iadd(first, ramp)
            }
            Some((chain, None)) => {
                let ints = std::array::from_fn(|lane| self.int(int, Slot::Lane(WIDTH * chain + lane)));
                self.lanes().collect_ints(ints)
            }
        }
    }

    /// Carries out a store of this kernel at a slot of its value.
    pub(super) fn store(&mut self, number: usize) {
        let access = Access::Store(number);
        let expr = self.kernel.stores[number].value;
        let Some(vector) = self.vector else {
            let value = self.value(expr, Slot::Uniform);
            let (address, offset) = self.address(access, Slot::Uniform);
            return self.lanes().store_lane(value, 0, address, offset);
        };
        for chain in 0..vector.chains {
            let value = self.value(expr, Slot::Chain(chain));
            if self.access_slope(access) == Some(1) {
                let (address, offset) = self.address(access, Slot::Chain(chain));
                self.lanes().store(value, address, offset);
                continue;
            }
            for lane in 0..WIDTH {
                let (address, offset) = self.address(access, Slot::Lane(WIDTH * chain + lane));
                self.lanes().store_lane(value, lane, address, offset);
            }
        }
    }
}
