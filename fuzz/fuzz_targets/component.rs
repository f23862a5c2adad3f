//! Bytes of a component: a summary or an error, never a panic. What it is compiled to does not run.
#![no_main]

use std::sync::LazyLock;

use cofferdam::wasm::{WasmHost, inspect};
use libfuzzer_sys::fuzz_target;

static HOST: LazyLock<WasmHost> = LazyLock::new(|| WasmHost::new().expect("an engine"));

fuzz_target!(|bytes: &[u8]| {
    if let Ok(summary) = inspect(&HOST, "guest", bytes) {
        assert_eq!((summary.bytes, summary.digest.len()), (bytes.len(), 64));
    }
});
