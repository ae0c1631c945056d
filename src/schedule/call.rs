//! Library calls: contractions with their operands' views, packed weights and epilogues.

use netc_runtime::abi;
use netc_runtime::kernels::conv;

use super::storage::Storage;
use crate::graph::{Graph, Value};
use crate::kernel::{
    Algorithm, BufferInfo, ConvCall, Direction, Geometry, Home, Kernel, MatMulCall, PackCall, Program, ScatterAddCall,
    Step, View,
};
use crate::ops::{Convolution, Op};
use crate::types::{Dim, ElementType};

/// The call that computes a matrix product or a convolution.
pub(super) fn contraction(
    graph: &Graph,
    storage: &Storage,
    value: Value,
    epilogue: Option<Kernel>,
    prepared: bool,
    program: &mut Program,
) -> Vec<Step> {
    let node = graph.node(value);
    let [a, b] = node.args[..] else { panic!("a contraction takes two arguments: {node:?}") };
    match &node.op {
        Op::MatMul(matmul) => {
            let [m, n] = &node.ty.shape[..] else { panic!("a product is a matrix: {node:?}") };
            let k = graph.ty(a).shape[usize::from(!matmul.transpose[0])].clone();
            let operand = |value: Value, transpose: bool| {
                let mut view = storage.operand(value).clone();
                if transpose {
                    view.strides.swap(0, 1);
                }
                view
            };
            let (a, b) = (operand(a, matmul.transpose[0]), operand(b, matmul.transpose[1]));
            let c = storage.operand(value).clone();
            vec![Step::MatMul(MatMulCall { m: m.clone(), n: n.clone(), k, a, b, c, epilogue })]
        }
        Op::Convolution(convolution) => {
            let view = |value: Value| storage.operand(value).clone();
            let (x, y, weight) = match convolution.direction {
                Direction::Forward => (a, value, b),
                Direction::DataGrad => (value, a, b),
                Direction::WeightGrad => (a, b, value),
            };
            let geometry = geometry(graph, convolution, x, y);
            let direction = convolution.direction;
            let algorithm = algorithm(&geometry);
            // Parameters that stay are packed once.
            let is_fixed = !prepared && program_prepares(graph, weight) && direction != Direction::WeightGrad;
            let packed = is_fixed.then(|| pack(program, direction, &geometry, algorithm, view(weight)));
            vec![Step::Conv(ConvCall {
                direction,
                geometry,
                algorithm,
                x: view(x),
                y: view(y),
                weight: view(weight),
                packed,
                epilogue,
            })]
        }
        op => panic!("not a contraction: {op:?}"),
    }
}

/// Whether a weight is a parameter that this entry never changes.
fn program_prepares(graph: &Graph, weight: Value) -> bool {
    use crate::graph::OutputRole;
    use crate::ops::Role;
    let trains = graph.outputs.iter().any(|output| matches!(output.role, OutputRole::Update | OutputRole::Gradient));
    !trains && matches!(&graph.node(weight).op, Op::Source(source) if source.role == Role::Param)
}

/// The algorithm with the least cost.
fn algorithm(_geometry: &Geometry) -> Algorithm {
    Algorithm::Direct
}

/// The packed weight's buffer; the same weight is packed once.
fn pack(
    program: &mut Program,
    direction: Direction,
    geometry: &Geometry,
    algorithm: Algorithm,
    weight: View,
) -> crate::kernel::Buffer {
    // What is packed does not depend on the batch or the size of the map.
    let key = |geometry: &Geometry| {
        let Geometry { c, oc, kernel, stride, pad, dilation, groups, .. } = geometry;
        [vec![*c, *oc, *groups], [*kernel, *stride, *pad, *dilation].concat()].concat()
    };
    let known = program.prepare.iter().find_map(|step| match step {
        Step::Pack(call) => {
            let same = call.weight == weight && call.direction == direction && call.algorithm == algorithm;
            (same && key(&call.geometry) == key(geometry)).then_some(call.packed)
        }
        _ => None,
    });
    if let Some(packed) = known {
        return packed;
    }
    let name = format!("{} (packed)", program.buffers[weight.buffer].name);
    let len = packed_len(direction, algorithm, geometry);
    let info = BufferInfo { name, element: ElementType::F32, len: Dim::fixed(len), home: Home::Prepared };
    let packed = program.buffers.push(info);
    program.prepare.push(Step::Pack(PackCall { direction, geometry: geometry.clone(), algorithm, weight, packed }));
    packed
}

/// How many floats the runtime's packing takes.
fn packed_len(direction: Direction, algorithm: Algorithm, geometry: &Geometry) -> usize {
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
        },
        epilogue: None,
    };
    let direction = match direction {
        Direction::Forward => conv::FORWARD,
        Direction::DataGrad => conv::DATA_GRAD,
        Direction::WeightGrad => unreachable!("no weight is read in this direction"),
    };
    conv::packed_len(&conv, direction)
}

fn geometry(graph: &Graph, convolution: &Convolution, x: Value, y: Value) -> Geometry {
    let ([n, c, h, w], [_, oc, oh, ow]) = (&graph.ty(x).shape[..], &graph.ty(y).shape[..]) else {
        panic!("maps have four axes: {convolution:?}")
    };
    let fixed = |dim: &Dim| dim.as_fixed().unwrap_or_else(|| panic!("channels are a constant, not {dim}"));
    Geometry {
        n: n.clone(),
        c: fixed(c),
        h: h.clone(),
        w: w.clone(),
        oc: fixed(oc),
        oh: oh.clone(),
        ow: ow.clone(),
        kernel: convolution.kernel,
        stride: convolution.stride,
        pad: convolution.pad,
        dilation: convolution.dilation,
        groups: convolution.groups,
    }
}

/// The call that adds rows into a table.
pub(super) fn scatter_add(graph: &Graph, storage: &Storage, value: Value) -> Step {
    let node = graph.node(value);
    let [index, source] = node.args[..] else { panic!("a scatter takes two arguments: {node:?}") };
    let fixed = |dim: &Dim| dim.as_fixed().unwrap_or_else(|| panic!("tables have fixed sizes, not {dim}"));
    let [table_rows, cols] = &node.ty.shape[..] else { panic!("tables are matrices: {node:?}") };
    Step::ScatterAdd(ScatterAddCall {
        rows: graph.ty(index).n_elements(),
        cols: fixed(cols),
        table_rows: fixed(table_rows),
        index: storage.operand(index).clone(),
        source: storage.operand(source).clone(),
        table: storage.operand(value).clone(),
    })
}
