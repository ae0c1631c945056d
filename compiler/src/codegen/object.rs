//! Programs as an object file: machine code to be linked, with what describes it and the functions that C calls.

use std::mem::offset_of;

use cranelift_codegen::Context;
use cranelift_codegen::ir::{AbiParam, Function, InstBuilder, Type, UserFuncName, types};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{DataDescription, DataId, FuncId, Linkage, Module};
use cranelift_object::{ObjectBuilder, ObjectModule};
use netc_runtime::artifact::c::Machine;
use netc_runtime::artifact::raw::{Artifact, Functions, NEEDS_AVX2, NEEDS_NOTHING};

use super::define::define;
use super::emit::{Entry, Vectors, emit};
use super::isa::{self, Target};
use crate::kernel::Program;

/// What an object file holds.
#[derive(Debug)]
pub struct Contents<'a> {
    /// Of [`netc_runtime::artifact::description::Description::to_bytes`].
    pub description: Vec<u8>,
    /// The programs of the description's entries, in order, by names that differ.
    pub programs: Vec<(String, &'a Program)>,
    /// As safetensors.
    pub weights: Option<Vec<u8>>,
    pub thunks: Vec<Thunk>,
    /// The name under which the [`Artifact`] itself is to be found by other object files of the program.
    pub export: Option<String>,
}

/// An exported function that hands its arguments on to one of the runtime's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thunk {
    pub name: String,
    /// The runtime's function.
    pub to: &'static str,
    /// Whether the address of the [`Artifact`] goes before the arguments.
    pub adds_artifact: bool,
    pub arguments: Vec<Machine>,
    pub result: Option<Machine>,
}

/// The object file. The same contents give the same bytes on every machine.
///
/// # Panics
/// When Cranelift refuses what was emitted: that is our bug.
pub fn object(target: Target, contents: Contents<'_>) -> Vec<u8> {
    // The module's own machine is the most demanding one, so that the wide emitter is let to work.
    let names = cranelift_module::default_libcall_names();
    let builder = ObjectBuilder::new(isa::of(target, variants(target)[0].features), "netc", names);
    let mut module = ObjectModule::new(builder.unwrap_or_else(|error| panic!("{target}: {error}")));
    let mut entries = Vec::new();
    for variant in variants(target) {
        let isa = isa::of(target, variant.features);
        for (name, program) in &contents.programs {
            let name = format!("netc.{}.{name}", variant.name);
            let (entry, definitions) = emit(program, &name, &mut module, variant.vectors);
            define(&mut module, [&*isa; 2], definitions);
            entries.push(entry);
        }
    }
    let named = contents.export.as_deref();
    let artifact = data(&mut module, target, contents.description, contents.weights, &entries, named);
    for thunk in &contents.thunks {
        define_thunk(&mut module, thunk, artifact);
    }
    module.finish().emit().unwrap_or_else(|error| panic!("{target}: {error}"))
}

/// A version of the code, for processors that have something.
struct Variant {
    name: &'static str,
    features: &'static [&'static str],
    vectors: Vectors,
    needs: u64,
}

/// The most demanding first.
fn variants(target: Target) -> &'static [Variant] {
    const ANY: Variant = Variant { name: "any", features: &[], vectors: Vectors::Narrow, needs: NEEDS_NOTHING };
    const AVX2: Variant = Variant { name: "avx2", features: isa::AVX2, vectors: Vectors::Wide, needs: NEEDS_AVX2 };
    if target.is_x86() { &[AVX2, ANY] } else { &[ANY] }
}

/// The [`Artifact`] and all that it points to.
fn data(
    module: &mut ObjectModule,
    target: Target,
    description: Vec<u8>,
    weights: Option<Vec<u8>>,
    entries: &[Entry],
    export: Option<&str>,
) -> DataId {
    let variants = variants(target);
    let needs: Vec<u8> = variants.iter().flat_map(|variant| variant.needs.to_le_bytes()).collect();
    let mut words = vec![0; size_of::<Artifact>()];
    let mut put = |at: usize, value: usize| words[at..at + 8].copy_from_slice(&(value as u64).to_le_bytes());
    put(offset_of!(Artifact, description_len), description.len());
    put(offset_of!(Artifact, variants), variants.len());
    put(offset_of!(Artifact, weights_len), weights.as_ref().map_or(0, Vec::len));

    let mut table = DataDescription::new();
    table.define(vec![0; size_of::<Functions>() * entries.len()].into());
    for (number, entry) in entries.iter().enumerate() {
        let functions = [(offset_of!(Functions, prepare), entry.prepare), (offset_of!(Functions, run), entry.run)];
        for (offset, function) in functions {
            let function = module.declare_func_in_data(function, &mut table);
            table.write_function_addr((number * size_of::<Functions>() + offset) as u32, function);
        }
    }
    let functions = define_data(module, "netc.functions", table, 8);
    let plain = |bytes: Vec<u8>| {
        let mut data = DataDescription::new();
        data.define(bytes.into());
        data
    };
    let mut parts = vec![
        (offset_of!(Artifact, functions), functions),
        (offset_of!(Artifact, description), define_data(module, "netc.description", plain(description), 8)),
        (offset_of!(Artifact, needs), define_data(module, "netc.needs", plain(needs), 8)),
    ];
    if let Some(weights) = weights {
        parts.push((offset_of!(Artifact, weights), define_data(module, "netc.weights", plain(weights), 64)));
    }
    let mut artifact = plain(words);
    for (offset, part) in parts {
        let part = module.declare_data_in_data(part, &mut artifact);
        artifact.write_data_addr(offset as u32, part, 0);
    }
    match export {
        Some(name) => define_data_as(module, name, artifact, 8, Linkage::Hidden),
        None => define_data(module, "netc.artifact", artifact, 8),
    }
}

fn define_data(module: &mut ObjectModule, name: &str, data: DataDescription, align: u64) -> DataId {
    define_data_as(module, name, data, align, Linkage::Local)
}

fn define_data_as(
    module: &mut ObjectModule,
    name: &str,
    mut data: DataDescription,
    align: u64,
    linkage: Linkage,
) -> DataId {
    data.set_align(align);
    let id = module.declare_data(name, linkage, false, false);
    let id = id.unwrap_or_else(|error| panic!("`{name}`: {error}"));
    module.define_data(id, &data).unwrap_or_else(|error| panic!("`{name}`: {error}"));
    id
}

fn define_thunk(module: &mut ObjectModule, thunk: &Thunk, artifact: DataId) {
    let name = &thunk.name;
    let mut signature = module.make_signature();
    signature.params = thunk.arguments.iter().map(|&machine| AbiParam::new(passed(machine))).collect();
    signature.returns = thunk.result.iter().map(|&machine| AbiParam::new(passed(machine))).collect();
    let mut inner = signature.clone();
    if thunk.adds_artifact {
        inner.params.insert(0, AbiParam::new(types::I64));
    }
    let declare = |module: &mut ObjectModule, name: &str, linkage, signature| -> FuncId {
        module.declare_function(name, linkage, signature).unwrap_or_else(|error| panic!("`{name}`: {error}"))
    };
    let callee = declare(module, thunk.to, Linkage::Import, &inner);
    let id = declare(module, name, Linkage::Export, &signature);
    let mut function = Function::with_name_signature(UserFuncName::user(0, id.as_u32()), signature);
    let mut context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut function, &mut context);
    let block = builder.create_block();
    builder.append_block_params_for_function_params(block);
    builder.switch_to_block(block);
    let mut arguments = builder.block_params(block).to_vec();
    if thunk.adds_artifact {
        let artifact = module.declare_data_in_func(artifact, builder.func);
        arguments.insert(0, builder.ins().symbol_value(types::I64, artifact));
    }
    let callee = module.declare_func_in_func(callee, builder.func);
    let call = builder.ins().call(callee, &arguments);
    let results = builder.inst_results(call).to_vec();
    builder.ins().return_(&results);
    builder.seal_all_blocks();
    builder.finalize(module.target_config());
    let mut context = Context::for_function(function);
    module.define_function(id, &mut context).unwrap_or_else(|error| panic!("`{name}`: {error:?}"));
}

fn passed(machine: Machine) -> Type {
    match machine {
        Machine::Word => types::I64,
        Machine::Int => types::I32,
        Machine::Double => types::F64,
    }
}
