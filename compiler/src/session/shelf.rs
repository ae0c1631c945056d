//! Arrays that a caller has done with, for the next call to write: large ones would cost the system fresh pages each time.

use std::sync::{Arc, Mutex, PoisonError};

use ndarray::{Array1, ArrayD, IxDyn, s};

/// Floats of a line of the caches.
const LINE: usize = 16;

/// The arrays of the last outputs that were dropped, shared by a session and what it returns.
#[derive(Debug, Clone, Default)]
pub(super) struct Shelf(Arc<Mutex<Vec<ArrayD<f32>>>>);

impl PartialEq for Shelf {
    /// What lies on a shelf is no part of the outputs.
    fn eq(&self, _: &Shelf) -> bool {
        true
    }
}

impl Shelf {
    /// All that lies here; what the caller does not use again is freed, so that a session never keeps more than the
    /// arrays of one call.
    pub(super) fn take(&self) -> Vec<ArrayD<f32>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
    /// Keeps these arrays in place of earlier ones.
    pub(super) fn put_back(&self, arrays: Vec<ArrayD<f32>>) {
        // The earlier ones are freed after the lock.
        let _earlier = std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), arrays);
    }
}

/// An array of this shape, with any content: one of `used`, or a new one.
pub(super) fn array(used: &mut Vec<ArrayD<f32>>, shape: &[usize]) -> ArrayD<f32> {
    match used.iter().position(|array| array.shape() == shape && array.is_standard_layout()) {
        Some(at) => used.swap_remove(at),
        None => aligned(shape),
    }
}

/// Zeros that begin with a line of the caches: vectors are then stored to whole lines.
fn aligned(shape: &[usize]) -> ArrayD<f32> {
    let n: usize = shape.iter().product();
    let all = Array1::<f32>::zeros(n + LINE);
    let skipped = all.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
    let array = all.slice_move(s![skipped..skipped + n]);
    array.into_shape_with_order(IxDyn(shape)).expect("as many elements, one after the other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_begin_with_a_line() {
        for shape in [&[][..], &[0], &[5], &[3, 1000], &[2, 3, 70_000]] {
            let array = aligned(shape);
            assert_eq!(array.shape(), shape);
            assert!(array.is_standard_layout());
            assert!(array.is_empty() || array.as_ptr().addr().is_multiple_of(64), "{shape:?}");
            assert!(array.iter().all(|&x| x == 0.0));
        }
    }
}
