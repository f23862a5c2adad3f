//! A compartment of either backend, as its callers have it.

use super::cancel::Cancellation;
use super::expected::{Checked, Function};
use super::handle::{AnyResource, Pinned};
use super::linked::LinkedEdge;
use crate::process::ProcessEdge;
use crate::wasm::{CallError, Refusal, StartError, Stdio, Val, WasmCompartment};

/// One compartment. Clones are of the same.
#[derive(Debug, Clone)]
pub(crate) enum Compartment {
    Wasm(WasmCompartment),
    Process(ProcessEdge),
    /// No compartment: an inline crate behind the same client.
    Linked(LinkedEdge),
}

/// A function that a client was generated for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) interface: Option<&'static str>,
    pub(crate) name: &'static str,
    pub(crate) signature: &'static str,
    pub(crate) shape: u64,
}

impl Key {
    pub(crate) fn of<F: Function>() -> Self {
        Self { interface: F::INTERFACE, name: F::NAME, signature: F::SIGNATURE, shape: F::SHAPE }
    }

    /// `acme:text/filter@1.0.0#`, or nothing.
    pub(crate) fn place(&self) -> String {
        self.interface.map(|name| format!("{name}#")).unwrap_or_default()
    }

    /// As messages have what is expected.
    pub(crate) fn wanted(&self) -> String {
        format!("- {}{}: {}", self.place(), self.name, self.signature)
    }
}

impl Compartment {
    pub(crate) fn edge(&self) -> &str {
        match self {
            Self::Wasm(wasm) => wasm.edge(),
            Self::Process(process) => process.edge(),
            Self::Linked(linked) => linked.edge(),
        }
    }

    /// No two compartments of a program have the same.
    pub(crate) fn id(&self) -> u64 {
        match self {
            Self::Wasm(wasm) => wasm.id(),
            Self::Process(process) => process.id(),
            Self::Linked(linked) => linked.id(),
        }
    }

    /// The number of a function for calls; or how what is there differs, as lines of a diff.
    pub(super) fn find<F: Function>(&self) -> Result<usize, Vec<String>> {
        match self {
            Self::Wasm(wasm) => wasm.find::<F>(),
            Self::Process(process) => process.find(&Key::of::<F>()),
            Self::Linked(_) if F::LINKED => Ok(0),
            Self::Linked(linked) => Err(vec![not_linked(linked.krate(), F::INLINE_FEATURE)]),
        }
    }

    /// Calls a function, on the instance with that number if one is named. Gives the number of the instance that it ran on.
    pub(super) fn call<F: Function>(
        &self,
        function: Checked<F>,
        pinned: Option<Pinned>,
        params: F::Params<'_>,
        cancellation: Option<&Cancellation>,
    ) -> Result<(F::Results, u64), CallError> {
        if function.compartment != self.id() {
            let message = format!("`{}` was looked up over another edge", F::NAME);
            return Err(CallError::Usage { edge: self.edge().to_owned(), message });
        }
        let serial = pinned.map(|pinned| pinned.serial);
        match self {
            Self::Wasm(wasm) => wasm.call_slot::<F>(function.slot, serial, params, cancellation),
            Self::Process(process) => process.call_slot::<F>(function.slot, pinned, &params, cancellation),
            Self::Linked(linked) if cancellation.is_some_and(Cancellation::is_cancelled) => {
                Err(CallError::Cancelled { edge: linked.edge().to_owned() })
            }
            Self::Linked(linked) => linked.call::<F>(serial, params),
        }
    }

    pub(super) fn call_untyped(&self, function: &str, arguments: &[Val]) -> Result<Vec<Val>, CallError> {
        match self {
            Self::Wasm(wasm) => wasm.call(function, arguments),
            Self::Process(process) => Err(CallError::Usage {
                edge: process.edge().to_owned(),
                message: "a process does not tell the types of its functions; call it through a client of its world".to_owned(),
            }),
            Self::Linked(linked) => Err(CallError::Usage {
                edge: linked.edge().to_owned(),
                message: "an inline crate is called through its client only".to_owned(),
            }),
        }
    }

    /// Lets a resource of an instance go.
    pub(super) fn drop_resource(&self, serial: u64, resource: AnyResource) {
        match (self, resource) {
            (Self::Wasm(wasm), AnyResource::Wasm(resource)) => wasm.drop_resource(serial, resource),
            (Self::Process(process), AnyResource::Process(resource)) => {
                process.drop_resource(serial, resource);
            }
            (Self::Linked(linked), AnyResource::Linked(number)) => linked.drop_resource(serial, number),
            // Handles are made by the compartment that they are of.
            _ => {}
        }
    }

    pub(crate) fn exports(&self) -> Vec<String> {
        match self {
            Self::Wasm(wasm) => wasm.exports(),
            Self::Process(process) => process.exports(),
            Self::Linked(_) => Vec::new(),
        }
    }

    pub(super) fn take_stdio(&self) -> Stdio {
        match self {
            Self::Wasm(wasm) => wasm.take_stdio(),
            Self::Process(process) => process.take_stdio(),
            Self::Linked(_) => Stdio::default(),
        }
    }

    pub(super) fn lost_output(&self) -> Option<std::io::ErrorKind> {
        match self {
            Self::Wasm(wasm) => wasm.lost_output(),
            // What a process writes is kept for the host.
            Self::Process(_) | Self::Linked(_) => None,
        }
    }

    /// The same of one member of its unit.
    pub(crate) fn take_stdio_of(&self, number: usize) -> Stdio {
        match self {
            Self::Wasm(wasm) => wasm.take_stdio_of(number),
            Self::Process(process) => process.take_stdio(),
            Self::Linked(_) => Stdio::default(),
        }
    }

    pub(super) fn take_refusals(&self) -> Vec<Refusal> {
        match self {
            Self::Wasm(wasm) => wasm.take_refusals(),
            Self::Process(process) => process.take_refusals(),
            Self::Linked(_) => Vec::new(),
        }
    }

    /// Instances that wait for a call, and that are in one.
    pub(crate) fn instances(&self) -> (usize, usize) {
        match self {
            Self::Wasm(wasm) => wasm.instances(),
            Self::Process(process) => process.instances(),
            Self::Linked(_) => (0, 0),
        }
    }

    /// Calls so far, and how many of them failed.
    pub(crate) fn counts(&self) -> (u64, u64) {
        match self {
            Self::Wasm(wasm) => wasm.counts(),
            Self::Process(process) => process.counts(),
            Self::Linked(linked) => linked.counts(),
        }
    }

    /// The most memory that one instance has had, bytes; `None` where it cannot be told.
    pub(crate) fn memory_peak(&self) -> Option<u64> {
        match self {
            Self::Wasm(wasm) => wasm.memory_peak(),
            Self::Process(process) => process.memory_peak(),
            Self::Linked(_) => None,
        }
    }

    /// Runs something on a thread that is made for waiting.
    #[cfg(feature = "async")]
    pub(super) async fn unblock<T: Send + 'static>(&self, run: impl FnOnce() -> T + Send + 'static) -> T {
        match self {
            Self::Wasm(wasm) => wasm.host().unblock(run).await,
            Self::Process(process) => process.threads().unblock(run).await,
            Self::Linked(linked) => linked.threads().unblock(run).await,
        }
    }

    /// SHA-256 of what a member runs.
    pub(crate) fn member_digest(&self, number: usize) -> Option<String> {
        match self {
            Self::Wasm(wasm) => wasm.member_digest(number),
            Self::Process(process) => Some(process.digest()),
            Self::Linked(_) => None,
        }
    }

    pub(crate) fn stop(self) -> Result<(), StartError> {
        match self {
            Self::Wasm(wasm) => wasm.stop(),
            Self::Process(process) => process.stop(),
            Self::Linked(linked) => linked.stop(),
        }
    }

    pub(crate) fn revoke(self) -> Result<(), StartError> {
        match self {
            Self::Wasm(wasm) => wasm.revoke(),
            Self::Process(process) => process.revoke(),
            Self::Linked(linked) => linked.revoke(),
        }
    }
}

/// What is to be done where a manifest says `inline` and the code is not there.
fn not_linked(krate: &str, feature: Option<&str>) -> String {
    match feature {
        Some(feature) => format!(
            "the manifest says `backend = \"inline\"` for `{krate}`, and this program was built without its code; build it with \
             `{krate} = {{ ..., features = [\"{feature}\"] }}` among the dependencies of its consumer, or choose another backend"
        ),
        None => format!(
            "the manifest says `backend = \"inline\"` for `{krate}`, and the crate cannot be linked: its `compartment!` names no \
             `inline_feature`; choose another backend"
        ),
    }
}
