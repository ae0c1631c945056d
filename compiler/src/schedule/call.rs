//! Library calls: contractions with their operands' views, packed weights and epilogues.

use netc_runtime::abi;
use netc_runtime::kernels::conv;
use netc_runtime::kernels::matmul::packed_len;

use super::algorithm::{Algorithms, algorithm};
use super::roots::through_views;
use super::view;
use crate::graph::{Graph, Value};
use crate::kernel::{
    Algorithm, Buffer, BufferInfo, ConvCall, Direction, Geometry, Home, Kernel, MatMulCall, PackCall, PackMatrixCall,
    Program, ScatterAddCall, Shortcuts, Step, View,
};
use crate::ops::{Convolution, Kept, Op};
use crate::types::{Dim, ElementType, product};

/// What a call asks of an operand's strides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Any strides.
    Strided,
    /// `[n, c, h, w]` with adjacent channels.
    ChannelsLast,
    /// Row-major, without gaps.
    Dense,
}

impl Layout {
    /// Whether a view is laid out so.
    pub(super) fn accepts(self, shape: &[Dim], view: &View) -> bool {
        match self {
            Layout::Strided => true,
            Layout::ChannelsLast => view.strides[1].is_one() || shape[1].is_one(),
            Layout::Dense => {
                let dense = view::strides(shape, &(0..shape.len()).collect::<Vec<_>>());
                shape.iter().zip(&view.strides).zip(dense).all(|((n, a), b)| n.is_one() || *a == b)
            }
        }
    }
    /// The order of the axes of a copy that is laid out so.
    pub(super) fn order(self, rank: usize) -> Vec<usize> {
        match self {
            Layout::ChannelsLast => vec![0, 2, 3, 1],
            Layout::Strided | Layout::Dense => (0..rank).collect(),
        }
    }
}

/// What each argument of a library call must look like.
pub(super) fn layouts(op: &Op) -> Option<[Layout; 2]> {
    use Layout::{ChannelsLast, Dense, Strided};
    match op {
        Op::MatMul(_) => Some([Strided, Strided]),
        Op::Convolution(convolution) => {
            // Groups of few channels are computed side by side.
            let x = if convolution.groups > 1 { ChannelsLast } else { Strided };
            Some(match convolution.direction {
                Direction::Forward => [x, Dense],
                Direction::DataGrad => [ChannelsLast, Dense],
                Direction::WeightGrad => [x, ChannelsLast],
            })
        }
        Op::ScatterAdd(_) => Some([Dense, Dense]),
        _ => None,
    }
}

/// The call that computes a matrix product, a convolution or a scatter, from views of its arguments.
pub(super) fn call(
    graph: &Graph,
    value: Value,
    operands: [View; 2],
    result: View,
    epilogue: Option<Kernel>,
    algorithms: &Algorithms,
    program: &mut Program,
) -> Step {
    let node = graph.node(value);
    let [a, b] = node.args[..] else { panic!("a library call takes two arguments: {node:?}") };
    match &node.op {
        Op::MatMul(matmul) => {
            let rank = node.ty.rank();
            let [batch, m, k, n] = matmul.sizes(&graph.ty(a).shape, &graph.ty(b).shape, &Dim::ONE);
            let [mut a, mut b] = operands;
            let mut c = result;
            for (view, transpose) in [(&mut a, matmul.transpose[0]), (&mut b, matmul.transpose[1]), (&mut c, false)] {
                if transpose {
                    view.strides.swap(rank - 2, rank - 1);
                }
                if batch.is_one() {
                    view.strides.drain(..rank - 2);
                }
            }
            let packed =
                is_fixed_parameter(graph, node.args[1]).then(|| pack_matrix(program, &batch, &k, &n, &b)).flatten();
            Step::MatMul(MatMulCall {
                batch,
                m,
                n,
                k,
                a,
                b,
                c,
                more: Vec::new(),
                packed,
                groups: 1,
                accumulate: false,
                shortcuts: Shortcuts::default(),
                epilogue,
            })
        }
        Op::Convolution(convolution) => {
            let direction = convolution.direction;
            let [first, second] = operands;
            let ((x, x_view), (y, y_view), weight) = match direction {
                Direction::Forward => ((a, first), (value, result), second),
                Direction::DataGrad => ((value, result), (a, first), second),
                Direction::WeightGrad => ((a, first), (b, second), result),
            };
            let geometry = geometry(graph, convolution, x, y);
            let input = if direction == Direction::DataGrad { &y_view } else { &x_view };
            // Weights that stay are packed once, if it is known how.
            let is_known = x_view.strides[1].is_one() || !packs_by_layout(&geometry);
            let stays = direction != Direction::WeightGrad && is_known && stays(graph, program, b, weight.buffer);
            let asked = algorithms.asked(node.origin.map_or("", |origin| graph.origin_path(origin)));
            let algorithm = algorithm(&geometry, direction, &input.strides[1], stays, asked);
            let packed = stays.then(|| pack(program, direction, &geometry, algorithm, weight.clone()));
            let (x, y) = (x_view, y_view);
            let (pooled, positions, sums) = (convolution.keeps == Kept::Largest, None, None);
            Step::Conv(ConvCall {
                direction,
                geometry,
                algorithm,
                x,
                y,
                weight,
                packed,
                pooled,
                positions,
                epilogue,
                sums,
            })
        }
        Op::ScatterAdd(_) => scatter_add(graph, value, operands, result),
        op => panic!("no library call: {op:?}"),
    }
}

/// Whether a weight is a parameter that this entry never changes.
pub(super) fn is_fixed_parameter(graph: &Graph, weight: Value) -> bool {
    use crate::ops::Role;
    matches!(&graph.node(weight).op, Op::Source(source) if source.role == Role::Param) && !super::roots::trains(graph)
}

/// Whether the way in which weights are packed depends on how the channels of maps lie.
fn packs_by_layout(geometry: &Geometry) -> bool {
    let Geometry { c, oc, groups, kernel: [height, width], .. } = *geometry;
    conv::packs_by_layout([c, oc], groups, height * width)
}

/// Whether what lies in a buffer is a weight, perhaps in another shape, that this entry never changes.
fn stays(graph: &Graph, program: &Program, weight: Value, buffer: Buffer) -> bool {
    match program.buffers[buffer].home {
        Home::Prepared => true,
        Home::External(_) => is_fixed_parameter(graph, through_views(graph, weight)),
        Home::Workspace | Home::Slice { .. } => false,
    }
}

/// The most elements of a matrix that is packed for an entry: larger ones would cost memory, and their product of few
/// rows is bound by reading them in either case.
const PACKED: usize = 1 << 20;
/// The least columns of one.
const NARROW: usize = 16;

/// The packed matrix's buffer, if it is worth one; the same matrix is packed once.
fn pack_matrix(program: &mut Program, batch: &Dim, k: &Dim, n: &Dim, b: &View) -> Option<Buffer> {
    let (k, n) = (k.as_fixed()?, n.as_fixed()?);
    // So narrow a result wastes most of a panel.
    if !batch.is_one() || n < NARROW || k * n > PACKED {
        return None;
    }
    let known = program.prepare.iter().find_map(|step| match step {
        Step::PackMatrix(call) => (call.pieces == [b.clone()] && call.k == k && call.n == n).then_some(call.packed),
        _ => None,
    });
    Some(known.unwrap_or_else(|| {
        let name = format!("{} (packed)", program.buffers[b.buffer].name);
        let len = Dim::fixed(packed_len(k, n, 1));
        let packed = program.buffers.push(BufferInfo { name, element: ElementType::F32, len, home: Home::Prepared });
        program.prepare.push(Step::PackMatrix(PackMatrixCall::whole([k, n], 1, b.clone(), packed)));
        packed
    }))
}

/// The packed weight's buffer; the same weight is packed once.
fn pack(
    program: &mut Program,
    direction: Direction,
    geometry: &Geometry,
    algorithm: Algorithm,
    weight: View,
) -> Buffer {
    // What is packed does not depend on the batch, nor on the size of the map but for whether it has many pixels.
    let key = |geometry: &Geometry| {
        let Geometry { c, oc, kernel, stride, pad, dilation, groups, .. } = geometry;
        [vec![*c, *oc, *groups], [*kernel, *stride, *pad, *dilation].concat()].concat()
    };
    let known = program.prepare.iter().find_map(|step| match step {
        Step::Pack(call) => {
            let same = call.weight == weight && call.direction == direction && call.algorithm == algorithm;
            let same = same && call.geometry.is_of_many(direction) == geometry.is_of_many(direction);
            (same && key(&call.geometry) == key(geometry)).then_some(call.packed)
        }
        _ => None,
    });
    if let Some(packed) = known {
        return packed;
    }
    let name = format!("{} (packed)", program.buffers[weight.buffer].name);
    let len = packed_weight_len(direction, algorithm, geometry);
    let info = BufferInfo { name, element: ElementType::F32, len: Dim::fixed(len), home: Home::Prepared };
    let packed = program.buffers.push(info);
    program.prepare.push(Step::Pack(PackCall { direction, geometry: geometry.clone(), algorithm, weight, packed }));
    packed
}

/// How many floats the runtime's packing takes.
pub(super) fn packed_weight_len(direction: Direction, algorithm: Algorithm, geometry: &Geometry) -> usize {
    let of = |n: usize| i64::try_from(n).expect("sizes are below the limit of the graph");
    let null = std::ptr::null_mut();
    let [kh, kw] = geometry.kernel.map(of);
    let conv = abi::Conv {
        n: 0,
        h: 0,
        w: 0,
        c: of(geometry.c),
        oh: 0,
        ow: 0,
        oc: of(geometry.oc),
        kh,
        kw,
        stride_h: of(geometry.stride[0]),
        stride_w: of(geometry.stride[1]),
        pad_h: of(geometry.pad[0]),
        pad_w: of(geometry.pad[1]),
        dilation_h: of(geometry.dilation[0]),
        dilation_w: of(geometry.dilation[1]),
        groups: of(geometry.groups),
        x: null,
        x_n: 0,
        x_h: 0,
        x_w: 0,
        x_c: 1,
        y: null,
        y_n: 0,
        y_h: 0,
        y_w: 0,
        weight: null,
        packed: null,
        algorithm: match algorithm {
            Algorithm::Direct => conv::DIRECT,
            Algorithm::Winograd => conv::WINOGRAD,
            Algorithm::Winograd2x2 => conv::WINOGRAD_2X2,
        },
        pooled: 0,
        positions: null,
        positions_n: 0,
        positions_h: 0,
        positions_w: 0,
        many: geometry.is_of_many(direction).into(),
        epilogue: None,
        sums: std::ptr::null(),
    };
    let direction = match direction {
        Direction::Forward => conv::FORWARD,
        Direction::DataGrad => conv::DATA_GRAD,
        Direction::WeightGrad => unreachable!("no weight is read in this direction"),
    };
    conv::packed_len(&conv, direction)
}

pub(super) fn geometry(graph: &Graph, convolution: &Convolution, x: Value, y: Value) -> Geometry {
    let ([n, c, h, w], [_, oc, ..]) = (&graph.ty(x).shape[..], &graph.ty(y).shape[..]) else {
        panic!("maps have four axes: {convolution:?}")
    };
    let [oh, ow] = convolution.windows();
    let fixed = |dim: &Dim| dim.as_fixed().unwrap_or_else(|| panic!("channels are a constant, not {dim}"));
    Geometry {
        n: n.clone(),
        c: fixed(c),
        h: h.clone(),
        w: w.clone(),
        oc: fixed(oc),
        oh,
        ow,
        kernel: convolution.kernel,
        stride: convolution.stride,
        pad: convolution.pad,
        dilation: convolution.dilation,
        groups: convolution.groups,
    }
}

/// The call that adds rows into a table.
fn scatter_add(graph: &Graph, value: Value, [index, source]: [View; 2], table: View) -> Step {
    let node = graph.node(value);
    let fixed = |dim: &Dim| dim.as_fixed().unwrap_or_else(|| panic!("tables have fixed sizes, not {dim}"));
    let (table_rows, columns) = node.ty.shape.split_first().expect("tables have rows");
    let cols = fixed(&product(columns));
    let rows = graph.ty(node.args[0]).n_elements();
    let matrix = vec![Dim::fixed(cols), Dim::ONE];
    Step::ScatterAdd(ScatterAddCall {
        rows,
        cols,
        table_rows: fixed(table_rows),
        index: View { strides: vec![Dim::ONE], ..index },
        source: View { strides: matrix.clone(), ..source },
        table: View { strides: matrix, ..table },
    })
}
