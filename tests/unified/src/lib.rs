//! Nothing: the dependencies are all there is to this crate.

#![forbid(unsafe_code)]
