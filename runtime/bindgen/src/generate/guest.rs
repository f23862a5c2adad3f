//! Writes the guest's side of a world: types, the traits that an implementation has, and what serves it on each backend.

mod component;
pub(super) mod imports;
mod native;

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Ident, Path};
use wit_parser::{Function, InterfaceId, Resolve, Type, TypeDefKind, TypeId, TypeOwner, WorldId};

use super::check;
use super::definition::definition;
use super::docs::docs;
use super::name::{Scope, snake};
use super::types::{Handles, Types};
use super::wit::function_text;
use super::world::{Beside, Place, Side, World};
use crate::options::Wit;
use crate::problem::Problem;

/// What implements the world, and where its WIT is: the macro for components reads it again.
pub(crate) struct Implementation<'o> {
    pub(crate) path: &'o Path,
    pub(crate) wit: &'o Wit,
}

/// The guest's side of one world, or everything that keeps it from having one.
pub(crate) fn guest(
    resolve: &Resolve,
    id: WorldId,
    crate_path: &Path,
    implementation: &Implementation<'_>,
) -> Result<TokenStream, Vec<Problem>> {
    let world = World::new(resolve, id, Side::Guest, crate_path, Beside::default());
    let problems = check::check(&world);
    if !problems.is_empty() {
        return Err(problems);
    }
    let types = world.types.iter().map(|ty| definition(&world, *ty, Place::Root)).filter(|ty| !ty.is_empty());
    let modules = (0..world.modules.len()).map(|at| module(&world, at));
    let own = (!world.functions.is_empty()).then(|| {
        let text = format!("What implements the functions of the world `{}` itself.", world.title);
        definition_of_trait(&world, Place::Root, &text, &world.functions, &[])
    });
    let native = native::native(&world, implementation);
    let component = component::component(&world, implementation);
    Ok(quote! {
        #(
            #[allow(rustdoc::all, reason = "the text is the WIT's")]
            #types
        )*
        #own
        #(#modules)*
        #native
        #component
    })
}

fn module(world: &World, at: usize) -> TokenStream {
    let module = &world.modules[at];
    if module.imported.is_some() || module.shared {
        return imports::module(world, at);
    }
    let place = Place::Module(module.interface);
    let (name, title) = (&module.name, &module.title);
    let interface = &world.resolve.interfaces[module.interface];
    let docs_of_module = docs(&interface.docs, &format!("The interface `{title}`."));
    let types = module.types.iter().map(|ty| definition(world, *ty, place));
    let functions: Vec<&Function> = interface.functions.values().collect();
    let own = (module.exported.is_some() && !(functions.is_empty() && resources(world, at).is_empty())).then(
        || {
            let text = format!("What implements `{title}`.");
            definition_of_trait(world, place, &text, &functions, &resources(world, at))
        },
    );
    quote! {
        #docs_of_module
        #[allow(rustdoc::all, reason = "the text is the WIT's")]
        pub mod #name {
            #(#types)*
            #own
        }
    }
}

/// The resources that the module defines.
pub(super) fn resources(world: &World, at: usize) -> Vec<TypeId> {
    let module = &world.modules[at];
    let is_resource = |ty: &&TypeId| matches!(world.resolve.types[**ty].kind, TypeDefKind::Resource);
    module.types.iter().filter(is_resource).copied().collect()
}

pub(super) fn definition_of_trait(
    world: &World,
    place: Place,
    text: &str,
    functions: &[&Function],
    resources: &[TypeId],
) -> TokenStream {
    let types = Types { world, place, handles: Handles::Implementation };
    let above = above(world, place, functions);
    let declared = resources.iter().map(|resource| {
        let definition = &world.resolve.types[*resource];
        let (name, wit) = (world.type_name(*resource), definition.name.as_deref().unwrap_or_default());
        let docs = docs(&definition.docs, &format!("What stands for the resource `{wit}`."));
        // Linked code is called from many threads, one at a time.
        let send = world.beside.implementation.map(|_| quote!(::std::marker::Send+));
        quote!(#docs type #name: #send 'static;)
    });
    let methods = functions.iter().zip(method_names(world, functions)).map(|(function, name)| {
        let docs =
            docs(&function.docs, &format!("The function `{}`.", function_text(world.resolve, function)));
        let mut scope = Scope::default();
        let params = function.params.iter().map(|parameter| {
            let (name, ty) = (scope.take(argument(&parameter.name)), types.owned(&parameter.ty));
            quote!(#name: #ty)
        });
        let result = function.result.as_ref().map(|ty| {
            let ty = types.owned(ty);
            quote!(-> #ty)
        });
        quote! {
            #docs
            #[allow(clippy::too_many_arguments, clippy::type_complexity, reason = "as in WIT")]
            fn #name(#(#params),*) #result;
        }
    });
    quote! {
        #[doc = #text]
        pub trait Guest #above {
            #(#declared)*
            #(#methods)*
        }
    }
}

/// `self` is a keyword, and the first parameter of methods is called so.
fn argument(wit: &str) -> String {
    if wit == "self" { "this".to_owned() } else { snake(wit) }
}

/// The methods of a trait: `find`, and `decoder_next` for a function of a resource.
pub(super) fn method_names(world: &World, functions: &[&Function]) -> Vec<Ident> {
    let mut scope = Scope::default();
    let name = |function: &&Function| {
        let text = function_text(world.resolve, function).replace(".constructor", ".new").replace('.', "-");
        scope.take(snake(&text))
    };
    functions.iter().map(name).collect()
}

/// Traits whose types a trait names: those of interfaces that define the resources in its functions.
fn above(world: &World, place: Place, functions: &[&Function]) -> TokenStream {
    let mut homes: Vec<InterfaceId> = Vec::new();
    let mut visit = |resource: TypeId| {
        if let TypeOwner::Interface(home) = world.resolve.types[world.behind(resource)].owner
            && place != Place::Module(home)
            && !homes.contains(&home)
        {
            homes.push(home);
        }
    };
    for function in functions {
        for ty in function.parameter_and_result_types() {
            each_resource(world, &ty, &mut visit);
        }
    }
    let homes = homes.iter().map(|home| {
        let module = &world.module(*home).name;
        if place == Place::Root { quote!(self::#module::Guest) } else { quote!(super::#module::Guest) }
    });
    let mut homes = homes.peekable();
    if homes.peek().is_none() { TokenStream::new() } else { quote!(: #(#homes)+*) }
}

fn each_resource(world: &World, ty: &Type, visit: &mut dyn FnMut(TypeId)) {
    let Type::Id(id) = ty else { return };
    match &world.resolve.types[*id].kind {
        TypeDefKind::Handle(wit_parser::Handle::Own(resource) | wit_parser::Handle::Borrow(resource)) => {
            visit(*resource);
        }
        TypeDefKind::Option(ty) | TypeDefKind::List(ty) | TypeDefKind::Type(ty) => {
            each_resource(world, ty, visit);
        }
        TypeDefKind::Tuple(tuple) => tuple.types.iter().for_each(|ty| each_resource(world, ty, visit)),
        TypeDefKind::Result(parts) => {
            parts.ok.iter().chain(&parts.err).for_each(|ty| each_resource(world, ty, visit));
        }
        _ => {}
    }
}

/// Every place with functions: its trait from the root, how calls name it, and what is there.
struct Group<'w> {
    /// `search::Guest`
    guest: TokenStream,
    /// `acme:notes/search@1.0.0`
    interface: Option<&'w str>,
    at: Option<usize>,
    functions: Vec<&'w Function>,
    methods: Vec<Ident>,
}

fn groups<'w>(world: &'w World<'w>) -> Vec<Group<'w>> {
    let mut groups = Vec::new();
    for (at, module) in world.modules.iter().enumerate() {
        let functions: Vec<_> = world.resolve.interfaces[module.interface].functions.values().collect();
        if module.exported.is_none() || (functions.is_empty() && resources(world, at).is_empty()) {
            continue;
        }
        let name = &module.name;
        let methods = method_names(world, &functions);
        let interface = module.exported.as_deref();
        groups.push(Group { guest: quote!(#name::Guest), interface, at: Some(at), functions, methods });
    }
    if !world.functions.is_empty() {
        let functions = world.functions.clone();
        let methods = method_names(world, &functions);
        groups.push(Group { guest: quote!(Guest), interface: None, at: None, functions, methods });
    }
    groups
}

/// Takes a value of some shape apart and puts it together again, with each part that is not plain turned by `turn`.
pub(super) fn map_shape(
    world: &World,
    value: &TokenStream,
    ty: &Type,
    turn: &dyn Fn(&TokenStream, &Type) -> TokenStream,
    is_plain: &dyn Fn(&Type) -> bool,
) -> TokenStream {
    if is_plain(ty) {
        return value.clone();
    }
    let Type::Id(id) = ty else { return value.clone() };
    let again = |value: &TokenStream, ty: &Type| map_shape(world, value, ty, turn, is_plain);
    let inner = quote!(__value);
    match &world.resolve.types[*id].kind {
        TypeDefKind::Option(ty) => {
            let turned = again(&inner, ty);
            quote!(match #value {
                ::std::option::Option::Some(__value) => ::std::option::Option::Some(#turned),
                ::std::option::Option::None => ::std::option::Option::None,
            })
        }
        TypeDefKind::List(ty) => {
            let turned = again(&inner, ty);
            quote!({
                let __from = #value;
                let mut __list = ::std::vec::Vec::with_capacity(__from.len());
                for __value in __from {
                    __list.push(#turned);
                }
                __list
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
        TypeDefKind::Type(inner) if world.resolve.types[world.behind(*id)].kind.as_str() != "resource" => {
            again(value, inner)
        }
        _ => turn(value, ty),
    }
}
