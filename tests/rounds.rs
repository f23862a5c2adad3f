//! How often tests of faults try things, and what they choose at random: bounded, and the same for one seed.

/// How often, where a test does not say otherwise. `COFFERDAM_FAULT_ROUNDS` makes it longer; the default is for CI.
pub(crate) fn rounds(default: u64) -> u64 {
    std::env::var("COFFERDAM_FAULT_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// `COFFERDAM_FAULT_SEED` makes it other.
#[allow(dead_code, reason = "not every test chooses")]
pub(crate) fn seed() -> u64 {
    std::env::var("COFFERDAM_FAULT_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Splitmix64.
#[allow(dead_code, reason = "not every test chooses")]
pub(crate) struct Random(pub(crate) u64);

#[allow(dead_code, reason = "not every test chooses")]
impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
