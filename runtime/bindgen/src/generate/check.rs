//! Finds everything in a world that a client cannot be made for, before any of it is made.

use wit_parser::{Function, FunctionKind, Handle, Span, Type, TypeDefKind, TypeId};

use super::wit::function_text;
use super::world::{TYPE_PARTS_MAX, World};
use crate::problem::{Problem, Reason};

/// Most parameters of one function: the tuples that wasmtime can pass (`for_each_function_signature` in wasmtime 48).
const PARAMETERS_MAX: usize = 17;
/// Most elements of a tuple: the tuples that have `Debug`, `PartialEq` and the rest in Rust's standard library.
const TUPLE_MAX: usize = 12;
/// Most names in one `flags`: the component model's own limit (wasmparser, "cannot have more than 32 flags").
const FLAGS_MAX: usize = 32;

pub(crate) fn check(world: &World) -> Vec<Problem> {
    let mut checker = Checker { world, found: Vec::new() };
    let name = || format!("world `{}`", world.title);
    // Nothing else is looked at then: to look would be to write it out.
    if let Some((id, count)) = world.oversized {
        let (definition, own) = (&world.resolve.types[id], &world.resolve.worlds[world.id]);
        let reason = Reason::TooMany { count, what: "parts when written out", most: TYPE_PARTS_MAX };
        match &definition.name {
            Some(name) => checker.refuse(definition.span, format!("type `{name}`"), reason),
            None => checker.refuse(own.span, format!("a type in {}", name()), reason),
        }
        return checker.found;
    }
    for span in &world.renamed {
        checker.refuse(*span, name(), Reason::Renamed);
    }
    for id in &world.crossed {
        let definition = &world.resolve.types[*id];
        let (kind, name) = (definition.kind.as_str(), definition.name.as_deref().unwrap_or_default());
        checker.refuse(definition.span, format!("{kind} `{name}`"), Reason::Crossed);
    }
    for function in &world.loose {
        checker.refuse(function.span, format!("import `{}`", function.name), Reason::LooseImport);
    }
    if world.renamed.is_empty()
        && world.functions.is_empty()
        && world.loose.is_empty()
        && world.modules.iter().all(|module| module.client.is_none())
    {
        checker.refuse(world.resolve.worlds[world.id].span, name(), Reason::NothingToCall);
    }
    for id in world.modules.iter().flat_map(|module| &module.types).chain(&world.types) {
        checker.definition(*id);
    }
    for function in &world.functions {
        checker.function(function);
    }
    for module in world.modules.iter().filter(|module| module.exported.is_some() || module.imported.is_some())
    {
        for function in world.resolve.interfaces[module.interface].functions.values() {
            checker.function(function);
            if module.imported.is_some()
                && (function.parameter_and_result_types().any(|ty| world.has_handle(&ty)))
            {
                checker.refuse(function.span, format!("import `{}`", function.name), Reason::ImportedHandle);
            }
        }
    }
    checker.found
}

struct Checker<'w> {
    world: &'w World<'w>,
    found: Vec<Problem>,
}

impl Checker<'_> {
    fn refuse(&mut self, span: Span, item: String, reason: Reason) {
        self.found.push(Problem { place: self.world.resolve.render_location(span), item, reason });
    }

    fn definition(&mut self, id: TypeId) {
        let resolve = self.world.resolve;
        let definition = &resolve.types[id];
        let name = definition.name.as_deref().unwrap_or_default();
        let kind = definition.kind.as_str();
        let item = || format!("{kind} `{name}`");
        let empty = |what| Reason::Empty { what };
        match &definition.kind {
            TypeDefKind::Record(record) => {
                if record.fields.is_empty() {
                    self.refuse(definition.span, item(), empty("fields"));
                }
                for field in &record.fields {
                    let item = format!("field `{}` of record `{name}`", field.name);
                    self.types(&field.ty, field.span, &item, Some("record"));
                }
            }
            TypeDefKind::Variant(variant) => {
                if variant.cases.is_empty() {
                    self.refuse(definition.span, item(), empty("cases"));
                }
                for case in &variant.cases {
                    let item = format!("case `{}` of variant `{name}`", case.name);
                    case.ty.iter().for_each(|ty| self.types(ty, case.span, &item, Some("variant")));
                }
            }
            TypeDefKind::Enum(cases) if cases.cases.is_empty() => {
                self.refuse(definition.span, item(), empty("cases"));
            }
            TypeDefKind::Flags(flags) => match flags.flags.len() {
                0 => self.refuse(definition.span, item(), empty("names")),
                count if count > FLAGS_MAX => {
                    let reason = Reason::TooMany { count, what: "names", most: FLAGS_MAX };
                    self.refuse(definition.span, item(), reason);
                }
                _ => {}
            },
            TypeDefKind::Type(_) | TypeDefKind::Resource | TypeDefKind::Enum(_) => {}
            // A name for a shape: `type names = list<string>`.
            _ => self.shape(id, definition.span, &format!("type `{name}`"), None),
        }
    }

    fn function(&mut self, function: &Function) {
        let name = function_text(self.world.resolve, function);
        let item = format!("function `{name}`");
        if function.kind.is_async() {
            self.refuse(function.span, item.clone(), Reason::Asynchronous);
        }
        let count = function.params.len();
        if count > PARAMETERS_MAX {
            let reason = Reason::TooMany { count, what: "parameters", most: PARAMETERS_MAX };
            self.refuse(function.span, item, reason);
        }
        let skipped =
            usize::from(matches!(function.kind, FunctionKind::Method(_) | FunctionKind::AsyncMethod(_)));
        for parameter in function.params.iter().skip(skipped) {
            let item = format!("parameter `{}` of `{name}`", parameter.name);
            self.types(&parameter.ty, parameter.span, &item, None);
        }
        if let Some(result) = &function.result {
            self.types(result, function.span, &format!("result of `{name}`"), None);
        }
    }

    /// What a type is made of, up to the names in it: each name's definition is checked on its own.
    fn types(&mut self, ty: &Type, span: Span, item: &str, inside: Option<&'static str>) {
        match ty {
            Type::ErrorContext => self.refuse(span, item.to_owned(), Reason::Kind { kind: "error-context" }),
            Type::Id(id) => self.shape(*id, span, item, inside),
            _ => {}
        }
    }

    fn shape(&mut self, id: TypeId, span: Span, item: &str, inside: Option<&'static str>) {
        let refuse = |checker: &mut Self, reason| checker.refuse(span, item.to_owned(), reason);
        let resolve = self.world.resolve;
        match &resolve.types[id].kind {
            TypeDefKind::Handle(Handle::Own(resource) | Handle::Borrow(resource)) => {
                if let Some(inside) = inside {
                    refuse(self, Reason::HandleInside { inside });
                } else if self.world.resource_home(*resource).is_none() {
                    let resource = resolve.types[*resource].name.clone().unwrap_or_default();
                    refuse(self, Reason::ForeignResource { resource });
                }
            }
            TypeDefKind::Tuple(tuple) => {
                match tuple.types.len() {
                    0 => refuse(self, Reason::Empty { what: "elements" }),
                    count if count > TUPLE_MAX => {
                        refuse(self, Reason::TooMany { count, what: "elements of a tuple", most: TUPLE_MAX });
                    }
                    _ => {}
                }
                tuple.types.iter().for_each(|ty| self.types(ty, span, item, inside));
            }
            TypeDefKind::Option(ty) | TypeDefKind::List(ty) | TypeDefKind::Type(ty) => {
                self.types(ty, span, item, inside);
            }
            TypeDefKind::Result(result) => {
                result.ok.iter().chain(&result.err).for_each(|ty| self.types(ty, span, item, inside));
            }
            kind @ (TypeDefKind::Map(..)
            | TypeDefKind::FixedLengthList(..)
            | TypeDefKind::Future(_)
            | TypeDefKind::Stream(_)
            | TypeDefKind::Unknown) => refuse(self, Reason::Kind { kind: kind.as_str() }),
            TypeDefKind::Record(_)
            | TypeDefKind::Variant(_)
            | TypeDefKind::Enum(_)
            | TypeDefKind::Flags(_)
            | TypeDefKind::Resource => {}
        }
    }
}
