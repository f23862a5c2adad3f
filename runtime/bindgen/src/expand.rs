//! The macros with the tokens of `proc_macro2`, which exist outside of a compiler too.

use proc_macro2::TokenStream;
use quote::quote;

use crate::options::Options;
use crate::{generate, problem, source};

/// The guest's side, with `main`.
pub(crate) fn expand_guest(input: TokenStream) -> syn::Result<TokenStream> {
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

/// A client or the guest's side, by how the crate is built.
pub(crate) fn expand_compartment(input: TokenStream) -> syn::Result<TokenStream> {
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

/// A client.
pub(crate) fn expand(input: TokenStream) -> syn::Result<TokenStream> {
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
