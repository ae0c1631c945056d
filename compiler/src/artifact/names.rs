//! Names of a network in C: its own, those of its arrays, and what they must keep clear of.

use crate::error::Error;

/// What stands in front of everything of a network: `lenet` of `lenet_create`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prefix {
    name: String,
}

impl Prefix {
    /// # Errors
    /// When the name cannot be one in C and C++.
    pub(super) fn new(name: &str) -> Result<Self, Error> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_identifier = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(is_word);
        if !is_identifier || name.len() > MAX {
            let message = format!(
                "`{name}` cannot be a name in C: a letter and then up to {} letters, digits and `_` can",
                MAX - 1
            );
            return Err(Error::Unsupported(message));
        }
        if is_taken(name) || TAKEN.contains(&name) || name.starts_with("netc") {
            return Err(Error::Unsupported(format!("`{name}` means something else in C, C++ or their libraries")));
        }
        Ok(Prefix { name: name.to_owned() })
    }
    pub(super) fn name(&self) -> &str {
        &self.name
    }
    /// In front of constants: `LENET`.
    pub(super) fn upper(&self) -> String {
        self.name.to_ascii_uppercase()
    }
    /// A text of the runtime's about `NET`, for this network: `NET_create` is `lenet_create`, `NET_OK` is `LENET_OK`.
    pub(super) fn fill(&self, text: &str) -> String {
        let mut parts = text.split("NET");
        let mut filled = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let mut after = part.chars();
            let is_constant = after.next() == Some('_') && after.next().is_some_and(|c| c.is_ascii_uppercase());
            filled += &if is_constant { self.upper() } else { self.name.clone() };
            filled += part;
        }
        filled
    }
}

const MAX: usize = 64;

/// Words of Rust that no argument may be called.
pub(super) fn is_rust_keyword(name: &str) -> bool {
    const WORDS: &[&str] = &[
        "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
        "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
        "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super",
        "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
    ];
    WORDS.contains(&name)
}

/// Names of parameters, fields or constants that are to differ from each other and from some others.
#[derive(Debug, Default)]
pub(super) struct Scope {
    used: Vec<String>,
}

impl Scope {
    pub(super) fn of(used: &[&str]) -> Self {
        Scope { used: used.iter().map(|name| (*name).to_owned()).collect() }
    }
    /// The name, changed as little as C asks for.
    pub(super) fn name(&mut self, wanted: &str) -> String {
        let word = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
        let mut name: String = wanted.chars().map(word).collect();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            name.insert(0, 'x');
        }
        while is_taken(&name) || self.used.contains(&name) {
            name.push(if name.ends_with('_') { '2' } else { '_' });
        }
        self.used.push(name.clone());
        name
    }
}

/// Words of the languages, and what headers that every program includes may define for the preprocessor.
fn is_taken(name: &str) -> bool {
    KEYWORDS.contains(&name)
}

const KEYWORDS: &[&str] = &[
    "alignas",
    "alignof",
    "and",
    "and_eq",
    "asm",
    "assert",
    "auto",
    "bitand",
    "bitor",
    "bool",
    "break",
    "case",
    "catch",
    "char",
    "char16_t",
    "char32_t",
    "char8_t",
    "class",
    "co_await",
    "co_return",
    "co_yield",
    "compl",
    "concept",
    "const",
    "const_cast",
    "consteval",
    "constexpr",
    "constinit",
    "continue",
    "decltype",
    "default",
    "delete",
    "do",
    "double",
    "dynamic_cast",
    "else",
    "enum",
    "errno",
    "explicit",
    "export",
    "extern",
    "false",
    "float",
    "for",
    "friend",
    "goto",
    "if",
    "inline",
    "int",
    "linux",
    "long",
    "mutable",
    "namespace",
    "new",
    "noexcept",
    "not",
    "not_eq",
    "nullptr",
    "operator",
    "or",
    "or_eq",
    "private",
    "protected",
    "public",
    "register",
    "reinterpret_cast",
    "requires",
    "restrict",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "static_assert",
    "static_cast",
    "stderr",
    "stdin",
    "stdout",
    "struct",
    "switch",
    "template",
    "this",
    "thread_local",
    "throw",
    "true",
    "try",
    "typedef",
    "typeid",
    "typename",
    "typeof",
    "typeof_unqual",
    "union",
    "unix",
    "unsigned",
    "using",
    "virtual",
    "void",
    "volatile",
    "wchar_t",
    "while",
    "xor",
    "xor_eq",
    "I",
    "NULL",
    "EOF",
    "EXIT_FAILURE",
    "EXIT_SUCCESS",
    "INFINITY",
    "NAN",
    "BUFSIZ",
    "complex",
];

/// Types and functions of C's library that a program is likely to know beside the network.
const TAKEN: &[&str] = &[
    "abort",
    "abs",
    "access",
    "acos",
    "alarm",
    "asin",
    "atan",
    "atan2",
    "atexit",
    "atof",
    "atoi",
    "atol",
    "bcmp",
    "bind",
    "bsearch",
    "calloc",
    "cbrt",
    "ceil",
    "chdir",
    "clock",
    "clock_t",
    "close",
    "connect",
    "copysign",
    "cos",
    "cosh",
    "ctime",
    "div",
    "div_t",
    "dup",
    "erf",
    "erfc",
    "exec",
    "execv",
    "exit",
    "exp",
    "exp2",
    "expm1",
    "fabs",
    "fclose",
    "fdim",
    "feof",
    "fflush",
    "fgetc",
    "fgets",
    "floor",
    "fma",
    "fmax",
    "fmin",
    "fmod",
    "fopen",
    "fork",
    "fputs",
    "fread",
    "free",
    "frexp",
    "fseek",
    "ftell",
    "fwrite",
    "gamma",
    "getc",
    "getchar",
    "getenv",
    "gets",
    "hypot",
    "index",
    "j0",
    "j1",
    "jn",
    "kill",
    "labs",
    "ldexp",
    "lgamma",
    "link",
    "listen",
    "log",
    "log10",
    "log1p",
    "log2",
    "logb",
    "lround",
    "main",
    "malloc",
    "max_align_t",
    "memchr",
    "memcmp",
    "memcpy",
    "memmove",
    "memset",
    "mktime",
    "modf",
    "nan",
    "nearbyint",
    "nice",
    "open",
    "pause",
    "perror",
    "pipe",
    "pow",
    "printf",
    "ptrdiff_t",
    "putc",
    "puts",
    "qsort",
    "raise",
    "rand",
    "random",
    "read",
    "realloc",
    "recv",
    "remainder",
    "remove",
    "rename",
    "rewind",
    "rindex",
    "rint",
    "round",
    "scanf",
    "select",
    "send",
    "setjmp",
    "signal",
    "sin",
    "sinh",
    "size_t",
    "sleep",
    "socket",
    "sqrt",
    "srand",
    "std",
    "stpcpy",
    "strcat",
    "strchr",
    "strcmp",
    "strcpy",
    "strlen",
    "strstr",
    "strtok",
    "sync",
    "system",
    "tan",
    "tanh",
    "tgamma",
    "time",
    "time_t",
    "times",
    "tolower",
    "toupper",
    "trunc",
    "ungetc",
    "unlink",
    "wait",
    "write",
    "y0",
    "y1",
    "yn",
    "int8_t",
    "int16_t",
    "int32_t",
    "int64_t",
    "uint8_t",
    "uint16_t",
    "uint32_t",
    "uint64_t",
];

#[cfg(test)]
mod tests {
    use super::{Prefix, Scope};

    #[test]
    fn texts_are_about_the_network() {
        let prefix = Prefix::new("lenet").unwrap();
        let text = "NET_create makes a NET *net or returns NET_NO_MEMORY.";
        assert_eq!(prefix.fill(text), "lenet_create makes a lenet *net or returns LENET_NO_MEMORY.");
    }

    #[test]
    fn names_that_c_does_not_know_yet() {
        for name in ["float", "tanh", "co_await", "netc", "größe", "", "a".repeat(65).as_str()] {
            assert!(Prefix::new(name).is_err(), "{name}");
        }
        let mut scope = Scope::of(&["net"]);
        let names = ["net", "int", "x", "x", "_", "é"].map(|name| scope.name(name));
        assert_eq!(names, ["net_", "int_", "x", "x_", "x_2", "x_2_"]);
    }
}
