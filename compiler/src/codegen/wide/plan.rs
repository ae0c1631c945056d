//! A kernel as regions (loops and guards within one another) of vector operations and integers.
#![expect(unreachable_pub, reason = "ids are declared by a macro that makes them public")]

use std::collections::BTreeMap;

use smallvec::smallvec;

use super::vector::{Vop, Width};
use crate::index::{Few, Id, IndexVec};
use crate::kernel::depends::AxisSet;
use crate::kernel::{Axis, BinaryFn, Kernel};
use crate::types::ElementType;

crate::new_id! {
    /// A vector; where it varies along the loop that lanes lie along, one for each chain.
    Val, "v"
}
crate::new_id! {
    /// An integer of 64 bits, kept on the stack.
    Num, "n"
}
crate::new_id! {
    /// A loop, a guard, or the whole function.
    Region, "r"
}
crate::new_id! {
    /// Instructions without control flow among them.
    Run, "s"
}

/// A sum along the vector loop takes what is left behind its whole rounds by so many vectors of 256 bits: by one of 512.
pub(super) const TAIL: usize = 2;

/// Operations of two vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Two {
    AddF,
    SubF,
    MulF,
    DivF,
    /// `a < b ? a : b`.
    MinF,
    /// `a > b ? a : b`.
    MaxF,
    And,
    Or,
    Xor,
    AddI,
    SubI,
    MulI,
    MinI,
    MaxI,
    EqualI,
    GreaterI,
    /// With the number of the predicate of `vcmpps`.
    Compare(u8),
}

impl Two {
    pub(super) fn encoding(self, width: Width) -> (Vop, Option<u8>) {
        let op = match self {
            // AVX-512F has these for integers alone.
            Two::And if width == Width::Bits512 => Vop("vpandd", 1, 1, 0xdb),
            Two::Or if width == Width::Bits512 => Vop("vpord", 1, 1, 0xeb),
            Two::Xor if width == Width::Bits512 => super::vector::XOR_512,
            Two::AddF => Vop("vaddps", 0, 1, 0x58),
            Two::SubF => Vop("vsubps", 0, 1, 0x5c),
            Two::MulF => Vop("vmulps", 0, 1, 0x59),
            Two::DivF => Vop("vdivps", 0, 1, 0x5e),
            Two::MinF => Vop("vminps", 0, 1, 0x5d),
            Two::MaxF => Vop("vmaxps", 0, 1, 0x5f),
            Two::And => Vop("vandps", 0, 1, 0x54),
            Two::Or => Vop("vorps", 0, 1, 0x56),
            Two::Xor => super::vector::XOR,
            Two::AddI => Vop("vpaddd", 1, 1, 0xfe),
            Two::SubI => Vop("vpsubd", 1, 1, 0xfa),
            Two::MulI => Vop("vpmulld", 1, 2, 0x40),
            Two::MinI => Vop("vpminsd", 1, 2, 0x39),
            Two::MaxI => Vop("vpmaxsd", 1, 2, 0x3d),
            Two::EqualI => Vop("vpcmpeqd", 1, 1, 0x76),
            Two::GreaterI => Vop("vpcmpgtd", 1, 1, 0x66),
            Two::Compare(predicate) => return (Vop("vcmpps", 0, 1, 0xc2), Some(predicate)),
        };
        (op, None)
    }
    /// Whether the result is a condition.
    pub(super) fn compares(self) -> bool {
        matches!(self, Two::EqualI | Two::GreaterI | Two::Compare(_))
    }
    pub(super) fn commutes(self) -> bool {
        use Two::*;
        matches!(self, AddF | MulF | And | Or | Xor | AddI | MulI | MinI | MaxI | EqualI)
    }
    /// The operation of a kernel; the flag tells whether its operands change places.
    pub(super) fn of(function: BinaryFn, element: ElementType) -> (Two, bool) {
        match (element, function) {
            (ElementType::F32, BinaryFn::Add) => (Two::AddF, false),
            (ElementType::F32, BinaryFn::Sub) => (Two::SubF, false),
            (ElementType::F32, BinaryFn::Mul) => (Two::MulF, false),
            (ElementType::F32, BinaryFn::Div) => (Two::DivF, false),
            // `b > a ? b : a`, so that a NaN that comes first stays.
            (ElementType::F32, BinaryFn::Max) => (Two::MaxF, true),
            (ElementType::F32, BinaryFn::Min) => (Two::MinF, true),
            (ElementType::I32, BinaryFn::Add) => (Two::AddI, false),
            (ElementType::I32, BinaryFn::Sub) => (Two::SubI, false),
            (ElementType::I32, BinaryFn::Mul) => (Two::MulI, false),
            (ElementType::I32, BinaryFn::Max) => (Two::MaxI, false),
            (ElementType::I32, BinaryFn::Min) => (Two::MinI, false),
            (ElementType::I32, BinaryFn::Div) => panic!("a kernel divides two i32 vectors"),
        }
    }
}

/// Operations of one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum One {
    Sqrt,
    Floor,
    ToFloat,
}

impl One {
    pub(super) fn encoding(self) -> (Vop, Option<u8>) {
        match self {
            One::Sqrt => (Vop("vsqrtps", 0, 1, 0x51), None),
            One::Floor => (super::vector::ROUND, Some(9)),
            One::ToFloat => (Vop("vcvtdq2ps", 0, 1, 0x5b), None),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shift {
    Left = 6,
    Right = 2,
    RightSigned = 4,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Op {
    /// The same bits in every lane.
    Const(u32),
    /// `step * lane`, counting the lanes of all chains.
    Ramp(i32),
    /// The position of lane 0 of chain 0 along the vector loop, in every lane.
    Index,
    /// Neighbors in memory along the vector loop: `ptr` is the address for its position 0.
    Load {
        ptr: Num,
        disp: i32,
    },
    /// One element of memory in every lane.
    Splat {
        ptr: Num,
        disp: i32,
    },
    /// The low 32 bits of an integer in every lane.
    SplatNum(Num),
    Two(Two, Val, Val),
    One(One, Val),
    /// `a * b + c` with one rounding; the flag is for `c - a * b`.
    MulAdd {
        negated: bool,
        a: Val,
        b: Val,
        c: Val,
    },
    Shift(Shift, Val, u8),
    Blend {
        mask: Val,
        yes: Val,
        no: Val,
    },
    /// A place on the stack that is written by `Inst::Set` and by loops; the number tells cells apart.
    Cell(usize),
    /// All bits of the lanes that take part in the last round of a vector loop.
    Mask,
}

impl Op {
    pub(super) fn operands(self) -> Few<Val> {
        match self {
            Op::Two(_, a, b) => smallvec![a, b],
            Op::One(_, a) | Op::Shift(_, a, _) => smallvec![a],
            Op::Blend { mask, yes, no } => smallvec![mask, yes, no],
            Op::MulAdd { a, b, c, .. } => smallvec![a, b, c],
            Op::Const(_) | Op::Ramp(_) | Op::Index | Op::Load { .. } | Op::Splat { .. } => Few::new(),
            Op::SplatNum(_) | Op::Cell(_) | Op::Mask => Few::new(),
        }
    }
    pub(super) fn pointer(self) -> Option<Num> {
        match self {
            Op::Load { ptr, .. } | Op::Splat { ptr, .. } => Some(ptr),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NumOp {
    Const(i64),
    /// An argument after the frame.
    Argument(usize),
    /// A word of the frame.
    Frame(usize),
    /// Set by the loop.
    Counter(Region, Axis),
    /// The end of a stretch of `Kind::Segments`, along its last axis.
    End(Region),
    /// Where that stretch begins in the flat range.
    Position(Region),
    Add(Num, Num),
    Mul(Num, Num),
    Scale(Num, i64),
    /// Rounds towards minus infinity.
    Div(Num, i64),
    Rem(Num, i64),
    DivSize(Num, Num),
    RemSize(Num, Num),
    Clamp(Num, i64),
    /// Lane 0 of a vector of integers.
    Lane(Val),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ValData {
    pub(super) op: Op,
    pub(super) region: Region,
    /// `None` for what is not computed by an instruction of a run.
    pub(super) run: Option<Run>,
    /// Whether each chain has its own.
    pub(super) varies: bool,
    /// Whether it is kept on the stack, for other runs.
    pub(super) is_stored: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct NumData {
    pub(super) op: NumOp,
    pub(super) region: Region,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Inst {
    Num(Num),
    Val(Val),
    Store {
        ptr: Num,
        disp: i32,
        value: Val,
        /// One lane only, outside of vector loops.
        is_single: bool,
        /// Of what is not read before long: how many elements are written in all.
        streamed: Option<Num>,
    },
    Set {
        cell: Val,
        value: Val,
    },
    /// Fetches into the cache what the loads of the run read so many places further along the vector loop.
    Fetch(Num),
    /// Combines a body's value into the sums of the region's fold of this number.
    Accumulate(Region, usize),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Item {
    Run(Run),
    Region(Region),
}

/// How a loop combines the values of its rounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fold {
    pub(super) function: BinaryFn,
    pub(super) element: ElementType,
    pub(super) neutral: Val,
    pub(super) body: Val,
    /// A cell, filled beforehand.
    pub(super) sum: Val,
    /// Where the lanes are combined, when the loop is the vector loop.
    pub(super) total: Option<Val>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Test {
    /// `0 <= a < b`.
    InRange(Num, Num),
    /// `a % b == 0`.
    Multiple(Num, i64),
    NotZero(Num),
    Less(Num, Num),
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Function,
    Loop {
        axis: Axis,
        from: Num,
        to: Num,
        /// The number of vectors of a round, when lanes lie along this loop.
        chains: Option<usize>,
        folds: Vec<Fold>,
        /// How many points of the axis a round computes, without lanes along it.
        step: usize,
    },
    /// The flat range `begin..end` of several axes: rounds of stretches along the last of them.
    Segments {
        axes: Vec<Axis>,
        extents: Vec<Num>,
    },
    If(Vec<Test>),
}

#[derive(Clone, Debug)]
pub(super) struct RegionData {
    pub(super) parent: Option<Region>,
    pub(super) kind: Kind,
    pub(super) binds: AxisSet,
    pub(super) items: Vec<Item>,
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) vals: IndexVec<Val, ValData>,
    pub(super) nums: IndexVec<Num, NumData>,
    pub(super) regions: IndexVec<Region, RegionData>,
    pub(super) runs: IndexVec<Run, Vec<Inst>>,
    pub(super) known_vals: BTreeMap<Op, Val>,
    pub(super) known_nums: BTreeMap<NumOp, Num>,
    /// The sums of vector loops, and the vectors of each.
    pub(super) widths: BTreeMap<Val, usize>,
}

impl Plan {
    pub(super) fn is_within(&self, mut inner: Region, outer: Region) -> bool {
        loop {
            if inner == outer {
                return true;
            }
            match self.regions[inner].parent {
                Some(parent) => inner = parent,
                None => return false,
            }
        }
    }
    /// The vectors that an instruction reads, but for the mask.
    pub(super) fn reads(&self, inst: Inst) -> Few<Val> {
        match inst {
            Inst::Num(_) | Inst::Fetch(_) => Few::new(),
            Inst::Val(val) => self.vals[val].op.operands(),
            Inst::Store { value, .. } | Inst::Set { value, .. } => smallvec![value],
            Inst::Accumulate(region, number) => smallvec![self.folds(region)[number].body],
        }
    }
    /// Whether a region is a loop or within one.
    pub(super) fn is_in_a_loop(&self, region: Region) -> bool {
        let mut regions = std::iter::successors(Some(region), |&region| self.regions[region].parent);
        regions.any(|region| matches!(self.regions[region].kind, Kind::Loop { .. }))
    }
    pub(super) fn mask(&self) -> Val {
        Id::new(0)
    }
    /// With what the whole plan determines: which vectors go through the stack, and how many a round computes.
    pub(super) fn finished(mut self) -> Self {
        let reads = self.runs.iter().flat_map(|(run, insts)| insts.iter().map(move |&inst| (run, inst)));
        let reads: Vec<(Run, Val)> =
            reads.flat_map(|(run, inst)| self.reads(inst).into_iter().map(move |val| (run, val))).collect();
        for (run, val) in reads {
            self.vals[val].is_stored |= self.vals[val].run.is_some_and(|its| its != run);
        }
        for num in self.nums.values() {
            if let NumOp::Lane(val) = num.op {
                self.vals[val].is_stored = true;
            }
        }
        for region in self.regions.ids() {
            // Sums of a row have as many lanes whether it is computed by itself or with others.
            let rows = self.rows(region);
            let work = self.work(region) / rows;
            if let Kind::Loop { chains: Some(chains), folds, .. } = &mut self.regions[region].kind {
                // Measured: the latency of long polynomials is hidden by two vectors at once, of short ones by four.
                *chains = match work {
                    0..=40 if folds.len() <= 2 * rows => 4,
                    _ if !folds.is_empty() => TAIL,
                    41..=250 => 2,
                    _ => 1,
                };
                self.widths.extend(folds.iter().map(|fold| (fold.sum, *chains)));
            }
        }
        self
    }
    /// The same plan for vectors of this length: sums along the vector loop have as many lanes in all.
    pub(super) fn fitted(mut self, width: Width) -> Self {
        let times = width.lanes() / Width::Bits256.lanes();
        for (_, data) in self.regions.iter_mut() {
            if let Kind::Loop { chains: Some(chains), folds, .. } = &mut data.kind
                && !folds.is_empty()
            {
                *chains /= times;
            }
        }
        self.widths.values_mut().for_each(|chains| *chains /= times);
        self
    }
    /// Whether long vectors are mostly full.
    pub(super) fn fills(&self, width: Width, kernel: &Kernel) -> bool {
        // What is left at the end of a sum takes one long vector or two short ones, however few lanes take part.
        let sums = |data: &RegionData| match &data.kind {
            Kind::Loop { chains: Some(_), folds, .. } => !folds.is_empty(),
            _ => false,
        };
        if self.regions.values().any(sums) {
            return true;
        }
        self.regions.values().all(|data| match &data.kind {
            Kind::Loop { axis, chains: Some(_), .. } => {
                let lanes = width.lanes();
                kernel.axes[*axis].as_fixed().is_none_or(|n| n >= 3 * lanes || (n > 0 && n.is_multiple_of(lanes)))
            }
            _ => true,
        })
    }
    /// How many points of an outer loop a round of a region computes.
    fn rows(&self, region: Region) -> usize {
        let regions = std::iter::successors(Some(region), |&region| self.regions[region].parent);
        let step = regions.map(|region| match self.regions[region].kind {
            Kind::Loop { step, .. } => step,
            _ => 1,
        });
        step.product()
    }
    /// The vector operations of a round.
    fn work(&self, region: Region) -> usize {
        let items = self.regions[region].items.iter().map(|item| match item {
            Item::Run(run) => {
                self.runs[*run].iter().filter(|inst| !matches!(inst, Inst::Num(_) | Inst::Fetch(_))).count()
            }
            Item::Region(inner) => self.work(*inner),
        });
        items.sum()
    }
    pub(super) fn folds(&self, region: Region) -> &[Fold] {
        match &self.regions[region].kind {
            Kind::Loop { folds, .. } => folds,
            other => panic!("{region} folds nothing: {other:?}"),
        }
    }
}
