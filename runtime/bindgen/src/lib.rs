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

use options::Options;
use proc_macro2::TokenStream;
use quote::quote;

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

fn expand_guest(input: TokenStream) -> syn::Result<TokenStream> {
    let options: Options = syn::parse2(input)?;
    let mut tokens = guest_side(&options)?;
    tokens.extend(main_of(&quote!(self::__serve)));
    Ok(tokens)
}

/// Everything of the guest but `main`.
fn guest_side(options: &Options) -> syn::Result<TokenStream> {
    let source = source::load(options)?;
    let Some(path) = &options.implementation else {
        let text = "say what implements the world: `implementation: crate::Codec`";
        return Err(syn::Error::new(options.wit.span(), text));
    };
    let implementation = generate::Implementation { path, wit: &options.wit };
    let crate_path = options.path_or("::cofferdam_guest");
    let mut tokens = generate::guest(&source.resolve, source.world, &crate_path, &implementation)
        .map_err(|problems| problem::report(&problems, options.wit.span()))?;
    tokens.extend(source.watched());
    Ok(tokens)
}

fn expand_compartment(input: TokenStream) -> syn::Result<TokenStream> {
    let options: Options = syn::parse2(input)?;
    let guest = guest_side(&options)?;
    let source = source::load(&options)?;
    let client = |implementation: Option<&syn::Path>| {
        let beside =
            generate::Beside { guest: true, implementation, feature: options.inline_feature.as_ref() };
        generate::world(&source.resolve, source.world, &syn::parse_quote!(::cofferdam), beside)
            .map_err(|problems| problem::report(&problems, options.wit.span()))
    };
    let clients = match &options.inline_feature {
        None => {
            let client = client(None)?;
            quote!(#[cfg(not(cofferdam_guest))] mod __client { #client })
        }
        Some(feature) => {
            let (apart, linked) = (client(None)?, client(options.implementation.as_ref())?);
            quote! {
                #[cfg(all(not(cofferdam_guest), not(feature = #feature)))]
                mod __client { #apart }
                #[cfg(all(not(cofferdam_guest), feature = #feature))]
                mod __client { #linked }
            }
        }
    };
    let watched = source.watched();
    let main = main_of(&quote!(self::__guest::__serve));
    Ok(quote! {
        #[cfg(cofferdam_guest)]
        mod __guest { #guest }
        #[cfg(cofferdam_guest)]
        pub use __guest::*;
        #[cfg(cofferdam_guest)]
        #main
        #clients
        #[cfg(not(cofferdam_guest))]
        pub use __client::*;
        #watched
    })
}

/// The entry of a native guest: `cofferdam build` compiles the library as a program.
fn main_of(serve: &TokenStream) -> TokenStream {
    quote! {
        #[cfg(not(target_family = "wasm"))]
        #[allow(dead_code, reason = "a library has no entry")]
        fn main() -> ::std::process::ExitCode {
            #serve()
        }
    }
}

/// The macro with the tokens of `proc_macro2`, which exist outside of a compiler too.
fn expand(input: TokenStream) -> syn::Result<TokenStream> {
    let options: Options = syn::parse2(input)?;
    if let Some(implementation) = &options.implementation {
        let text = "a client has no implementation";
        return Err(syn::Error::new_spanned(implementation, text));
    }
    let source = source::load(&options)?;
    if let Some(feature) = &options.inline_feature {
        let text = "a client has no implementation that a feature could link";
        return Err(syn::Error::new(feature.span(), text));
    }
    let crate_path = options.path_or("::cofferdam");
    let mut tokens = generate::world(&source.resolve, source.world, &crate_path, generate::Beside::default())
        .map_err(|problems| problem::report(&problems, options.wit.span()))?;
    tokens.extend(source.watched());
    Ok(tokens)
}
