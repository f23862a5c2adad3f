//! Every bound, with its reason.

use std::time::Duration;

/// How long `rustup` may take to add a target. Its download is 20 to 40 MB; a network that drops packets answers never.
pub(crate) const RUSTUP_TIME_MAX: Duration = Duration::from_mins(3);

/// Most bytes that are kept of what a program says. The end of it is what explains a failure.
pub(crate) const OUTPUT_BYTES_MAX: usize = 16 << 20;

/// Most packages of one toolchain. Ours have about 25; a list that names more is not what we expect.
pub(crate) const PACKAGES_MAX: usize = 120;

/// Largest package, bytes. The largest of ours is 45 MB.
pub(crate) const PACKAGE_BYTES_MAX: u64 = 400 << 20;

/// Most files that a fingerprint looks at. Beyond it Cargo is asked each time, which is slower and never wrong.
pub(crate) const FINGERPRINT_FILES_MAX: usize = 20_000;

/// Largest core module that is made into a component, bytes. It is held in memory a few times over.
pub(crate) const MODULE_BYTES_MAX: u64 = 512 << 20;
