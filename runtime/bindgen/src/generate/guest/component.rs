//! Serves an implementation as a component: `wit-bindgen` writes what the component model asks for, and this writes what goes between its
//! types and ours.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::Ident;
use wit_parser::{
    Function, FunctionKind, Handle, InterfaceId, PackageId, Type, TypeDefKind, TypeId, TypeOwner, WorldKey,
};

use super::super::name::{Scope, camel, snake, upper};
use super::super::types::{option, result};
use super::super::world::{Place, World};
use super::{Group, Implementation, groups, map_shape, resources};
use crate::options::Wit;

pub(super) fn component(world: &World, implementation: &Implementation<'_>) -> TokenStream {
    let api = world.api();
    let wit = match implementation.wit {
        Wit::Path(path) => quote!(path: #path),
        Wit::Inline(text) => quote!(inline: #text),
    };
    let runtime = format!("{}::wit_bindgen::rt", path_text(world));
    let title = &world.title;
    let write = Write { world, path: implementation.path };
    let types: Vec<TypeId> =
        world.types.iter().chain(world.modules.iter().flat_map(|module| &module.types)).copied().collect();
    let converted = types.iter().filter(|ty| !write.is_imported(**ty)).map(|ty| write.conversions(*ty));
    let groups = groups(world).into_iter().map(|group| write.group(&group));
    quote! {
        #[cfg(target_family = "wasm")]
        #[allow(
            missing_docs, dead_code, unused, unsafe_code, unreachable_pub, unsafe_op_in_unsafe_fn, clippy::all, clippy::pedantic,
            reason = "written by a macro for a macro"
        )]
        pub(crate) mod __component {
            #api::wit_bindgen::generate!({
                #wit,
                world: #title,
                runtime_path: #runtime,
                export_macro_name: "__export",
                additional_derives: [PartialEq],
                generate_all,
            });
            struct __Export;
            #(#converted)*
            #(#groups)*
            __export!(__Export);
        }
    }
}

fn path_text(world: &World) -> String {
    let path = world.crate_path;
    quote!(#path).to_string().replace(' ', "")
}

struct Write<'w> {
    world: &'w World<'w>,
    path: &'w syn::Path,
}

impl Write<'_> {
    /// Whether a type is the same on both sides.
    fn is_plain(&self, ty: &Type) -> bool {
        let Type::Id(id) = ty else { return true };
        match &self.world.resolve.types[*id].kind {
            TypeDefKind::Option(ty) | TypeDefKind::List(ty) | TypeDefKind::Type(ty) => self.is_plain(ty),
            TypeDefKind::Tuple(tuple) => tuple.types.iter().all(|ty| self.is_plain(ty)),
            TypeDefKind::Result(parts) => parts.ok.iter().chain(&parts.err).all(|ty| self.is_plain(ty)),
            _ => self.is_imported(*id),
        }
    }

    /// Whether a type is of an interface that the guest calls, or of one whose types such an interface uses: there, both are the same.
    fn is_imported(&self, id: TypeId) -> bool {
        let TypeOwner::Interface(home) = self.world.resolve.types[self.world.behind(id)].owner else {
            return false;
        };
        self.world
            .modules
            .iter()
            .any(|module| module.interface == home && (module.imported.is_some() || module.shared))
    }

    fn home(&self, interface: InterfaceId) -> TokenStream {
        home(self.world, interface)
    }
}

/// The module that wit-bindgen gives an interface.
pub(super) fn home(of: &World, interface: InterfaceId) -> TokenStream {
    let resolve = of.resolve;
    let world = &resolve.worlds[of.id];
    let exported = world
        .exports
        .iter()
        .find(|(_, item)| matches!(item, wit_parser::WorldItem::Interface { id, .. } if *id == interface));
    let head = exported.is_some().then(|| quote!(exports::));
    if let Some((WorldKey::Name(name), _)) = exported {
        let name = ident(snake(name));
        return quote!(#head #name);
    }
    let interface = &resolve.interfaces[interface];
    let name = ident(snake(interface.name.as_deref().unwrap_or_default()));
    let Some(package) = interface.package else { return quote!(#head #name) };
    let space = ident(snake(&resolve.packages[package].name.namespace));
    let package = package_name(of, package);
    quote!(#head #space::#package::#name)
}

/// A package's name, with its version where there are several.
fn package_name(of: &World, id: PackageId) -> Ident {
    let packages = &of.resolve.packages;
    let name = &packages[id].name;
    let same = |other: &wit_parser::PackageName| other.namespace == name.namespace && other.name == name.name;
    let base = snake(&name.name);
    match &name.version {
        Some(version) if packages.iter().filter(|(_, package)| same(&package.name)).count() > 1 => {
            ident(format!("{base}{}", version.to_string().replace(['.', '-', '+'], "_")))
        }
        _ => ident(base),
    }
}

impl Write<'_> {
    /// wit-bindgen's path of a named type.
    fn theirs(&self, id: TypeId) -> TokenStream {
        let definition = &self.world.resolve.types[id];
        let name = ident(camel(definition.name.as_deref().unwrap_or_default()));
        match definition.owner {
            TypeOwner::Interface(home) => {
                let home = self.home(home);
                quote!(#home::#name)
            }
            _ => quote!(#name),
        }
    }

    fn ours(&self, id: TypeId) -> TokenStream {
        let path = self.world.type_path(id, Place::Root);
        match self.world.resolve.types[id].owner {
            TypeOwner::Interface(_) => {
                let TypeOwner::Interface(home) = self.world.resolve.types[id].owner else { return path };
                let (module, name) = (&self.world.module(home).name, self.world.type_name(id));
                quote!(super::#module::#name)
            }
            _ => quote!(super::#path),
        }
    }

    /// wit-bindgen's spelling of a type in a signature.
    fn spelled(&self, ty: &Type) -> TokenStream {
        let id = match ty {
            Type::Bool => return quote!(bool),
            Type::U8 => return quote!(u8),
            Type::U16 => return quote!(u16),
            Type::U32 => return quote!(u32),
            Type::U64 => return quote!(u64),
            Type::S8 => return quote!(i8),
            Type::S16 => return quote!(i16),
            Type::S32 => return quote!(i32),
            Type::S64 => return quote!(i64),
            Type::F32 => return quote!(f32),
            Type::F64 => return quote!(f64),
            Type::Char => return quote!(char),
            Type::String | Type::ErrorContext => return quote!(::std::string::String),
            Type::Id(id) => *id,
        };
        match &self.world.resolve.types[id].kind {
            TypeDefKind::Handle(Handle::Own(resource)) => self.theirs(self.world.behind(*resource)),
            TypeDefKind::Handle(Handle::Borrow(resource)) => {
                let resource = self.world.behind(*resource);
                let name = self.world.resolve.types[resource].name.as_deref().unwrap_or_default();
                let name = format_ident!("{}Borrow", camel(name));
                match self.world.resolve.types[resource].owner {
                    TypeOwner::Interface(home) => {
                        let home = self.home(home);
                        quote!(#home::#name<'_>)
                    }
                    _ => quote!(#name<'_>),
                }
            }
            TypeDefKind::Option(ty) => option(&self.spelled(ty)),
            TypeDefKind::List(ty) => {
                let ty = self.spelled(ty);
                quote!(::std::vec::Vec<#ty>)
            }
            TypeDefKind::Result(parts) => {
                let part = |ty: &Option<Type>| ty.as_ref().map_or_else(|| quote!(()), |ty| self.spelled(ty));
                result(&part(&parts.ok), &part(&parts.err))
            }
            TypeDefKind::Tuple(tuple) => {
                let types = tuple.types.iter().map(|ty| self.spelled(ty));
                quote!((#(#types,)*))
            }
            TypeDefKind::Type(ty) => self.spelled(ty),
            _ => self.theirs(id),
        }
    }

    /// The functions that turn a defined type into ours, and ours into theirs.
    fn conversions(&self, id: TypeId) -> TokenStream {
        let definition = &self.world.resolve.types[id];
        let (inward, outward) = names_of(id);
        let (theirs, ours) = (self.theirs(id), self.ours(id));
        let (into, out) = match &definition.kind {
            TypeDefKind::Record(record) => {
                let mut scope = Scope::default();
                let fields: Vec<_> =
                    record.fields.iter().map(|field| scope.take(snake(&field.name))).collect();
                let plain: Vec<_> = record.fields.iter().map(|field| ident(snake(&field.name))).collect();
                let inner = record
                    .fields
                    .iter()
                    .zip(&plain)
                    .map(|(field, plain)| self.inward(&quote!(value.#plain), &field.ty));
                let outer = record
                    .fields
                    .iter()
                    .zip(&fields)
                    .map(|(field, own)| self.outward(&quote!(value.#own), &field.ty));
                (quote!(#ours { #(#fields: #inner,)* }), quote!(#theirs { #(#plain: #outer,)* }))
            }
            TypeDefKind::Variant(variant) => {
                let mut scope = Scope::default();
                let cases: Vec<_> = variant.cases.iter().map(|case| scope.take(camel(&case.name))).collect();
                let plain: Vec<_> = variant.cases.iter().map(|case| ident(camel(&case.name))).collect();
                let arms = |inwards: bool| -> TokenStream {
                    let arms =
                        variant.cases.iter().zip(cases.iter().zip(&plain)).map(|(case, (own, plain))| {
                            let (from, from_case, to, to_case) = if inwards {
                                (&theirs, plain, &ours, own)
                            } else {
                                (&ours, own, &theirs, plain)
                            };
                            match &case.ty {
                                None => quote!(#from::#from_case => #to::#to_case,),
                                Some(ty) => {
                                    let value = quote!(value);
                                    let turned = if inwards {
                                        self.inward(&value, ty)
                                    } else {
                                        self.outward(&value, ty)
                                    };
                                    quote!(#from::#from_case(value) => #to::#to_case(#turned),)
                                }
                            }
                        });
                    arms.collect()
                };
                let (inner, outer) = (arms(true), arms(false));
                (quote!(match value { #inner }), quote!(match value { #outer }))
            }
            TypeDefKind::Enum(cases) => {
                let mut scope = Scope::default();
                let own: Vec<_> = cases.cases.iter().map(|case| scope.take(camel(&case.name))).collect();
                let plain: Vec<_> = cases.cases.iter().map(|case| ident(camel(&case.name))).collect();
                (
                    quote!(match value { #(#theirs::#plain => #ours::#own,)* }),
                    quote!(match value { #(#ours::#own => #theirs::#plain,)* }),
                )
            }
            TypeDefKind::Flags(flags) => {
                let mut scope = Scope::default();
                let own: Vec<_> = flags.flags.iter().map(|flag| scope.take(upper(&flag.name))).collect();
                let plain: Vec<_> = flags.flags.iter().map(|flag| ident(upper(&flag.name))).collect();
                (
                    quote!({
                        let mut flags = #ours::empty();
                        #(if value.contains(#theirs::#plain) { flags |= #ours::#own; })*
                        flags
                    }),
                    quote!({
                        let mut flags = #theirs::empty();
                        #(if value.contains(#ours::#own) { flags |= #theirs::#plain; })*
                        flags
                    }),
                )
            }
            _ => return TokenStream::new(),
        };
        quote! {
            fn #inward(value: #theirs) -> #ours { #into }
            fn #outward(value: #ours) -> #theirs { #out }
        }
    }

    fn inward(&self, value: &TokenStream, ty: &Type) -> TokenStream {
        let turn = |value: &TokenStream, ty: &Type| {
            let Type::Id(id) = ty else { return value.clone() };
            match &self.world.resolve.types[*id].kind {
                TypeDefKind::Handle(Handle::Own(resource)) => {
                    let holder = holder_of(self.world.behind(*resource));
                    quote!(#value.into_inner::<#holder>().0)
                }
                TypeDefKind::Handle(Handle::Borrow(resource)) => {
                    let resource = self.world.behind(*resource);
                    let (holder, kept) = (holder_of(resource), kept_of(resource));
                    quote!(&#kept.keep(#value).get::<#holder>().0)
                }
                _ => {
                    let (inward, _) = names_of(self.world.behind(*id));
                    quote!(#inward(#value))
                }
            }
        };
        map_shape(self.world, value, ty, &turn, &|ty| self.is_plain(ty))
    }

    fn outward(&self, value: &TokenStream, ty: &Type) -> TokenStream {
        let turn = |value: &TokenStream, ty: &Type| {
            let Type::Id(id) = ty else { return value.clone() };
            match &self.world.resolve.types[*id].kind {
                TypeDefKind::Handle(Handle::Own(resource) | Handle::Borrow(resource)) => {
                    let resource = self.world.behind(*resource);
                    let (holder, theirs) = (holder_of(resource), self.theirs(resource));
                    quote!(#theirs::new(#holder(#value)))
                }
                _ => {
                    let (_, outward) = names_of(self.world.behind(*id));
                    quote!(#outward(#value))
                }
            }
        };
        map_shape(self.world, value, ty, &turn, &|ty| self.is_plain(ty))
    }

    fn group(&self, group: &Group<'_>) -> TokenStream {
        let world = self.world;
        let own = |trait_path: &TokenStream| match group.at {
            Some(at) => {
                let home = self.home(world.modules[at].interface);
                quote!(#home::#trait_path)
            }
            None => quote!(#trait_path),
        };
        let defined = group.at.map(|at| resources(world, at)).unwrap_or_default();
        let of = |resource: Option<TypeId>| -> TokenStream {
            let functions = group.functions.iter().zip(&group.methods);
            functions
                .filter(|(function, _)| function.kind.resource().map(|id| world.behind(id)) == resource)
                .map(|(function, method)| self.function(group, function, method))
                .collect()
        };
        let holders = defined.iter().map(|resource| {
            let holder = holder_of(*resource);
            let path = self.path;
            let guest = &group.guest;
            let name = world.type_name(*resource);
            let wit = world.resolve.types[*resource].name.as_deref().unwrap_or_default();
            let their_trait = ident(format!("Guest{}", camel(wit)));
            let (their_trait, functions) = (own(&quote!(#their_trait)), of(Some(*resource)));
            quote! {
                struct #holder(<#path as super::#guest>::#name);
                impl #their_trait for #holder { #functions }
            }
        });
        let declared = defined.iter().map(|resource| {
            let wit = world.resolve.types[*resource].name.as_deref().unwrap_or_default();
            let (name, holder) = (ident(camel(wit)), holder_of(*resource));
            quote!(type #name = #holder;)
        });
        let (their_guest, free) = (own(&quote!(Guest)), of(None));
        quote! {
            #(#holders)*
            impl #their_guest for __Export {
                #(#declared)*
                #free
            }
        }
    }

    fn function(&self, group: &Group<'_>, function: &Function, method: &Ident) -> TokenStream {
        let (path, guest) = (self.path, &group.guest);
        let is_method = matches!(function.kind, FunctionKind::Method(_));
        let is_constructor = matches!(function.kind, FunctionKind::Constructor(_));
        let name = match function.kind {
            FunctionKind::Freestanding | FunctionKind::AsyncFreestanding => ident(snake(&function.name)),
            FunctionKind::Constructor(_) => ident("new".to_owned()),
            _ => ident(snake(function.item_name())),
        };
        let skipped = usize::from(is_method);
        let names: Vec<_> = (0..function.params.len()).map(|at| format_ident!("__p{at}")).collect();
        let declared = names.iter().zip(&function.params).skip(skipped).map(|(name, parameter)| {
            let ty = self.spelled(&parameter.ty);
            quote!(#name: #ty)
        });
        let receiver = is_method.then(|| quote!(&self,));
        let mut lent: Vec<TypeId> = Vec::new();
        for parameter in function.params.iter().skip(skipped) {
            self.lent(&parameter.ty, &mut lent);
        }
        let kept = lent.iter().map(|resource| {
            let (kept, api) = (kept_of(*resource), self.world.api());
            quote!(let #kept = #api::Kept::default();)
        });
        let arguments = names.iter().zip(&function.params).enumerate().map(|(at, (name, parameter))| {
            if at < skipped { quote!(&self.0) } else { self.inward(&quote!(#name), &parameter.ty) }
        });
        let call = quote!(<#path as super::#guest>::#method(#(#arguments),*));
        let (returned, body) = match &function.result {
            None => (TokenStream::new(), quote!(#call)),
            Some(_) if is_constructor => {
                let resource = function.kind.resource().map(|id| self.world.behind(id));
                let holder = resource.map(holder_of);
                let fails = self.constructor_result(function).map(|parts| parts.err);
                match fails {
                    None => (quote!(-> Self), quote!(#holder(#call))),
                    Some(error) => {
                        let given = error
                            .as_ref()
                            .map_or_else(|| quote!(error), |ty| self.outward(&quote!(error), ty));
                        let error = error.as_ref().map_or_else(|| quote!(()), |ty| self.spelled(ty));
                        let returned = result(&quote!(Self), &error);
                        (
                            quote!(-> #returned),
                            quote!(match #call {
                                ::std::result::Result::Ok(value) => ::std::result::Result::Ok(#holder(value)),
                                ::std::result::Result::Err(error) => ::std::result::Result::Err(#given),
                            }),
                        )
                    }
                }
            }
            Some(ty) => {
                let (spelled, given) = (self.spelled(ty), self.outward(&quote!(__result), ty));
                (quote!(-> #spelled), quote!({ let __result = #call; #given }))
            }
        };
        quote! {
            fn #name(#receiver #(#declared),*) #returned {
                #(#kept)*
                #body
            }
        }
    }

    /// What a constructor that can fail fails with.
    fn constructor_result(&self, function: &Function) -> Option<&wit_parser::Result_> {
        let Some(Type::Id(id)) = &function.result else { return None };
        match &self.world.resolve.types[self.world.behind(*id)].kind {
            TypeDefKind::Result(parts) => Some(parts),
            _ => None,
        }
    }

    /// The resources that are borrowed in a type.
    fn lent(&self, ty: &Type, found: &mut Vec<TypeId>) {
        let Type::Id(id) = ty else { return };
        match &self.world.resolve.types[*id].kind {
            TypeDefKind::Handle(Handle::Borrow(resource)) => {
                let resource = self.world.behind(*resource);
                if !found.contains(&resource) {
                    found.push(resource);
                }
            }
            TypeDefKind::Option(ty) | TypeDefKind::List(ty) | TypeDefKind::Type(ty) => self.lent(ty, found),
            TypeDefKind::Tuple(tuple) => tuple.types.iter().for_each(|ty| self.lent(ty, found)),
            TypeDefKind::Result(parts) => {
                parts.ok.iter().chain(&parts.err).for_each(|ty| self.lent(ty, found));
            }
            _ => {}
        }
    }
}

/// The names of a type's two conversions.
fn names_of(id: TypeId) -> (Ident, Ident) {
    let index = id.index();
    (format_ident!("__in_{index}"), format_ident!("__out_{index}"))
}

/// The struct that wit-bindgen's resource has in it.
fn holder_of(resource: TypeId) -> Ident {
    format_ident!("__Holder{}", resource.index())
}

/// The local with borrowed handles of one resource.
fn kept_of(resource: TypeId) -> Ident {
    format_ident!("__kept_{}", resource.index())
}

/// A name, with an underscore if it is a keyword, as wit-bindgen has it.
fn ident(name: String) -> Ident {
    Scope::default().take(name)
}
