//! What stands for the unit's products and correlations on machines that never have the unit.
#![expect(unsafe_code, reason = "as of what it stands for")]

pub(crate) mod correlate {
    use crate::scratch::Needs;
    use crate::threads::Team;

    use super::super::super::conv::finish::Finish;
    use super::super::super::conv::geometry::Correlation;

    pub(crate) fn needs(_: &Correlation<'_>) -> Needs {
        Needs::default()
    }

    pub(crate) fn most_parts(_: &Correlation<'_>) -> usize {
        0
    }

    pub(crate) unsafe fn pack(_: Team<'_>, _: &Correlation<'_>, _: *mut f32) {
        unreachable!("nobody asks for a unit that is not there");
    }

    pub(crate) unsafe fn run(_: Team<'_>, _: &Correlation<'_>, _: *const f32, _: Finish<'_>) {
        unreachable!("nobody asks for a unit that is not there");
    }
}

pub(crate) mod packed {
    use super::super::super::packed::Packed;
    use super::super::super::right::Pack;

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
