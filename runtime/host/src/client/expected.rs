//! What a client expects of its compartment, and what of it is there.

use std::fmt;
use std::marker::PhantomData;

use cofferdam_wire::{Decode, Encode};
use wasmtime::component::{ComponentNamedList, Lift, Lower};

use super::compartment::Compartment;
use super::linked::{Linked, StaleResource};
use crate::wasm::StartError;

/// One exported function, with its Rust types. Implemented by generated code of the same release, and by nobody else: it may get more items
/// at any time.
pub trait Function: 'static {
    /// The exported interface with package and version, `acme:text/filter@1.0.0`; `None` for a function of the world itself.
    const INTERFACE: Option<&'static str>;
    /// The name in WIT's canonical form: `transform`, `[constructor]decoder`, `[method]decoder.next`.
    const NAME: &'static str;
    /// The signature as WIT text, for messages.
    const SIGNATURE: &'static str;
    /// A digest of the types written out, by which a process is compared.
    const SHAPE: u64;
    /// The parameters as a tuple, borrowed where Rust can borrow. Handles are [`AnyResource`](super::AnyResource).
    type Params<'a>: ComponentNamedList + Lower + Encode + Send + Sync;
    /// The results as a tuple of one or none.
    type Results: ComponentNamedList + Lift + Decode + Send + Sync + 'static;
    /// The feature of its crate that links the implementation, if it has one.
    const INLINE_FEATURE: Option<&'static str> = None;
    /// Whether the implementation is linked into this program.
    const LINKED: bool = false;

    /// Calls the linked implementation.
    ///
    /// # Errors
    /// When a handle among the parameters stands for nothing; always where nothing is linked.
    fn call_linked(_: Self::Params<'_>, _: &Linked<'_>) -> Result<Self::Results, StaleResource> {
        Err(StaleResource)
    }
}

/// A function that was found, for one compartment.
pub struct Checked<F> {
    pub(super) slot: usize,
    pub(super) compartment: u64,
    types: PhantomData<fn(F)>,
}

impl<F> Clone for Checked<F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for Checked<F> {}

impl<F: Function> fmt::Debug for Checked<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checked({})", F::NAME)
    }
}

/// Compares what a compartment exports with what a world expects, and keeps every difference.
pub struct Expected<'e> {
    compartment: &'e Compartment,
    world: &'static str,
    differences: Vec<String>,
}

impl<'e> Expected<'e> {
    pub(super) fn new(compartment: &'e Compartment, world: &'static str) -> Self {
        Self { compartment, world, differences: Vec::new() }
    }

    /// A function of the world; `None` when it is missing or of another type, which [`Expected::finish`] then reports.
    ///
    /// Names and types are compared without running anything: of a component as text, and by the engine once more before
    /// the first call; of a process by a digest, and every value of its results is checked as it is decoded.
    pub fn function<F: Function>(&mut self) -> Option<Checked<F>> {
        match self.compartment.find::<F>() {
            Ok(slot) => Some(Checked { slot, compartment: self.compartment.id(), types: PhantomData }),
            Err(differences) => {
                self.differences.extend(differences);
                None
            }
        }
    }

    /// Names what linked code calls of its host program: each function with the digest of its types. For generated code.
    pub fn needs(&mut self, imports: &[(&'static str, u64)]) {
        if let Compartment::Linked(linked) = self.compartment {
            let missing = imports.iter().filter(|(name, shape)| !linked.provides(name, *shape));
            self.differences
                .extend(missing.map(|(name, _)| format!("+ calls `{name}`, which nothing provides")));
        }
    }

    /// Ends the comparison.
    ///
    /// # Errors
    /// [`StartError::DoesNotFit`] with a line for each difference: `-` is what the world expects, `+` what the component has.
    pub fn finish(self) -> Result<(), StartError> {
        if self.differences.is_empty() {
            return Ok(());
        }
        let (edge, world) = (self.compartment.edge().to_owned(), self.world.to_owned());
        if let Compartment::Linked(_) = self.compartment {
            let mut reasons = self.differences;
            reasons.dedup();
            return Err(StartError::NotLinked { edge, reasons });
        }
        Err(StartError::DoesNotFit { edge, world, differences: self.differences })
    }
}

impl fmt::Debug for Expected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expected({} of {})", self.world, self.compartment.edge())
    }
}
