//! The functions of one interface, or of the world itself: what they are called, and the methods that call them.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::Ident;
use wit_parser::{Function, FunctionKind, Type, TypeId};

use super::crossing::shape;
use super::docs::docs_with;
use super::handles::{lift, lower};
use super::name::{Scope, camel, snake};
use super::types::{Handles, Types, result};
use super::wit::{function_text, signature};
use super::world::{Place, World};

/// The functions that stand at one place.
pub(crate) struct Functions<'w> {
    world: &'w World<'w>,
    place: Place,
    /// As `Function::INTERFACE` has it.
    interface: Option<&'w str>,
    /// The field of the client's shared part that has these functions.
    field: Ident,
    all: Vec<Named<'w>>,
}

struct Named<'w> {
    function: &'w Function,
    /// The unit struct that stands for it.
    unit: Ident,
    /// The field where it is, once it was found.
    field: Ident,
}

/// What a method is called on.
enum Receiver {
    /// The client struct of the interface or world.
    Client,
    /// A resource.
    Resource,
    /// The type of a resource, with the client as first argument.
    Type { client: Ident },
}

impl<'w> Functions<'w> {
    pub(crate) fn of_world(world: &'w World<'w>) -> Self {
        Self::new(world, Place::Root, None, format_ident!("__world"), world.functions.iter().copied())
    }

    /// Of the interface at `at` among the world's modules.
    pub(crate) fn of_module(world: &'w World<'w>, at: usize) -> Self {
        let module = &world.modules[at];
        let functions = world.resolve.interfaces[module.interface].functions.values();
        let place = Place::Module(module.interface);
        Self::new(world, place, module.exported.as_deref(), module.name.clone(), functions)
    }

    fn new(
        world: &'w World<'w>,
        place: Place,
        interface: Option<&'w str>,
        field: Ident,
        functions: impl Iterator<Item = &'w Function>,
    ) -> Self {
        let (mut units, mut fields) = (Scope::default(), Scope::default());
        let all = functions.map(|function| {
            let name = function_text(world.resolve, function).replace('.', "-");
            Named { function, unit: units.take(camel(&name)), field: fields.take(snake(&name)) }
        });
        Self { world, place, interface, field, all: all.collect() }
    }

    /// The module of units and of the functions that were found.
    fn hidden(&self) -> Ident {
        match self.place {
            Place::Root => format_ident!("{}_functions", self.world.hidden()),
            Place::Module(_) => format_ident!("__functions"),
        }
    }

    /// The type of the field that has these functions, from where the macro was called.
    pub(crate) fn checked(&self) -> TokenStream {
        let hidden = self.hidden();
        match self.place {
            Place::Root => quote!(#hidden::__Checked),
            Place::Module(_) => {
                let module = &self.field;
                quote!(#module::#hidden::__Checked)
            }
        }
    }

    pub(crate) fn field(&self) -> &Ident {
        &self.field
    }

    /// What stands for each function, with its types; and the search for all of them.
    pub(crate) fn declarations(&self) -> TokenStream {
        let (api, hidden) = (self.world.api(), self.hidden());
        let units: Vec<_> = self.all.iter().map(|named| &named.unit).collect();
        let fields: Vec<_> = self.all.iter().map(|named| &named.field).collect();
        let visible = matches!(self.place, Place::Module(_)).then(|| quote!(pub(super)));
        let functions: Vec<_> = self.all.iter().map(|named| named.function).collect();
        let implementations = self.all.iter().enumerate().map(|(number, named)| {
            self.implementation(named, &super::linked::function(self.world, self.place, &functions, number))
        });
        quote! {
            #[doc(hidden)]
            #visible mod #hidden {
                #(
                    #[derive(Debug, Clone, Copy)]
                    pub struct #units;
                )*
                pub struct __Checked {
                    #(pub #fields: #api::Checked<#units>,)*
                }
                impl __Checked {
                    pub fn find(__expected: &mut #api::Expected<'_>) -> ::std::option::Option<Self> {
                        // All are looked for before the first that is missing ends it, so that one error tells all.
                        #(let #fields = __expected.function::<#units>();)*
                        ::std::option::Option::Some(Self { #(#fields: #fields?,)* })
                    }
                }
            }
            #(#implementations)*
        }
    }

    fn types(&self, handles: Handles) -> Types<'w> {
        Types { world: self.world, place: self.place, handles }
    }

    fn implementation(&self, named: &Named, linked: &TokenStream) -> TokenStream {
        let (api, hidden, unit) = (self.world.api(), self.hidden(), &named.unit);
        let types = self.types(Handles::Wire);
        let lifetime = quote!('a);
        let params = named.function.params.iter().map(|one| types.borrowed(&one.ty, Some(&lifetime)));
        let results = match &named.function.result {
            Some(ty) => {
                let ty = types.owned(ty);
                quote!((#ty,))
            }
            None => quote!(()),
        };
        let interface = match self.interface {
            Some(interface) => quote!(::std::option::Option::Some(#interface)),
            None => quote!(::std::option::Option::None),
        };
        let (name, signature) = (&named.function.name, signature(self.world.resolve, named.function));
        let shape = shape(self.world.resolve, named.function);
        quote! {
            impl #api::Function for #hidden::#unit {
                const INTERFACE: ::std::option::Option<&'static str> = #interface;
                const NAME: &'static str = #name;
                const SIGNATURE: &'static str = #signature;
                const SHAPE: u64 = #shape;
                type Params<'a> = (#(#params,)*);
                type Results = #results;
                #linked
            }
        }
    }

    /// Methods of the client struct: the functions of no resource. `taken` are names of its other methods.
    pub(crate) fn methods(&self, mut taken: Scope) -> TokenStream {
        let free = self.all.iter().filter(|named| named.function.kind.resource().is_none());
        let methods = free.map(|named| {
            let name = taken.take(snake(&named.function.name));
            self.method(named, &name, &Receiver::Client)
        });
        methods.collect()
    }

    /// Constructor, statics and methods of one resource. `client` is the client struct of its interface.
    pub(crate) fn resource_methods(&self, resource: TypeId, client: Option<&Ident>) -> TokenStream {
        let mut scope = Scope::default();
        let mut own: Vec<_> =
            self.all.iter().filter(|named| named.function.kind.resource() == Some(resource)).collect();
        // Constructors first: `new` is theirs.
        own.sort_by_key(|named| !matches!(named.function.kind, FunctionKind::Constructor(_)));
        let methods = own.into_iter().map(|named| {
            let name = match named.function.kind {
                FunctionKind::Constructor(_) => "new".to_owned(),
                _ => snake(named.function.item_name()),
            };
            let receiver = match (&named.function.kind, client) {
                (FunctionKind::Method(_), _) | (_, None) => Receiver::Resource,
                (_, Some(client)) => Receiver::Type { client: client.clone() },
            };
            self.method(named, &scope.take(name), &receiver)
        });
        methods.collect()
    }

    fn method(&self, named: &Named, name: &Ident, receiver: &Receiver) -> TokenStream {
        let (api, function) = (self.world.api(), named.function);
        let types = self.types(Handles::Struct);
        let mut scope = Scope::default();
        let (first, client) = match receiver {
            Receiver::Client | Receiver::Resource => (quote!(&self), quote!(self)),
            Receiver::Type { client } => {
                let argument = scope.take("client".to_owned());
                (quote!(#argument: &#client), quote!(#argument))
            }
        };
        let mut arguments: Vec<(TokenStream, Type)> = Vec::new();
        let mut declared = Vec::new();
        let skipped = usize::from(matches!(receiver, Receiver::Resource));
        arguments.extend(function.params.iter().take(skipped).map(|one| (quote!(self), one.ty)));
        for parameter in function.params.iter().skip(skipped) {
            let argument = scope.take(snake(&parameter.name));
            let ty = types.borrowed(&parameter.ty, None);
            declared.push(quote!(#argument: #ty));
            arguments.push((quote!(#argument), parameter.ty));
        }
        let returned = function.result.as_ref().map_or_else(|| quote!(()), |ty| types.owned(ty));
        let returned = result(&returned, &quote!(#api::CallError));
        let docs = self.docs(function);
        let body = self.body(named, &arguments);
        // Clippy's own limit, which counts the receiver.
        let many = (declared.len() >= 7)
            .then(|| quote!(#[allow(clippy::too_many_arguments, reason = "as many as in WIT")]));
        quote! {
            #docs
            #many
            pub fn #name(#first, #(#declared),*) -> #returned {
                let __client = &#client.client;
                #body
            }
        }
    }

    fn docs(&self, function: &Function) -> TokenStream {
        let resolve = self.world.resolve;
        let name = function_text(resolve, function);
        let mut wit = signature(resolve, function);
        if !matches!(function.kind, FunctionKind::Constructor(_)) {
            wit = format!("{}: {wit}", function.item_name());
        }
        let after = format!(
            "In WIT: `{wit}`\n\n# Errors\nThe guest was not reached, did not come back in time, or failed: see `CallError`."
        );
        docs_with(&function.docs, &format!("Calls `{name}`."), &after)
    }

    fn body(&self, named: &Named, arguments: &[(TokenStream, Type)]) -> TokenStream {
        let (world, group, field) = (self.world, &self.field, &named.field);
        let called = quote!(__client.#group.#field);
        let has_handle = |ty: &Type| world.has_handle(ty);
        let result = named.function.result.as_ref();
        let takes = arguments.iter().any(|(_, ty)| has_handle(ty));
        let gives = result.is_some_and(has_handle);
        let values = arguments.iter().map(|(value, _)| value);
        if !takes && !gives {
            let call = quote!(__client.__edge.call(#called, (#(#values,)*)));
            return match result {
                None => call,
                Some(_) => quote! {
                    let (__result,) = #call?;
                    ::std::result::Result::Ok(__result)
                },
            };
        }
        let (collected, call) = self.call_with_handles(&called, arguments);
        let owner = if gives { quote!(__owner) } else { quote!(_) };
        match result {
            None => quote! {
                #collected
                #call?;
                ::std::result::Result::Ok(())
            },
            Some(ty) => {
                let lifted = lift(world, self.place, &quote!(__result), ty);
                quote! {
                    #collected
                    let ((__result,), #owner) = #call?;
                    ::std::result::Result::Ok(#lifted)
                }
            }
        }
    }

    /// Statements that collect the handles in the arguments, and the call.
    fn call_with_handles(
        &self,
        called: &TokenStream,
        arguments: &[(TokenStream, Type)],
    ) -> (TokenStream, TokenStream) {
        let (world, api) = (self.world, self.world.api());
        // Most functions only borrow: then nothing has to be collected.
        let plain = arguments.iter().all(|(_, ty)| !world.has_handle(ty) || world.is_borrow(ty));
        if plain {
            let lent: Vec<_> =
                arguments.iter().filter(|(_, ty)| world.has_handle(ty)).map(|(value, _)| value).collect();
            let values = arguments.iter().map(|(value, ty)| {
                if world.has_handle(ty) { quote!(#value.handle.lend()) } else { value.clone() }
            });
            let call =
                quote!(__client.__edge.call_with_handles(#called, &[#(&#lent.handle),*], (#(#values,)*)));
            return (TokenStream::new(), call);
        }
        let values = arguments.iter().map(|(value, ty)| lower(world, value, ty));
        let collected = quote! {
            let mut __lent: ::std::vec::Vec<&#api::Handle> = ::std::vec::Vec::new();
            let mut __given: ::std::vec::Vec<#api::Handle> = ::std::vec::Vec::new();
            let __params = (#(#values,)*);
            __lent.extend(__given.iter());
        };
        (collected, quote!(__client.__edge.call_with_handles(#called, &__lent, __params)))
    }
}
