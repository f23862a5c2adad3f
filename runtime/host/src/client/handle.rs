//! Handles: resources of a guest that its host holds.

use std::fmt;

use cofferdam_wire::value::{Resource, Sink, Source};
use cofferdam_wire::{Decode, DecodeError, Encode};
use wasmtime::component::ResourceAny;

use super::compartment::Compartment;
use crate::wasm::CallError;

/// A resource as it crosses, on either backend. Only the compartment that it is of can make something of it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum AnyResource {
    /// One of a component.
    Wasm(ResourceAny),
    /// One of a process.
    Process(Resource),
    /// One of an inline crate.
    Linked(u32),
}

impl Encode for AnyResource {
    fn encode<'v>(&'v self, out: &mut Sink<'v>) {
        match self {
            Self::Process(resource) => resource.encode(out),
            // Never given out; no handle of another backend is passed to a process.
            Self::Wasm(_) | Self::Linked(_) => out.put(&0_u64.to_le_bytes()),
        }
    }
}

impl Decode for AnyResource {
    const BYTES_MIN: usize = Resource::BYTES_MIN;

    fn decode(from: &mut Source<'_>) -> Result<Self, DecodeError> {
        Resource::decode(from).map(Self::Process)
    }
}

/// The instance that gave a result; makes handles of the resources in it.
pub struct Owner {
    compartment: Compartment,
    serial: u64,
}

impl Owner {
    pub(super) fn new(compartment: Compartment, serial: u64) -> Self {
        Self { compartment, serial }
    }

    /// A handle of a resource that this instance gave.
    pub fn handle(&self, resource: AnyResource) -> Handle {
        Handle { compartment: self.compartment.clone(), serial: self.serial, resource, given: false }
    }
}

/// A resource of a guest: unforgeable, of one edge and one instance. Dropping it drops the guest's resource.
pub struct Handle {
    compartment: Compartment,
    serial: u64,
    resource: AnyResource,
    given: bool,
}

impl Handle {
    /// To pass as `borrow<T>`.
    pub fn lend(&self) -> AnyResource {
        self.resource
    }

    /// To pass as `own<T>`: the guest has it from then on. The second value must be among the call's handles.
    pub fn give(mut self) -> (AnyResource, Self) {
        self.given = true;
        (self.resource, self)
    }

    /// The edge that it is of, `consumer -> crate`.
    pub fn edge(&self) -> &str {
        self.compartment.edge()
    }
}

/// What the handles of a call say of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pinned {
    /// The instance that it runs on.
    pub(crate) serial: u64,
    /// How many handles are given to the guest for good.
    pub(crate) giving: u64,
}

/// The one instance that all handles are of; `None` when there are no handles.
pub(super) fn instance_of(
    compartment: &Compartment,
    handles: &[&Handle],
) -> Result<Option<Pinned>, CallError> {
    let usage =
        |message: &str| CallError::Usage { edge: compartment.edge().to_owned(), message: message.to_owned() };
    let mut pinned = None;
    for handle in handles {
        if handle.compartment.id() != compartment.id() {
            return Err(usage("a handle is of another edge"));
        }
        let all = pinned.get_or_insert(Pinned { serial: handle.serial, giving: 0 });
        if all.serial != handle.serial {
            return Err(usage("handles are of several instances"));
        }
        all.giving += u64::from(handle.given);
    }
    Ok(pinned)
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({}, instance {})", self.edge(), self.serial)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.given {
            self.compartment.drop_resource(self.serial, self.resource);
        }
    }
}
