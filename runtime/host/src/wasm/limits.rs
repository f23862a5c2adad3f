//! Bounds on what a component can take from the host.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// How often running components are looked at. A deadline is kept to within two of these.
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

/// Most core instances, memories and tables of one component.
const INSTANCES_MAX: usize = 64;

/// Sums what all memories and tables of a store take; wasmtime's own limits are for each.
#[derive(Debug)]
pub(super) struct Limiter {
    memory_left: usize,
    elements_left: usize,
    /// What was refused since the last call began.
    pub(super) refused: Option<&'static str>,
}

impl Limiter {
    pub(super) fn new(memory: u64) -> Self {
        let memory_left = usize::try_from(memory).unwrap_or(usize::MAX);
        Self { memory_left, elements_left: TABLE_ELEMENTS_MAX, refused: None }
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
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        INSTANCES_MAX
    }
}
