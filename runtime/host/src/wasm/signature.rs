//! Signatures as WIT text, for messages and for the first comparison of a component with a world.

use std::fmt::Write as _;

use wasmtime::Engine;
use wasmtime::component::Type;
use wasmtime::component::types::ComponentFunc;

/// `func(text: string, limit: option<u32>) -> result<string, string>`. Named types are written out, as components keep no names
/// for them: `record { width: u32 }`.
pub(super) fn function(function: &ComponentFunc, _: &Engine) -> String {
    let mut text = "func(".to_owned();
    for (index, (name, ty)) in function.params().enumerate() {
        let _ = write!(text, "{}{name}: ", if index == 0 { "" } else { ", " });
        write_type(&mut text, &ty);
    }
    text.push(')');
    if let Some(ty) = function.results().next() {
        text.push_str(" -> ");
        write_type(&mut text, &ty);
    }
    text
}

/// A signature as a component's type has it: what WIT leaves unsaid of a resource's functions is written out.
pub(super) fn canonical(name: &str, signature: &str) -> String {
    let signature = signature.trim();
    if name.starts_with("[constructor]") {
        let params = signature.strip_prefix("constructor").unwrap_or(signature);
        let result = if params.contains("->") { "" } else { " -> own<resource>" };
        return format!("func{params}{result}");
    }
    if name.starts_with("[method]") {
        let rest = signature.strip_prefix("func(").unwrap_or(signature);
        let comma = if rest.starts_with(')') { "" } else { ", " };
        return format!("func(self: borrow<resource>{comma}{rest}");
    }
    signature.strip_prefix("static ").unwrap_or(signature).to_owned()
}

/// Whether two signatures can be the same, as far as text can tell: a named type in the wanted one may have any definition.
pub(super) fn same(found: &str, wanted: &str) -> bool {
    let (Some((found, found_result)), Some((wanted, wanted_result))) = (split(found), split(wanted)) else {
        return false;
    };
    let (found, wanted): (Vec<&str>, Vec<&str>) = (top_level(found).collect(), top_level(wanted).collect());
    let param = |text: &str| {
        let (name, ty) = text.split_once(':').unwrap_or((text, ""));
        (name.trim().trim_start_matches('%').to_owned(), ty.trim().to_owned())
    };
    found.len() == wanted.len()
        && found.iter().zip(&wanted).all(|(found, wanted)| {
            let ((name, ty), (wanted_name, wanted_ty)) = (param(found), param(wanted));
            name == wanted_name && fits(&ty, &wanted_ty)
        })
        && fits(found_result.trim(), wanted_result.trim())
}

fn split(signature: &str) -> Option<(&str, &str)> {
    let inner = signature.trim().strip_prefix("func(")?;
    let mut depth = 1usize;
    for (index, c) in inner.char_indices() {
        match c {
            '(' | '<' | '{' => depth += 1,
            // The arrow's head closes nothing.
            '>' if inner[..index].ends_with('-') => {}
            ')' | '>' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let rest = inner[index + 1..].trim();
            return Some((&inner[..index], rest.strip_prefix("->").unwrap_or(rest)));
        }
    }
    None
}

/// The parts between commas that are in no brackets.
fn top_level(list: &str) -> impl Iterator<Item = &str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0usize, 0);
    for (index, c) in list.char_indices() {
        match c {
            '(' | '<' | '{' => depth += 1,
            ')' | '>' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(list[start..index].trim());
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(list[start..].trim());
    parts.into_iter().filter(|part| !part.is_empty())
}

fn fits(found: &str, wanted: &str) -> bool {
    const PLAIN: [&str; 15] = [
        "bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64", "char", "string", "", "_",
    ];
    if PLAIN.contains(&wanted) {
        return found == wanted;
    }
    for container in ["list", "option", "result", "tuple"] {
        if wanted == container {
            return found == container;
        }
        if let Some(wanted) = inside(wanted, container) {
            let Some(found) = inside(found, container) else { return false };
            let (found, wanted): (Vec<&str>, Vec<&str>) =
                (top_level(found).collect(), top_level(wanted).collect());
            return found.len() == wanted.len()
                && found.iter().zip(&wanted).all(|(found, wanted)| fits(found, wanted));
        }
    }
    // The name of a definition.
    true
}

/// What is between the brackets of `container<...>`.
fn inside<'t>(text: &'t str, container: &str) -> Option<&'t str> {
    text.strip_prefix(container)?.trim().strip_prefix('<')?.trim_end().strip_suffix('>')
}

fn write_type(text: &mut String, ty: &Type) {
    let simple = match ty {
        Type::Bool => "bool",
        Type::S8 => "s8",
        Type::U8 => "u8",
        Type::S16 => "s16",
        Type::U16 => "u16",
        Type::S32 => "s32",
        Type::U32 => "u32",
        Type::S64 => "s64",
        Type::U64 => "u64",
        Type::Float32 => "f32",
        Type::Float64 => "f64",
        Type::Char => "char",
        Type::String => "string",
        Type::Own(_) => "own<resource>",
        Type::Borrow(_) => "borrow<resource>",
        Type::ErrorContext => "error-context",
        _ => "",
    };
    if !simple.is_empty() {
        text.push_str(simple);
        return;
    }
    match ty {
        Type::List(list) => wrapped(text, "list", &[Some(list.ty())]),
        Type::Option(option) => wrapped(text, "option", &[Some(option.ty())]),
        Type::Tuple(tuple) => {
            let types: Vec<_> = tuple.types().map(Some).collect();
            wrapped(text, "tuple", &types);
        }
        Type::Result(result) => match (result.ok(), result.err()) {
            (None, None) => text.push_str("result"),
            (ok, None) => wrapped(text, "result", &[ok]),
            (ok, err) => wrapped(text, "result", &[ok, err]),
        },
        Type::Record(record) => {
            let fields = record.fields().map(|field| (field.name.to_owned(), Some(field.ty)));
            braced(text, "record", fields);
        }
        Type::Variant(variant) => {
            let cases = variant.cases().map(|case| (case.name.to_owned(), case.ty));
            braced(text, "variant", cases);
        }
        Type::Enum(names) => braced(text, "enum", names.names().map(|name| (name.to_owned(), None))),
        Type::Flags(names) => braced(text, "flags", names.names().map(|name| (name.to_owned(), None))),
        _ => text.push_str("unsupported"),
    }
}

fn wrapped(text: &mut String, name: &str, types: &[Option<Type>]) {
    let _ = write!(text, "{name}<");
    for (index, ty) in types.iter().enumerate() {
        text.push_str(if index == 0 { "" } else { ", " });
        match ty {
            Some(ty) => write_type(text, ty),
            None => text.push('_'),
        }
    }
    text.push('>');
}

fn braced(text: &mut String, kind: &str, parts: impl Iterator<Item = (String, Option<Type>)>) {
    let _ = write!(text, "{kind} {{ ");
    for (index, (name, ty)) in parts.enumerate() {
        let _ = write!(text, "{}{name}", if index == 0 { "" } else { ", " });
        if let Some(ty) = ty {
            text.push_str(": ");
            write_type(text, &ty);
        }
    }
    text.push_str(" }");
}

#[cfg(test)]
mod tests {
    use super::{canonical, same};

    #[test]
    fn names_of_types_are_left_to_the_engine_and_the_rest_is_compared() {
        assert!(same(
            "func(a: record { x: u32 }) -> result<_, enum { no }>",
            "func(a: point) -> result<_, error>"
        ));
        assert!(same("func(text: string)", "func(text: string)"));
        assert!(same("func(size: u32) -> list<u32>", "func(size: size) -> list<size>"));
        assert!(!same("func() -> string", "func()"));
        let counter = canonical("[constructor]counter", "constructor(start: u32)");
        assert!(same("func(start: u32) -> own<resource>", &counter));
        assert!(same(
            "func(self: borrow<resource>, by: u32) -> u32",
            &canonical("[method]c.add", "func(by: u32) -> u32")
        ));
        assert!(same("func(self: borrow<resource>)", &canonical("[method]c.end", "func()")));
        assert!(same("func() -> own<resource>", &canonical("[static]c.make", "static func() -> c")));
        assert!(!same("func(text: string)", "func(text: string, more: u8)"));
        assert!(!same("func(text: string) -> string", "func(text: string) -> u32"));
        assert!(!same("func(text: string)", "func(other: string)"));
        assert!(!same("func() -> list<u8>", "func() -> list<u16>"));
    }
}
