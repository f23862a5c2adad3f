//! What a guest calls of other compartments: the interfaces that its world imports, as functions.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Ident;
use wit_parser::{Function, Type, TypeDefKind};

use super::super::crossing::shape;
use super::super::definition::definition;
use super::super::docs::docs;
use super::super::name::{Scope, snake};
use super::super::types::{Handles, Types};
use super::super::world::{Place, World};
use super::component::home;

/// Every imported function, as the host knows it: its name and the digest of its types. A call names one by its place.
pub(in crate::generate) fn imports(world: &World) -> Vec<(String, u64)> {
    let imported = world.modules.iter().filter_map(|module| Some((module, module.imported.as_ref()?)));
    imported
        .flat_map(|(module, name)| {
            let functions = world.resolve.interfaces[module.interface].functions.values();
            functions
                .map(move |function| (format!("{name}#{}", function.name), shape(world.resolve, function)))
        })
        .collect()
}

/// The module of an imported interface: its types, and a function for each of its own. So is that of types which such interfaces share
/// with exported ones.
pub(super) fn module(world: &World, at: usize) -> TokenStream {
    let module = &world.modules[at];
    let place = Place::Module(module.interface);
    let (name, title) = (&module.name, &module.title);
    let interface = &world.resolve.interfaces[module.interface];
    let of = if module.shared { "" } else { " of another compartment" };
    let docs_of_module = docs(&interface.docs, &format!("The interface `{title}`{of}."));
    let types = module.types.iter().map(|ty| definition(world, *ty, place));
    let before = world.modules[..at].iter().filter(|module| module.imported.is_some());
    let first: usize = before.map(|module| world.resolve.interfaces[module.interface].functions.len()).sum();
    let functions = interface
        .functions
        .values()
        .enumerate()
        .map(|(index, one)| function(world, place, first + index, one));
    let theirs = home(world, module.interface);
    quote! {
        #docs_of_module
        #[allow(rustdoc::all, reason = "the text is the WIT's")]
        #[cfg(not(target_family = "wasm"))]
        pub mod #name {
            #(#types)*
            #(#functions)*
        }
        #docs_of_module
        #[cfg(target_family = "wasm")]
        pub mod #name {
            pub use super::__component::#theirs::*;
        }
    }
}

fn function(world: &World, place: Place, index: usize, function: &Function) -> TokenStream {
    let api = world.api();
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    let types = Types { world, place, handles: Handles::Struct };
    wrapper(world, &types, function, &|names| quote!(#api::call_host(#index, &(#(#names,)*))))
}

/// An imported function as Rust. `call` gives the expression that makes the call, whose value is a tuple of the result.
pub(in crate::generate) fn wrapper(
    world: &World,
    types: &Types<'_>,
    function: &Function,
    call: &dyn Fn(&[Ident]) -> TokenStream,
) -> TokenStream {
    let docs = docs(&function.docs, &format!("Calls `{}` of another compartment.", function.name));
    let mut scope = Scope::default();
    let names: Vec<_> = function.params.iter().map(|one| scope.take(snake(&one.name))).collect();
    let declared = names.iter().zip(&function.params).map(|(name, parameter)| {
        // As wit-bindgen has it: a record without text or lists goes by value.
        let ty = if is_flat(world, &parameter.ty) {
            types.owned(&parameter.ty)
        } else {
            types.borrowed(&parameter.ty, None)
        };
        quote!(#name: #ty)
    });
    let name = Scope::default().take(snake(&function.name));
    let call = call(&names);
    let (returned, body) = match &function.result {
        None => (TokenStream::new(), quote!(let () = #call;)),
        Some(ty) => {
            let ty = types.owned(ty);
            (quote!(-> #ty), quote!(let (__result,) = #call; __result))
        }
    };
    quote! {
        #docs
        ///
        /// # Panics
        /// When the call fails: the edge is revoked, or what is behind it failed. The caller of this guest is told.
        #[allow(clippy::too_many_arguments, reason = "as in WIT")]
        pub fn #name(#(#declared),*) #returned { #body }
    }
}

/// Whether a record or variant has no text and no list in it.
fn is_flat(world: &World, ty: &Type) -> bool {
    let Type::Id(id) = ty else { return false };
    matches!(world.resolve.types[world.behind(*id)].kind, TypeDefKind::Record(_) | TypeDefKind::Variant(_))
        && world.traits(ty).copy
}
