//! What a compiler left of an audited crate: objects, archives, programs and symbols' names are read, or refused, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| cofferdam_audit::fuzzing::compiled(bytes));
