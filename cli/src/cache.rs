//! `cache`: shows and clears the compiled code that is kept.

use std::io::Write as _;

use ambient_authority::AmbientAuthority;
use cofferdam::manifest::scope::ByteCount;
use cofferdam::wasm::{CACHE_BYTES_DEFAULT, CodeCache, WasmHost};
use cofferdam_toolchain::Settings;

use crate::arguments::{Cache, Format};
use crate::document::{CacheDocument, VERSION, print_json};
use crate::exit::Exit;
use crate::{Stop, render};

pub(crate) fn run(arguments: &Cache, ambient: AmbientAuthority) -> Result<Exit, Stop> {
    let cache = open(ambient)?;
    let failed = |error| Stop::Read(cache.folder().display().to_string(), error);
    let summary = if arguments.clear { cache.clear() } else { cache.summary() }.map_err(failed)?;
    let folder = cache.folder().display().to_string();
    match arguments.format {
        Format::Json => print_json(&CacheDocument {
            document: "cache",
            version: VERSION,
            folder,
            cleared: arguments.clear,
            components: summary.entries,
            bytes: summary.bytes,
            bytes_max: CACHE_BYTES_DEFAULT,
        })?,
        Format::Human => {
            let mut out = anstream::stdout();
            let what = if arguments.clear { "removed" } else { "kept" };
            writeln!(out, "{}", render::printable(&folder))?;
            writeln!(out, "  {what}: {} compiled components, {} bytes", summary.entries, summary.bytes)?;
            writeln!(
                out,
                "  at most {} are kept; what was not used for longest goes first",
                ByteCount(CACHE_BYTES_DEFAULT)
            )?;
        }
    }
    Ok(Exit::Ok)
}

fn open(ambient: AmbientAuthority) -> Result<CodeCache, Stop> {
    let settings = Settings::from_environment_ambient(ambient)?;
    CodeCache::open_ambient(&settings.cache.join("compiled"), ambient)
        .map_err(|error| Stop::Usage(error.to_string()))
}

/// An engine with the user's cache; without one where there can be none, which is said.
pub(crate) fn host(ambient: AmbientAuthority) -> Result<WasmHost, Stop> {
    match open(ambient) {
        Ok(cache) => Ok(WasmHost::with_cache(cache)?),
        Err(error) => {
            writeln!(
                anstream::stderr(),
                "warning: compiled code is not kept: {}",
                render::printable(&error.to_string())
            )?;
            Ok(WasmHost::new()?)
        }
    }
}

/// The user's cache, where there can be one.
pub(crate) fn if_possible(ambient: AmbientAuthority) -> Option<CodeCache> {
    open(ambient).ok()
}
