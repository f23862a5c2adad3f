//! The engine that all wasm compartments of a program share, and the thread that ends their calls.

use std::sync::Arc;

use wasmtime::{Config, Engine};

use super::cache::CodeCache;
use super::error::StartError;
use super::limits::WASM_STACK_BYTES_MAX;
use super::ticker::Ticker;

/// Compiles and runs components. One per program: objects of different engines do not mix. Clones are of the same host.
#[derive(Debug, Clone)]
pub struct WasmHost(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Engine,
    runtime: tokio::runtime::Runtime,
    cache: Option<CodeCache>,
    ticker: Ticker,
}

impl WasmHost {
    /// An engine with every proposal switched off that a component of Rust or C does not need, and a thread that counts epochs.
    ///
    /// # Errors
    /// When the platform is not supported, or a thread cannot be started.
    pub fn new() -> Result<Self, StartError> {
        Self::build(None)
    }

    /// Runs something on a thread of the host that is made for waiting.
    #[cfg(feature = "async")]
    pub(crate) async fn unblock<T: Send + 'static>(&self, run: impl FnOnce() -> T + Send + 'static) -> T {
        let run = move || super::threads::blocking(run);
        match self.runtime().spawn_blocking(run).await {
            Ok(value) => value,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => unreachable!("nobody cancels it: {error}"),
            },
        }
    }

    /// The same, with compiled code kept in a folder.
    ///
    /// # Errors
    /// As [`WasmHost::new`].
    pub fn with_cache(cache: CodeCache) -> Result<Self, StartError> {
        Self::build(Some(cache))
    }

    fn build(cache: Option<CodeCache>) -> Result<Self, StartError> {
        let mut config = Config::new();
        config
            .wasm_component_model(true)
            .epoch_interruption(true)
            .concurrency_support(false)
            .max_wasm_stack(WASM_STACK_BYTES_MAX)
            .async_stack_size(WASM_STACK_BYTES_MAX + (1 << 20))
            .wasm_memory64(false)
            .wasm_relaxed_simd(false)
            .wasm_tail_call(false);
        let engine = Engine::new(&config).map_err(|error| StartError::Engine(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("cofferdam-wait")
            .enable_all()
            .build()
            .map_err(|error| StartError::Engine(error.to_string()))?;
        let ticker = Ticker::start(&engine)?;
        Ok(Self(Arc::new(Inner { engine, runtime, cache, ticker })))
    }

    /// What ends the guests' calls.
    pub(super) fn ticker(&self) -> &Ticker {
        &self.0.ticker
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(super) fn runtime(&self) -> &tokio::runtime::Runtime {
        &self.0.runtime
    }

    pub(super) fn cache(&self) -> Option<&CodeCache> {
        self.0.cache.as_ref()
    }
}
