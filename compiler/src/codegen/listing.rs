//! Code as text and in numbers, for people and tests: nothing here is run.

use cranelift_codegen::Context;
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::Module;
use cranelift_object::{ObjectBuilder, ObjectModule};

use super::emit::{Code, Definition, Vectors, emit, emit_listed};
use super::isa::{self, Target};
use super::jit::{best_vectors, new_module};
use crate::kernel::Program;

/// The program as Cranelift's intermediate text: all of it, also where our own emitter makes the code.
pub fn clif(program: &Program, name: &str) -> String {
    let (_, definitions) = emit(program, name, &mut new_module(isa::host()), Vectors::Narrow);
    definitions.iter().map(|definition| definition.to_string()).collect()
}

/// As [`clif`], for a processor that has nothing but what most of this machine's kind have.
pub fn clif_for_any(program: &Program, name: &str) -> String {
    let builder = JITBuilder::with_isa(isa::plain(), cranelift_module::default_libcall_names());
    let (_, definitions) = emit_listed(program, name, &mut JITModule::new(builder), Vectors::Wide);
    definitions.iter().map(|definition| definition.to_string()).collect()
}

/// The program as this machine's assembly.
///
/// # Panics
/// When Cranelift refuses what was emitted.
pub fn asm(program: &Program, name: &str) -> String {
    asm_with(program, name, best_vectors())
}

/// As [`asm`], with kernels made by whom the caller says.
///
/// # Panics
/// As [`asm`].
pub fn asm_with(program: &Program, name: &str, vectors: Vectors) -> String {
    let (mut module, brief) = (new_module(isa::host()), isa::host_in_brief());
    let (_, definitions) = emit_listed(program, name, &mut module, vectors);
    let mut text = String::new();
    for definition in definitions {
        let name = definition.name.clone();
        let (isa, function) = match definition.code {
            Code::Cranelift(function) => (module.isa(), function),
            Code::Driver(function) => (&*brief, function),
            Code::Wide(_) => {
                text += &definition.to_string();
                continue;
            }
        };
        let mut context = Context::for_function(*function);
        context.set_disasm(true);
        let compiled = context.compile(isa, &mut Default::default());
        let compiled = compiled.unwrap_or_else(|error| panic!("`{name}`: {error:?}"));
        text += &format!("; {name}\n{}\n", compiled.vcode.as_deref().unwrap_or_default());
    }
    text
}

/// Bytes of the program's machine code, as code to ship has it for the target's most able processors.
///
/// # Panics
/// When Cranelift refuses what was emitted.
pub fn code_bytes(program: &Program, name: &str, target: Target) -> usize {
    let isa = isa::of(target, if target.is_x86() { isa::AVX2 } else { &[] });
    let builder = ObjectBuilder::new(isa.clone(), "netc", cranelift_module::default_libcall_names());
    let mut module = ObjectModule::new(builder.unwrap_or_else(|error| panic!("{target}: {error}")));
    let (_, definitions) = emit(program, name, &mut module, Vectors::Wide);
    let bytes = definitions.into_iter().map(|Definition { name, code, .. }| match code {
        Code::Wide(code) => code.bytes.len(),
        Code::Cranelift(function) | Code::Driver(function) => {
            let mut context = Context::for_function(*function);
            let compiled = context.compile(&*isa, &mut Default::default());
            compiled.unwrap_or_else(|error| panic!("`{name}`: {error:?}")).code_buffer().len()
        }
    });
    bytes.sum()
}
