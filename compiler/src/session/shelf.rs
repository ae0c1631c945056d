//! Arrays that a caller has done with, for the next call to write: large ones would cost the system fresh pages each time.

use std::sync::{Arc, Mutex, PoisonError};

use ndarray::{ArrayD, IxDyn};

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
        None => ArrayD::zeros(IxDyn(shape)),
    }
}
