//! Machine code of all functions of a program: the slow part of compiling, on several threads.

use std::cmp::Reverse;
use std::num::NonZero;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use cranelift_codegen::Context;
use cranelift_codegen::ir::Function;
use cranelift_codegen::isa::TargetIsa;
use cranelift_module::{FuncId, Module, ModuleReloc};

use super::emit::{Code, Definition};
use super::wide;

/// So many functions are worth more than one thread that helps.
const MANY: usize = 16;

/// Cranelift's code of a function.
struct Compiled {
    alignment: u64,
    bytes: Vec<u8>,
    relocations: Vec<ModuleReloc>,
}

/// Makes machine code of all definitions, for a machine that may be another than the module's of the same family; that of drivers for
/// the same machine as `brief` has it.
///
/// # Panics
/// When Cranelift refuses a function: that is our bug.
pub(super) fn define(module: &mut dyn Module, [isa, brief]: [&dyn TargetIsa; 2], definitions: Vec<Definition>) {
    let compiled: Vec<OnceLock<Compiled>> = definitions.iter().map(|_| OnceLock::new()).collect();
    // The longest ones first, so that threads end together.
    let functions = definitions.iter().enumerate().filter_map(|(at, definition)| match &definition.code {
        Code::Cranelift(function) => Some((at, isa, definition, &**function)),
        Code::Driver(function) => Some((at, brief, definition, &**function)),
        Code::Wide(_) => None,
    });
    let mut functions: Vec<_> = functions.collect();
    functions.sort_by_key(|(.., function)| Reverse(function.dfg.num_insts()));
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(&(at, isa, definition, function)) = functions.get(next.fetch_add(1, Ordering::Relaxed)) {
            let code = compile(isa, definition.id, &definition.name, function);
            assert!(compiled[at].set(code).is_ok(), "each function is compiled once");
        }
    };
    let helpers = match functions.len() {
        0 | 1 => 0,
        2..MANY => 1,
        _ => std::thread::available_parallelism().map_or(0, NonZero::get).saturating_sub(1),
    };
    std::thread::scope(|scope| {
        for _ in 0..helpers {
            // Without the helper it takes longer.
            let _ = std::thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    for (Definition { id, name, code }, compiled) in definitions.iter().zip(compiled) {
        let defined = match (code, compiled.into_inner()) {
            (_, Some(Compiled { alignment, bytes, relocations })) => {
                module.define_function_bytes(*id, alignment, &bytes, &relocations)
            }
            (Code::Wide(code), None) => module.define_function_bytes(*id, wide::ALIGNMENT, &code.bytes, &[]),
            (Code::Cranelift(_) | Code::Driver(_), None) => panic!("`{name}` has not been compiled"),
        };
        defined.unwrap_or_else(|error| panic!("`{name}`: {error:?}"));
    }
}

fn compile(isa: &dyn TargetIsa, id: FuncId, name: &str, function: &Function) -> Compiled {
    let mut context = Context::for_function(function.clone());
    let compiled = context.compile(isa, &mut Default::default());
    let compiled = compiled.unwrap_or_else(|error| panic!("`{name}`: {error:?}\n{function}"));
    let (alignment, bytes) = (u64::from(compiled.buffer.alignment), compiled.code_buffer().to_vec());
    let relocations = compiled.buffer.relocs().to_vec();
    let of = |relocation| ModuleReloc::from_mach_reloc(relocation, &context.func, id);
    Compiled { alignment, bytes, relocations: relocations.iter().map(of).collect() }
}
