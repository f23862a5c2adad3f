//! A decoder of PNG that somebody has taken over. It decodes like any other, until a picture carries a word for it.

cofferdam_guest::compartment!({
    path: "wit",
    world: "decode",
    implementation: crate::evil::Evil,
});

#[cfg(cofferdam_guest)]
#[path = "../../png-decode/src/codec.rs"]
#[allow(dead_code, reason = "this crate has an implementation of its own around it")]
mod codec;
#[cfg(cofferdam_guest)]
mod evil;
