//! Static libraries: object files in one file, with an index of their symbols.

use std::io::Cursor;

use ar_archive_writer::{ArchiveKind, DEFAULT_OBJECT_READER, NewArchiveMember, write_archive_to_stream};

use crate::codegen::Target;

/// The members by their names, without dates or owners: the same members give the same bytes.
pub(super) fn archive(target: Target, members: &[(&str, &[u8])]) -> Vec<u8> {
    let kind = if target.is_apple() { ArchiveKind::Darwin } else { ArchiveKind::Gnu };
    let members: Vec<NewArchiveMember<'_>> = members
        .iter()
        .map(|&(name, bytes)| NewArchiveMember::new(bytes, &DEFAULT_OBJECT_READER, name.to_owned()))
        .collect();
    let mut bytes = Cursor::new(Vec::new());
    let written = write_archive_to_stream(&mut bytes, &members, kind, false, None);
    written.unwrap_or_else(|error| panic!("an archive of our own object files: {error}"));
    bytes.into_inner()
}
