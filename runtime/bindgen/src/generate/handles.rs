//! Handles in parameters and results: the structs that users hold on one side, what crosses on the other.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use wit_parser::{Handle, Type, TypeDefKind};

use super::world::{Place, World};

/// Turns the parameter `value` into what crosses. Pushes lent handles to `__lent` and given ones to `__given`.
pub(crate) fn lower(world: &World, value: &TokenStream, ty: &Type) -> TokenStream {
    let Some(kind) = with_handle(world, ty) else { return value.clone() };
    let inner = quote!(__value);
    match kind {
        TypeDefKind::Handle(Handle::Borrow(_)) => quote!({
            __lent.push(&#value.handle);
            #value.handle.lend()
        }),
        TypeDefKind::Handle(Handle::Own(_)) => quote!({
            let (__any, __handle) = #value.handle.give();
            __given.push(__handle);
            __any
        }),
        other => shape(other, value, &|ty| lower(world, &inner, ty), &|value, ty| lower(world, value, ty)),
    }
}

/// Turns the result `value` into what users hold. Needs `__owner`, and `__client` for the structs.
pub(crate) fn lift(world: &World, place: Place, value: &TokenStream, ty: &Type) -> TokenStream {
    let Some(kind) = with_handle(world, ty) else { return value.clone() };
    let inner = quote!(__value);
    match kind {
        TypeDefKind::Handle(Handle::Own(resource) | Handle::Borrow(resource)) => {
            let path = world.type_path(world.behind(*resource), place);
            quote!(#path {
                client: ::std::sync::Arc::clone(__client),
                handle: __owner.handle(#value),
            })
        }
        other => shape(other, value, &|ty| lift(world, place, &inner, ty), &|value, ty| {
            lift(world, place, value, ty)
        }),
    }
}

/// The shape behind all names, if there is a handle in it.
fn with_handle<'w>(world: &'w World, ty: &Type) -> Option<&'w TypeDefKind> {
    let Type::Id(id) = ty else { return None };
    world.has_handle(ty).then(|| &world.resolve.types[world.behind(*id)].kind)
}

/// Takes the value apart and puts it together again. `inner` turns `__value`, `part` what it is told.
fn shape(
    kind: &TypeDefKind,
    value: &TokenStream,
    inner: &dyn Fn(&Type) -> TokenStream,
    part: &dyn Fn(&TokenStream, &Type) -> TokenStream,
) -> TokenStream {
    match kind {
        TypeDefKind::Option(ty) => {
            let inner = inner(ty);
            quote!(match #value {
                ::std::option::Option::Some(__value) => ::std::option::Option::Some(#inner),
                ::std::option::Option::None => ::std::option::Option::None,
            })
        }
        TypeDefKind::Result(parts) => {
            let [ok, err] =
                [&parts.ok, &parts.err].map(|ty| ty.as_ref().map_or_else(|| quote!(__value), inner));
            quote!(match #value {
                ::std::result::Result::Ok(__value) => ::std::result::Result::Ok(#ok),
                ::std::result::Result::Err(__value) => ::std::result::Result::Err(#err),
            })
        }
        TypeDefKind::List(ty) => {
            let inner = inner(ty);
            quote!({
                let mut __list = ::std::vec::Vec::with_capacity(#value.len());
                for __value in #value {
                    __list.push(#inner);
                }
                __list
            })
        }
        TypeDefKind::Tuple(tuple) => {
            let names: Vec<_> = (0..tuple.types.len()).map(|at| format_ident!("__{at}")).collect();
            let parts = names.iter().zip(&tuple.types).map(|(name, ty)| part(&quote!(#name), ty));
            quote!({
                let (#(#names,)*) = #value;
                (#(#parts,)*)
            })
        }
        _ => unreachable!("handles are in these only; others were refused"),
    }
}
