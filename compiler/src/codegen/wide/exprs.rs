//! Expressions, integers and addresses of a plan.

use netc_runtime::math::{self, Arith};
use netc_runtime::rng;

use super::build::Maker;
use super::plan::{Num, NumOp, One, Op, Shift, Two, Val};
use crate::kernel::{Address, BinaryFn, Buffer, CompareFn, Expr, Int, IntExpr, Scalar, UnaryFn};
use crate::types::ElementType;

/// Addresses are added up below this number, so that the distances of chains fit in, too.
const FAR: i64 = 1 << 30;

impl Maker<'_> {
    pub(super) fn expr(&mut self, expr: Expr) -> Val {
        if let Some(&val) = self.exprs[self.row].get(&expr)
            && self.plan.is_within(self.here, self.plan.vals[val].region)
        {
            return val;
        }
        let kernel = self.kernel;
        let element = self.facts.elements[expr];
        let val = match &kernel.exprs[expr] {
            Scalar::Const(value) => self.constant(ElementType::F32, *value),
            Scalar::Load { buffer, at } => self.load(expr, *buffer, at),
            Scalar::Position(int) => self.position(*int),
            Scalar::Convert(x) => {
                let x = self.expr(*x);
                self.to_float(x)
            }
            Scalar::Unary(function, x) => {
                let x = self.expr(*x);
                self.unary(*function, x)
            }
            Scalar::Binary(function, a, b) => {
                let (a, b) = (self.expr(*a), self.expr(*b));
                self.combine(*function, element, a, b)
            }
            Scalar::Compare(..) => {
                let mask = self.mask(expr);
                let one = self.float(1.0);
                self.iand(mask, one)
            }
            Scalar::Select(condition, a, b) => {
                let mask = self.mask(*condition);
                let (yes, no) = (self.expr(*a), self.expr(*b));
                self.push(Op::Blend { mask, yes, no })
            }
            Scalar::Random { key, stream, index } => {
                let key = key.map(|word| self.expr(word));
                let index = self.position(*index);
                let stream = self.int(stream.cast_signed());
                rng::uniform(self, key, stream, index)
            }
            Scalar::Reduce { .. } => {
                let outer = self.here;
                self.here = self.place(self.facts.exprs[expr]);
                let val = self.reduce(expr);
                self.here = outer;
                val
            }
            Scalar::Guard { conditions, body, otherwise } => {
                let outer = self.here;
                self.here = self.place(self.facts.exprs[expr]);
                let otherwise = self.constant(element, *otherwise);
                let val = self.guard(conditions, *body, otherwise);
                self.here = outer;
                val
            }
        };
        self.exprs[self.row].insert(expr, val);
        val
    }

    fn unary(&mut self, function: UnaryFn, x: Val) -> Val {
        match function {
            UnaryFn::Neg => {
                let sign = self.int(i32::MIN);
                self.ixor(x, sign)
            }
            UnaryFn::Abs => self.abs(x),
            UnaryFn::Exp => math::exp(self, x),
            UnaryFn::Log => math::log(self, x),
            UnaryFn::Tanh => math::tanh(self, x),
            UnaryFn::Sigmoid => math::sigmoid(self, x),
            UnaryFn::Erf => math::erf(self, x),
            UnaryFn::Sqrt => self.push(Op::One(One::Sqrt, x)),
            UnaryFn::Floor => self.push(Op::One(One::Floor, x)),
        }
    }
    pub(super) fn combine(&mut self, function: BinaryFn, element: ElementType, a: Val, b: Val) -> Val {
        match Two::of(function, element) {
            (op, false) => self.push(Op::Two(op, a, b)),
            (op, true) => self.push(Op::Two(op, b, a)),
        }
    }

    /// A condition as a mask: of a comparison itself, of any other number whether it is not 0.
    fn mask(&mut self, expr: Expr) -> Val {
        let (function, element, a, b) = match self.kernel.exprs[expr] {
            Scalar::Compare(function, a, b) => (function, self.facts.elements[a], self.expr(a), self.expr(b)),
            _ => {
                let element = self.facts.elements[expr];
                let zero = self.constant(element, 0.0);
                (CompareFn::Ne, element, self.expr(expr), zero)
            }
        };
        match element {
            // Predicates that are false for NaN but for `Ne`, and raise no flags.
            ElementType::F32 => {
                let predicate = match function {
                    CompareFn::Eq => 0x00,
                    CompareFn::Ne => 0x04,
                    CompareFn::Lt => 0x11,
                    CompareFn::Le => 0x12,
                    CompareFn::Gt => 0x1e,
                    CompareFn::Ge => 0x1d,
                };
                self.push(Op::Two(Two::Compare(predicate), a, b))
            }
            ElementType::I32 => {
                let (op, a, b, is_negated) = match function {
                    CompareFn::Eq => (Two::EqualI, a, b, false),
                    CompareFn::Ne => (Two::EqualI, a, b, true),
                    CompareFn::Lt => (Two::GreaterI, b, a, false),
                    CompareFn::Le => (Two::GreaterI, a, b, true),
                    CompareFn::Gt => (Two::GreaterI, a, b, false),
                    CompareFn::Ge => (Two::GreaterI, b, a, true),
                };
                let mask = self.push(Op::Two(op, a, b));
                if is_negated {
                    let all = self.int(-1);
                    return self.ixor(mask, all);
                }
                mask
            }
        }
    }

    // Memory.

    pub(super) fn load(&mut self, expr: Expr, buffer: Buffer, at: &Address) -> Val {
        let outer = self.here;
        let region = self.place(self.facts.exprs[expr]);
        self.here = region;
        let slope = self.vector_axis().map_or(Some(0), |axis| self.facts.address_slope(at, axis));
        let (ptr, disp) = self.address(buffer, at);
        let region = self.deeper(region, self.plan.nums[ptr].region);
        let val = match slope {
            Some(0) => self.push_in(Op::Splat { ptr, disp }, region),
            Some(1) => self.push_in(Op::Load { ptr, disp }, region),
            other => panic!("a load of slope {other:?} was planned in:\n{}", self.kernel),
        };
        self.here = outer;
        val
    }
    /// The address for position 0 of the vector loop, and bytes to add.
    pub(super) fn address(&mut self, buffer: Buffer, at: &Address) -> (Num, i32) {
        let base = self.num(NumOp::Frame(self.program.buffer_word(buffer)));
        let mut terms = vec![base];
        // Rows that are computed side by side are so many bytes behind the first.
        let (kernel, rows) = (self.kernel, self.rows);
        let is_of_row = |int: &Int| matches!(kernel.ints[*int], IntExpr::Axis(axis) if rows == Some(axis));
        let between: Option<usize> =
            at.terms.iter().filter(|(int, _)| is_of_row(int)).map(|(_, dim)| dim.as_fixed()).sum();
        let behind = between.map(|elements| 4 * (elements * self.row) as i64).filter(|&bytes| bytes < FAR / 2);
        let offset = at.offset.as_fixed().map(|n| 4 * n as i64).filter(|&bytes| bytes < FAR);
        if offset.is_none() {
            let elements = self.size(&at.offset);
            terms.push(self.num(NumOp::Scale(elements, 4)));
        }
        for (int, stride) in &at.terms {
            let row = self.row;
            if behind.is_some() && is_of_row(int) {
                self.row = 0;
            }
            let int = self.int_num(*int);
            self.row = row;
            let stride = self.size(stride);
            let bytes = self.num(NumOp::Scale(stride, 4));
            terms.push(self.num(NumOp::Mul(int, bytes)));
        }
        // Outer terms first, so that inner loops add only their own.
        let depth = |maker: &Self, num: Num| {
            let region = maker.plan.nums[num].region;
            std::iter::successors(Some(region), |&r| maker.plan.regions[r].parent).count()
        };
        terms.sort_by_key(|&num| depth(self, num));
        let first = terms[0];
        let sum = terms[1..].iter().fold(first, |sum, &term| self.num(NumOp::Add(sum, term)));
        (sum, (offset.unwrap_or(0) + behind.unwrap_or(0)) as i32)
    }

    /// An integer as a vector of `i32`.
    fn position(&mut self, int: Int) -> Val {
        let slope = self.vector_axis().map_or(Some(0), |axis| self.facts.slope(int, axis));
        let slope = slope.unwrap_or_else(|| panic!("{int} was planned in:\n{}", self.kernel)) as i32;
        let origin = self.int_num(int);
        let first = match self.plan.nums[origin].op {
            NumOp::Const(value) => self.push(Op::Const(value as u32)),
            _ => self.push(Op::SplatNum(origin)),
        };
        if slope == 0 {
            return first;
        }
        let index = self.push(Op::Index);
        let index = if slope == 1 {
            index
        } else {
            let slope = self.int(slope);
            self.imul(index, slope)
        };
        let first = self.iadd(first, index);
        let ramp = self.push(Op::Ramp(slope));
        self.iadd(first, ramp)
    }

    // Integers.

    /// An integer, at position 0 of the vector loop.
    pub(super) fn int_num(&mut self, int: Int) -> Num {
        let op = match &self.kernel.ints[int] {
            IntExpr::Const(value) => NumOp::Const(*value),
            IntExpr::Axis(axis) => {
                if let Some(&round) = self.constant_axes.get(axis) {
                    NumOp::Const(round)
                } else if self.vector_axis() == Some(*axis) {
                    NumOp::Const(0)
                } else {
                    let counter = NumOp::Counter(self.loop_of(*axis), *axis);
                    if self.rows == Some(*axis) && self.row > 0 {
                        let (first, behind) = (self.num(counter), self.fixed(self.row as i64));
                        NumOp::Add(first, behind)
                    } else {
                        counter
                    }
                }
            }
            IntExpr::Add(a, b) => NumOp::Add(self.int_num(*a), self.int_num(*b)),
            IntExpr::Mul(a, factor) => NumOp::Scale(self.int_num(*a), *factor),
            IntExpr::Div(a, divisor) => NumOp::Div(self.int_num(*a), *divisor),
            IntExpr::Rem(a, divisor) => NumOp::Rem(self.int_num(*a), *divisor),
            IntExpr::Size(dim) => return self.size(dim),
            IntExpr::MulSize(a, dim) => NumOp::Mul(self.int_num(*a), self.size(dim)),
            IntExpr::DivSize(a, dim) => NumOp::DivSize(self.int_num(*a), self.size(dim)),
            IntExpr::RemSize(a, dim) => NumOp::RemSize(self.int_num(*a), self.size(dim)),
            IntExpr::Clamp(a, limit) => NumOp::Clamp(self.int_num(*a), *limit),
            IntExpr::Value(expr) => NumOp::Lane(self.expr(*expr)),
        };
        self.num(op)
    }
}

macro_rules! operations {
    ($($name:ident = $op:ident;)*) => {
        $(fn $name(&mut self, a: Val, b: Val) -> Val {
            self.push(Op::Two(Two::$op, a, b))
        })*
    };
}

macro_rules! shifts {
    ($($name:ident = $op:ident;)*) => {
        $(fn $name(&mut self, a: Val, by: u32) -> Val {
            self.push(Op::Shift(Shift::$op, a, by as u8))
        })*
    };
}

/// The runtime's elementary functions and random numbers, planned rather than carried out.
impl Arith for Maker<'_> {
    type F = Val;
    type I = Val;
    type M = Val;

    fn float(&mut self, x: f32) -> Val {
        self.push(Op::Const(x.to_bits()))
    }
    fn int(&mut self, x: i32) -> Val {
        self.push(Op::Const(x.cast_unsigned()))
    }
    operations! {
        add = AddF;
        sub = SubF;
        mul = MulF;
        div = DivF;
        iadd = AddI;
        isub = SubI;
        imul = MulI;
        iand = And;
        ior = Or;
        ixor = Xor;
        min = MinF;
        max = MaxF;
    }
    shifts! {
        shl = Left;
        ushr = Right;
        sshr = RightSigned;
    }
    fn mul_add(&mut self, a: Val, b: Val, c: Val) -> Val {
        self.push(Op::MulAdd { negated: false, a, b, c })
    }
    fn neg_mul_add(&mut self, a: Val, b: Val, c: Val) -> Val {
        self.push(Op::MulAdd { negated: true, a, b, c })
    }
    fn less(&mut self, a: Val, b: Val) -> Val {
        self.push(Op::Two(Two::Compare(0x11), a, b))
    }
    fn equal(&mut self, a: Val, b: Val) -> Val {
        self.push(Op::Two(Two::Compare(0), a, b))
    }
    fn select(&mut self, mask: Val, yes: Val, no: Val) -> Val {
        self.push(Op::Blend { mask, yes, no })
    }
    fn bits(&mut self, x: Val) -> Val {
        x
    }
    fn float_of_bits(&mut self, x: Val) -> Val {
        x
    }
    fn to_float(&mut self, x: Val) -> Val {
        self.push(Op::One(One::ToFloat, x))
    }
}
