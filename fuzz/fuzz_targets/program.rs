//! Bytes of a guest's program: a summary or an error, never a panic.
#![no_main]

use cofferdam::process::inspect_program;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(summary) = inspect_program(bytes) {
        assert!(summary.lacks().len() <= 8);
        assert_eq!(summary.bytes, bytes.len());
    }
});
