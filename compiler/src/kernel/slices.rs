//! Parts of a buffer that a recurrence's steps find at other places at each step.

use super::Buffer;
use crate::types::Dim;

/// A buffer of [`Home::Slice`](super::Home::Slice): at step `t` it begins at element `offset + (t + shift) * stride` of `of`.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice {
    pub buffer: Buffer,
    pub of: Buffer,
    pub offset: Dim,
    pub stride: Dim,
    /// Added to the step.
    pub shift: i64,
    pub turns: Turns,
}

/// Which steps of a scan have a place of their own in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turns {
    /// Each.
    All,
    /// The buffer has room for two, which take turns.
    Two,
    /// Each of a round, if a back end computes [`Scan::ahead`](super::Scan::ahead) in rounds; the buffer has room for all.
    Round,
}

impl Slice {
    /// Which of the parts of `of` it is at a step.
    pub fn position(&self, step: i64) -> i64 {
        let at = step + self.shift;
        match self.turns {
            Turns::All | Turns::Round => at,
            Turns::Two => at.rem_euclid(2),
        }
    }
}
