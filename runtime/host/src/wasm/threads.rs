//! Which threads may wait.

use std::cell::Cell;

thread_local! {
    static MAY_BLOCK: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread of an asynchronous runtime was made for waiting.
pub(super) fn may_block() -> bool {
    MAY_BLOCK.get()
}

/// Runs something on a thread that was made for waiting.
#[cfg(feature = "async")]
pub(super) fn blocking<T>(run: impl FnOnce() -> T) -> T {
    let before = MAY_BLOCK.replace(true);
    let value = run();
    MAY_BLOCK.set(before);
    value
}
