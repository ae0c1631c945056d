//! What a compiled network brings in place of the system's unwinder: nothing ever unwinds there, since a panic aborts.
//!
//! With these the linker needs no library of the C compiler's, and all that reads debug information for a backtrace goes.
//! The compiler's build script makes them local to the object file, so that no other code ever finds them.
#![expect(unsafe_code, reason = "functions are exported by their names")]
#![expect(non_snake_case, reason = "the names are those of the Itanium C++ ABI")]
#![cfg(any(target_os = "linux", target_os = "android"))]

/// `_URC_END_OF_STACK`
const END_OF_STACK: usize = 5;

macro_rules! nothing {
    ($($name:ident => $value:expr;)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> usize {
            $value
        }
    )*};
}

nothing! {
    _Unwind_Backtrace => END_OF_STACK;
    _Unwind_DeleteException => 0;
    _Unwind_GetCFA => 0;
    _Unwind_GetDataRelBase => 0;
    _Unwind_GetIP => 0;
    _Unwind_GetIPInfo => 0;
    _Unwind_GetLanguageSpecificData => 0;
    _Unwind_GetRegionStart => 0;
    _Unwind_GetTextRelBase => 0;
    _Unwind_RaiseException => END_OF_STACK;
    _Unwind_SetGR => 0;
    _Unwind_SetIP => 0;
}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    std::process::abort()
}
