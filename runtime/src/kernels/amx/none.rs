//! What stands for [`super::packed`] on machines that never have the unit.
#![expect(unsafe_code, reason = "as of what it stands for")]

use super::super::packed::{Pack, Packed};

pub(crate) unsafe fn pack(_: &Pack<'_>) {
    unreachable!("nobody asks for a unit that is not there");
}

pub(crate) unsafe fn product(_: &Packed<'_>) {
    unreachable!("nobody asks for a unit that is not there");
}
