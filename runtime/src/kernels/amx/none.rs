//! What stands for [`super::packed`] and [`super::long`] on machines that never have the unit.
#![expect(unsafe_code, reason = "as of what it stands for")]

pub(crate) mod packed {
    use super::super::super::packed::{Pack, Packed};

    pub(crate) unsafe fn pack(_: &Pack<'_>) -> bool {
        unreachable!("nobody asks for a unit that is not there");
    }

    pub(crate) unsafe fn product(_: &Packed<'_>) {
        unreachable!("nobody asks for a unit that is not there");
    }
}

pub(crate) mod long {
    use super::super::super::gemm::Gemm;

    pub(crate) unsafe fn product(_: &Gemm<'_>) {
        unreachable!("nobody asks for a unit that is not there");
    }
}
