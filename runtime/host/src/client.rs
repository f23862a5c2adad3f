//! What clients of compartments are written against: by `cofferdam::client!` from WIT, or by hand for an untyped call.
//!
//! An [`Edge`] is a consumer's end of one dependency edge. It comes from a [`Runtime`](crate::Runtime), which made its
//! compartment from the plan; nothing else can make one. Whether the compartment is wasm or a process, a client cannot tell.

mod cancel;
pub mod chunks;
mod compartment;
mod expected;
mod handle;
mod linked;
mod provided;

use std::fmt;

pub use cofferdam_wire as wire;
pub use wasmtime;

pub use cancel::Cancellation;
pub(crate) use compartment::{Compartment, Key};
pub use expected::{Checked, Expected, Function};
pub(crate) use handle::Pinned;
pub use handle::{AnyResource, Handle, Owner};
pub(crate) use linked::LinkedEdge;
pub use linked::{Linked, StaleResource, call_provided};
pub use provided::Provided;
pub(crate) use provided::guarded;
#[cfg(all(feature = "process", target_os = "linux", target_arch = "x86_64"))]
pub(crate) use provided::{ProvidedError, ProvidedFunction};

pub use crate::wasm::{CallError, FaultKind, StartError};
use crate::wasm::{Refusal, Stdio, Val};

/// A consumer's end of one edge. Cheap to clone; calls may come from many threads.
///
/// It is a capability: whoever has it can call what is behind it, with what the edge grants, until the edge is taken back. Clients are
/// opened with it. Without one, a component's functions can be called by name:
///
/// ```no_run
/// use cofferdam::client::{CallError, Edge};
/// use cofferdam::wasm::Val;
///
/// fn greet(plugin: &Edge) -> Result<(), CallError> {
///     let answer = plugin.call_untyped("greet", &[Val::String("Ada".to_owned())])?;
///     println!("{answer:?}");
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Edge {
    compartment: Compartment,
    cancellation: Option<Cancellation>,
}

impl Edge {
    pub(crate) fn new(compartment: Compartment) -> Self {
        Self { compartment, cancellation: None }
    }

    /// The same edge, whose calls another thread can end. Clients that are opened with it make such calls:
    /// `Codec::open(edge.cancelled_by(&cancellation))`.
    ///
    /// A guest that is in a call then is ended, as after a deadline, and the next call has a fresh one. A call of an inline crate
    /// cannot be ended: it is refused where it has not begun.
    #[must_use]
    pub fn cancelled_by(&self, cancellation: &Cancellation) -> Self {
        Self { compartment: self.compartment.clone(), cancellation: Some(cancellation.clone()) }
    }

    /// `consumer -> crate`.
    pub fn name(&self) -> &str {
        self.compartment.edge()
    }

    /// Begins to compare the compartment with a world, which is named in messages: `acme:text/text-filter@1.0.0`.
    pub fn expect(&self, world: &'static str) -> Expected<'_> {
        Expected::new(&self.compartment, world)
    }

    /// Calls a function, and waits for its results at most until the compartment's deadline.
    ///
    /// # Errors
    /// See [`CallError`]. Violations and faults are in the audit log before this returns.
    pub fn call<F: Function>(
        &self,
        function: Checked<F>,
        params: F::Params<'_>,
    ) -> Result<F::Results, CallError> {
        Ok(self.compartment.call(function, None, params, self.cancellation.as_ref())?.0)
    }

    /// The same for a function that takes or gives handles. `handles` are all that occur in `params`; the call runs on their
    /// instance.
    ///
    /// # Errors
    /// [`CallError::StaleHandle`] when that instance is gone, [`CallError::Usage`] when they are of several.
    pub fn call_with_handles<F: Function>(
        &self,
        function: Checked<F>,
        handles: &[&Handle],
        params: F::Params<'_>,
    ) -> Result<(F::Results, Owner), CallError> {
        let pinned = handle::instance_of(&self.compartment, handles)?;
        let (results, serial) =
            self.compartment.call(function, pinned, params, self.cancellation.as_ref())?;
        Ok((results, Owner::new(self.compartment.clone(), serial)))
    }

    /// Calls a function by its name, with values whose types are known only now: `greet`, `acme:text/filter@1.0.0#transform`.
    ///
    /// # Errors
    /// See [`CallError`]; [`CallError::Usage`] for a process compartment, whose program does not tell its types.
    pub fn call_untyped(&self, function: &str, arguments: &[Val]) -> Result<Vec<Val>, CallError> {
        self.compartment.call_untyped(function, arguments)
    }

    /// The functions that the compartment exports.
    pub fn functions(&self) -> Vec<String> {
        self.compartment.exports()
    }

    /// What the guest wrote to its granted streams since the last time, when output is captured.
    pub fn take_stdio(&self) -> Stdio {
        self.compartment.take_stdio()
    }

    /// Why something that the guest wrote could not be written on to the host's own streams, if so: nobody reads them, or they are full. The
    /// guest was told as a program of its own would be.
    pub fn lost_output(&self) -> Option<std::io::ErrorKind> {
        self.compartment.lost_output()
    }

    /// What the guest asked for and was told no since the last time, each with the line that would have allowed it: the first
    /// [`REFUSALS_KEPT_MAX`](crate::wasm::REFUSALS_KEPT_MAX) of them. Of a process these are addresses and files for writing; a path that it
    /// was not given is not there for it, which the kernel tells it and not its host.
    pub fn take_refusals(&self) -> Vec<Refusal> {
        self.compartment.take_refusals()
    }

    /// Runs calls on a thread that is made for waiting, so that this one need not: `edge.unblock(move || plugin.transform(&text))`.
    ///
    /// Dropping the future does not end the call; its deadline does.
    #[cfg(feature = "async")]
    pub async fn unblock<T: Send + 'static>(&self, run: impl FnOnce() -> T + Send + 'static) -> T {
        self.compartment.unblock(run).await
    }
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Edge({})", self.name())
    }
}
