//! Which values live in memory, and where.

use crate::graph::Value;
use crate::index::IndexVec;
use crate::kernel::View;

/// The views of all stored values; every other value is inlined where it is used.
#[derive(Debug, Default)]
pub struct Storage {
    pub(super) views: IndexVec<Value, Option<View>>,
}

impl Storage {
    pub fn view(&self, value: Value) -> Option<&View> {
        self.views.get(value)?.as_ref()
    }
}
