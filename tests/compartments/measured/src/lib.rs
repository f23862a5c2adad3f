//! What the benches call: the least that a call can be, and the ways in which one ends.

cofferdam_guest::compartment!({
    path: "wit",
    world: "measured",
    implementation: crate::measured::Measured,
    inline_feature: "inline",
});

#[cfg(any(cofferdam_guest, feature = "inline"))]
mod measured;
