//! Memory aligned to cache lines.

/// How many `f32` are in a cache line.
const LINE: usize = 16;

/// A run of zeroed `f32`, aligned to 64 bytes.
#[derive(Debug, Default)]
pub(super) struct Aligned {
    data: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    pub(super) fn zeroed(len: usize) -> Self {
        // Zeroed pages come from the system without being touched.
        let data = vec![0.0f32; len + LINE];
        let start = data.as_ptr().align_offset(LINE * size_of::<f32>());
        assert!(start < LINE, "a vector of f32 is aligned to 4 bytes");
        Aligned { data, start, len }
    }
    pub(super) fn as_slice(&self) -> &[f32] {
        &self.data[self.start..self.start + self.len]
    }
    pub(super) fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.data[self.start..self.start + self.len]
    }
    pub(super) fn len(&self) -> usize {
        self.len
    }
    /// The address for generated code, which writes through it.
    pub(super) fn address(&mut self) -> u64 {
        self.as_mut_slice().as_mut_ptr().expose_provenance() as u64
    }
}
