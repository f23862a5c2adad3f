//! How long resolution takes.
fn main() {}
