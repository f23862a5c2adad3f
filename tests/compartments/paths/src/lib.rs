//! Tries to get out of a granted folder by the names of files.

cofferdam_guest::compartment!({
    path: "wit",
    world: "paths",
    implementation: crate::paths::Paths,
    inline_feature: "inline",
});

#[cfg(any(cofferdam_guest, feature = "inline"))]
mod paths;
