//! What of a WIT world its client needs: modules, the types in them, and their names in Rust.

use std::collections::{HashMap, HashSet};

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Ident, Path};
use wit_parser::{
    Function, Handle, InterfaceId, Resolve, Type, TypeDefKind, TypeId, TypeOwner, WorldId, WorldItem,
    WorldKey,
};

use super::name::{Scope, camel, snake};

/// Names that wasmtime's derives write without a path, beside the types that they are for.
const DERIVED: [&str; 2] = ["Copy", "Option"];

/// What a guest implements: a trait beside the types.
pub(crate) const GUEST: &str = "Guest";

/// What a consumer implements of an interface that its compartment calls back.
pub(crate) const HOST: &str = "Host";

/// Largest type, in parts when it is written out with everything in it. A few names can stand for any number of parts
/// (`type b = tuple<a, a>`, and so on), and what is generated, and wasmtime's derives, go through each.
pub(crate) const TYPE_PARTS_MAX: usize = 4096;

/// Where generated code stands, and with it how it names what stands elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Where the macro was called.
    Root,
    /// In the module of an interface.
    Module(InterfaceId),
}

/// For whom the code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The one that calls.
    Client,
    /// The one that is called.
    Guest,
}

/// What the client of a compartment crate has beside it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Beside<'o> {
    /// The guest's side: names must be the same in both.
    pub(crate) guest: bool,
    /// The implementation itself, linked in.
    pub(crate) implementation: Option<&'o Path>,
    /// The feature that links it.
    pub(crate) feature: Option<&'o syn::LitStr>,
}

/// The module of one interface.
pub(crate) struct Module {
    pub(crate) interface: InterfaceId,
    pub(crate) name: Ident,
    /// `acme:text/filter@1.0.0` when the world exports it. Otherwise the module has only types.
    pub(crate) exported: Option<String>,
    /// The same when the world imports it and its functions can be written: a guest calls them, and a consumer implements them.
    pub(crate) imported: Option<String>,
    /// Of a guest: whether it has only types, and an imported interface uses one of them. In a component, where the macro for components
    /// writes what is imported, its types are those of that macro.
    pub(crate) shared: bool,
    /// What people call it.
    pub(crate) title: String,
    /// In the order of the WIT.
    pub(crate) types: Vec<TypeId>,
    /// The client struct; there is one when there are functions.
    pub(crate) client: Option<Ident>,
}

pub(crate) struct World<'r> {
    pub(crate) resolve: &'r Resolve,
    pub(crate) id: WorldId,
    /// `acme:text/text-filter@1.0.0`
    pub(crate) title: String,
    /// The world's own struct.
    pub(crate) name: Ident,
    pub(crate) side: Side,
    /// `::cofferdam`, or `::cofferdam_guest`
    pub(crate) crate_path: &'r Path,
    /// What a client has beside it.
    pub(crate) beside: Beside<'r>,
    /// Exported interfaces in the world's order, then others that have types which those use.
    pub(crate) modules: Vec<Module>,
    /// Types that the world itself defines and exported functions use.
    pub(crate) types: Vec<TypeId>,
    /// Exported functions of the world itself.
    pub(crate) functions: Vec<&'r Function>,
    /// Types that are the error of some result.
    pub(crate) errors: HashSet<TypeId>,
    /// The first type that is larger than `TYPE_PARTS_MAX`, with its parts.
    pub(crate) oversized: Option<(TypeId, usize)>,
    /// Functions that a guest's world imports outside of any interface.
    pub(crate) loose: Vec<&'r Function>,
    /// Interfaces that are exported by a name that is not their own.
    pub(crate) renamed: Vec<wit_parser::Span>,
    /// Types of a guest's exported interfaces that an imported one uses: those are two types in a component.
    pub(crate) crossed: Vec<TypeId>,
    names: HashMap<TypeId, Ident>,
}

impl<'r> World<'r> {
    pub(crate) fn new(
        resolve: &'r Resolve,
        id: WorldId,
        side: Side,
        crate_path: &'r Path,
        beside: Beside<'r>,
    ) -> Self {
        let world = &resolve.worlds[id];
        let title = world
            .package
            .map_or_else(|| world.name.clone(), |package| resolve.id_of_name(package, &world.name));
        let mut result = Self {
            resolve,
            id,
            title,
            name: format_ident!("{}", Scope::default().take(camel(&world.name))),
            side,
            crate_path,
            beside,
            modules: Vec::new(),
            types: Vec::new(),
            functions: Vec::new(),
            errors: HashSet::new(),
            oversized: None,
            loose: Vec::new(),
            renamed: Vec::new(),
            crossed: Vec::new(),
            names: HashMap::new(),
        };
        let mut reached = Reached::new(resolve);
        for (key, item) in &world.exports {
            match item {
                WorldItem::Interface { id, span, .. } => {
                    let interface = &resolve.interfaces[*id];
                    if matches!(key, WorldKey::Name(_)) && interface.name.is_some() {
                        result.renamed.push(*span);
                        continue;
                    }
                    let name = resolve.name_world_key(key);
                    result.add_module(*id, name.clone(), Some(name));
                    for ty in interface.types.values() {
                        reached.visit(&Type::Id(*ty));
                    }
                    interface.functions.values().for_each(|function| reached.visit_function(function));
                }
                WorldItem::Function(function) => {
                    reached.visit_function(function);
                    result.functions.push(function);
                }
                WorldItem::Type { id, .. } => {
                    reached.visit(&Type::Id(*id));
                }
            }
        }
        result.add_imports(&mut reached);
        for ty in reached.found {
            match resolve.types[ty].owner {
                TypeOwner::Interface(id) => {
                    let at = result.modules.iter().position(|module| module.interface == id);
                    let at = at.unwrap_or_else(|| {
                        let title = resolve.id_of(id).expect("only exported interfaces have no name");
                        result.add_module(id, title, None)
                    });
                    result.modules[at].types.push(ty);
                }
                TypeOwner::World(_) => result.types.push(ty),
                TypeOwner::None => unreachable!("only types with an owner are collected"),
            }
        }
        result.errors = reached.errors;
        result.oversized = reached.oversized;
        if side == Side::Guest {
            result.share_types();
        }
        result.name_modules();
        result.name_types();
        result
    }

    fn add_module(&mut self, interface: InterfaceId, title: String, exported: Option<String>) -> usize {
        let name = format_ident!("unnamed");
        let imported = None;
        self.modules.push(Module {
            interface,
            name,
            exported,
            imported,
            shared: false,
            title,
            types: Vec::new(),
            client: None,
        });
        self.modules.len() - 1
    }

    /// What a guest calls of others: the functions of interfaces that its world imports. What WASI has, the standard library calls.
    /// For a client, those that its consumer can implement; others are the component's own matter.
    fn add_imports(&mut self, reached: &mut Reached<'_>) {
        let resolve = self.resolve;
        for (key, item) in &resolve.worlds[self.id].imports {
            match item {
                WorldItem::Interface { id, span, .. } => {
                    let interface = &resolve.interfaces[*id];
                    let name = resolve.name_world_key(key);
                    if interface.functions.is_empty() || name.starts_with("wasi:") {
                        continue;
                    }
                    let exported = self.modules.iter().any(|module| module.interface == *id);
                    if self.side == Side::Client && (exported || !can_be_implemented(resolve, *id, key)) {
                        continue;
                    }
                    if exported || (matches!(key, WorldKey::Name(_)) && interface.name.is_some()) {
                        self.renamed.push(*span);
                        continue;
                    }
                    let at = self.add_module(*id, name.clone(), None);
                    self.modules[at].imported = Some(name);
                    interface.types.values().for_each(|ty| {
                        reached.visit(&Type::Id(*ty));
                    });
                    interface.functions.values().for_each(|function| reached.visit_function(function));
                }
                WorldItem::Function(function) if self.side == Side::Guest => self.loose.push(function),
                WorldItem::Function(_) | WorldItem::Type { .. } => {}
            }
        }
    }

    /// Finds what of other interfaces the imported ones use.
    fn share_types(&mut self) {
        let mut used = Reached::new(self.resolve);
        for module in self.modules.iter().filter(|module| module.imported.is_some()) {
            let interface = &self.resolve.interfaces[module.interface];
            interface.types.values().for_each(|ty| {
                used.visit(&Type::Id(*ty));
            });
            interface.functions.values().for_each(|function| used.visit_function(function));
        }
        for ty in used.found {
            let TypeOwner::Interface(home) = self.resolve.types[ty].owner else { continue };
            for module in self.modules.iter_mut().filter(|module| module.interface == home) {
                if module.exported.is_some() {
                    self.crossed.push(ty);
                }
                module.shared = module.exported.is_none() && module.imported.is_none();
            }
        }
    }

    /// The interface's name; with its package, then with everything, where that is not unique.
    fn name_modules(&mut self) {
        let short = |title: &str| {
            let name = title.rsplit('/').next().unwrap_or(title);
            snake(name.split('@').next().unwrap_or(name))
        };
        let long = |title: &str| snake(&title.split('@').next().unwrap_or(title).replace([':', '/'], "-"));
        let full = |title: &str| snake(&title.replace([':', '/', '@', '.', '+'], "-"));
        let titles: Vec<_> = self.modules.iter().map(|module| module.title.clone()).collect();
        let unique = |name: &dyn Fn(&str) -> String, title: &str| {
            titles.iter().filter(|other| name(other) == name(title)).count() == 1
        };
        // Modules of these names would stand before the crates in paths that derives write.
        let mut scope = Scope::with(&["core", "std", "alloc"]);
        for (module, title) in self.modules.iter_mut().zip(&titles) {
            let name = if unique(&short, title) {
                short(title)
            } else if unique(&long, title) {
                long(title)
            } else {
                full(title)
            };
            module.name = scope.take(name);
        }
    }

    fn name_types(&mut self) {
        let resolve = self.resolve;
        let name_of =
            |id: &TypeId| camel(resolve.types[*id].name.as_deref().expect("types with an owner are named"));
        let reserved: &[&str] = match self.side {
            Side::Client if !self.beside.guest => &DERIVED,
            _ => &[DERIVED[0], DERIVED[1], GUEST],
        };
        let mut root = Scope::with(reserved);
        root.take(self.name.to_string());
        for id in &self.types {
            self.names.insert(*id, root.take(name_of(id)));
        }
        for module in &mut self.modules {
            let mut scope = Scope::with(reserved);
            if module.imported.is_some() {
                scope.take(HOST.to_owned());
            }
            for id in &module.types {
                self.names.insert(*id, scope.take(name_of(id)));
            }
            let interface = &resolve.interfaces[module.interface];
            if module.exported.is_some() && !interface.functions.is_empty() {
                let own = interface.name.as_deref().unwrap_or(&module.title);
                let mut name = camel(own);
                if scope.is_taken(&name) {
                    name.push_str("Client");
                }
                module.client = Some(scope.take(name));
            }
        }
    }

    /// `cofferdam::client` or `cofferdam_guest`, from anywhere.
    pub(crate) fn api(&self) -> TokenStream {
        let path = self.crate_path;
        match self.side {
            Side::Client => quote!(#path::client),
            Side::Guest => quote!(#path),
        }
    }

    pub(crate) fn type_name(&self, id: TypeId) -> &Ident {
        &self.names[&id]
    }

    pub(crate) fn module(&self, interface: InterfaceId) -> &Module {
        let found = self.modules.iter().find(|module| module.interface == interface);
        found.expect("every interface with a type that is used has a module")
    }

    /// How code at `place` names a type that has a name.
    pub(crate) fn type_path(&self, id: TypeId, place: Place) -> TokenStream {
        let name = self.type_name(id);
        match (self.resolve.types[id].owner, place) {
            (TypeOwner::Interface(home), Place::Module(here)) if home == here => quote!(#name),
            (TypeOwner::Interface(home), place) => {
                let module = &self.module(home).name;
                let up = if place == Place::Root { quote!(self) } else { quote!(super) };
                quote!(#up::#module::#name)
            }
            (_, Place::Root) => quote!(#name),
            (_, Place::Module(_)) => quote!(super::#name),
        }
    }

    /// The type behind `use` and aliases.
    pub(crate) fn behind(&self, id: TypeId) -> TypeId {
        behind(self.resolve, id)
    }

    /// The exported interface that defines the resource.
    pub(crate) fn resource_home(&self, resource: TypeId) -> Option<&Module> {
        let TypeOwner::Interface(home) = self.resolve.types[self.behind(resource)].owner else { return None };
        self.modules.iter().find(|module| module.interface == home && module.exported.is_some())
    }

    /// The type that stands for a resource in what implements its interface.
    pub(crate) fn resource_type(
        &self,
        resource: TypeId,
        implementation: &TokenStream,
        place: Place,
    ) -> TokenStream {
        let resource = self.behind(resource);
        let name = self.type_name(resource);
        let TypeOwner::Interface(home) = self.resolve.types[resource].owner else {
            return quote!(<#implementation as Guest>::#name);
        };
        let guest = match place {
            Place::Module(here) if here == home => quote!(Guest),
            Place::Module(_) => {
                let module = &self.module(home).name;
                quote!(super::#module::Guest)
            }
            Place::Root => {
                let module = &self.module(home).name;
                quote!(self::#module::Guest)
            }
        };
        quote!(<#implementation as #guest>::#name)
    }

    /// The hidden module with the client's parts that all of its handles share.
    pub(crate) fn hidden(&self) -> Ident {
        format_ident!("__{}_client", snake(&self.resolve.worlds[self.id].name))
    }
}

/// Walks everything that exported functions mention.
struct Reached<'r> {
    resolve: &'r Resolve,
    /// Each type that was visited, with its parts when written out.
    parts: HashMap<TypeId, usize>,
    /// Those with an owner, what is used before what uses it.
    found: Vec<TypeId>,
    errors: HashSet<TypeId>,
    oversized: Option<(TypeId, usize)>,
}

impl<'r> Reached<'r> {
    fn new(resolve: &'r Resolve) -> Self {
        let (parts, found, errors) = (HashMap::new(), Vec::new(), HashSet::new());
        Self { resolve, parts, found, errors, oversized: None }
    }

    fn visit_function(&mut self, function: &Function) {
        for ty in function.parameter_and_result_types() {
            self.visit(&ty);
        }
    }

    /// The type's parts. Types cannot contain themselves: wit-parser refuses that.
    fn visit(&mut self, ty: &Type) -> usize {
        let Type::Id(id) = ty else { return 1 };
        if let Some(parts) = self.parts.get(id) {
            return *parts;
        }
        let resolve = self.resolve;
        let definition = &resolve.types[*id];
        let inner: Vec<Type> = match &definition.kind {
            TypeDefKind::Record(record) => record.fields.iter().map(|field| field.ty).collect(),
            TypeDefKind::Variant(variant) => variant.cases.iter().filter_map(|case| case.ty).collect(),
            TypeDefKind::Tuple(tuple) => tuple.types.clone(),
            TypeDefKind::Option(ty)
            | TypeDefKind::List(ty)
            | TypeDefKind::Type(ty)
            | TypeDefKind::FixedLengthList(ty, _) => vec![*ty],
            TypeDefKind::Map(key, value) => vec![*key, *value],
            TypeDefKind::Result(result) => {
                if let Some(Type::Id(error)) = result.err {
                    self.errors.insert(behind(resolve, error));
                }
                result.ok.into_iter().chain(result.err).collect()
            }
            TypeDefKind::Future(ty) | TypeDefKind::Stream(ty) => ty.iter().copied().collect(),
            TypeDefKind::Handle(Handle::Own(id) | Handle::Borrow(id)) => vec![Type::Id(*id)],
            TypeDefKind::Resource | TypeDefKind::Flags(_) | TypeDefKind::Enum(_) | TypeDefKind::Unknown => {
                vec![]
            }
        };
        let parts = inner.iter().fold(1_usize, |parts, ty| parts.saturating_add(self.visit(ty)));
        if parts > TYPE_PARTS_MAX && self.oversized.is_none() {
            self.oversized = Some((*id, parts));
        }
        self.parts.insert(*id, parts);
        if definition.owner != TypeOwner::None && definition.name.is_some() {
            self.found.push(*id);
        }
        parts
    }
}

/// Whether a consumer can implement an interface: plain functions of values.
fn can_be_implemented(resolve: &Resolve, id: InterfaceId, key: &WorldKey) -> bool {
    let interface = &resolve.interfaces[id];
    !matches!(key, WorldKey::Name(_))
        && interface.functions.values().all(|function| {
            !function.kind.is_async()
                && function.kind.resource().is_none()
                && function.parameter_and_result_types().all(|ty| is_value(resolve, &ty))
        })
}

/// Whether a type has nothing in it that is bound to a component: no handle, stream or future.
fn is_value(resolve: &Resolve, ty: &Type) -> bool {
    let Type::Id(id) = ty else { return !matches!(ty, Type::ErrorContext) };
    let all =
        |mut types: &mut dyn Iterator<Item = &Type>| Iterator::all(&mut types, |ty| is_value(resolve, ty));
    match &resolve.types[*id].kind {
        TypeDefKind::Record(record) => all(&mut record.fields.iter().map(|field| &field.ty)),
        TypeDefKind::Variant(variant) => all(&mut variant.cases.iter().filter_map(|case| case.ty.as_ref())),
        TypeDefKind::Tuple(tuple) => all(&mut tuple.types.iter()),
        TypeDefKind::Option(ty) | TypeDefKind::List(ty) | TypeDefKind::Type(ty) => is_value(resolve, ty),
        TypeDefKind::Result(parts) => all(&mut parts.ok.iter().chain(&parts.err)),
        TypeDefKind::Flags(_) | TypeDefKind::Enum(_) => true,
        _ => false,
    }
}

fn behind(resolve: &Resolve, mut id: TypeId) -> TypeId {
    while let TypeDefKind::Type(Type::Id(next)) = &resolve.types[id].kind {
        id = *next;
    }
    id
}
