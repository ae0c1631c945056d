//! What an object file says of its network: entries lowered, and everything that a caller needs to fill their frames.

use std::collections::BTreeMap;

use netc_runtime::artifact::description::{
    Algorithm, Buffer, Call, Description, Direction, Element, Entry, Geometry, Home, Initial, Keeping, Output, Port,
    Role, Size, Slot, Source, Symbol, Task, Tensor, VERSION,
};

use crate::entries;
use crate::graph::{Graph, OutputRole};
use crate::index::Id;
use crate::kernel::{self, Program, Step};
use crate::memory::Plan;
use crate::network::{self, LEARNING_RATE, Network};
use crate::ops::Role as SourceRole;
use crate::pipeline::{self, Variant, lower};
use crate::schedule::{self, Scheduled, SlotKind};
use crate::types::{self, Dim, ElementType, Extents, TensorType};

/// An entry of the network, ready for machine code.
#[derive(Debug)]
pub(super) struct Lowered {
    pub(super) variant: Variant,
    pub(super) scheduled: Scheduled,
    plan: Plan,
}

/// Lowers each variant.
pub(super) fn lower_all(network: &Network, variants: Vec<Variant>) -> Vec<Lowered> {
    let lowered = variants.into_iter().map(|variant| {
        let (scheduled, plan) = lower(network, variant.clone(), &mut ());
        Lowered { variant, scheduled, plan }
    });
    lowered.collect()
}

/// Describes a network and its entries.
pub(super) fn describe(network: &Network, lowered: &[Lowered]) -> Description {
    let mut cx = Cx {
        network,
        symbols: Symbols::new(network),
        first: entries::first_states(network).unwrap_or_default(),
        results: Vec::new(),
        tensors: Vec::new(),
    };
    cx.add_results(&network.inference);
    cx.add_tensors();
    let entries: Vec<Entry> = lowered.iter().map(|lowered| cx.entry(lowered)).collect();
    let ports = network.ports.iter().map(|port| cx.port(port)).collect();
    let takes_steps = lowered.iter().any(|lowered| lowered.variant.entry == pipeline::Entry::Step);
    Description {
        version: VERSION,
        name: network.name.clone(),
        axes: network.axes.clone(),
        ports,
        entries,
        learning_rate: network.settings.optimizer.lr(),
        seed: network.settings.seed,
        stepped: if takes_steps { stepped(network) } else { Vec::new() },
        results: cx.results,
        tensors: cx.tensors,
        symbols: cx.symbols.described,
    }
}

/// The inputs that have the axis of single steps.
fn stepped(network: &Network) -> Vec<u32> {
    let axis = entries::step_axis(network).map(|axis| types::Symbol::Axis(axis.as_str().into()));
    let Ok(axis) = axis else { return Vec::new() };
    let has_axis = |port: &network::Port| port.ty.shape.iter().any(|dim| dim.symbols().contains(&axis));
    let inputs = network.ports.iter().enumerate().filter(|(_, port)| !port.is_target && has_axis(port));
    inputs.map(|(index, _)| index as u32).collect()
}

/// The named sizes so far: the batch, the axes, and what derives from them.
struct Symbols {
    axes: Vec<String>,
    known: Vec<types::Symbol>,
    described: Vec<Symbol>,
}

impl Symbols {
    fn new(network: &Network) -> Self {
        let mut symbols = Symbols { axes: network.axes.clone(), known: Vec::new(), described: Vec::new() };
        symbols.number(&types::Symbol::Batch);
        for axis in &network.axes {
            symbols.number(&types::Symbol::Axis(axis.as_str().into()));
        }
        symbols
    }
    fn number(&mut self, symbol: &types::Symbol) -> u32 {
        if let Some(at) = self.known.iter().position(|known| known == symbol) {
            return at as u32;
        }
        let described = match symbol {
            types::Symbol::Batch => Symbol::Batch,
            types::Symbol::Axis(name) => {
                let index = self.axes.iter().position(|axis| **axis == **name);
                Symbol::Axis { index: index.unwrap_or_else(|| panic!("`{name}` is no axis of the network")) as u32 }
            }
            types::Symbol::Derived(derived) => {
                Symbol::Derived { of: self.size(&derived.of), add: derived.add, div: derived.div }
            }
        };
        self.known.push(symbol.clone());
        self.described.push(described);
        self.known.len() as u32 - 1
    }
    fn size(&mut self, dim: &Dim) -> Size {
        let symbols = dim.symbols().iter().map(|symbol| self.number(symbol)).collect();
        Size { factor: dim.factor() as u64, symbols }
    }
    fn shape(&mut self, shape: &[Dim]) -> Vec<Size> {
        shape.iter().map(|dim| self.size(dim)).collect()
    }
}

struct Cx<'a> {
    network: &'a Network,
    symbols: Symbols,
    /// What carried recurrences begin with.
    first: BTreeMap<String, entries::FirstState>,
    results: Vec<Output>,
    tensors: Vec<Tensor>,
}

impl Cx<'_> {
    fn port(&mut self, port: &network::Port) -> Port {
        Port {
            name: port.name.clone(),
            is_target: port.is_target,
            element: element(&port.ty),
            shape: self.symbols.shape(&port.ty.shape),
            vocabulary: port.vocabulary.map(|n| n as u64),
        }
    }

    /// The network's outputs, its loss and its metrics.
    fn add_results(&mut self, graph: &Graph) {
        for wanted in [OutputRole::Output, OutputRole::Loss, OutputRole::Metric] {
            for output in graph.outputs.iter().filter(|output| output.role == wanted) {
                self.result(output.role, &output.name, graph.ty(output.value));
            }
        }
    }
    /// The number of a result, which is new for what training alone tells.
    fn result(&mut self, role: OutputRole, name: &str, ty: &TensorType) -> u32 {
        let role = match role {
            OutputRole::Output => Role::Output,
            OutputRole::Loss => Role::Loss,
            OutputRole::Metric => Role::Metric,
            OutputRole::Gradient | OutputRole::Update => panic!("`{name}` is no result of an artifact: {role:?}"),
        };
        let known = self.results.iter().position(|known| known.role == role && known.name == name);
        let index = known.unwrap_or_else(|| {
            let shape = self.symbols.shape(&ty.shape);
            self.results.push(Output { name: name.to_owned(), role, element: element(ty), shape });
            self.results.len() - 1
        });
        index as u32
    }

    fn add_tensors(&mut self) {
        for parameter in &self.network.parameters {
            self.tensors.push(Tensor {
                path: parameter.path.clone(),
                keeping: Keeping::Parameter,
                shape: parameter.shape.iter().map(|&n| n as u64).collect(),
                initial: parameter.initial.clone(),
            });
        }
        for state in &self.network.states {
            self.tensors.push(Tensor {
                path: state.path.clone(),
                keeping: Keeping::State,
                shape: state.shape.iter().map(|&n| n as u64).collect(),
                initial: Initial::Constant { value: state.initial },
            });
        }
    }
    fn tensor(&self, path: &str) -> Option<u32> {
        self.tensors.iter().position(|tensor| tensor.path == path).map(|at| at as u32)
    }
    /// The number of a moment, which is new when the first entry that trains has it.
    fn moment(&mut self, slot: &schedule::Slot) -> u32 {
        self.tensor(&slot.name).unwrap_or_else(|| {
            self.tensors.push(Tensor {
                path: slot.name.clone(),
                keeping: Keeping::Moment,
                shape: slot.ty.eval(&Extents::default()).iter().map(|&n| n as u64).collect(),
                initial: Initial::Constant { value: 0.0 },
            });
            self.tensors.len() as u32 - 1
        })
    }

    fn entry(&mut self, lowered: &Lowered) -> Entry {
        let program = &lowered.scheduled.program;
        let symbols = program.symbols.iter().map(|symbol| self.symbols.number(symbol)).collect();
        let buffers = program.buffers.iter().map(|(buffer, info)| {
            let home = match info.home {
                kernel::Home::External(_) => Home::Slot,
                kernel::Home::Prepared => Home::Prepared,
                kernel::Home::Slice { .. } => Home::Slice,
                kernel::Home::Workspace => match lowered.plan.lifetimes[buffer] {
                    Some(life) => Home::Workspace { first: life.first as u32, last: life.last as u32 },
                    None => Home::Unused,
                },
            };
            Buffer { len: self.symbols.size(&info.len), home }
        });
        let buffers = buffers.collect();
        let slots = lowered.scheduled.slots.iter().map(|slot| self.slot(slot)).collect();
        Entry {
            task: match lowered.variant.entry {
                pipeline::Entry::Forward => Task::Forward,
                pipeline::Entry::Evaluate => Task::Evaluate,
                pipeline::Entry::TrainStep => Task::TrainStep,
                pipeline::Entry::Begin => Task::Begin,
                pipeline::Entry::Step => Task::Step,
                entry @ (pipeline::Entry::Gradients
                | pipeline::Entry::Flow
                | pipeline::Entry::Backward
                | pipeline::Entry::Apply) => panic!("no artifact has {entry:?}"),
            },
            masked: lowered.variant.masked,
            carried: lowered.variant.carried,
            symbols,
            buffers,
            slots,
            prepares: !program.prepare.is_empty(),
            prepared_rows: program.prepared_rows().into_iter().map(|rows| self.symbols.size(rows)).collect(),
            calls: self.calls(program),
        }
    }

    fn slot(&mut self, slot: &schedule::Slot) -> Slot {
        let source = match slot.kind {
            SlotKind::Source(SourceRole::Input | SourceRole::Target) => self.caller(slot),
            SlotKind::Source(SourceRole::Key) => Source::Key,
            SlotKind::Source(SourceRole::Rate) if slot.name == LEARNING_RATE => Source::LearningRate,
            SlotKind::Source(SourceRole::Rate) => Source::StepNumber,
            SlotKind::Source(SourceRole::Moment) => Source::Tensor { index: self.moment(slot) },
            SlotKind::Source(SourceRole::Param | SourceRole::State | SourceRole::Carry) => {
                match self.tensor(&slot.name) {
                    Some(index) => Source::Tensor { index },
                    None => {
                        let first = self.first.get(&slot.name).map_or(0.0, |first| first.value as f32);
                        Source::Recurrent { name: slot.name.clone(), first }
                    }
                }
            }
            SlotKind::Source(role @ (SourceRole::Mask | SourceRole::Local)) => {
                unreachable!("nobody sets the {role:?} `{}`", slot.name)
            }
            SlotKind::Output(role) => Source::Result { index: self.result(role, &slot.name, &slot.ty) },
        };
        let shape = self.symbols.shape(&slot.ty.shape);
        Slot { buffer: slot.buffer.index() as u32, source, element: element(&slot.ty), shape }
    }
    /// An array of the caller's: a port's, or the lengths along an axis.
    fn caller(&self, slot: &schedule::Slot) -> Source {
        if let Some(port) = self.network.ports.iter().position(|port| port.name == slot.name) {
            return Source::Port { index: port as u32 };
        }
        let axis = self.network.axes.iter().position(|axis| *axis == slot.name);
        Source::Lengths { axis: axis.unwrap_or_else(|| panic!("`{}` is no input and no axis", slot.name)) as u32 }
    }

    fn calls(&mut self, program: &Program) -> Vec<Call> {
        let mut calls = Vec::new();
        program.all_steps().for_each(|step| self.add_calls(step, &mut calls));
        calls
    }
    fn add_calls(&mut self, step: &Step, calls: &mut Vec<Call>) {
        match step {
            Step::Loop(_) | Step::Pack(_) | Step::PackMatrix(_) | Step::ScatterAdd(_) => {}
            Step::Scan(scan) => {
                scan.start.iter().chain(&scan.finish).for_each(|step| self.add_calls(step, calls));
                let first = calls.len();
                scan.body.iter().for_each(|step| self.add_calls(step, calls));
                // A round has the rows of all steps at most.
                for step in &scan.ahead {
                    let Step::MatMul(call) = step else { panic!("products alone are computed ahead: {step}") };
                    let call = kernel::MatMulCall { m: call.m.times(&scan.length), ..call.clone() };
                    self.add_calls(&Step::MatMul(call), calls);
                }
                if let Some([ahead, own]) = scan.joined() {
                    let steps = ahead.k.as_fixed().zip(own.k.as_fixed()).map_or(0, |(a, b)| a.saturating_add(b));
                    let call = kernel::MatMulCall { k: Dim::fixed(steps), ..own.clone() };
                    self.add_calls(&Step::MatMul(call), calls);
                }
                // A thread may make such a call within a chunk, as it may those of a batch.
                for call in calls[first..].iter_mut().filter(|_| scan.members.is_some()) {
                    if let Call::MatMul { batch, .. } = call {
                        *batch = self.symbols.size(&Dim::fixed(2));
                    }
                }
            }
            Step::MatMul(call) => {
                let [batch, m, n, k] = [&call.batch, &call.m, &call.n, &call.k].map(|dim| self.symbols.size(dim));
                let (groups, is_packed) = (call.groups as u64, call.packed.is_some());
                calls.push(Call::MatMul { batch, m, n, k, groups, is_packed });
            }
            Step::Conv(call) => calls.push(Call::Conv {
                direction: match call.direction {
                    kernel::Direction::Forward => Direction::Forward,
                    kernel::Direction::DataGrad => Direction::DataGrad,
                    kernel::Direction::WeightGrad => Direction::WeightGrad,
                },
                geometry: self.geometry(&call.geometry, call.direction, call.x.strides[1] == Dim::ONE),
                algorithm: match call.algorithm {
                    kernel::Algorithm::Direct => Algorithm::Direct,
                    kernel::Algorithm::Winograd => Algorithm::Winograd,
                    kernel::Algorithm::Winograd2x2 => Algorithm::Winograd2x2,
                },
                is_packed: call.packed.is_some(),
                sums: call.sums.as_ref().map_or(0, |sums| sums.rows() as u64),
            }),
        }
    }
    fn geometry(&mut self, geometry: &kernel::Geometry, direction: kernel::Direction, adjacent: bool) -> Geometry {
        let pair = |pair: [usize; 2]| pair.map(|n| n as u64).to_vec();
        let kernel::Geometry { n, c, h, w, oc, oh, ow, kernel, stride, pad, dilation, groups } = geometry;
        Geometry {
            n: self.symbols.size(n),
            c: *c as u64,
            h: self.symbols.size(h),
            w: self.symbols.size(w),
            oc: *oc as u64,
            oh: self.symbols.size(oh),
            ow: self.symbols.size(ow),
            kernel: pair(*kernel),
            stride: pair(*stride),
            pad: pair(*pad),
            dilation: pair(*dilation),
            groups: *groups as u64,
            adjacent,
            many: geometry.is_of_many(direction),
        }
    }
}

fn element(ty: &TensorType) -> Element {
    match ty.element {
        ElementType::F32 => Element::F32,
        ElementType::I32 => Element::I32,
    }
}
