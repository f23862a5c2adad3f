//! The macro behind `cofferdam::client!`: a typed Rust client from a WIT world.
//!
//! ```text
//! options --> WIT (wit-parser) --> World --check--> tokens
//! ```
//!
//! What is generated is written against `cofferdam::client`, and has no authority of its own: it names the functions that a
//! world exports, with their types in Rust, and an edge carries the calls. This crate depends on nothing else of Cofferdam.

#![forbid(unsafe_code)]

mod expand;
mod generate;
mod options;
mod problem;
mod source;

use expand::{expand, expand_compartment, expand_guest};

/// Generates the client of a WIT world: its functions and types in Rust.
///
/// ```text
/// cofferdam::client!({
///     path: "wit",            // a file, or a folder with its `deps`, below the package's own folder
///     world: "text-filter",   // may be left out when there is only one
/// });
/// ```
///
/// `inline: "package ..."` takes the place of `path`. `crate_path: other::name` says what Cofferdam is called when it is not
/// `::cofferdam`. Call it where items may stand, once in a module.
///
/// # Errors
/// A world that cannot have a client does not compile; the message has the file and line of the WIT item.
#[proc_macro]
pub fn client(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand(input.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Generates the guest's side of a WIT world: types, a trait `Guest` for each interface with functions, and what serves the type
/// that implements them as a component or as a native program.
///
/// ```text
/// cofferdam_guest::guest!({ path: "wit", world: "codec", implementation: crate::Codec });
/// ```
///
/// Call it in the root of the crate: for a native guest, it writes `main`.
///
/// # Errors
/// As [`client!`].
#[proc_macro]
pub fn guest(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand_guest(input.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Generates, by how the crate is built, the guest's side of a WIT world ([`guest!`], where `cofferdam build` compiles it) or its
/// client ([`client!`], everywhere else). With `inline_feature: "inline"`, and that feature of the crate switched on, the client has
/// the implementation beside it, and calls it directly where a manifest says `backend = "inline"`.
///
/// ```text
/// cofferdam_guest::compartment!({ path: "wit", world: "codec", implementation: crate::codec::Codec });
/// ```
///
/// # Errors
/// As [`client!`].
#[proc_macro]
pub fn compartment(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand_compartment(input.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}
