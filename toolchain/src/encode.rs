//! Makes a component of a core module.

use std::path::Path;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
    WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::{ComponentEncoder, DecodedWasm};

use crate::error::AtPath as _;
use crate::limits::MODULE_BYTES_MAX;
use crate::{GuestKind, ToolchainError};

/// The names of what a component imports, with their versions.
pub(crate) fn imports(path: &Path, component: &[u8]) -> Result<Vec<String>, ToolchainError> {
    let wrong = |message: String| ToolchainError::Encode { path: path.to_owned(), message };
    let decoded = wit_component::decode(component).map_err(|error| wrong(format!("{error:#}")))?;
    let DecodedWasm::Component(resolve, world) = &decoded else {
        return Err(wrong("it is a package of interfaces".to_owned()));
    };
    Ok(resolve.worlds[*world].imports.keys().map(|key| resolve.name_world_key(key)).collect())
}

/// What the first eight bytes of a component are; those of a core module end in a layer of 0.
const COMPONENT: [u8; 8] = [0x00, b'a', b's', b'm', 0x0d, 0x00, 0x01, 0x00];

/// The component of a module, or the component itself where the linker has made one already.
pub(crate) fn component(path: &Path, kind: GuestKind) -> Result<Vec<u8>, ToolchainError> {
    bounded_component(path, kind, MODULE_BYTES_MAX)
}

fn bounded_component(path: &Path, kind: GuestKind, bytes_max: u64) -> Result<Vec<u8>, ToolchainError> {
    let wrong = |message: String| ToolchainError::Encode { path: path.to_owned(), message };
    let bytes = std::fs::metadata(path).at("read", path)?.len();
    if bytes > bytes_max {
        return Err(wrong(format!("it has {bytes} bytes, and {bytes_max} are allowed")));
    }
    let module = std::fs::read(path).at("read", path)?;
    if module.starts_with(&COMPONENT) {
        return Ok(module);
    }
    let adapter = match kind {
        GuestKind::Library => WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
        GuestKind::Command => WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
    };
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|encoder| encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter))
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| wrong(format!("{error:#}")))
}

/// Puts custom sections behind a component.
pub(crate) fn append_sections(component: &mut Vec<u8>, sections: &[(String, String)]) {
    for (name, text) in sections {
        let section = wasm_encoder::CustomSection { name: name.into(), data: text.as_bytes().into() };
        wasm_encoder::ComponentSection::append_to_component(&section, component);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_as_large_as_allowed_is_read_and_a_larger_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.wasm");
        // The smallest component there is: its first eight bytes.
        std::fs::write(&path, COMPONENT).expect("writable");
        assert_eq!(bounded_component(&path, GuestKind::Library, 8).expect("a component"), COMPONENT);
        let error = bounded_component(&path, GuestKind::Library, 7).expect_err("too large").to_string();
        assert!(error.ends_with("it has 8 bytes, and 7 are allowed"), "{error}");
    }

    #[test]
    fn what_is_no_module_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.wasm");
        std::fs::write(&path, "no module").expect("writable");
        assert!(matches!(component(&path, GuestKind::Library), Err(ToolchainError::Encode { .. })));
    }
}
