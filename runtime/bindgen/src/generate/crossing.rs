//! How types cross to a process: their encoding, and the digest by which both sides know that they mean the same.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Ident;
use wit_parser::{Function, Handle, Resolve, Type, TypeDefKind};

use super::wit::type_text;

/// A record, field by field.
pub(crate) fn record(
    wire: &TokenStream,
    name: &Ident,
    fields: &[Ident],
    types: &[TokenStream],
) -> TokenStream {
    quote! {
        impl #wire::Encode for #name {
            fn encode<'v>(&'v self, out: &mut #wire::value::Sink<'v>) {
                #(#wire::Encode::encode(&self.#fields, out);)*
            }
        }
        impl #wire::Decode for #name {
            const BYTES_MIN: usize = 0 #(+ <#types as #wire::Decode>::BYTES_MIN)*;
            fn decode(
                from: &mut #wire::value::Source<'_>,
            ) -> ::std::result::Result<Self, #wire::DecodeError> {
                from.nested(|from| ::std::result::Result::Ok(Self {
                    #(#fields: #wire::Decode::decode(from)?,)*
                }))
            }
        }
    }
}

/// A variant or enum: the number of the case, then its payload.
pub(crate) fn cases(wire: &TokenStream, name: &Ident, wit: &str, cases: &[(Ident, bool)]) -> TokenStream {
    let count = u32::try_from(cases.len()).unwrap_or(u32::MAX);
    let numbers: Vec<_> = (0..count).collect();
    let encoded = cases.iter().zip(&numbers).map(|((case, payload), number)| {
        let (pattern, rest) = if *payload {
            (quote!((value)), quote!(#wire::Encode::encode(value, out);))
        } else {
            (TokenStream::new(), TokenStream::new())
        };
        quote!(Self::#case #pattern => { out.case(#number, #count); #rest })
    });
    let decoded = cases.iter().zip(&numbers).map(|((case, payload), number)| {
        let payload = payload.then(|| quote!((#wire::Decode::decode(from)?)));
        quote!(#number => Self::#case #payload)
    });
    quote! {
        impl #wire::Encode for #name {
            fn encode<'v>(&'v self, out: &mut #wire::value::Sink<'v>) {
                match self { #(#encoded)* }
            }
        }
        impl #wire::Decode for #name {
            const BYTES_MIN: usize = #wire::value::case_bytes(#count);
            fn decode(
                from: &mut #wire::value::Source<'_>,
            ) -> ::std::result::Result<Self, #wire::DecodeError> {
                let case = from.case(#count, #wit)?;
                from.nested(|from| ::std::result::Result::Ok(match case {
                    #(#decoded,)*
                    _ => ::std::unreachable!("no case has this number"),
                }))
            }
        }
    }
}

/// Flags: their bits.
pub(crate) fn flags(wire: &TokenStream, name: &Ident, wit: &str, flags: &[Ident]) -> TokenStream {
    let count = u32::try_from(flags.len()).unwrap_or(u32::MAX);
    let bits: Vec<_> = (0..count).map(|at| 1_u32 << at).collect();
    quote! {
        impl #wire::Encode for #name {
            fn encode<'v>(&'v self, out: &mut #wire::value::Sink<'v>) {
                let mut bits = 0_u32;
                #(if self.contains(Self::#flags) { bits |= #bits; })*
                out.bits(bits, #count);
            }
        }
        impl #wire::Decode for #name {
            const BYTES_MIN: usize = #wire::value::bits_bytes(#count);
            fn decode(
                from: &mut #wire::value::Source<'_>,
            ) -> ::std::result::Result<Self, #wire::DecodeError> {
                let bits = from.bits(#count, #wit)?;
                let mut flags = Self::empty();
                #(if bits & #bits != 0 { flags |= Self::#flags; })*
                ::std::result::Result::Ok(flags)
            }
        }
    }
}

/// A digest of a function's types written out: what a client and a guest were generated from is the same when these are.
/// FNV-1a, 64 bits (RFC 9923). It finds mistakes, not lies: what a guest sends is checked when it is decoded.
pub(crate) fn shape(resolve: &Resolve, function: &Function) -> u64 {
    let mut text = String::new();
    for parameter in &function.params {
        write(resolve, &parameter.ty, &mut text);
        text.push(',');
    }
    text.push_str("->");
    if let Some(result) = &function.result {
        write(resolve, result, &mut text);
    }
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |digest, byte| {
        (digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The type with every name in it but those of fields, cases, flags and resources replaced by what it stands for.
fn write(resolve: &Resolve, ty: &Type, text: &mut String) {
    let Type::Id(id) = ty else {
        text.push_str(&type_text(resolve, ty));
        return;
    };
    let definition = &resolve.types[*id];
    let mut all = |head: &str, parts: &mut dyn Iterator<Item = (&str, Option<&Type>)>| {
        text.push_str(head);
        text.push('{');
        for (name, ty) in parts {
            text.push_str(name);
            text.push(':');
            if let Some(ty) = ty {
                write(resolve, ty, text);
            }
            text.push(';');
        }
        text.push('}');
    };
    match &definition.kind {
        TypeDefKind::Record(record) => {
            all("record", &mut record.fields.iter().map(|field| (field.name.as_str(), Some(&field.ty))));
        }
        TypeDefKind::Variant(variant) => {
            all("variant", &mut variant.cases.iter().map(|case| (case.name.as_str(), case.ty.as_ref())));
        }
        TypeDefKind::Enum(cases) => {
            all("enum", &mut cases.cases.iter().map(|case| (case.name.as_str(), None)));
        }
        TypeDefKind::Flags(flags) => {
            all("flags", &mut flags.flags.iter().map(|flag| (flag.name.as_str(), None)));
        }
        TypeDefKind::Tuple(tuple) => all("tuple", &mut tuple.types.iter().map(|ty| ("", Some(ty)))),
        TypeDefKind::Option(inner) => all("option", &mut [("", Some(inner))].into_iter()),
        TypeDefKind::List(inner) => all("list", &mut [("", Some(inner))].into_iter()),
        TypeDefKind::Result(parts) => {
            all("result", &mut [("", parts.ok.as_ref()), ("", parts.err.as_ref())].into_iter());
        }
        TypeDefKind::Handle(Handle::Own(resource)) => {
            all("own", &mut [("", Some(&Type::Id(*resource)))].into_iter());
        }
        TypeDefKind::Handle(Handle::Borrow(resource)) => {
            all("borrow", &mut [("", Some(&Type::Id(*resource)))].into_iter());
        }
        TypeDefKind::Type(inner) => write(resolve, inner, text),
        // Resources are what their names say. Other kinds were refused.
        other => {
            text.push_str(other.as_str());
            text.push(' ');
            text.push_str(definition.name.as_deref().unwrap_or_default());
        }
    }
}
