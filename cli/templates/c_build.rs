//! Compiles the C where the crate is built as a guest, or linked for `inline`. A client has no C in it.

fn main() {
    println!("cargo::rerun-if-changed=c");
    let is_set = |name| std::env::var_os(name).is_some();
    if is_set("CARGO_CFG_COFFERDAM_GUEST") || is_set("CARGO_FEATURE_INLINE") {
        cc::Build::new().file("c/@NAME@.c").warnings_into_errors(true).compile("@IDENT@");
    }
}
