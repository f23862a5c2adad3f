//! What a camera or program wrote about a picture.

cofferdam_guest::compartment!({
    path: "wit",
    world: "exif",
    implementation: crate::reader::Reader,
    inline_feature: "inline",
});

#[cfg(any(cofferdam_guest, feature = "inline"))]
mod reader;
