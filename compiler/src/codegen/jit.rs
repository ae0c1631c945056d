//! Machine code in memory, to be called at once. The only place where generated code is called.
#![expect(unsafe_code, reason = "generated code is called through its address")]

use std::fmt;

use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_jit::{ArenaMemoryProvider, JITBuilder, JITModule};
use netc_runtime::Pool;
use netc_runtime::kernels::cpu::{Cpu, cpu};

use super::define::define;
use super::emit::{Vectors, emit};
use super::isa;
use crate::interp::program::Memory;
use crate::kernel::Program;
use crate::types::{ElementType, Extents};

/// Address space for the code and constants of one program. Calls between functions reach 2 GiB; only what is
/// used takes memory.
const ARENA: usize = 64 << 20;

/// A program as machine code of this machine.
pub struct CompiledProgram {
    /// Owns the code; `None` once it has been freed.
    module: Option<JITModule>,
    prepare: EntryFn,
    run: EntryFn,
    /// Its sizes, buffers and steps, for the layout of the frame.
    program: Program,
}

type EntryFn = unsafe extern "C" fn(*mut u64);

/// Compiles a program for this machine.
///
/// # Panics
/// When Cranelift refuses what was emitted, or no memory is left for code.
pub fn compile(program: &Program, name: &str) -> CompiledProgram {
    compile_with(program, name, best_vectors())
}

/// The widest vectors, unless the environment asks for shorter ones (`NETC_CPU`).
pub(super) fn best_vectors() -> Vectors {
    match cpu() {
        Cpu::Portable => Vectors::Narrow,
        Cpu::Avx512 | Cpu::Amx => Vectors::Widest,
        Cpu::Avx2 | Cpu::Neon => Vectors::Wide,
    }
}

/// As [`compile`], with kernels made by whom the caller says; for tests and measurements.
///
/// # Panics
/// As [`compile`].
pub fn compile_with(program: &Program, name: &str, vectors: Vectors) -> CompiledProgram {
    let isa = isa::host();
    let mut module = new_module(isa.clone());
    let (entry, definitions) = emit(program, name, &mut module, vectors);
    define(&mut module, [&*isa, &*isa::host_in_brief()], definitions);
    module.finalize_definitions().unwrap_or_else(|error| panic!("memory for code: {error}"));
    let [prepare, run] = [entry.prepare, entry.run].map(|id| {
        let address = module.get_finalized_function(id);
        // SAFETY: `emit` made this function with the signature of `EntryFn` for this machine's calling convention.
        unsafe { std::mem::transmute::<*const u8, EntryFn>(address) }
    });
    CompiledProgram { module: Some(module), prepare, run, program: program.clone() }
}

pub(super) fn new_module(isa: OwnedTargetIsa) -> JITModule {
    let mut builder = JITBuilder::with_isa(isa, cranelift_module::default_libcall_names());
    let arena = ArenaMemoryProvider::new_with_size(ARENA);
    builder.memory_provider(Box::new(arena.unwrap_or_else(|error| panic!("address space for code: {error}"))));
    builder.symbols(netc_runtime::abi::symbols());
    JITModule::new(builder)
}

impl CompiledProgram {
    /// Carries out the steps of `prepare`.
    ///
    /// # Safety
    /// As for [`CompiledProgram::run`].
    pub unsafe fn prepare(&self, frame: &mut [u64]) {
        assert_eq!(frame.len(), self.program.frame_words(), "the words of the frame");
        // SAFETY: promised by the caller.
        unsafe { (self.prepare)(frame.as_mut_ptr()) };
    }
    /// Carries out the program's steps.
    ///
    /// # Safety
    /// Word 0 is the address of a live [`netc_runtime::Pool`]; the words of the symbols are sizes; the word of every
    /// buffer is the address of as many elements as the program gives it under these sizes, aligned to four bytes,
    /// apart from all other buffers that are in use at the same time, and not in use elsewhere during the call.
    pub unsafe fn run(&self, frame: &mut [u64]) {
        assert_eq!(frame.len(), self.program.frame_words(), "the words of the frame");
        // SAFETY: promised by the caller.
        unsafe { (self.run)(frame.as_mut_ptr()) };
    }
    /// Prepares and runs on copies of the buffers, with the arguments of the interpreter; for tests.
    ///
    /// # Panics
    /// When a buffer has another length than the program gives it, or something next to one was written to.
    pub fn run_copied(&self, memory: &mut Memory, extents: &Extents, pool: &Pool) {
        let mut copies: Vec<Vec<u32>> = Vec::new();
        for (buffer, info) in self.program.buffers.iter() {
            let elements = &memory[buffer];
            assert_eq!(elements.len(), info.len.eval(extents), "the elements of {buffer}");
            let mut copy = vec![MARGIN_WORD; MARGIN];
            copy.extend(elements.iter().map(|&x| match info.element {
                ElementType::F32 => (x as f32).to_bits(),
                ElementType::I32 => (x as i32).cast_unsigned(),
            }));
            copy.extend([MARGIN_WORD; MARGIN]);
            copies.push(copy);
        }
        let mut frame = vec![std::ptr::from_ref(pool) as u64];
        let size = |symbol| extents.find(symbol).unwrap_or_else(|| panic!("the size `{symbol}` has no value"));
        frame.extend(self.program.symbols.iter().map(|symbol| size(symbol) as u64));
        frame.extend(copies.iter_mut().map(|copy| copy[MARGIN..].as_mut_ptr() as u64));
        // SAFETY: the pool and the copies are alive, distinct, and as long as the program says, as checked above.
        unsafe {
            self.prepare(&mut frame);
            self.run(&mut frame);
        }
        for ((buffer, info), copy) in self.program.buffers.iter().zip(copies) {
            let (before, rest) = copy.split_at(MARGIN);
            let (elements, after) = rest.split_at(memory[buffer].len());
            let untouched = before.iter().chain(after).all(|&word| word == MARGIN_WORD);
            assert!(untouched, "next to {buffer} was written to by:\n{}", self.program);
            memory[buffer] = elements
                .iter()
                .map(|&bits| match info.element {
                    ElementType::F32 => f64::from(f32::from_bits(bits)),
                    ElementType::I32 => f64::from(bits.cast_signed()),
                })
                .collect();
        }
    }
}

/// Words around each buffer of [`CompiledProgram::run_copied`], and what they hold.
const MARGIN: usize = 64;
const MARGIN_WORD: u32 = 0x7fc0_dead;

impl Drop for CompiledProgram {
    fn drop(&mut self) {
        if let Some(module) = self.module.take() {
            // SAFETY: the functions' addresses are private to this value, and none is running: `self` is not borrowed.
            unsafe { module.free_memory() };
        }
    }
}

impl fmt::Debug for CompiledProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledProgram").field("program", &self.program).finish_non_exhaustive()
    }
}
