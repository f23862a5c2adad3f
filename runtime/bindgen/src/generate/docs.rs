//! Documentation of what is generated: the text of the WIT, or a line of ours where it has none.

use proc_macro2::TokenStream;
use quote::quote;
use wit_parser::Docs;

/// The attributes for `docs`, or for `otherwise` where the WIT is silent.
pub(crate) fn docs(docs: &Docs, otherwise: &str) -> TokenStream {
    docs_with(docs, otherwise, "")
}

/// The same, with sections after it.
pub(crate) fn docs_with(docs: &Docs, otherwise: &str, after: &str) -> TokenStream {
    let mut text = match docs.contents.as_deref().map(str::trim_end) {
        Some(text) if !text.is_empty() => inert(text),
        _ => otherwise.to_owned(),
    };
    if !after.is_empty() {
        text.push_str("\n\n");
        text.push_str(after);
    }
    let lines = text.lines().map(|line| if line.is_empty() { String::new() } else { format!(" {line}") });
    quote!(#(#[doc = #lines])*)
}

/// The text without anything that rustdoc would take for a Rust example: it was written for people who read WIT.
fn inert(text: &str) -> String {
    let mut fence: Option<&str> = None;
    let lines = text.lines().map(|line| {
        let inner = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| inner.starts_with(mark));
        match (fence, mark) {
            (Some(open), Some(mark)) if open == mark => fence = None,
            (None, Some(mark)) => {
                fence = Some(mark);
                let run = inner.len() - inner.trim_start_matches(&mark[..1]).len();
                return format!("{}text", &inner[..run]);
            }
            // Four spaces would make it an example.
            (None, None) if inner.len() + 4 <= line.len() || line.starts_with('\t') => {
                return format!("   {inner}");
            }
            (Some(_), _) | (None, None) => {}
        }
        line.to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_example_of_the_wit_becomes_a_rust_test() {
        let text = "One.\n\n```\ncode\n```\n\n```rust\nmore\n```\n\n    indented\n\n~~~wit\n    kept\n~~~";
        let expected =
            "One.\n\n```text\ncode\n```\n\n```text\nmore\n```\n\n   indented\n\n~~~text\n    kept\n~~~";
        assert_eq!(inert(text), expected);
    }
}
