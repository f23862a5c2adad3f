//! Messages between components and processes: bytes of `cofferdam-wire` on both sides, since that is what compartments speak.

use std::time::Instant;

use cofferdam_wire::value::{Source, bits_bytes, case_bytes, shape};
use cofferdam_wire::{Decode as _, DecodeError};
use wasmtime::component::Type;
use wasmtime::component::types::{ComponentFunc, ComponentItem};

use super::compartment::{Around, WasmCompartment, find};
use super::error::CallError;
use super::forward::Passing;
use crate::client::Cancellation;

/// A function of a component, as a process calls it.
#[derive(Debug, Clone)]
pub(crate) struct WasmFunction {
    name: String,
    slot: usize,
    params: Vec<Shape>,
}

impl WasmCompartment {
    /// The function of that name, when its types have that digest.
    pub(crate) fn crossing(&self, name: &str, shape: u64) -> Option<WasmFunction> {
        let settled = self.settled();
        let (ComponentItem::ComponentFunc(function), _) = find(&settled, name)? else { return None };
        if shape_of(&function) != Some(shape) {
            return None;
        }
        let slot = self.passing_slot(name, &function).ok()?;
        let params = function.params().map(|(_, ty)| Shape::of(&ty)).collect::<Option<_>>()?;
        Some(WasmFunction { name: name.to_owned(), slot, params })
    }

    /// Calls it for a process, with its arguments and result as bytes.
    pub(crate) fn call_crossing(
        &self,
        function: &WasmFunction,
        arguments: &[u8],
        until: Instant,
        depth: usize,
        cancellation: Option<&Cancellation>,
    ) -> Result<Vec<u8>, CallError> {
        // What a process sends is checked before the component is entered: a lie is not the component's fault.
        Shape::check(&function.params, arguments).map_err(|error| CallError::Usage {
            edge: self.edge().to_owned(),
            message: format!("the arguments of `{}` do not fit: {error}", function.name),
        })?;
        let around = Around { until: Some(until), epoch: None, depth, cancellation: cancellation.cloned() };
        let passing = Passing { slot: function.slot, name: &function.name, message: arguments };
        // A thread that runs an executor may not wait in another.
        if tokio::runtime::Handle::try_current().is_ok() {
            std::thread::scope(|scope| scope.spawn(|| self.enter_around(passing, around)).join())
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        } else {
            self.enter_around(passing, around)
        }
    }
}

/// The digest of a function's types, as generated code has it; `None` when a type cannot cross.
pub(super) fn shape_of(function: &ComponentFunc) -> Option<u64> {
    let mut text = String::new();
    for (_, ty) in function.params() {
        write(&ty, &mut text)?;
        text.push(',');
    }
    text.push_str("->");
    if let Some(ty) = function.results().next() {
        write(&ty, &mut text)?;
    }
    Some(shape(&text))
}

/// A type written out as `cofferdam-bindgen` does it. Resources do not leave their store.
fn write(ty: &Type, text: &mut String) -> Option<()> {
    let named = match ty {
        Type::Bool => "bool",
        Type::U8 => "u8",
        Type::U16 => "u16",
        Type::U32 => "u32",
        Type::U64 => "u64",
        Type::S8 => "s8",
        Type::S16 => "s16",
        Type::S32 => "s32",
        Type::S64 => "s64",
        Type::Float32 => "f32",
        Type::Float64 => "f64",
        Type::Char => "char",
        Type::String => "string",
        Type::Record(_) => "record",
        Type::Variant(_) => "variant",
        Type::Enum(_) => "enum",
        Type::Flags(_) => "flags",
        Type::Tuple(_) => "tuple",
        Type::Option(_) => "option",
        Type::List(_) => "list",
        Type::Result(_) => "result",
        _ => return None,
    };
    text.push_str(named);
    let part = |text: &mut String, name: &str, ty: Option<&Type>| {
        text.push_str(name);
        text.push(':');
        let written = ty.map_or(Some(()), |ty| write(ty, text));
        text.push(';');
        written
    };
    if matches!(
        ty,
        Type::Record(_)
            | Type::Variant(_)
            | Type::Enum(_)
            | Type::Flags(_)
            | Type::Tuple(_)
            | Type::Option(_)
            | Type::List(_)
            | Type::Result(_)
    ) {
        text.push('{');
        match ty {
            Type::Record(record) => {
                record.fields().try_for_each(|field| part(text, field.name, Some(&field.ty)))?;
            }
            Type::Variant(variant) => {
                variant.cases().try_for_each(|case| part(text, case.name, case.ty.as_ref()))?;
            }
            Type::Enum(cases) => cases.names().try_for_each(|name| part(text, name, None))?,
            Type::Flags(flags) => flags.names().try_for_each(|name| part(text, name, None))?,
            Type::Tuple(tuple) => tuple.types().try_for_each(|ty| part(text, "", Some(&ty)))?,
            Type::Option(option) => part(text, "", Some(&option.ty()))?,
            Type::List(list) => part(text, "", Some(&list.ty()))?,
            Type::Result(result) => {
                part(text, "", result.ok().as_ref())?;
                part(text, "", result.err().as_ref())?;
            }
            _ => {}
        }
        text.push('}');
    }
    Some(())
}

/// A type, as far as its bytes in a message tell: made once for each function, so that a message is checked without a look at
/// the engine's types.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    /// So many bytes, whatever they are.
    Plain(usize),
    Bool,
    Char,
    Text,
    List(Box<Self>),
    Parts(Vec<Self>),
    Cases(Vec<Option<Self>>),
    /// So many names.
    Flags(u32),
}

impl Shape {
    /// `None` for what cannot leave its store.
    pub(super) fn of(ty: &Type) -> Option<Self> {
        let some = |ty: Option<Type>| match ty {
            None => Some(None),
            Some(ty) => Self::of(&ty).map(Some),
        };
        Some(match ty {
            Type::Bool => Self::Bool,
            Type::U8 | Type::S8 => Self::Plain(1),
            Type::U16 | Type::S16 => Self::Plain(2),
            Type::U32 | Type::S32 | Type::Float32 => Self::Plain(4),
            Type::U64 | Type::S64 | Type::Float64 => Self::Plain(8),
            Type::Char => Self::Char,
            Type::String => Self::Text,
            Type::List(list) => Self::List(Box::new(Self::of(&list.ty())?)),
            Type::Record(record) => {
                Self::Parts(record.fields().map(|field| Self::of(&field.ty)).collect::<Option<_>>()?)
            }
            Type::Tuple(tuple) => Self::Parts(tuple.types().map(|ty| Self::of(&ty)).collect::<Option<_>>()?),
            Type::Variant(variant) => {
                Self::Cases(variant.cases().map(|case| some(case.ty)).collect::<Option<_>>()?)
            }
            Type::Enum(cases) => Self::Cases(cases.names().map(|_| None).collect()),
            Type::Option(option) => Self::Cases(vec![None, some(Some(option.ty()))?]),
            Type::Result(result) => Self::Cases(vec![some(result.ok())?, some(result.err())?]),
            Type::Flags(flags) => Self::Flags(number(flags.names().len())),
            _ => return None,
        })
    }

    /// Whether a message is values of these types and no more.
    pub(super) fn check(shapes: &[Self], message: &[u8]) -> Result<(), DecodeError> {
        let mut from = Source::new(message);
        shapes.iter().try_for_each(|shape| shape.skip(&mut from))?;
        from.finish()
    }

    /// Takes a value from the front.
    fn skip(&self, from: &mut Source<'_>) -> Result<(), DecodeError> {
        match self {
            Self::Plain(bytes) => from.skip(*bytes),
            Self::Bool => bool::decode(from).map(|_| ()),
            Self::Char => char::decode(from).map(|_| ()),
            Self::Text => from.text().map(|_| ()),
            Self::List(element) => {
                let count = from.count(element.bytes_min(), element.bytes_min())?;
                match &**element {
                    Self::Plain(bytes) => from.skip(count * bytes),
                    element => from.nested(|from| (0..count).try_for_each(|_| element.skip(from))),
                }
            }
            Self::Parts(parts) => from.nested(|from| parts.iter().try_for_each(|part| part.skip(from))),
            Self::Cases(cases) => {
                let case = from.case(number(cases.len()), "case")?;
                match &cases[case as usize] {
                    Some(payload) => from.nested(|from| payload.skip(from)),
                    None => Ok(()),
                }
            }
            Self::Flags(names) => from.bits(*names, "flags").map(|_| ()),
        }
    }

    /// The fewest bytes of any value.
    fn bytes_min(&self) -> usize {
        match self {
            Self::Plain(bytes) => *bytes,
            Self::Bool => 1,
            Self::Char | Self::Text | Self::List(_) => 4,
            Self::Parts(parts) => parts.iter().map(Self::bytes_min).sum(),
            Self::Cases(cases) => case_bytes(number(cases.len())),
            Self::Flags(names) => bits_bytes(*names),
        }
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
