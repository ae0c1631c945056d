//! The system's linker, through its C compiler: for libraries that are loaded and for programs.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use netc::artifact::{Artifact, runtime};
use netc::data::file;

use crate::failure::{Exit, Failure};

/// Links the network and the runtime to a shared library or a program.
pub fn link(artifact: &Artifact, path: &Path, is_shared: bool) -> Result<(), Failure> {
    let folder = Folder::new()?;
    let [object, library] = [("network.o", &artifact.object), ("runtime.o", &runtime(artifact.target)?)].map(
        |(name, bytes)| -> Result<PathBuf, Failure> {
            let path = folder.0.join(name);
            file::write(&path, |file| file.write_all(bytes))?;
            Ok(path)
        },
    );
    let linked = folder.0.join("linked");
    let compiler = env::var("CC").ok().filter(|cc| !cc.trim().is_empty()).unwrap_or_else(|| "cc".to_owned());
    let mut words = compiler.split_whitespace();
    let mut cc = Command::new(words.next().unwrap_or("cc"));
    cc.args(words).arg("-o").arg(&linked).arg(object?).arg(library?);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match (is_shared, artifact.target.is_apple()) {
        (true, true) => cc.arg("-dynamiclib").arg(format!("-Wl,-install_name,@rpath/{name}")),
        (true, false) => cc.arg("-shared").arg(format!("-Wl,-soname,{name}")),
        (false, _) => &mut cc,
    };
    cc.arg(if artifact.target.is_apple() { "-Wl,-dead_strip" } else { "-Wl,--gc-sections" });
    cc.args(["-s", "-lm", "-lpthread"]);
    let done = cc.output().map_err(|error| {
        let message = format!("`{compiler}` links what is no static library, and cannot be started: {error}");
        Failure::new(Exit::File, format!("{message}; install a C compiler or name one in CC"))
    })?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(Failure::new(Exit::File, format!("`{compiler}` could not link {name}:\n{}", said.trim_end())));
    }
    let bytes = file::read(&linked, u64::MAX - 1)?;
    file::write(path, |file| file.write_all(&bytes))?;
    executable(path)
}

/// Lets everyone run it who may read it.
#[cfg(unix)]
fn executable(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |error| Failure::from(file::failed(path, &error));
    let mut permissions = fs::metadata(path).map_err(failed)?.permissions();
    permissions.set_mode(permissions.mode() | (permissions.mode() & 0o444) >> 2);
    fs::set_permissions(path, permissions).map_err(failed)
}

#[cfg(not(unix))]
fn executable(_: &Path) -> Result<(), Failure> {
    Ok(())
}

/// A folder for the linker, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Failure> {
        for attempt in 0..100 {
            let path = env::temp_dir().join(format!("netc-{}-{attempt}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Folder(path)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(file::failed(&path, &error).into()),
            }
        }
        Err(Failure::new(Exit::File, "there is no name left for a temporary folder"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}
