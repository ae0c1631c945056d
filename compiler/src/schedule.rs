//! Graph -> Program: what is stored, what is inlined, which algorithm runs, how memory is laid out.
//!
//! Only this pass decides those. In order: which sums are taken in two steps (`divide`), which convolutions keep the largest of
//! neighbors alone (`pool`), which maps of the caller's are turned to have their channels innermost (`turn`), what is stored
//! (`roots`), memory layout (`order`), which contraction carries which elementwise tail (`fusion`), where everything lies
//! (`storage`), then one step for each root (`emit`). Those come first that need nothing but the caller's memory and leave a
//! number (`counts`), and what sums a map over its pixels goes with the convolution that computes it (`sums`). One step of a
//! recurrence is scheduled in the same way (`recurrence`). Products that it alone reads are computed ahead of its steps, some at a
//! time (`ahead`), and its states are stored where the caller wants them (`results`); what is only added to a product ahead is
//! added by the step's product (`onto`). Matrices that were put together to be packed are packed from their pieces (`pieces`).
//! Where members of the batch have nothing to do with each other in it, threads share it by members (`apart`), and two of a stack
//! may go side by side (`beside`). Updates of parameters move to where their gradients are known (`update`). At last loop nests over
//! the same rows become one (`rows`), with as few loops within as they need (`together`), and those that turn memory round go in
//! strips (`transpose`).

mod ahead;
mod algorithm;
mod apart;
mod beside;
mod call;
mod collapse;
mod copy;
mod counts;
mod divide;
mod emit;
mod fusion;
mod in_place;
mod lowering;
mod merge;
mod onto;
mod order;
mod pieces;
mod pool;
mod recurrence;
mod results;
mod roots;
mod rows;
mod split;
mod step;
mod storage;
mod stream;
mod sums;
mod together;
mod transpose;
mod turn;
mod update;
mod view;

pub use algorithm::Algorithms;
pub use lowering::Lowering;

use crate::graph::{Graph, OutputRole, Value};
use crate::index::IndexVec;
use crate::kernel::{Buffer, Program, Step};
use crate::ops::Role;
use crate::types::TensorType;
use order::Order;
use roots::Roots;
use storage::Interface;

/// A program and the memory it expects its caller to bring.
#[derive(Debug, Clone)]
pub struct Scheduled {
    pub program: Program,
    /// By the number in [`Home::External`](crate::kernel::Home::External).
    pub slots: Vec<Slot>,
}

/// One buffer of the caller's: row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    pub kind: SlotKind,
    pub name: String,
    pub ty: TensorType,
    pub buffer: Buffer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotKind {
    /// Read; and written in place when the entry updates it.
    Source(Role),
    /// Written.
    Output(OutputRole),
}

impl SlotKind {
    /// Whether it lasts from call to call, and a call may change it.
    fn is_kept(self) -> bool {
        matches!(self, SlotKind::Source(Role::Param | Role::State | Role::Moment))
    }
}

/// Schedules one entry, each convolution by the algorithm that costs least.
pub fn schedule(graph: &Graph) -> Scheduled {
    schedule_with(graph, &Algorithms::default())
}

/// Schedules one entry, with algorithms that are asked for.
pub fn schedule_with(graph: &Graph, algorithms: &Algorithms) -> Scheduled {
    let graph = turn::inputs(&pool::into_convolutions(&divide::reductions(graph), algorithms));
    let mut roots = roots::choose(&graph);
    let orders = order::choose(&graph, &roots.live);
    let mut program = Program::default();
    let (interface, slots) = storage::external(&graph, &roots, &mut program);
    let manner = Manner { algorithms, collapses: true };
    let steps = steps(&graph, &mut roots, &orders, interface, manner, &mut program);
    program.steps = steps;
    counts::first(&mut program.steps);
    sums::of_convolutions(&mut program);
    for steps in [&mut program.prepare, &mut program.steps] {
        merge::siblings(steps);
    }
    let trains = roots::trains(&graph);
    let is_parameter =
        |buffer: Buffer| slots.iter().any(|slot| slot.buffer == buffer && slot.kind == SlotKind::Source(Role::Param));
    results::of_scans(&mut program);
    ahead::of_scans(&mut program, |buffer| !trains && is_parameter(buffer), algorithms.shortcuts());
    let is_kept = |buffer: Buffer| slots.iter().any(|slot| slot.buffer == buffer && slot.kind.is_kept());
    onto::of_scans(&mut program);
    update::early(&mut program, is_kept);
    update::by_rows(&mut program);
    pieces::of_packing(&mut program);
    split::results(&mut program);
    apart::of_scans(&mut program);
    beside::of_scans(&mut program);
    stream::of_scans(&mut program);
    rows::of_program(&mut program);
    for steps in [&mut program.prepare, &mut program.steps] {
        transpose::in_strips(steps);
    }
    emit::declare_symbols(&mut program);
    if cfg!(debug_assertions) {
        program.verify();
    }
    Scheduled { program, slots }
}

/// How steps are made of roots.
#[derive(Debug, Clone, Copy)]
struct Manner<'a> {
    algorithms: &'a Algorithms,
    /// Whether loops over memory that lies together become one.
    collapses: bool,
}

/// The steps of a graph, or of one step of a recurrence, between sources and outputs that lie where `interface` says.
fn steps(
    graph: &Graph,
    roots: &mut Roots,
    orders: &IndexVec<Value, Order>,
    interface: Interface,
    manner: Manner<'_>,
    program: &mut Program,
) -> Vec<Step> {
    let fusion = fusion::choose(graph, roots, orders);
    let storage = storage::assign(graph, roots, orders, &fusion, interface, program);
    emit::steps(graph, roots, orders, &fusion, &storage, manner, program)
}
