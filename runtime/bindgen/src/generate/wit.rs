//! Types and functions as WIT text, for messages and documentation.

use wit_parser::{Function, FunctionKind, Handle, Resolve, Type, TypeDefKind};

pub(crate) fn type_text(resolve: &Resolve, ty: &Type) -> String {
    let id = match ty {
        Type::Bool => return "bool".to_owned(),
        Type::U8 => return "u8".to_owned(),
        Type::U16 => return "u16".to_owned(),
        Type::U32 => return "u32".to_owned(),
        Type::U64 => return "u64".to_owned(),
        Type::S8 => return "s8".to_owned(),
        Type::S16 => return "s16".to_owned(),
        Type::S32 => return "s32".to_owned(),
        Type::S64 => return "s64".to_owned(),
        Type::F32 => return "f32".to_owned(),
        Type::F64 => return "f64".to_owned(),
        Type::Char => return "char".to_owned(),
        Type::String => return "string".to_owned(),
        Type::ErrorContext => return "error-context".to_owned(),
        Type::Id(id) => *id,
    };
    let definition = &resolve.types[id];
    if let Some(name) = &definition.name {
        return name.clone();
    }
    shape_text(resolve, &definition.kind)
}

/// What a type is, whatever it is called.
pub(crate) fn shape_text(resolve: &Resolve, kind: &TypeDefKind) -> String {
    let text = |ty: &Type| type_text(resolve, ty);
    match kind {
        TypeDefKind::Handle(Handle::Own(resource)) => text(&Type::Id(*resource)),
        TypeDefKind::Handle(Handle::Borrow(resource)) => format!("borrow<{}>", text(&Type::Id(*resource))),
        TypeDefKind::Tuple(tuple) => {
            let types: Vec<_> = tuple.types.iter().map(text).collect();
            format!("tuple<{}>", types.join(", "))
        }
        TypeDefKind::Option(inner) => format!("option<{}>", text(inner)),
        TypeDefKind::List(inner) => format!("list<{}>", text(inner)),
        TypeDefKind::FixedLengthList(inner, length) => format!("list<{}, {length}>", text(inner)),
        TypeDefKind::Map(key, value) => format!("map<{}, {}>", text(key), text(value)),
        TypeDefKind::Type(inner) => text(inner),
        TypeDefKind::Result(result) => match (&result.ok, &result.err) {
            (None, None) => "result".to_owned(),
            (Some(ok), None) => format!("result<{}>", text(ok)),
            (None, Some(err)) => format!("result<_, {}>", text(err)),
            (Some(ok), Some(err)) => format!("result<{}, {}>", text(ok), text(err)),
        },
        other => other.as_str().to_owned(),
    }
}

/// `func(text: string) -> result<string, error>`
pub(crate) fn signature(resolve: &Resolve, function: &Function) -> String {
    let (head, skipped) = match &function.kind {
        FunctionKind::Constructor(_) => ("constructor", 0),
        FunctionKind::Static(_) | FunctionKind::AsyncStatic(_) => ("static func", 0),
        FunctionKind::Method(_) | FunctionKind::AsyncMethod(_) => ("func", 1),
        FunctionKind::Freestanding | FunctionKind::AsyncFreestanding => ("func", 0),
    };
    let parameters: Vec<_> = function
        .params
        .iter()
        .skip(skipped)
        .map(|parameter| format!("{}: {}", parameter.name, type_text(resolve, &parameter.ty)))
        .collect();
    let mut text = format!("{head}({})", parameters.join(", "));
    if let Some(result) = &function.result
        && !function.is_constructor_shorthand(resolve)
    {
        text.push_str(" -> ");
        text.push_str(&type_text(resolve, result));
    }
    text
}

/// What to call the function in a sentence: `transform`, `decoder.next`, `decoder.constructor`.
pub(crate) fn function_text(resolve: &Resolve, function: &Function) -> String {
    let resource = function.kind.resource().and_then(|id| resolve.types[id].name.as_deref());
    match resource {
        Some(resource) => format!("{resource}.{}", function.item_name()),
        None => function.name.clone(),
    }
}
