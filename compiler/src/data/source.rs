//! The text of networks: files, and the files that they import.

use std::path::{Path, PathBuf};

use super::file;
use crate::diag::{Code, Message};
use crate::error::Error;
use crate::syntax::decode;

/// The largest description of a network, in bytes.
pub const MAX_SOURCE: u64 = 16 << 20;

/// The text of an import: its path is relative to the file that imports it.
///
/// # Errors
/// When there is no such file, or it is no text.
pub fn import(path: &str, from: &Path) -> Result<String, Message> {
    let whole: PathBuf = from.with_file_name(path);
    let looked = format!("looked for `{}`", whole.display());
    // A pipe would be waited for without end.
    if std::fs::metadata(&whole).is_ok_and(|metadata| !metadata.is_file()) {
        let text = format!("`{path}` cannot be imported: it is no file");
        return Err(Message::new(Code::ImportNotFound, text).note(looked));
    }
    let bytes = file::read(&whole, MAX_SOURCE).map_err(|error| {
        let reason = match error {
            Error::File { message, .. } => message,
            error => error.to_string(),
        };
        Message::new(Code::ImportNotFound, format!("`{path}` cannot be imported: {reason}")).note(looked)
    })?;
    decode(&bytes).map(str::to_owned)
}
