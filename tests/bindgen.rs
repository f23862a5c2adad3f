//! Generated clients against wasmtime: they compile, they fit a component of the same world, and calls arrive.

#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, clippy::pedantic)]

#[path = "bindgen/client.rs"]
mod client;

/// The simplest world.
pub mod text {
    cofferdam_bindgen::client!({ path: "../../tests/bindgen/text.wit", crate_path: crate });
}
/// Every type.
pub mod every_type {
    cofferdam_bindgen::client!({ path: "../../tests/bindgen/every-type.wit", crate_path: crate });
}
/// Handles in every place.
pub mod resources {
    cofferdam_bindgen::client!({ path: "../../tests/bindgen/resources.wit", world: "media", crate_path: crate });
}
/// Types and interfaces of several packages.
pub mod shared {
    cofferdam_bindgen::client!({ path: "../../tests/bindgen/shared", world: "shared", crate_path: crate });
}
/// Names that Rust uses for something else.
pub mod names {
    cofferdam_bindgen::client!({ path: "../../tests/bindgen/names.wit", crate_path: crate });
}
