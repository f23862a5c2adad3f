//! Callbacks: what a consumer implements of an interface that its compartment's world imports.

use proc_macro2::TokenStream;
use quote::quote;
use wit_parser::Function;

use super::crossing::shape;
use super::docs::docs;
use super::name::{Scope, snake};
use super::types::{Handles, Types};
use super::wit::signature;
use super::world::{Place, World};

/// The trait of an imported interface, and the function that makes of an implementation what a runtime takes.
pub(crate) fn provide(world: &World, at: usize) -> TokenStream {
    let module = &world.modules[at];
    let Some(interface) = &module.imported else { return TokenStream::new() };
    let api = world.api();
    let types = Types { world, place: Place::Module(module.interface), handles: Handles::Struct };
    let functions: Vec<&Function> = world.resolve.interfaces[module.interface].functions.values().collect();
    let mut names = Scope::default();
    let written = functions.iter().map(|function| {
        let name = names.take(snake(&function.name));
        let mut scope = Scope::default();
        let params: Vec<_> = function.params.iter().map(|one| scope.take(snake(&one.name))).collect();
        let owned: Vec<_> = function.params.iter().map(|one| types.owned(&one.ty)).collect();
        let result = function.result.as_ref().map(|ty| types.owned(ty));
        let docs =
            docs(&function.docs, &format!("The function `{}`, which the compartment calls.", function.name));
        let returned = result.as_ref().map(|ty| quote!(-> #ty));
        let declared = quote! {
            #docs
            #[allow(clippy::too_many_arguments, clippy::type_complexity, reason = "as in WIT")]
            fn #name(&self, #(#params: #owned),*) #returned;
        };
        let (item, text, shape) =
            (&function.name, signature(world.resolve, function), shape(world.resolve, function));
        let results = result.as_ref().map_or_else(|| quote!(()), |ty| quote!((#ty,)));
        let called = quote!(Host::#name(&*__own, #(#params),*));
        let answer = if result.is_some() { quote!((#called,)) } else { quote!(#called) };
        let provided = quote! {
            let __own = ::std::sync::Arc::clone(&__host);
            #[allow(clippy::type_complexity, reason = "as in WIT")]
            let __provided = __provided.function::<(#(#owned,)*), #results>(
                #item, #text, #shape, move |(#(#params,)*): (#(#owned,)*)| #answer,
            );
        };
        (declared, provided)
    });
    let (declared, provided): (Vec<_>, Vec<_>) = written.unzip();
    let text = format!(
        " What a consumer implements of `{interface}`: the compartment calls it, in the time of its own calls."
    );
    quote! {
        #[doc = #text]
        pub trait Host: ::std::marker::Send + ::std::marker::Sync + 'static {
            #(#declared)*
        }

        /// An implementation as a runtime takes it: `RuntimeBuilder::provide`.
        pub fn provide(host: impl Host) -> #api::Provided {
            let __host = ::std::sync::Arc::new(host);
            let __provided = #api::Provided::new(#interface);
            #(#provided)*
            __provided
        }
    }
}
