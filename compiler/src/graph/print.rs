//! Graphs as text, one line a node:
//! `%3: f32[B, 64, 8, 8] = convolution forward(%1, %2) kernel 3x3 pad 1x1   # conv1`.

use std::fmt;

use super::{Graph, Node, OutputRole, Value};
use crate::kernel::{BinaryFn, Combine, CompareFn, Direction, UnaryFn};
use crate::ops::{Op, Role, Scan, ScanResult, Window};

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.print(f, "")?;
        for output in &self.outputs {
            writeln!(f, "{} {} = {}", output.role, output.name, output.value)?;
        }
        Ok(())
    }
}

impl Graph {
    /// One line a node; the body of a recurrence stands before its first result.
    fn print(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        let mut printed: Vec<(&Scan, &[Value])> = Vec::new();
        for (value, node) in self.nodes() {
            if let Op::Scan(scan) = &node.op
                && !printed.iter().any(|(known, args)| *args == &node.args[..] && known.is_same_recurrence(scan))
            {
                let direction = if scan.reverse { "reverse step" } else { "step" };
                writeln!(f, "{indent}each {direction} of {}:", scan.steps)?;
                scan.body.print(f, &format!("{indent}    "))?;
                for output in &scan.body.outputs {
                    writeln!(f, "{indent}    next {} = {}", output.name, output.value)?;
                }
                printed.push((scan, &node.args));
            }
            write!(f, "{indent}{value}: {} = {node}", node.ty)?;
            match node.origin {
                Some(origin) => writeln!(f, "   # {}", self.origin_path(origin))?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for OutputRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OutputRole::Output => "output",
            OutputRole::Loss => "loss",
            OutputRole::Metric => "metric",
            OutputRole::Gradient => "gradient",
            OutputRole::Update => "update",
        })
    }
}

/// The operation and its arguments, without type and origin.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let args: Vec<String> = self.args.iter().map(ToString::to_string).collect();
        let args = args.join(", ");
        match &self.op {
            Op::Source(source) => write!(f, "{} {}", role(source.role), source.name),
            Op::Constant(constant) => write!(f, "{}", constant.value),
            Op::Iota(iota) => write!(f, "iota along {}", iota.axis),
            Op::SizeOf(size) => write!(f, "size {}", size.dim),
            Op::Unary(op) => write!(f, "{}({args})", unary(op.0)),
            Op::Binary(op) => write!(f, "{}({args})", binary(op.0)),
            Op::Compare(op) => write!(f, "{}({args})", compare(op.0)),
            Op::Select(_) => write!(f, "select({args})"),
            Op::Convert(_) => write!(f, "convert({args})"),
            Op::StopGradient(_) => write!(f, "stop_gradient({args})"),
            Op::Reduce(op) => write!(f, "{}({args}) over {}", combine(op.combine), list(&op.axes, ", ")),
            Op::Broadcast(_) => write!(f, "broadcast({args})"),
            Op::Reshape(_) => write!(f, "reshape({args})"),
            Op::Transpose(op) => write!(f, "transpose({args}) to {}", list(&op.order, ", ")),
            Op::Slice(op) => write!(f, "slice({args}) axis {} from {}", op.axis, op.start),
            Op::Pad(op) => write!(f, "pad({args}) axis {} before {}", op.axis, op.before),
            Op::Concat(op) => write!(f, "concat({args}) axis {}", op.axis),
            Op::Gather(_) => write!(f, "gather({args})"),
            Op::ScatterAdd(_) => write!(f, "scatter add({args})"),
            Op::Random(op) => write!(f, "random({args}) stream {}", op.stream),
            Op::MatMul(op) => {
                write!(f, "matmul({args})")?;
                match op.transpose {
                    [false, false] => Ok(()),
                    [true, false] => write!(f, " transpose left"),
                    [false, true] => write!(f, " transpose right"),
                    [true, true] => write!(f, " transpose both"),
                }
            }
            Op::Convolution(op) => {
                let direction = match op.direction {
                    Direction::Forward => "forward",
                    Direction::DataGrad => "data gradient",
                    Direction::WeightGrad => "weight gradient",
                };
                write!(f, "convolution {direction}({args})")?;
                window(f, Window { kernel: op.kernel, stride: op.stride, pad: op.pad })?;
                if op.dilation != [1, 1] {
                    write!(f, " dilation {}", list(&op.dilation, "x"))?;
                }
                if op.groups != 1 {
                    write!(f, " groups {}", op.groups)?;
                }
                Ok(())
            }
            Op::WindowReduce(op) => {
                write!(f, "window {}({args})", combine(op.combine))?;
                window(f, op.window)
            }
            Op::WindowArgMax(op) => {
                write!(f, "window argmax({args})")?;
                window(f, op.window)
            }
            Op::WindowSpread(op) => {
                write!(f, "window spread({args})")?;
                window(f, op.window)
            }
            Op::Scan(op) => {
                let direction = if op.reverse { " reverse" } else { "" };
                match op.result {
                    ScanResult::Final(state) => write!(f, "scan{direction}({args}) final {state}"),
                    ScanResult::Each(value) => write!(f, "scan{direction}({args}) each {value}"),
                }
            }
        }
    }
}

fn window(f: &mut fmt::Formatter<'_>, window: Window) -> fmt::Result {
    write!(f, " kernel {}", list(&window.kernel, "x"))?;
    if window.stride != [1, 1] {
        write!(f, " stride {}", list(&window.stride, "x"))?;
    }
    if window.pad != [0, 0] {
        write!(f, " pad {}", list(&window.pad, "x"))?;
    }
    Ok(())
}

fn list(numbers: &[usize], separator: &str) -> String {
    let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
    numbers.join(separator)
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Input => "input",
        Role::Target => "target",
        Role::Param => "param",
        Role::State => "state",
        Role::Moment => "moment",
        Role::Key => "key",
        Role::Rate => "rate",
        Role::Mask => "mask",
        Role::Carry => "carry",
        Role::Local => "local",
    }
}

fn unary(function: UnaryFn) -> &'static str {
    match function {
        UnaryFn::Neg => "neg",
        UnaryFn::Abs => "abs",
        UnaryFn::Exp => "exp",
        UnaryFn::Log => "log",
        UnaryFn::Tanh => "tanh",
        UnaryFn::Sigmoid => "sigmoid",
        UnaryFn::Erf => "erf",
        UnaryFn::Sqrt => "sqrt",
        UnaryFn::Floor => "floor",
    }
}

fn binary(function: BinaryFn) -> &'static str {
    match function {
        BinaryFn::Add => "add",
        BinaryFn::Sub => "sub",
        BinaryFn::Mul => "mul",
        BinaryFn::Div => "div",
        BinaryFn::Max => "maximum",
        BinaryFn::Min => "minimum",
    }
}

fn compare(function: CompareFn) -> &'static str {
    match function {
        CompareFn::Eq => "equal",
        CompareFn::Ne => "unequal",
        CompareFn::Lt => "less",
        CompareFn::Le => "at most",
        CompareFn::Gt => "greater",
        CompareFn::Ge => "at least",
    }
}

fn combine(combine: Combine) -> &'static str {
    match combine {
        Combine::Sum => "sum",
        Combine::Max => "max",
        Combine::Min => "min",
    }
}
