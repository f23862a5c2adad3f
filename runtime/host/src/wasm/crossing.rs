//! Values between a component and a process: dynamic ones here, bytes of `cofferdam-wire` there.

use std::time::Instant;

use cofferdam_wire::value::{Source, bits_bytes, case_bytes, put_bits, put_case, shape};
use cofferdam_wire::{Decode, DecodeError, Encode};
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Type, Val};

use super::compartment::{Around, WasmCompartment, find};
use super::error::{CallError, FaultKind};
use crate::client::Cancellation;

/// A function of a component, as a process calls it.
#[derive(Debug, Clone)]
pub(crate) struct WasmFunction {
    name: String,
    params: Vec<Type>,
    result: Option<Type>,
}

impl WasmCompartment {
    /// The function of that name, when its types have that digest.
    pub(crate) fn crossing(&self, name: &str, shape: u64) -> Option<WasmFunction> {
        let settled = self.settled();
        let (ComponentItem::ComponentFunc(function), _) = find(&settled, name)? else { return None };
        (shape_of(&function) == Some(shape)).then(|| WasmFunction {
            name: name.to_owned(),
            params: function.params().map(|(_, ty)| ty).collect(),
            result: function.results().next(),
        })
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
        let edge = || self.edge().to_owned();
        let arguments = decode_all(&function.params, arguments).map_err(|error| CallError::Usage {
            edge: edge(),
            message: format!("the arguments of `{}` do not fit: {error}", function.name),
        })?;
        let around = Around { until: Some(until), depth, cancellation: cancellation.cloned() };
        let call = || self.enter_around(self.untyped(&function.name, &arguments)?, around);
        // A thread that runs an executor may not wait in another.
        let results = if tokio::runtime::Handle::try_current().is_ok() {
            std::thread::scope(|scope| scope.spawn(call).join())
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        } else {
            call()
        }?;
        let mut bytes = Vec::new();
        if let (Some(value), Some(ty)) = (results.first(), &function.result) {
            let broke = |message| CallError::Fault { edge: edge(), kind: FaultKind::Protocol(message) };
            encode(value, ty, &mut bytes).map_err(broke)?;
        }
        Ok(bytes)
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

/// Appends a value's bytes. The component's own types decide: the engine has checked the value against them.
pub(super) fn encode(value: &Val, ty: &Type, out: &mut Vec<u8>) -> Result<(), String> {
    let unfit = || format!("{value:?} is not of its type");
    match (value, ty) {
        (Val::Bool(value), _) => value.encode(out),
        (Val::U8(value), _) => value.encode(out),
        (Val::U16(value), _) => value.encode(out),
        (Val::U32(value), _) => value.encode(out),
        (Val::U64(value), _) => value.encode(out),
        (Val::S8(value), _) => value.encode(out),
        (Val::S16(value), _) => value.encode(out),
        (Val::S32(value), _) => value.encode(out),
        (Val::S64(value), _) => value.encode(out),
        (Val::Float32(value), _) => value.encode(out),
        (Val::Float64(value), _) => value.encode(out),
        (Val::Char(value), _) => value.encode(out),
        (Val::String(value), _) => value.encode(out),
        (Val::List(values), Type::List(list)) => {
            u32::try_from(values.len()).map_err(|_| "a list is too long".to_owned())?.encode(out);
            let ty = list.ty();
            values.iter().try_for_each(|value| encode(value, &ty, out))?;
        }
        (Val::Record(values), Type::Record(record)) => {
            // The engine gives the fields in the order of the type.
            for ((_, value), field) in values.iter().zip(record.fields()) {
                encode(value, &field.ty, out)?;
            }
        }
        (Val::Tuple(values), Type::Tuple(tuple)) => {
            for (value, ty) in values.iter().zip(tuple.types()) {
                encode(value, &ty, out)?;
            }
        }
        (Val::Variant(name, payload), Type::Variant(variant)) => {
            let (at, case) =
                variant.cases().enumerate().find(|(_, case)| case.name == name).ok_or_else(unfit)?;
            put_case(number(at), number(variant.cases().len()), out);
            if let (Some(payload), Some(ty)) = (payload, &case.ty) {
                encode(payload, ty, out)?;
            }
        }
        (Val::Enum(name), Type::Enum(cases)) => {
            let at = cases.names().position(|case| case == name).ok_or_else(unfit)?;
            put_case(number(at), number(cases.names().len()), out);
        }
        (Val::Option(value), Type::Option(option)) => match value {
            None => out.push(0),
            Some(value) => {
                out.push(1);
                encode(value, &option.ty(), out)?;
            }
        },
        (Val::Result(value), Type::Result(result)) => {
            let (tag, value, ty) = match value {
                Ok(value) => (0, value, result.ok()),
                Err(value) => (1, value, result.err()),
            };
            out.push(tag);
            if let (Some(value), Some(ty)) = (value, ty) {
                encode(value, &ty, out)?;
            }
        }
        (Val::Flags(set), Type::Flags(flags)) => {
            let bits = flags
                .names()
                .enumerate()
                .filter(|(_, name)| set.iter().any(|one| one == name))
                .fold(0_u32, |bits, (at, _)| bits | 1_u32.checked_shl(number(at)).unwrap_or(0));
            put_bits(bits, number(flags.names().len()), out);
        }
        _ => return Err("a value that cannot leave its store".to_owned()),
    }
    Ok(())
}

/// Takes a value of a type from the front.
pub(super) fn decode(ty: &Type, from: &mut Source<'_>) -> Result<Val, DecodeError> {
    Ok(match ty {
        Type::Bool => Val::Bool(Decode::decode(from)?),
        Type::U8 => Val::U8(Decode::decode(from)?),
        Type::U16 => Val::U16(Decode::decode(from)?),
        Type::U32 => Val::U32(Decode::decode(from)?),
        Type::U64 => Val::U64(Decode::decode(from)?),
        Type::S8 => Val::S8(Decode::decode(from)?),
        Type::S16 => Val::S16(Decode::decode(from)?),
        Type::S32 => Val::S32(Decode::decode(from)?),
        Type::S64 => Val::S64(Decode::decode(from)?),
        Type::Float32 => Val::Float32(Decode::decode(from)?),
        Type::Float64 => Val::Float64(Decode::decode(from)?),
        Type::Char => Val::Char(Decode::decode(from)?),
        Type::String => Val::String(Decode::decode(from)?),
        Type::List(list) => {
            let ty = list.ty();
            let count = from.count(bytes_min(&ty), size_of::<Val>())?;
            from.nested(|from| {
                let mut values = Vec::with_capacity(count);
                for _ in 0..count {
                    values.push(decode(&ty, from)?);
                }
                Ok(Val::List(values))
            })?
        }
        Type::Record(record) => from.nested(|from| {
            let fields = record.fields().map(|field| Ok((field.name.to_owned(), decode(&field.ty, from)?)));
            fields.collect::<Result<_, _>>().map(Val::Record)
        })?,
        Type::Tuple(tuple) => from.nested(|from| {
            tuple.types().map(|ty| decode(&ty, from)).collect::<Result<_, _>>().map(Val::Tuple)
        })?,
        Type::Variant(variant) => {
            let case = from.case(number(variant.cases().len()), "variant")?;
            from.nested(|from| {
                let case = variant.cases().nth(case as usize).expect("the number is of a case");
                let payload = case.ty.as_ref().map(|ty| decode(ty, from).map(Box::new)).transpose()?;
                Ok(Val::Variant(case.name.to_owned(), payload))
            })?
        }
        Type::Enum(cases) => {
            let case = from.case(number(cases.names().len()), "enum")?;
            Val::Enum(cases.names().nth(case as usize).expect("the number is of a case").to_owned())
        }
        Type::Option(option) => match from.case(2, "option")? {
            0 => Val::Option(None),
            _ => Val::Option(Some(Box::new(from.nested(|from| decode(&option.ty(), from))?))),
        },
        Type::Result(result) => {
            let part = |ty: Option<Type>, from: &mut Source<'_>| {
                ty.map(|ty| from.nested(|from| decode(&ty, from)).map(Box::new)).transpose()
            };
            match from.case(2, "result")? {
                0 => Val::Result(Ok(part(result.ok(), from)?)),
                _ => Val::Result(Err(part(result.err(), from)?)),
            }
        }
        Type::Flags(flags) => {
            let bits = from.bits(number(flags.names().len()), "flags")?;
            let set = flags
                .names()
                .enumerate()
                .filter(|(at, _)| bits.checked_shr(number(*at)).unwrap_or(0) & 1 == 1);
            Val::Flags(set.map(|(_, name)| name.to_owned()).collect())
        }
        _ => unreachable!("`shape_of` refused the function"),
    })
}

/// Takes all of a message: a tuple of these types.
pub(super) fn decode_all(types: &[Type], bytes: &[u8]) -> Result<Vec<Val>, DecodeError> {
    let mut from = Source::new(bytes);
    let values = types.iter().map(|ty| decode(ty, &mut from)).collect::<Result<Vec<_>, _>>()?;
    from.finish().map(|()| values)
}

/// The fewest bytes of any value of a type.
fn bytes_min(ty: &Type) -> usize {
    match ty {
        Type::U16 | Type::S16 => 2,
        Type::U32 | Type::S32 | Type::Float32 | Type::Char | Type::String | Type::List(_) => 4,
        Type::U64 | Type::S64 | Type::Float64 => 8,
        Type::Record(record) => record.fields().map(|field| bytes_min(&field.ty)).sum(),
        Type::Tuple(tuple) => tuple.types().map(|ty| bytes_min(&ty)).sum(),
        Type::Variant(variant) => case_bytes(number(variant.cases().len())),
        Type::Enum(cases) => case_bytes(number(cases.names().len())),
        Type::Flags(flags) => bits_bytes(number(flags.names().len())),
        _ => 1,
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
