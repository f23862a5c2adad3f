//! Compiles the C when the crate is built as a guest; a client has no C in it.

fn main() {
    println!("cargo::rerun-if-changed=c");
    if std::env::var_os("CARGO_CFG_COFFERDAM_GUEST").is_some() {
        cc::Build::new().file("c/greet.c").warnings_into_errors(true).compile("greet");
    }
}
