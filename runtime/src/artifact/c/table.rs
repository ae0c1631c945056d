//! The table of C functions.
#![expect(unsafe_code, reason = "C hands over raw pointers")]

use std::ffi::{c_char, c_int, c_void};

use super::layout::Options;
use super::net::Net;
use super::{Function, Machine, calls};
use crate::artifact::raw::Artifact;

/// How a type of the table is passed.
trait Passed {
    const KIND: Option<Machine>;
}

macro_rules! passed {
    ($($ty:ty = $kind:expr;)*) => {
        $(impl Passed for $ty {
            const KIND: Option<Machine> = $kind;
        })*
    };
}

passed! {
    usize = Some(Machine::Word);
    isize = Some(Machine::Word);
    u64 = Some(Machine::Word);
    c_int = Some(Machine::Int);
    f64 = Some(Machine::Double);
    () = None;
}

impl<T> Passed for *const T {
    const KIND: Option<Machine> = Some(Machine::Word);
}

impl<T> Passed for *mut T {
    const KIND: Option<Machine> = Some(Machine::Word);
}

const fn argument<T: Passed>() -> Machine {
    match T::KIND {
        Some(kind) => kind,
        None => panic!("an argument is passed somehow"),
    }
}

/// One function a line: its documentation; its name; the artifact, if it asks for that; its arguments and result; C's
/// parameters and result.
macro_rules! functions {
    ($($(#[doc = $doc:literal])+
        fn $name:ident($([$artifact:ident])? $($argument:ident: $ty:ty),*) -> $result:ty
            = $returns:literal, $parameters:literal => $body:path;)*) => {
        $($(#[doc = $doc])+
        ///
        /// # Safety
        /// What C promises: pointers are valid for what the header says, and no other call of the instance is running.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($artifact: *const Artifact,)? $($argument: $ty),*) -> $result {
            // SAFETY: promised by the caller.
            unsafe { $body($($artifact,)? $($argument),*) }
        })*

        /// Every function of the C interface, in the order of the header.
        pub const FUNCTIONS: &[Function] = &[$(Function {
            symbol: stringify!($name),
            takes_artifact: functions!(@given $($artifact)?),
            parameters: $parameters,
            returns: $returns,
            arguments: &[$(argument::<$ty>()),*],
            result: <$result as Passed>::KIND,
            documentation: &[$($doc),+],
        }),*];
    };
    (@given) => { false };
    (@given $artifact:ident) => { true };
}

functions! {
    /// Fills `options` with what is right for most: a batch of 1, one thread, the seed of the network's file, all tasks,
    /// memory of its own. The most steps along an axis are 0: set them, but for an instance that takes single steps.
    fn netc_artifact_options_default([artifact] options: *mut Options) -> ()
        = "void", "NET_options *options" => calls::options_default;

    /// How many bytes `memory` of these options must have. Includes everything whose size depends on the options or on
    /// the number of parameters; some kilobytes of bookkeeping are allocated beside it.
    fn netc_artifact_memory_size([artifact] options: *const Options, bytes: *mut usize) -> c_int
        = "int", "const NET_options *options, size_t *bytes" => calls::memory_size;

    /// Makes an instance: allocates all it will ever need, and gives parameters the weights that the network was compiled
    /// with, or else initial values. `options` may be NULL for those of NET_options_default. On failure `*net` is NULL.
    /// Instances share nothing; each is used by one thread at a time, not always the same one.
    fn netc_artifact_create([artifact] options: *const Options, net: *mut *mut Net) -> c_int
        = "int", "const NET_options *options, NET **net" => calls::create;

    /// Frees an instance; NULL is allowed.
    fn netc_artifact_destroy(net: *mut Net) -> ()
        = "void", "NET *net" => calls::destroy;

    /// What a status means, as a constant text.
    fn netc_artifact_status_text(status: c_int) -> *const c_char
        = "const char *", "int status" => calls::status_text;

    /// Why the last function of this instance failed that did, with names and numbers; "" if none has. Valid until the
    /// next one fails. NULL gives "".
    fn netc_artifact_error_message(net: *const Net) -> *const c_char
        = "const char *", "const NET *net" => calls::error_message;

    /// The version of netc that the network's functions come from.
    fn netc_artifact_version() -> *const c_char
        = "const char *", "void" => calls::version;

    /// Replaces all parameters by those of a safetensors file, and the optimizer's moments and the number of steps where
    /// it has them. On failure nothing has changed, unless the file could not be read to its end. Not for real-time
    /// threads.
    fn netc_artifact_load(net: *mut Net, path: *const c_char) -> c_int
        = "int", "NET *net, const char *path" => calls::load;

    /// NET_load from bytes in memory, which are not needed afterwards.
    fn netc_artifact_load_memory(net: *mut Net, bytes: *const c_void, size: usize) -> c_int
        = "int", "NET *net, const void *bytes, size_t size" => calls::load_memory;

    /// Writes all parameters to a safetensors file, with `with_training` also what training needs to go on. The file is
    /// either complete or as it was before. Not for real-time threads.
    fn netc_artifact_save(net: *mut Net, path: *const c_char, with_training: c_int) -> c_int
        = "int", "NET *net, const char *path, int with_training" => calls::save;

    /// Inputs to outputs. `sizes` may be NULL for the largest that the instance was made for. `inputs` and `outputs` hold
    /// one pointer for each of NET_INPUTS and NET_OUTPUTS, to row-major arrays of float, or int32_t for tokens, with the
    /// batch as their first axis (NET_shape). An output may be NULL if nobody wants it. With one thread, a call that
    /// succeeds allocates nothing, takes no lock and makes no system call.
    fn netc_artifact_forward(net: *mut Net, sizes: *const usize, inputs: *const *const c_void, outputs: *const *mut c_void) -> c_int
        = "int", "NET *net, const NET_sizes *sizes, const void *const *inputs, void *const *outputs" => calls::forward;

    /// Inputs and targets to outputs, the mean loss over the batch, and one number for each of NET_METRICS, as the network
    /// infers. `outputs`, `loss` and `metrics` may be NULL. As NET_forward in all else.
    fn netc_artifact_evaluate(net: *mut Net, sizes: *const usize, inputs: *const *const c_void, targets: *const *const c_void, outputs: *const *mut c_void, loss: *mut f32, metrics: *mut f32) -> c_int
        = "int", "NET *net, const NET_sizes *sizes, const void *const *inputs, const void *const *targets, void *const *outputs, float *loss, float *metrics" => calls::evaluate;

    /// One step of the optimizer on one batch. The loss and metrics are those before it, and may be NULL. As NET_forward
    /// in all else.
    fn netc_artifact_train_step(net: *mut Net, sizes: *const usize, inputs: *const *const c_void, targets: *const *const c_void, loss: *mut f32, metrics: *mut f32) -> c_int
        = "int", "NET *net, const NET_sizes *sizes, const void *const *inputs, const void *const *targets, float *loss, float *metrics" => calls::train_step;

    /// Begins to take one step at a time: computes the first states of a batch of sequences from the inputs that do not
    /// have the stepped axis. `inputs` has all of NET_INPUTS, those with the stepped axis are not read, and it may be NULL
    /// if there are no others; of `sizes`, the stepped axis is not read. `outputs` that no step changes are written; it may
    /// be NULL. As NET_forward in all else.
    fn netc_artifact_begin(net: *mut Net, sizes: *const usize, inputs: *const *const c_void, outputs: *const *mut c_void) -> c_int
        = "int", "NET *net, const NET_sizes *sizes, const void *const *inputs, void *const *outputs" => calls::begin;

    /// One step: inputs that have the stepped axis, without it, to outputs without it. Arrays of other inputs are not
    /// read. `states` is NULL for the instance's own, or one pointer for each of NET_STATES to states of the caller,
    /// `[batch, …]`, which are read and replaced: so one instance serves many sequences. States that single steps do not
    /// have may be NULL. For real-time threads as NET_forward.
    fn netc_artifact_step(net: *mut Net, inputs: *const *const c_void, states: *const *mut f32, outputs: *const *mut c_void) -> c_int
        = "int", "NET *net, const void *const *inputs, float *const *states, void *const *outputs" => calls::step;

    /// Lets every recurrence begin anew, and forgets NET_begin. For real-time threads.
    fn netc_artifact_reset(net: *mut Net) -> c_int
        = "int", "NET *net" => calls::reset;

    /// Whether recurrences go on from call to call of NET_forward, NET_evaluate and NET_train_step, for each member of
    /// the batch; they begin anew here, at NET_reset, and at a batch of another size. For real-time threads.
    fn netc_artifact_set_carry(net: *mut Net, carry: c_int) -> c_int
        = "int", "NET *net, int carry" => calls::set_carry;

    /// The learning rate of the next training step.
    fn netc_artifact_learning_rate(net: *const Net) -> f64
        = "double", "const NET *net" => calls::learning_rate;

    /// Sets the learning rate of the next training steps, a finite number.
    fn netc_artifact_set_learning_rate(net: *mut Net, rate: f64) -> c_int
        = "int", "NET *net, double rate" => calls::set_learning_rate;

    /// Training steps done, those of loaded weights included.
    fn netc_artifact_steps_done(net: *const Net) -> u64
        = "uint64_t", "const NET *net" => calls::steps_done;

    /// Goes back to before the first training step, with the parameters as they are.
    fn netc_artifact_forget_training(net: *mut Net) -> c_int
        = "int", "NET *net" => calls::forget_training;

    /// How many there are of NET_INPUTS, NET_TARGETS, NET_OUTPUTS, NET_METRICS, NET_PARAMETERS, NET_STATES or NET_AXES.
    fn netc_artifact_count(net: *const Net, kind: c_int) -> usize
        = "size_t", "const NET *net, int kind" => calls::count;

    /// The name of one of a kind, valid as long as the instance; NULL if there is none.
    fn netc_artifact_name(net: *const Net, kind: c_int, index: usize) -> *const c_char
        = "const char *", "const NET *net, int kind, size_t index" => calls::name;

    /// The index of the one of a kind that has this name; -1 if there is none.
    fn netc_artifact_find(net: *const Net, kind: c_int, name: *const c_char) -> isize
        = "ptrdiff_t", "const NET *net, int kind, const char *name" => calls::find;

    /// NET_FLOAT32 or NET_INT32; -1 if there is none.
    fn netc_artifact_element(net: *const Net, kind: c_int, index: usize) -> c_int
        = "int", "const NET *net, int kind, size_t index" => calls::element;

    /// How many axes an array has, the batch included; 0 if there is none.
    fn netc_artifact_rank(net: *const Net, kind: c_int, index: usize) -> usize
        = "size_t", "const NET *net, int kind, size_t index" => calls::rank;

    /// Writes the sizes of an array's axes to `shape`, which has room for NET_rank of them: those for a call with these
    /// sizes, or for the largest when `sizes` is NULL. Arrays of NET_step lack the stepped axis.
    fn netc_artifact_shape(net: *mut Net, kind: c_int, index: usize, sizes: *const usize, shape: *mut usize) -> c_int
        = "int", "NET *net, int kind, size_t index, const NET_sizes *sizes, size_t *shape" => calls::shape;

    /// The values of one of NET_PARAMETERS, row-major, valid as long as the instance; NULL if there is none. Who changes
    /// them calls NET_parameters_changed before the next call.
    fn netc_artifact_parameter(net: *mut Net, index: usize) -> *mut f32
        = "float *", "NET *net, size_t index" => calls::parameter;

    /// Says that parameters were changed: what is made of them is made again at the next call.
    fn netc_artifact_parameters_changed(net: *mut Net) -> ()
        = "void", "NET *net" => calls::parameters_changed;

    /// The values of one of NET_STATES, `[batch, …]` with the batch of the last call, to be read or changed between
    /// calls; valid as long as the instance. NULL if there is none, or no call has left values since NET_reset.
    fn netc_artifact_state(net: *mut Net, index: usize) -> *mut f32
        = "float *", "NET *net, size_t index" => calls::state;

    /// Replaces one of NET_STATES, `[batch, …]`, for a batch of this size: of carried states at any time, of single steps
    /// after NET_begin with the same batch. For real-time threads.
    fn netc_artifact_set_state(net: *mut Net, index: usize, batch: usize, values: *const f32) -> c_int
        = "int", "NET *net, size_t index, size_t batch, const float *values" => calls::set_state;
}
