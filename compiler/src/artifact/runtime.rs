//! The runtime that travels inside the compiler, as an object file.

use std::io::Read;

use flate2::read::DeflateDecoder;

use crate::codegen::Target;
use crate::error::Error;

/// Made by the build script; empty on machines that networks are not compiled on.
static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/runtime.o.deflate"));

/// The runtime's object file: what network code calls. It needs the C library alone.
///
/// # Errors
/// When it is that of another machine.
pub fn runtime(target: Target) -> Result<Vec<u8>, Error> {
    if Target::host() != Some(target) {
        let message = format!("this netc has no runtime for {target}: an object file and a header can be written");
        return Err(Error::Unsupported(message));
    }
    let mut object = Vec::new();
    DeflateDecoder::new(PACKED).read_to_end(&mut object).expect("the build script packed it");
    Ok(object)
}
