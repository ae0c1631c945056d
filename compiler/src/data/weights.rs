//! A file of weights, mapped into memory rather than read.
#![expect(unsafe_code, reason = "a file is mapped, and its bytes are looked at as numbers")]

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use memmap2::{Mmap, MmapOptions};

use super::file;
use crate::error::Error;

/// The bytes of a file of weights, for [`Session::with_weights_file`](crate::Session::with_weights_file).
///
/// A regular file is *mapped*: what a network reads of it comes from the system's cache when it is first read, and lies in
/// memory once, whoever else maps it. A parameter is copied when it is first changed. Anything else (a pipe) is read.
///
/// **The file must stay as it is while a session lives that began with it.** To replace it by another under its name is
/// fine (as [`file::write`] does, and so whatever netc saves): the session keeps the old one. But where a program writes
/// into the file itself, the session may compute with either content; and where one cuts it short, the system ends the
/// process that reads behind its end. On Windows a file cannot be replaced while it is mapped.
///
/// ```
/// use ndarray::array;
/// use netc::data::Weights;
/// use netc::{Net, Session, SessionOptions, inputs};
///
/// let net = Net::from_source("m.net", "net m {\n  input x[2]\n  y = dense(1)\n  output y\n}");
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("m.safetensors");
/// std::fs::write(&path, net.compile(&SessionOptions::default())?.to_safetensors(false)).unwrap();
/// let weights = Weights::open(&path)?;
/// let mut session = Session::with_weights_file(net.check()?, &SessionOptions::default(), &weights)?;
/// session.forward(inputs![array![[1.0_f32, 2.0]]])?;
/// # Ok::<(), netc::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Weights {
    content: Arc<Content>,
}

#[derive(Debug)]
enum Content {
    Mapped(Mmap),
    Read(Vec<u8>),
}

impl Weights {
    /// Maps a file, or reads what cannot be mapped. What its bytes say is looked at by the session.
    ///
    /// # Errors
    /// When it cannot be opened or read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let opened = file::open(path)?;
        let is_plain = opened.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0);
        let content = match is_plain.then(|| map(&opened)).flatten() {
            Some(mapped) => Content::Mapped(mapped),
            None => Content::Read(file::read(path, u64::MAX - 1)?),
        };
        Ok(Weights { content: Arc::new(content) })
    }
    /// All of the file.
    pub fn bytes(&self) -> &[u8] {
        match &*self.content {
            Content::Mapped(mapped) => mapped,
            Content::Read(bytes) => bytes,
        }
    }
    /// The numbers in this range of bytes, where they lie; `None` when they lie askew, or in the other order of bytes.
    pub(crate) fn floats(&self, range: Range<usize>) -> Option<&[f32]> {
        // SAFETY: any four bytes are an `f32`.
        let (before, floats, after) = unsafe { self.bytes().get(range)?.align_to::<f32>() };
        (before.is_empty() && after.is_empty() && cfg!(target_endian = "little")).then_some(floats)
    }
    /// Takes this range out of the process's memory until it is read again.
    pub(crate) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Content::Mapped(mapped) = &*self.content
            && let Some(len) = range.end.min(mapped.len()).checked_sub(range.start)
        {
            // SAFETY: nothing can have written to the pages of this mapping, so that they come back as they were.
            let released =
                unsafe { mapped.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, len) };
            // Only advice: where the system will not, the pages stay.
            released.ok();
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

fn map(file: &File) -> Option<Mmap> {
    // SAFETY: nobody writes through a mapping for reading alone. That nobody else changes the file is asked for by
    // `Weights`, and this program's own writing replaces files and never changes them.
    unsafe { MmapOptions::new().map_copy_read_only(file) }.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_lie_where_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w");
        let bytes: Vec<u8> = [1.0_f32, 2.0, 3.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(&path, &bytes).unwrap();
        let weights = Weights::open(&path).unwrap();
        assert!(matches!(*weights.content, Content::Mapped(_)));
        assert_eq!(weights.bytes(), bytes);
        assert_eq!(weights.floats(4..12), Some(&[2.0, 3.0][..]));
        weights.release(0..12);
        assert_eq!(weights.floats(0..4), Some(&[1.0][..]));
        assert_eq!((weights.floats(2..6), weights.floats(8..16), weights.floats(0..3)), (None, None, None));
        // Another file under its name is another file.
        file::write(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!(weights.bytes(), bytes);
    }

    #[test]
    fn what_cannot_be_mapped_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("empty");
        std::fs::write(&path, "").unwrap();
        assert!(matches!(&*Weights::open(&path).unwrap().content, Content::Read(bytes) if bytes.is_empty()));
        assert!(Weights::open(dir.path()).is_err());
    }
}
