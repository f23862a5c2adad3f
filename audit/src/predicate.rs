//! `cfg` predicates, evaluated in three values: a name that only the crate's own build script could set is neither true nor
//! false, and code behind it counts as compiled.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use syn::punctuated::Punctuated;
use syn::{Expr, Lit, Meta, Token};

/// A predicate as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Predicate {
    /// All of them.
    All(Vec<Predicate>),
    /// Any of them.
    Any(Vec<Predicate>),
    /// Not it.
    Not(Box<Predicate>),
    /// `unix`, `test`.
    Name(String),
    /// `feature = "std"`.
    Value(String, String),
    /// `true` and `false`, and what is not understood.
    Constant(Option<bool>),
}

/// What is set while a target is compiled: the output of `rustc --print cfg`, and the features of each package.
#[derive(Debug, Clone, Default)]
pub struct CfgSet {
    names: BTreeSet<String>,
    values: BTreeMap<String, BTreeSet<String>>,
}

/// Names that the compiler or Cargo always knows, so that their absence means false.
const KNOWN_NAMES: &[&str] =
    &["unix", "windows", "test", "doctest", "doc", "miri", "proc_macro", "rustfmt", "clippy"];

impl CfgSet {
    /// Reads the lines that `rustc --print cfg` prints.
    pub fn from_lines(lines: &str) -> Self {
        let mut set = Self::default();
        for line in lines.lines() {
            match line.trim().split_once('=') {
                Some((key, value)) => {
                    set.values.entry(key.to_owned()).or_default().insert(value.trim_matches('"').to_owned());
                }
                None if !line.trim().is_empty() => {
                    set.names.insert(line.trim().to_owned());
                }
                None => {}
            }
        }
        set
    }

    fn name(&self, name: &str) -> Option<bool> {
        if self.names.contains(name) && name != "debug_assertions" {
            return Some(true);
        }
        KNOWN_NAMES.contains(&name).then_some(false)
    }

    fn value(&self, key: &str, value: &str, features: &BTreeSet<String>) -> Option<bool> {
        match key {
            "feature" => Some(features.contains(value)),
            "panic" => None,
            _ if self.values.contains_key(key) || key.starts_with("target_") => {
                Some(self.values.get(key).is_some_and(|values| values.contains(value)))
            }
            _ => None,
        }
    }
}

/// Deepest nesting of a predicate.
const DEPTH_MAX: usize = 64;

impl Predicate {
    /// Parses what stands between the brackets of `cfg(...)`.
    pub fn parse(meta: &Meta) -> Self {
        Self::parse_at(meta, 0)
    }

    /// Parses the `target` of a dependency: `cfg(...)`, or `None` when it is a triple.
    pub fn parse_text(text: &str) -> Option<Self> {
        let inner = text.trim().strip_prefix("cfg(")?.strip_suffix(')')?;
        Some(syn::parse_str::<Meta>(inner).map_or(Self::Constant(None), |meta| Self::parse(&meta)))
    }

    fn parse_at(meta: &Meta, depth: usize) -> Self {
        if depth > DEPTH_MAX {
            return Self::Constant(None);
        }
        match meta {
            Meta::Path(path) => match path.get_ident().map(ToString::to_string).as_deref() {
                Some(name) => Self::Name(name.to_owned()),
                None => Self::Constant(None),
            },
            Meta::NameValue(pair) => match (path_name(&pair.path), &pair.value) {
                (Some(key), Expr::Lit(literal)) => match &literal.lit {
                    Lit::Str(text) => Self::Value(key, text.value()),
                    _ => Self::Constant(None),
                },
                _ => Self::Constant(None),
            },
            Meta::List(list) => {
                let inner = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
                let (Some(name), Ok(inner)) = (path_name(&list.path), inner) else {
                    return Self::Constant(None);
                };
                let mut inner: Vec<Self> = inner.iter().map(|meta| Self::parse_at(meta, depth + 1)).collect();
                match (name.as_str(), inner.len()) {
                    ("all", _) => Self::All(inner),
                    ("any", _) => Self::Any(inner),
                    ("not", 1) => Self::Not(Box::new(inner.remove(0))),
                    _ => Self::Constant(None),
                }
            }
        }
    }

    /// The same, where a macro may have left it out.
    pub(crate) fn doubted(self) -> Self {
        Self::Any(vec![self, Self::Constant(None)])
    }

    /// What [`Self::doubted`] was made of.
    pub(crate) fn undoubted(&self) -> &Self {
        match self {
            Self::Any(any) => match any.as_slice() {
                [one, Self::Constant(None)] => one,
                _ => self,
            },
            _ => self,
        }
    }

    /// Whether code behind it is compiled; `None` when that depends on what is not known here.
    pub fn evaluate(&self, set: &CfgSet, features: &BTreeSet<String>) -> Option<bool> {
        match self {
            Self::All(all) => {
                let mut result = Some(true);
                for one in all {
                    match one.evaluate(set, features) {
                        Some(false) => return Some(false),
                        None => result = None,
                        Some(true) => {}
                    }
                }
                result
            }
            Self::Any(any) => {
                let mut result = Some(false);
                for one in any {
                    match one.evaluate(set, features) {
                        Some(true) => return Some(true),
                        None => result = None,
                        Some(false) => {}
                    }
                }
                result
            }
            Self::Not(inner) => inner.evaluate(set, features).map(|value| !value),
            Self::Name(name) if name == "true" => Some(true),
            Self::Name(name) if name == "false" => Some(false),
            Self::Name(name) => set.name(name),
            Self::Value(key, value) => set.value(key, value, features),
            Self::Constant(value) => *value,
        }
    }
}

fn path_name(path: &syn::Path) -> Option<String> {
    path.get_ident().map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluated(text: &str) -> Option<bool> {
        let set = CfgSet::from_lines("unix\ntarget_os=\"linux\"\ntarget_has_atomic=\"64\"\n");
        let features = BTreeSet::from(["std".to_owned()]);
        Predicate::parse_text(&format!("cfg({text})")).expect("a cfg").evaluate(&set, &features)
    }

    #[test]
    fn what_only_a_build_script_knows_is_neither() {
        assert_eq!(evaluated("unix"), Some(true));
        assert_eq!(evaluated("windows"), Some(false));
        assert_eq!(evaluated("test"), Some(false));
        assert_eq!(evaluated("feature = \"std\""), Some(true));
        assert_eq!(evaluated("feature = \"net\""), Some(false));
        assert_eq!(evaluated("all(unix, not(target_os = \"macos\"))"), Some(true));
        assert_eq!(evaluated("linux_raw"), None);
        assert_eq!(evaluated("not(linux_raw)"), None);
        assert_eq!(evaluated("all(linux_raw, windows)"), Some(false));
        assert_eq!(evaluated("any(linux_raw, unix)"), Some(true));
        assert_eq!(evaluated("accessible(std::x)"), None);
        assert_eq!(Predicate::parse_text("x86_64-unknown-linux-gnu"), None);
    }
}
