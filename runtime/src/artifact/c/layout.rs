//! The structs and constants of the header.

use std::ffi::{CStr, c_char, c_void};

/// A field of a struct, or a constant, as the header says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// `"size_t batch"`
    pub c: &'static str,
    pub documentation: &'static str,
}

/// A constant of the header: `NET_<name> = value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constant {
    pub name: &'static str,
    pub value: i32,
    pub documentation: &'static str,
}

/// `NET_options`. Behind it follows one `size_t` for each axis, in the order of the description: the most steps that a
/// call may have along it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Options {
    pub batch: usize,
    pub threads: usize,
    pub seed: u64,
    pub tasks: u32,
    pub reserved: u32,
    pub memory: *mut c_void,
    pub memory_size: usize,
    pub message: *mut c_char,
    pub message_size: usize,
}

/// The fields of [`Options`], and what is said of the axes behind them.
pub const OPTIONS: &[Field] = &[
    Field { c: "size_t batch", documentation: "The most members that the batch of a call may have." },
    Field { c: "size_t threads", documentation: "Threads that share the work; results never depend on it." },
    Field { c: "uint64_t seed", documentation: "Of initial values and dropout." },
    Field { c: "uint32_t tasks", documentation: "NET_TASK_… or-ed: what the instance will be asked for; 0 is all." },
    Field { c: "uint32_t reserved", documentation: "0." },
    Field {
        c: "void *memory",
        documentation: "Memory for all arrays of the instance, aligned to 64 bytes, which outlives it; NULL: allocated.",
    },
    Field { c: "size_t memory_size", documentation: "Bytes of `memory`; NET_memory_size says how many it takes." },
    Field {
        c: "char *message",
        documentation: "Where NET_create and NET_memory_size write why they failed, NUL-terminated; or NULL.",
    },
    Field { c: "size_t message_size", documentation: "Bytes of `message`." },
];

/// Of the field of an axis in `NET_options`, whose C declaration is `size_t <axis>`.
pub const AXIS_OPTION: &str = "The most steps that a call may have along this axis.";

/// What an axis is in `NET_sizes`, whose fields are `size_t batch` and one such struct for each axis, in order.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Steps {
    pub steps: usize,
    pub lengths: *const i32,
}

/// The first field of `NET_sizes`.
pub const BATCH: Field = Field { c: "size_t batch", documentation: "Members of the batch." };

/// The fields of [`Steps`].
pub const STEPS: &[Field] = &[
    Field { c: "size_t steps", documentation: "How long the arrays are along the axis." },
    Field {
        c: "const int32_t *lengths",
        documentation: "How long each member of the batch is, from 0 to `steps`; NULL: all are as long as the arrays.",
    },
];

macro_rules! statuses {
    ($($name:literal = $value:literal, $text:literal;)*) => {
        /// What functions return.
        pub const STATUSES: &[Constant] = &[$(Constant { name: $name, value: $value, documentation: $text }),*];

        /// What a status means.
        pub(super) fn status_text(status: i32) -> &'static CStr {
            let text = match status {
                $($value => concat!($text, "\0"),)*
                _ => "There is no such status.\0",
            };
            CStr::from_bytes_with_nul(text.as_bytes()).unwrap_or_default()
        }
    };
}

statuses! {
    "OK" = 0, "All went well.";
    "INVALID_ARGUMENT" = 1, "A pointer is NULL, a size is larger than the instance was made for, or there is no such thing.";
    "INVALID_INPUT" = 2, "A token, a length or the number of steps is none that the network can take.";
    "UNAVAILABLE" = 3, "The network was not compiled for this, or the instance not made for it.";
    "NO_MEMORY" = 4, "There is not enough memory.";
    "FILE" = 5, "A file cannot be read or written.";
    "INVALID_WEIGHTS" = 6, "Weights are damaged, or those of another network.";
    "NOT_BEGUN" = 7, "A step was asked for before NET_begin.";
    "INCOMPATIBLE" = 8, "The network's code is damaged, of another version, or not for this processor.";
}

/// Bits of `tasks` in `NET_options`; bit `i` is the task of number `i`.
pub const TASKS: &[Constant] = &[
    Constant { name: "TASK_FORWARD", value: 1, documentation: "NET_forward" },
    Constant { name: "TASK_EVALUATE", value: 2, documentation: "NET_evaluate" },
    Constant { name: "TASK_TRAIN_STEP", value: 4, documentation: "NET_train_step" },
    Constant { name: "TASK_STEP", value: 8, documentation: "NET_begin and NET_step" },
];

/// What can be counted and named.
pub const KINDS: &[Constant] = &[
    Constant { name: "INPUTS", value: 0, documentation: "Arrays that the network reads." },
    Constant { name: "TARGETS", value: 1, documentation: "Arrays that the loss and metrics compare with." },
    Constant { name: "OUTPUTS", value: 2, documentation: "Arrays that the network writes." },
    Constant { name: "METRICS", value: 3, documentation: "Numbers beside the loss." },
    Constant {
        name: "PARAMETERS",
        value: 4,
        documentation: "All that weights hold: what is trained, then running statistics.",
    },
    Constant { name: "STATES", value: 5, documentation: "What recurrences keep from call to call." },
    Constant { name: "AXES", value: 6, documentation: "Sequence axes." },
];

/// What an array holds.
pub const ELEMENTS: &[Constant] = &[
    Constant { name: "FLOAT32", value: 0, documentation: "float" },
    Constant { name: "INT32", value: 1, documentation: "int32_t: tokens" },
];
