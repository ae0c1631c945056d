//! What the functions of the table do.
#![expect(unsafe_code, reason = "C hands over raw pointers")]
#![expect(clippy::missing_safety_doc, reason = "the table says what C promises")]

use std::ffi::{c_char, c_int, c_void};

use super::layout::Options;
use crate::artifact::raw::Artifact;

/// `NET`.
#[derive(Debug)]
pub struct Net;

/// Until instances are there, every function says so.
const NOT_YET: c_int = 8;

macro_rules! not_yet {
    ($($name:ident($($ty:ty),*) -> $result:ty = $value:expr;)*) => {
        $(pub(super) unsafe fn $name($(_: $ty),*) -> $result { $value })*
    };
}

not_yet! {
    options_default(*const Artifact, *mut Options) -> () = ();
    memory_size(*const Artifact, *const Options, *mut usize) -> c_int = NOT_YET;
    create(*const Artifact, *const Options, *mut *mut Net) -> c_int = NOT_YET;
    destroy(*mut Net) -> () = ();
    status_text(c_int) -> *const c_char = c"".as_ptr();
    error_message(*const Net) -> *const c_char = c"".as_ptr();
    version() -> *const c_char = c"".as_ptr();
    load(*mut Net, *const c_char) -> c_int = NOT_YET;
    load_memory(*mut Net, *const c_void, usize) -> c_int = NOT_YET;
    save(*mut Net, *const c_char, c_int) -> c_int = NOT_YET;
    forward(*mut Net, *const usize, *const *const c_void, *const *mut c_void) -> c_int = NOT_YET;
    evaluate(*mut Net, *const usize, *const *const c_void, *const *const c_void, *const *mut c_void, *mut f32, *mut f32) -> c_int = NOT_YET;
    train_step(*mut Net, *const usize, *const *const c_void, *const *const c_void, *mut f32, *mut f32) -> c_int = NOT_YET;
    begin(*mut Net, *const usize, *const *const c_void, *const *mut c_void) -> c_int = NOT_YET;
    step(*mut Net, *const *const c_void, *const *mut f32, *const *mut c_void) -> c_int = NOT_YET;
    reset(*mut Net) -> c_int = NOT_YET;
    set_carry(*mut Net, c_int) -> c_int = NOT_YET;
    learning_rate(*const Net) -> f64 = 0.0;
    set_learning_rate(*mut Net, f64) -> c_int = NOT_YET;
    steps_done(*const Net) -> u64 = 0;
    forget_training(*mut Net) -> c_int = NOT_YET;
    count(*const Net, c_int) -> usize = 0;
    name(*const Net, c_int, usize) -> *const c_char = std::ptr::null();
    find(*const Net, c_int, *const c_char) -> isize = -1;
    element(*const Net, c_int, usize) -> c_int = -1;
    rank(*const Net, c_int, usize) -> usize = 0;
    shape(*mut Net, c_int, usize, *const usize, *mut usize) -> c_int = NOT_YET;
    parameter(*mut Net, usize) -> *mut f32 = std::ptr::null_mut();
    parameters_changed(*mut Net) -> () = ();
    state(*mut Net, usize) -> *mut f32 = std::ptr::null_mut();
}
