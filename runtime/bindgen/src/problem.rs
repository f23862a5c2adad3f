//! What of WIT a client cannot be made for.

use proc_macro2::Span;

/// One item of the WIT that has no client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {item}: {reason}")]
pub(crate) struct Problem {
    /// File, line and column.
    pub(crate) place: String,
    /// The item as people call it: "field `token` of record `session`".
    pub(crate) item: String,
    pub(crate) reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    #[error(
        "handles inside {inside}s are not supported yet; a handle can be a parameter or result, alone or in an option, \
         result, list or tuple"
    )]
    HandleInside { inside: &'static str },
    #[error(
        "the resource `{resource}` is not of an interface that the world exports, so no guest can give one"
    )]
    ForeignResource { resource: String },
    #[error("asynchronous functions are not supported yet")]
    Asynchronous,
    #[error("the type `{kind}` is not supported yet")]
    Kind { kind: &'static str },
    #[error("{count} {what}; at most {most} are supported")]
    TooMany { count: usize, what: &'static str, most: usize },
    #[error("has no {what}; WebAssembly components need one at least")]
    Empty { what: &'static str },
    #[error(
        "an interface that is exported by another name, or both imported and exported, is not supported yet"
    )]
    Renamed,
    #[error(
        "it is of an interface that the world exports, and an interface that it imports uses it: in a component those are two types; put it \
         into an interface that the world does not export"
    )]
    Crossed,
    #[error("a function that is imported outside of an interface is not supported yet; put it into one")]
    LooseImport,
    #[error("a handle cannot leave the compartment that it is of, so no other can pass or take one")]
    ImportedHandle,
    #[error("exports no function, so there is nothing to call")]
    NothingToCall,
}

/// One compile error for each, all at the same place of the macro call.
pub(crate) fn report(problems: &[Problem], span: Span) -> syn::Error {
    let mut errors = problems.iter().map(|problem| syn::Error::new(span, problem));
    let first = errors.next().expect("there is a problem to report");
    errors.fold(first, |mut all, one| {
        all.combine(one);
        all
    })
}
