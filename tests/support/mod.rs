//! Evaluates a graph in every way there is, and compares.

use netc::codegen::{Vectors, compile_with};
use netc::graph::{Graph, OutputRole};
use netc::index::IndexVec;
use netc::interp::program::{Memory, prepare_program, run_program};
use netc::interp::{Precision, Scope, Tensor, eval};
use netc::kernel::Home;
use netc::memory;
use netc::ops::Source;
use netc::schedule::{Scheduled, SlotKind};
use netc::types::{ElementType, Extents, Symbol};
use netc_runtime::Pool;

/// Of the largest element: both run in `f64`, but sums may be taken in another order.
const PROGRAM_TOLERANCE: f64 = 1e-9;

/// A graph, what it was scheduled as, and the values to try it with.
pub(crate) struct Case<'a> {
    /// For messages.
    pub(crate) what: &'a str,
    pub(crate) graph: &'a Graph,
    /// Of the graph, or of an equal one.
    pub(crate) scheduled: &'a Scheduled,
    /// Batch sizes and lengths of the axis `T`.
    pub(crate) sizes: &'a [(usize, usize)],
    pub(crate) sample: &'a dyn Fn(&Source, &Extents) -> Tensor,
    /// Of machine code, which computes in `f32`: a part of the largest element.
    pub(crate) tolerance: f64,
}

impl Case<'_> {
    /// Interpreter of the graph = interpreter of the program = machine code; and the memory plan is sound.
    pub(crate) fn check(&self) {
        let Case { what, graph, scheduled, sizes, sample, tolerance } = *self;
        graph.verify();
        scheduled.program.verify();
        let codes = [Vectors::Narrow, Vectors::Wide, Vectors::Widest]
            .map(|vectors| (vectors, compile_with(&scheduled.program, "test", vectors)));
        let plan = memory::plan(&scheduled.program);
        for &(batch, length) in sizes {
            let mut extents = Extents::with_batch(batch);
            for axis in ["T", "S", "U"] {
                extents.set(Symbol::Axis(axis.into()), length);
            }
            let scope = Scope::new(extents.clone(), Precision::F64);
            let values = eval(graph, &|source| sample(source, &scope.extents), &scope);
            let expected = |role: OutputRole, name: &str| {
                let output = graph.outputs.iter().find(|output| output.role == role && output.name == name).unwrap();
                values[output.value].data.clone()
            };

            let placement = plan.place(&scheduled.program, &extents);
            let problems = memory::check::check(&scheduled.program, &placement, &extents);
            let at = format!("B = {batch}, T = {length}");
            assert!(problems.is_empty(), "{what}, {at}: {problems:#?}\n{}", scheduled.program);

            let mut memory = self.fresh(&extents);
            prepare_program(&scheduled.program, &mut memory, &extents, Precision::F64);
            run_program(&scheduled.program, &mut memory, &extents, Precision::F64);
            compare(&format!("{what}, program, {at}"), graph, scheduled, &memory, &expected, PROGRAM_TOLERANCE);

            for (vectors, code) in &codes {
                let mut memory = self.fresh(&extents);
                code.run_copied(&mut memory, &extents, &Pool::new(2));
                compare(&format!("{what}, {vectors:?} code, {at}"), graph, scheduled, &memory, &expected, tolerance);
            }
        }
    }

    fn fresh(&self, extents: &Extents) -> Memory {
        let mut memory: Memory = IndexVec::new();
        for (_, info) in self.scheduled.program.buffers.iter() {
            let n = info.len.eval(extents);
            let slot = match info.home {
                Home::External(slot) => Some(&self.scheduled.slots[slot]),
                Home::Workspace | Home::Prepared | Home::Slice { .. } => None,
            };
            memory.push(match slot.map(|slot| (slot.kind, slot)) {
                Some((SlotKind::Source(role), slot)) => {
                    let source = Source { role, name: slot.name.clone(), ty: slot.ty.clone() };
                    (self.sample)(&source, extents).data
                }
                // What nobody has written must not be read.
                _ => vec![if info.element == ElementType::F32 { f64::NAN } else { 0.0 }; n],
            });
        }
        memory
    }
}

fn compare(
    what: &str,
    graph: &Graph,
    scheduled: &Scheduled,
    memory: &Memory,
    expected: &dyn Fn(OutputRole, &str) -> Vec<f64>,
    tolerance: f64,
) {
    for output in &graph.outputs {
        let slot = scheduled.slots.iter().find(|slot| match slot.kind {
            SlotKind::Output(role) => role == output.role && slot.name == output.name,
            SlotKind::Source(_) => output.role == OutputRole::Update && slot.name == output.name,
        });
        let actual = &memory[slot.expect("every output has a slot").buffer];
        let expected = expected(output.role, &output.name);
        assert_eq!(actual.len(), expected.len(), "{what}: {}", output.name);
        let scale = expected.iter().fold(1.0f64, |max, x| max.max(x.abs()));
        for (i, (a, b)) in actual.iter().zip(&expected).enumerate() {
            let close = (a - b).abs() <= tolerance * scale || a == b || a.is_nan() && b.is_nan();
            assert!(close, "{what}: {}[{i}] is {a}, not {b}\n{graph}\n{}", output.name, scheduled.program);
        }
    }
}
