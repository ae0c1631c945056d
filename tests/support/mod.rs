//! Evaluates a graph in every way there is, and compares.

use netc::graph::{Graph, OutputRole};
use netc::index::IndexVec;
use netc::interp::program::{Memory, prepare_program, run_program};
use netc::interp::{Precision, Scope, Tensor, eval};
use netc::kernel::Home;
use netc::memory;
use netc::ops::Source;
use netc::schedule::{Scheduled, SlotKind, schedule};
use netc::types::{ElementType, Extents, Symbol};
use netc_runtime::Pool;

/// Batch sizes and lengths, odd and small.
const SIZES: [(usize, usize); 4] = [(3, 5), (1, 4), (2, 7), (0, 5)];

/// Interpreter of the graph = interpreter of the program = machine code; and the memory plan is sound.
pub(crate) fn check(what: &str, graph: &Graph) {
    graph.verify();
    let scheduled = schedule(graph);
    scheduled.program.verify();
    let code = netc::codegen::compile(&scheduled.program, "test");
    let plan = memory::plan(&scheduled.program);
    for (batch, length) in SIZES {
        let mut extents = Extents::with_batch(batch);
        extents.set(Symbol::Axis("T".into()), length);
        let scope = Scope::new(extents.clone(), Precision::F64);
        let values = eval(graph, &|source| sample(source, &scope.extents), &scope);
        let expected = |role: OutputRole, name: &str| {
            let output = graph.outputs.iter().find(|output| output.role == role && output.name == name).unwrap();
            values[output.value].data.clone()
        };

        let placement = plan.place(&scheduled.program, &extents);
        let problems = memory::check::check(&scheduled.program, &placement, &extents);
        assert!(problems.is_empty(), "{what}, batch {batch}: {problems:#?}\n{}", scheduled.program);

        let mut memory = fresh(&scheduled, &extents);
        prepare_program(&scheduled.program, &mut memory, &extents, Precision::F64);
        run_program(&scheduled.program, &mut memory, &extents, Precision::F64);
        compare(&format!("{what}, program, batch {batch}"), graph, &scheduled, &memory, &expected, 1e-9);

        let mut memory = fresh(&scheduled, &extents);
        code.run_copied(&mut memory, &extents, &Pool::new(2));
        compare(&format!("{what}, code, batch {batch}"), graph, &scheduled, &memory, &expected, 2e-5);
    }
}

fn fresh(scheduled: &Scheduled, extents: &Extents) -> Memory {
    let mut memory: Memory = IndexVec::new();
    for (_, info) in scheduled.program.buffers.iter() {
        let n = info.len.eval(extents);
        let slot = match info.home {
            Home::External(slot) => Some(&scheduled.slots[slot]),
            Home::Workspace | Home::Prepared => None,
        };
        memory.push(match slot.map(|slot| (slot.kind, slot)) {
            Some((SlotKind::Source(role), slot)) => {
                let source = Source { role, name: slot.name.clone(), ty: slot.ty.clone() };
                sample(&source, extents).data
            }
            // What nobody has written must not be read.
            _ => vec![if info.element == ElementType::F32 { f64::NAN } else { 0.0 }; n],
        });
    }
    memory
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

/// Positive (for roots and logarithms), distinct within the reach of a window, different for each name.
fn sample(source: &Source, extents: &Extents) -> Tensor {
    let shape = source.ty.eval(extents);
    let seed: usize = source.name.bytes().map(usize::from).sum();
    let n = shape.iter().product();
    let data = match source.ty.element {
        ElementType::F32 => (0..n).map(|i: usize| 0.2 + ((i * 37 + seed * 11) % 101) as f64 * 0.017).collect(),
        ElementType::I32 => (0..n).map(|i: usize| ((i * 3 + seed) % 7) as f64 - 2.0).collect(),
    };
    Tensor::new(source.ty.element, &shape, data).map(|x| f64::from(x as f32))
}
