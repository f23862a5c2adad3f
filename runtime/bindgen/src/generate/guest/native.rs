//! Serves an implementation inside a process compartment.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use wit_parser::{Function, Handle, Type, TypeDefKind};

use super::super::crossing::shape;
use super::super::types::{Handles, Types};
use super::super::world::{Place, World};
use super::imports::imports;
use super::{Group, Implementation, groups, map_shape};

/// A function that serves calls until the host has had enough.
pub(super) fn native(world: &World, implementation: &Implementation<'_>) -> TokenStream {
    let api = world.api();
    let served = groups(world).into_iter().flat_map(|group| {
        (0..group.functions.len()).map(|at| serve(world, implementation, &group, at)).collect::<Vec<_>>()
    });
    let (imported, shapes): (Vec<_>, Vec<_>) = imports(world).into_iter().unzip();
    quote! {
        #[doc(hidden)]
        #[cfg(not(target_family = "wasm"))]
        pub fn __serve() -> ::std::process::ExitCode {
            #api::Guest::new()
                #(#served)*
                .imports(&[#((#imported, #shapes)),*])
                .resources(#api::resource::drop)
                .serve()
        }
    }
}

fn serve(world: &World, implementation: &Implementation<'_>, group: &Group<'_>, at: usize) -> TokenStream {
    let (api, path) = (world.api(), implementation.path);
    let (function, method, guest): (&Function, _, _) =
        (group.functions[at], &group.methods[at], &group.guest);
    let name = match group.interface {
        Some(interface) => format!("{interface}#{}", function.name),
        None => function.name.clone(),
    };
    let shape = shape(world.resolve, function);
    let types = Types { world, place: Place::Root, handles: Handles::Wire };
    let names: Vec<_> = (0..function.params.len()).map(|at| format_ident!("__p{at}")).collect();
    let wire = function.params.iter().map(|parameter| types.owned(&parameter.ty));
    let takes = |ty: &Type| world.has_handle(ty);
    let arguments = names.iter().zip(&function.params).map(|(name, parameter)| {
        let turn = |value: &TokenStream, ty: &Type| taken(world, path, value, ty);
        map_shape(world, &quote!(#name), &parameter.ty, &turn, &|ty| !world.has_handle(ty))
    });
    let kept = function
        .params
        .iter()
        .any(|parameter| takes(&parameter.ty))
        .then(|| quote!(let __kept = #api::Kept::<::std::rc::Rc<dyn ::std::any::Any>>::default();));
    let result = match &function.result {
        None => quote!(()),
        Some(ty) => {
            let turn = |value: &TokenStream, _: &Type| quote!(#api::resource::keep(#value));
            let given = map_shape(world, &quote!(__result), ty, &turn, &|ty| !world.has_handle(ty));
            quote!((#given,))
        }
    };
    quote! {
        .shaped_function(#name, #shape, |(#(#names,)*): (#(#wire,)*)| {
            #kept
            #[allow(clippy::let_unit_value, reason = "functions without result are no other case")]
            let __result = <#path as #guest>::#method(#(#arguments),*);
            ::std::option::Option::Some(#result)
        })
    }
}

/// The resource behind a number; `?` ends the call when there is none.
fn taken(world: &World, path: &syn::Path, value: &TokenStream, ty: &Type) -> TokenStream {
    let api = world.api();
    let Type::Id(id) = ty else { return value.clone() };
    match &world.resolve.types[*id].kind {
        TypeDefKind::Handle(Handle::Own(resource)) => {
            let ty = world.resource_type(*resource, &quote!(#path), Place::Root);
            quote!(#api::resource::take::<#ty>(#value)?)
        }
        TypeDefKind::Handle(Handle::Borrow(resource)) => {
            let ty = world.resource_type(*resource, &quote!(#path), Place::Root);
            quote!(#api::resource::lend::<#ty>(&__kept, #value)?)
        }
        _ => value.clone(),
    }
}
