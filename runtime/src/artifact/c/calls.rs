//! What the functions of the table do.
#![expect(unsafe_code, reason = "C hands over raw pointers")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::PathBuf;

use super::layout::{self, Options};
use super::net::{Kind, Net, write_message};
use crate::artifact::call::{Arguments, none};
use crate::artifact::description::{Element, Role, Task};
use crate::artifact::error::ensure;
use crate::artifact::raw::Artifact;
use crate::artifact::{Error, Instance, Network, Status, Tasks};

/// The options of C for this network; those of [`options_default`] when there are none.
///
/// # Safety
/// The axes stand behind the options.
unsafe fn read_options(network: &Network, options: *const Options) -> crate::artifact::Options {
    let mut read = network.options();
    if options.is_null() {
        return read;
    }
    // SAFETY: promised by the caller.
    let Options { batch, threads, seed, tasks, .. } = unsafe { *options };
    (read.batch, read.threads, read.seed, read.tasks) = (batch, threads, seed, Tasks(tasks));
    // SAFETY: one past the options, where the axes are.
    let axes = unsafe { options.add(1) }.cast::<usize>();
    for (at, steps) in read.steps.iter_mut().enumerate() {
        // SAFETY: there are as many words as axes.
        *steps = unsafe { *axes.add(at) };
    }
    read
}

pub(super) unsafe fn options_default(artifact: *const Artifact, options: *mut Options) {
    // SAFETY: the thunk hands over the network's artifact.
    let Ok(network) = (unsafe { Network::new(artifact) }) else { return };
    if options.is_null() {
        return;
    }
    let crate::artifact::Options { batch, steps, threads, seed, tasks } = network.options();
    let (memory, message) = (std::ptr::null_mut(), std::ptr::null_mut());
    let (tasks, reserved, memory_size, message_size) = (tasks.0, 0, 0, 0);
    let defaults = Options { batch, threads, seed, tasks, reserved, memory, memory_size, message, message_size };
    // SAFETY: C's struct has these fields, and one word for each axis behind them.
    unsafe {
        options.write(defaults);
        options.add(1).cast::<usize>().write_bytes(0, steps.len());
    }
}

/// The status of a result; on failure the message goes where the options say.
unsafe fn report(options: *const Options, result: Result<(), Error>) -> c_int {
    let Err(Error { status, message }) = result else { return 0 };
    if !options.is_null() {
        // SAFETY: the options of the caller.
        let Options { message: to, message_size, .. } = unsafe { *options };
        if !to.is_null() && message_size > 0 {
            // SAFETY: as many bytes as the caller says.
            write_message(&message, unsafe { std::slice::from_raw_parts_mut(to.cast(), message_size) });
        }
    }
    status as c_int
}

pub(super) unsafe fn memory_size(artifact: *const Artifact, options: *const Options, bytes: *mut usize) -> c_int {
    let asked = || {
        ensure!(!bytes.is_null(), InvalidArgument, "`bytes` is NULL");
        // SAFETY: the thunk hands over the network's artifact, and C its options.
        unsafe {
            let network = Network::new(artifact)?;
            *bytes = Instance::memory_bytes(&network, &read_options(&network, options))?;
        }
        Ok(())
    };
    // SAFETY: the caller's options.
    unsafe { report(options, asked()) }
}

pub(super) unsafe fn create(artifact: *const Artifact, options: *const Options, net: *mut *mut Net) -> c_int {
    let made = || {
        ensure!(!net.is_null(), InvalidArgument, "`net` is NULL");
        // SAFETY: as the caller promises: a place for the instance, the artifact and the options.
        unsafe {
            *net = std::ptr::null_mut();
            let network = Network::new(artifact)?;
            let read = read_options(&network, options);
            let (memory, size) =
                if options.is_null() { (none(0), 0) } else { ((*options).memory, (*options).memory_size) };
            let instance = match memory.is_null() {
                true => Instance::new(&network, &read)?,
                false => Instance::new_in(&network, &read, memory, size)?,
            };
            *net = Box::into_raw(Box::new(Net::new(instance)));
        }
        Ok(())
    };
    // SAFETY: the caller's options.
    unsafe { report(options, made()) }
}

pub(super) unsafe fn destroy(net: *mut Net) {
    if !net.is_null() {
        // SAFETY: made by `create`.
        drop(unsafe { Box::from_raw(net) });
    }
}

pub(super) unsafe fn status_text(status: c_int) -> *const c_char {
    layout::status_text(status).as_ptr()
}

pub(super) unsafe fn error_message(net: *const Net) -> *const c_char {
    // SAFETY: NULL or an instance.
    unsafe { net.as_ref() }.map_or(c"".as_ptr(), Net::message)
}

pub(super) unsafe fn version() -> *const c_char {
    const TEXT: &str = match option_env!("CARGO_PKG_VERSION") {
        Some(version) => version,
        None => "",
    };
    static VERSION: [u8; TEXT.len() + 1] = {
        let mut bytes = [0; TEXT.len() + 1];
        let mut at = 0;
        while at < TEXT.len() {
            bytes[at] = TEXT.as_bytes()[at];
            at += 1;
        }
        bytes
    };
    VERSION.as_ptr().cast()
}

/// Calls with the instance; its status, and the message kept in the instance.
unsafe fn with(net: *mut Net, call: impl FnOnce(&mut Instance) -> Result<(), Error>) -> c_int {
    // SAFETY: NULL or an instance that nobody else uses now.
    let Some(net) = (unsafe { net.as_mut() }) else { return Status::InvalidArgument as c_int };
    match call(&mut net.instance) {
        Ok(()) => 0,
        Err(error) => net.fail(&error),
    }
}

unsafe fn read_path(path: *const c_char) -> Result<PathBuf, Error> {
    ensure!(!path.is_null(), InvalidArgument, "`path` is NULL");
    // SAFETY: a text of the caller.
    let text = unsafe { CStr::from_ptr(path) };
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        Ok(PathBuf::from(std::ffi::OsStr::from_bytes(text.to_bytes())))
    }
    #[cfg(not(unix))]
    {
        let text = text.to_str().map_err(|_| Error::new(Status::InvalidArgument, "`path` is not UTF-8"))?;
        Ok(PathBuf::from(text))
    }
}

pub(super) unsafe fn load(net: *mut Net, path: *const c_char) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { with(net, |instance| instance.load(&read_path(path)?)) }
}

pub(super) unsafe fn load_memory(net: *mut Net, bytes: *const c_void, size: usize) -> c_int {
    let load = |instance: &mut Instance| {
        ensure!(!bytes.is_null(), InvalidArgument, "`bytes` is NULL");
        // SAFETY: as many bytes as the caller says.
        instance.load_memory(unsafe { std::slice::from_raw_parts(bytes.cast(), size) })
    };
    // SAFETY: as the caller promises.
    unsafe { with(net, load) }
}

pub(super) unsafe fn save(net: *mut Net, path: *const c_char, with_training: c_int) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { with(net, |instance| instance.save(&read_path(path)?, with_training != 0)) }
}

/// The arrays of a call, as C hands them over; each may be NULL.
struct Given {
    sizes: *const usize,
    inputs: *const *const c_void,
    targets: *const *const c_void,
    outputs: *const *mut c_void,
    states: *const *mut f32,
    loss: *mut f32,
    metrics: *mut f32,
}

const NOTHING: Given = Given {
    sizes: std::ptr::null(),
    inputs: std::ptr::null(),
    targets: std::ptr::null(),
    outputs: std::ptr::null(),
    states: std::ptr::null(),
    loss: std::ptr::null_mut(),
    metrics: std::ptr::null_mut(),
};

/// The item of a list, unless that is NULL.
///
/// # Safety
/// The list has such an item.
unsafe fn item<T: Copy>(list: *const T, at: usize) -> Option<T> {
    // SAFETY: promised by the caller.
    (!list.is_null()).then(|| unsafe { *list.add(at) })
}

/// `NET_sizes`; the largest of an instance when they are NULL.
struct CSizes {
    words: *const usize,
    batch: usize,
    steps: *const usize,
}

impl CSizes {
    /// # Safety
    /// NULL, or the batch and two words for each axis; the instance stays.
    unsafe fn new(words: *const usize, instance: &Instance) -> CSizes {
        CSizes { words, batch: instance.limits.batch, steps: instance.limits.steps.as_ptr() }
    }
    fn batch(&self) -> usize {
        // SAFETY: the first word.
        unsafe { item(self.words, 0) }.unwrap_or(self.batch)
    }
    /// The steps along an axis that the network has, and the lengths.
    fn axis(&self, at: usize) -> (usize, *const i32) {
        // SAFETY: the words of this axis.
        match unsafe { (item(self.words, 1 + 2 * at), item(self.words, 2 + 2 * at)) } {
            (Some(steps), Some(lengths)) => (steps, lengths as *const i32),
            // SAFETY: the instance has a limit for each axis.
            _ => (unsafe { *self.steps.add(at) }, std::ptr::null()),
        }
    }
}

impl Given {
    unsafe fn run(self, net: *mut Net, task: Task) -> c_int {
        // SAFETY: as the caller promises: every array of pointers that is not NULL has all of its kind.
        unsafe { with(net, |instance| self.call(instance, task)) }
    }

    unsafe fn call(self, instance: &mut Instance, task: Task) -> Result<(), Error> {
        let network = instance.network().clone();
        let d = network.description();
        let n = d.ports.iter().take_while(|port| !port.is_target).count();
        // SAFETY: promised by the caller.
        let sizes = unsafe { CSizes::new(self.sizes, instance) };
        // SAFETY: promised by the caller: a list that is not NULL has one pointer for each of its kind.
        let [inputs, targets] = [self.inputs, self.targets].map(|list| move |at| unsafe { item(list, at) });
        // SAFETY: as above.
        let outputs = |at: usize| unsafe { item(self.outputs, at) };
        // SAFETY: as above.
        let state = |at: usize| unsafe { item(self.states, at) };
        let port = |at: usize| {
            let array = if at < n { inputs(at) } else { targets(at - n) };
            array.unwrap_or(std::ptr::null())
        };
        let result = |at: usize| -> *mut c_void {
            let role = &d.results[at].role;
            let before = d.results[..at].iter().filter(|other| other.role == *role).count();
            match role {
                Role::Output => outputs(before).unwrap_or(none(at)),
                Role::Loss => self.loss.cast(),
                Role::Metric if self.metrics.is_null() => none(at),
                Role::Metric => self.metrics.wrapping_add(before).cast(),
            }
        };
        let state = |at: usize| state(at).unwrap_or(none(at));
        let states: Option<&dyn Fn(usize) -> *mut f32> = if self.states.is_null() { None } else { Some(&state) };
        let axis = |at: usize| sizes.axis(at);
        let arguments = Arguments { batch: sizes.batch(), axis: &axis, port: &port, result: &result, states };
        // SAFETY: the caller's arrays are as long as the sizes say.
        unsafe { instance.run(task, &arguments) }
    }
}

pub(super) unsafe fn forward(
    net: *mut Net,
    sizes: *const usize,
    inputs: *const *const c_void,
    outputs: *const *mut c_void,
) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { Given { sizes, inputs, outputs, ..NOTHING }.run(net, Task::Forward) }
}

pub(super) unsafe fn evaluate(
    net: *mut Net,
    sizes: *const usize,
    inputs: *const *const c_void,
    targets: *const *const c_void,
    outputs: *const *mut c_void,
    loss: *mut f32,
    metrics: *mut f32,
) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { Given { sizes, inputs, targets, outputs, loss, metrics, ..NOTHING }.run(net, Task::Evaluate) }
}

pub(super) unsafe fn train_step(
    net: *mut Net,
    sizes: *const usize,
    inputs: *const *const c_void,
    targets: *const *const c_void,
    loss: *mut f32,
    metrics: *mut f32,
) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { Given { sizes, inputs, targets, loss, metrics, ..NOTHING }.run(net, Task::TrainStep) }
}

pub(super) unsafe fn begin(
    net: *mut Net,
    sizes: *const usize,
    inputs: *const *const c_void,
    outputs: *const *mut c_void,
) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { Given { sizes, inputs, outputs, ..NOTHING }.run(net, Task::Begin) }
}

pub(super) unsafe fn step(
    net: *mut Net,
    inputs: *const *const c_void,
    states: *const *mut f32,
    outputs: *const *mut c_void,
) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { Given { inputs, states, outputs, ..NOTHING }.run(net, Task::Step) }
}

pub(super) unsafe fn reset(net: *mut Net) -> c_int {
    let reset = |instance: &mut Instance| {
        instance.reset();
        Ok(())
    };
    // SAFETY: as the caller promises.
    unsafe { with(net, reset) }
}

pub(super) unsafe fn set_carry(net: *mut Net, carry: c_int) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { with(net, |instance| instance.set_carry(carry != 0)) }
}

pub(super) unsafe fn learning_rate(net: *const Net) -> f64 {
    // SAFETY: NULL or an instance.
    unsafe { net.as_ref() }.map_or(f64::NAN, |net| net.instance.learning_rate())
}

pub(super) unsafe fn set_learning_rate(net: *mut Net, rate: f64) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { with(net, |instance| instance.set_learning_rate(rate)) }
}

pub(super) unsafe fn steps_done(net: *const Net) -> u64 {
    // SAFETY: NULL or an instance.
    unsafe { net.as_ref() }.map_or(0, |net| net.instance.steps_done())
}

pub(super) unsafe fn forget_training(net: *mut Net) -> c_int {
    let forget = |instance: &mut Instance| {
        instance.forget_training();
        Ok(())
    };
    // SAFETY: as the caller promises.
    unsafe { with(net, forget) }
}

/// An instance and a kind, when there are both.
unsafe fn of_kind<'a>(net: *const Net, kind: c_int) -> Option<(&'a Net, Kind)> {
    // SAFETY: NULL or an instance.
    Some((unsafe { net.as_ref() }?, Kind::of(kind)?))
}

pub(super) unsafe fn count(net: *const Net, kind: c_int) -> usize {
    // SAFETY: as the caller promises.
    unsafe { of_kind(net, kind) }.map_or(0, |(net, kind)| net.names(kind).len())
}

pub(super) unsafe fn name(net: *const Net, kind: c_int, index: usize) -> *const c_char {
    // SAFETY: as the caller promises.
    let name = unsafe { of_kind(net, kind) }.and_then(|(net, kind)| net.names(kind).get(index));
    name.map_or(std::ptr::null(), |name| name.as_ptr())
}

pub(super) unsafe fn find(net: *const Net, kind: c_int, name: *const c_char) -> isize {
    // SAFETY: as the caller promises.
    let (Some((net, kind)), false) = (unsafe { of_kind(net, kind) }, name.is_null()) else { return -1 };
    // SAFETY: a text of the caller.
    let name = unsafe { CStr::from_ptr(name) };
    net.names(kind).iter().position(|known| **known == *name).map_or(-1, |at| at as isize)
}

pub(super) unsafe fn element(net: *const Net, kind: c_int, index: usize) -> c_int {
    // SAFETY: as the caller promises.
    let element = unsafe { of_kind(net, kind) }.and_then(|(net, kind)| net.element(kind, index));
    match element {
        Some(Element::F32) => 0,
        Some(Element::I32) => 1,
        None => -1,
    }
}

pub(super) unsafe fn rank(net: *const Net, kind: c_int, index: usize) -> usize {
    // SAFETY: as the caller promises.
    unsafe { of_kind(net, kind) }.and_then(|(net, kind)| net.shape(kind, index)).map_or(0, |shape| shape.len())
}

pub(super) unsafe fn shape(net: *mut Net, kind: c_int, index: usize, sizes: *const usize, shape: *mut usize) -> c_int {
    // SAFETY: as the caller promises.
    let found = unsafe { of_kind(net, kind) }.and_then(|(net, kind)| Some((net, net.shape(kind, index)?)));
    let Some((found_net, dims)) = found else {
        let missing = |_: &mut Instance| Err(Error::new(Status::InvalidArgument, "there is no such array"));
        // SAFETY: as the caller promises.
        return unsafe { with(net, missing) };
    };
    let instance = &found_net.instance;
    // SAFETY: as the caller promises.
    let sizes = unsafe { CSizes::new(sizes, instance) };
    let d = instance.network().description();
    let mut values = vec![0; d.symbols.len()];
    d.eval_symbols(sizes.batch() as u64, |at| sizes.axis(at).0 as u64, &mut values);
    for (at, dim) in dims.iter().enumerate() {
        // SAFETY: the caller has room for as many sizes as the array has axes.
        unsafe { *shape.add(at) = dim.eval(&values) as usize };
    }
    0
}

pub(super) unsafe fn parameter(net: *mut Net, index: usize) -> *mut f32 {
    // SAFETY: NULL or an instance that nobody else uses now.
    let Some(net) = (unsafe { net.as_mut() }) else { return std::ptr::null_mut() };
    let tensor = net.instance.parameters.get(index).copied();
    tensor.and_then(|at| net.instance.tensor_mut(at)).map_or(std::ptr::null_mut(), <[f32]>::as_mut_ptr)
}

pub(super) unsafe fn parameters_changed(net: *mut Net) {
    // SAFETY: NULL or an instance that nobody else uses now.
    if let Some(net) = unsafe { net.as_mut() } {
        net.instance.parameters_changed();
    }
}

pub(super) unsafe fn state(net: *mut Net, index: usize) -> *mut f32 {
    // SAFETY: NULL or an instance that nobody else uses now.
    let Some(net) = (unsafe { net.as_mut() }) else { return std::ptr::null_mut() };
    net.instance.state_mut(index).map_or(std::ptr::null_mut(), <[f32]>::as_mut_ptr)
}

pub(super) unsafe fn set_state(net: *mut Net, index: usize, batch: usize, values: *const f32) -> c_int {
    let set = |instance: &mut Instance| {
        ensure!(!values.is_null(), InvalidArgument, "`values` is NULL");
        let len = instance.state_len(index, batch)?;
        // SAFETY: as many values as the state has.
        instance.set_state(index, batch, unsafe { std::slice::from_raw_parts(values, len) })
    };
    // SAFETY: as the caller promises.
    unsafe { with(net, set) }
}
