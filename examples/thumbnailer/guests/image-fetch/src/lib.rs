//! Pictures from one host: the one that the edge grants.

cofferdam_guest::compartment!({
    path: "wit",
    world: "fetch",
    implementation: crate::download_http::Http,
    inline_feature: "inline",
});

#[cfg(any(cofferdam_guest, feature = "inline"))]
mod download_http;
