//! Reads the WIT that the options name, and finds the world in it.

use std::path::{Path, PathBuf};

use proc_macro2::TokenStream;
use quote::quote;
use wit_parser::{PackageId, Resolve, WorldId};

use crate::options::{Options, Wit};

/// What stands for the file's name in messages about inline text.
const INLINE: &str = "inline";

pub(crate) struct Source {
    pub(crate) resolve: Resolve,
    pub(crate) world: WorldId,
    files: Vec<PathBuf>,
}

impl Source {
    /// Items that make the compiler read the files again when they change.
    pub(crate) fn watched(&self) -> TokenStream {
        let files = self.files.iter().filter_map(|file| file.to_str());
        quote!(#(const _: &[u8] = ::core::include_bytes!(#files);)*)
    }
}

pub(crate) fn load(options: &Options) -> syn::Result<Source> {
    let mut resolve = Resolve::default();
    let mut files = Vec::new();
    let pushed = match &options.wit {
        Wit::Path(path) => {
            let folder = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
            let path = Path::new(&folder).join(path.value());
            resolve.push_path(path).map(|(package, sources)| {
                files.extend(sources.paths().map(Path::to_owned));
                package
            })
        }
        Wit::Inline(text) => resolve.push_str(INLINE, &text.value()),
    };
    let package = match pushed {
        Ok(package) => package,
        Err(error) => return Err(syn::Error::new(options.wit.span(), resolve.render_error(&error))),
    };
    let world = find_world(&resolve, package, options)?;
    Ok(Source { resolve, world, files })
}

fn find_world(resolve: &Resolve, package: PackageId, options: &Options) -> syn::Result<WorldId> {
    let span = options.world.as_ref().map_or_else(|| options.wit.span(), syn::LitStr::span);
    let name = options.world.as_ref().map(syn::LitStr::value);
    let worlds = &resolve.packages[package].worlds;
    if worlds.is_empty() && name.is_none() {
        let text = format!("package `{}` has no world", resolve.packages[package].name);
        return Err(syn::Error::new(span, text));
    }
    let known = worlds.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let known = if known.is_empty() { "none".to_owned() } else { known };
    resolve.select_world(&[package], name.as_deref()).map_err(|_| {
        let package = &resolve.packages[package].name;
        let text = match &name {
            Some(name) => format!("there is no world `{name}` in package `{package}`; its worlds: {known}"),
            None => format!("package `{package}` has several worlds; say which with `world`: {known}"),
        };
        syn::Error::new(span, text)
    })
}
