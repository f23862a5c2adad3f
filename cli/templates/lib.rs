//! @ABOUT@

cofferdam_guest::compartment!({
    path: "wit",
    world: "@NAME@",
    implementation: crate::implementation::Implementation,
    inline_feature: "inline",
});

#[cfg(any(cofferdam_guest, feature = "inline"))]
mod implementation;
