//! An engine, guests on it, and what the log says about them.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ambient_authority::AmbientAuthority;
use cofferdam::wasm::{CallError, StartError, Val, WasmCompartment, WasmHost};
use cofferdam::{AuditLog, CompartmentPlan};

use crate::trial::{decided, text};

/// What an attempt has to stand on.
pub struct Ground {
    pub(super) host: WasmHost,
    pub(super) folder: tempfile::TempDir,
    pub(super) ambient: AmbientAuthority,
    log: Lines,
    neighbour: WasmCompartment,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A plugin beside the hostile one.
const NEIGHBOUR: &str = r#"(component
  (core module $m (func (export "five") (result i32) i32.const 5))
  (core instance $i (instantiate $m))
  (func (export "five") (result u32) (canon lift (core func $i "five"))))"#;

const EDGE: &str = "selftest -> guest";

/// The plan of a wasm compartment with these grants and limits, through the whole pipeline.
pub(super) fn planned(grants: &str, limits: &str) -> Result<CompartmentPlan, String> {
    let table =
        if grants.is_empty() { String::new() } else { format!("[crates.selftest.grants.guest]\n{grants}\n") };
    let manifest = format!(
        "[holds]\n{grants}\n[crates.selftest]\ndependencies = [\"guest\"]\n{table}[crates.guest]\n\
         compartment = {{ backend = \"wasm\", limits = {{ {limits} }} }}\n"
    );
    match decided(&manifest)? {
        Ok(mut plan) => Ok(plan.compartments.remove(0)),
        Err(codes) => Err(format!("denied: {codes:?}")),
    }
}

impl Ground {
    pub(super) fn new(ambient: AmbientAuthority) -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("cofferdam-selftest-").tempdir().map_err(text)?;
        let path = folder.path();
        std::fs::create_dir_all(path.join("data/sub")).map_err(text)?;
        std::fs::create_dir(path.join("out")).map_err(text)?;
        for (name, bytes) in [("data/file", "readable"), ("secret", "secret"), ("data/sub/secret", "inside")]
        {
            std::fs::write(path.join(name), bytes).map_err(text)?;
        }
        let host = WasmHost::new().map_err(text)?;
        let bytes = wat::parse_str(NEIGHBOUR).map_err(text)?;
        let neighbour = WasmCompartment::start_ambient(
            &host,
            &planned("", "")?,
            &bytes,
            path,
            &AuditLog::discard(),
            ambient,
        )
        .map_err(text)?;
        Ok(Self { host, folder, ambient, log: Lines::default(), neighbour })
    }

    pub(super) fn try_start(
        &self,
        bytes: &[u8],
        grants: &str,
        limits: &str,
    ) -> Result<Result<WasmCompartment, StartError>, String> {
        let log = AuditLog::to_writer(self.log.clone());
        let plan = planned(grants, limits)?;
        Ok(WasmCompartment::start_ambient(&self.host, &plan, bytes, self.folder.path(), &log, self.ambient))
    }

    pub(super) fn start(&self, guest: &str, grants: &str, limits: &str) -> Result<WasmCompartment, String> {
        let bytes = wat::parse_str(guest).map_err(text)?;
        self.try_start(&bytes, grants, limits)?.map_err(text)
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Events of one kind so far.
    pub(super) fn events(&self, kind: &str) -> Vec<serde_json::Value> {
        let bytes = self.log.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8_lossy(&bytes)
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter(|event| event["event"] == kind)
            .collect()
    }

    /// The call fails in this way, which is in the log under its edge, and `fine` of the same guest works after it.
    pub(super) fn fails(
        &self,
        guest: &WasmCompartment,
        function: &str,
        arguments: &[Val],
        kind: &str,
        is: impl Fn(&CallError) -> bool,
    ) -> Result<String, String> {
        let error = match guest.call(function, arguments) {
            Err(error) => error,
            Ok(values) => return Err(format!("it worked: {values:?}")),
        };
        if !is(&error) {
            return Err(format!("another error: {error}"));
        }
        let Some(last) = self.events("fault").pop() else { return Err(format!("not in the log: {error}")) };
        if last["kind"] != kind || last["edge"] != EDGE {
            return Err(format!("the log has {last}, and not {kind}"));
        }
        if guest.exports().iter().any(|name| name == "fine") {
            match guest.call("fine", &[]) {
                Ok(values) if values == [Val::U32(1)] => {}
                other => return Err(format!("the next call does not begin afresh: {other:?}")),
            }
        }
        Ok(error.to_string())
    }

    /// The plugin beside it still works.
    pub(super) fn lives(&mut self) -> Result<(), String> {
        match self.neighbour.call("five", &[]) {
            Ok(values) if values == [Val::U32(5)] => Ok(()),
            other => Err(format!("the plugin beside it: {other:?}")),
        }
    }
}

/// A number out of a call.
pub(super) fn number(guest: &WasmCompartment, function: &str, arguments: &[Val]) -> Result<u32, String> {
    match guest.call(function, arguments).map_err(text)?.as_slice() {
        [Val::U32(number)] => Ok(*number),
        other => Err(format!("{other:?}")),
    }
}

pub(super) fn holds(condition: bool, otherwise: &str) -> Result<(), String> {
    if condition { Ok(()) } else { Err(otherwise.to_owned()) }
}
