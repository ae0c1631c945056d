//! The C interface of a compiled network: one table of its functions, from which the header is written.
//!
//! The object file of a network `lenet` exports a thunk `lenet_<suffix>` for each [`Function`], which hands its arguments
//! on to the function of this crate, with the address of the network's [`Artifact`] before them where the function
//! asks for it. In all texts `NET` stands for the network's name.

mod calls;
pub mod layout;
mod net;
pub mod table;

pub use table::FUNCTIONS;

/// In front of the suffix in the name of every function.
pub const PREFIX: &str = "netc_artifact_";

/// A function of the C interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// The function of this crate: [`PREFIX`] and the suffix.
    pub symbol: &'static str,
    /// Whether its first argument is the network's [`Artifact`], which the thunk supplies and C does not see.
    pub takes_artifact: bool,
    /// C's parameters, without the artifact: `"NET *net, const char *path"`, or `"void"`.
    pub parameters: &'static str,
    /// What C gets: `"int"`.
    pub returns: &'static str,
    /// What the machine passes for `parameters`.
    pub arguments: &'static [Machine],
    pub result: Option<Machine>,
    /// For the header, in lines.
    pub documentation: &'static [&'static str],
}

impl Function {
    /// What follows `NET_` in C.
    pub fn suffix(&self) -> &'static str {
        self.symbol.strip_prefix(PREFIX).unwrap_or(self.symbol)
    }
}

/// How an argument or result is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// 64 bits of an integer or a pointer.
    Word,
    /// C's `int`: 32 bits.
    Int,
    /// C's `double`.
    Double,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What C's declaration of a parameter or result says to the machine.
    fn machine(c: &str) -> Option<Machine> {
        let ty = c.trim();
        match ty {
            _ if ty.contains('*') => Some(Machine::Word),
            "void" => None,
            _ if ty.starts_with("size_t") || ty.starts_with("uint64_t") || ty.starts_with("ptrdiff_t") => {
                Some(Machine::Word)
            }
            _ if ty.starts_with("int") => Some(Machine::Int),
            _ if ty.starts_with("double") => Some(Machine::Double),
            _ => panic!("unknown type `{ty}`"),
        }
    }

    #[test]
    fn texts_agree_with_the_machine() {
        for function in FUNCTIONS {
            let found: Vec<Machine> = function.parameters.split(',').filter_map(machine).collect();
            assert_eq!(found, function.arguments, "{}", function.symbol);
            assert_eq!(machine(function.returns), function.result, "{}", function.symbol);
            assert!(function.symbol.starts_with(PREFIX), "{}", function.symbol);
            assert!(!function.documentation.is_empty(), "{}", function.symbol);
        }
    }

    #[test]
    fn suffixes_differ() {
        let mut suffixes: Vec<&str> = FUNCTIONS.iter().map(Function::suffix).collect();
        suffixes.sort_unstable();
        suffixes.dedup();
        assert_eq!(suffixes.len(), FUNCTIONS.len());
    }
}
