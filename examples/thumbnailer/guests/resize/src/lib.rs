//! Pictures in another size.

cofferdam_guest::compartment!({
    path: "wit",
    world: "resize",
    implementation: crate::scale::Scale,
    inline_feature: "inline",
});

#[cfg(any(cofferdam_guest, feature = "inline"))]
mod scale;
