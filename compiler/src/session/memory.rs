//! Memory aligned to cache lines, and the values of tensors in it or in a file.

use std::ops::Range;

use netc_runtime::pages;

use crate::data::Weights;

/// Floats from which on some are worth a large page: as many as a second cache has trouble to hold.
const TOGETHER: usize = 128 << 10;

/// A run of zeroed `f32`, aligned to 64 bytes and, where it fills some, to large pages.
#[derive(Debug, Default)]
pub(super) struct Aligned {
    data: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    pub(super) fn zeroed(len: usize) -> Self {
        Aligned::within(len, len)
    }
    /// As [`Aligned::zeroed`], on a large page even where it does not fill one: for what is read step by step. Small pages lie
    /// anywhere, and some of them would exclude each other from the second cache.
    pub(super) fn zeroed_together(len: usize) -> Self {
        let room = if len >= TOGETHER { len.next_multiple_of(pages::LARGE / size_of::<f32>()) } else { len };
        Aligned::within(room, len)
    }
    fn within(room: usize, len: usize) -> Self {
        // Zeroed pages come from the system without being touched.
        let alignment = pages::alignment(room.saturating_mul(size_of::<f32>()));
        let data = vec![0.0f32; room + alignment / size_of::<f32>()];
        let start = data.as_ptr().align_offset(alignment);
        assert!(start < alignment / size_of::<f32>(), "a vector of f32 is aligned to 4 bytes");
        pages::advise(data[start..].as_ptr().cast(), room * size_of::<f32>());
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

/// The values of a tensor: the session's own, or those of a file until somebody changes them.
#[derive(Debug)]
pub(super) enum Values {
    Own(Aligned),
    /// `f32` at this range of bytes.
    File(Weights, Range<usize>),
}

impl Values {
    pub(super) fn zeroed(len: usize) -> Self {
        Values::Own(Aligned::zeroed(len))
    }
    /// The values of a file at this range of bytes, where they lie if they can be read there.
    pub(super) fn of_file(file: &Weights, range: Range<usize>) -> Self {
        match file.floats(range.clone()) {
            Some(_) => Values::File(file.clone(), range),
            None => Values::from_bytes(&file.bytes()[range]),
        }
    }
    /// A copy of these values, which have four bytes each, the lowest first.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let (bytes, _) = bytes.as_chunks::<4>();
        let mut values = Aligned::zeroed(bytes.len());
        values.as_mut_slice().iter_mut().zip(bytes).for_each(|(to, from)| *to = f32::from_le_bytes(*from));
        Values::Own(values)
    }
    pub(super) fn as_slice(&self) -> &[f32] {
        match self {
            Values::Own(values) => values.as_slice(),
            Values::File(file, range) => file.floats(range.clone()).expect("looked at when it was made"),
        }
    }
    /// For writing: from here on the values are the session's own.
    pub(super) fn as_mut_slice(&mut self) -> &mut [f32] {
        self.own().as_mut_slice()
    }
    pub(super) fn len(&self) -> usize {
        match self {
            Values::Own(values) => values.len(),
            Values::File(_, range) => range.len() / size_of::<f32>(),
        }
    }
    /// The address for generated code that only reads.
    pub(super) fn address(&self) -> u64 {
        self.as_slice().as_ptr().expose_provenance() as u64
    }
    /// The address for generated code that writes, too.
    pub(super) fn address_mut(&mut self) -> u64 {
        self.own().address()
    }
    /// Gives back memory that only shows a file, until the values are read again.
    pub(super) fn release(&self) {
        if let Values::File(file, range) = self {
            file.release(range.clone());
        }
    }
    fn own(&mut self) -> &mut Aligned {
        if let Values::File(..) = self {
            let mut values = Aligned::zeroed(self.len());
            values.as_mut_slice().copy_from_slice(self.as_slice());
            self.release();
            *self = Values::Own(values);
        }
        match self {
            Values::Own(values) => values,
            Values::File(..) => unreachable!("copied above"),
        }
    }
}
