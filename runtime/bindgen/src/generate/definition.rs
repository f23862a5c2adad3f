//! Definitions of the types of an interface.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::Ident;
use wit_parser::{Enum, Flags, Record, Type, TypeDefKind, TypeId, Variant};

use super::docs::docs;
use super::name::{Scope, camel, snake, upper};
use super::types::{Handles, Traits, Types};
use super::wit::shape_text;
use super::world::{Place, World};

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
            quote!(#docs #[component(name = #wit)] pub #ident: #ty)
        });
        let error = self.error(|| {
            let written: Vec<_> =
                record.fields.iter().map(|field| format!("{}: {{:?}}", field.name)).collect();
            let text = format!("{} ({})", words(self.wit_name()), written.join(", "));
            quote!(::std::write!(f, #text, #(self.#idents),*))
        });
        quote! {
            #docs_of_type
            #derives
            pub struct #name { #(#fields,)* }
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
            quote!(#docs #[component(name = #wit)] #ident #payload)
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
        quote! {
            #docs_of_type
            #derives
            pub enum #name { #(#cases,)* }
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
            quote!(#docs #[component(name = #wit)] #ident)
        });
        let error = self.error(|| {
            let words = cases.cases.iter().map(|case| words(&case.name));
            quote!(f.write_str(match self { #(Self::#idents => #words,)* }))
        });
        quote! {
            #docs_of_type
            #derives
            #[repr(#size)]
            pub enum #name { #(#written,)* }
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
