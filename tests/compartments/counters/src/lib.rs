//! One source for every backend: types of all kinds, resources, callbacks, streams, and ways to fail.

cofferdam_guest::compartment!({
    path: "wit",
    world: "counting",
    implementation: crate::counting::Counting,
    inline_feature: "inline",
});

#[cfg(any(cofferdam_guest, feature = "inline"))]
mod counting;
