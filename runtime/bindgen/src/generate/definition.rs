//! Definitions of the types of an interface.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::Ident;
use wit_parser::{Enum, Flags, Record, Type, TypeDefKind, TypeId, Variant};

use super::crossing;
use super::docs::docs;
use super::name::{Scope, camel, snake, upper};
use super::types::{Handles, Traits, Types};
use super::wit::shape_text;
use super::world::{Place, Side, World};

/// Everything but resources, which come with their functions.
pub(crate) fn definition(world: &World, id: TypeId, place: Place) -> TokenStream {
    let definition = &world.resolve.types[id];
    let define = Define { world, id, name: world.type_name(id), place };
    match &definition.kind {
        TypeDefKind::Record(record) => define.record(record),
        TypeDefKind::Variant(variant) => define.variant(variant),
        TypeDefKind::Enum(cases) => define.enumeration(cases),
        TypeDefKind::Flags(flags) => define.flags(flags),
        TypeDefKind::Resource => TokenStream::new(),
        TypeDefKind::Type(target) => define.alias(target),
        _ => define.shape(),
    }
}

struct Define<'w> {
    world: &'w World<'w>,
    id: TypeId,
    name: &'w Ident,
    place: Place,
}

impl Define<'_> {
    fn types(&self) -> Types<'_> {
        Types { world: self.world, place: self.place, handles: Handles::Struct }
    }

    fn wit_name(&self) -> &str {
        self.world.resolve.types[self.id].name.as_deref().unwrap_or_default()
    }

    fn docs(&self) -> TokenStream {
        let definition = &self.world.resolve.types[self.id];
        docs(&definition.docs, &format!("The {} `{}`.", definition.kind.as_str(), self.wit_name()))
    }

    /// The attributes that make it cross as what it is in WIT.
    fn derives(&self, traits: Traits, style: &TokenStream) -> TokenStream {
        let api = self.world.api();
        let copy = traits.copy.then(|| quote!(Copy,));
        let eq = traits.eq.then(|| quote!(Eq, Hash,));
        if self.world.side == Side::Guest {
            return quote!(#[derive(Debug, Clone, #copy PartialEq, #eq)]);
        }
        quote! {
            #[derive(
                Debug, Clone, #copy PartialEq, #eq
                #api::wasmtime::component::ComponentType,
                #api::wasmtime::component::Lift,
                #api::wasmtime::component::Lower,
            )]
            #[component(#style)]
            #[component(wasmtime_crate = #api::wasmtime)]
        }
    }

    /// The crate that has the encoding, from anywhere.
    fn wire(&self) -> TokenStream {
        let api = self.world.api();
        quote!(#api::wire)
    }

    /// The name in WIT, for wasmtime's derives.
    fn crosses_as(&self, wit: &str) -> Option<TokenStream> {
        (self.world.side == Side::Client).then(|| quote!(#[component(name = #wit)]))
    }

    /// The encoding for processes. A guest that is a component needs none.
    fn crossing(&self, tokens: TokenStream) -> TokenStream {
        match self.world.side {
            Side::Client => tokens,
            Side::Guest => quote!(#[cfg(not(target_family = "wasm"))] const _: () = { #tokens };),
        }
    }

    fn traits(&self) -> Traits {
        self.world.traits(&Type::Id(self.id))
    }

    fn record(&self, record: &Record) -> TokenStream {
        let (docs_of_type, name) = (self.docs(), self.name);
        let derives = self.derives(self.traits(), &quote!(record));
        let types = self.types();
        let mut scope = Scope::default();
        let idents: Vec<_> = record.fields.iter().map(|field| scope.take(snake(&field.name))).collect();
        let fields = record.fields.iter().zip(&idents).map(|(field, ident)| {
            let wit = &field.name;
            let docs = docs(&field.docs, &format!("The field `{wit}`."));
            let ty = types.owned(&field.ty);
            let crosses = self.crosses_as(wit);
            quote!(#docs #crosses pub #ident: #ty)
        });
        let error = self.error(|| {
            let written: Vec<_> =
                record.fields.iter().map(|field| format!("{}: {{:?}}", field.name)).collect();
            let text = format!("{} ({})", words(self.wit_name()), written.join(", "));
            quote!(::std::write!(f, #text, #(self.#idents),*))
        });
        let owned: Vec<_> = record.fields.iter().map(|field| types.owned(&field.ty)).collect();
        let crossing = self.crossing(crossing::record(&self.wire(), name, &idents, &owned));
        quote! {
            #docs_of_type
            #derives
            pub struct #name { #(#fields,)* }
            #crossing
            #error
        }
    }

    fn variant(&self, variant: &Variant) -> TokenStream {
        let (docs_of_type, name) = (self.docs(), self.name);
        let derives = self.derives(self.traits(), &quote!(variant));
        let types = self.types();
        let mut scope = Scope::default();
        let idents: Vec<_> = variant.cases.iter().map(|case| scope.take(camel(&case.name))).collect();
        let cases = variant.cases.iter().zip(&idents).map(|(case, ident)| {
            let wit = &case.name;
            let docs = docs(&case.docs, &format!("The case `{wit}`."));
            let payload = case.ty.as_ref().map(|ty| {
                let ty = types.owned(ty);
                quote!((#ty))
            });
            let crosses = self.crosses_as(wit);
            quote!(#docs #crosses #ident #payload)
        });
        let error = self.error(|| {
            let arms = variant.cases.iter().zip(&idents).map(|(case, ident)| {
                let words = words(&case.name);
                if case.ty.is_some() {
                    let text = format!("{words}: {{:?}}");
                    quote!(Self::#ident(value) => ::std::write!(f, #text, value))
                } else {
                    quote!(Self::#ident => f.write_str(#words))
                }
            });
            quote!(match self { #(#arms,)* })
        });
        let all: Vec<_> = variant
            .cases
            .iter()
            .zip(&idents)
            .map(|(case, ident)| (ident.clone(), case.ty.is_some()))
            .collect();
        let crossing = self.crossing(crossing::cases(&self.wire(), name, self.wit_name(), &all));
        quote! {
            #docs_of_type
            #derives
            pub enum #name { #(#cases,)* }
            #crossing
            #error
        }
    }

    fn enumeration(&self, cases: &Enum) -> TokenStream {
        let (docs_of_type, name) = (self.docs(), self.name);
        let derives = self.derives(Traits { copy: true, eq: true }, &quote!(enum));
        // The derive wants the discriminant's size named, as wasmtime-component-util counts it.
        let size = match cases.cases.len() {
            0..=0x100 => quote!(u8),
            0x101..=0x1_0000 => quote!(u16),
            _ => quote!(u32),
        };
        let mut scope = Scope::default();
        let idents: Vec<_> = cases.cases.iter().map(|case| scope.take(camel(&case.name))).collect();
        let written = cases.cases.iter().zip(&idents).map(|(case, ident)| {
            let wit = &case.name;
            let docs = docs(&case.docs, &format!("The case `{wit}`."));
            let crosses = self.crosses_as(wit);
            quote!(#docs #crosses #ident)
        });
        let error = self.error(|| {
            let words = cases.cases.iter().map(|case| words(&case.name));
            quote!(f.write_str(match self { #(Self::#idents => #words,)* }))
        });
        let all: Vec<_> = idents.iter().map(|ident| (ident.clone(), false)).collect();
        let crossing = self.crossing(crossing::cases(&self.wire(), name, self.wit_name(), &all));
        quote! {
            #docs_of_type
            #derives
            #[repr(#size)]
            pub enum #name { #(#written,)* }
            #crossing
            #error
        }
    }

    /// wasmtime's macro writes flags, and knows wasmtime only by that name and constants only without documentation.
    fn flags(&self, flags: &Flags) -> TokenStream {
        let (name, api) = (self.name, self.world.api());
        let hidden = format_ident!("__{}", snake(self.wit_name()));
        let mut scope = Scope::default();
        let idents: Vec<_> = flags.flags.iter().map(|flag| scope.take(upper(&flag.name))).collect();
        let names = flags.flags.iter().map(|flag| &flag.name);
        let (docs, list) = (self.docs(), list_of(flags, &idents));
        let crossing = self.crossing(crossing::flags(&self.wire(), name, self.wit_name(), &idents));
        if self.world.side == Side::Guest {
            let definition = own_flags(name, &idents);
            return quote!(#docs #[doc = ""] #list #definition #crossing);
        }
        quote! {
            #[allow(missing_docs, reason = "written by wasmtime's macro")]
            mod #hidden {
                use #api::wasmtime;
                wasmtime::component::flags! {
                    #name { #(#[component(name = #names)] const #idents;)* }
                }
                impl ::std::hash::Hash for #name {
                    fn hash<H: ::std::hash::Hasher>(&self, state: &mut H) {
                        // Bits without a name do not count, as in `==`.
                        let named = *self & (#(Self::#idents)|*);
                        ::std::hash::Hash::hash(&named.as_array(), state);
                    }
                }
            }
            #docs
            #[doc = ""]
            #list
            pub use #hidden::#name;
            #crossing
        }
    }

    fn alias(&self, target: &Type) -> TokenStream {
        let name = self.name;
        if let Type::Id(target) = target {
            let behind = self.world.behind(*target);
            let foreign = matches!(self.world.resolve.types[behind].kind, TypeDefKind::Resource)
                && self.world.resource_home(behind).is_none();
            if foreign {
                return TokenStream::new();
            }
            if self.world.resolve.types[*target].owner != self.world.resolve.types[self.id].owner {
                // `use`: documentation comes with it.
                if !matches!(self.world.resolve.types[behind].kind, TypeDefKind::Resource)
                    && self.world.has_handle(&Type::Id(*target))
                {
                    return TokenStream::new();
                }
                let path = self.world.type_path(*target, self.place);
                let renamed = (self.world.type_name(*target) != name).then(|| quote!(as #name));
                return quote!(pub use #path #renamed;);
            }
        }
        self.shape()
    }

    /// Another name for a shape. Handles have none: what stands for them differs between parameters and results.
    fn shape(&self) -> TokenStream {
        if self.world.has_handle(&Type::Id(self.id)) {
            return TokenStream::new();
        }
        let definition = &self.world.resolve.types[self.id];
        let name = self.name;
        let types = self.types();
        let ty = types.shape(&definition.kind);
        let text = shape_text(self.world.resolve, &definition.kind);
        let docs = docs(&definition.docs, &format!("The type `{}`, which is `{text}`.", self.wit_name()));
        quote!(#docs pub type #name = #ty;)
    }

    /// `Display` and `Error`, when it is the error of some result. Text from the guest is quoted and escaped.
    fn error(&self, write: impl FnOnce() -> TokenStream) -> Option<TokenStream> {
        self.world.errors.contains(&self.id).then(|| {
            let (name, write) = (self.name, write());
            quote! {
                impl ::std::fmt::Display for #name {
                    fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                        #write
                    }
                }
                impl ::std::error::Error for #name {}
            }
        })
    }
}

/// A set of flags without wasmtime, with what users of wasmtime's have.
fn own_flags(name: &Ident, flags: &[Ident]) -> TokenStream {
    let bits: Vec<_> = (0..flags.len()).map(|at| 1_u32 << at).collect();
    let all =
        u32::MAX.checked_shr(32_u32.saturating_sub(u32::try_from(flags.len()).unwrap_or(32))).unwrap_or(0);
    let operators = [
        ("BitOr", "bitor", "BitOrAssign", "bitor_assign", quote!(self.bits | other.bits)),
        ("BitAnd", "bitand", "BitAndAssign", "bitand_assign", quote!(self.bits & other.bits)),
        ("BitXor", "bitxor", "BitXorAssign", "bitxor_assign", quote!(self.bits ^ other.bits)),
        ("Sub", "sub", "SubAssign", "sub_assign", quote!(self.bits & !other.bits)),
    ];
    let operators = operators.map(|(operator, method, assigning, assign, bits)| {
        let [operator, method, assigning, assign] =
            [operator, method, assigning, assign].map(|name| format_ident!("{name}"));
        quote! {
            impl ::std::ops::#operator for #name {
                type Output = Self;
                fn #method(self, other: Self) -> Self { Self { bits: #bits } }
            }
            impl ::std::ops::#assigning for #name {
                fn #assign(&mut self, other: Self) { *self = ::std::ops::#operator::#method(*self, other); }
            }
        }
    });
    quote! {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct #name { bits: u32 }
        #[allow(missing_docs, reason = "the list above has what the WIT says of each")]
        impl #name {
            #(pub const #flags: Self = Self { bits: #bits };)*
            /// No flag.
            pub const fn empty() -> Self { Self { bits: 0 } }
            /// Every flag.
            pub const fn all() -> Self { Self { bits: #all } }
            /// Whether all of the other's flags are set.
            pub const fn contains(&self, other: Self) -> bool { self.bits & other.bits == other.bits }
            /// Whether one of the other's flags is set.
            pub const fn intersects(&self, other: Self) -> bool { self.bits & other.bits != 0 }
        }
        #(#operators)*
        impl ::std::ops::Not for #name {
            type Output = Self;
            fn not(self) -> Self { Self { bits: !self.bits & #all } }
        }
    }
}

fn list_of(flags: &Flags, idents: &[Ident]) -> TokenStream {
    let lines = flags.flags.iter().zip(idents).map(|(flag, ident)| {
        let text = flag.docs.contents.as_deref().unwrap_or_default();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.is_empty() { format!(" - `{ident}`") } else { format!(" - `{ident}`: {text}") }
    });
    quote!(#(#[doc = #lines])*)
}

/// `not-found` in a sentence.
fn words(kebab: &str) -> String {
    kebab.replace('-', " ")
}
