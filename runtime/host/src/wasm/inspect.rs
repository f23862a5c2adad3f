//! What a component would need: its imports, read as capabilities. Nothing of it runs.

use capability_manifest::{CapabilityPage, HostCapability, PageError};
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use super::error::{StartError, one_line};
use super::host::WasmHost;

/// A component in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentSummary {
    /// SHA-256 of its bytes, lowercase hexadecimal.
    pub digest: String,
    /// Its size, bytes.
    pub bytes: usize,
    /// What it wants.
    pub imports: Vec<ImportSummary>,
    /// What it offers: functions, and interfaces with theirs.
    pub exports: Vec<String>,
}

/// One import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportSummary {
    /// The interface, with its version.
    pub interface: String,
    /// The capabilities of which any one links it with power behind it; empty for one that reaches nothing by itself.
    pub capabilities: Vec<HostCapability>,
    /// Whether anything here provides it.
    pub known: bool,
}

/// The run-stage capabilities whose pages link that interface. `None` when no page names it.
///
/// # Errors
/// When a page is wrong: a fault of this build.
pub fn capability_of_interface(interface: &str) -> Result<Option<Vec<HostCapability>>, PageError> {
    let mut found = Vec::new();
    for host in HostCapability::all() {
        let page = CapabilityPage::load(host)?;
        let names = page.wasm.iter().flat_map(|rules| &rules.imports);
        if names.into_iter().any(|import| import.interface == interface) {
            found.push(host);
        }
    }
    // Streams and polling come with everything that has them, and are nothing without it.
    if interface.starts_with("wasi:io/") {
        return Ok(Some(Vec::new()));
    }
    Ok(if found.is_empty() { None } else { Some(found) })
}

/// Reads a component.
///
/// # Errors
/// When it is none, or one that this engine does not accept.
pub fn inspect(host: &WasmHost, name: &str, bytes: &[u8]) -> Result<ComponentSummary, StartError> {
    let wrong = |message: String| StartError::NotAComponent { edge: name.to_owned(), message };
    let component = Component::new(host.engine(), bytes).map_err(|error| wrong(one_line(&error)))?;
    let (engine, types) = (host.engine(), component.component_type());
    let mut imports = Vec::new();
    for (interface, _) in types.imports(engine) {
        let plain = interface.split('@').next().unwrap_or(interface);
        let capabilities = capability_of_interface(plain).map_err(|error| wrong(error.to_string()))?;
        let known = capabilities.is_some();
        let capabilities = capabilities.unwrap_or_default();
        imports.push(ImportSummary { interface: interface.to_owned(), capabilities, known });
    }
    let exports = functions(&component, engine);
    Ok(ComponentSummary { digest: digest(bytes), bytes: bytes.len(), imports, exports })
}

/// The functions that a component exports, each with its interface in front.
pub(super) fn functions(component: &Component, engine: &Engine) -> Vec<String> {
    let mut names = Vec::new();
    for (name, item) in component.component_type().exports(engine) {
        match item.ty {
            ComponentItem::ComponentFunc(_) => names.push(name.to_owned()),
            ComponentItem::ComponentInstance(instance) => {
                names.extend(instance.exports(engine).filter_map(|(function, item)| {
                    matches!(item.ty, ComponentItem::ComponentFunc(_)).then(|| format!("{name}#{function}"))
                }));
            }
            _ => {}
        }
    }
    names
}

/// SHA-256 of a component's bytes, lowercase hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
