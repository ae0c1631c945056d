//! Addresses of loads and stores: each term of the sum is added in the outermost loop that determines it.

use cranelift_codegen::ir::{InstBuilder, Value};

use super::cx::{Access, Cx, Slot};
use super::lanes::WIDTH;
use crate::kernel::{Address, Buffer, Int, Scalar};

impl<'a> Cx<'a, '_> {
    fn address_of(&self, access: Access) -> (Buffer, &'a Address) {
        match access {
            Access::Load(expr) => match &self.kernel.exprs[expr] {
                Scalar::Load { buffer, at } => (*buffer, at),
                other => panic!("{expr} is no load: {other:?}"),
            },
            Access::Store(number) => (self.kernel.stores[number].buffer, &self.kernel.stores[number].at),
        }
    }
    /// Adds up the terms of an address that are known in this scope, so that inner loops need not.
    pub(super) fn hoist_address(&mut self, access: Access, may_read: bool) {
        let (_, at) = self.address_of(access);
        let (_, done) = self.partial_address(access);
        let ready = |cx: &Self, int: Int| {
            let axes = cx.facts.ints[int];
            axes.is_subset_of(cx.bound()) && !cx.varies(axes) && (may_read || !cx.facts.reads[int])
        };
        let terms = at.terms.iter().enumerate();
        let new =
            terms.filter(|(i, (int, _))| done >> i & 1 == 0 && ready(self, *int)).fold(0, |set, (i, _)| set | 1 << i);
        if new != 0 {
            self.add_terms(access, Slot::Uniform, new);
        }
    }
    fn partial_address(&mut self, access: Access) -> (Value, u64) {
        if let Some(known) = self.find(|scope| scope.addresses.get(&(access, Slot::Uniform)).copied()) {
            return known;
        }
        let (buffer, at) = self.address_of(access);
        assert!(at.terms.len() < 64, "an address of {} terms:\n{}", at.terms.len(), self.kernel);
        let base = self.frame_word(self.program.buffer_word(buffer));
        let base = match at.offset.as_fixed() {
            Some(n) => self.plus(base, 4 * n as i64),
            None => {
                let offset = self.size(&at.offset);
                let bytes = self.times(offset, 4);
                self.builder.ins().iadd(base, bytes)
            }
        };
        self.top().addresses.insert((access, Slot::Uniform), (base, 0));
        (base, 0)
    }
    fn add_terms(&mut self, access: Access, slot: Slot, terms: u64) -> Value {
        let (_, at) = self.address_of(access);
        let (mut address, done) = self.partial_address(access);
        for (i, (int, stride)) in at.terms.iter().enumerate() {
            if terms >> i & 1 == 0 {
                continue;
            }
            let int = self.int(*int, slot);
            let bytes = match stride.as_fixed() {
                Some(stride) => self.times(int, 4 * stride as i64),
                None => {
                    let stride = self.size(stride);
                    let elements = self.builder.ins().imul(int, stride);
                    self.times(elements, 4)
                }
            };
            address = self.builder.ins().iadd(address, bytes);
        }
        self.top().addresses.insert((access, slot), (address, done | terms));
        address
    }
    /// Where an access takes place: an address and bytes to add to it.
    pub(super) fn address(&mut self, access: Access, slot: Slot) -> (Value, i32) {
        let (_, at) = self.address_of(access);
        let slope = self.access_slope(access);
        // Where neighbors are a constant apart, so are vectors and lanes: one address serves all.
        let (slot, elements) = match (slot, slope) {
            (Slot::Uniform, _) => (Slot::Uniform, 0),
            (_, Some(0)) => (Slot::Uniform, 0),
            (Slot::Chain(chain), Some(slope)) => (Slot::Chain(0), slope * (WIDTH * chain) as i64),
            (Slot::Lane(lane), Some(slope)) => (Slot::Chain(0), slope * lane as i64),
            (slot, None) => (slot, 0),
        };
        let offset = i32::try_from(4 * elements).expect("neighbors in one vector are less than 2 GiB apart");
        let all = (1 << at.terms.len()) - 1;
        let known = self.find(|scope| scope.addresses.get(&(access, slot)).copied());
        if let Some((address, done)) = known
            && done == all
        {
            return (address, offset);
        }
        let (_, done) = self.partial_address(access);
        (self.add_terms(access, slot, all & !done), offset)
    }
    /// The distance of neighbors in a vector, if that is a constant.
    pub(super) fn access_slope(&self, access: Access) -> Option<i64> {
        let (_, at) = self.address_of(access);
        self.vector.map_or(Some(0), |vector| self.facts.address_slope(at, vector.axis))
    }
}
