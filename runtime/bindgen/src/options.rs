//! What stands between the brackets of the macros.

use proc_macro2::Span;
use syn::parse::{Parse, ParseStream};
use syn::{Ident, LitStr, Path, Token};

/// Every option, as the messages list them.
const KNOWN: &str = "`path`, `inline`, `world`, `crate_path`, `implementation`, `inline_feature`";

/// Where the WIT text is.
pub(crate) enum Wit {
    /// A file or folder below the package's own folder.
    Path(LitStr),
    /// The text itself.
    Inline(LitStr),
}

impl Wit {
    pub(crate) fn span(&self) -> Span {
        match self {
            Self::Path(text) | Self::Inline(text) => text.span(),
        }
    }
}

pub(crate) struct Options {
    pub(crate) wit: Wit,
    pub(crate) world: Option<LitStr>,
    /// Absolute: begins with `::` or `crate`, since what is generated stands in modules of several depths.
    pub(crate) crate_path: Option<Path>,
    /// Of a guest: the type that implements the world. Absolute, too.
    pub(crate) implementation: Option<Path>,
    /// Of a compartment: the feature of its crate that links the implementation into an ordinary build.
    pub(crate) inline_feature: Option<LitStr>,
}

impl Options {
    /// What the crate that generated code is written against is called.
    pub(crate) fn path_or(&self, otherwise: &str) -> Path {
        let otherwise = || syn::parse_str(otherwise).expect("a path");
        self.crate_path.clone().unwrap_or_else(otherwise)
    }
}

impl Parse for Options {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let content;
        let braces = syn::braced!(content in input);
        let (mut path, mut inline, mut world, mut crate_path, mut implementation) =
            (None, None, None, None, None);
        let mut inline_feature = None;
        while !content.is_empty() {
            let name: Ident = content.parse()?;
            content.parse::<Token![:]>()?;
            let again = match name.to_string().as_str() {
                "path" => path.replace(content.parse::<LitStr>()?).is_some(),
                "inline" => inline.replace(content.parse::<LitStr>()?).is_some(),
                "world" => world.replace(content.parse::<LitStr>()?).is_some(),
                "implementation" => implementation.replace(absolute(content.parse()?)?).is_some(),
                "inline_feature" => inline_feature.replace(content.parse::<LitStr>()?).is_some(),
                "crate_path" => crate_path.replace(absolute(content.parse()?)?).is_some(),
                other => {
                    let text = format!("there is no option `{other}`; there are {KNOWN}");
                    return Err(syn::Error::new(name.span(), text));
                }
            };
            if again {
                return Err(syn::Error::new(name.span(), format!("`{name}` is given twice")));
            }
            if !content.is_empty() {
                content.parse::<Token![,]>()?;
            }
        }
        let wit = match (path, inline) {
            (Some(path), None) => Wit::Path(path),
            (None, Some(text)) => Wit::Inline(text),
            (Some(_), Some(text)) => {
                return Err(syn::Error::new(text.span(), "`path` and `inline` cannot both be given"));
            }
            (None, None) => {
                let text = "say where the WIT is: `path: \"wit\"`, or `inline: \"package ...\"`";
                return Err(syn::Error::new(braces.span.join(), text));
            }
        };
        Ok(Self { wit, world, crate_path, implementation, inline_feature })
    }
}

/// A name such as `renamed` is the name of a crate.
fn absolute(mut path: Path) -> syn::Result<Path> {
    let first = &path.segments[0].ident;
    if first == "self" || first == "super" {
        let text = "say it from the root: `crate::...`, or the name of a crate";
        return Err(syn::Error::new(first.span(), text));
    }
    if first != "crate" && path.leading_colon.is_none() {
        path.leading_colon = Some(Token![::](first.span()));
    }
    Ok(path)
}
