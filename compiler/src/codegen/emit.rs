//! A program as functions of a Cranelift module, in memory or in an object file alike.

use std::fmt;

use cranelift_codegen::ir::{AbiParam, FuncRef, Function, Signature, Type, UserFuncName, Value, types};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{FuncId, Linkage, Module};

use super::driver::Driver;
use super::isa;
use super::nest::{Call, emit_kernel};
use super::share::{Shape, shape};
use super::wide::{self, WideCode, Width};
use crate::kernel::{Buffer, Kernel, Members, Program, Scan, Step};

/// The two functions of a program, each of one argument, the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub prepare: FuncId,
    pub run: FuncId,
}

/// A function's code before it has its place in memory.
#[derive(Debug)]
pub struct Definition {
    pub id: FuncId,
    pub name: String,
    pub code: Code,
}

/// What a function is made of.
#[derive(Debug)]
pub enum Code {
    /// Of a kernel.
    Cranelift(Box<Function>),
    /// Calls kernels and the library, once each or once a step: it is much to compile, and little to run.
    Driver(Box<Function>),
    Wide(WideCode),
}

/// Who may make the code of kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vectors {
    /// Cranelift alone, with 128 bits.
    Narrow,
    /// Our emitter, with 256 bits, where the module's machine has them and the kernel is of a supported kind.
    Wide,
    /// As `Wide`, with 512 bits where the machine has them and the kernel fills them.
    Widest,
}

/// Declares all functions of the program, those of the entry as `<name>_prepare` and `<name>_run`, and returns their code.
pub fn emit(program: &Program, name: &str, module: &mut dyn Module, vectors: Vectors) -> (Entry, Vec<Definition>) {
    emit_with(program, name, module, vectors, false)
}

/// As [`emit`], with the text of our own emitter's code.
pub fn emit_listed(
    program: &Program,
    name: &str,
    module: &mut dyn Module,
    vectors: Vectors,
) -> (Entry, Vec<Definition>) {
    emit_with(program, name, module, vectors, true)
}

fn emit_with(
    program: &Program,
    name: &str,
    module: &mut dyn Module,
    vectors: Vectors,
    is_listed: bool,
) -> (Entry, Vec<Definition>) {
    let longest = match vectors {
        Vectors::Narrow => None,
        Vectors::Wide => wide::longest(module.isa()).map(|_| Width::Bits256),
        Vectors::Widest => wide::longest(module.isa()),
    };
    let mut emitter = Emitter {
        longest,
        is_listed,
        program,
        name,
        module,
        context: FunctionBuilderContext::new(),
        definitions: Vec::new(),
        shared: Vec::new(),
    };
    let prepare = emitter.driver("prepare", &program.prepare);
    let run = emitter.driver("run", &program.steps);
    (Entry { prepare, run }, emitter.definitions)
}

pub(super) struct Emitter<'a> {
    pub(super) program: &'a Program,
    name: &'a str,
    pub(super) module: &'a mut dyn Module,
    /// The longest vectors of wide code, if there is any.
    longest: Option<Width>,
    is_listed: bool,
    context: FunctionBuilderContext,
    definitions: Vec<Definition>,
    /// The kernels' functions so far.
    shared: Vec<(Call, Shape, FuncId)>,
}

impl Emitter<'_> {
    /// The function that carries out a list of steps.
    fn driver(&mut self, role: &str, steps: &[Step]) -> FuncId {
        let name = format!("{}_{role}", self.name);
        self.drive(name, role, 1, |driver, _| driver.steps(steps))
    }

    /// The function that carries out a recurrence's loop for some members of the batch.
    pub(super) fn share(&mut self, role: &str, scan: &Scan, members: &Members) -> FuncId {
        let name = format!("{}_{role}_{}_share", self.name, self.definitions.len());
        self.drive(name, role, 4, |driver, arguments| driver.share(scan, members, arguments))
    }

    /// The function that carries out a recurrence's loop beside another's.
    pub(super) fn beside(&mut self, role: &str, scan: &Scan, leads: bool) -> FuncId {
        let name = format!("{}_{role}_{}_beside", self.name, self.definitions.len());
        self.drive(name, role, 3, |driver, arguments| driver.beside(scan, leads, arguments))
    }

    /// The function that carries out the loops of two recurrences one after the other.
    pub(super) fn one_after_the_other(&mut self, role: &str, pair: [&Scan; 2]) -> FuncId {
        let name = format!("{}_{role}_{}_pair", self.name, self.definitions.len());
        self.drive(name, role, 1, |driver, _| pair.into_iter().for_each(|scan| driver.shared_steps(scan)))
    }

    /// A function of so many words, of which the first is a frame; `fill` emits its body.
    fn drive(
        &mut self,
        name: String,
        role: &str,
        n_words: usize,
        fill: impl FnOnce(&mut Driver<'_, '_, '_>, &[Value]),
    ) -> FuncId {
        let signature = self.signature(&vec![types::I64; n_words]);
        let id = self.declare(&name, Linkage::Local, &signature);
        let mut function = Function::with_name_signature(UserFuncName::user(0, id.as_u32()), signature);
        let mut context = FunctionBuilderContext::new();
        let mut builder = FunctionBuilder::new(&mut function, &mut context);
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        let words = builder.block_params(entry).to_vec();
        let mut driver = Driver {
            emitter: self,
            builder,
            frame: words[0],
            role,
            step: None,
            local_frame: None,
            share: None,
            tie: None,
            joined: None,
        };
        fill(&mut driver, &words);
        let Driver { mut builder, .. } = driver;
        cranelift_codegen::ir::InstBuilder::return_(builder.ins(), &[]);
        builder.seal_all_blocks();
        builder.finalize(self.module.target_config());
        self.definitions.push(Definition { id, name, code: Code::Driver(Box::new(function)) });
        id
    }

    /// The function of a kernel, and the buffers whose addresses its frame holds, after the program's symbols.
    pub(super) fn kernel(&mut self, kernel: &Kernel, call: Call, role: &str) -> (FuncId, Vec<Buffer>) {
        let (shape, buffers) = shape(self.program, kernel, call);
        let known = self.shared.iter().find(|(of, known, _)| *of == call && *known == shape);
        if let Some((.., id)) = known {
            return (*id, buffers);
        }
        let label: String = kernel.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let name = format!("{}_{role}_{}_{label}", self.name, self.definitions.len());
        let signature = self.signature(&vec![types::I64; 1 + call.n_params()]);
        let id = self.declare(&name, Linkage::Local, &signature);
        let wide =
            self.longest.and_then(|longest| wide::emit(&shape.program, &shape.kernel, call, longest, self.is_listed));
        let code = wide.map(Code::Wide).unwrap_or_else(|| {
            let mut function = Function::with_name_signature(UserFuncName::user(0, id.as_u32()), signature);
            let config = self.module.target_config();
            let fuses = isa::fuses(self.module.isa());
            emit_kernel(&shape.program, &shape.kernel, call, &mut function, &mut self.context, config, fuses);
            Code::Cranelift(Box::new(function))
        });
        self.definitions.push(Definition { id, name, code });
        self.shared.push((call, shape, id));
        (id, buffers)
    }

    /// A function of the runtime, for use in `function`.
    pub(super) fn import(&mut self, name: &str, params: &[Type], function: &mut Function) -> FuncRef {
        let signature = self.signature(params);
        let id = self.declare(name, Linkage::Import, &signature);
        self.module.declare_func_in_func(id, function)
    }
    fn declare(&mut self, name: &str, linkage: Linkage, signature: &Signature) -> FuncId {
        let declared = self.module.declare_function(name, linkage, signature);
        declared.unwrap_or_else(|error| panic!("`{name}`: {error}"))
    }
    fn signature(&self, params: &[Type]) -> Signature {
        let mut signature = self.module.make_signature();
        signature.params = params.iter().map(|&ty| AbiParam::new(ty)).collect();
        signature
    }
}

impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Code::Cranelift(function) | Code::Driver(function) => writeln!(f, "; {}\n{function}", self.name),
            Code::Wide(code) => {
                let bits = match code.width {
                    Width::Bits256 => 256,
                    Width::Bits512 => 512,
                };
                writeln!(f, "; {}: vectors of {bits} bits\n{}", self.name, code.text)
            }
        }
    }
}
