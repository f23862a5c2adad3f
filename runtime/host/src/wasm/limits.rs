//! Bounds on what a component can take from the host.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// How often running components are looked at. A deadline is kept to within three of these, on a machine that has time for the thread which
/// counts them, and is never early.
pub const EPOCH_TICK: Duration = Duration::from_millis(1);

/// Deadline of a call whose compartment sets none.
pub const CALL_DEADLINE_DEFAULT: Duration = Duration::from_secs(5);

/// Most memory of a compartment that sets no limit, bytes, all memories together.
pub const MEMORY_BYTES_DEFAULT: u64 = 64 << 20;

/// Most bytes that a compartment without a cap writes to each standard stream.
pub const OUTPUT_BYTES_DEFAULT: u64 = 1 << 20;

/// Most handles of a compartment that sets no limit.
pub const HANDLES_DEFAULT: u64 = 1_000;

/// Most table elements of a compartment, all tables together. A large program has some ten thousand.
pub const TABLE_ELEMENTS_MAX: usize = 100_000;

/// Stack of a component, bytes. Bounds what nested compartments can take of a native stack.
pub const WASM_STACK_BYTES_MAX: usize = 512 << 10;

/// Refusals of a compartment that are recorded in the audit log; its calls fail from the next one on.
pub const DENIALS_MAX: u64 = 10_000;

/// Paths of a compartment at which a refusal is recorded, each once. A guest that looks for more is refused all the same, and goes on.
pub(super) const REFUSED_PATHS_MAX: usize = 10_000;

/// Of a path that a guest was refused, bytes in a report.
pub(super) const REPORTED_PATH_BYTES_MAX: usize = 1 << 10;

/// Addresses that an instance's granted names may lead to.
pub const LEARNED_ADDRESSES_MAX: usize = 4_096;

/// Longest wait for a connection, and for the first byte of an answer, over `wasi:http`.
#[cfg(feature = "http")]
pub const HTTP_WAIT_MAX: Duration = Duration::from_mins(1);

/// Most bytes of the headers of one request or answer. Servers refuse more than 8 to 64 KiB.
#[cfg(feature = "http")]
pub const HTTP_FIELD_BYTES_MAX: usize = 128 << 10;

/// Calls of a compartment at a time, waiting ones included, when its manifest sets no `calls-in-flight`.
pub const CALLS_IN_FLIGHT_DEFAULT: u64 = 1_024;

/// Native stack that a call needs beside its component's own, bytes; more is taken from the heap where less is left.
pub const NATIVE_STACK_BYTES: usize = 256 << 10;

/// Compartments inside each other in one call. The manifest's own bound, held again where calls are made.
pub const CALL_DEPTH_MAX: usize = capability_manifest::limits::COMPARTMENT_DEPTH_MAX;

/// Compiled code that is kept, bytes.
pub const CACHE_BYTES_DEFAULT: u64 = 1 << 30;

/// Compartments that fused edges join into one unit. Each has a place in a table of the program's own code, and all share one
/// store.
pub const UNIT_MEMBERS_MAX: usize = 16;

/// Most core instances, memories and tables of one component, for each member of a unit.
pub const INSTANCES_MAX: usize = 64;

/// Sums what all memories and tables of a store take; wasmtime's own limits are for each.
#[derive(Debug)]
pub(super) struct Limiter {
    memory_most: usize,
    memory_left: usize,
    elements_left: usize,
    instances: usize,
    /// What was refused since the last call began.
    pub(super) refused: Option<&'static str>,
}

impl Limiter {
    pub(super) fn new(memory: u64, members: usize) -> Self {
        let memory_left = usize::try_from(memory).unwrap_or(usize::MAX);
        let instances = INSTANCES_MAX * members;
        let (memory_most, elements_left) = (memory_left, TABLE_ELEMENTS_MAX);
        Self { memory_most, memory_left, elements_left, instances, refused: None }
    }

    /// Bytes that all memories have together. They never shrink.
    pub(super) fn memory(&self) -> u64 {
        (self.memory_most - self.memory_left) as u64
    }

    fn take(left: &mut usize, current: usize, desired: usize) -> bool {
        match left.checked_sub(desired.saturating_sub(current)) {
            Some(rest) => {
                *left = rest;
                true
            }
            None => false,
        }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let granted = Self::take(&mut self.memory_left, current, desired);
        if !granted {
            self.refused = Some("memory");
        }
        Ok(granted)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let granted = Self::take(&mut self.elements_left, current, desired);
        if !granted {
            self.refused = Some("table elements");
        }
        Ok(granted)
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.instances
    }

    fn memories(&self) -> usize {
        self.instances
    }
}
