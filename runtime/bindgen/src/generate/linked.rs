//! The third expansion of a compartment crate: the implementation linked into its consumer, behind the same client. Calls go from
//! the client's types to the implementation's, which are the same; only handles are looked up.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::Path;
use wit_parser::{Function, Handle, Type, TypeDefKind, TypeId};

use super::guest::{map_shape, method_names, resources};
use super::types::Handles;
use super::types::Types;
use super::world::{Place, World};

/// What makes a function of the client one that can be called without a compartment. `at` is the module that it stands in.
pub(crate) fn function(world: &World, place: Place, functions: &[&Function], number: usize) -> TokenStream {
    let (Some(path), Some(feature)) = (world.beside.implementation, world.beside.feature) else {
        return feature_of(world);
    };
    let api = world.api();
    let function = functions[number];
    let method = &method_names(world, functions)[number];
    let names: Vec<_> = (0..function.params.len()).map(|at| format_ident!("__p{at}")).collect();
    let arguments = names
        .iter()
        .zip(&function.params)
        .map(|(name, parameter)| owning(world, path, place, &quote!(#name), &parameter.ty));
    let result = match &function.result {
        None => quote!(()),
        Some(ty) => {
            let turn = |value: &TokenStream, _: &Type| quote!(__linked.keep(#value));
            let given = map_shape(world, &quote!(__result), ty, &turn, &|ty| !world.has_handle(ty));
            quote!((#given,))
        }
    };
    quote! {
        const INLINE_FEATURE: ::std::option::Option<&'static str> = ::std::option::Option::Some(#feature);
        const LINKED: bool = true;
        #[allow(
            clippy::let_unit_value, clippy::useless_conversion, clippy::clone_on_copy, clippy::ptr_arg, clippy::needless_lifetimes,
            clippy::question_mark_used, clippy::needless_pass_by_value, unused_variables,
            reason = "the same for every type"
        )]
        fn call_linked(
            (#(#names,)*): Self::Params<'_>,
            __linked: &#api::Linked<'_>,
        ) -> ::std::result::Result<Self::Results, #api::StaleResource> {
            let __result = <#path as Guest>::#method(#(#arguments),*);
            ::std::result::Result::Ok(#result)
        }
    }
}

/// The name of the feature, where the implementation is not linked.
fn feature_of(world: &World) -> TokenStream {
    world.beside.feature.map_or_else(TokenStream::new, |feature| {
        quote!(const INLINE_FEATURE: ::std::option::Option<&'static str> = ::std::option::Option::Some(#feature);)
    })
}

/// Turns a borrowed parameter into what an implementation takes.
fn owning(world: &World, path: &Path, place: Place, value: &TokenStream, ty: &Type) -> TokenStream {
    let id = match ty {
        Type::String => return quote!(::std::borrow::ToOwned::to_owned(#value)),
        Type::Id(id) => world.behind(*id),
        _ => return value.clone(),
    };
    let again = |value: &TokenStream, ty: &Type| owning(world, path, place, value, ty);
    let inner = quote!(__value);
    match &world.resolve.types[id].kind {
        TypeDefKind::Record(_) | TypeDefKind::Variant(_) => quote!(::std::clone::Clone::clone(#value)),
        TypeDefKind::Handle(Handle::Own(resource)) => {
            let ty = world.resource_type(*resource, &quote!(#path), place);
            quote!(__linked.take::<#ty>(#value)?)
        }
        TypeDefKind::Handle(Handle::Borrow(resource)) => {
            let ty = world.resource_type(*resource, &quote!(#path), place);
            quote!(__linked.lend::<#ty>(#value)?)
        }
        TypeDefKind::List(element) if world.has_handle(element) => {
            let turned = again(&inner, element);
            quote!({
                let mut __list = ::std::vec::Vec::with_capacity(#value.len());
                for __value in #value {
                    __list.push(#turned);
                }
                __list
            })
        }
        TypeDefKind::List(_) => quote!(#value.to_vec()),
        TypeDefKind::Option(ty) => {
            let turned = again(&inner, ty);
            quote!(match #value {
                ::std::option::Option::Some(__value) => ::std::option::Option::Some(#turned),
                ::std::option::Option::None => ::std::option::Option::None,
            })
        }
        TypeDefKind::Result(parts) => {
            let [ok, err] = [&parts.ok, &parts.err]
                .map(|ty| ty.as_ref().map_or_else(|| inner.clone(), |ty| again(&inner, ty)));
            quote!(match #value {
                ::std::result::Result::Ok(__value) => ::std::result::Result::Ok(#ok),
                ::std::result::Result::Err(__value) => ::std::result::Result::Err(#err),
            })
        }
        TypeDefKind::Tuple(tuple) => {
            let names: Vec<_> = (0..tuple.types.len()).map(|at| format_ident!("__{at}")).collect();
            let parts = names.iter().zip(&tuple.types).map(|(name, ty)| again(&quote!(#name), ty));
            quote!({
                let (#(#names,)*) = #value;
                (#(#parts,)*)
            })
        }
        TypeDefKind::Type(inner) => again(value, inner),
        _ => value.clone(),
    }
}

/// The trait that linked code implements, beside the client's types.
pub(crate) fn trait_of(
    world: &World,
    place: Place,
    text: &str,
    functions: &[&Function],
    own: &[TypeId],
) -> TokenStream {
    if world.beside.implementation.is_none() || (functions.is_empty() && own.is_empty()) {
        return TokenStream::new();
    }
    super::guest::definition_of_trait(world, place, text, functions, own)
}

/// The trait of the interface at `at`.
pub(crate) fn trait_of_module(world: &World, at: usize) -> TokenStream {
    let module = &world.modules[at];
    if module.exported.is_none() {
        return TokenStream::new();
    }
    let functions: Vec<&Function> = world.resolve.interfaces[module.interface].functions.values().collect();
    let text = format!("What implements `{}`.", module.title);
    trait_of(world, Place::Module(module.interface), &text, &functions, &resources(world, at))
}

/// The interfaces that linked code calls of its host: modules of functions, as in a guest.
pub(crate) fn imported(world: &World, at: usize) -> TokenStream {
    let module = &world.modules[at];
    let (Some(_), Some(interface)) = (world.beside.implementation, &module.imported) else {
        return TokenStream::new();
    };
    let place = Place::Module(module.interface);
    let types = Types { world, place, handles: Handles::Struct };
    let api = world.api();
    let functions = world.resolve.interfaces[module.interface].functions.values().map(|function| {
        let name = format!("{interface}#{}", function.name);
        let shape = super::crossing::shape(world.resolve, function);
        super::guest::imports::wrapper(
            world,
            &types,
            function,
            &|arguments| quote!(#api::call_provided(#name, #shape, &(#(#arguments,)*))),
        )
    });
    quote!(#(#functions)*)
}
