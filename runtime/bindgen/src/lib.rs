//! The macro behind `cofferdam::client!`: a typed Rust client from a WIT world.
//!
//! ```text
//! options --> WIT (wit-parser) --> World --check--> tokens
//! ```
//!
//! What is generated is written against `cofferdam::client`, and has no authority of its own: it names the functions that a
//! world exports, with their types in Rust, and an edge carries the calls. This crate depends on nothing else of Cofferdam.

#![forbid(unsafe_code)]

mod generate;
mod options;
mod problem;
mod source;

#[cfg(test)]
#[path = "../../../tests/bindgen/expansion.rs"]
mod expansion;

use proc_macro2::TokenStream;

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

/// The macro with the tokens of `proc_macro2`, which exist outside of a compiler too.
fn expand(input: TokenStream) -> syn::Result<TokenStream> {
    let options = syn::parse2(input)?;
    let source = source::load(&options)?;
    let mut tokens = generate::world(&source.resolve, source.world, &options.crate_path)
        .map_err(|problems| problem::report(&problems, options.wit.span()))?;
    tokens.extend(source.watched());
    Ok(tokens)
}
