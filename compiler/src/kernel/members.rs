//! Whether the members of a batch have nothing to do with each other in the steps of a recurrence.

use std::collections::BTreeMap;

use super::{
    Access, Address, Axis, Buffer, Int, IntExpr, Kernel, MatMulCall, Members, Mode, Scalar, Scan, Slice, Step, Turns,
    View,
};
use crate::types::{Dim, Symbol};

/// How a step uses a buffer.
struct Use {
    access: Access,
    /// From a member to the next; none if all use the same.
    stride: Option<Dim>,
    /// How far behind a member's first element another of its own lies at most, if that is known.
    rest: Option<usize>,
}

impl Scan {
    /// Where the members of a batch lie, if each is computed from its own elements alone in all that is done at each step.
    pub fn members_apart(&self) -> Option<Members> {
        let size = self.body.iter().find_map(|step| match step {
            Step::MatMul(call) if call.m.factor() == 1 => match call.m.symbols() {
                [symbol] => Some(symbol.clone()),
                _ => None,
            },
            _ => None,
        })?;
        let all = Dim::from(size.clone());
        let mut uses = Vec::new();
        for step in self.ahead.iter().chain(&self.body) {
            match step {
                Step::Loop(kernel) => kernel_uses(kernel, &size, &mut uses)?,
                Step::MatMul(call) => product_uses(call, &size, &mut uses)?,
                Step::Conv(_) | Step::Pack(_) | Step::PackMatrix(_) | Step::ScatterAdd(_) | Step::Scan(_) => {
                    return None;
                }
            }
        }
        if is_of(&self.length, &size) {
            return None;
        }
        let mut strides = BTreeMap::new();
        for Use { access, stride, .. } in &uses {
            if strides.insert(access.buffer, stride.clone()).is_some_and(|known| known != *stride) {
                return None;
            }
        }
        let slice = |buffer: Buffer| self.slices.iter().find(|slice| slice.buffer == buffer);
        let root = |buffer: Buffer| slice(buffer).map_or(buffer, |slice| slice.of);
        let mut roots: BTreeMap<Buffer, Vec<&Use>> = BTreeMap::new();
        uses.iter().for_each(|a| roots.entry(root(a.access.buffer)).or_default().push(a));
        let is_apart = |uses: &Vec<&Use>| {
            let has = |mode: Mode| uses.iter().any(|a| a.access.mode == mode);
            if !has(Mode::Write) {
                return true;
            }
            let Some(stride) = &uses[0].stride else { return false };
            let are_alike = uses.iter().all(|a| a.stride.as_ref() == Some(stride));
            // What a member reads, it alone has written.
            let is_own = |a: &&Use| {
                let slice = slice(a.access.buffer);
                let first = slice.map_or(Some(0), |slice| slice.offset.as_fixed());
                let is_row = slice.is_none_or(|slice| slice.stride == stride.times(&all));
                let end = a.rest.zip(first).map(|(rest, first)| rest.saturating_add(first));
                is_row && end.zip(stride.as_fixed()).is_some_and(|(end, stride)| end < stride)
            };
            are_alike && (!has(Mode::Read) || uses.iter().all(is_own))
        };
        let is_round_whole = |slice: &Slice| {
            let stride = strides.get(&slice.buffer).cloned().flatten();
            slice.turns != Turns::Round || stride.is_some_and(|stride| slice.stride == stride.times(&all))
        };
        if !roots.values().all(is_apart) || !self.slices.iter().all(is_round_whole) {
            return None;
        }
        let strides = strides.into_iter().filter_map(|(buffer, stride)| Some((buffer, stride?))).collect();
        Some(Members { size, strides })
    }
}

/// Whether a size depends on another.
fn is_of(dim: &Dim, size: &Symbol) -> bool {
    dim.symbols().iter().any(|symbol| match symbol {
        Symbol::Derived(derived) => is_of(&derived.of, size),
        symbol => symbol == size,
    })
}

fn product_uses(call: &MatMulCall, size: &Symbol, uses: &mut Vec<Use>) -> Option<()> {
    // Sums over packed weights do not depend on how many rows there are, if all sides have a dozen or more, and pairs of rows not on
    // where the others are, if each side begins with an even one.
    let is_plain = call.m == Dim::from(size.clone()) && call.batch.is_one();
    if !is_plain || is_of(&call.n, size) || is_of(&call.k, size) {
        return None;
    }
    let mut operand = |view: &View, cols: &Dim, mode: Mode| {
        let [row, col] = view.strides.as_slice() else { return None };
        if [row, col, &view.offset].into_iter().any(|dim| is_of(dim, size)) {
            return None;
        }
        let reach = cols.as_fixed().zip(col.as_fixed()).map(|(n, stride)| n.saturating_sub(1).saturating_mul(stride));
        let rest = reach.zip(view.offset.as_fixed()).map(|(reach, offset)| reach.saturating_add(offset));
        uses.push(Use { access: Access { buffer: view.buffer, mode }, stride: Some(row.clone()), rest });
        Some(())
    };
    operand(&call.a, &call.k, Mode::Read)?;
    operand(&call.c, &call.n, Mode::Write)?;
    let packed = Access { buffer: call.packed?, mode: Mode::Read };
    uses.push(Use { access: packed, stride: None, rest: None });
    call.epilogue.as_ref().map_or(Some(()), |kernel| kernel_uses(kernel, size, uses))
}

fn kernel_uses(kernel: &Kernel, size: &Symbol, uses: &mut Vec<Use>) -> Option<()> {
    let axis = kernel.domain.iter().copied().find(|&axis| is_of(&kernel.axes[axis], size))?;
    let mut n_mentions = 0;
    kernel.for_each_dim(&mut |dim| n_mentions += usize::from(is_of(dim, size)));
    let along = Along { axis, each: kernel.axes[axis].divided_by(&Dim::from(size.clone()))?.as_fixed()? };
    if n_mentions > 1 || !treats_alike(kernel, axis) {
        return None;
    }
    let mut push = |buffer: Buffer, at: &Address, mode: Mode| {
        let (stride, rest) = along.place(kernel, at)?;
        uses.push(Use { access: Access { buffer, mode }, stride, rest });
        Some(())
    };
    for scalar in kernel.exprs.values() {
        if let Scalar::Load { buffer, at } = scalar {
            push(*buffer, at, Mode::Read)?;
        }
    }
    kernel.stores.iter().try_for_each(|store| push(store.buffer, &store.at, Mode::Write))
}

/// Whether a kernel does the same for each step of an axis, but with other elements.
fn treats_alike(kernel: &Kernel, axis: Axis) -> bool {
    let tells = |int: Int| kernel.ints[int] == IntExpr::Axis(axis);
    let is_derived = kernel.ints.values().any(|int| int.operands().into_iter().any(tells));
    !is_derived && !kernel.ints_outside_addresses().into_iter().any(tells)
}

/// An axis that goes over members, `each` steps for one.
struct Along {
    axis: Axis,
    each: usize,
}

impl Along {
    /// From a member's element to the next one's, and [`Use::rest`].
    fn place(&self, kernel: &Kernel, at: &Address) -> Option<(Option<Dim>, Option<usize>)> {
        let mut member: Option<Dim> = None;
        let mut rest = at.offset.as_fixed();
        for (int, stride) in &at.terms {
            let steps = match kernel.ints[*int] {
                IntExpr::Axis(axis) if axis == self.axis => {
                    let whole = stride.times(&Dim::fixed(self.each));
                    member = Some(member.map_or(Some(whole.clone()), |known| known.plus(&whole))?);
                    Some(self.each)
                }
                IntExpr::Axis(axis) => kernel.axes[axis].as_fixed(),
                _ => None,
            };
            let reach = steps.zip(stride.as_fixed()).map(|(n, stride)| n.saturating_sub(1).saturating_mul(stride));
            rest = rest.zip(reach).map(|(rest, reach)| rest.saturating_add(reach));
        }
        Some((member, rest))
    }
}

#[cfg(test)]
mod tests {
    use crate::index::Id;
    use crate::kernel::{
        Address, Axis, BinaryFn, Buffer, IntExpr, Kernel, MatMulCall, Scalar, Scan, Shortcuts, Slice, Step, Store,
        Turns, View,
    };
    use crate::types::{Dim, Symbol};

    const UNITS: usize = 4;

    /// `h' = h @ W + h` for rows of [`UNITS`]: `b0` has all steps of `h`, `b1` and `b2` are it before and after one, `b3` is the
    /// weight, `b4` packed, `b5` the product. What `spoil` changes decides whether members are apart.
    fn members(spoil: impl FnOnce(&mut Scan)) -> Option<Vec<(usize, Dim)>> {
        let [all, before, after, weight, packed, product] = std::array::from_fn(Buffer::new);
        let mut kernel = Kernel { domain: [0, 1].map(Axis::new).to_vec(), ..Kernel::default() };
        kernel.axes = [Dim::batch(), Dim::fixed(UNITS)].into_iter().collect();
        let [row, column] = [0, 1].map(|axis| kernel.ints.push(IntExpr::Axis(Axis::new(axis))));
        let at = Address { offset: Dim::fixed(0), terms: vec![(row, Dim::fixed(UNITS)), (column, Dim::ONE)] };
        let [x, h] = [product, before].map(|buffer| kernel.exprs.push(Scalar::Load { buffer, at: at.clone() }));
        let value = kernel.exprs.push(Scalar::Binary(BinaryFn::Add, x, h));
        kernel.stores.push(Store { buffer: after, at, value, streamed: None });
        let view = |buffer: Buffer| View::whole(buffer, vec![Dim::fixed(UNITS), Dim::ONE]);
        let slice = |buffer: Buffer, shift: i64| {
            let stride = Dim::fixed(UNITS).times(&Dim::batch());
            Slice { buffer, of: all, offset: Dim::fixed(0), stride, shift, turns: Turns::Two }
        };
        let mut scan = Scan {
            length: Dim::axis("T"),
            reverse: false,
            slices: vec![slice(before, 0), slice(after, 1)],
            start: Vec::new(),
            ahead: Vec::new(),
            body: vec![Step::MatMul(MatMulCall {
                batch: Dim::ONE,
                m: Dim::batch(),
                n: Dim::fixed(UNITS),
                k: Dim::fixed(UNITS),
                a: view(before),
                b: view(weight),
                c: view(product),
                packed: Some(packed),
                groups: 1,
                more: Vec::new(),
                accumulate: false,
                shortcuts: Shortcuts::default(),
                epilogue: Some(kernel),
            })],
            finish: Vec::new(),
            members: None,
            beside: false,
        };
        spoil(&mut scan);
        let members = scan.members_apart()?;
        assert_eq!(members.size, Symbol::Batch);
        Some(members.strides.into_iter().map(|(buffer, stride)| (buffer.index(), stride)).collect())
    }
    fn product(scan: &mut Scan) -> &mut MatMulCall {
        let Step::MatMul(call) = &mut scan.body[0] else { panic!("the body is a product") };
        call
    }
    fn kernel(scan: &mut Scan) -> &mut Kernel {
        product(scan).epilogue.as_mut().expect("with an epilogue")
    }
    /// The address that an expression loads from.
    fn loaded(scan: &mut Scan, expr: usize) -> &mut Address {
        let Scalar::Load { at, .. } = &mut kernel(scan).exprs[crate::kernel::Expr::new(expr)] else { panic!("a load") };
        at
    }

    #[test]
    fn members_with_rows_of_their_own_are_apart() {
        let strides = members(|_| {}).expect("they are apart");
        assert_eq!(strides, [1, 2, 5].map(|buffer| (buffer, Dim::fixed(UNITS))));
        // A loop over the elements of all members is one over members, too.
        let strides = members(|scan| {
            let row = kernel(scan).domain[0];
            kernel(scan).axes[row] = Dim::batch().times(&Dim::fixed(2));
            product(scan).c.strides[0] = Dim::fixed(2 * UNITS);
            product(scan).a.strides[0] = Dim::fixed(2 * UNITS);
            scan.slices.iter_mut().for_each(|slice| slice.stride = slice.stride.times(&Dim::fixed(2)));
        });
        assert_eq!(strides.expect("they are apart")[0], (1, Dim::fixed(2 * UNITS)));
    }

    #[test]
    fn members_that_depend_on_others_are_not() {
        type Spoil = (&'static str, fn(&mut Scan));
        let spoils: [Spoil; 9] = [
            ("a row is read from its middle on", |scan| loaded(scan, 1).offset = Dim::fixed(1)),
            ("rows that are read are further apart", |scan| loaded(scan, 1).terms[0].1 = Dim::fixed(2 * UNITS)),
            ("all read one row", |scan| {
                loaded(scan, 1).terms.remove(0);
            }),
            ("columns are members", |scan| loaded(scan, 1).terms[1].1 = Dim::batch()),
            ("each reads the first of a pair", |scan| {
                let row = kernel(scan).domain[0];
                let axis = kernel(scan).ints.push(IntExpr::Axis(row));
                let pair = kernel(scan).ints.push(IntExpr::Div(axis, 2));
                loaded(scan, 1).terms[0].0 = pair;
            }),
            ("weights are packed for each step", |scan| product(scan).packed = None),
            ("a step is not one row for each", |scan| scan.slices[0].stride = Dim::fixed(UNITS)),
            ("the state is the weight", |scan| product(scan).packed = Some(scan.slices[1].buffer)),
            ("steps are members", |scan| scan.length = Dim::batch()),
        ];
        for (what, spoil) in spoils {
            assert_eq!(members(spoil), None, "{what}");
        }
    }
}
