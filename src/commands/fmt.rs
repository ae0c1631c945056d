//! `netc fmt`: files in their canonical form.

use std::path::Path;

use netc::data::file;
use netc::diag::Sources;
use netc::syntax::format;

use crate::args::FmtArgs;
use crate::failure::{Exit, Failure};
use crate::network::{diagnostics, read_source};
use crate::output::{Output, message};

pub fn run(args: &FmtArgs, output: &mut Output) -> Result<(), Failure> {
    let stdin = ["-".to_owned()];
    let files = if args.stdin { &stdin } else { args.files.as_slice() };
    // A file that cannot be formatted does not keep the others from it.
    let (mut first, mut n_unformatted) = (None, 0);
    for path in files {
        match format_file(path, args.check, output) {
            Ok(true) => {}
            Ok(false) => n_unformatted += 1,
            Err(failure) if failure.exit() == Exit::ClosedPipe => return Err(failure),
            Err(failure) => {
                message(failure.text().trim_end());
                first.get_or_insert(failure.exit());
            }
        }
    }
    match first {
        Some(exit) => Err(Failure::rendered(exit, "")),
        None if n_unformatted > 0 => Err(Failure::rendered(Exit::Input, "")),
        None => Ok(()),
    }
}

/// Whether the file is as it should be, in the end.
fn format_file(path: &str, only_checks: bool, output: &mut Output) -> Result<bool, Failure> {
    let (name, text) = read_source(path)?;
    let mut sources = Sources::new();
    let id = sources.add(name.clone(), text.clone());
    let formatted = format(id, &text).map_err(|list| diagnostics(&sources, &list))?;
    match (path, only_checks) {
        (_, true) if formatted != text => {
            output.line(name)?;
            return Ok(false);
        }
        (_, true) => {}
        ("-", false) => output.text(formatted)?,
        (_, false) if formatted != text => {
            file::write(Path::new(path), |file| file.write_all(formatted.as_bytes()))?;
        }
        (_, false) => {}
    }
    Ok(true)
}
