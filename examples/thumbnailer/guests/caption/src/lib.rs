//! Pictures with lines of text below.

cofferdam_guest::compartment!({
    path: "wit",
    world: "caption",
    implementation: crate::card::Card,
    inline_feature: "inline",
});

#[cfg(any(cofferdam_guest, feature = "inline"))]
mod card;
