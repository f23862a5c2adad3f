//! What the macros write, without a compiler around them: their own source, as a test.

#![forbid(unsafe_code)]
#![allow(dead_code, reason = "what only the macros use")]

#[path = "../runtime/bindgen/src/expand.rs"]
mod expand;
#[path = "bindgen/expansion.rs"]
mod expansion;
#[path = "../runtime/bindgen/src/generate/mod.rs"]
mod generate;
#[path = "../runtime/bindgen/src/options.rs"]
mod options;
#[path = "../runtime/bindgen/src/problem.rs"]
mod problem;
#[path = "../runtime/bindgen/src/source.rs"]
mod source;
