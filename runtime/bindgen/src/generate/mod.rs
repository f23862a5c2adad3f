//! Writes the client of a world.

mod check;
mod crossing;
mod definition;
mod docs;
mod function;
mod guest;
mod handles;
mod linked;
mod name;
mod provide;
mod types;
mod wit;
mod world;

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Ident, Path};
use wit_parser::{Resolve, TypeDefKind, WorldId};

use crate::problem::Problem;
use definition::definition;
use docs::docs;
use function::Functions;
pub(crate) use guest::{Implementation, guest};
use name::Scope;
pub(crate) use world::Beside;
use world::{Place, Side, World};

/// The client of one world, or everything that keeps it from having one.
pub(crate) fn world(
    resolve: &Resolve,
    id: WorldId,
    crate_path: &Path,
    beside: Beside<'_>,
) -> Result<TokenStream, Vec<Problem>> {
    let world = World::new(resolve, id, Side::Client, crate_path, beside);
    let problems = check::check(&world);
    if !problems.is_empty() {
        return Err(problems);
    }
    let modules = (0..world.modules.len()).map(|at| module(&world, at));
    let types = world.types.iter().map(|ty| definition(&world, *ty, Place::Root)).filter(|ty| !ty.is_empty());
    let client = client(&world);
    let hidden = hidden(&world);
    let text = format!("What implements the functions of the world `{}` itself.", world.title);
    let own_trait = if world.functions.is_empty() {
        TokenStream::new()
    } else {
        linked::trait_of(&world, Place::Root, &text, &world.functions, &[])
    };
    Ok(quote! {
        #client
        #own_trait
        #(
            #[allow(rustdoc::all, reason = "the text is the WIT's")]
            #types
        )*
        #(#modules)*
        #hidden
    })
}

/// The world's own struct.
fn client(world: &World) -> TokenStream {
    let (api, name, hidden, title) = (world.api(), &world.name, world.hidden(), &world.title);
    let groups = groups(world);
    let fields: Vec<_> = groups.iter().map(Functions::field).collect();
    let checked: Vec<_> = groups.iter().map(Functions::checked).collect();
    // Interfaces may be called as locals would be.
    let locals: Vec<_> = (0..groups.len()).map(|at| format_ident!("__{at}")).collect();
    let mut taken = Scope::with(&["open"]);
    let getters: TokenStream = world
        .modules
        .iter()
        .filter_map(|module| Some((module, module.client.as_ref()?)))
        .map(|(module, client)| {
            let (home, wit) = (&module.name, &module.title);
            let getter = taken.take(home.to_string());
            let docs = format!(" The functions of `{wit}`.");
            quote! {
                #[doc = #docs]
                pub fn #getter(&self) -> #home::#client {
                    #home::#client { client: ::std::sync::Arc::clone(&self.client) }
                }
            }
        })
        .collect();
    let methods = Functions::of_world(world).methods(taken);
    let docs = docs(
        &world.resolve.worlds[world.id].docs,
        &format!("A client of components that export the world `{title}`."),
    );
    let debug = debug(name);
    let needed = world.beside.implementation.map(|_| {
        let imports = guest::imports::imports(world);
        let (names, shapes): (Vec<_>, Vec<_>) = imports.into_iter().unzip();
        quote!(expected.needs(&[#((#names, #shapes)),*]);)
    });
    quote! {
        #docs
        #[derive(Clone)]
        #[allow(rustdoc::all, reason = "the text is the WIT's")]
        pub struct #name {
            client: ::std::sync::Arc<#hidden::__Client>,
        }
        #debug
        #[allow(rustdoc::all, reason = "the text is the WIT's")]
        impl #name {
            /// The client for one edge. Nothing is called yet.
            ///
            /// # Errors
            /// The component could not be read, or does not export what this world says; the error has every difference.
            pub fn open(edge: #api::Edge) -> ::std::result::Result<Self, #api::StartError> {
                let mut expected = edge.expect(#title);
                #needed
                let found = (#(#checked::find(&mut expected),)*);
                expected.finish()?;
                let (#(::std::option::Option::Some(#locals),)*) = found else {
                    ::std::unreachable!("`finish` fails when a function was not found")
                };
                ::std::result::Result::Ok(Self {
                    client: ::std::sync::Arc::new(#hidden::__Client { __edge: edge, #(#fields: #locals,)* }),
                })
            }
            #getters
            #methods
        }
    }
}

/// What the clients of one edge and all resources share, and the functions of the world itself.
fn hidden(world: &World) -> TokenStream {
    let (api, hidden) = (world.api(), world.hidden());
    let groups = groups(world);
    let fields = groups.iter().map(Functions::field);
    let checked = groups.iter().map(Functions::checked);
    let declarations = (!world.functions.is_empty()).then(|| Functions::of_world(world).declarations());
    quote! {
        #[doc(hidden)]
        mod #hidden {
            pub struct __Client {
                pub __edge: #api::Edge,
                #(pub #fields: super::#checked,)*
            }
        }
        #declarations
    }
}

/// Every place that has functions.
fn groups<'w>(world: &'w World) -> Vec<Functions<'w>> {
    (0..world.modules.len())
        .filter(|at| world.modules[*at].client.is_some())
        .map(|at| Functions::of_module(world, at))
        .chain((!world.functions.is_empty()).then(|| Functions::of_world(world)))
        .collect()
}

fn module(world: &World, at: usize) -> TokenStream {
    let module = &world.modules[at];
    let place = Place::Module(module.interface);
    let (name, title) = (&module.name, &module.title);
    let interface = &world.resolve.interfaces[module.interface];
    let otherwise = match module.exported {
        Some(_) => format!("The interface `{title}`."),
        None => format!("Types of the interface `{title}`."),
    };
    let docs_of_module = docs(&interface.docs, &otherwise);
    let types = module.types.iter().map(|ty| definition(world, *ty, place));
    let functions = Functions::of_module(world, at);
    let client = module.client.as_ref().map(|client| {
        let docs = format!(" The functions of `{title}`, called over one edge.");
        let (hidden, debug) = (world.hidden(), debug(client));
        let methods = functions.methods(Scope::default());
        quote! {
            #[doc = #docs]
            #[derive(Clone)]
            pub struct #client {
                pub(super) client: ::std::sync::Arc<super::#hidden::__Client>,
            }
            #debug
            impl #client { #methods }
        }
    });
    let declarations = module.client.as_ref().map(|_| functions.declarations());
    let resources = module.types.iter().filter_map(|ty| {
        let definition = &world.resolve.types[*ty];
        let is_own = matches!(definition.kind, TypeDefKind::Resource) && module.exported.is_some();
        is_own.then(|| {
            let name = world.type_name(*ty);
            let wit = definition.name.as_deref().unwrap_or_default();
            let docs =
                docs(&definition.docs, &format!("The resource `{wit}`, a handle to one in the guest."));
            let (api, hidden) = (world.api(), world.hidden());
            let methods = functions.resource_methods(*ty, module.client.as_ref());
            quote! {
                #docs
                pub struct #name {
                    pub(super) client: ::std::sync::Arc<super::#hidden::__Client>,
                    pub(super) handle: #api::Handle,
                }
                impl ::std::fmt::Debug for #name {
                    fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                        f.debug_struct(::std::stringify!(#name))
                            .field("edge", &self.client.__edge.name())
                            .field("handle", &self.handle)
                            .finish()
                    }
                }
                impl #name { #methods }
            }
        })
    });
    let (own_trait, provide, imported) =
        (linked::trait_of_module(world, at), provide::provide(world, at), linked::imported(world, at));
    quote! {
        #docs_of_module
        #[allow(rustdoc::all, reason = "the text is the WIT's")]
        pub mod #name {
            #client
            #(#resources)*
            #(#types)*
            #declarations
            #own_trait
            #provide
            #imported
        }
    }
}

/// A client shows its edge.
fn debug(name: &Ident) -> TokenStream {
    quote! {
        impl ::std::fmt::Debug for #name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_struct(::std::stringify!(#name)).field("edge", &self.client.__edge.name()).finish()
            }
        }
    }
}
