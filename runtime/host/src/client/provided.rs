//! Callbacks: functions of the host program that a compartment may call, over its own edge.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cofferdam_wire::{Decode, Encode};
use wasmtime::component::{ComponentNamedList, Lift, LinkerInstance, Lower};

use crate::wasm::{CallError, FaultKind, HostCall, State};

/// An interface that a compartment's world imports and the host program implements. Made by the generated module of that
/// interface (`provide`), and given to [`RuntimeBuilder::provide`](crate::RuntimeBuilder::provide).
#[derive(Clone)]
pub struct Provided {
    pub(crate) interface: &'static str,
    pub(crate) functions: Vec<ProvidedFunction>,
}

/// One function.
#[derive(Clone)]
pub(crate) struct ProvidedFunction {
    /// With its interface: `acme:media/progress@1.0.0#step`.
    pub(crate) name: String,
    /// Without.
    pub(crate) item: &'static str,
    pub(crate) signature: &'static str,
    shape: u64,
    bytes: Arc<Bytes>,
    link: Arc<Link>,
}

type Bytes = dyn Fn(&[u8]) -> Result<Vec<u8>, ProvidedError> + Send + Sync;
type Link = dyn Fn(&mut LinkerInstance<'_, State>, &HostCall) -> wasmtime::Result<()> + Send + Sync;

impl Provided {
    /// No functions yet. For generated code.
    pub fn new(interface: &'static str) -> Self {
        Self { interface, functions: Vec::new() }
    }

    /// Adds a function. For generated code.
    #[must_use]
    pub fn function<P, R>(
        mut self,
        item: &'static str,
        signature: &'static str,
        shape: u64,
        call: impl Fn(P) -> R + Send + Sync + 'static,
    ) -> Self
    where
        P: ComponentNamedList + Lift + Decode + Send + Sync + 'static,
        R: ComponentNamedList + Lower + Encode + Send + Sync + 'static,
    {
        let name = format!("{}#{item}", self.interface);
        let call = Arc::new(call);
        let own = Arc::clone(&call);
        let bytes = move |bytes: &[u8]| {
            let arguments =
                cofferdam_wire::decode(bytes).map_err(|error| ProvidedError::Arguments(error.to_string()))?;
            let result = guarded(|| own(arguments))?;
            cofferdam_wire::encode(&result)
                .map_err(|error| ProvidedError::Host(format!("gave an answer that cannot be sent: {error}")))
        };
        let link = move |linker: &mut LinkerInstance<'_, State>, host: &HostCall| {
            host.link::<P, R, _>(linker, item, Arc::clone(&call))
        };
        self.functions.push(ProvidedFunction {
            name,
            item,
            signature,
            shape,
            bytes: Arc::new(bytes),
            link: Arc::new(link),
        });
        self
    }
}

impl ProvidedFunction {
    pub(crate) fn is(&self, name: &str, shape: u64) -> bool {
        self.name == name && self.shape == shape
    }

    /// Calls it, with arguments and result as bytes.
    pub(crate) fn call(&self, arguments: &[u8]) -> Result<Vec<u8>, ProvidedError> {
        (self.bytes)(arguments)
    }

    /// Has a component's import lead to it.
    pub(crate) fn link(
        &self,
        linker: &mut LinkerInstance<'_, State>,
        host: &HostCall,
    ) -> wasmtime::Result<()> {
        (self.link)(linker, host)
    }
}

/// Why a function that the host program provides has no answer.
#[derive(Debug, Clone)]
pub(crate) enum ProvidedError {
    /// The guest's arguments are none.
    Arguments(String),
    /// The function itself failed: the words that follow "which".
    Host(String),
}

impl ProvidedError {
    /// As the caller of the guest hears of it.
    pub(crate) fn into_call_error(self, edge: String, function: &str) -> CallError {
        match self {
            Self::Arguments(why) => {
                let message = format!("called `{function}` with what are no arguments of it: {why}");
                CallError::Fault { edge, kind: FaultKind::Protocol(message) }
            }
            Self::Host(message) => CallError::Host { edge, function: function.to_owned(), message },
        }
    }
}

/// Runs code of the host program's for a guest. A panic there is the end of the guest's call, and of nothing else.
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, ProvidedError> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("without a message");
        ProvidedError::Host(format!("panicked: {text}"))
    })
}

impl fmt::Debug for Provided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Provided({}, {} functions)", self.interface, self.functions.len())
    }
}

impl fmt::Debug for ProvidedFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProvidedFunction({})", self.name)
    }
}
