//! Random numbers that are the same in every run.

/// A deterministic sequence of numbers (Steele, Lea and Flood 2014, "SplitMix").
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// From 0 up to but without 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.word() >> 40) as f64 / (1 << 24) as f64
    }
}
