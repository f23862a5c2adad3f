//! JPEG files as pixels. What decodes them is mozjpeg, a C library; where it runs is the consumer's manifest's matter.

cofferdam_guest::compartment!({
    path: "wit",
    world: "decode",
    implementation: crate::codec::Codec,
    inline_feature: "inline",
});

#[cfg(any(cofferdam_guest, feature = "inline"))]
mod codec;
