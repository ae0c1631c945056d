//! Programs as text: `relu: for i0 in 0..B, i1 in 0..64 { b3[i0*64 + i1] = max(b1[i0*64 + i1], 0) }`.

use std::fmt::{self, Display, Formatter};

use smallvec::smallvec;

use super::{
    Address, BinaryFn, Combine, CompareFn, Condition, ConvCall, Expr, Home, Int, IntExpr, Kernel, MatMulCall, Members,
    ProductSum, Program, Scalar, Shortcuts, Slice, Step, Turns, UnaryFn, View,
};
use crate::index::{Few, IndexVec};
use crate::types::{Dim, ElementType, Symbol, show_shape};

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.symbols.is_empty() {
            let symbols: Vec<String> = self.symbols.iter().map(Symbol::to_string).collect();
            writeln!(f, "sizes {}", symbols.join(", "))?;
        }
        for (buffer, info) in self.buffers.iter() {
            let element = match info.element {
                ElementType::F32 => "f32",
                ElementType::I32 => "i32",
            };
            let home = match info.home {
                Home::External(slot) => format!("external {slot}"),
                Home::Workspace => "workspace".to_owned(),
                Home::Prepared => "prepared".to_owned(),
                Home::Slice { of } => format!("slice of {of}"),
            };
            writeln!(f, "{buffer}: {element}[{}] {home} `{}`", info.len, info.name)?;
        }
        for (name, steps) in [("prepare", &self.prepare), ("run", &self.steps)] {
            if !steps.is_empty() {
                writeln!(f, "{name}:")?;
            }
            for step in steps {
                for line in step.to_string().lines() {
                    writeln!(f, "  {line}")?;
                }
            }
        }
        Ok(())
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Step::Loop(kernel) => write!(f, "{kernel}"),
            Step::MatMul(call) => write!(f, "{call}"),
            Step::Conv(call) => write!(f, "{call}"),
            Step::Pack(call) => {
                let (direction, algorithm) = (call.direction, call.algorithm);
                write!(f, "{} = pack {direction:?} {algorithm:?} {}", call.packed, call.weight)
            }
            Step::PackMatrix(call) => {
                write!(f, "{} = pack matrix {}x{}", call.packed, call.k, call.n)?;
                call.pieces.iter().try_for_each(|piece| write!(f, " {piece}"))?;
                if call.groups > 1 {
                    write!(f, " groups {}", call.groups)?;
                }
                call.rows.iter().try_for_each(|rows| write!(f, " for {rows} rows"))?;
                call.rows_of_a_step.iter().try_for_each(|rows| write!(f, " for steps of {rows} rows"))?;
                write!(f, "{}", call.shortcuts)
            }
            Step::ScatterAdd(call) => {
                let (rows, cols) = (&call.rows, call.cols);
                write!(f, "{}[{}x{cols}] = scatter_add {rows}x{cols} ", call.table, call.table_rows)?;
                write!(f, "rows {} at {}", call.source, call.index)
            }
            Step::Scan(scan) => {
                let order = if scan.reverse { "reverse " } else { "" };
                let beside = if scan.beside { "beside the one before " } else { "" };
                writeln!(f, "scan {order}{} {beside}{{", scan.length)?;
                for slice in &scan.slices {
                    let Slice { buffer, of, offset, stride, shift, turns } = slice;
                    let turns = match turns {
                        Turns::All => "",
                        Turns::Two => ", taking turns",
                        Turns::Round => ", in rounds",
                    };
                    writeln!(f, "  {buffer} is {of}+{offset} at (step + {shift}) * {stride}{turns}")?;
                }
                if let Some(Members { size, strides }) = &scan.members {
                    let strides: Vec<String> = strides.iter().map(|(of, stride)| format!("{of}+{stride}")).collect();
                    writeln!(f, "  members of {size} apart: {}", strides.join(", "))?;
                }
                for (name, steps) in
                    [("start", &scan.start), ("ahead", &scan.ahead), ("step", &scan.body), ("finish", &scan.finish)]
                {
                    if !steps.is_empty() {
                        writeln!(f, "  {name}:")?;
                    }
                    for line in
                        steps.iter().flat_map(|step| step.to_string().lines().map(str::to_owned).collect::<Vec<_>>())
                    {
                        writeln!(f, "    {line}")?;
                    }
                }
                write!(f, "}}")
            }
        }
    }
}

impl Display for Shortcuts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", if self.rounded { " rounded for one row" } else { "" })?;
        write!(f, "{}", if self.sums { " sums for many rows" } else { "" })
    }
}

impl Display for MatMulCall {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let MatMulCall { batch, m, n, k, a, b, c, more, packed, groups, accumulate, shortcuts, epilogue } = self;
        write!(f, "{c}")?;
        more.iter().try_for_each(|piece| write!(f, ", {piece}"))?;
        write!(f, " {} matmul ", if *accumulate { "+=" } else { "=" })?;
        if !batch.is_one() {
            write!(f, "{batch} of ")?;
        }
        write!(f, "{m}x{n}x{k} {a} @ {b}")?;
        if let Some(packed) = packed {
            write!(f, " packed {packed}")?;
        }
        write!(f, "{shortcuts}")?;
        if *groups > 1 {
            write!(f, " groups {groups}")?;
        }
        write_epilogue(f, epilogue.as_ref())
    }
}

impl Display for ConvCall {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ConvCall { direction, geometry: g, algorithm, x, y, weight, packed, pooled, positions, epilogue, sums } =
            self;
        let from = match direction {
            super::Direction::Forward => [x, weight],
            super::Direction::DataGrad => [y, weight],
            super::Direction::WeightGrad => [x, y],
        };
        write!(f, "{} = conv {direction:?} {algorithm:?} {}, {}", self.result(), from[0], from[1])?;
        if let Some(packed) = packed {
            write!(f, " packed {packed}")?;
        }
        write!(f, " x[{}, {}, {}, {}] y[{}, {}, {}, {}]", g.n, g.c, g.h, g.w, g.n, g.oc, g.oh, g.ow)?;
        write!(f, " kernel {:?} stride {:?} pad {:?}", g.kernel, g.stride, g.pad)?;
        write!(f, " dilation {:?} groups {}", g.dilation, g.groups)?;
        if *pooled {
            write!(f, ", the largest of 2 by 2")?;
        }
        if let Some(positions) = positions {
            write!(f, ", {positions} which it is")?;
        }
        write_epilogue(f, epilogue.as_ref())?;
        let Some(sums) = sums else { return Ok(()) };
        write!(f, "\n  with sums {} of channels", sums.sum)?;
        if let Some(squares) = sums.squares() {
            write!(f, ", {squares} of squares of differences from the mean")?;
        }
        for ProductSum { other, about, sum } in sums.products() {
            write!(f, ", {sum} of products with {other} - {about}")?;
        }
        Ok(())
    }
}

fn write_epilogue(f: &mut Formatter<'_>, epilogue: Option<&Kernel>) -> fmt::Result {
    let Some(kernel) = epilogue else { return Ok(()) };
    writeln!(f)?;
    write!(f, "  then {kernel}")
}

impl Display for View {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.buffer)?;
        if self.offset != Dim::fixed(0) {
            write!(f, "+{}", self.offset)?;
        }
        write!(f, "{}", show_shape(&self.strides))
    }
}

impl Display for Kernel {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let cx = Cx { kernel: self, uses: uses(self) };
        let loops: Vec<String> = self.domain.iter().map(|axis| format!("{axis} in 0..{}", self.axes[*axis])).collect();
        let parallel = match self.parallel {
            0 => String::new(),
            n => format!(" ({n} parallel)"),
        };
        let stores: Vec<String> = self
            .stores
            .iter()
            .map(|store| {
                let streamed = if store.streamed.is_some() { ", past the caches" } else { "" };
                format!("{}{} = {}{streamed}", store.buffer, cx.address(&store.at), cx.expr(store.value, 0))
            })
            .collect();
        write!(f, "{}: for {}{parallel} {{ {} }}", self.name, loops.join(", "), stores.join("; "))?;
        for expr in self.exprs.ids().filter(|&expr| cx.is_named(expr)) {
            write!(f, "\n  where {expr} = {}", cx.definition(expr, 0))?;
        }
        Ok(())
    }
}

/// How often each expression is used.
fn uses(kernel: &Kernel) -> IndexVec<Expr, usize> {
    let mut uses = IndexVec::filled(0, kernel.exprs.len());
    let mut count = |expr: Expr| uses[expr] += 1;
    for scalar in kernel.exprs.values() {
        scalar.operands().into_iter().for_each(&mut count);
    }
    for int in kernel.ints.values() {
        if let IntExpr::Value(expr) = int {
            count(*expr);
        }
    }
    kernel.stores.iter().for_each(|store| count(store.value));
    uses
}

impl Scalar {
    /// The expressions that it is made of, but for those within integers.
    pub fn operands(&self) -> Few<Expr> {
        match self {
            Scalar::Const(_) | Scalar::Load { .. } | Scalar::Position(_) => Few::new(),
            Scalar::Convert(x) | Scalar::Unary(_, x) => smallvec![*x],
            Scalar::Binary(_, a, b) | Scalar::Compare(_, a, b) => smallvec![*a, *b],
            Scalar::Select(condition, a, b) => smallvec![*condition, *a, *b],
            Scalar::Reduce { body, .. } | Scalar::Guard { body, .. } => smallvec![*body],
            Scalar::Random { key, .. } => key.iter().copied().collect(),
        }
    }
}

struct Cx<'a> {
    kernel: &'a Kernel,
    uses: IndexVec<Expr, usize>,
}

impl Cx<'_> {
    /// Whether an expression is written once and referred to by its name.
    fn is_named(&self, expr: Expr) -> bool {
        let simple = matches!(self.kernel.exprs[expr], Scalar::Const(_) | Scalar::Load { .. } | Scalar::Position(_));
        self.uses[expr] > 1 && !simple
    }
    fn expr(&self, expr: Expr, binding: u8) -> String {
        if self.is_named(expr) { expr.to_string() } else { self.definition(expr, binding) }
    }
    /// The expression within an operator that binds as strongly as `binding`: 0 nothing, 1 comparison, 2 sum,
    /// 3 product, 4 sign.
    fn definition(&self, expr: Expr, binding: u8) -> String {
        let infix = |strength: u8, a: Expr, sign: &str, b: Expr| {
            let text = format!("{} {sign} {}", self.expr(a, strength), self.expr(b, strength + 1));
            if strength < binding { format!("({text})") } else { text }
        };
        match &self.kernel.exprs[expr] {
            Scalar::Const(value) => format!("{value}"),
            Scalar::Load { buffer, at } => format!("{buffer}{}", self.address(at)),
            Scalar::Position(int) => format!("position({})", self.int(*int, 0)),
            Scalar::Convert(x) => format!("float({})", self.expr(*x, 0)),
            Scalar::Unary(UnaryFn::Neg, x) => format!("-{}", self.expr(*x, 4)),
            Scalar::Unary(function, x) => format!("{}({})", lower(function), self.expr(*x, 0)),
            Scalar::Binary(function, a, b) => match function {
                BinaryFn::Add => infix(2, *a, "+", *b),
                BinaryFn::Sub => infix(2, *a, "-", *b),
                BinaryFn::Mul => infix(3, *a, "*", *b),
                BinaryFn::Div => infix(3, *a, "/", *b),
                BinaryFn::Max | BinaryFn::Min => {
                    format!("{}({}, {})", lower(function), self.expr(*a, 0), self.expr(*b, 0))
                }
            },
            Scalar::Compare(function, a, b) => {
                let sign = match function {
                    CompareFn::Eq => "==",
                    CompareFn::Ne => "!=",
                    CompareFn::Lt => "<",
                    CompareFn::Le => "<=",
                    CompareFn::Gt => ">",
                    CompareFn::Ge => ">=",
                };
                infix(1, *a, sign, *b)
            }
            Scalar::Select(condition, a, b) => {
                format!("select({}, {}, {})", self.expr(*condition, 0), self.expr(*a, 0), self.expr(*b, 0))
            }
            Scalar::Reduce { combine, axis, body } => {
                let name = match combine {
                    Combine::Sum => "sum",
                    Combine::Max => "max",
                    Combine::Min => "min",
                };
                format!("{name}({axis} in 0..{}: {})", self.kernel.axes[*axis], self.expr(*body, 0))
            }
            Scalar::Guard { conditions, body, otherwise } => {
                let conditions: Vec<String> = conditions.iter().map(|condition| self.condition(condition)).collect();
                format!("if({}: {}, else {otherwise})", conditions.join(" and "), self.expr(*body, 0))
            }
            Scalar::Random { key: [low, high], stream, index } => {
                format!("random({}, {}, {stream}, {})", self.expr(*low, 0), self.expr(*high, 0), self.int(*index, 0))
            }
        }
    }
    fn condition(&self, condition: &Condition) -> String {
        match condition {
            Condition::InRange(int, limit) => format!("0 <= {} < {limit}", self.int(*int, 2)),
            Condition::Multiple(int, of) => format!("{} % {of} == 0", self.int(*int, 3)),
        }
    }
    fn address(&self, at: &Address) -> String {
        let offset = (at.offset != Dim::fixed(0) || at.terms.is_empty()).then(|| at.offset.to_string());
        let terms = at.terms.iter().map(|(int, stride)| match stride.is_one() {
            true => self.int(*int, 2),
            false => format!("{}*{stride}", self.int(*int, 3)),
        });
        let sum: Vec<String> = offset.into_iter().chain(terms).collect();
        format!("[{}]", sum.join(" + "))
    }
    fn int(&self, int: Int, binding: u8) -> String {
        let infix = |strength: u8, a: Int, sign: &str, b: &dyn Display| {
            let text = format!("{}{sign}{b}", self.int(a, strength));
            if strength < binding { format!("({text})") } else { text }
        };
        match &self.kernel.ints[int] {
            IntExpr::Const(value) => format!("{value}"),
            IntExpr::Axis(axis) => axis.to_string(),
            IntExpr::Add(a, b) => infix(2, *a, " + ", &self.int(*b, 2)),
            IntExpr::Mul(a, factor) => infix(3, *a, "*", factor),
            IntExpr::Div(a, divisor) => infix(3, *a, "/", divisor),
            IntExpr::Rem(a, divisor) => infix(3, *a, "%", divisor),
            IntExpr::Size(dim) => dim.to_string(),
            IntExpr::MulSize(a, dim) => infix(3, *a, "*", dim),
            IntExpr::DivSize(a, dim) => infix(3, *a, "/", dim),
            IntExpr::RemSize(a, dim) => infix(3, *a, "%", dim),
            IntExpr::Clamp(a, limit) => format!("clamp({}, 0..{limit})", self.int(*a, 0)),
            IntExpr::Value(expr) => self.expr(*expr, 4),
        }
    }
}

fn lower(function: &dyn fmt::Debug) -> String {
    format!("{function:?}").to_lowercase()
}
