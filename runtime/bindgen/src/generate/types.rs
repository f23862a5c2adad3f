//! Rust types for WIT types: as they are owned, as they are borrowed for a call, and as they cross.

use proc_macro2::TokenStream;
use quote::quote;
use wit_parser::{Handle, Type, TypeDefKind, TypeId};

use super::world::{Place, Side, World};

/// What stands for a handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handles {
    /// The struct of the resource: what users see.
    Struct,
    /// What crosses: `AnyResource` for a client, a number for a guest.
    Wire,
    /// The type that a guest names in its implementation.
    Implementation,
}

/// Which traits a type can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traits {
    pub(crate) copy: bool,
    /// `Eq` and `Hash`: nothing in it is a float.
    pub(crate) eq: bool,
}

impl Traits {
    const ALL: Self = Self { copy: true, eq: true };

    fn and(self, other: Self) -> Self {
        Self { copy: self.copy && other.copy, eq: self.eq && other.eq }
    }
}

/// Writes types for code at one place.
#[derive(Clone, Copy)]
pub(crate) struct Types<'w> {
    pub(crate) world: &'w World<'w>,
    pub(crate) place: Place,
    pub(crate) handles: Handles,
}

impl Types<'_> {
    fn kind(&self, id: TypeId) -> &TypeDefKind {
        &self.world.resolve.types[id].kind
    }

    /// As a result or a field.
    pub(crate) fn owned(&self, ty: &Type) -> TokenStream {
        let id = match ty {
            Type::String => return quote!(::std::string::String),
            Type::Id(id) => *id,
            plain => return primitive(plain),
        };
        // Names are kept where a name means the same on both sides: a handle does not.
        if self.world.resolve.types[id].name.is_some() && !self.world.has_handle(ty) {
            return self.world.type_path(id, self.place);
        }
        self.shape(self.kind(id))
    }

    /// The same for the shape itself, whatever it is called.
    pub(crate) fn shape(&self, kind: &TypeDefKind) -> TokenStream {
        match kind {
            TypeDefKind::Handle(handle) => self.handle(*handle, None),
            TypeDefKind::List(inner) => {
                let inner = self.owned(inner);
                quote!(::std::vec::Vec<#inner>)
            }
            TypeDefKind::Option(inner) => option(&self.owned(inner)),
            TypeDefKind::Tuple(tuple) => {
                let types = tuple.types.iter().map(|ty| self.owned(ty));
                quote!((#(#types,)*))
            }
            TypeDefKind::Result(parts) => {
                let part = |ty: &Option<Type>| ty.as_ref().map_or_else(|| quote!(()), |ty| self.owned(ty));
                result(&part(&parts.ok), &part(&parts.err))
            }
            TypeDefKind::Type(inner) => self.owned(inner),
            _ => unreachable!("other kinds have names or were refused"),
        }
    }

    /// As a parameter, with the lifetime where one must be named.
    pub(crate) fn borrowed(&self, ty: &Type, lifetime: Option<&TokenStream>) -> TokenStream {
        let id = match ty {
            Type::String => return quote!(& #lifetime str),
            Type::Id(id) => self.world.behind(*id),
            plain => return primitive(plain),
        };
        match self.kind(id) {
            TypeDefKind::Record(_) | TypeDefKind::Variant(_) => {
                let path = self.world.type_path(id, self.place);
                quote!(& #lifetime #path)
            }
            TypeDefKind::Enum(_) | TypeDefKind::Flags(_) => self.world.type_path(id, self.place),
            TypeDefKind::Handle(handle) => self.handle(*handle, Some(&quote!(& #lifetime))),
            TypeDefKind::List(inner) if self.world.has_handle(inner) => {
                let element = self.borrowed(inner, lifetime);
                if self.handles == Handles::Struct && self.world.is_borrow(inner) {
                    quote!(& #lifetime [#element])
                } else {
                    quote!(::std::vec::Vec<#element>)
                }
            }
            TypeDefKind::List(inner) => {
                let inner = self.owned(inner);
                quote!(& #lifetime [#inner])
            }
            TypeDefKind::Option(inner) => option(&self.borrowed(inner, lifetime)),
            TypeDefKind::Tuple(tuple) => {
                let types = tuple.types.iter().map(|ty| self.borrowed(ty, lifetime));
                quote!((#(#types,)*))
            }
            TypeDefKind::Result(parts) => {
                let part = |ty: &Option<Type>| {
                    ty.as_ref().map_or_else(|| quote!(()), |ty| self.borrowed(ty, lifetime))
                };
                result(&part(&parts.ok), &part(&parts.err))
            }
            TypeDefKind::Type(inner) => self.borrowed(inner, lifetime),
            _ => unreachable!("other kinds were refused"),
        }
    }

    fn handle(&self, handle: Handle, reference: Option<&TokenStream>) -> TokenStream {
        let api = self.world.api();
        match (self.handles, self.world.side) {
            (Handles::Wire, Side::Client) => return quote!(#api::AnyResource),
            (Handles::Wire, Side::Guest) => return quote!(#api::wire::value::Resource),
            (Handles::Implementation, _) => {
                let (Handle::Own(resource) | Handle::Borrow(resource)) = handle;
                let ty = self.world.resource_type(resource, &quote!(Self), self.place);
                let reference = matches!(handle, Handle::Borrow(_)).then(|| quote!(&));
                return quote!(#reference #ty);
            }
            (Handles::Struct, _) => {}
        }
        match handle {
            Handle::Own(resource) => self.world.type_path(self.world.behind(resource), self.place),
            Handle::Borrow(resource) => {
                let path = self.world.type_path(self.world.behind(resource), self.place);
                quote!(#reference #path)
            }
        }
    }
}

impl World<'_> {
    pub(crate) fn has_handle(&self, ty: &Type) -> bool {
        let Type::Id(id) = ty else { return false };
        match &self.resolve.types[*id].kind {
            TypeDefKind::Handle(_) => true,
            TypeDefKind::Option(ty) | TypeDefKind::List(ty) | TypeDefKind::Type(ty) => self.has_handle(ty),
            TypeDefKind::Tuple(tuple) => tuple.types.iter().any(|ty| self.has_handle(ty)),
            TypeDefKind::Result(parts) => parts.ok.iter().chain(&parts.err).any(|ty| self.has_handle(ty)),
            // A name of a resource is not a handle, and handles inside records are refused.
            _ => false,
        }
    }

    /// Is it `borrow<T>` itself?
    pub(crate) fn is_borrow(&self, ty: &Type) -> bool {
        let Type::Id(id) = ty else { return false };
        matches!(self.resolve.types[self.behind(*id)].kind, TypeDefKind::Handle(Handle::Borrow(_)))
    }

    pub(crate) fn traits(&self, ty: &Type) -> Traits {
        let all = |types: &mut dyn Iterator<Item = &Type>| {
            types.fold(Traits::ALL, |traits, ty| traits.and(self.traits(ty)))
        };
        let id = match ty {
            Type::F32 | Type::F64 => return Traits { copy: true, eq: false },
            Type::String => return Traits { copy: false, eq: true },
            Type::Id(id) => *id,
            _ => return Traits::ALL,
        };
        match &self.resolve.types[id].kind {
            TypeDefKind::Record(record) => all(&mut record.fields.iter().map(|field| &field.ty)),
            TypeDefKind::Variant(variant) => {
                all(&mut variant.cases.iter().filter_map(|case| case.ty.as_ref()))
            }
            TypeDefKind::Tuple(tuple) => all(&mut tuple.types.iter()),
            TypeDefKind::Result(parts) => all(&mut parts.ok.iter().chain(&parts.err)),
            TypeDefKind::Option(ty) | TypeDefKind::Type(ty) => self.traits(ty),
            TypeDefKind::List(ty) => Traits { copy: false, ..self.traits(ty) },
            _ => Traits::ALL,
        }
    }
}

fn primitive(ty: &Type) -> TokenStream {
    match ty {
        Type::Bool => quote!(bool),
        Type::U8 => quote!(u8),
        Type::U16 => quote!(u16),
        Type::U32 => quote!(u32),
        Type::U64 => quote!(u64),
        Type::S8 => quote!(i8),
        Type::S16 => quote!(i16),
        Type::S32 => quote!(i32),
        Type::S64 => quote!(i64),
        Type::F32 => quote!(f32),
        Type::F64 => quote!(f64),
        Type::Char => quote!(char),
        Type::String | Type::ErrorContext | Type::Id(_) => unreachable!("not a primitive, or refused"),
    }
}

pub(crate) fn option(inner: &TokenStream) -> TokenStream {
    quote!(::std::option::Option<#inner>)
}

pub(crate) fn result(ok: &TokenStream, err: &TokenStream) -> TokenStream {
    quote!(::std::result::Result<#ok, #err>)
}
