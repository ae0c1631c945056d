//! What operands of products are prepared for.

use crate::kernels::matmul;

/// For which numbers of rows the operands of products were prepared: for one, for several, for many or for some of these.
#[derive(Clone, Debug)]
pub struct PreparedFor(Vec<[bool; 3]>);

impl PreparedFor {
    /// For nothing so far, with operands for so many different numbers of rows.
    pub fn new(len: usize) -> PreparedFor {
        PreparedFor(vec![[false; 3]; len])
    }

    /// Whether something must be prepared before products of these numbers of rows: because everything `is_new`, or because
    /// there were no such numbers since. It counts as prepared from then on.
    ///
    /// ```
    /// use netc_runtime::artifact::PreparedFor;
    /// let mut prepared = PreparedFor::new(1);
    /// assert!(prepared.lacks([1], true));
    /// assert!(prepared.lacks([3], false));
    /// assert!(!prepared.lacks([8], false));
    /// assert!(prepared.lacks([64], false));
    /// assert!(!prepared.lacks([1], false));
    /// ```
    pub fn lacks(&mut self, rows: impl IntoIterator<Item = usize>, is_new: bool) -> bool {
        let mut lacks = is_new;
        for (known, rows) in self.0.iter_mut().zip(rows) {
            if is_new {
                *known = [false; 3];
            }
            let known = &mut known[matmul::class(rows)];
            lacks |= !std::mem::replace(known, true);
        }
        lacks
    }
}
