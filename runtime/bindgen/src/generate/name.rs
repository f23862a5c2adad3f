//! Rust names from WIT names.

use std::collections::HashSet;

use quote::format_ident;
use syn::Ident;

/// `max-length` is `max_length`.
pub(crate) fn snake(kebab: &str) -> String {
    kebab.to_ascii_lowercase().replace('-', "_")
}

/// `decode-error` is `DecodeError`, and `HTTP-error` is `HttpError`.
pub(crate) fn camel(kebab: &str) -> String {
    let words = kebab.split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + &rest.to_ascii_lowercase()
    });
    words.collect()
}

/// `max-length` is `MAX_LENGTH`.
pub(crate) fn upper(kebab: &str) -> String {
    snake(kebab).to_ascii_uppercase()
}

/// Names that share a namespace. A name that is taken, or a keyword, gets an underscore.
#[derive(Default)]
pub(crate) struct Scope {
    taken: HashSet<String>,
}

impl Scope {
    /// With names that are taken from the start.
    pub(crate) fn with(taken: &[&str]) -> Self {
        Self { taken: taken.iter().map(|name| (*name).to_owned()).collect() }
    }

    pub(crate) fn take(&mut self, mut name: String) -> Ident {
        while is_keyword(&name) || self.taken.contains(&name) {
            name.push('_');
        }
        self.taken.insert(name.clone());
        format_ident!("{name}")
    }

    pub(crate) fn is_taken(&self, name: &str) -> bool {
        self.taken.contains(name)
    }
}

fn is_keyword(name: &str) -> bool {
    // `gen` is a keyword since the edition of 2024, later than syn's list.
    name == "gen" || syn::parse_str::<Ident>(name).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_rust_does() {
        assert_eq!(snake("max-length"), "max_length");
        assert_eq!(camel("decode-error"), "DecodeError");
        assert_eq!(camel("HTTP-error-2"), "HttpError2");
        assert_eq!(upper("read-only"), "READ_ONLY");
    }

    #[test]
    fn a_keyword_or_a_taken_name_gets_an_underscore() {
        let mut scope = Scope::with(&["open"]);
        let names = ["type", "gen", "self", "open", "a_1", "a_1", "Self", "async"];
        let taken = names.map(|name| scope.take(name.to_owned()).to_string());
        assert_eq!(taken, ["type_", "gen_", "self_", "open_", "a_1", "a_1_", "Self_", "async_"]);
    }
}
