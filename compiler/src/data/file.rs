//! Files: read within limits, and written so that an interruption or a full disk loses nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The error of an operation on a file.
pub fn failed(path: &Path, error: &io::Error) -> Error {
    Error::File { path: path.display().to_string(), message: reason(error) }
}

/// Content that is not what it should be.
pub fn damaged(path: &Path, message: impl AsRef<str>) -> Error {
    Error::Input(format!("{}: {}", path.display(), message.as_ref()))
}

/// The system's reason in the style of our messages: `no such file or directory`.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        // A word in capitals is a name.
        Some(first) if !chars.as_str().starts_with(char::is_uppercase) => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

/// The whole file, of at most `limit` bytes.
///
/// # Errors
/// When it cannot be read or is larger.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let file = open(path)?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| failed(path, &error))?;
    if bytes.len() as u64 > limit {
        return Err(damaged(path, format!("is larger than {limit} bytes, more than is read of a file of its kind")));
    }
    Ok(bytes)
}

/// The whole file, of at most `limit` bytes, as UTF-8.
///
/// # Errors
/// When it cannot be read, is larger, or is no UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String, Error> {
    let bytes = read(path, limit)?;
    String::from_utf8(bytes).map_err(|_| damaged(path, "is no text in UTF-8"))
}

/// Opens a file; a directory is an error here already.
///
/// # Errors
/// When it cannot be opened.
pub fn open(path: &Path) -> Result<File, Error> {
    let file = File::open(path).map_err(|error| failed(path, &error))?;
    let is_dir = file.metadata().map_err(|error| failed(path, &error))?.is_dir();
    if is_dir { Err(failed(path, &io::Error::from(io::ErrorKind::IsADirectory))) } else { Ok(file) }
}

/// Writes a file under a temporary name beside it and renames it when it is complete, so that the old file
/// stays whole until then. What is no regular file, `/dev/null` or a pipe, is written directly.
///
/// # Errors
/// When something cannot be written; the temporary file is removed.
pub fn write(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
    // A link stays, and the file that it names is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let old = fs::metadata(&target).ok();
    if old.as_ref().is_some_and(|old| !old.is_file()) {
        let file = OpenOptions::new().write(true).open(&target).map_err(|error| failed(path, &error))?;
        return complete(file, content).map(drop).map_err(|error| failed(path, &error));
    }
    let (temporary, file) = temporary(&target).map_err(|error| failed(path, &error))?;
    let written = complete(file, content).and_then(|file| {
        if let Some(old) = &old {
            file.set_permissions(old.permissions())?;
        }
        file.sync_all()?;
        fs::rename(&temporary, &target)
    });
    written.map_err(|error| {
        // It may never have been made; the first error is the one to tell.
        let _ = fs::remove_file(&temporary);
        failed(path, &error)
    })
}

/// Whether [`write()`] could write the file: to be asked before an hour of work.
///
/// # Errors
/// When it could not.
pub fn check_writable(path: &Path) -> Result<(), Error> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if target.is_dir() {
        return Err(failed(path, &io::Error::from(io::ErrorKind::IsADirectory)));
    }
    if target.exists() && !target.is_file() {
        return Ok(());
    }
    let (temporary, _) = temporary(&target).map_err(|error| failed(path, &error))?;
    fs::remove_file(temporary).map_err(|error| failed(path, &error))
}

fn complete(file: File, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<File> {
    let mut writer = BufWriter::with_capacity(1 << 16, file);
    content(&mut writer)?;
    writer.into_inner().map_err(io::IntoInnerError::into_error)
}

/// A new file beside `path`, under a name that nothing has.
fn temporary(path: &Path) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_string_lossy().into_owned();
    for attempt in 0.. {
        let temporary = path.with_file_name(format!(".{name}.{}-{attempt}.part", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 100 => {}
            Err(error) => return Err(error),
        }
    }
    unreachable!("the loop ends at its hundredth attempt")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;
    use std::path::Path;

    use super::{check_writable, read, write};
    use crate::error::Error;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weights");
        fs::write(&path, "old").unwrap();
        let full = write(&path, |file| {
            file.write_all(b"half of the new")?;
            Err(io::Error::from_raw_os_error(28))
        });
        let Err(Error::File { message, .. }) = full else { panic!("{full:?}") };
        assert_eq!(message, "no space left on device");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        write(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn errors_say_what_and_where() {
        let dir = tempfile::tempdir().unwrap();
        let error =
            |path: &Path| read(path, 3).unwrap_err().to_string().replace(&dir.path().display().to_string(), "DIR");
        assert_eq!(error(&dir.path().join("nothing")), "DIR/nothing: no such file or directory");
        assert_eq!(error(dir.path()), "DIR: is a directory");
        fs::write(dir.path().join("large"), "1234").unwrap();
        assert_eq!(
            error(&dir.path().join("large")),
            "DIR/large: is larger than 3 bytes, more than is read of a file of its kind"
        );
        let unwritable = write(&dir.path().join("no/such/place"), |_| Ok(())).unwrap_err();
        assert!(unwritable.to_string().ends_with("no/such/place: no such file or directory"), "{unwritable}");
    }

    #[test]
    fn what_could_be_written_is_known_before() {
        let dir = tempfile::tempdir().unwrap();
        check_writable(&dir.path().join("new")).unwrap();
        assert!(check_writable(&dir.path().join("no/new")).is_err() && check_writable(dir.path()).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn links_and_devices_stay_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write(&link, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        write(Path::new("/dev/null"), |file| file.write_all(b"new")).unwrap();
    }
}
